package table

import "cmp"

// Draft is a table in the making, and the changes that lead to it.
type Draft[T any] struct {
	Table[T]
	Changes []Change[T] // in their order

	base   *Table[T]
	number uint64
}

// Change says that a value has taken the place of another. Before is nil if there
// was none, and After is nil if there is none any more.
type Change[T any] struct{ Before, After *T }

// Draft begins a draft that leaves t unchanged, with room for so many changes. No
// two drafts of a table, or of tables made from it, have the same number.
func (t *Table[T]) Draft(number uint64, changes int) Draft[T] {
	return Draft[T]{Table: t.Edit(), Changes: make([]Change[T], 0, changes), base: t, number: number}
}

// Put replaces before, which has the same id, by after. A nil before adds after, and
// a nil after deletes before.
func (d *Draft[T]) Put(before, after *T) {
	if after == nil {
		d.Table.Delete(d.number, before)
	} else {
		d.Table.Put(d.number, before, after)
	}
	d.Changes = append(d.Changes, Change[T]{before, after})
}

// Add adds new values. [ErrSameID] or [ErrSameName] is returned when an id or a name
// is not new; then the draft is unchanged.
func (d *Draft[T]) Add(values []*T) error {
	if err := d.Table.Add(d.number, values); err != nil {
		return err
	}
	for _, v := range values {
		d.Changes = append(d.Changes, Change[T]{nil, v})
	}
	return nil
}

// Touched reports whether the draft has changed the value with the id.
func (d *Draft[T]) Touched(id string) bool { return d.ByID(id) != d.base.ByID(id) }

// Unused reports whether no value has the id, neither before nor after the changes.
func (d *Draft[T]) Unused(id string) bool { return d.ByID(id) == nil && d.base.ByID(id) == nil }

// Twins returns a function to be called with the values of a list in turn. It
// returns the value with the same id and the one with the same name, of the draft
// or earlier in the list, or nil. An empty id is none.
func (d *Draft[T]) Twins(values int) func(v *T) (sameID, sameName *T) {
	ids, names := make(map[string]*T, values), make(map[string]*T, values)
	return func(v *T) (sameID, sameName *T) {
		id, name := d.keys.ID(v), d.keys.Name(v)
		sameID, sameName = cmp.Or(d.ByID(id), ids[id]), cmp.Or(d.ByName(name), names[name])
		if id != "" {
			ids[id] = v
		}
		names[name] = v
		return sameID, sameName
	}
}
