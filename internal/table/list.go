package table

import (
	"slices"

	"github.com/customstatus/customstatus/internal/fold"
	"github.com/customstatus/customstatus/internal/selection"
)

// Query says which values [Table.List] returns, and in which order. The zero value
// is all of them by name. A value matches if all the conditions that are set hold.
type Query[T any] struct {
	// ID and Name match the one value that has this key.
	ID, Name string
	// NameContains matches values whose name contains it. Case is ignored as in
	// [strings.EqualFold].
	NameContains string
	// Filter matches values for which it returns true.
	Filter func(T) bool

	// Order is the order of the list. Nil is that of names.
	Order *selection.Order[T]
	// Descending reverses the order of names, but no other order.
	Descending bool

	// Offset is the number of matches to skip. Limit is the greatest number of
	// values to return. 0 is no limit.
	Offset, Limit int
}

// List returns copies of the values that the query asks for, and the number of all
// matches.
func (t *Table[T]) List(q *Query[T]) (list []T, total int) {
	all := q.ID == "" && q.Name == "" && q.NameContains == "" && q.Filter == nil
	var matches []*T
	total = t.Len()
	if !all {
		matches = t.matches(q)
		total = len(matches)
	}
	from, to := min(q.Offset, total), total
	if q.Limit > 0 {
		to = from + min(to-from, q.Limit)
	}
	switch {
	case all && q.Order == nil:
		return t.Window(from, to-from, q.Descending), total
	case all:
		matches = q.Order.WindowOf(t, from, to)
	case q.Order != nil:
		matches = q.Order.Window(matches, from, to)
	default:
		if q.Descending {
			slices.Reverse(matches)
		}
		matches = matches[from:to]
	}
	list = make([]T, len(matches))
	for i, m := range matches {
		list[i] = *m
	}
	return list, total
}

// matches returns the values that meet the query's conditions, sorted by name.
func (t *Table[T]) matches(q *Query[T]) (out []*T) {
	add := func(v *T) bool {
		if q.Filter == nil || q.Filter(*v) {
			out = append(out, v)
		}
		return true
	}
	var only *T
	switch {
	case q.ID != "":
		only = t.ByID(q.ID)
	case q.Name != "":
		only = t.ByName(q.Name)
	case q.NameContains != "":
		t.Search(q.NameContains, add)
	default:
		t.Scan(add)
	}
	if only != nil && (q.Name == "" || t.keys.Name(only) == q.Name) && fold.Contains(q.NameContains)(t.keys.Name(only)) {
		add(only)
	}
	return out
}
