// Package selection returns a part of what a set of values would be if it were
// sorted, without sorting the rest.
package selection

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Order is an order of values in which no two are equal.
type Order[T any] struct {
	// Prefix returns a number that is less for a value that comes before another,
	// or the same. It decides most comparisons without a look at the values.
	Prefix func(*T) uint64
	// Compare orders values whose prefixes are the same. It is less than zero if a
	// comes before b.
	Compare func(a, b *T) int

	flip uint64 // what the prefixes are XORed with
}

// entry is a value and its prefix.
type entry[T any] struct {
	prefix uint64
	value  *T
}

func (o Order[T]) prefix(v *T) uint64 { return o.Prefix(v) ^ o.flip }

func (o Order[T]) entry(v *T) entry[T] { return entry[T]{o.prefix(v), v} }

func (o Order[T]) less(a, b entry[T]) bool {
	return a.prefix < b.prefix || a.prefix == b.prefix && o.Compare(a.value, b.value) < 0
}

func (o Order[T]) compare(a, b entry[T]) int {
	if a.prefix != b.prefix {
		return cmp.Compare(a.prefix, b.prefix)
	}
	return o.Compare(a.value, b.value)
}

// Window returns values[from:to] as it would be if the values were sorted. It takes
// linear time beside sorting what it returns, and leaves values as it is.
func (o Order[T]) Window(values []*T, from, to int) []*T {
	all := make([]entry[T], len(values))
	for i, v := range values {
		all[i] = o.entry(v)
	}
	return o.window(all, from, to)
}

// Set is a set of values that is too large for a copy.
type Set[T any] interface {
	Len() int
	At(i int) *T // in any order that does not change
	Scan(yield func(*T) bool)
}

// A window of a set is bounded by a sample: one value in sampleStep, at most
// maxSample. A set of smallSet values is not worth one.
const (
	sampleStep = 16
	maxSample  = 1024
	smallSet   = 512
)

// WindowOf is [Order.Window] of a set. Where the prefixes of the values differ, it
// needs memory for a part of them only.
func (o Order[T]) WindowOf(set Set[T], from, to int) []*T {
	n := set.Len()
	low, high, between := uint64(0), uint64(math.MaxUint64), n
	if n > smallSet {
		low, high, between = o.bounds(set, from, to)
	}
	before := 0 // values before all that are kept
	kept := make([]entry[T], 0, between)
	set.Scan(func(v *T) bool {
		switch e := o.entry(v); {
		case e.prefix < low:
			before++
		case e.prefix <= high:
			kept = append(kept, e)
		}
		return true
	})
	if from < before || to > before+len(kept) { // no good sample
		kept, before = kept[:0], 0
		set.Scan(func(v *T) bool {
			kept = append(kept, o.entry(v))
			return true
		})
	}
	return o.window(kept, from-before, to-before)
}

// bounds returns prefixes between which those of a window most likely are, and
// about how many values have one between them.
func (o Order[T]) bounds(set Set[T], from, to int) (low, high uint64, between int) {
	n := set.Len()
	sample := min(n/sampleStep, maxSample)
	prefixes := make([]uint64, sample)
	random := rand.New(rand.NewPCG(uint64(n), 0)) // the same for the same set
	for i := range prefixes {
		first, next := int(int64(i)*int64(n)/int64(sample)), int(int64(i+1)*int64(n)/int64(sample))
		prefixes[i] = o.prefix(set.At(first + random.IntN(next-first)))
	}
	slices.Sort(prefixes)
	// The rank of a value in a sample is off by more than four standard deviations
	// once in some ten thousand samples.
	place := func(rank int, sign float64) int {
		p, k := float64(rank)/float64(n), float64(sample)
		return int(math.Floor(p*k + sign*(4*math.Sqrt(k*p*(1-p))+4)))
	}
	first, last := min(place(from, -1), sample-1), place(to, +1)
	low, high = 0, math.MaxUint64
	if first > 0 {
		low = prefixes[first]
	}
	if last < sample {
		high = prefixes[last]
	}
	share := float64(min(last, sample)-max(first, 0)+1) / float64(sample)
	return low, high, int(share * float64(n))
}

func (o Order[T]) window(s []entry[T], from, to int) []*T {
	o.place(s, from)
	o.place(s[from:], to-from)
	s = s[from:to]
	slices.SortFunc(s, o.compare)
	values := make([]*T, len(s))
	for i, e := range s {
		values[i] = e.value
	}
	return values
}

// few entries are sorted as a whole.
const few = 32

// place moves the n least entries to the front.
func (o Order[T]) place(s []entry[T], n int) {
	for rounds := 0; n > 0 && n < len(s); rounds++ {
		if len(s) <= few || rounds > 64 { // bad pivots, again and again
			slices.SortFunc(s, o.compare)
			return
		}
		if middle := o.partition(s); n <= middle {
			s = s[:middle]
		} else {
			s, n = s[middle+1:], n-middle-1
		}
	}
}

// partition puts an entry in its place, the lesser ones before it and the others
// behind it, and returns its index.
func (o Order[T]) partition(s []entry[T]) int {
	// The median of nine is far from both ends for nearly every order of s.
	last, step := len(s)-1, len(s)/9
	var thirds [3]int
	for i := range thirds {
		thirds[i] = o.median(s, (3*i)*step, (3*i+1)*step, (3*i+2)*step)
	}
	pivot := o.median(s, thirds[0], thirds[1], thirds[2])
	s[pivot], s[last] = s[last], s[pivot]
	middle := 0
	for i := range s[:last] {
		if o.less(s[i], s[last]) {
			s[i], s[middle] = s[middle], s[i]
			middle++
		}
	}
	s[middle], s[last] = s[last], s[middle]
	return middle
}

// median returns the index that has the middle one of three entries.
func (o Order[T]) median(s []entry[T], a, b, c int) int {
	if o.less(s[b], s[a]) {
		a, b = b, a
	}
	if o.less(s[c], s[b]) {
		b = c
		if o.less(s[b], s[a]) {
			b = a
		}
	}
	return b
}
