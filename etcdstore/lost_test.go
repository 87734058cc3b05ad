package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

var errCut = status.Error(codes.Unavailable, "the connection was cut")

// fault is what happens to the first transaction of a commit, and to what comes after.
type fault struct {
	name string
	call func(req any, send func() error) error // the first transaction
	stop func(send func() error) error          // the first attempt to stop it, or nil
	late bool                                   // the first transaction arrives when all is over
}

func sent(err error) func(any, func() error) error {
	return func(_ any, send func() error) error {
		if got := send(); got != nil {
			return got
		}
		return err
	}
}

func lost(err error) func(any, func() error) error {
	return func(any, func() error) error { return err }
}

func faults() []fault {
	stopSent := func(send func() error) error { _ = send(); return errCut }
	stopLost := func(func() error) error { return errCut }
	return []fault{
		{name: "answer lost", call: sent(errCut)},
		{name: "request lost", call: lost(errCut)},
		{name: "request late", call: lost(errCut), late: true},
		{name: "answer lost, then the stop", call: sent(errCut), stop: stopLost},
		{name: "answer lost, then the answer to the stop", call: sent(errCut), stop: stopSent},
		{name: "request lost, then the answer to the stop", call: lost(errCut), stop: stopSent},
		{name: "request late, then the answer to the stop", call: lost(errCut), stop: stopSent, late: true},
		// The client library sends these again by itself.
		{name: "answer canceled by the member", call: sent(status.Error(codes.Canceled, "canceled"))},
		{name: "answer timed out at the member", call: sent(status.Error(codes.DeadlineExceeded, "late"))},
		{name: "no space, but made", call: sent(rpctypes.ErrGRPCNoSpace)},
	}
}

// meet lets a commit meet the fault and delivers late what is late. It returns what is
// wrong with the answer of the commit, or nothing.
func (f *fault) meet(t *testing.T, s *Store, w *wire, commit func([]customstatus.Change) (customstatus.Revision, error)) string {
	t.Helper()
	var first *pb.TxnRequest
	stops := 0
	w.set(func(_ string, req any, send func() error) error {
		switch {
		case isCommit(req) && first == nil:
			first = proto.Clone(req.(*pb.TxnRequest)).(*pb.TxnRequest)
			return f.call(req, send)
		case isStop(req) && f.stop != nil:
			if stops++; stops == 1 {
				return f.stop(send)
			}
		}
		return send()
	})
	revision, err := commit([]customstatus.Change{create("a", "x")})
	w.set(nil)
	if f.late {
		m, err := s.members.current()
		require.NoError(t, err)
		_, _ = pb.NewKVClient(m).Txn(ctx, first) // the cluster may refuse it
	}
	made, there := load(t, s)["a"]
	switch {
	case errors.Is(err, customstatus.ErrOutcomeUnknown):
	case err == nil && (!there || made.Revision != revision):
		return fmt.Sprintf("Commit = %d, nil, but the status is at revision %d", revision, made.Revision)
	case err != nil && there:
		return fmt.Sprintf("Commit = %v, but the status is there", err)
	}
	return ""
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	for i, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w := &wire{}
			s := openOn(t, cluster, w, Options{Prefix: fmt.Sprintf("/%d/", i)})
			wrong := f.meet(t, s, w, func(changes []customstatus.Change) (customstatus.Revision, error) {
				revision, err := s.Commit(ctx, changes)
				require.NoError(t, err, "it is tried again")
				return revision, err
			})
			require.Empty(t, wrong)
			_, err := s.Commit(ctx, []customstatus.Change{rename(t, s, "a", "y"), create("b", "x")})
			require.NoError(t, err)
			replays(t, s, 2)
		})
	}
}

