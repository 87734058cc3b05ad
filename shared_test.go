package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// sharedFault is a shared store whose feed and commits a test can cut.
type sharedFault struct {
	*customstatus.SharedMemoryStore
	watch  func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error]
	commit func(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error)
	loads  atomic.Int64
}

func (s *sharedFault) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	if s.watch != nil {
		return s.watch(ctx, after)
	}
	return s.SharedMemoryStore.Watch(ctx, after)
}

func (s *sharedFault) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if s.commit != nil {
		return s.commit(ctx, changes)
	}
	return s.SharedMemoryStore.Commit(ctx, changes)
}

func (s *sharedFault) Load(ctx context.Context) ([]customstatus.CustomUserStatus, customstatus.Revision, error) {
	s.loads.Add(1)
	return s.SharedMemoryStore.Load(ctx)
}

func TestSharedCatalogs(t *testing.T) {
	place := customstatus.NewSharedMemory()
	a, b := open(t, place.Open(), nil), open(t, place.Open(), nil)

	s := create(t, a, "a", customstatus.Busy)
	got, err := a.Get(s.ID)
	require.NoError(t, err, "a caller sees its own write at once")
	require.Equal(t, s, got)

	require.NoError(t, b.Sync(ctx))
	got, err = b.GetByName("a")
	require.NoError(t, err, "and everybody's after Sync")
	require.Equal(t, s, got)

	// b has not synced; what it is told is still true of the store.
	require.NoError(t, a.Delete(ctx, s.ID, nil))
	create(t, b, "a", customstatus.Away)
	_, err = a.Create(ctx, customstatus.Fields{Name: "a", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrNameInUse)

	require.NoError(t, a.Sync(ctx))
	s, err = a.GetByName("a")
	require.NoError(t, err)
	_, err = b.Update(ctx, s.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, nil)
	require.NoError(t, err)
	_, err = a.Update(ctx, s.ID, customstatus.Fields{Name: "c", StatusType: "busy"}, &customstatus.WriteOptions{IfRevision: s.Revision})
	require.ErrorIs(t, err, customstatus.ErrConflict)

	// An import that is there already is a question about the store as it is.
	s, err = b.Get(s.ID)
	require.NoError(t, err)
	require.NoError(t, b.Delete(ctx, s.ID, nil))
	revision, err := a.Import(ctx, []customstatus.CustomUserStatus{s})
	require.NoError(t, err)
	require.Greater(t, revision, s.Revision, "imported anew, since it was gone")
}

func TestSharedConcurrent(t *testing.T) {
	place := customstatus.NewSharedMemory()
	const catalogs, writers, rounds = 3, 4, 60
	var all []*customstatus.Catalog
	for range catalogs {
		all = append(all, open(t, place.Open(), nil))
	}
	var wg sync.WaitGroup
	var won [rounds]atomic.Int64
	for i, c := range all {
		for w := range writers {
			wg.Go(func() {
				for n := range rounds {
					// Of all that want this name, one gets it.
					s, err := c.Create(ctx, customstatus.Fields{Name: fmt.Sprint("name", n), StatusType: "busy"})
					if err == nil {
						won[n].Add(1)
						if _, err := c.Get(s.ID); err != nil {
							t.Errorf("catalog %d doesn't see its own write: %v", i, err)
						}
					} else if !errors.Is(err, customstatus.ErrNameInUse) {
						t.Errorf("writer %d: %v", w, err)
					}
				}
			})
		}
	}
	wg.Wait()
	for n := range won {
		require.EqualValues(t, 1, won[n].Load(), "name%d", n)
	}
	require.NoError(t, all[0].Sync(ctx))
	want := list(t, all[0])
	require.Len(t, want, rounds)
	for _, c := range all {
		require.NoError(t, c.Sync(ctx))
		require.Equal(t, want, list(t, c))
	}
}

func TestSharedWatch(t *testing.T) {
	place := customstatus.NewSharedMemory()
	a, b := open(t, place.Open(), nil), open(t, place.Open(), nil)
	s := create(t, a, "a", customstatus.Busy)
	renamed, err := a.Update(ctx, s.ID, customstatus.Fields{Name: "b", StatusType: "away"}, nil)
	require.NoError(t, err)
	require.NoError(t, a.Delete(ctx, s.ID, nil))
	var got []customstatus.Change
	for commit, err := range b.Watch(ctx, 0) {
		require.NoError(t, err)
		got = append(got, commit.Changes...)
		if len(got) == 3 {
			break
		}
	}
	require.Equal(t, []customstatus.Change{
		{Status: s},
		{Replaces: s.Revision, Status: renamed},
		{Replaces: renamed.Revision, Deleted: true, Status: renamed}, // what it was last, for those who show its name
	}, got)
}

func TestSharedFeedFails(t *testing.T) {
	failure := errors.New("connection lost")
	fails := func(err error) func(context.Context, customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
		return func(context.Context, customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(yield func(customstatus.Commit, error) bool) { yield(customstatus.Commit{}, err) }
		}
	}
	gap := func(change customstatus.Change) func(context.Context, customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
		return func(_ context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(yield func(customstatus.Commit, error) bool) {
				yield(customstatus.Commit{Revision: after + 1000, Changes: []customstatus.Change{change}}, nil)
			}
		}
	}
	for name, tt := range map[string]struct {
		watch   func(context.Context, customstatus.Revision) iter.Seq2[customstatus.Commit, error]
		reloads bool
	}{
		"connection": {fails(failure), false},
		"compacted":  {fails(customstatus.ErrCompacted), true},
		"ends": {func(context.Context, customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(func(customstatus.Commit, error) bool) {}
		}, false},
		"deletes a stranger": {gap(customstatus.Change{Deleted: true, Replaces: 1, Status: customstatus.CustomUserStatus{ID: "stranger"}}), true},
		"takes a name":       {gap(customstatus.Change{Status: customstatus.CustomUserStatus{ID: "stranger", Name: "before"}}), true},
		"updates a stranger": {gap(customstatus.Change{Replaces: 1, Status: customstatus.CustomUserStatus{ID: "stranger", Name: "x"}}), true},
	} {
		t.Run(name, func(t *testing.T) {
			place := customstatus.NewSharedMemory()
			other := open(t, place.Open(), nil)
			create(t, other, "before", customstatus.Busy)
			store := &sharedFault{SharedMemoryStore: place.Open()}
			broken := atomic.Bool{}
			broken.Store(true)
			tried := make(chan struct{}, 1000)
			store.watch = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
				if !broken.Load() {
					return store.SharedMemoryStore.Watch(ctx, after)
				}
				tried <- struct{}{}
				return tt.watch(ctx, after)
			}
			c := open(t, store, nil)
			<-tried
			create(t, other, "meanwhile", customstatus.Busy)
			<-tried
			if !tt.reloads {
				// Reads go on; Sync and writes wait as long as they are let.
				short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				defer cancel()
				require.Len(t, list(t, c), 1)
				require.ErrorIs(t, c.Sync(short), context.DeadlineExceeded)
				_, err := c.Create(short, customstatus.Fields{Name: "before", StatusType: "busy"})
				require.ErrorIs(t, err, context.DeadlineExceeded)
			}
			broken.Store(false)
			require.NoError(t, c.Sync(ctx))
			require.Len(t, list(t, c), 2)
			require.Equal(t, tt.reloads, store.loads.Load() > 1)
			create(t, c, "after", customstatus.Busy)
			require.Len(t, list(t, c), 3)
		})
	}
}

