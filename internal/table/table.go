// Package table keeps values under two unique keys, an id and a name, and in
// the order of names. A [Table] is persistent: an edit leaves the table that it
// began from unchanged, so readers need no lock.
package table

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/btree"
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
	order *btree.BTreeG[named[T]]
}

// named is a value with the beginning of its name. The first bytes decide
// nearly every comparison, so that a comparison rarely reads the value's
// memory.
type named[T any] struct {
	first uint64 // the first eight bytes of the name, padded with zeros
	value *T
}

func (k Keys[T]) named(value *T) named[T] {
	var first [8]byte
	copy(first[:], k.Name(value))
	return named[T]{binary.BigEndian.Uint64(first[:]), value}
}

func (k Keys[T]) compare(a, b named[T]) int {
	if a.first != b.first {
		return cmp.Compare(a.first, b.first)
	}
	return strings.Compare(k.Name(a.value), k.Name(b.value))
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
		// With this degree, the cost of copying a path is least.
		order: btree.NewBTreeGOptions(
			func(a, b named[T]) bool { return keys.compare(a, b) < 0 },
			btree.Options{NoLocks: true, Degree: 16}),
	}
	// Filling an index mostly waits for memory, so the parts are filled in
	// parallel.
	var uniqueIDs, uniqueNames bool
	var wg sync.WaitGroup
	wg.Go(func() { t.ids, uniqueIDs = newIndex(keys.ID, values, edit) })
	wg.Go(func() { t.names, uniqueNames = newIndex(keys.Name, values, edit) })
	for _, n := range t.sortedByName(values) {
		t.order.Load(n)
	}
	wg.Wait()
	switch {
	case !uniqueIDs:
		return t, ErrSameID
	case !uniqueNames:
		return t, ErrSameName
	}
	return t, nil
}

// sortedByName returns the values in order of names.
func (t *Table[T]) sortedByName(values []*T) []named[T] {
	// Each key holds the name itself, so that sorting does not read the values.
	type key struct {
		named named[T]
		name  string
	}
	keys := make([]key, len(values))
	for i, v := range values {
		keys[i] = key{t.keys.named(v), t.keys.Name(v)}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.named.first != b.named.first {
			return cmp.Compare(a.named.first, b.named.first)
		}
		return strings.Compare(a.name, b.name)
	})
	sorted := make([]named[T], len(keys))
	for i := range keys {
		sorted[i] = keys[i].named
	}
	return sorted
}

// Edit returns a copy that can be changed; t stays as it is. Calls of Edit for
// one table must not overlap.
func (t *Table[T]) Edit() Table[T] {
	edited := *t
	edited.order = t.order.Copy()
	return edited
}

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
		t.order.Delete(t.keys.named(old))
	}
	t.ids.put(edit, value)
	t.names.put(edit, value)
	t.order.Set(t.keys.named(value))
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
	sorted := t.sortedByName(values)
	for i, n := range sorted {
		id, name := t.keys.ID(n.value), t.keys.Name(n.value)
		if _, twice := ids[id]; twice || t.ids.get(id) != nil {
			return ErrSameID
		}
		if i > 0 && name == t.keys.Name(sorted[i-1].value) || t.names.get(name) != nil {
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
	t.order.Delete(t.keys.named(old))
}

// Scan calls yield for each value, in order of names, until yield returns
// false.
func (t *Table[T]) Scan(yield func(*T) bool) {
	t.order.Scan(func(n named[T]) bool { return yield(n.value) })
}

// Window returns copies of up to limit values by name, after the first offset of
// them, at the same cost for every offset. Descending begins with the last name.
func (t *Table[T]) Window(offset, limit int, descending bool) []T {
	total := t.order.Len()
	n := max(0, min(limit, total-min(offset, total)))
	out := make([]T, 0, n)
	if n == 0 {
		return out
	}
	add := func(named named[T]) bool {
		out = append(out, *named.value)
		return len(out) < n
	}
	switch {
	case descending:
		first, _ := t.order.GetAt(total - 1 - offset)
		t.order.Descend(first, add)
	case offset == 0:
		t.order.Scan(add)
	default:
		first, _ := t.order.GetAt(offset)
		t.order.Ascend(first, add)
	}
	return out
}
