package table

import (
	"cmp"
	"slices"
	"strings"
)

// entry is a value with its name. To sort entries, or to go through them in order,
// does not read the values: each would be a wait for memory.
type entry[T any] struct {
	named[T]
	name string
}

// fewToSort is the number of values below which it doesn't pay to spread them.
const fewToSort = 4096

// sorted returns the values in order of names.
func (k Keys[T]) sorted(values []*T) []entry[T] {
	entries := make([]entry[T], len(values))
	if len(values) < fewToSort {
		for i, v := range values {
			entries[i] = entry[T]{k.named(v), k.Name(v)}
		}
		sortEntries(entries)
		return entries
	}
	// Spread by the first two bytes of their names, most values are already near
	// their places. That halves the time.
	all := make([]named[T], len(values))
	ends := make([]int, 1<<16+1)
	for i, v := range values {
		all[i] = k.named(v)
		ends[all[i].first>>48+1]++
	}
	for i := range ends[1:] {
		ends[i+1] += ends[i]
	}
	for _, e := range all { // moves ends[i] from the start of part i to its end
		at := &ends[e.first>>48]
		entries[*at] = entry[T]{e, k.Name(e.value)}
		*at++
	}
	start := 0
	for _, end := range ends[:1<<16] {
		sortEntries(entries[start:end])
		start = end
	}
	return entries
}

func sortEntries[T any](entries []entry[T]) {
	slices.SortFunc(entries, func(a, b entry[T]) int {
		if a.first != b.first {
			return cmp.Compare(a.first, b.first)
		}
		return strings.Compare(a.name, b.name)
	})
}