func TestSharedStoreAway(t *testing.T) {
	store := &sharedFault{SharedMemoryStore: customstatus.NewSharedMemory().Open()}
	c := open(t, store, nil)
	create(t, c, "a", customstatus.Busy)
	failure := errors.New("no leader")
	store.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) { return 0, failure }
	require.ErrorIs(t, c.Sync(ctx), failure)
	_, err := c.Create(ctx, customstatus.Fields{Name: "a", StatusType: "busy"})
	require.ErrorIs(t, err, failure, "a refusal that can't be verified is not one")
	_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
	require.ErrorIs(t, err, failure)
	store.commit = nil
	create(t, c, "b", customstatus.Busy)
}

func TestCloseWhileTheFeedIsLate(t *testing.T) {
	store := &sharedFault{SharedMemoryStore: customstatus.NewSharedMemory().Open()}
	store.watch = func(ctx context.Context, _ customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
		return func(yield func(customstatus.Commit, error) bool) {
			<-ctx.Done()
			yield(customstatus.Commit{}, ctx.Err())
		}
	}
	c, err := customstatus.Open(ctx, store, nil)
	require.NoError(t, err)
	// The first is committed and waits to see itself, the second waits for that
	// before it begins, and Sync waits too.
	first := goCreate(ctx, c, "first")
	require.Eventually(t, func() bool { return parked("(*Catalog).await(") }, 10*time.Second, time.Millisecond)
	second := goCreate(ctx, c, "second")
	synced := make(chan error, 1)
	go func() { synced <- c.Sync(ctx) }()
	require.Eventually(t, func() bool { return parked("(*Catalog).lead(") && parked("(*Catalog).Sync(") }, 10*time.Second, time.Millisecond)
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("Close waits for ever")
	}
	require.NoError(t, (<-first).err, "it was committed")
	require.ErrorIs(t, (<-second).err, customstatus.ErrClosed)
	require.ErrorIs(t, <-synced, customstatus.ErrClosed)
}

