package selection

import (
	"cmp"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// byTens has prefixes that ten values share.
func byTens(comparisons *int) Order[int] {
	return Order[int]{
		Prefix: func(v *int) uint64 { return uint64(*v / 10) },
		Compare: func(a, b *int) int {
			*comparisons++
			return cmp.Compare(*a, *b)
		},
	}
}

// ints is a set.
type ints []*int

func (s ints) Len() int      { return len(s) }
func (s ints) At(i int) *int { return s[i] }
func (s ints) Scan(yield func(*int) bool) {
	for _, v := range s {
		if !yield(v) {
			return
		}
	}
}

// orders are the ways in which n values lie, by name.
var orders = map[string]func(i, n int) int{
	"sorted":   func(i, _ int) int { return i },
	"reversed": func(i, n int) int { return n - 1 - i },
	"shuffled": func(i, n int) int { return i * 40503 % n },
	"organ":    func(i, n int) int { return min(2*i, 2*(n-i)-1) },
	"runs":     func(i, n int) int { return i%64*(n/64) + i/64 },
}

func made(order string, n int) (values ints, sorted []int) {
	for i := range n {
		v := orders[order](i, n)
		values, sorted = append(values, &v), append(sorted, v)
	}
	slices.Sort(sorted)
	return values, sorted
}

func TestWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for name := range orders {
		for _, n := range []int{0, 1, 2, 31, 33, 100, 640, 4096, 6400, 20480} {
			values, want := made(name, n)
			held := slices.Clone(values)
			for range 20 {
				from := rng.IntN(n + 1)
				to := from + rng.IntN(min(n-from, 100)+1)
				comparisons := 0
				for way, got := range map[string][]*int{
					"slice": byTens(&comparisons).Window(values, from, to),
					"set":   byTens(&comparisons).WindowOf(values, from, to),
				} {
					require.Len(t, got, to-from)
					for i, v := range got {
						require.Equal(t, want[from+i], *v, "%s of %d %s, %d to %d", way, n, name, from, to)
					}
				}
				require.Equal(t, held, values)
			}
		}
	}
}

// A window costs some comparisons a value, however the values lie, and one of a set
// is no copy of the set.
func TestWindowIsLinear(t *testing.T) {
	const n = 1 << 17
	for name := range orders {
		for _, from := range []int{0, n / 2, n - 50} {
			values, _ := made(name, n)
			comparisons := 0
			same := byTens(&comparisons)
			same.Prefix = func(*int) uint64 { return 1 }
			same.Window(values, from, from+50)
			require.Less(t, comparisons, 8*n, "%s from %d", name, from)

			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			byTens(&comparisons).WindowOf(values, from, from+50)
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(n*16), "%s from %d", name, from)
		}
	}
}

// liar is a set whose sample shows one value only.
type liar struct {
	ints
	shown int
}

func (l liar) At(int) *int { return l.ints[l.shown] }

func TestWindowAfterABadSample(t *testing.T) {
	values, want := made("sorted", 8*maxSample)
	comparisons := 0
	for _, from := range []int{0, 5000, 8*maxSample - 50} {
		for _, shown := range []int{0, len(values) - 1} {
			for i, v := range byTens(&comparisons).WindowOf(liar{values, shown}, from, from+50) {
				require.Equal(t, want[from+i], *v)
			}
		}
	}
}
