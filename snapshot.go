package customstatus

import (
	"fmt"
	"slices"

	"github.com/customstatus/customstatus/internal/table"
)

// snapshot is all statuses at one revision. It never changes once it has been
// published; the statuses it points to don't either.
type snapshot struct {
	// revision is what the store has reached. It moves beyond position when a
	// shared store reports progress without changes.
	revision Revision
	position Position
	rewinds  uint64 // counts the times that the store went back
	closed   bool   // the catalog is closed, and nothing but the position is left

	table table.Table[CustomUserStatus]
}

var tableKeys = table.Keys[CustomUserStatus]{
	ID:   func(s *CustomUserStatus) string { return s.ID },
	Name: func(s *CustomUserStatus) string { return s.Name },
}

// newSnapshot takes ownership of the statuses; duplicates are [ErrDamaged].
func newSnapshot(contents Contents) (*snapshot, error) {
	all := make([]*CustomUserStatus, len(contents.Statuses))
	for i := range contents.Statuses {
		all[i] = &contents.Statuses[i]
	}
	s := &snapshot{
		revision: contents.Revision,
		position: Position{contents.Revision, contents.Fingerprint},
	}
	if !contents.FingerprintKnown {
		s.position.Fingerprint = fingerprintOf(all)
	}
	var err error
	if s.table, err = table.New(tableKeys, all, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}

// fingerprintOf returns the fingerprint of a catalog that holds the statuses.
func fingerprintOf(statuses []*CustomUserStatus) (sum Fingerprint) {
	for _, s := range statuses {
		sum += s.Fingerprint()
	}
	return sum
}

// edit is a snapshot in the making, and the changes that lead to it. Several
// writes share it; each sees what those before it did.
type edit struct {
	snapshot
	base    *snapshot
	number  uint64 // distinct from that of every other edit of the catalog
	changes []Change
	made    []*CustomUserStatus // what the changes put, to be given their revision

	// relied says that the outcome of a write rests on what base shows
	// without a change that lets the store check it.
	relied bool
}

func (s *snapshot) edit(number uint64, changes int) *edit {
	e := &edit{
		snapshot: *s, base: s, number: number,
		changes: make([]Change, 0, changes),
		made:    make([]*CustomUserStatus, 0, changes),
	}
	e.table = s.table.Edit()
	return e
}

// put makes status what old was. A nil old is a new status.
func (e *edit) put(old, status *CustomUserStatus) {
	change := Change{Kind: Created, After: *status}
	if old != nil {
		change.Kind, change.Before = Updated, *old
		e.position.Fingerprint -= old.Fingerprint()
	}
	e.position.Fingerprint += status.Fingerprint()
	e.table.Put(e.number, old, status)
	e.changes = append(e.changes, change)
	e.made = append(e.made, status)
}

// putNew puts statuses that are all new, and returns an error, with e as it was, if
// an id or a name is not.
func (e *edit) putNew(statuses []*CustomUserStatus) error {
	if err := e.table.Add(e.number, statuses); err != nil {
		return err
	}
	e.position.Fingerprint += fingerprintOf(statuses)
	e.changes = slices.Grow(e.changes, len(statuses))
	for _, s := range statuses {
		e.changes = append(e.changes, Change{Kind: Created, After: *s})
	}
	e.made = append(e.made, statuses...)
	return nil
}

func (e *edit) delete(old *CustomUserStatus) {
	e.position.Fingerprint -= old.Fingerprint()
	e.table.Delete(e.number, old)
	e.changes = append(e.changes, Change{Kind: Deleted, Before: *old})
}

// touched reports whether the status with the id has been changed in this edit.
func (e *edit) touched(id string) bool { return e.table.ByID(id) != e.base.table.ByID(id) }

// commit gives what was put its revision. After it the snapshot can be published.
func (e *edit) commit(revision Revision) (*snapshot, Commit) {
	for _, s := range e.made {
		s.Revision = revision
	}
	for i := range e.changes {
		if c := &e.changes[i]; c.Kind != Deleted {
			c.After.Revision = revision
		}
	}
	next := e.snapshot
	next.revision = revision
	changes := e.changes
	if len(changes) > 0 {
		next.position.Revision = revision // progress without changes leaves the position
	}
	if cap(changes) > 2*len(changes) {
		// The feed keeps them, but not the room of writes that were refused.
		changes = slices.Clone(changes)
	}
	return &next, Commit{Revision: revision, Changes: changes, Fingerprint: next.position.Fingerprint, FingerprintKnown: true}
}