// A refusal must be true at one instant. Of the catalog's own changes, which are
// made when they are committed, and of others' that came since it caught up, it
// can't be had together.
func TestSharedRefusalIsOfOneInstant(t *testing.T) {
	for name, refused := range map[string]struct {
		write func(c *customstatus.Catalog, x customstatus.CustomUserStatus) error
		want  func(t *testing.T, err error)
	}{
		"Update": {
			func(c *customstatus.Catalog, x customstatus.CustomUserStatus) error {
				_, err := c.Update(ctx, x.ID, customstatus.Fields{Name: "ours", StatusType: "busy"}, nil)
				return err
			},
			func(t *testing.T, err error) {
				require.ErrorIs(t, err, customstatus.ErrNotFound, "when the name was taken, the status was gone")
			},
		},
		"Import": {
			func(c *customstatus.Catalog, _ customstatus.CustomUserStatus) error {
				_, err := c.Import(ctx, []customstatus.CustomUserStatus{
					{Name: "ours", StatusType: "busy"},
					{Name: "theirs", StatusType: "busy"},
				})
				return err
			},
			func(t *testing.T, err error) {
				var bad *customstatus.ImportError
				require.ErrorAs(t, err, &bad)
				require.Len(t, bad.Records, 2, "when one name was taken, so was the other")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got error
			besideOurs(t, func(c *customstatus.Catalog, x customstatus.CustomUserStatus) {
				got = refused.write(c, x)
			}, func(other *customstatus.Catalog, x customstatus.CustomUserStatus) {
				create(t, other, "theirs", customstatus.Busy)
				require.NoError(t, other.Delete(ctx, x.ID, nil))
			})
			refused.want(t, got)
		})
	}
}

// An import that adds nothing names a revision at which all is there, though it
// shares a commit with others that comes later.
func TestSharedImportOfNothingNew(t *testing.T) {
	var imported, gone customstatus.Revision
	besideOurs(t, func(c *customstatus.Catalog, x customstatus.CustomUserStatus) {
		var err error
		if imported, err = c.Import(ctx, []customstatus.CustomUserStatus{x}); err != nil {
			t.Error(err)
		}
	}, func(other *customstatus.Catalog, x customstatus.CustomUserStatus) {
		require.NoError(t, other.Delete(ctx, x.ID, nil))
		gone = other.Revision()
	})
	require.Less(t, imported, gone, "at which it is gone")
}

// besideOurs has a catalog make a write in one commit with the creation of "ours",
// over a place where another catalog has made "x". What the other does meanwhile
// comes when the write has been planned, and before it is committed.
func besideOurs(t *testing.T, write, meanwhile func(c *customstatus.Catalog, x customstatus.CustomUserStatus)) {
	t.Helper()
	place := customstatus.NewSharedMemory()
	other := open(t, place.Open(), nil)
	x := create(t, other, "x", customstatus.Busy)
	store, arrived, proceed := gatedCommits(place)
	c := open(t, store, nil)
	blocker := goCreate(ctx, c, "blocker")
	<-arrived
	ours := goCreate(ctx, c, "ours")
	waitBehind(t, 1)
	written := make(chan struct{})
	go func() {
		defer close(written)
		write(c, x)
	}()
	waitBehind(t, 2)
	proceed <- struct{}{}
	require.NoError(t, (<-blocker).err)
	<-arrived // c has caught up with all that there is so far
	meanwhile(other, x)
	proceed <- struct{}{}
	require.NoError(t, (<-ours).err)
	<-written
}

