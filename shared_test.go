package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

// openShared is open for a store that others write too.
func openShared(t testing.TB, store customstatus.SharedStore, opts *customstatus.Options) *customstatus.Catalog {
	t.Helper()
	c, err := customstatus.OpenShared(ctx, store, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

type watchFunc = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error]

// sharedFault is a shared store whose feed and commits a test can cut.
type sharedFault struct {
	*storetest.SharedMemoryStore
	watch    watchFunc
	commit   func(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error)
	revision func(ctx context.Context) (customstatus.Revision, error)
	loads    atomic.Int64
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

func (s *sharedFault) Revision(ctx context.Context) (customstatus.Revision, error) {
	if s.revision != nil {
		return s.revision(ctx)
	}
	return s.SharedMemoryStore.Revision(ctx)
}

func (s *sharedFault) Load(ctx context.Context) (customstatus.Contents, error) {
	s.loads.Add(1)
	return s.SharedMemoryStore.Load(ctx)
}

func TestSharedCatalogs(t *testing.T) {
	place := storetest.NewSharedMemory()
	a, b := openShared(t, place.Open(), nil), openShared(t, place.Open(), nil)

	s := create(t, a, "a", customstatus.Busy)
	got, err := a.Get(s.ID)
	require.NoError(t, err, "a caller sees its own write at once")
	require.Equal(t, s, got)

	require.NoError(t, b.Sync(ctx))
	got, err = b.GetByName("a")
	require.NoError(t, err, "and everybody's after Sync")
	require.Equal(t, s, got)

	// b has not synced; what it is told is still true of the store.
	remove(t, a, s.ID, nil)
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
	remove(t, b, s.ID, nil)
	result, err := a.Import(ctx, []customstatus.CustomUserStatus{s})
	require.NoError(t, err)
	require.Greater(t, result.Revision, s.Revision, "imported anew, since it was gone")
}

func TestSharedConcurrent(t *testing.T) {
	place := storetest.NewSharedMemory()
	const catalogs, writers, rounds = 3, 4, 60
	var all []*customstatus.Catalog
	for range catalogs {
		all = append(all, openShared(t, place.Open(), nil))
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
	place := storetest.NewSharedMemory()
	a, b := openShared(t, place.Open(), nil), openShared(t, place.Open(), nil)
	s := create(t, a, "a", customstatus.Busy)
	renamed, err := a.Update(ctx, s.ID, customstatus.Fields{Name: "b", StatusType: "away"}, nil)
	require.NoError(t, err)
	remove(t, a, s.ID, nil)
	var got []customstatus.Change
	for commit, err := range b.Watch(ctx, customstatus.Position{}) {
		require.NoError(t, err)
		got = append(got, commit.Changes...)
		if len(got) == 3 {
			break
		}
	}
	require.Equal(t, []customstatus.Change{
		{Kind: customstatus.Created, After: s},
		{Kind: customstatus.Updated, Before: s, After: renamed},
		{Kind: customstatus.Deleted, Before: renamed}, // what it was last, for those who show its name
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
		"deletes a stranger": {gap(customstatus.Change{Kind: customstatus.Deleted, Before: customstatus.CustomUserStatus{ID: "stranger", Revision: 1}}), true},
		"takes a name":       {gap(customstatus.Change{Kind: customstatus.Created, After: customstatus.CustomUserStatus{ID: "stranger", Name: "before"}}), true},
		"updates a stranger": {gap(customstatus.Change{
			Kind:   customstatus.Updated,
			Before: customstatus.CustomUserStatus{ID: "stranger", Revision: 1},
			After:  customstatus.CustomUserStatus{ID: "stranger", Name: "x"},
		}), true},
		"of no kind": {gap(customstatus.Change{After: customstatus.CustomUserStatus{ID: "stranger", Name: "x"}}), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				place := storetest.NewSharedMemory()
				other := openShared(t, place.Open(), nil)
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
				c := openShared(t, store, nil)
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
		})
	}
}

func TestSharedStoreAway(t *testing.T) {
	store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
	c := openShared(t, store, nil)
	create(t, c, "a", customstatus.Busy)
	failure := errors.New("no leader")
	store.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) { return 0, failure }
	store.revision = func(context.Context) (customstatus.Revision, error) { return 0, failure }
	require.ErrorIs(t, c.Sync(ctx), failure)
	_, err := c.Create(ctx, customstatus.Fields{Name: "a", StatusType: "busy"})
	require.ErrorIs(t, err, failure, "a refusal that can't be verified is not one")
	_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
	require.ErrorIs(t, err, failure)
	stats := c.Stats()
	require.ErrorIs(t, stats.CommitError, failure)
	require.EqualValues(t, 1, stats.FailedCommits)
	store.commit, store.revision = nil, nil
	create(t, c, "b", customstatus.Busy)
	require.NoError(t, c.Stats().CommitError)
}

func TestCloseWhileTheFeedIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		store.watch = func(ctx context.Context, _ customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(yield func(customstatus.Commit, error) bool) {
				<-ctx.Done()
				yield(customstatus.Commit{}, ctx.Err())
			}
		}
		c, err := customstatus.OpenShared(ctx, store, nil)
		require.NoError(t, err)
		// The first is committed and waits to see itself, the second waits for that
		// before it begins, and Sync waits too.
		first := goCreate(ctx, c, "first")
		synctest.Wait()
		second := goCreate(ctx, c, "second")
		synced := make(chan error, 1)
		go func() { synced <- c.Sync(ctx) }()
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		require.NoError(t, <-closed)
		require.NoError(t, (<-first).err, "it was committed")
		require.ErrorIs(t, (<-second).err, customstatus.ErrClosed)
		require.ErrorIs(t, <-synced, customstatus.ErrClosed)
	})
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
				require.Len(t, bad.Refused, 2, "when one name was taken, so was the other")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var got error
				besideOurs(t, func(c *customstatus.Catalog, x customstatus.CustomUserStatus) {
					got = refused.write(c, x)
				}, func(other *customstatus.Catalog, x customstatus.CustomUserStatus) {
					create(t, other, "theirs", customstatus.Busy)
					remove(t, other, x.ID, nil)
				})
				refused.want(t, got)
			})
		})
	}
}

