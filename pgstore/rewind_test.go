package pgstore_test

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// gated is a store whose feed can be cut.
type gated struct {
	*pgstore.Store
	mu     sync.Mutex
	gate   chan struct{} // the next feeds wait until it is closed
	cancel []context.CancelFunc
}

func (g *gated) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gate = make(chan struct{})
	for _, cancel := range g.cancel {
		cancel()
	}
}

func (g *gated) open() { close(g.gate) }

func (g *gated) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		running, cancel := context.WithCancel(ctx)
		defer cancel()
		g.mu.Lock()
		gate := g.gate
		g.cancel = append(g.cancel, cancel)
		g.mu.Unlock()
		if gate != nil {
			select {
			case <-gate:
			case <-ctx.Done():
				yield(customstatus.Commit{}, ctx.Err())
				return
			}
		}
		for c, err := range g.Store.Watch(running, after) {
			if err != nil && ctx.Err() == nil && running.Err() != nil {
				err = errors.New("the connection of the feed was lost")
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// twoStores opens two stores on one new database.
func twoStores(t *testing.T) (server *pgtest.Server, database string, s, other *pgstore.Store) {
	t.Helper()
	server = pgtest.Start(t, nil)
	database = server.NewDatabase()
	opts := pgstore.Options{Logger: new(logbook).logger()}
	return server, database, open(t, server.DSN(database), opts), open(t, server.DSN(database), opts)
}

// rewind makes the database what it was at a revision, if all commits were creates.
func rewind(server *pgtest.Server, database string, to customstatus.Revision) {
	r := strconv.FormatUint(uint64(to), 10)
	server.Exec(database, "BEGIN; DELETE FROM customstatus.statuses WHERE revision > "+r+
		"; DELETE FROM customstatus.commits WHERE revision > "+r+
		"; DELETE FROM customstatus.markers WHERE revision > "+r+
		"; UPDATE customstatus.catalogs h SET revision = c.revision, token = c.token, fingerprint = c.fingerprint, changes = c.total"+
		" FROM customstatus.commits c WHERE c.revision = "+r+"; COMMIT")
}

// A catalog that hasn't seen its own commit yet loses nothing that it shows, but
// waits for the commit.
func TestCatalogBehindItsOwnLostCommit(t *testing.T) {
	t.Parallel()
	server, database, s, _ := twoStores(t)
	g := &gated{Store: s}
	c := clustered(t, g)
	heals(t, c, "one")
	g.cut()
	created := make(chan error, 1)
	go func() {
		_, err := c.Create(t.Context(), customstatus.Fields{Name: "lost", StatusType: customstatus.Busy})
		created <- err
	}()
	eventually(t, "the commit is made", func() bool {
		r, err := g.Revision(t.Context())
		return err == nil && r == 2
	})
	rewind(server, database, 1)
	g.open()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := c.Create(ctx, customstatus.Fields{Name: "after", StatusType: customstatus.Busy})
	require.NoError(t, err)
	eventually(t, "the lost create returns", func() bool { return len(created) == 1 })
	require.NoError(t, c.Sync(t.Context()))
	require.Equal(t, 2, c.Len())
}

// A feed that is behind a commit of this store meets another one in its place.
func TestFeedMeetsAnotherHistory(t *testing.T) {
	t.Parallel()
	server, database, s, other := twoStores(t)
	r := commit(t, s, create("a", "x"))
	commit(t, s, create("b", "lost"))
	rewind(server, database, r)
	load(t, other)
	commit(t, other, create("b", "kept"))
	require.ErrorIs(t, follow(t, s, r-1).ends(t), customstatus.ErrCompacted)
	load(t, s)
	works(t, s)
}

// Whoever has been told a revision waits for what it stands for, and not for another
// commit of the same number.
func TestToldRevisionIsLost(t *testing.T) {
	t.Parallel()
	server, database, s, other := twoStores(t)
	r := commit(t, other, create("a", "x"))
	load(t, s)
	commit(t, other, create("b", "lost"))
	told, err := s.Revision(t.Context())
	require.NoError(t, err)
	require.Equal(t, r+1, told)
	rewind(server, database, r)
	load(t, other)
	commit(t, other, create("b", "kept"))
	require.ErrorIs(t, follow(t, s, r).ends(t), customstatus.ErrCompacted)
	load(t, s)
	works(t, s)
}

// A node that was away when a failover lost commits counts that, whatever the revision is
// when it is back.
func TestRewindIsCounted(t *testing.T) {
	t.Parallel()
	for name, further := range map[string]int{"behind": 0, "as far": 1, "further": 3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, database, s, other := twoStores(t)
			g := &gated{Store: s}
			c := clustered(t, g)
			heals(t, c, "one")
			heals(t, c, "lost")
			g.cut()
			rewind(server, database, 1)
			load(t, other)
			for i := range further {
				commit(t, other, create(strconv.Itoa(i), "new "+strconv.Itoa(i)))
			}
			g.open()
			eventually(t, "it is counted", func() bool { return c.Stats().Rewinds == 1 })
			require.NoError(t, c.Sync(t.Context()))
			require.Equal(t, 1+further, c.Len())
			require.EqualValues(t, 1, c.Stats().Rewinds)
		})
	}
}

