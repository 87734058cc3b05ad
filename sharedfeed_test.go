package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

// feedOf is a feed that a test makes, one after the other.
func feedOf(feeds ...func(yield func(customstatus.Commit, error) bool)) watchFunc {
	n := 0
	return func(ctx context.Context, _ customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
		if n++; n <= len(feeds) {
			return feeds[n-1]
		}
		return func(yield func(customstatus.Commit, error) bool) {
			<-ctx.Done()
			yield(customstatus.Commit{}, ctx.Err())
		}
	}
}

// What becomes of a feed is told, and a panic of it does not end the host's process.
func TestSharedFeedIsWatchedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("connection lost")
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		healthy := make(chan struct{})
		store.watch = feedOf(
			func(func(customstatus.Commit, error) bool) { panic("broken feed") },
			func(yield func(customstatus.Commit, error) bool) { yield(customstatus.Commit{}, failure) },
			func(yield func(customstatus.Commit, error) bool) {
				yield(customstatus.Commit{Revision: 1}, nil)
				<-healthy
				yield(customstatus.Commit{}, failure)
			},
		)
		var said []string
		var logged strings.Builder
		c := openShared(t, store, &customstatus.Options{
			Logger:   slog.New(slog.NewTextHandler(&logged, nil)),
			Observer: &customstatus.Observer{Feed: func(info customstatus.FeedInfo) { said = append(said, fmt.Sprint(info.Err)) }},
		})
		synctest.Wait()
		since := time.Now()
		stats := c.Stats()
		require.ErrorContains(t, stats.FeedError, "broken feed")
		require.Equal(t, since.UTC(), stats.FeedErrorSince.UTC())
		time.Sleep(time.Minute) // of the bubble's clock
		synctest.Wait()
		require.NoError(t, c.Stats().FeedError)
		require.Zero(t, c.Stats().FeedErrorSince)
		require.Equal(t, []string{"the store panicked in Watch: broken feed", "connection lost", "<nil>"}, said)
		close(healthy)
		synctest.Wait()
		require.ErrorIs(t, c.Stats().FeedError, failure)
		require.Contains(t, logged.String(), "sharedfeed_test.go", "the stack is in the log")
		require.Equal(t, 2, strings.Count(logged.String(), "the feed of the store has ended"), "once for each outage")
		require.NoError(t, c.Close())
	})
}

// A store that forgets commits faster than they are read is loaded now and then,
// not without end.
func TestSharedStoreThatAlwaysCompacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		other := openShared(t, place.Open(), nil)
		store := &sharedFault{SharedMemoryStore: place.Open()}
		store.watch = func(_ context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(yield func(customstatus.Commit, error) bool) {
				if yield(customstatus.Commit{Revision: after}, nil) { // it even brings something
					yield(customstatus.Commit{}, customstatus.ErrCompacted)
				}
			}
		}
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		create(t, other, "a", customstatus.Busy)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, c.Len())
		require.LessOrEqual(t, store.loads.Load(), int64(40))
		require.EqualValues(t, store.loads.Load(), c.Stats().Loads)
	})
}

// A feed that knows the fingerprint proves what the catalog made of it.
func TestSharedFeedWithAnotherFingerprint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		other := openShared(t, place.Open(), nil)
		store := &sharedFault{SharedMemoryStore: place.Open()}
		wrong := false
		store.watch = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(yield func(customstatus.Commit, error) bool) {
				for commit, err := range store.SharedMemoryStore.Watch(ctx, after) {
					if wrong && len(commit.Changes) > 0 {
						wrong = false
						commit.Changes[0].After.Name = "not what was written"
						commit.Fingerprint, commit.FingerprintKnown = other.Position().Fingerprint, true
					}
					if !yield(commit, err) {
						return
					}
				}
			}
		}
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		create(t, other, "a", customstatus.Busy)
		require.NoError(t, c.Sync(ctx))
		require.EqualValues(t, 1, c.Stats().Loads)
		wrong = true
		create(t, other, "b", customstatus.Busy)
		require.NoError(t, c.Sync(ctx))
		require.Equal(t, list(t, other), list(t, c))
		require.Equal(t, other.Position(), c.Position())
		require.EqualValues(t, 2, c.Stats().Loads)
	})
}

