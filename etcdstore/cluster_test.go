package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

// report reports a figure: as a line of "go test -v", and as an attribute of "go test
// -json".
func report(t testing.TB, key, format string, args ...any) {
	t.Helper()
	value := fmt.Sprintf(format, args...)
	t.Attr(key, value)
	t.Logf("%s: %s", key, value)
}

// eventually polls a condition. The limit is far beyond what it takes.
func eventually(t testing.TB, condition func() bool, what string) time.Duration {
	t.Helper()
	start := time.Now()
	for !condition() {
		if time.Since(start) > time.Minute {
			require.Fail(t, "it never happened", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start)
}

// node is one server of a cluster of servers: a catalog and its store.
type node struct {
	*customstatus.Catalog
	store *Store
	wire  *wire
}

func newNode(t testing.TB, cluster *etcdtest.Cluster, opts Options) *node {
	t.Helper()
	n := &node{wire: &wire{}}
	n.store = openOn(t, cluster, n.wire, opts)
	catalog, err := customstatus.OpenShared(ctx, n.store, &customstatus.Options{Logger: silent(Options{}).Logger})
	require.NoError(t, err)
	t.Cleanup(func() { _ = catalog.Close() })
	n.Catalog = catalog
	return n
}

func (n *node) create(name string) (customstatus.CustomUserStatus, error) {
	return n.Create(ctx, customstatus.Fields{Name: name, StatusType: customstatus.Busy})
}

// talkTo makes the store talk to a member.
func (n *node) talkTo(endpoint string) {
	for {
		m, err := n.store.members.current()
		if err != nil || m.endpoint == endpoint {
			return
		}
		n.store.members.leave(m)
	}
}

// same checks that all nodes show the same, and that it is what the store holds.
func same(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes { // a commit with an unknown outcome may still arrive
		_, err := n.store.Load(ctx)
		require.NoError(t, err)
	}
	for _, n := range nodes {
		require.NoError(t, n.Sync(ctx))
		contents, err := n.store.Load(ctx)
		require.NoError(t, err)
		page, err := n.List(customstatus.Query{})
		require.NoError(t, err)
		require.ElementsMatch(t, contents.Statuses, page.Statuses)
	}
}

// Each step begins and ends with a cluster of three that is whole.
func TestThreeMembers(t *testing.T) {
	cluster := etcdtest.Start(t, &etcdtest.Options{Members: 3})
	opts := Options{MemberTimeout: time.Second, ProgressInterval: 300 * time.Millisecond}
	a, b := newNode(t, cluster, opts), newNode(t, cluster, opts)
	endpoints := cluster.Endpoints()

	// The writers write until the fault is over, and all that was acknowledged must
	// be there in the end.
	through := func(t *testing.T, fault func(leader int), mend func(leader int)) {
		leader := cluster.Leader()
		a.talkTo(endpoints[leader])
		b.talkTo(endpoints[leader]) // it has the watch of the next feed at least
		var acknowledged, unknown sync.Map
		var count, failed atomic.Int64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					name := fmt.Sprintf("%s %d %d", t.Name(), w, i)
					switch s, err := []*node{a, b}[w%2].create(name); {
					case err == nil:
						acknowledged.Store(name, s)
						count.Add(1)
					case errors.Is(err, customstatus.ErrOutcomeUnknown):
						unknown.Store(name, true)
					default:
						failed.Add(1)
					}
				}
			})
		}
		more := func(n int64) func() bool {
			target := count.Load() + n
			return func() bool { return count.Load() >= target }
		}
		eventually(t, more(20), "writes before the fault")
		fault(leader)
		took := eventually(t, more(20), "writes during the fault")
		mend(leader)
		eventually(t, more(20), "writes after the fault")
		close(stop)
		wg.Wait()
		report(t, "etcd-failover", "writes go on after %v (%d acknowledged, %d failed)", took.Round(10*time.Millisecond), count.Load(), failed.Load())
		same(t, a, b)
		acknowledged.Range(func(name, s any) bool {
			got, err := b.GetByName(name.(string))
			require.NoError(t, err, "an acknowledged write is there")
			require.Equal(t, s, got)
			return true
		})
		require.Equal(t, a.Position(), b.Position())
	}

	t.Run("leader killed", func(t *testing.T) {
		through(t, cluster.Kill, cluster.Restart)
	})
	t.Run("leader frozen", func(t *testing.T) {
		through(t, cluster.Freeze, cluster.Thaw)
	})
	t.Run("watched member frozen", func(t *testing.T) {
		follower := (cluster.Leader() + 1) % 3
		// A feed at the follower: b begins a new one there.
		stats := b.Stats()
		b.talkTo(endpoints[follower])
		c := newNode(t, cluster, opts)
		c.talkTo(endpoints[follower])
		eventually(t, func() bool {
			m, _ := c.store.members.current()
			return m.endpoint == endpoints[follower]
		}, "c talks to the follower")
		w := watcherOf(t, c.store)
		cluster.Freeze(follower)
		s, err := a.create("while a member is frozen")
		require.NoError(t, err)
		took := w.sees(t, s.Revision)
		report(t, "etcd-frozen-member-left", "after %v", took.Round(10*time.Millisecond))
		same(t, a, b, c)
		cluster.Thaw(follower)
		s, err = c.create("after the thaw")
		require.NoError(t, err)
		w.sees(t, s.Revision)
		same(t, a, b, c)
		require.Equal(t, stats.Rewinds, b.Stats().Rewinds)
	})
	t.Run("majority lost", func(t *testing.T) {
		short := opts
		short.Timeout = 2 * time.Second
		c := newNode(t, cluster, short)
		leader := cluster.Leader()
		other := (leader + 1) % 3
		before := c.Len()
		cluster.Kill(leader)
		cluster.Freeze(other)
		_, err := c.create("without a majority")
		require.Error(t, err)
		require.ErrorContains(t, err, "majority")
		require.Equal(t, before, c.Len(), "reads go on")
		eventually(t, func() bool { return c.Stats().FeedError != nil }, "the feed is known to be late")
		require.Error(t, c.Stats().CommitError)
		done, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.Error(t, c.Sync(done))

		cluster.Restart(leader)
		cluster.Thaw(other)
		var s customstatus.CustomUserStatus
		took := eventually(t, func() bool { s, err = c.create("with a majority again"); return err == nil }, "writes")
		report(t, "etcd-majority-back", "writes again after %v", took.Round(10*time.Millisecond))
		eventually(t, func() bool { return c.Stats().FeedError == nil }, "the feed is back")
		same(t, a, b, c)
		got, err := a.Get(s.ID)
		require.NoError(t, err)
		require.Equal(t, s, got)
	})
	require.Zero(t, a.Stats().Rewinds)
	require.Zero(t, b.Stats().Rewinds)
	require.EqualValues(t, 1, a.Stats().Loads, "no feed had a gap")
}

