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
	back                     chan struct{} // closed when there is a feed again
}

// newLossy returns a store whose two places have the one status kept.
func newLossy(t *testing.T) (*lossy, customstatus.Revision) {
	kept := customstatus.Change{Kind: customstatus.Created, After: customstatus.CustomUserStatus{ID: "kept", Name: "kept"}}
	s := &lossy{SharedStore: storetest.NewSharedMemory().Open(), second: storetest.NewSharedMemory().Open(), back: make(chan struct{})}
	first, err := s.SharedStore.Commit(t.Context(), []customstatus.Change{kept})
	require.NoError(t, err)
	second, err := s.second.Commit(t.Context(), []customstatus.Change{kept})
	require.NoError(t, err)
	require.Equal(t, first, second)
	return s, first
}

func (s *lossy) now() customstatus.SharedStore {
	if s.failed.Load() {
		return s.second
	}
	return s.SharedStore
}

func (s *lossy) Load(ctx context.Context) (customstatus.Contents, error) { return s.now().Load(ctx) }

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
		store, _ := newLossy(t)
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
