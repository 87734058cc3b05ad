package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestOutcomeUnknown(t *testing.T) {
	for name, written := range map[string]bool{"written": true, "not written": false} {
		t.Run(name, func(t *testing.T) {
			store := &faultyStore{Store: customstatus.NewMemoryStore()}
			c := open(t, store, nil)
			a := create(t, c, "a", customstatus.Busy)
			before := c.Position()
			store.commit = func(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
				if written {
					_, err := store.Store.Commit(ctx, changes)
					require.NoError(t, err)
				}
				return 0, fmt.Errorf("sync: %w", customstatus.ErrOutcomeUnknown)
			}
			_, err := c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
			require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			require.Equal(t, []customstatus.CustomUserStatus{a}, list(t, c), "only what is known to be durable is shown")

			// While the store can't be read either, nothing is written.
			commit := store.commit
			store.commit = nil
			failure := errors.New("no disk")
			store.load = func(context.Context) (customstatus.Contents, error) {
				return customstatus.Contents{}, failure
			}
			_, err = c.Create(ctx, customstatus.Fields{Name: "c", StatusType: "busy"})
			require.ErrorIs(t, err, failure)
			require.ErrorIs(t, c.Sync(ctx), failure)

			// Who asks finds out.
			store.load = nil
			require.NoError(t, c.Sync(ctx))
			_, err = c.GetByName("b")
			require.Equal(t, written, err == nil)
			if written {
				remove(t, c, list(t, c)[1].ID, nil)
			}

			// And so does the next write.
			store.commit = commit
			_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
			require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			store.commit = nil
			_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
			if written {
				require.ErrorIs(t, err, customstatus.ErrNameInUse)
				require.Len(t, list(t, c), 2)
				for _, err := range c.Watch(ctx, before) {
					require.ErrorIs(t, err, customstatus.ErrCompacted, "the feed doesn't know that commit")
				}
			} else {
				require.NoError(t, err)
			}
		})
	}
}

// TestSomebodyElseWrites is about a store that should be the catalog's alone.
func TestSomebodyElseWrites(t *testing.T) {
	store := &faultyStore{Store: customstatus.NewMemoryStore()}
	c := open(t, store, nil)
	create(t, c, "a", customstatus.Busy)
	_, err := store.Store.Commit(ctx, []customstatus.Change{{Kind: customstatus.Created, After: customstatus.CustomUserStatus{ID: "x", Name: "b"}}})
	require.NoError(t, err)
	_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrNameInUse, "no name is given twice even so")

	store.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) {
		return 0, customstatus.ErrConflict
	}
	_, err = c.Create(ctx, customstatus.Fields{Name: "c", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrNotExclusive)
	require.NotErrorIs(t, err, customstatus.ErrConflict, "which has another remedy")
}

// A panic of the store, the clock or an observer becomes an error: it must not
// end the host's process, whose goroutine it is only by chance.
func TestPanics(t *testing.T) {
	t.Run("store", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			var logged strings.Builder
			c := open(t, g, &customstatus.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
			release := g.block(t, c)
			one, two := goCreate(ctx, c, "one"), goCreate(ctx, c, "two")
			synctest.Wait()
			commit := g.commit
			g.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) { panic("broken store") }
			release()
			for _, done := range []<-chan result{one, two} {
				err := (<-done).err
				require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
				require.ErrorContains(t, err, "broken store")
			}
			require.Contains(t, logged.String(), "fault_test.go", "the stack is in the log")
			require.ErrorIs(t, c.Stats().CommitError, customstatus.ErrOutcomeUnknown)
			g.commit = commit
			after := goCreate(ctx, c, "after")
			<-g.arrived
			g.proceed <- nil
			require.NoError(t, (<-after).err, "the turn was given up")
			require.NoError(t, c.Stats().CommitError)
		})
	})
	t.Run("load", func(t *testing.T) {
		_, err := customstatus.Open(ctx, &faultyStore{load: func(context.Context) (customstatus.Contents, error) { panic("broken store") }},
			&customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		require.ErrorContains(t, err, "broken store")
	})
	t.Run("clock", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			var broken atomic.Bool
			c := open(t, g, &customstatus.Options{Logger: slog.New(slog.DiscardHandler), Now: func() time.Time {
				if broken.CompareAndSwap(true, false) {
					panic("broken clock")
				}
				return start
			}})
			release := g.block(t, c)
			one, two := goCreate(ctx, c, "one"), goCreate(ctx, c, "two")
			synctest.Wait()
			broken.Store(true)
			release()
			require.Len(t, <-g.arrived, 1, "the other write of the group goes on")
			g.proceed <- nil
			errs := []error{(<-one).err, (<-two).err}
			if errs[0] == nil {
				slices.Reverse(errs)
			}
			require.ErrorContains(t, errs[0], "broken clock")
			require.NoError(t, errs[1])
			require.Equal(t, 2, c.Len())
		})
	})
	t.Run("observer", func(t *testing.T) {
		c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{
			Logger:   slog.New(slog.DiscardHandler),
			Observer: &customstatus.Observer{Commit: func(customstatus.CommitInfo) { panic("broken observer") }},
		})
		create(t, c, "a", customstatus.Busy)
		create(t, c, "b", customstatus.Busy)
	})
}

