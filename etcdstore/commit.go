package etcdstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/customstatus/customstatus"
)

// session is the marker of this store. Every commit compares the etcd revision of
// the marker and puts the commit's number there. So of two deliveries of a commit
// only the first is made, and whoever puts something else there stops a delivery
// that is still on its way. Both also put the marker on the lease, whose id is never
// granted again: once the lease has run out, no delivery is made.
type session struct {
	key   []byte
	lease int64
	until time.Time // when the next commit needs a new session
	ends  time.Time // when the lease may run out

	last   int64 // the etcd revision of the marker, or 0 before the first commit
	number uint64
}

// doubt is a commit whose outcome isn't known.
type doubt struct {
	*session
	number uint64
	// answered says that the cluster has handled the request. The outcome is what
	// the marker says, without more ado.
	answered bool
}

// The values of a marker.
func made(number uint64) string    { return strconv.FormatUint(number, 10) }
func aborted(number uint64) string { return "aborted " + made(number) }

// verdict is what became of a commit.
type verdict int

const (
	undecided  verdict = iota
	wasMade            // at a revision
	wasAborted         // nothing was written or ever will be
	neverKnown         // the marker is gone, and nothing will be written from now on
)

// Commit implements [customstatus.Store]: one transaction of etcd.
//
// If no answer comes, Commit asks the marker what became of the transaction, and stops
// the transaction if it has not been made. Then Commit tries again until
// [Options.Timeout] is over. [customstatus.ErrOutcomeUnknown] is returned when
// the cluster doesn't answer in that time, or when the marker is gone.
// The next Load, Commit or Revision finishes what was begun here, if the cluster lets it.
func (s *Store) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	revision, err := s.commit(ctx, changes)
	if err != nil {
		err = fmt.Errorf("etcdstore: commit: %w", s.explain(err))
	}
	return revision, err
}

func (s *Store) commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	p, err := s.newPlan(changes)
	if err != nil {
		return 0, err
	}
	if p.err != nil {
		return 0, p.err
	}
	if newer := s.newer.Load(); newer != nil {
		return 0, fmt.Errorf("nothing was written: %w: upgrade this program", *newer)
	}
	running, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Timeout)
	defer cancel()
	if err := s.takeTurn(ctx, running); err != nil {
		return 0, err
	}
	defer func() { <-s.turn }()
	if err := s.settle(running); err != nil {
		return 0, err
	}
	for {
		if err := s.renew(running); err != nil {
			return 0, fmt.Errorf("nothing was written: %w", err)
		}
		revision, again, err := s.try(running, p)
		if !again {
			return revision, err
		}
		if running.Err() != nil {
			return 0, fmt.Errorf("nothing was written: %w", err)
		}
	}
}

// takeTurn waits for the turn as long as the caller's context and the call's time last.
func (s *Store) takeTurn(ctx, running context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-running.Done():
		if err := ctx.Err(); err != nil {
			return err
		}
		return fmt.Errorf("nothing was done: other calls took longer than %v", s.opts.Timeout)
	}
}

// renew makes a session if there is none, or if the lease is old.
func (s *Store) renew(ctx context.Context) error {
	if s.session != nil && time.Now().Before(s.session.until) {
		return nil
	}
	now := time.Now()
	return s.ask(ctx, s.opts.MemberTimeout, func(ctx context.Context, m member) error {
		// A lease that was granted without an answer runs out by itself.
		lease, err := pb.NewLeaseClient(m).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: int64(s.opts.LeaseTTL / time.Second)})
		if err == nil {
			s.session = &session{key: []byte(s.keys.markers + rand.Text()), lease: lease.ID,
				until: now.Add(s.opts.LeaseTTL / 2), ends: now.Add(s.opts.LeaseTTL)}
		}
		return err
	})
}