// These are the ways to get it wrong. Each must be found by one of the faults.
func TestLostAnswersFindWrongStores(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	send := func(s *Store, p *plan) (*pb.TxnResponse, error) {
		m, err := s.members.current()
		if err != nil {
			return nil, err
		}
		return pb.NewKVClient(m).Txn(ctx, &pb.TxnRequest{Compare: p.compare, Success: append(p.puts[:len(p.puts):len(p.puts)],
			put([]byte(s.keys.revision), p.head, 0))})
	}
	answer := func(resp *pb.TxnResponse) (customstatus.Revision, error) {
		if !resp.Succeeded {
			return 0, customstatus.ErrConflict
		}
		return customstatus.Revision(resp.Header.Revision), nil
	}
	wrong := map[string]func(s *Store, p *plan) (customstatus.Revision, error){
		"retries blindly": func(s *Store, p *plan) (customstatus.Revision, error) {
			for {
				if resp, err := send(s, p); err == nil {
					return answer(resp)
				}
			}
		},
		"takes an error for a failure": func(s *Store, p *plan) (customstatus.Revision, error) {
			resp, err := send(s, p)
			if err != nil {
				return 0, err
			}
			return answer(resp)
		},
		"believes absence": func(s *Store, p *plan) (customstatus.Revision, error) {
			resp, err := send(s, p)
			if err == nil {
				return answer(resp)
			}
			all, err := s.Load(ctx)
			if err != nil {
				return 0, customstatus.ErrOutcomeUnknown
			}
			for _, status := range all.Statuses {
				if status.ID == "a" {
					return status.Revision, nil
				}
			}
			return 0, errors.New("it wasn't written")
		},
	}
	for name, commit := range wrong {
		t.Run(name, func(t *testing.T) {
			var found []string
			for i, f := range faults() {
				w := &wire{}
				s := openOn(t, cluster, w, Options{Prefix: fmt.Sprintf("/%s/%d/", name, i)})
				if text := f.meet(t, s, w, func(changes []customstatus.Change) (customstatus.Revision, error) {
					p, err := s.newPlan(changes)
					require.NoError(t, err)
					return commit(s, p)
				}); text != "" {
					found = append(found, f.name+": "+text)
				}
			}
			require.NotEmpty(t, found)
			t.Log(found)
		})
	}
}

// Without answers for longer than a call may take, the outcome is open. The next call
// that reaches the cluster decides it.
func TestOutcomeUnknown(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	tests := []struct {
		name  string
		call  func(req any, send func() error) error
		after func(t *testing.T, s *Store) // when the cluster can be reached again
		there bool
		late  bool
	}{
		{"made", sent(errCut), nil, true, false},
		{"not made", lost(errCut), nil, false, false},
		{"late", lost(errCut), nil, false, true},
		{"made and the lease lost", sent(errCut), func(t *testing.T, s *Store) {
			_, err := client.Revoke(ctx, clientLease(s))
			require.NoError(t, err)
		}, true, false},
		{"late and the lease lost", lost(errCut), func(t *testing.T, s *Store) {
			_, err := client.Revoke(ctx, clientLease(s))
			require.NoError(t, err)
		}, false, true},
	}
	for i, tt := range tests {
		for _, by := range []string{"load", "revision", "commit", "close"} {
			t.Run(tt.name+" "+by, func(t *testing.T) {
				t.Parallel()
				w := &wire{}
				opts := Options{Prefix: fmt.Sprintf("/%d%s/", i, by), Timeout: 200 * time.Millisecond, MemberTimeout: 100 * time.Millisecond}
				s := openOn(t, cluster, w, opts)
				commits := 0
				if i%2 == 0 { // the marker was put before, or not
					_, err := s.Commit(ctx, []customstatus.Change{create("before", "before")})
					require.NoError(t, err)
					commits++
				}
				var first *pb.TxnRequest
				w.set(func(method string, req any, send func() error) error {
					if isCommit(req) && first == nil {
						first = proto.Clone(req.(*pb.TxnRequest)).(*pb.TxnRequest)
						return tt.call(req, send)
					}
					if method == "/etcdserverpb.Lease/LeaseGrant" {
						return send()
					}
					return errCut
				})
				_, err := s.Commit(ctx, []customstatus.Change{create("a", "x")})
				require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
				_, err = s.Commit(ctx, []customstatus.Change{create("b", "y")})
				require.Error(t, err)
				require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown, "this one was never sent")
				_, err = s.Load(ctx)
				require.Error(t, err)

				w.set(nil)
				if tt.after != nil {
					tt.after(t, s)
				}
				other := openOn(t, cluster, &wire{}, Options{Prefix: opts.Prefix})
				switch by {
				case "load":
					require.Equal(t, tt.there, load(t, s)["a"].ID != "")
				case "revision":
					must(s.Revision(ctx))
				case "commit":
					_, err = s.Commit(ctx, []customstatus.Change{create("b", "y")})
					require.NoError(t, err)
					commits++
				case "close":
					require.NoError(t, s.Close())
				}
				if tt.late {
					m, err := other.members.current()
					require.NoError(t, err)
					resp, err := pb.NewKVClient(m).Txn(ctx, first)
					require.True(t, err != nil || !resp.Succeeded, "what was decided is final")
				}
				require.Equal(t, tt.there, load(t, other)["a"].ID != "")
				if tt.there {
					commits++
				}
				if by != "close" {
					_, err = s.Commit(ctx, []customstatus.Change{create("c", "z")})
					require.NoError(t, err)
					commits++
				}
				replays(t, other, commits)
			})
		}
	}
}

