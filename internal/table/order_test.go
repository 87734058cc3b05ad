package table

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/fold"
)

// checkOrder requires that every node says what is below it.
func checkOrder(t *testing.T, table *Table[value]) {
	t.Helper()
	var check func(n *node[value], root bool) (depth int)
	check = func(n *node[value], root bool) (depth int) {
		require.LessOrEqual(t, len(n.entries), maxEntries)
		require.True(t, slices.IsSortedFunc(n.entries, table.keys.compare))
		if n.kids == nil {
			want := &folded{text: []byte{}, ends: []uint32{}}
			for _, e := range n.entries {
				want.text = fold.Append(want.text, e.value.Name)
				want.ends = append(want.ends, uint32(len(want.text)))
			}
			require.Equal(t, want, table.keys.foldedNames(n)) // later edits begin from it
			return 1
		}
		require.Len(t, n.kids, len(n.entries))
		require.Len(t, n.ends, len(n.entries))
		require.True(t, !root || len(n.kids) > 1, "a root with one kid")
		total := 0
		for i, kid := range n.kids {
			d := check(kid, false)
			require.True(t, depth == 0 || depth == d, "leaves at different depths")
			depth = d
			total += kid.len()
			require.Equal(t, total, int(n.ends[i]))
			require.NotZero(t, kid.len(), "an empty node")
			require.Equal(t, n.entries[i], kid.entries[0], "a value that is gone is a bound")
			if i+1 < len(n.kids) {
				require.Negative(t, table.keys.compare(kid.entries[len(kid.entries)-1], n.entries[i+1]))
			}
		}
		return depth + 1
	}
	check(table.order, true)
	require.Equal(t, table.Len(), table.order.len())
}

// A table grows to thousands of values and shrinks to none, and every version of it
// stays as it was.
func TestOrderGrowsAndShrinks(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, loaded := range []int{0, 3000} {
		var values []*value
		want := map[string]*value{}
		for i := range loaded {
			v := &value{fmt.Sprint("loaded ", i), fmt.Sprint(rng.IntN(1000), " loaded ", i)}
			values, want[v.ID] = append(values, v), v
		}
		now, err := New(valueKeys, values, 0)
		require.NoError(t, err)
		checkOrder(t, &now)
		edit := uint64(0)
		for _, growing := range []bool{true, false, true, false} {
			for target := 4000; growing && len(want) < target || !growing && len(want) > 0; {
				edit++
				before, held := now, maps.Clone(want)
				next := now.Edit()
				for range 1 + rng.IntN(600) {
					id := fmt.Sprint(rng.IntN(6000))
					if !growing { // ids that are there, so that it comes to an end
						for id = range want {
							break
						}
					}
					old := want[id]
					switch change := rng.IntN(10); {
					case old == nil && growing, old != nil && change < 2:
						v := &value{id, fmt.Sprint(rng.IntN(1_000_000), " name")}
						if next.ByName(v.Name) == nil {
							next.Put(edit, old, v)
							want[id] = v
						}
					case old != nil && change < 3: // the name stays
						want[id] = &value{id, old.Name}
						next.Put(edit, old, want[id])
					case old != nil && (!growing || change < 4):
						next.Delete(edit, old)
						delete(want, id)
					}
				}
				now = next
				if rng.IntN(15) == 0 || len(want) < 50 {
					checkOrder(t, &now)
					checkTable(t, &now, want)
					checkTable(t, &before, held)
				}
			}
		}
		require.Zero(t, now.Len())
		require.Nil(t, now.order.kids)
	}
}

func TestWindowOfManyPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	table, err := New(valueKeys, nil, 0)
	require.NoError(t, err)
	for i := range 2500 {
		table.Put(1, nil, &value{fmt.Sprint(i), fmt.Sprint("name ", rng.Uint64())})
	}
	var all []value
	table.Scan(func(v *value) bool {
		all = append(all, *v)
		return true
	})
	backwards := slices.Clone(all)
	slices.Reverse(backwards)
	for range 2000 {
		offset, limit := rng.IntN(2600), rng.IntN(200)
		from, to := min(offset, 2500), min(offset+limit, 2500)
		require.Equal(t, append([]value{}, all[from:to]...), table.Window(offset, limit, false))
		require.Equal(t, append([]value{}, backwards[from:to]...), table.Window(offset, limit, true))
	}
}

// search returns the names that a search finds.
func search(table *Table[value], part string) []string {
	var found []string
	table.Search(part, func(v *value) bool {
		found = append(found, v.Name)
		return true
	})
	return found
}

func TestSearch(t *testing.T) {
	names := []string{
		"aab", "ab", "Ba", "ba ba", "in a meeting", "In a MEETING", "straße", "STRASSE", "ſ", "s", "K", "\u212a", // the sign for kelvin
		"Ǆ", "ǅ", "ǆ", "ς", "Σ", "日本", "a\x00b", "\x00",
	}
	var values []*value
	for i, name := range names {
		values = append(values, &value{fmt.Sprint(i), name})
	}
	table, err := New(valueKeys, values, 0)
	require.NoError(t, err)
	sorted := slices.Sorted(slices.Values(names))
	parts := append(slices.Clone(names), "a", "b", "ab", "bb", "meet", "ss", "本日", "ba\x00", "none", "σ", "bi", "aba", "b\x00")
	for _, part := range parts {
		contains := fold.Contains(part)
		var want []string
		for _, name := range sorted {
			if contains(name) {
				want = append(want, name)
			}
		}
		require.Equal(t, want, search(&table, part), "%q", part)
	}
	first := 0
	table.Search("a", func(*value) bool { first++; return false })
	require.Equal(t, 1, first, "the search goes on after yield returned false")
}

