package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
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

// Contents that changes are applied to stay what a store holds that commits them.
func TestContentsApply(t *testing.T) {
	ctx := context.Background()
	random := rand.New(rand.NewPCG(1, 2))
	store := customstatus.NewMemoryStore()
	all := customstatus.Contents{FingerprintKnown: true}
	outcomes := map[string]int{}
	for range 2000 {
		var changes []customstatus.Change
		for range random.IntN(4) {
			id, at := fmt.Sprint("id", random.IntN(6)), customstatus.Revision(0)
			if i := slices.IndexFunc(all.Statuses, func(s customstatus.CustomUserStatus) bool { return s.ID == id }); i >= 0 && random.IntN(8) > 0 {
				at = all.Statuses[i].Revision
			}
			c := put(id, fmt.Sprint("name", random.IntN(6)), at)
			c.After.Metadata = fmt.Sprint(random.IntN(3))
			switch random.IntN(20) {
			case 0, 1, 2, 3, 4:
				c = customstatus.Change{Kind: customstatus.Deleted, Before: c.Before}
			case 5:
				c.Kind = 7
			case 6:
				c.Before.ID = "another"
			}
			changes = append(changes, c)
		}
		given, before := slices.Clone(changes), slices.Clone(all.Statuses)
		was := all
		_, want := store.Commit(ctx, changes)
		got := all.Apply(changes)
		require.Equal(t, want == nil, got == nil, "%v\n%v\n%+v", want, got, changes)
		require.Equal(t, errors.Is(want, customstatus.ErrConflict), errors.Is(got, customstatus.ErrConflict), "%v\n%v", want, got)
		require.Equal(t, given, changes)
		require.Equal(t, before, was.Statuses)
		if got != nil {
			require.Equal(t, was, all)
		}

		held, err := store.Load(ctx)
		require.NoError(t, err)
		require.Equal(t, held.Revision, all.Revision)
		require.ElementsMatch(t, held.Statuses, all.Statuses)
		var sum customstatus.Fingerprint
		for _, s := range held.Statuses {
			sum += s.Fingerprint()
		}
		require.Equal(t, sum, all.Fingerprint)
		switch {
		case got == nil:
			outcomes["made"]++
		case errors.Is(got, customstatus.ErrConflict):
			outcomes["conflict"]++
		default:
			outcomes["at fault"]++
		}
	}
	for _, outcome := range []string{"made", "conflict", "at fault"} {
		require.Greater(t, outcomes[outcome], 100, outcome)
	}

	unknown := customstatus.Contents{}
	require.NoError(t, unknown.Apply([]customstatus.Change{put("a", "x", 0)}))
	require.Zero(t, unknown.Fingerprint)
}
