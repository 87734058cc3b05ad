package storetest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
	"github.com/stretchr/testify/require"
)

// create returns the change that creates a status.
func create(id, name string) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Created, After: customstatus.CustomUserStatus{
		ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: time.UnixMilli(1_700_000_000_123).UTC(),
	}}
}

// update returns the change that renames a status.
func update(id, name string, at customstatus.Revision) customstatus.Change {
	c := create(id, name)
	c.Kind, c.Before = customstatus.Updated, customstatus.CustomUserStatus{ID: id, Revision: at}
	return c
}

// watched returns the revisions that Watch yields up to the last one, or up to
// an error, which it returns too.
func watched(s customstatus.SharedStore, after, last customstatus.Revision) (got []customstatus.Revision, err error) {
	for c, err := range s.Watch(context.Background(), after) {
		if err != nil {
			return got, err
		}
		if len(c.Changes) == 0 {
			continue
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
		do    func(*storetest.SharedMemory)
		after customstatus.Revision
		want  revisions // of 2, 4, 6 and 8; nil: ErrCompacted
	}{
		{"all", func(*storetest.SharedMemory) {}, 0, revisions{2, 4, 6, 8}},
		{"limit of two changes", func(m *storetest.SharedMemory) { m.SetHistory(2) }, 4, revisions{6, 8}},
		{"before the limit", func(m *storetest.SharedMemory) { m.SetHistory(2) }, 2, nil},
		{"last commit stays", func(m *storetest.SharedMemory) { m.SetHistory(0) }, 6, revisions{8}},
		{"compacted", func(m *storetest.SharedMemory) { m.Compact(4) }, 2, nil},
		{"after compaction", func(m *storetest.SharedMemory) { m.Compact(4) }, 4, revisions{6, 8}},
		{"compacted between revisions", func(m *storetest.SharedMemory) { m.Compact(5) }, 4, revisions{6, 8}},
		{"revision of no place", func(m *storetest.SharedMemory) {}, 9, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			place := storetest.NewSharedMemory()
			store := place.Open()
			for i := range 4 {
				_, err := store.Commit(context.Background(), []customstatus.Change{create(fmt.Sprint(i), fmt.Sprint(i))})
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

// The feed has no more than the contract requires, so that no code relies on
// more.
func TestSharedMemoryFeedTellsNoMore(t *testing.T) {
	ctx := context.Background()
	store := storetest.NewSharedMemory().Open()
	first, err := store.Commit(ctx, []customstatus.Change{create("a", "x"), create("b", "y")})
	require.NoError(t, err)
	all, err := store.Load(ctx)
	require.NoError(t, err)
	require.True(t, all.Shared)
	require.False(t, all.FingerprintKnown)

	gone := customstatus.Change{Kind: customstatus.Deleted, Before: create("a", "x").After}
	gone.Before.Revision = first
	renamed := update("b", "z", first)
	renamed.Before = create("b", "y").After
	renamed.Before.Revision = first
	second, err := store.Commit(ctx, []customstatus.Change{gone, renamed})
	require.NoError(t, err)
	renamed.After.Revision = second
	for c, err := range store.Watch(ctx, first) {
		require.NoError(t, err)
		if len(c.Changes) == 0 {
			continue
		}
		require.Equal(t, customstatus.Commit{Revision: second, Changes: []customstatus.Change{
			{Kind: customstatus.Deleted, Before: customstatus.CustomUserStatus{ID: "a", Revision: first}},
			{Kind: customstatus.Updated, Before: customstatus.CustomUserStatus{ID: "b", Revision: first}, After: renamed.After},
		}}, c)
		break
	}
}

func TestSharedMemoryUndoesRefusedCommit(t *testing.T) {
	ctx := context.Background()
	store := storetest.NewSharedMemory().Open()
	first, err := store.Commit(ctx, []customstatus.Change{create("a", "x"), create("b", "y"), create("c", "z")})
	require.NoError(t, err)
	before, err := store.Load(ctx)
	require.NoError(t, err)

	// Names are swapped, an id is deleted and one is created, before the last
	// change fails. Before has only the required fields, so the store can't use
	// it to undo.
	_, err = store.Commit(ctx, []customstatus.Change{
		update("a", "free", first),
		update("b", "x", first),
		{Kind: customstatus.Deleted, Before: customstatus.CustomUserStatus{ID: "c", Revision: first}},
		create("d", "y"),
		create("e", "x"),
	})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	after, err := store.Load(ctx)
	require.NoError(t, err)
	require.Equal(t, first, after.Revision)
	require.ElementsMatch(t, before.Statuses, after.Statuses)
	for _, name := range []string{"x", "y", "z"} {
		_, err = store.Commit(ctx, []customstatus.Change{create("new", name)})
		require.ErrorIs(t, err, customstatus.ErrConflict, name)
	}
	_, err = store.Commit(ctx, []customstatus.Change{create("new", "free")})
	require.NoError(t, err)
}

func TestSharedMemoryOutlivesItsStores(t *testing.T) {
	ctx := context.Background()
	place := storetest.NewSharedMemory()
	store := place.Open()
	revision, err := store.Commit(ctx, []customstatus.Change{create("a", "x")})
	require.NoError(t, err)
	other := place.Open()
	require.NoError(t, store.Close())
	for _, s := range []customstatus.Store{other, place.Open()} {
		all, err := s.Load(ctx)
		require.NoError(t, err)
		require.Len(t, all.Statuses, 1)
		require.Equal(t, revision, all.Revision)
	}
}

func TestSharedMemoryStoreConforms(t *testing.T) {
	storetest.RunShared(t, func(t *testing.T) storetest.SharedOpener {
		place := storetest.NewSharedMemory()
		return func() (customstatus.SharedStore, error) { return clusterStore{place.Open(), place}, nil }
	})
}
