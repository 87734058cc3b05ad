package pairs

import (
	"errors"
	"fmt"

	"github.com/customstatus/customstatus/internal/sentinel"
	"github.com/customstatus/customstatus/internal/table"
)

// Type describes a type of values.
type Type[T any] struct {
	Keys table.Keys[T]
	// Revision returns where a value keeps the revision of the commit that wrote
	// the value last.
	Revision func(*T) *uint64
	// Fingerprint returns a hash of a value, without the revision.
	Fingerprint func(*T) uint64
}

// Kind says what a [Change] does.
type Kind uint8

// The kinds of a change.
const (
	Created Kind = iota + 1
	Updated
	Deleted
)

// known reports whether k is one of the three kinds.
func (k Kind) known() bool { return Created <= k && k <= Deleted }

// String returns the name of the kind.
func (k Kind) String() string {
	if !k.known() {
		return fmt.Sprintf("ChangeKind(%d)", uint8(k))
	}
	return [...]string{Created: "created", Updated: "updated", Deleted: "deleted"}[k]
}

// KindOf returns the kind of the change that replaces one value by another. Either
// may be nil, but not both.
func KindOf[T any](before, after *T) Kind {
	switch {
	case before == nil:
		return Created
	case after == nil:
		return Deleted
	}
	return Updated
}

// Change is what a commit does to one value. Before is the zero value if it is
// created, and After is the zero value if it is deleted; neither is nil.
type Change[T any] struct {
	Kind          Kind
	Before, After *T
}

// Changes are the changes of a commit.
type Changes[T any] interface {
	Len() int
	At(i int) Change[T]
}

// id returns the id of the value that a change is about.
func (t *Type[T]) id(c Change[T]) string {
	if c.Kind == Deleted {
		return t.Keys.ID(c.Before)
	}
	return t.Keys.ID(c.After)
}

// check returns an error if no commit may have the changes.
func (t *Type[T]) check(changes Changes[T]) error {
	if changes.Len() == 0 {
		return errors.New("a commit without changes")
	}
	for i := range changes.Len() {
		switch c := changes.At(i); {
		case !c.Kind.known():
			return fmt.Errorf("a change has the unknown kind %d", c.Kind)
		case c.Kind == Updated && t.Keys.ID(c.Before) != t.Keys.ID(c.After):
			return fmt.Errorf("an update turns status %q into status %q", t.Keys.ID(c.Before), t.Keys.ID(c.After))
		}
	}
	if id, twice := Repeated(changes.Len(), func(i int) string { return t.id(changes.At(i)) }); twice {
		return fmt.Errorf("the commit changes status %q twice", id)
	}
	return nil
}

// Held are the values that a change is made to.
type Held[T any] interface {
	ByID(id string) *T
	ByName(name string) *T
}

// Fit returns the value that a change replaces, and the one that takes its place;
// either may be nil. [sentinel.ErrConflict] is returned when the change doesn't fit
// what is held. An unknown kind is an error without a sentinel.
func (t *Type[T]) Fit(c Change[T], held Held[T]) (old, made *T, err error) {
	old = held.ByID(t.id(c))
	switch {
	case !c.Kind.known():
		return nil, nil, fmt.Errorf("a change has the unknown kind %d", c.Kind)
	case c.Kind == Created && old != nil:
		return nil, nil, fmt.Errorf("%w: status %q exists already", sentinel.ErrConflict, t.Keys.ID(old))
	case c.Kind != Created && old == nil:
		return nil, nil, fmt.Errorf("%w: there is no status %q", sentinel.ErrConflict, t.Keys.ID(c.Before))
	case old != nil && *t.Revision(old) != *t.Revision(c.Before):
		return nil, nil, fmt.Errorf("%w: status %q is at revision %d, not %d", sentinel.ErrConflict, t.Keys.ID(old), *t.Revision(old), *t.Revision(c.Before))
	case c.Kind == Deleted:
		return old, nil, nil
	}
	if owner := held.ByName(t.Keys.Name(c.After)); owner != nil && t.Keys.ID(owner) != t.Keys.ID(c.After) {
		return nil, nil, fmt.Errorf("%w: the name %q belongs to status %q", sentinel.ErrConflict, t.Keys.Name(owner), t.Keys.ID(owner))
	}
	made = new(T)
	*made = *c.After
	return old, made, nil
}

// Commit makes the changes at a revision, or none of them. [sentinel.ErrConflict] is
// returned when one doesn't fit. Changes that no commit may have are an error
// without a sentinel.
func (s *Set[T]) Commit(changes Changes[T], revision uint64) error {
	if err := s.typ.check(changes); err != nil {
		return err
	}
	return s.Change(changes.Len(), func(i int) (old, made *T, err error) {
		old, made, err = s.typ.Fit(changes.At(i), s)
		if made != nil {
			*s.typ.Revision(made) = revision
		}
		return old, made, err
	})
}

// Fingerprint returns the sum of the fingerprints of those values that the changes
// are about.
func (s *Set[T]) Fingerprint(changes Changes[T]) (sum uint64) {
	for i := range changes.Len() {
		if v := s.ByID(s.typ.id(changes.At(i))); v != nil {
			sum += s.typ.Fingerprint(v)
		}
	}
	return sum
}