// watched counts what a catalog's feed brings, by asking the store as a catalog does.
type watched struct{ reached atomic.Uint64 }

func watcherOf(t *testing.T, s *Store) *watched {
	w := &watched{}
	running, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	began := make(chan struct{})
	var once sync.Once
	go func() {
		defer close(done)
		after := must(s.Revision(ctx))
		for running.Err() == nil {
			for c, err := range s.Watch(running, after) {
				if err != nil {
					break
				}
				once.Do(func() { close(began) })
				after = max(after, c.Revision)
				w.reached.Store(uint64(after))
			}
		}
	}()
	<-began
	return w
}

func (w *watched) sees(t *testing.T, revision customstatus.Revision) time.Duration {
	t.Helper()
	return eventually(t, func() bool { return w.reached.Load() >= uint64(revision) }, "the watcher sees the commit")
}

// A cluster that is restored from a snapshot has another history, whatever its
// revision. Every node must notice.
func TestRestoredSnapshot(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ahead bool // of what is lost, before the nodes hear of it
		bump  uint64
	}{{}, {ahead: true}, {bump: 1_000_000_000}} {
		t.Run(fmt.Sprintf("ahead %v, bump %d", tt.ahead, tt.bump), func(t *testing.T) {
			cluster := etcdtest.Start(t, nil)
			a, b := newNode(t, cluster, Options{}), newNode(t, cluster, Options{})
			kept, err := a.create("kept")
			require.NoError(t, err)
			snapshot := cluster.Snapshot()
			gone, err := a.create("gone")
			require.NoError(t, err)
			same(t, a, b)
			ended := make(chan error, 1)
			position := b.Position()
			go func() {
				for _, err := range b.Watch(ctx, position) {
					if err != nil {
						ended <- err
					}
				}
			}()
			eventually(t, func() bool { return b.Stats().Watchers == 1 }, "b is watched")

			// The nodes hear nothing until the cluster has gone on.
			cut := func(string, any, func() error) error { return errCut }
			a.wire.set(cut)
			b.wire.set(cut)
			cluster.RestoreBumped(snapshot, tt.bump)
			c := newNode(t, cluster, Options{})
			require.Equal(t, 1, c.Len())
			if tt.ahead {
				for i := 0; c.Revision() <= gone.Revision; i++ {
					_, err := c.create(fmt.Sprint("new ", i))
					require.NoError(t, err)
				}
			}
			a.wire.set(nil)
			b.wire.set(nil)
			require.ErrorIs(t, <-ended, customstatus.ErrCompacted)
			eventually(t, func() bool {
				_, errA := a.Get(gone.ID)
				_, errB := b.Get(gone.ID)
				return errors.Is(errA, customstatus.ErrNotFound) && errors.Is(errB, customstatus.ErrNotFound)
			}, "what the snapshot doesn't have is gone")
			same(t, a, b, c)
			require.EqualValues(t, 2, a.Stats().Loads)

			_, err = a.Update(ctx, kept.ID, customstatus.Fields{Name: "new name", StatusType: customstatus.Away}, nil)
			require.NoError(t, err)
			_, err = b.create("gone") // the name is free
			require.NoError(t, err)
			same(t, a, b, c)
			require.Equal(t, a.Position(), c.Position())
			require.GreaterOrEqual(t, uint64(a.Revision()), tt.bump)
		})
	}
}