// gatedCommits is a shared store each of whose commits says that it has arrived
// and then waits until it may proceed.
func gatedCommits(place *customstatus.SharedMemory) (store *sharedFault, arrived <-chan struct{}, proceed chan<- struct{}) {
	store = &sharedFault{SharedMemoryStore: place.Open()}
	arrives, proceeds := make(chan struct{}), make(chan struct{})
	store.commit = func(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
		if len(changes) > 0 {
			arrives <- struct{}{}
			<-proceeds
		}
		return store.SharedMemoryStore.Commit(ctx, changes)
	}
	return store, arrives, proceeds
}

// heldFeed is a shared store whose feed comes when the test lets it.
func heldFeed(place *customstatus.SharedMemory) (*sharedFault, chan<- struct{}) {
	store := &sharedFault{SharedMemoryStore: place.Open()}
	release := make(chan struct{})
	store.watch = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
		return func(yield func(customstatus.Commit, error) bool) {
			select {
			case <-release:
			case <-ctx.Done():
			}
			for commit, err := range store.SharedMemoryStore.Watch(ctx, after) {
				if !yield(commit, err) {
					return
				}
			}
		}
	}
	return store, release
}

// TestSharedRefusalsAreOfTheStore has a catalog that shows an old state decide on
// writes.
func TestSharedRefusalsAreOfTheStore(t *testing.T) {
	for name, write := range map[string]func(*customstatus.Catalog, customstatus.CustomUserStatus) error{
		"create": func(c *customstatus.Catalog, _ customstatus.CustomUserStatus) error {
			_, err := c.Create(ctx, customstatus.Fields{Name: "gone", StatusType: "busy"})
			return err
		},
		"import": func(c *customstatus.Catalog, s customstatus.CustomUserStatus) error {
			_, err := c.Import(ctx, []customstatus.CustomUserStatus{s})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			place := customstatus.NewSharedMemory()
			other := open(t, place.Open(), nil)
			s := create(t, other, "gone", customstatus.Busy)
			store, release := heldFeed(place)
			c := open(t, store, nil)
			require.NoError(t, other.Delete(ctx, s.ID, nil))
			done := make(chan error, 1)
			go func() { done <- write(c, s) }()
			require.Eventually(t, func() bool { return parked("(*Catalog).await(") }, 10*time.Second, time.Millisecond)
			require.Len(t, list(t, c), 1, "it still shows the old state")
			close(release)
			require.NoError(t, <-done, "what it showed is no longer so")
			require.Len(t, list(t, c), 1)
		})
	}
}

func TestSharedFeedRepeatsAndReportsProgress(t *testing.T) {
	store := &sharedFault{SharedMemoryStore: customstatus.NewSharedMemory().Open()}
	store.watch = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
		return func(yield func(customstatus.Commit, error) bool) {
			for commit, err := range store.SharedMemoryStore.Watch(ctx, after) {
				repeated := commit
				progress := customstatus.Commit{Revision: commit.Revision}
				if !yield(commit, err) || err != nil || !yield(repeated, nil) || !yield(progress, nil) {
					return
				}
				progress.Revision++ // of something else that the store keeps
				if !yield(progress, nil) {
					return
				}
			}
		}
	}
	c := open(t, store, nil)
	a := create(t, c, "a", customstatus.Busy)
	require.NoError(t, c.Delete(ctx, a.ID, nil))
	last := create(t, c, "b", customstatus.Busy)
	var got []customstatus.Revision
	for commit, err := range c.Watch(ctx, 0) {
		require.NoError(t, err)
		require.Len(t, commit.Changes, 1, "progress is no change")
		got = append(got, commit.Revision)
		if commit.Revision == last.Revision {
			break
		}
	}
	require.Len(t, got, 3)
	require.NoError(t, c.Sync(ctx))
	require.Len(t, list(t, c), 1)
	require.EqualValues(t, 1, store.loads.Load())
}

