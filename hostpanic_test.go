package customstatus_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

// What the host gives can panic where the catalog works by itself. It must neither
// end the process nor leave somebody waiting.

func TestClockPanicsWhenTheFeedFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &sharedFault{SharedMemoryStore: storetest.NewSharedMemory().Open()}
		failure := errors.New("connection lost")
		store.watch = feedOf(func(yield func(customstatus.Commit, error) bool) { yield(customstatus.Commit{}, failure) })
		c := openShared(t, store, &customstatus.Options{
			Logger: slog.New(slog.DiscardHandler),
			Now:    func() time.Time { panic("broken clock") },
		})
		synctest.Wait()
		require.ErrorIs(t, c.Stats().FeedError, failure)
		require.False(t, c.Stats().FeedErrorSince.IsZero())
		require.NoError(t, c.Close())
	})
}

func TestRandomPanicsAtAConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		place := storetest.NewSharedMemory()
		other := openShared(t, place.Open(), nil)
		store, arrived, proceed := gatedCommits(place)
		c := openShared(t, store, &customstatus.Options{
			Logger: slog.New(slog.DiscardHandler),
			Random: func() uint64 { panic("broken dice") },
		})
		blocker := goCreate(ctx, c, "blocker")
		<-arrived
		wanted, beside := goCreate(ctx, c, "wanted"), goCreate(ctx, c, "beside")
		synctest.Wait()
		proceed <- struct{}{}
		require.NoError(t, (<-blocker).err)
		<-arrived
		create(t, other, "wanted", customstatus.Busy)
		proceed <- struct{}{}
		<-arrived
		proceed <- struct{}{}
		require.ErrorIs(t, (<-wanted).err, customstatus.ErrNameInUse)
		require.NoError(t, (<-beside).err)
		require.NoError(t, c.Close())
	})
}

// A fake store that calls t.FailNow ends the goroutine of the writer that commits for
// all. Nobody else may wait for that writer, whose call never returns.
func TestStoreEndsTheGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		release := g.block(t, c)
		one, two := goCreate(ctx, c, "one"), goCreate(ctx, c, "two")
		synctest.Wait()
		commit := g.commit
		g.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) {
			runtime.Goexit()
			return 0, nil
		}
		release()
		var other result
		select {
		case other = <-one:
		case other = <-two:
		}
		require.ErrorIs(t, other.err, customstatus.ErrOutcomeUnknown)
		require.EqualError(t, other.err, "outcome unknown: the commit broke off: its goroutine ended")

		g.commit = commit
		g.create(t, c, "after")
		require.Len(t, list(t, c), 2)
		require.EqualValues(t, 2, c.Stats().Loads, "the outcome was found out")
		require.NoError(t, c.Close())
	})
}

func TestReopenReturnsNothing(t *testing.T) {
	broken := &replaceable{store: filled(t, "a")}
	c := open(t, broken, &customstatus.Options{
		Logger: slog.New(slog.DiscardHandler),
		Reopen: func(context.Context) (customstatus.Store, error) { return nil, nil },
	})
	broken.broken = customstatus.ErrNeedsReopen
	for range 3 {
		_, err := c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
		require.ErrorIs(t, err, customstatus.ErrNeedsReopen)
		require.ErrorContains(t, err, "no store")
	}
	require.NoError(t, c.Close())
}

// A store that turns out to have gone on without the catalog holds another history,
// though its revision is higher.
func TestReopenOfAnotherHistoryThatIsAhead(t *testing.T) {
	broken := &replaceable{store: filled(t, "a", "b")}
	var next customstatus.Store
	c := open(t, broken, &customstatus.Options{
		Logger: slog.New(slog.DiscardHandler),
		Reopen: func(context.Context) (customstatus.Store, error) { return next, nil },
	})
	broken.broken, next = customstatus.ErrNeedsReopen, filled(t, "a", "c", "d", "e")
	create(t, c, "f", customstatus.Busy)
	require.EqualValues(t, 1, c.Stats().Rewinds)
	require.Equal(t, 5, c.Len())
}

func TestBackupWhileTheStoreIsGone(t *testing.T) {
	path := boltPath(t)
	store, err := customstatus.OpenBolt(path, nil)
	require.NoError(t, err)
	var broken atomic.Bool
	failure := errors.New("no disk")
	c := open(t, failing{store, &broken}, &customstatus.Options{
		Logger: slog.New(slog.DiscardHandler),
		Reopen: func(context.Context) (customstatus.Store, error) { return nil, failure },
	})
	broken.Store(true)
	_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
	require.ErrorIs(t, err, failure)
	err = c.Backup(ctx, nil)
	require.ErrorIs(t, err, customstatus.ErrNeedsReopen)
	require.NotErrorIs(t, err, customstatus.ErrClosed, "the catalog is open")
}

// failing is a bbolt store whose commits must be reopened.
type failing struct {
	*customstatus.BoltStore
	broken *atomic.Bool
}

func (f failing) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if f.broken.Load() {
		return 0, customstatus.ErrNeedsReopen
	}
	return f.BoltStore.Commit(ctx, changes)
}