// A feed can prove later what the catalog has made of it, without a new commit.
func TestSharedFeedProvesWhatIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		other := openShared(t, place.Open(), nil)
		store := &sharedFault{SharedMemoryStore: place.Open()}
		wrong, proof := true, make(chan struct{})
		store.watch = func(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(yield func(customstatus.Commit, error) bool) {
				for commit, err := range store.SharedMemoryStore.Watch(ctx, after) {
					bad := wrong && len(commit.Changes) > 0
					if bad {
						wrong = false
						commit.Changes[0].After.Name = "not what was written"
					}
					if !yield(commit, err) {
						return
					}
					if !bad {
						continue
					}
					<-proof
					at := other.Position()
					if !yield(customstatus.Commit{Revision: at.Revision, Fingerprint: at.Fingerprint, FingerprintKnown: true}, nil) {
						return
					}
				}
			}
		}
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		create(t, other, "a", customstatus.Busy)
		synctest.Wait()
		require.NotEqual(t, list(t, other), list(t, c))
		close(proof)
		synctest.Wait()
		time.Sleep(time.Second)
		require.Equal(t, list(t, other), list(t, c))
		require.Equal(t, other.Position(), c.Position())
		require.EqualValues(t, 2, c.Stats().Loads)

		// What was proven once goes on.
		create(t, other, "b", customstatus.Busy)
		require.NoError(t, c.Sync(ctx))
		require.Equal(t, list(t, other), list(t, c))
		require.EqualValues(t, 2, c.Stats().Loads)
	})
}

// A failover can lose what was acknowledged. Then every node takes what is there.
func TestSharedStoreGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		older := openShared(t, place.Open(), nil)
		kept := create(t, older, "kept", customstatus.Busy)
		contents, err := place.Open().Load(ctx)
		require.NoError(t, err)
		store := &rewinding{SharedMemoryStore: place.Open(), back: make(chan customstatus.Contents)}
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		lost := create(t, c, "lost", customstatus.Busy)
		ended := make(chan error, 1)
		go func() {
			for _, err := range c.Watch(ctx, c.Position()) {
				ended <- err
			}
		}()
		synctest.Wait()
		waits := make(chan error, 1)
		store.revision = lost.Revision + 100
		go func() { waits <- c.Sync(ctx) }() // for a revision that will never come
		synctest.Wait()
		store.back <- contents
		require.ErrorIs(t, <-ended, customstatus.ErrCompacted)
		require.NoError(t, <-waits)
		require.Equal(t, []customstatus.CustomUserStatus{kept}, list(t, c))
		require.Equal(t, contents.Revision, c.Revision())
		require.EqualValues(t, 1, c.Stats().Rewinds)
		require.NoError(t, c.Close())
	})
}

// While a commit is under way, the store fails over, and the catalog learns so. The
// commit is made all the same, after the failover.
func TestSharedWriteAcrossAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		older := openShared(t, place.Open(), nil)
		create(t, older, "kept", customstatus.Busy)
		contents, err := place.Open().Load(ctx)
		require.NoError(t, err)
		lost := create(t, older, "lost", customstatus.Busy)
		store := &failover{
			rewinding: rewinding{SharedMemoryStore: place.Open(), back: make(chan customstatus.Contents)},
			commits:   make(chan customstatus.Revision), feed: make(chan customstatus.Commit),
		}
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		made := make(chan customstatus.CustomUserStatus, 1)
		go func() { made <- create(t, c, "new", customstatus.Busy) }()
		synctest.Wait()
		store.back <- contents
		synctest.Wait()
		require.EqualValues(t, 1, c.Stats().Rewinds)
		store.now.Revision = lost.Revision + 10
		store.commits <- store.now.Revision
		synctest.Wait()
		require.Empty(t, made, "it has returned before reads see it")
		store.feed <- customstatus.Commit{Revision: store.now.Revision, Changes: store.changes}
		s := <-made
		got, err := c.Get(s.ID)
		require.NoError(t, err)
		require.Equal(t, s, got)
		require.NoError(t, c.Close())
	})
}