// replaceable is a store whose place a test can fill anew, as an operator who
// restores a file does.
type replaceable struct {
	mu     sync.Mutex
	store  customstatus.Store
	broken error
	closed bool
}

func (r *replaceable) Load(ctx context.Context) (customstatus.Contents, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.state(); err != nil {
		return customstatus.Contents{}, err
	}
	return r.store.Load(ctx)
}

func (r *replaceable) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.state(); err != nil {
		return 0, err
	}
	return r.store.Commit(ctx, changes)
}

func (r *replaceable) Revision(ctx context.Context) (customstatus.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.state(); err != nil {
		return 0, err
	}
	return r.store.Revision(ctx)
}

func (r *replaceable) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return nil
}

func (r *replaceable) state() error {
	if r.closed {
		return customstatus.ErrClosed
	}
	return r.broken
}

// filled returns a memory store with statuses of these names.
func filled(t *testing.T, names ...string) customstatus.Store {
	t.Helper()
	store := customstatus.NewMemoryStore()
	for _, name := range names {
		_, err := store.Commit(ctx, []customstatus.Change{{Kind: customstatus.Created, After: customstatus.CustomUserStatus{
			ID: name, Name: name, StatusType: customstatus.Busy, UpdatedAt: start,
		}}})
		require.NoError(t, err)
	}
	return store
}