// The lease of the marker can be lost at any time. Only a commit in doubt minds.
func TestLeaseLoss(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	revoke := func(t *testing.T, s *Store) {
		t.Helper()
		_, err := client.Revoke(ctx, clientLease(s))
		require.NoError(t, err)
	}
	w := &wire{}
	s := openOn(t, cluster, w, Options{})
	_, err := s.Commit(ctx, []customstatus.Change{create("a", "x")})
	require.NoError(t, err)
	_, err = s.Commit(ctx, []customstatus.Change{create("a", "x")})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	revoke(t, s)
	_, err = s.Commit(ctx, []customstatus.Change{create("b", "y")})
	require.NoError(t, err, "after the loss of a marker that was put")

	second := s.session
	s.session = nil
	_, err = s.Commit(ctx, []customstatus.Change{create("b", "y")})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	revoke(t, s)
	_, err = s.Commit(ctx, []customstatus.Change{create("c", "z")})
	require.NoError(t, err, "after the loss of a marker that was not put yet")

	old := s.session
	s.session.until = time.Now()
	_, err = s.Commit(ctx, []customstatus.Change{create("d", "w")})
	require.NoError(t, err)
	require.NotEqual(t, old.lease, s.session.lease, "an old lease is not used any more")

	w.set(func(_ string, req any, send func() error) error {
		if !isCommit(req) {
			return send()
		}
		require.NoError(t, send())
		revoke(t, s)
		return errCut
	})
	_, err = s.Commit(ctx, []customstatus.Change{create("e", "v")})
	require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown, "absence proves nothing")
	w.set(nil)
	require.Contains(t, load(t, s), "e")
	_, err = s.Commit(ctx, []customstatus.Change{create("f", "u")})
	require.NoError(t, err)
	replays(t, s, 6)

	// A store that is closed leaves no marker behind.
	require.NoError(t, s.Close())
	for _, left := range []*session{second, old} {
		_, err = client.Revoke(ctx, idOf(left.lease))
		require.NoError(t, err)
	}
	resp, err := client.Get(ctx, DefaultPrefix+"m/", clientv3.WithPrefix())
	require.NoError(t, err)
	require.Empty(t, resp.Kvs)
}

