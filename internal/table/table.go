// Package table keeps values under two unique keys, an id and a name, and in the
// order of their names. A table is persistent: an edit leaves the one it began
// from as it was, whose readers need no lock.
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

// Keys say under which keys a value stands.
type Keys[T any] struct {
	ID, Name func(*T) string
}

// Table is values of type T. It never changes once it has been published; the
// values it points to must not either. The zero value is of no use: see [New].
type Table[T any] struct {
	keys  Keys[T]
	ids   index[T]
	names index[T]
	order *btree.BTreeG[named[T]]
}

// named is a value in the order of names. Nearly every comparison is decided by
// the first bytes of a name, without a look at where the value lies in memory.
type named[T any] struct {
	first uint64 // the first eight bytes of the name, with zeros if there are fewer
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

// New returns a table of the values, which the edit with the given number may
// change. The error is [ErrSameID] or [ErrSameName].
func New[T any](keys Keys[T], values []*T, edit uint64) (Table[T], error) {
	t := Table[T]{
		keys: keys,
		// With this degree, the cost of copying a path is least.
		order: btree.NewBTreeGOptions(
			func(a, b named[T]) bool { return keys.compare(a, b) < 0 },
			btree.Options{NoLocks: true, Degree: 16}),
	}
	// The work is mostly waiting for memory, which several can do at once.
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

// sortedByName returns the values in the order of names.
func (t *Table[T]) sortedByName(values []*T) []named[T] {
	// With the names at hand, sorting doesn't go to where the values lie.
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

// Edit returns a table that can be changed and leaves t as it is. Concurrent
// calls for one table must not overlap.
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

// Put puts value in the place of old, which has the same id. A nil old adds a
// value. The edit is the number of the one edit that the table belongs to, which
// no other edit has.
func (t *Table[T]) Put(edit uint64, old, value *T) {
	if old != nil && t.keys.Name(old) != t.keys.Name(value) {
		t.names.remove(edit, t.keys.Name(old))
		t.order.Delete(t.keys.named(old))
	}
	t.ids.put(edit, value)
	t.names.put(edit, value)
	t.order.Set(t.keys.named(value))
}

// Add adds values whose ids and names are new, in the way in which that is fastest.
// The error is [ErrSameID] or [ErrSameName] if they are not, and t is as it was
// then.
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

// Delete removes a value of the table.
func (t *Table[T]) Delete(edit uint64, old *T) {
	t.ids.remove(edit, t.keys.ID(old))
	t.names.remove(edit, t.keys.Name(old))
	t.order.Delete(t.keys.named(old))
}

// Scan calls yield for the values by name until it returns false.
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