func TestReopen(t *testing.T) {
	needsReopen := fmt.Errorf("sync failed: %w", customstatus.ErrNeedsReopen)
	type setting struct {
		c      *customstatus.Catalog
		broken *replaceable       // the first store
		next   customstatus.Store // what Reopen returns
		fails  error              // what Reopen fails with
		// What the observer was told.
		loads   []bool
		reopens []error
	}
	set := func(t *testing.T, names ...string) *setting {
		s := &setting{broken: &replaceable{store: filled(t, names...)}}
		s.c = open(t, s.broken, &customstatus.Options{
			Logger: slog.New(slog.DiscardHandler),
			Observer: &customstatus.Observer{
				Load:   func(info customstatus.LoadInfo) { s.loads = append(s.loads, info.Rewound) },
				Reopen: func(info customstatus.ReopenInfo) { s.reopens = append(s.reopens, info.Err) },
			},
			Reopen: func(context.Context) (customstatus.Store, error) {
				require.True(t, s.broken.closed, "the old store is closed first: it may hold a lock")
				return s.next, s.fails
			},
		})
		return s
	}
	t.Run("OK same content", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := set(t, "a", "b")
			watched := firstOf(s.c, s.c.Position())
			s.broken.broken, s.next = needsReopen, s.broken.store
			made := create(t, s.c, "c", customstatus.Busy)
			require.Equal(t, customstatus.Revision(3), made.Revision)
			require.Equal(t, made, (<-watched).Changes[0].After, "with an equal position watchers go on")
			stats := s.c.Stats()
			require.EqualValues(t, 1, stats.Reopens)
			require.Zero(t, stats.Rewinds)
			require.Equal(t, []bool{false}, s.loads)
		})
	})
	t.Run("OK older content", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := set(t, "a", "b", "c")
			ended := make(chan error, 1)
			go func() {
				for _, err := range s.c.Watch(ctx, s.c.Position()) {
					ended <- err
				}
			}()
			synctest.Wait()
			s.broken.broken, s.next = needsReopen, filled(t, "a")
			create(t, s.c, "d", customstatus.Busy)
			require.ErrorIs(t, <-ended, customstatus.ErrCompacted)
			require.Equal(t, 2, s.c.Len(), "what is there counts")
			require.Equal(t, customstatus.Revision(2), s.c.Revision())
			require.EqualValues(t, 1, s.c.Stats().Rewinds)
			require.Equal(t, []bool{true}, s.loads)
		})
	})
	t.Run("OK other content of the same revision", func(t *testing.T) {
		s := set(t, "a", "b")
		before := s.c.Position()
		s.broken.broken, s.next = needsReopen, filled(t, "x", "y")
		create(t, s.c, "d", customstatus.Busy)
		require.EqualValues(t, 1, s.c.Stats().Rewinds)
		for _, err := range s.c.Watch(ctx, before) {
			require.ErrorIs(t, err, customstatus.ErrCompacted)
		}
	})
	t.Run("Sync", func(t *testing.T) {
		s := set(t, "a")
		s.broken.store = &faultyStore{Store: s.broken.store, commit: func(context.Context, []customstatus.Change) (customstatus.Revision, error) {
			s.broken.broken = needsReopen // from the next call on, as the bbolt store does
			return 0, customstatus.ErrOutcomeUnknown
		}}
		_, err := s.c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
		require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown, "it is not tried again")
		s.next = filled(t, "a", "b")
		require.NoError(t, s.c.Sync(ctx))
		_, err = s.c.GetByName("b")
		require.NoError(t, err, "Sync finds out what came of it")
	})
	t.Run("Sync of a store that nobody writes", func(t *testing.T) {
		s := set(t, "a")
		s.broken.broken, s.next = needsReopen, filled(t, "a")
		require.NoError(t, s.c.Sync(ctx))
		require.EqualValues(t, 1, s.c.Stats().Reopens)
	})
	t.Run("ErrNeedsReopen while it can't be opened", func(t *testing.T) {
		s := set(t, "a")
		failure := errors.New("no disk")
		s.broken.broken, s.fails = needsReopen, failure
		for range 2 {
			_, err := s.c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
			require.ErrorIs(t, err, customstatus.ErrNeedsReopen)
			require.ErrorIs(t, err, failure)
			require.NotErrorIs(t, err, customstatus.ErrClosed)
		}
		_, err := s.c.Get("a")
		require.NoError(t, err, "reads go on")
		require.ErrorIs(t, s.c.Sync(ctx), failure)
		s.fails, s.next = nil, filled(t, "a")
		create(t, s.c, "b", customstatus.Busy)
		require.EqualValues(t, 1, s.c.Stats().Reopens)
		require.Equal(t, []error{failure, failure, failure, nil}, s.reopens)
	})
	t.Run("ErrNeedsReopen of the new store too", func(t *testing.T) {
		s := set(t, "a")
		s.broken.broken = needsReopen
		s.next = &faultyStore{Store: filled(t, "a"), commit: func(context.Context, []customstatus.Change) (customstatus.Revision, error) {
			return 0, needsReopen
		}}
		_, err := s.c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
		require.ErrorIs(t, err, customstatus.ErrNeedsReopen)
		require.EqualValues(t, 1, s.c.Stats().Reopens, "it is not reopened without end")
	})
}

// small is a store that takes few changes at once, and some statuses not at all.
type small struct {
	customstatus.Store
	limit   int
	says    int // what it says that it takes
	commits []int
	refused int
}

func (s *small) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	for _, c := range changes {
		if strings.HasPrefix(c.After.Name, "monster") {
			s.refused++
			return 0, &customstatus.TooLargeError{Err: errors.New("a monster")}
		}
	}
	if len(changes) > s.limit {
		s.refused++
		return 0, &customstatus.TooLargeError{MaxChanges: s.says}
	}
	s.commits = append(s.commits, len(changes))
	return s.Store.Commit(ctx, changes)
}