// A cluster that was restored from a snapshot gives revisions again. A commit that was
// planned from what is lost is refused, even if the status is at the same revision.
func TestCommitFromALostHistory(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	s := openOn(t, cluster, &wire{}, Options{})
	must(s.Commit(ctx, []customstatus.Change{create("a", "a")}))
	snapshot := cluster.Snapshot()
	created := create("b", "b")
	created.After.Metadata = "lost"
	r := must(s.Commit(ctx, []customstatus.Change{created}))
	lost := load(t, s)["b"]
	cluster.Restore(snapshot)

	other := openOn(t, cluster, &wire{}, Options{})
	created.After.Metadata = "kept"
	require.Equal(t, r, must(other.Commit(ctx, []customstatus.Change{created})))
	renamed := lost
	renamed.Name = "renamed"
	for _, c := range []customstatus.Change{
		{Kind: customstatus.Updated, Before: lost, After: renamed},
		{Kind: customstatus.Deleted, Before: lost},
	} {
		_, err := s.Commit(ctx, []customstatus.Change{c})
		require.ErrorIs(t, err, customstatus.ErrConflict)
	}
	must(s.Commit(ctx, []customstatus.Change{rename(t, s, "b", "renamed")}))
	require.Equal(t, "kept", load(t, other)["b"].Metadata)
}

// A node that was away for longer than the cluster remembers loads again, and tells
// its watchers the difference.
func TestCompactedWhileAway(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	client := cluster.Client(t)
	a, b := newNode(t, cluster, Options{}), newNode(t, cluster, Options{})
	first, err := a.create("first")
	require.NoError(t, err)
	same(t, a, b)
	compact := func() {
		t.Helper()
		_, err := client.Put(ctx, "foreign", "key")
		require.NoError(t, err)
		resp, err := client.Put(ctx, "foreign", "another")
		require.NoError(t, err)
		_, err = client.Compact(ctx, resp.Header.Revision)
		require.NoError(t, err)
	}

	// Without a commit in the meantime, nothing is missing.
	b.wire.set(func(string, any, func() error) error { return errCut })
	cluster.Kill(0)
	cluster.Restart(0)
	cluster.Leader()
	compact()
	b.wire.set(nil)
	eventually(t, func() bool { return a.Stats().FeedError == nil && b.Stats().FeedError == nil }, "the feeds are back")
	_, err = a.create("between")
	require.NoError(t, err)
	same(t, a, b) // so b's feed has begun, and brings what is new
	require.EqualValues(t, 1, b.Stats().Loads)

	b.wire.set(func(string, any, func() error) error { return errCut })
	cluster.Kill(0)
	cluster.Restart(0)
	cluster.Leader()
	_, err = a.Delete(ctx, first.ID, nil)
	require.NoError(t, err)
	second, err := a.create("second")
	require.NoError(t, err)
	compact()
	b.wire.set(nil)
	eventually(t, func() bool { _, err := b.Get(second.ID); return err == nil }, "b sees what it has missed")
	same(t, a, b)
	require.EqualValues(t, 2, b.Stats().Loads)
	require.Zero(t, b.Stats().Rewinds)
}

// A cluster that is out of space refuses commits and says what to do. Reads go on.
func TestFullCluster(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, &etcdtest.Options{QuotaBytes: 4 << 20})
	client := cluster.Client(t)
	a := newNode(t, cluster, Options{})
	_, err := a.create("before")
	require.NoError(t, err)
	var last int64
	for err == nil {
		var resp *clientv3.PutResponse
		if resp, err = client.Put(ctx, "foreign", string(make([]byte, 1<<20))); err == nil {
			last = resp.Header.Revision
		}
	}
	_, err = a.create("while it is full")
	require.ErrorContains(t, err, "make room")
	require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	require.Equal(t, 1, a.Len())
	same(t, a)
	late := newNode(t, cluster, Options{}) // which has no lease yet
	_, err = late.create("while it is full")
	require.ErrorContains(t, err, "make room")
	require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)

	_, err = client.Delete(ctx, "foreign")
	require.NoError(t, err)
	_, err = client.Compact(ctx, last)
	require.NoError(t, err)
	_, err = client.Defragment(ctx, cluster.Endpoints()[0])
	require.NoError(t, err)
	alarms, err := client.AlarmList(ctx)
	require.NoError(t, err)
	for _, alarm := range alarms.Alarms {
		_, err = client.AlarmDisarm(ctx, (*clientv3.AlarmMember)(alarm))
		require.NoError(t, err)
	}
	_, err = a.create("while it is full")
	require.NoError(t, err)
	_, err = late.create("when it has room")
	require.NoError(t, err)
	same(t, a, late)
}
