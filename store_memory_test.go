package customstatus_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

// put is a change that creates a status with this id and name or, at another
// revision than 0, updates it.
func put(id, name string, at customstatus.Revision) customstatus.Change {
	s := customstatus.CustomUserStatus{ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: time.UnixMilli(1_700_000_000_123).UTC()}
	if at == 0 {
		return customstatus.Change{Kind: customstatus.Created, After: s}
	}
	before := s
	before.Revision = at
	return customstatus.Change{Kind: customstatus.Updated, Before: before, After: s}
}

func TestMemoryStoreUndoesRefusedCommit(t *testing.T) {
	ctx := context.Background()
	store := customstatus.NewMemoryStore()
	_, err := store.Commit(ctx, []customstatus.Change{put("a", "x", 0), put("b", "y", 0), put("c", "z", 0)})
	require.NoError(t, err)
	before, err := store.Load(ctx)
	require.NoError(t, err)

	// Names go round, an id goes and one comes, before the last change fails.
	_, err = store.Commit(ctx, []customstatus.Change{
		put("a", "free", 1),
		put("b", "x", 1),
		{Kind: customstatus.Deleted, Before: put("c", "z", 1).Before},
		put("d", "y", 0),
		put("e", "x", 0),
	})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	after, err := store.Load(ctx)
	require.NoError(t, err)
	require.Equal(t, customstatus.Revision(1), after.Revision)
	require.ElementsMatch(t, before.Statuses, after.Statuses)

	// The names are back where they were, too.
	for _, name := range []string{"x", "y", "z"} {
		_, err = store.Commit(ctx, []customstatus.Change{put("new", name, 0)})
		require.ErrorIs(t, err, customstatus.ErrConflict, name)
	}
	_, err = store.Commit(ctx, []customstatus.Change{put("new", "free", 0)})
	require.NoError(t, err)
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