// failover is a rewinding store whose commits, and whose feed after it has gone back,
// come from channels.
type failover struct {
	rewinding
	commits chan customstatus.Revision
	changes []customstatus.Change
	feed    chan customstatus.Commit
}

func (f *failover) Commit(_ context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	revision := <-f.commits
	f.changes = slices.Clone(changes)
	f.changes[0].After.Revision = revision
	return revision, nil
}

func (f *failover) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	if f.now == nil {
		return f.rewinding.Watch(ctx, after)
	}
	return func(yield func(customstatus.Commit, error) bool) {
		for {
			select {
			case commit := <-f.feed:
				if !yield(commit, nil) {
					return
				}
			case <-ctx.Done():
				yield(customstatus.Commit{}, ctx.Err())
				return
			}
		}
	}
}

// rewinding is a shared store that goes back to older contents.
type rewinding struct {
	*storetest.SharedMemoryStore
	back     chan customstatus.Contents
	now      *customstatus.Contents
	revision customstatus.Revision
}

func (r *rewinding) Load(ctx context.Context) (customstatus.Contents, error) {
	if r.now != nil {
		return *r.now, nil
	}
	return r.SharedMemoryStore.Load(ctx)
}

func (r *rewinding) Revision(ctx context.Context) (customstatus.Revision, error) {
	if r.now != nil {
		return r.now.Revision, nil
	}
	if r.revision != 0 {
		return r.revision, nil
	}
	return r.SharedMemoryStore.Revision(ctx)
}

func (r *rewinding) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	if r.now != nil {
		return func(yield func(customstatus.Commit, error) bool) {
			<-ctx.Done()
			yield(customstatus.Commit{}, ctx.Err())
		}
	}
	return func(yield func(customstatus.Commit, error) bool) {
		watching, stop := context.WithCancel(ctx)
		defer stop()
		go func() {
			select {
			case contents := <-r.back:
				r.now = &contents
				stop()
			case <-watching.Done():
			}
		}()
		for commit, err := range r.SharedMemoryStore.Watch(watching, after) {
			if err != nil && ctx.Err() == nil {
				err = customstatus.ErrCompacted
			}
			if !yield(commit, err) {
				return
			}
		}
	}
}

// A feed that brings nothing new and breaks is not taken up again without end.
func TestSharedFeedThatOnlyRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		var feeds atomic.Int64
		store.watch = func(_ context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(yield func(customstatus.Commit, error) bool) {
				feeds.Add(1)
				if yield(customstatus.Commit{Revision: after}, nil) {
					yield(customstatus.Commit{}, errors.New("connection reset"))
				}
			}
		}
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		time.Sleep(time.Minute)
		require.LessOrEqual(t, feeds.Load(), int64(40))
		require.NoError(t, c.Close())
	})
}

// A feed reports progress that there was not. The store's own revision tells.
func TestSharedFeedThatReportsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		said := false
		store.watch = func(ctx context.Context, _ customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
			return func(yield func(customstatus.Commit, error) bool) {
				if !said {
					said = true
					if !yield(customstatus.Commit{Revision: 1 << 62}, nil) {
						return
					}
				}
				store.SharedMemoryStore.Watch(ctx, 0)(yield)
			}
		}
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		synctest.Wait()
		require.EqualValues(t, 1<<62, c.Revision())
		s := create(t, c, "a", customstatus.Busy)
		require.NoError(t, c.Sync(ctx))
		got, err := c.Get(s.ID)
		require.NoError(t, err)
		require.Equal(t, s, got)
		require.NoError(t, c.Close())
	})
}

