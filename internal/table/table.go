// Package table keeps values under two unique keys, an id and a name, and in
// the order of names. A [Table] is persistent: an edit leaves the table that it
// began from unchanged, so readers need no lock.
package table

import (
	"errors"
	"sync"

	"github.com/customstatus/customstatus/internal/fold"
)

// Keys are the functions that return the keys of a value.
type Keys[T any] struct {
	ID, Name func(*T) string
}

// Table is a set of values of type T. A published table and the values that it
// points to must never change; readers may then use the table from several
// goroutines without a lock. The zero value is not usable: see [New].
type Table[T any] struct {
	keys  Keys[T]
	ids   index[T]
	names index[T]
	order *node[T]
}

// The errors of [New].
var (
	ErrSameID   = errors.New("two values have the same id")
	ErrSameName = errors.New("two values have the same name")
)

// New returns a table of the values. The edit with the given number may change
// the table. [ErrSameID] or [ErrSameName] is returned when two values share a
// key.
func New[T any](keys Keys[T], values []*T, edit uint64) (Table[T], error) {
	t := Table[T]{
		keys: keys,
	}
	// Filling an index mostly waits for memory, so the parts are filled in
	// parallel.
	var uniqueIDs, uniqueNames bool
	var wg sync.WaitGroup
	wg.Go(func() { t.ids, uniqueIDs = newIndex(keys.ID, values, edit) })
	wg.Go(func() { t.names, uniqueNames = newIndex(keys.Name, values, edit) })
	t.order = newOrder(keys.sorted(values), edit)
	wg.Wait()
	switch {
	case !uniqueIDs:
		return t, ErrSameID
	case !uniqueNames:
		return t, ErrSameName
	}
	return t, nil
}

// Edit returns a copy that can be changed; t stays as it is.
func (t *Table[T]) Edit() Table[T] { return *t }

// Len returns the number of values.
func (t *Table[T]) Len() int { return t.ids.len }

// ByID returns the value with the id, or nil.
func (t *Table[T]) ByID(id string) *T { return t.ids.get(id) }

// ByName returns the value with the name, or nil.
func (t *Table[T]) ByName(name string) *T { return t.names.get(name) }

// Put replaces old by value. Both have the same id. If old is nil, Put adds
// value. The argument edit is the unique number of the edit that the table
// belongs to.
func (t *Table[T]) Put(edit uint64, old, value *T) {
	if old != nil && t.keys.Name(old) != t.keys.Name(value) {
		t.names.remove(edit, t.keys.Name(old))
		t.order = t.keys.remove(t.order, edit, t.keys.named(old))
	}
	t.ids.put(edit, value)
	t.names.put(edit, value)
	t.order = t.keys.set(t.order, edit, t.keys.named(value))
}

// Add adds values in the fastest way for their number. [ErrSameID] or
// [ErrSameName] is returned when an id or a name is not new; t is then
// unchanged.
func (t *Table[T]) Add(edit uint64, values []*T) error {
	if len(values) >= t.ids.len/2 {
		all := make([]*T, 0, t.ids.len+len(values))
		t.Scan(func(v *T) bool {
			all = append(all, v)
			return true
		})
		filled, err := New(t.keys, append(all, values...), edit)
		if err == nil {
			*t = filled
		}
		return err
	}
	ids := make(map[string]struct{}, len(values))
	sorted := t.keys.sorted(values)
	for i, n := range sorted {
		id := t.keys.ID(n.value)
		if _, twice := ids[id]; twice || t.ids.get(id) != nil {
			return ErrSameID
		}
		if i > 0 && n.name == sorted[i-1].name || t.names.get(n.name) != nil {
			return ErrSameName
		}
		ids[id] = struct{}{}
	}
	for _, n := range sorted {
		t.Put(edit, nil, n.value)
	}
	return nil
}

// Delete removes old, a value of the table.
func (t *Table[T]) Delete(edit uint64, old *T) {
	t.ids.remove(edit, t.keys.ID(old))
	t.names.remove(edit, t.keys.Name(old))
	t.order = t.keys.remove(t.order, edit, t.keys.named(old))
}

// At returns the value that has i others before it in the order of names.
func (t *Table[T]) At(i int) *T { return t.order.at(i) }

// Scan calls yield for each value, in order of names, until yield returns false.
func (t *Table[T]) Scan(yield func(*T) bool) { t.order.scan(yield) }

// Search calls yield for each value whose name contains part, in order of names,
// until yield returns false. Case is ignored as in [strings.EqualFold]. Part must
// not be empty.
func (t *Table[T]) Search(part string, yield func(*T) bool) {
	t.keys.search(t.order, fold.Append(nil, part), yield)
}

// Window returns copies of up to limit values, in order of names, after the first
// offset of them. Descending begins with the last name. The offset does not change
// the cost.
func (t *Table[T]) Window(offset, limit int, descending bool) []T {
	total := t.Len()
	n := max(0, min(limit, total-min(offset, total)))
	out := make([]T, 0, n)
	switch {
	case n == 0:
		return out
	case descending:
		return t.order.appendBack(out, total-1-offset)
	default:
		return t.order.appendFrom(out, offset)
	}
}
