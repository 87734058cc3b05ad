// Package pairs keeps values in memory under two unique keys, an id and a name.
// It makes a list of changes as a whole or not at all.
package pairs

import "slices"

// Set is a set of values. Only one goroutine at a time may use it. A value is
// never changed, only replaced.
type Set[T any] struct {
	typ          Type[T]
	byID, byName map[string]*T
}

// New returns a set of values. No two values may have the same id or the same
// name.
func New[T any](typ Type[T], values []T) Set[T] {
	s := Set[T]{typ, make(map[string]*T, len(values)), make(map[string]*T, len(values))}
	for i := range values {
		s.replace(nil, &values[i])
	}
	return s
}

// ByID returns the value with the id, or nil.
func (s *Set[T]) ByID(id string) *T { return s.byID[id] }

// ByName returns the value with the name, or nil.
func (s *Set[T]) ByName(name string) *T { return s.byName[name] }

// Values returns copies of all values, in no particular order.
func (s *Set[T]) Values() []T {
	all := make([]T, 0, len(s.byID))
	for _, v := range s.byID {
		all = append(all, *v)
	}
	return all
}

// Change makes n changes, or none if one has an error, which it returns. It
// calls change(i) after the changes before i are made. A change replaces old by
// value; a nil old adds value, and a nil value removes old.
func (s *Set[T]) Change(n int, change func(i int) (old, value *T, err error)) error {
	made := make([][2]*T, 0, n)
	for i := range n {
		old, value, err := change(i)
		if err != nil {
			for _, m := range slices.Backward(made) {
				s.replace(m[1], m[0])
			}
			return err
		}
		s.replace(old, value)
		made = append(made, [2]*T{old, value})
	}
	return nil
}

func (s *Set[T]) replace(old, value *T) {
	if old != nil {
		delete(s.byID, s.typ.Keys.ID(old))
		delete(s.byName, s.typ.Keys.Name(old))
	}
	if value != nil {
		s.byID[s.typ.Keys.ID(value)] = value
		s.byName[s.typ.Keys.Name(value)] = value
	}
}

// Repeated reports whether two of n ids are the same, and returns such an id.
func Repeated(n int, id func(i int) string) (string, bool) {
	var seen map[string]struct{} // nil while the ids come in their order
	for i := 1; i < n; i++ {
		if seen == nil && id(i) > id(i-1) {
			continue
		}
		if seen == nil {
			seen = make(map[string]struct{}, n)
			for k := range i {
				seen[id(k)] = struct{}{}
			}
		}
		if _, twice := seen[id(i)]; twice {
			return id(i), true
		}
		seen[id(i)] = struct{}{}
	}
	return "", false
}