// What the first page of a watch brings has been read, too.
func TestRewindOfAFirstPage(t *testing.T) {
	t.Parallel()
	server, database, s, other := twoStores(t)
	r := commit(t, other, create("a", "x"))
	load(t, s)
	lost := commit(t, other, create("b", "lost"))
	follow(t, s, r).reaches(t, lost)
	rewind(server, database, r)
	load(t, other)
	commit(t, other, create("b", "kept"))
	commit(t, other, create("c", "new"))
	_, err := s.Commit(t.Context(), []customstatus.Change{create("d", "z")})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	require.True(t, load(t, s).Rewound)
	require.False(t, load(t, s).Rewound)
	works(t, s)
}

// A load after the feed was compacted is no rewind.
func TestCompactionIsNoRewind(t *testing.T) {
	t.Parallel()
	server, database, s, other := twoStores(t)
	g := &gated{Store: s}
	c := clustered(t, g)
	heals(t, c, "one")
	g.cut()
	load(t, other)
	commit(t, other, create("a", "x"))
	last := commit(t, other, create("b", "y"))
	r := strconv.FormatUint(uint64(last), 10)
	server.Exec(database, "DELETE FROM customstatus.commits WHERE revision < "+r+"; UPDATE customstatus.catalogs SET compacted = "+r)
	g.open()
	eventually(t, "it is loaded", func() bool { return c.Len() == 3 })
	require.Zero(t, c.Stats().Rewinds)
	require.EqualValues(t, 2, c.Stats().Loads)
}

// What Revision tells has not been read. A commit that rests on what was read before, and
// is lost, must be refused all the same. After a load, nothing of it is known any more.
func TestCommitAfterAToldRevision(t *testing.T) {
	t.Parallel()
	server, database, s, other := twoStores(t)
	r := commit(t, s, create("a", "x"))
	commit(t, s, create("b", "lost"))
	rewind(server, database, r)
	load(t, other)
	commit(t, other, create("b", "kept"))
	last := commit(t, other, create("c", "y"))
	told, err := s.Revision(t.Context())
	require.NoError(t, err)
	require.Equal(t, last, told)
	_, err = s.Commit(t.Context(), []customstatus.Change{create("d", "z")})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	load(t, s)
	follow(t, s, r).reaches(t, last)
	works(t, s)
}

// The revision of a history that the store has not read says nothing.
func TestRevisionOfAnotherHistory(t *testing.T) {
	t.Parallel()
	server, database, s, other := twoStores(t)
	r := commit(t, s, create("a", "x"))
	commit(t, s, create("b", "lost"))
	feed := follow(t, s, r)
	rewind(server, database, r)
	_, err := s.Revision(t.Context())
	require.ErrorContains(t, err, "another history")
	require.ErrorIs(t, feed.ends(t), customstatus.ErrCompacted)
	load(t, other)
	commit(t, other, create("b", "kept"))
	_, err = s.Revision(t.Context())
	require.ErrorContains(t, err, "another history")
	load(t, s)
	got, err := s.Revision(t.Context())
	require.NoError(t, err)
	require.Equal(t, r+1, got)
}

