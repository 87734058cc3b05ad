package customstatus_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

// lossy is a shared store that fails over to another place, which lacks the last
// commits. The feed is cut off before.
type lossy struct {
	customstatus.SharedStore // the first place
	second                   customstatus.SharedStore
	failed                   atomic.Bool
	reload                   bool          // the next feed ends, so that the store is loaded
	loading                  chan struct{} // if set, Load waits for it when the store has answered
	back                     chan struct{} // closed when there is a feed again
}

// newLossy returns a store whose two places have one status, with the metadata first or
// second.
func newLossy(t *testing.T, first, second string) *lossy {
	s := &lossy{SharedStore: storetest.NewSharedMemory().Open(), second: storetest.NewSharedMemory().Open(), back: make(chan struct{})}
	var at [2]customstatus.Revision
	for i, metadata := range []string{first, second} {
		created := customstatus.CustomUserStatus{ID: "a", Name: "a", Metadata: metadata}
		var err error
		at[i], err = s.now().Commit(t.Context(), []customstatus.Change{{Kind: customstatus.Created, After: created}})
		require.NoError(t, err)
		s.failed.Store(i == 0)
	}
	require.Equal(t, at[0], at[1])
	return s
}

func (s *lossy) now() customstatus.SharedStore {
	if s.failed.Load() {
		return s.second
	}
	return s.SharedStore
}

func (s *lossy) Load(ctx context.Context) (customstatus.Contents, error) {
	contents, err := s.now().Load(ctx)
	if s.loading != nil {
		<-s.loading
	}
	return contents, err
}

func (s *lossy) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	return s.now().Commit(ctx, changes)
}

func (s *lossy) Revision(ctx context.Context) (customstatus.Revision, error) {
	return s.now().Revision(ctx)
}

func (s *lossy) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		select {
		case <-s.back:
			if s.reload {
				s.reload = false
				yield(customstatus.Commit{}, customstatus.ErrCompacted)
				return
			}
			s.now().Watch(ctx, after)(yield)
		case <-ctx.Done():
			yield(customstatus.Commit{}, ctx.Err())
		}
	}
}

// A commit was acknowledged, and a failover lost it before the feed told of it. The feed
// goes on as if there had been nothing.
func TestSharedWriteLostBeforeTheFeedTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLossy(t, "", "")
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		lost := goCreate(ctx, c, "lost")
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, lost, "it has returned before reads see it")
		queued := goCreate(ctx, c, "queued") // it waits for the lost one before it is planned
		synctest.Wait()
		store.failed.Store(true)
		close(store.back)
		require.NoError(t, (<-lost).err, "the store has made it")
		require.NoError(t, (<-queued).err)
		create(t, c, "after", customstatus.Busy)
		require.Len(t, list(t, c), 3)
		_, err := c.GetByName("lost")
		require.True(t, errors.Is(err, customstatus.ErrNotFound), "%v", err)
		require.NoError(t, c.Sync(ctx))
		require.NoError(t, c.Close())
	})
}

// The store has gone to another history and has answered a load with it. What readers
// still see is of the lost history, and nothing is written from that.
func TestSharedWriteWhileAnotherHistoryIsLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newLossy(t, "lost", "kept")
		c := openShared(t, store, &customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
		store.loading = make(chan struct{})
		store.failed.Store(true)
		store.reload = true
		close(store.back)
		synctest.Wait()
		got, err := c.Get("a")
		require.NoError(t, err)
		require.Equal(t, "lost", got.Metadata)

		fields := customstatus.Fields{Name: "renamed", StatusType: customstatus.Busy}
		short, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		_, err = c.Update(short, "a", fields, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded, "nobody waits longer than its own time")
		updated := make(chan error, 1)
		go func() {
			_, err := c.Update(ctx, "a", fields, nil)
			updated <- err
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, updated)
		close(store.loading)
		require.NoError(t, <-updated)
		got, err = c.Get("a")
		require.NoError(t, err)
		require.Equal(t, []string{"renamed", "kept"}, []string{got.Name, got.Metadata})

		require.NoError(t, c.Close())
	})
}