// What a store can't take fails alone, and the rest of its commit is made.
func TestTooLarge(t *testing.T) {
	group := func(t *testing.T, limit, says int, names ...string) (*small, map[string]error) {
		t.Helper()
		store := &small{Store: customstatus.NewMemoryStore(), limit: limit, says: says}
		g := newGate()
		g.Store = store
		c := open(t, g, nil)
		release := g.block(t, c)
		done := make(map[string]<-chan result)
		for _, name := range names {
			done[name] = goCreate(ctx, c, name)
		}
		synctest.Wait()
		go func() {
			for range g.arrived {
				g.proceed <- nil
			}
		}()
		release()
		errs := make(map[string]error)
		for name, done := range done {
			if err := (<-done).err; err != nil {
				errs[name] = err
			}
		}
		require.Equal(t, 1+len(names)-len(errs), c.Len())
		require.NoError(t, c.Close())
		close(g.arrived)
		return store, errs
	}
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprint("name", i))
	}
	for name, tt := range map[string]struct{ limit, says, mostRefused, atLeast int }{
		"it says how many":               {40, 40, 1, 40},
		"it says less than it must":      {32, 5, 1, 32},
		"it says more than it takes":     {20, 90, 16, 10},
		"it says more than it was given": {20, 1000, 16, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, errs := group(t, tt.limit, tt.says, names...)
				require.Empty(t, errs)
				require.LessOrEqual(t, store.refused, tt.mostRefused)
				require.GreaterOrEqual(t, slices.Max(store.commits), tt.atLeast)
			})
		})
	}
	t.Run("one never fits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			_, errs := group(t, 1000, 1000, append(names, "monster")...)
			require.Len(t, errs, 1)
			var tooLarge *customstatus.TooLargeError
			require.ErrorAs(t, errs["monster"], &tooLarge)
			require.Zero(t, tooLarge.MaxChanges)
			require.ErrorIs(t, errs["monster"], customstatus.ErrTooLarge)
		})
	})
	t.Run("import", func(t *testing.T) {
		store := &small{Store: customstatus.NewMemoryStore(), limit: 40, says: 40}
		c := open(t, store, nil)
		var all []customstatus.CustomUserStatus
		for i := range 41 {
			all = append(all, customstatus.CustomUserStatus{ID: fmt.Sprint(i), Name: fmt.Sprint(i), StatusType: "busy", UpdatedAt: start})
		}
		_, err := c.Import(ctx, all)
		var tooLarge *customstatus.TooLargeError
		require.ErrorAs(t, err, &tooLarge, "an import is never split")
		require.Equal(t, 40, tooLarge.MaxChanges)
		require.EqualError(t, err, "too large: at most 40 changes fit in one commit")
		require.Zero(t, c.Len())
		require.NoError(t, c.Stats().CommitError, "the store has not failed")
		result, err := c.Import(ctx, all[:40])
		require.NoError(t, err)
		require.Equal(t, 40, result.Added)
		result, err = c.Import(ctx, all)
		require.NoError(t, err, "what is there needs no room")
		require.Equal(t, customstatus.ImportResult{Added: 1, Unchanged: 40, Revision: 2}, result)
	})
}

// Writes share a commit only up to a bound, so that none waits long.
func TestGroupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		release := g.block(t, c)
		var done []<-chan result
		for i := range 2500 {
			done = append(done, goCreate(ctx, c, fmt.Sprint(i)))
		}
		var many []customstatus.CustomUserStatus
		for i := range 2000 {
			many = append(many, customstatus.CustomUserStatus{Name: fmt.Sprint("many", i), StatusType: "busy"})
		}
		synctest.Wait()
		imported := make(chan error, 1)
		go func() {
			_, err := c.Import(ctx, many)
			imported <- err
		}()
		synctest.Wait()
		release()
		for _, want := range []int{1024, 1024, 452, 2000} {
			require.Len(t, <-g.arrived, want)
			g.proceed <- nil
		}
		for _, done := range done {
			require.NoError(t, (<-done).err)
		}
		require.NoError(t, <-imported)
	})
}

// Writes that are given up while they wait are not looked for one by one.
func TestManyWritesGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		release := g.block(t, c)
		givenUp, cancel := context.WithCancel(ctx)
		var lost, kept []<-chan result
		for i := range 3000 {
			lost = append(lost, goCreate(givenUp, c, fmt.Sprint("lost", i)))
			if i%10 == 0 {
				kept = append(kept, goCreate(ctx, c, fmt.Sprint("kept", i)))
			}
		}
		synctest.Wait()
		require.Equal(t, 3300, c.Stats().PendingWrites)
		cancel()
		for _, done := range lost {
			require.ErrorIs(t, (<-done).err, context.Canceled)
		}
		require.Equal(t, 300, c.Stats().PendingWrites)
		release()
		require.Len(t, <-g.arrived, 300)
		g.proceed <- nil
		for _, done := range kept {
			require.NoError(t, (<-done).err)
		}
		require.Zero(t, c.Stats().PendingWrites)
	})
}