func TestCloseWhileTheStoreDoesNotAnswer(t *testing.T) {
	store := &sharedFault{SharedMemoryStore: customstatus.NewSharedMemory().Open()}
	c := open(t, store, nil)
	create(t, c, "a", customstatus.Busy)
	asked := make(chan struct{}, 2)
	store.commit = func(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
		if len(changes) > 0 {
			return store.SharedMemoryStore.Commit(ctx, changes)
		}
		asked <- struct{}{}
		<-ctx.Done()
		return 0, ctx.Err()
	}
	refused := goCreate(ctx, c, "a") // which has to be verified
	synced := make(chan error, 1)
	<-asked
	go func() { synced <- c.Sync(ctx) }()
	<-asked
	require.NoError(t, c.Close())
	require.ErrorIs(t, (<-refused).err, customstatus.ErrClosed)
	require.ErrorIs(t, <-synced, customstatus.ErrClosed)
}

func TestSharedFeedThatSkipsAnUpdate(t *testing.T) {
	place := customstatus.NewSharedMemory()
	other := open(t, place.Open(), nil)
	s := create(t, other, "a", customstatus.Busy)
	store := &sharedFault{SharedMemoryStore: place.Open()}
	skipped := false
	store.watch = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
		return func(yield func(customstatus.Commit, error) bool) {
			for commit, err := range store.SharedMemoryStore.Watch(ctx, after) {
				if err == nil && !skipped {
					skipped = true
					continue
				}
				if !yield(commit, err) {
					return
				}
			}
		}
	}
	c := open(t, store, nil)
	page, err := c.List(customstatus.Query{})
	require.NoError(t, err)
	for _, name := range []string{"b", "c"} {
		_, err := other.Update(ctx, s.ID, customstatus.Fields{Name: name, StatusType: "busy"}, nil)
		require.NoError(t, err)
	}
	require.NoError(t, c.Sync(ctx))
	_, err = c.GetByName("c")
	require.NoError(t, err)
	for _, err := range c.Watch(ctx, page.Revision) {
		require.ErrorIs(t, err, customstatus.ErrCompacted, "better to list again than to miss a change")
	}
}

func TestSharedWatchOfARevisionYetToCome(t *testing.T) {
	place := customstatus.NewSharedMemory()
	other := open(t, place.Open(), nil)
	store, release := heldFeed(place)
	c := open(t, store, nil)
	create(t, other, "a", customstatus.Busy)
	seen := other.Revision() // a client saw it there and comes here
	got := make(chan customstatus.Commit, 1)
	go func() {
		for commit, err := range c.Watch(ctx, seen) {
			if err == nil {
				got <- commit
			}
			close(got)
			return
		}
	}()
	require.Eventually(t, func() bool { return parked("(*Catalog).await(") }, 10*time.Second, time.Millisecond)
	close(release)
	b := create(t, other, "b", customstatus.Busy)
	require.Equal(t, b, (<-got).Changes[0].Status)

	for _, err := range c.Watch(ctx, b.Revision+1000) {
		require.ErrorIs(t, err, customstatus.ErrCompacted)
	}
}

// TestSharedFeedBreaksOften has a feed that ends after every commit: as long as
// it brings something, it is taken up again at once.
func TestSharedFeedBreaksOften(t *testing.T) {
	store := &sharedFault{SharedMemoryStore: customstatus.NewSharedMemory().Open()}
	var pauses atomic.Int64
	store.watch = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
		return func(yield func(customstatus.Commit, error) bool) {
			pauses.Add(1)
			for commit, err := range store.SharedMemoryStore.Watch(ctx, after) {
				yield(commit, err)
				return
			}
		}
	}
	c := open(t, store, nil)
	for i := range 30 { // with a pause that doubles this would take minutes
		create(t, c, fmt.Sprint(i), customstatus.Busy)
	}
	require.GreaterOrEqual(t, pauses.Load(), int64(30))
}