// try sends the transaction once. If it was certainly not made, and for no reason that
// will last, try asks to be called again.
func (s *Store) try(ctx context.Context, p *plan) (revision customstatus.Revision, again bool, err error) {
	session := s.session
	session.number++
	marker := session.key
	req := &pb.TxnRequest{
		Compare: append([]*pb.Compare{modIs(marker, session.last)}, p.compare...),
		Success: append(p.puts[:len(p.puts):len(p.puts)],
			put(marker, []byte(made(session.number)), session.lease),
			put([]byte(s.keys.revision), p.head, 0)),
		Failure: []*pb.RequestOp{get(marker)},
	}
	m, err := s.members.current()
	if err != nil {
		return 0, false, err
	}
	var resp *pb.TxnResponse
	err = within(ctx, s.opts.MemberTimeout, func(ctx context.Context) error {
		resp, err = pb.NewKVClient(m).Txn(ctx, req)
		return err
	})
	switch {
	case err == nil && resp.Succeeded:
		session.last = resp.Header.Revision
		return customstatus.Revision(session.last), false, nil
	case err == nil:
		return s.refused(resp)
	case is(err, rpctypes.ErrLeaseNotFound):
		s.session = nil
		return 0, true, err
	case is(err, rpctypes.ErrTooManyOps), is(err, rpctypes.ErrRequestTooLarge):
		return 0, false, fmt.Errorf("nothing was written: %w: Options.MaxTxnOps and MaxRequestBytes must not be more than the cluster's", err)
	case isVerdict(err):
		return 0, false, fmt.Errorf("nothing was written: %w", err)
	}
	full := is(err, rpctypes.ErrNoSpace)
	s.suspect(&doubt{session: session, number: session.number, answered: full})
	if !full {
		s.members.leave(m)
	}
	cause := fmt.Errorf("%s: %w", m.endpoint, err)
	switch verdict, at, err := s.decide(ctx); verdict {
	case wasMade:
		return at, false, nil
	case wasAborted:
		if full {
			return 0, false, fmt.Errorf("nothing was written: %w", cause)
		}
		return 0, true, cause
	case neverKnown:
		return 0, false, fmt.Errorf("%w: the marker of the commit is gone: %w", customstatus.ErrOutcomeUnknown, cause)
	default:
		return 0, false, fmt.Errorf("%w: %w: %w", customstatus.ErrOutcomeUnknown, cause, err)
	}
}

// refused returns the outcome of a transaction whose comparisons didn't hold.
func (s *Store) refused(resp *pb.TxnResponse) (revision customstatus.Revision, again bool, err error) {
	session := s.session
	switch kv := markerOf(resp); {
	case kv == nil && session.last > 0:
		s.session = nil
		return 0, true, errors.New("the lease of the marker has run out")
	case kv == nil || kv.ModRevision == session.last:
		return 0, false, conflict("a status has changed, or a name belongs to another status")
	case string(kv.Value) == made(session.number):
		// The client library sends some requests twice.
		session.last = kv.ModRevision
		return customstatus.Revision(session.last), false, nil
	default:
		s.session = nil
		return 0, true, fmt.Errorf("somebody else has written the marker %q", kv.Key)
	}
}

// markerOf returns the marker that a transaction has read because its comparisons
// didn't hold, or nil if there is none.
func markerOf(resp *pb.TxnResponse) *mvccpb.KeyValue {
	if len(resp.Responses) == 1 && resp.Responses[0].GetResponseRange() != nil {
		if kvs := resp.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
			return kvs[0]
		}
	}
	return nil
}

func (s *Store) suspect(d *doubt) {
	s.doubt = d
	s.doubtful.Store(d != nil)
}

// settleFirst is settle for a method that doesn't hold the turn.
func (s *Store) settleFirst(ctx context.Context) error {
	if !s.doubtful.Load() {
		return nil
	}
	running, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	if err := s.takeTurn(ctx, running); err != nil {
		return err
	}
	defer func() { <-s.turn }()
	return s.settle(running)
}

// settle decides a commit whose outcome was unknown.
func (s *Store) settle(ctx context.Context) error {
	if s.doubt == nil {
		return nil
	}
	if verdict, _, err := s.decide(ctx); verdict == undecided {
		return fmt.Errorf("nothing was done, because the outcome of an earlier commit can't be decided yet: %w", err)
	}
	return nil
}

// decide finds out what became of the commit in doubt. If it has not been made, decide
// makes sure that it never will be.
func (s *Store) decide(ctx context.Context) (verdict, customstatus.Revision, error) {
	var verdict verdict
	var at int64
	var err error
	if d := s.doubt; d.answered {
		verdict, at, err = s.look(ctx)
	} else {
		verdict, at, err = s.abort(ctx, put(d.key, []byte(aborted(d.number)), d.lease))
		if is(err, rpctypes.ErrNoSpace) {
			// The cluster may have put the stop all the same.
			if verdict, at, err = s.look(ctx); verdict == undecided && err == nil {
				verdict, at, err = s.abort(ctx, remove(d.key))
			}
		}
		if err == nil && at == 0 {
			// The marker is gone, or older than it was. Only without the lease is it
			// certain that no commit of the session comes late.
			if err = s.revokeLease(ctx, d.session, s.opts.MemberTimeout); err == nil && verdict == undecided {
				verdict = wasAborted
			}
		}
	}
	if verdict == undecided || err != nil {
		return undecided, 0, err
	}
	s.opts.Logger.Info("etcdstore: decided a commit that had no answer", "made", verdict == wasMade, "known", verdict != neverKnown)
	if verdict == neverKnown || at == 0 {
		s.session = nil
	} else {
		s.doubt.last = at
	}
	s.suspect(nil)
	return verdict, customstatus.Revision(at), nil
}

