package customstatus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
	"github.com/stretchr/testify/require"
)

// put is a change that writes a status with this id and name.
func put(id, name string, replaces customstatus.Revision) customstatus.Change {
	return customstatus.Change{Replaces: replaces, Status: customstatus.CustomUserStatus{
		ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: time.UnixMilli(1_700_000_000_123).UTC(),
	}}
}

func TestMemoryStoreUndoesRefusedCommit(t *testing.T) {
	ctx := context.Background()
	store := customstatus.NewMemoryStore()
	_, err := store.Commit(ctx, []customstatus.Change{put("a", "x", 0), put("b", "y", 0), put("c", "z", 0)})
	require.NoError(t, err)
	before, _, err := store.Load(ctx)
	require.NoError(t, err)

	// Names go round, an id goes and one comes, before the last change fails.
	_, err = store.Commit(ctx, []customstatus.Change{
		put("a", "free", 1),
		put("b", "x", 1),
		{Replaces: 1, Deleted: true, Status: customstatus.CustomUserStatus{ID: "c"}},
		put("d", "y", 0),
		put("e", "x", 0),
	})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	after, revision, err := store.Load(ctx)
	require.NoError(t, err)
	require.Equal(t, customstatus.Revision(1), revision)
	require.ElementsMatch(t, before, after)

	// The names are back where they were, too.
	for _, name := range []string{"x", "y", "z"} {
		_, err = store.Commit(ctx, []customstatus.Change{put("new", name, 0)})
		require.ErrorIs(t, err, customstatus.ErrConflict, name)
	}
	_, err = store.Commit(ctx, []customstatus.Change{put("new", "free", 0)})
	require.NoError(t, err)
}

func TestMemoryStoreRefusesDeleteOfNothing(t *testing.T) {
	_, err := customstatus.NewMemoryStore().Commit(context.Background(), []customstatus.Change{
		{Deleted: true, Status: customstatus.CustomUserStatus{ID: "a"}},
	})
	require.Error(t, err)
	require.NotErrorIs(t, err, customstatus.ErrConflict)
}

// watched returns the revisions that a watch yields until it has the last one
// or ends, and the error that ended it.
func watched(w customstatus.Watcher, after, last customstatus.Revision) (got []customstatus.Revision, err error) {
	for c, err := range w.Watch(context.Background(), after) {
		if err != nil {
			return got, err
		}
		got = append(got, c.Revision)
		if c.Revision == last {
			break
		}
	}
	return got, nil
}

func TestSharedMemoryHistory(t *testing.T) {
	type revisions = []customstatus.Revision
	tests := []struct {
		name  string
		do    func(*customstatus.SharedMemory)
		after customstatus.Revision
		want  revisions // of 2, 4, 6 and 8; nil: ErrCompacted
	}{
		{"all", func(*customstatus.SharedMemory) {}, 0, revisions{2, 4, 6, 8}},
		{"limit of two changes", func(m *customstatus.SharedMemory) { m.SetHistory(2) }, 4, revisions{6, 8}},
		{"before the limit", func(m *customstatus.SharedMemory) { m.SetHistory(2) }, 2, nil},
		{"last commit stays", func(m *customstatus.SharedMemory) { m.SetHistory(0) }, 6, revisions{8}},
		{"compacted", func(m *customstatus.SharedMemory) { m.Compact(4) }, 2, nil},
		{"after compaction", func(m *customstatus.SharedMemory) { m.Compact(4) }, 4, revisions{6, 8}},
		{"compacted between revisions", func(m *customstatus.SharedMemory) { m.Compact(5) }, 4, revisions{6, 8}},
		{"revision of no place", func(m *customstatus.SharedMemory) {}, 9, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			place := customstatus.NewSharedMemory()
			store := place.Open()
			for i := range 4 {
				_, err := store.Commit(context.Background(), []customstatus.Change{put(fmt.Sprint(i), fmt.Sprint(i), 0)})
				require.NoError(t, err)
			}
			tt.do(place)
			got, err := watched(store, tt.after, 8)
			require.Equal(t, tt.want, got)
			if tt.want == nil {
				require.ErrorIs(t, err, customstatus.ErrCompacted)
			}
		})
	}
}

// A delete in the feed tells no more than the contract asks for, so that nobody
// relies on more.
func TestSharedMemoryFeedOfDelete(t *testing.T) {
	ctx := context.Background()
	store := customstatus.NewSharedMemory().Open()
	first, err := store.Commit(ctx, []customstatus.Change{put("a", "x", 0)})
	require.NoError(t, err)
	change := put("a", "x", first)
	change.Deleted = true
	second, err := store.Commit(ctx, []customstatus.Change{change})
	require.NoError(t, err)
	for c, err := range store.Watch(ctx, first) {
		require.NoError(t, err)
		require.Equal(t, customstatus.Commit{Revision: second, Changes: []customstatus.Change{
			{Replaces: first, Deleted: true, Status: customstatus.CustomUserStatus{ID: "a"}},
		}}, c)
		break
	}
}

func TestSharedMemoryOutlivesItsStores(t *testing.T) {
	ctx := context.Background()
	place := customstatus.NewSharedMemory()
	store := place.Open()
	revision, err := store.Commit(ctx, []customstatus.Change{put("a", "x", 0)})
	require.NoError(t, err)
	other := place.Open()
	require.NoError(t, store.Close())
	for _, s := range []customstatus.Store{other, place.Open()} {
		all, got, err := s.Load(ctx)
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, revision, got)
	}
}

func TestMemoryStoreConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		opened := false
		return func() (customstatus.Store, error) {
			if opened {
				return nil, storetest.ErrVolatile
			}
			opened = true
			return customstatus.NewMemoryStore(), nil
		}
	})
}

// compactable gives the store of a cluster the means to forget.
type compactable struct {
	*customstatus.SharedMemoryStore
	place *customstatus.SharedMemory
}

func (c compactable) Compact(_ context.Context, upTo customstatus.Revision) error {
	c.place.Compact(upTo)
	return nil
}

func TestSharedMemoryStoreConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		place := customstatus.NewSharedMemory()
		return func() (customstatus.Store, error) {
			return compactable{place.Open(), place}, nil
		}
	})
}