// A cluster that is out of space may have made the transaction all the same.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	full := rpctypes.ErrGRPCNoSpace
	tests := []struct {
		name   string
		commit func(req any, send func() error) error
		stop   func(send func() error) error
		put    bool // the marker was put before
		want   error
	}{
		{"not made", lost(full), nil, true, rpctypes.ErrNoSpace},
		{"not made, the first", lost(full), nil, false, rpctypes.ErrNoSpace},
		{"no answer, and not made", lost(errCut), func(func() error) error { return full }, true, nil},
		{"no answer, and made", sent(errCut), func(func() error) error { return full }, true, nil},
		{"no answer, and stopped", lost(errCut), func(send func() error) error { _ = send(); return full }, true, nil},
		{"no answer, the first", lost(errCut), func(func() error) error { return full }, false, customstatus.ErrOutcomeUnknown},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := &wire{}
			s := openOn(t, cluster, w, Options{Prefix: fmt.Sprintf("/%d/", i), Timeout: time.Second})
			commits := 0
			if tt.put {
				_, err := s.Commit(ctx, []customstatus.Change{create("before", "before")})
				require.NoError(t, err)
				commits++
			}
			var first *pb.TxnRequest
			w.set(func(_ string, req any, send func() error) error {
				txn, _ := req.(*pb.TxnRequest)
				switch {
				case isCommit(req) && first == nil:
					first = proto.Clone(txn).(*pb.TxnRequest)
					return tt.commit(req, send)
				case isStop(req) && tt.stop != nil && txn.Success[0].GetRequestPut() != nil:
					return tt.stop(send)
				}
				return send()
			})
			_, err := s.Commit(ctx, []customstatus.Change{create("a", "x")})
			w.set(nil)
			switch {
			case tt.want == nil:
				require.NoError(t, err)
				commits++
			case tt.want == rpctypes.ErrNoSpace:
				require.True(t, is(err, rpctypes.ErrNoSpace), err)
				require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			default:
				require.ErrorIs(t, err, tt.want)
			}
			require.Equal(t, tt.want == nil, load(t, s)["a"].ID != "")
			if tt.stop != nil { // the commit can arrive late
				m, err := s.members.current()
				require.NoError(t, err)
				resp, err := pb.NewKVClient(m).Txn(ctx, first)
				require.True(t, err != nil || !resp.Succeeded, "what was decided is final")
			}
			_, err = s.Commit(ctx, []customstatus.Change{create("b", "y")})
			require.NoError(t, err)
			replays(t, s, commits+1)
		})
	}
}

// Nobody can tell the outcome of a commit whose marker somebody else has written. The
// error says so.
func TestStrangeMarker(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	for i, call := range map[string]error{"answer lost": errCut, "no space": rpctypes.ErrGRPCNoSpace} {
		t.Run(i, func(t *testing.T) {
			w := &wire{}
			s := openOn(t, cluster, w, Options{Prefix: "/" + i + "/"})
			_, err := s.Commit(ctx, []customstatus.Change{create("before", "before")})
			require.NoError(t, err)
			w.set(func(_ string, req any, send func() error) error {
				if !isCommit(req) {
					return send()
				}
				_, err := client.Do(ctx, clientv3.OpPut(string(s.session.key), "strange", clientv3.WithLease(clientLease(s))))
				require.NoError(t, err)
				return call
			})
			_, err = s.Commit(ctx, []customstatus.Change{create("a", "x")})
			require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			require.ErrorContains(t, err, "somebody else has written the marker")
			require.NotContains(t, err.Error(), "%!")
			_, err = s.Commit(ctx, []customstatus.Change{create("b", "y")})
			require.ErrorContains(t, err, "somebody else has written the marker")
			require.NotContains(t, err.Error(), "%!")

			// When the lease has run out, nothing can be written late.
			w.set(nil)
			_, err = client.Revoke(ctx, clientLease(s))
			require.NoError(t, err)
			_, err = s.Commit(ctx, []customstatus.Change{create("b", "y")})
			require.NoError(t, err)
			require.NotContains(t, load(t, s), "a")
		})
	}
}

// A cluster that was restored from a snapshot has the marker as it was before, and uses
// revisions again: also the one that a commit in doubt compares.
func TestRestoredWhileInDoubt(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	const stop, revoke = "/etcdserverpb.KV/Txn", "/etcdserverpb.Lease/LeaseRevoke"
	for _, tt := range []struct {
		name    string
		answer  error // to the commit
		full    bool  // stops can't be put
		before  string
		after   string // the commit arrives before or after this call, or when all is over
		refused bool
	}{
		{name: "late before the stop", answer: errCut, before: stop},
		{name: "late after the stop", answer: errCut, after: stop},
		{name: "late after the lease is gone", answer: errCut, after: revoke},
		{name: "late after all", answer: errCut},
		{name: "no answer, and no space", answer: errCut, full: true},
		{name: "no space", answer: rpctypes.ErrGRPCNoSpace, refused: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &wire{}
			s := openOn(t, cluster, w, Options{Prefix: "/" + tt.name + "/", Timeout: time.Minute})
			must(s.Commit(ctx, []customstatus.Change{create("a", "x")}))
			snapshot := cluster.Snapshot()
			must(s.Commit(ctx, []customstatus.Change{create("lost", "lost")}))

			var first *pb.TxnRequest
			w.set(func(method string, req any, send func() error) error {
				switch txn, _ := req.(*pb.TxnRequest); {
				case isCommit(req) && first == nil:
					first = proto.Clone(txn).(*pb.TxnRequest)
					cluster.Restore(snapshot)
					return tt.answer
				case isStop(req) && tt.full && txn.Success[0].GetRequestPut() != nil:
					return rpctypes.ErrGRPCNoSpace
				case isStop(req), method == revoke:
					if method == tt.before {
						arrive(t, s, first)
					}
					err := send()
					if err == nil && method == tt.after {
						arrive(t, s, first)
					}
					return err
				}
				return send()
			})
			revision, err := s.Commit(ctx, []customstatus.Change{create("b", "y")})
			w.set(nil)
			arrive(t, s, first)
			commits := 2
			if tt.refused {
				require.True(t, is(err, rpctypes.ErrNoSpace), err)
				require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
				require.NotContains(t, load(t, s), "b")
				commits--
			} else {
				require.NoError(t, err)
				require.Equal(t, revision, load(t, s)["b"].Revision)
			}
			must(s.Commit(ctx, []customstatus.Change{create("c", "z")}))
			require.NotContains(t, load(t, s), "lost")
			replays(t, s, commits+1)
		})
	}
}

