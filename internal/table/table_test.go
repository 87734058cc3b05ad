package table

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewFindsWhatIsTwice(t *testing.T) {
	a, b := &value{"1", "a"}, &value{"2", "b"}
	_, err := New(valueKeys, []*value{a, b, {"1", "c"}}, 0)
	require.ErrorIs(t, err, ErrSameID)
	_, err = New(valueKeys, []*value{a, b, {"3", "a"}}, 0)
	require.ErrorIs(t, err, ErrSameName)
}

// checkTable requires that a table has exactly the wanted values, given by id.
func checkTable(t *testing.T, table *Table[value], want map[string]*value) {
	t.Helper()
	require.Equal(t, len(want), table.Len())
	byName := slices.SortedFunc(maps.Values(want), func(a, b *value) int { return strings.Compare(a.Name, b.Name) })
	var scanned []*value
	table.Scan(func(v *value) bool {
		scanned = append(scanned, v)
		return true
	})
	require.Equal(t, byName, scanned)
	for id, v := range want {
		require.Same(t, v, table.ByID(id))
		require.Same(t, v, table.ByName(v.Name))
	}
}

// A model of two maps and a sorted slice gives the expected results.
func TestTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	now, err := New(valueKeys, nil, 0)
	require.NoError(t, err)
	want := map[string]*value{}
	for edit := uint64(1); edit <= 300; edit++ {
		before, held := now, maps.Clone(want)
		next := now.Edit()
		for range 1 + rng.IntN(5) {
			v := &value{fmt.Sprint(rng.IntN(40)), fmt.Sprint("name ", rng.IntN(60))}
			old := want[v.ID]
			if other := next.ByName(v.Name); other != nil && other.ID != v.ID {
				continue
			}
			if old != nil && rng.IntN(3) == 0 {
				next.Delete(edit, old)
				delete(want, v.ID)
				continue
			}
			next.Put(edit, old, v)
			want[v.ID] = v
		}
		now = next
		checkTable(t, &now, want)
		checkTable(t, &before, held)
	}
}

func TestAdd(t *testing.T) {
	for _, there := range []int{0, 3, 900, 2000} {
		empty, err := New(valueKeys, nil, 0)
		require.NoError(t, err)
		before := empty.Edit()
		want := map[string]*value{}
		for i := range there {
			v := &value{fmt.Sprint("there", i), fmt.Sprint(2 * i)}
			before.Put(1, nil, v)
			want[v.ID] = v
		}
		held := maps.Clone(want)
		after := before.Edit()
		var fresh []*value
		for i := range 500 {
			v := &value{fmt.Sprint(i), fmt.Sprint("x", i*7%500)}
			fresh = append(fresh, v)
			want[v.ID] = v
		}
		refused := map[*value]error{{"0", "other"}: ErrSameID, {"other", "x7"}: ErrSameName}
		if there > 0 {
			refused[&value{"there0", "other"}] = ErrSameID
			refused[&value{"other", "0"}] = ErrSameName
		}
		for v, wantErr := range refused {
			require.ErrorIs(t, after.Add(2, append(fresh[:500:500], v)), wantErr, "%v beside %d", v, there)
			checkTable(t, &after, held)
		}
		require.NoError(t, after.Add(2, fresh))
		checkTable(t, &after, want)
		checkTable(t, &before, held)
	}
}

func TestWindow(t *testing.T) {
	var values []*value
	for i := range 100 {
		values = append(values, &value{fmt.Sprint(i), fmt.Sprintf("%03d", i)})
	}
	shuffled := slices.Clone(values)
	rand.New(rand.NewPCG(5, 6)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	table, err := New(valueKeys, shuffled, 0)
	require.NoError(t, err)
	for _, descending := range []bool{false, true} {
		for _, offset := range []int{0, 1, 50, 99, 100, 1 << 60} {
			for _, limit := range []int{0, 1, 10, 100, 1 << 60} {
				want := make([]value, 0, 100)
				for i := offset; i < 100 && len(want) < limit; i++ {
					if descending {
						want = append(want, *values[99-i])
					} else {
						want = append(want, *values[i])
					}
				}
				got := table.Window(offset, limit, descending)
				require.Equal(t, want, got)
			}
		}
	}
}