// While the store can't be asked about a position that is ahead, Watch and Follow
// wait: they end with none of the store's errors.
func TestSharedWatchWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		var away atomic.Bool
		away.Store(true)
		var asked atomic.Int64
		store.revision = func(ctx context.Context) (customstatus.Revision, error) {
			if asked.Add(1); away.Load() {
				return 0, fmt.Errorf("dial: %w", context.DeadlineExceeded)
			}
			return store.SharedMemoryStore.Revision(ctx)
		}
		c := openShared(t, store, nil)
		ahead := customstatus.Position{Revision: 99, Fingerprint: 1}
		ended := make(chan error, 1)
		go func() {
			for _, err := range c.Watch(ctx, ahead) {
				ended <- err
			}
		}()
		followed := make(chan customstatus.Update, 1)
		go func() {
			for u, err := range c.Follow(ctx, ahead) {
				if err == nil {
					followed <- u
				}
				return
			}
		}()
		time.Sleep(10500 * time.Millisecond)
		synctest.Wait()
		require.Empty(t, ended)
		require.EqualValues(t, 2*11, asked.Load(), "once a second")
		away.Store(false)
		require.ErrorIs(t, <-ended, customstatus.ErrCompacted)
		require.True(t, (<-followed).Reset)
		require.NoError(t, c.Close())
	})
}

// Nothing that the catalog has started outlives Close.
func TestCloseWaitsForTheFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		release := make(chan struct{})
		store.watch = feedOf(func(yield func(customstatus.Commit, error) bool) {
			<-release // it doesn't heed its context
			yield(customstatus.Commit{}, errors.New("late"))
		})
		c := openShared(t, store, nil)
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		synctest.Wait()
		require.Empty(t, closed)
		close(release)
		require.NoError(t, <-closed)
	})
}

// A commit that is always in conflict ends with an error, and at once when the
// catalog closes.
func TestSharedConflictWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		tries := 0
		store.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) {
			tries++
			return 0, customstatus.ErrConflict
		}
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		_, err := c.Create(ctx, customstatus.Fields{Name: "a", StatusType: "busy"})
		require.ErrorContains(t, err, "gave up after 100 conflicts")
		require.NotErrorIs(t, err, customstatus.ErrConflict, "which has another remedy")
		require.Equal(t, 101, tries)
		require.Error(t, c.Stats().CommitError)

		waiting := goCreate(ctx, c, "b")
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		require.ErrorIs(t, (<-waiting).err, customstatus.ErrClosed)
		require.NoError(t, <-closed)
	})
}

// Each write of a group waits for a late feed no longer than its own time.
func TestSharedDeadlinesOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		other := openShared(t, place.Open(), nil)
		create(t, other, "taken", customstatus.Busy)
		store, arrived, proceed := gatedCommits(place)
		asked := make(chan struct{}, 10)
		late := false
		store.revision = func(ctx context.Context) (customstatus.Revision, error) {
			if late {
				asked <- struct{}{}
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return store.SharedMemoryStore.Revision(ctx)
		}
		c := openShared(t, store, nil)
		blocker := goCreate(ctx, c, "blocker")
		<-arrived
		patient, leave := context.WithCancel(ctx)
		leader := goCreate(patient, c, "taken") // a refusal that has to be verified
		synctest.Wait()
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		hasty := goCreate(short, c, "taken")
		synctest.Wait()
		late = true
		proceed <- struct{}{}
		require.NoError(t, (<-blocker).err)
		<-asked
		start := time.Now()
		require.ErrorIs(t, (<-hasty).err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		leave()
		require.ErrorIs(t, (<-leader).err, context.Canceled)
		require.NoError(t, c.Close())
	})
}