// What was decided in a restored cluster is final, whatever the revisions are at which
// the store goes on.
func TestRestoredBeforeItIsDecided(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	for lost := 1; lost <= 3; lost++ {
		t.Run(fmt.Sprint("commits lost: ", lost), func(t *testing.T) {
			w := &wire{}
			s := openOn(t, cluster, w, Options{Prefix: fmt.Sprintf("/%d/", lost), Timeout: time.Minute, MemberTimeout: time.Minute})
			must(s.Commit(ctx, []customstatus.Change{create("a", "x")}))
			snapshot := cluster.Snapshot()
			for i := range lost {
				must(s.Commit(ctx, []customstatus.Change{create(fmt.Sprint("lost", i), fmt.Sprint("lost", i))}))
			}
			var first *pb.TxnRequest
			w.set(func(_ string, req any, send func() error) error {
				if isCommit(req) && first == nil {
					first = proto.Clone(req.(*pb.TxnRequest)).(*pb.TxnRequest)
				}
				return errCut
			})
			s.opts.Timeout = 500 * time.Millisecond
			_, err := s.Commit(ctx, []customstatus.Change{create("b", "y")})
			require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			s.opts.Timeout = time.Minute
			w.set(nil)
			cluster.Restore(snapshot)
			for i := range 5 {
				require.NotContains(t, load(t, s), "b")
				arrive(t, s, first)
				must(s.Commit(ctx, []customstatus.Change{create(fmt.Sprint(i), fmt.Sprint(i))}))
				arrive(t, s, first)
			}
			require.NotContains(t, load(t, s), "b")
			replays(t, s, 6)
		})
	}
}

// arrive delivers a transaction of a commit late. The cluster may refuse it.
func arrive(t *testing.T, s *Store, txn *pb.TxnRequest) {
	t.Helper()
	m, err := s.members.current()
	require.NoError(t, err)
	_, err = pb.NewKVClient(m).Txn(ctx, txn, grpc.WaitForReady(true))
	if !is(err, rpctypes.ErrLeaseNotFound) {
		require.NoError(t, err)
	}
}

func TestCommitWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	s := openOn(t, cluster, &wire{}, Options{})
	s.turn <- struct{}{}
	done, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, late := s.Commit(done, []customstatus.Change{create("a", "x")})

	// The wait is a part of the call, which has its own limit.
	s.opts.Timeout = 10 * time.Millisecond
	_, committed := s.Commit(ctx, []customstatus.Change{create("a", "x")})
	s.doubtful.Store(true)
	_, loaded := s.Load(ctx)
	<-s.turn // or else Close would wait for it
	require.ErrorIs(t, late, context.DeadlineExceeded)
	require.NotErrorIs(t, committed, customstatus.ErrOutcomeUnknown)
	for _, err := range []error{committed, loaded} {
		require.ErrorContains(t, err, "nothing was done")
		require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller has set no deadline")
	}
	s.opts.Timeout = time.Minute
	require.Empty(t, load(t, s))
}