// What Sync finds is no commit. Nor is a write that could not begin.
func TestSyncIsNoCommit(t *testing.T) {
	store := &faultyStore{Store: customstatus.NewMemoryStore()}
	seen := 0
	c := open(t, store, &customstatus.Options{
		Logger:   slog.New(slog.DiscardHandler),
		Observer: &customstatus.Observer{Commit: func(customstatus.CommitInfo) { seen++ }},
	})
	store.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) {
		return 0, customstatus.ErrOutcomeUnknown
	}
	_, err := c.Create(ctx, customstatus.Fields{Name: "a", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	failure := errors.New("no disk")
	store.load = func(context.Context) (customstatus.Contents, error) { return customstatus.Contents{}, failure }
	require.ErrorIs(t, c.Sync(ctx), failure)
	require.ErrorIs(t, c.Stats().CommitError, failure)
	_, err = c.Create(ctx, customstatus.Fields{Name: "a", StatusType: "busy"})
	require.ErrorIs(t, err, failure)
	require.EqualValues(t, 1, c.Stats().FailedCommits)
	require.Equal(t, 1, seen)

	store.load, store.commit = nil, nil
	require.NoError(t, c.Sync(ctx))
	require.NoError(t, c.Stats().CommitError)
	require.Zero(t, c.Stats().CommitErrorSince)
	create(t, c, "a", customstatus.Busy)
	require.EqualValues(t, 1, c.Stats().FailedCommits)
	require.Equal(t, 2, seen)
}

// Sync waits for a slow store no longer than its context says. That is no failure of
// the store.
func TestSyncEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: customstatus.NewMemoryStore()}
		c := open(t, store, nil)
		store.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) {
			return 0, customstatus.ErrOutcomeUnknown
		}
		_, err := c.Create(ctx, customstatus.Fields{Name: "a", StatusType: "busy"})
		require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
		store.load = func(ctx context.Context) (customstatus.Contents, error) {
			<-ctx.Done()
			return customstatus.Contents{}, ctx.Err()
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		require.ErrorIs(t, c.Sync(short), context.DeadlineExceeded)
		require.ErrorIs(t, c.Stats().CommitError, customstatus.ErrOutcomeUnknown)
		require.EqualValues(t, 1, c.Stats().Loads)
		store.load = nil
		require.NoError(t, c.Sync(ctx))
		require.EqualValues(t, 2, c.Stats().Loads)
	})
}

func TestObserver(t *testing.T) {
	var seen []customstatus.CommitInfo
	store := &faultyStore{Store: customstatus.NewMemoryStore()}
	c := open(t, store, &customstatus.Options{
		Logger:   slog.New(slog.DiscardHandler),
		Now:      ticking(),
		Observer: &customstatus.Observer{Commit: func(info customstatus.CommitInfo) { seen = append(seen, info) }},
	})
	create(t, c, "a", customstatus.Busy)
	failure := errors.New("disk full")
	store.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) { return 0, failure }
	for range 2 {
		_, err := c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
		require.ErrorIs(t, err, failure)
	}
	stats := c.Stats()
	require.ErrorIs(t, stats.CommitError, failure)
	require.Equal(t, start.Add(2*time.Second), stats.CommitErrorSince, "since the first of them")
	require.EqualValues(t, 2, stats.FailedCommits)
	store.commit = nil
	_, err := c.Import(ctx, []customstatus.CustomUserStatus{{Name: "c", StatusType: "busy"}, {Name: "d", StatusType: "busy"}})
	require.NoError(t, err)

	for i := range seen {
		require.GreaterOrEqual(t, seen[i].Duration, time.Duration(0))
		seen[i].Duration = 0
	}
	require.Equal(t, []customstatus.CommitInfo{
		{Revision: 1, Writes: 1, Changes: 1},
		{Writes: 1, Changes: 1, Err: failure},
		{Writes: 1, Changes: 1, Err: failure},
		{Revision: 2, Writes: 1, Changes: 2},
	}, seen)
	stats = c.Stats()
	require.NoError(t, stats.CommitError)
	require.Zero(t, stats.CommitErrorSince)
	require.Equal(t, 3, stats.Statuses)
	require.EqualValues(t, 2, stats.Commits)
	require.EqualValues(t, 3, stats.Changes)
	require.EqualValues(t, 1, stats.Loads)
	require.Equal(t, c.Position(), stats.Position)
	require.Equal(t, 3, stats.HistoryChanges)
}