// A catalog shows a revision of a history that is lost, and the store has forgotten
// of what history it was.
func TestFeedGoesOnFromTheSameStatusesOnly(t *testing.T) {
	t.Parallel()
	server, database, s, other := twoStores(t)
	g := &gated{Store: s}
	c := clustered(t, g)
	r := heals(t, c, "one").Revision
	commit(t, other, create("b", "lost"))
	require.NoError(t, c.Sync(t.Context()))

	g.cut()
	rewind(server, database, r)
	load(t, other)
	commit(t, other, create("b", "kept"))
	load(t, g.Store) // by a backup of the host, say
	g.open()
	eventually(t, "the catalog notices", func() bool {
		got, err := c.Get("b")
		return err == nil && got.Name == "kept"
	})
	require.NoError(t, c.Sync(t.Context()))
	require.Equal(t, load(t, other).Fingerprint, c.Position().Fingerprint)
}

// A store whose position is no longer in the feed can't know whether it has read the
// same history.
func TestCommitFromACompactedPosition(t *testing.T) {
	t.Parallel()
	_, _, s, other := twoStores(t)
	commit(t, s, create("a", "x"))
	require.NoError(t, other.Compact(t.Context(), commit(t, other, create("b", "y"))))
	_, err := s.Commit(t.Context(), []customstatus.Change{create("c", "z")})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	holds(t, s, 2, "x", "y")
	commit(t, s, create("c", "z"))
	works(t, s)
}

// loading is a store whose next loads end only when a channel is closed.
type loading struct {
	*gated
	mu      sync.Mutex
	commits int // that were sent while loads are held
	hold    chan struct{}
	done    chan struct{} // has a value when the database has answered a load
}

func (l *loading) holdLoads() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold, l.done = make(chan struct{}), make(chan struct{}, 100)
}

func (l *loading) Load(ctx context.Context) (customstatus.Contents, error) {
	all, err := l.gated.Load(ctx)
	l.mu.Lock()
	hold, done := l.hold, l.done
	l.mu.Unlock()
	if hold != nil {
		done <- struct{}{}
		<-hold
	}
	return all, err
}

func (l *loading) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	r, err := l.gated.Commit(ctx, changes)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hold != nil {
		l.commits++
	}
	return r, err
}

// The database has gone to another history and has answered a load with it. What
// readers still see is of the lost history. Nothing is written from that, even if the
// status is at the same revision in both.
func TestWriteWhileAnotherHistoryIsLoaded(t *testing.T) {
	t.Parallel()
	server, database, s, other := twoStores(t)
	l := &loading{gated: &gated{Store: s}}
	c := clustered(t, l)
	r := heals(t, c, "one").Revision
	with := func(metadata string) customstatus.Change {
		change := create("b", "b")
		change.After.Metadata = metadata
		return change
	}
	commit(t, other, with("lost"))
	require.NoError(t, c.Sync(t.Context()))

	l.cut()
	rewind(server, database, r)
	load(t, other)
	commit(t, other, with("kept"))
	l.holdLoads()
	release := sync.OnceFunc(func() { close(l.hold) })
	defer release()
	l.open()
	<-l.done
	updated := make(chan error, 1)
	go func() {
		_, err := c.Update(t.Context(), "b", customstatus.Fields{Name: "renamed", StatusType: customstatus.Busy}, nil)
		updated <- err
	}()
	eventually(t, "the update is sent", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.commits > 0
	})
	lost, err := c.Get("b")
	require.NoError(t, err)
	require.Equal(t, r+1, lost.Revision)
	_, err = other.Commit(t.Context(), []customstatus.Change{remove(lost)})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	release()
	require.NoError(t, <-updated)
	got, err := c.Get("b")
	require.NoError(t, err)
	require.Equal(t, []string{"renamed", "kept"}, []string{got.Name, got.Metadata})
}
