package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

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