// TestSearchAfterEdits: the folded names that a search has made follow every edit, also
// if an update in the same edit has kept them.
func TestSearchAfterEdits(t *testing.T) {
	a, b := &value{"1", "a-x"}, &value{"2", "b-x"}
	table, err := New(valueKeys, []*value{a, b}, 0)
	require.NoError(t, err)
	require.Equal(t, []string{"a-x", "b-x"}, search(&table, "X"))
	for edit, change := range []struct {
		old, value *value
		want       []string
	}{
		{nil, &value{"3", "aa-x"}, []string{"a-x", "aa-x", "b-x"}},
		{b, nil, []string{"a-x"}},
		{b, &value{"2", "c-x"}, []string{"a-x", "c-x"}},
		{b, &value{"2", "c"}, []string{"a-x"}},
	} {
		next := table.Edit()
		next.Put(uint64(edit+1), a, &value{"1", "a-x"})
		if change.value == nil {
			next.Delete(uint64(edit+1), change.old)
		} else {
			next.Put(uint64(edit+1), change.old, change.value)
		}
		require.Equal(t, change.want, search(&next, "X"))
		require.Equal(t, []string{"a-x", "b-x"}, search(&table, "X"))
	}
}

// A search in a big table finds what a look at every name finds.
func TestSearchInManyPages(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	table, err := New(valueKeys, nil, 0)
	require.NoError(t, err)
	name := func(length int) string {
		b := make([]byte, length)
		for i := range b {
			b[i] = "abAB"[rng.IntN(4)]
		}
		return string(b)
	}
	for i := range 5000 {
		if v := (&value{fmt.Sprint(i), name(1 + rng.IntN(12))}); table.ByName(v.Name) == nil {
			table.Put(1, nil, v)
		}
	}
	for range 100 {
		part := name(1 + rng.IntN(8))
		var want []string
		table.Scan(func(v *value) bool {
			if strings.Contains(strings.ToLower(v.Name), strings.ToLower(part)) {
				want = append(want, v.Name)
			}
			return true
		})
		require.Equal(t, want, search(&table, part), "%q", part)
	}
}

// A node that has lost all its values goes, however full those beside it are.
func TestOrderDropsEmptyNodes(t *testing.T) {
	var values []*value
	for i := range 2 * fullEntries {
		values = append(values, &value{fmt.Sprint(i), fmt.Sprintf("%03d", i)})
	}
	table, err := New(valueKeys, values, 0)
	require.NoError(t, err)
	for i := fullEntries; i < maxEntries; i++ {
		table.Put(1, nil, &value{fmt.Sprint("more ", i), fmt.Sprint("9", i)})
	}
	require.Len(t, table.order.kids[1].entries, maxEntries)
	for _, v := range values[:fullEntries] {
		table.Delete(1, v)
		checkOrder(t, &table)
	}
	require.Nil(t, table.order.kids)
}

// A branch with one kid loses the kid's last value, which must be no bound then.
func TestOrderForgetsRemovedBounds(t *testing.T) {
	var values []*value
	for i := range fullEntries*fullEntries + 1 {
		values = append(values, &value{fmt.Sprint(i), fmt.Sprintf("%04d", i)})
	}
	table, err := New(valueKeys, values, 0)
	require.NoError(t, err)
	table.Delete(1, values[len(values)-1])
	checkOrder(t, &table)
	require.Equal(t, len(values)-1, table.Len())
}

// A value that is a bound is replaced in every node that names it.
func TestOrderReplacesBounds(t *testing.T) {
	var values []*value
	for i := range 3 * fullEntries {
		values = append(values, &value{fmt.Sprint(i), fmt.Sprintf("%04d", i)})
	}
	table, err := New(valueKeys, values, 0)
	require.NoError(t, err)
	for i, old := range values {
		table.Put(1, old, &value{fmt.Sprint(i), old.Name})
		checkOrder(t, &table)
	}
}

// Many values are sorted in another way than few.
func TestManyAreSorted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	var values []*value
	for n := 0; n < 3*fewToSort; n = len(seen) {
		name := make([]byte, rng.IntN(12))
		for i := range name {
			name[i] = byte(rng.IntN(5)) * 63 // 0 and 252 among them
		}
		if !seen[string(name)] {
			seen[string(name)] = true
			values = append(values, &value{Name: string(name)})
		}
	}
	var got []string
	for _, e := range valueKeys.sorted(values) {
		require.Equal(t, e.value.Name, e.name)
		got = append(got, e.name)
	}
	require.Equal(t, slices.Sorted(maps.Keys(seen)), got)
}