// abort makes op, which stops the commit in doubt, unless the marker says that the
// commit was made. It returns the marker's etcd revision. That is 0 if the marker is
// gone, or if the marker is older than it was before the commit: then the cluster was
// restored from a snapshot, and abort has stopped nothing.
func (s *Store) abort(ctx context.Context, op *pb.RequestOp) (decided verdict, at int64, err error) {
	d := s.doubt
	req := &pb.TxnRequest{
		Compare: []*pb.Compare{modIs(d.key, d.last)},
		Success: []*pb.RequestOp{op},
		Failure: []*pb.RequestOp{get(d.key)},
	}
	var strange error
	err = s.ask(ctx, s.opts.MemberTimeout, func(ctx context.Context, m member) error {
		resp, err := pb.NewKVClient(m).Txn(ctx, req)
		switch {
		case is(err, rpctypes.ErrLeaseNotFound):
			decided = neverKnown
			return nil
		case err != nil:
			return err
		case resp.Succeeded && op.GetRequestDeleteRange() != nil:
			decided = wasAborted
			return nil
		case resp.Succeeded:
			decided, at = wasAborted, resp.Header.Revision
			return nil
		}
		decided, at, strange = d.read(markerOf(resp))
		return nil
	})
	if err == nil {
		err = strange
	}
	return decided, at, err
}

// look reads the marker of the commit in doubt.
func (s *Store) look(ctx context.Context) (decided verdict, at int64, err error) {
	d := s.doubt
	var strange error
	err = s.ask(ctx, s.opts.MemberTimeout, func(ctx context.Context, m member) error {
		resp, err := pb.NewKVClient(m).Range(ctx, &pb.RangeRequest{Key: d.key})
		if err != nil {
			return err
		}
		var kv *mvccpb.KeyValue
		if len(resp.Kvs) > 0 {
			kv = resp.Kvs[0]
		}
		switch decided, at, strange = d.read(kv); {
		case !d.answered, strange != nil:
		case kv == nil && d.last == 0 && time.Now().Before(d.ends):
			decided = wasAborted // the marker was never put, or else it would be there
		case decided == undecided && kv.ModRevision == d.last:
			decided, at = wasAborted, d.last
		case decided == undecided: // the cluster was restored since, without the commit
			decided = wasAborted
		}
		return nil
	})
	if err == nil {
		err = strange
	}
	return decided, at, err
}

// read returns what a marker says, and at which revision of etcd. A marker that is as it
// was before the commit, or older, says nothing.
func (d *doubt) read(kv *mvccpb.KeyValue) (decided verdict, at int64, err error) {
	switch {
	case kv == nil:
		return neverKnown, 0, nil
	case kv.ModRevision == d.last:
		return undecided, 0, nil
	case string(kv.Value) == made(d.number):
		return wasMade, kv.ModRevision, nil
	case string(kv.Value) == aborted(d.number):
		return wasAborted, kv.ModRevision, nil
	case kv.ModRevision < d.last: // the cluster was restored from a snapshot
		return undecided, 0, nil
	default:
		return undecided, 0, fmt.Errorf("somebody else has written the marker %q", kv.Key)
	}
}

// revoke takes the lease of the session away.
func (s *Store) revoke() {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.session == nil && s.doubt == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	session := s.session
	if s.doubt != nil {
		session = s.doubt.session
	}
	if err := s.revokeLease(ctx, session, time.Second); err != nil {
		s.opts.Logger.Info("etcdstore: the lease of the marker is left to run out", "error", err)
	}
}

// revokeLease makes sure that no commit of the session is made from now on.
func (s *Store) revokeLease(ctx context.Context, session *session, each time.Duration) error {
	err := s.ask(ctx, each, func(ctx context.Context, m member) error {
		_, err := pb.NewLeaseClient(m).LeaseRevoke(ctx, &pb.LeaseRevokeRequest{ID: session.lease})
		return err
	})
	if is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}