// An import that adds nothing names a revision at which all is there, though it
// shares a commit with others that comes later.
func TestSharedImportOfNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var imported, gone customstatus.Revision
		besideOurs(t, func(c *customstatus.Catalog, x customstatus.CustomUserStatus) {
			result, err := c.Import(ctx, []customstatus.CustomUserStatus{x})
			if err != nil {
				t.Error(err)
			}
			imported = result.Revision
		}, func(other *customstatus.Catalog, x customstatus.CustomUserStatus) {
			remove(t, other, x.ID, nil)
			gone = other.Revision()
		})
		require.Less(t, imported, gone, "at which it is gone")
	})
}

// besideOurs has a catalog make a write in one commit with the creation of "ours",
// over a place where another catalog has made "x". What the other does meanwhile
// comes when the write has been planned, and before it is committed.
func besideOurs(t *testing.T, write, meanwhile func(c *customstatus.Catalog, x customstatus.CustomUserStatus)) {
	t.Helper()
	place := storetest.NewSharedMemory()
	other := openShared(t, place.Open(), nil)
	x := create(t, other, "x", customstatus.Busy)
	store, arrived, proceed := gatedCommits(place)
	c := openShared(t, store, nil)
	blocker := goCreate(ctx, c, "blocker")
	<-arrived
	ours := goCreate(ctx, c, "ours")
	synctest.Wait()
	written := make(chan struct{})
	go func() {
		defer close(written)
		write(c, x)
	}()
	synctest.Wait()
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
func gatedCommits(place *storetest.SharedMemory) (store *sharedFault, arrived <-chan struct{}, proceed chan<- struct{}) {
	store = &sharedFault{SharedMemoryStore: place.Open()}
	arrives, proceeds := make(chan struct{}), make(chan struct{})
	store.commit = func(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
		arrives <- struct{}{}
		<-proceeds
		return store.SharedMemoryStore.Commit(ctx, changes)
	}
	return store, arrives, proceeds
}

// heldFeed is a shared store whose feed comes when the test lets it.
func heldFeed(place *storetest.SharedMemory) (*sharedFault, chan<- struct{}) {
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
			synctest.Test(t, func(t *testing.T) {
				place := storetest.NewSharedMemory()
				other := openShared(t, place.Open(), nil)
				s := create(t, other, "gone", customstatus.Busy)
				store, release := heldFeed(place)
				c := openShared(t, store, nil)
				remove(t, other, s.ID, nil)
				done := make(chan error, 1)
				go func() { done <- write(c, s) }()
				synctest.Wait()
				require.Len(t, list(t, c), 1, "it still shows the old state")
				close(release)
				require.NoError(t, <-done, "what it showed is no longer so")
				require.NoError(t, c.Sync(ctx))
				require.Len(t, list(t, c), 1)
			})
		})
	}
}

func TestSharedFeedRepeatsAndReportsProgress(t *testing.T) {
	store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
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
	store.revision = func(ctx context.Context) (customstatus.Revision, error) {
		revision, err := store.SharedMemoryStore.Revision(ctx)
		return revision + 1, err
	}
	c := openShared(t, store, nil)
	a := create(t, c, "a", customstatus.Busy)
	remove(t, c, a.ID, nil)
	last := create(t, c, "b", customstatus.Busy)
	var got []customstatus.Revision
	for commit, err := range c.Watch(ctx, customstatus.Position{}) {
		require.NoError(t, err)
		require.Len(t, commit.Changes, 1, "progress is no change")
		got = append(got, commit.Revision)
		if commit.Revision == last.Revision {
			break
		}
	}
	require.Len(t, got, 3)
	require.NoError(t, c.Sync(ctx))
	require.Greater(t, c.Revision(), last.Revision)
	require.Equal(t, last.Revision, c.Position().Revision, "progress without changes doesn't move the position")
	require.Len(t, list(t, c), 1)
	require.EqualValues(t, 1, store.loads.Load())
}

func TestCloseWhileTheStoreDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		c := openShared(t, store, nil)
		create(t, c, "a", customstatus.Busy)
		asked := make(chan struct{}, 2)
		store.revision = func(ctx context.Context) (customstatus.Revision, error) {
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
	})
}

func TestSharedFeedThatSkipsAnUpdate(t *testing.T) {
	place := storetest.NewSharedMemory()
	other := openShared(t, place.Open(), nil)
	s := create(t, other, "a", customstatus.Busy)
	store := &sharedFault{SharedMemoryStore: place.Open()}
	skipped := false
	store.watch = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
		return func(yield func(customstatus.Commit, error) bool) {
			for commit, err := range store.SharedMemoryStore.Watch(ctx, after) {
				if err == nil && !skipped && len(commit.Changes) > 0 {
					skipped = true
					continue
				}
				if !yield(commit, err) {
					return
				}
			}
		}
	}
	c := openShared(t, store, nil)
	page, err := c.List(customstatus.Query{})
	require.NoError(t, err)
	for _, name := range []string{"b", "c"} {
		_, err := other.Update(ctx, s.ID, customstatus.Fields{Name: name, StatusType: "busy"}, nil)
		require.NoError(t, err)
	}
	require.NoError(t, c.Sync(ctx))
	_, err = c.GetByName("c")
	require.NoError(t, err)
	for _, err := range c.Watch(ctx, page.Position) {
		require.ErrorIs(t, err, customstatus.ErrCompacted, "better to list again than to miss a change")
	}
}

func TestSharedWatchOfARevisionYetToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		other := openShared(t, place.Open(), nil)
		store, release := heldFeed(place)
		c := openShared(t, store, nil)
		create(t, other, "a", customstatus.Busy)
		seen := other.Position() // a client saw it there and comes here
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
		synctest.Wait()
		close(release)
		b := create(t, other, "b", customstatus.Busy)
		require.Equal(t, b, (<-got).Changes[0].After)

		for _, err := range c.Watch(ctx, customstatus.Position{Revision: b.Revision + 1000}) {
			require.ErrorIs(t, err, customstatus.ErrCompacted)
		}
	})
}

// What is yet to come leads back to what the catalog has. A client that saw it elsewhere
// must not see it again.
func TestSharedWatchOfWhatLeadsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		other := openShared(t, place.Open(), nil)
		store, release := heldFeed(place)
		c := openShared(t, store, nil)
		a := create(t, other, "a", customstatus.Busy)
		remove(t, other, a.ID, nil)
		seen := other.Position()
		require.Equal(t, seen.Fingerprint, c.Position().Fingerprint)
		got := make(chan customstatus.Commit, 1)
		go func() {
			for commit, err := range c.Watch(ctx, seen) {
				if err == nil {
					got <- commit
				}
				return
			}
		}()
		synctest.Wait()
		close(release)
		b := create(t, other, "b", customstatus.Busy)
		require.Equal(t, b, (<-got).Changes[0].After)
	})
}

// TestSharedFeedBreaksOften has a feed that ends after every commit: as long as
// it brings something, it is taken up again at once.
func TestSharedFeedBreaksOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		var pauses atomic.Int64
		store.watch = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(yield func(customstatus.Commit, error) bool) {
				pauses.Add(1)
				for commit, err := range store.SharedMemoryStore.Watch(ctx, after) {
					if !yield(commit, err) || err != nil || len(commit.Changes) > 0 {
						return
					}
				}
			}
		}
		c := openShared(t, store, nil)
		for i := range 30 { // with a pause that doubles this would take minutes
			create(t, c, fmt.Sprint(i), customstatus.Busy)
		}
		require.GreaterOrEqual(t, pauses.Load(), int64(30))
	})
}

// Two servers that want one name at the same moment: the store lets one have it,
// and the catalog of the other tries again, after a wait that it draws.
func TestSharedConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		other := openShared(t, place.Open(), nil)
		store, arrived, proceed := gatedCommits(place)
		var drawn atomic.Int64
		c := openShared(t, store, &customstatus.Options{Random: func() uint64 { return uint64(drawn.Add(1)) * 1e6 }})
		ours := goCreate(ctx, c, "wanted")
		<-arrived
		theirs := create(t, other, "wanted", customstatus.Busy)
		proceed <- struct{}{}
		require.ErrorIs(t, (<-ours).err, customstatus.ErrNameInUse)
		require.EqualValues(t, 1, drawn.Load())
		require.Zero(t, c.Stats().FailedCommits, "it is no failure of the store")

		// A conflict that is none any more when the catalog has caught up.
		renamed := make(chan error, 1)
		go func() {
			_, err := c.Update(ctx, theirs.ID, customstatus.Fields{Name: "renamed", StatusType: "away"}, nil)
			renamed <- err
		}()
		<-arrived
		_, err := other.Update(ctx, theirs.ID, customstatus.Fields{Name: "theirs", StatusType: "busy"}, nil)
		require.NoError(t, err)
		proceed <- struct{}{}
		<-arrived
		proceed <- struct{}{}
		require.NoError(t, <-renamed)
		require.NoError(t, other.Sync(ctx))
		require.Equal(t, "renamed", list(t, other)[0].Name)
	})
}
