package customstatus

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/tidwall/btree"
)

// snapshot is all statuses at one revision. It never changes once it has been
// published; the statuses it points to don't either.
type snapshot struct {
	// revision is what the store has reached. It moves beyond position when a
	// shared store reports progress without changes.
	revision Revision
	position Position
	history  uint64 // counts the times that the store went back
	closed   bool   // the catalog is closed, and nothing but the position is left

	ids   index
	names index
	order *btree.BTreeG[named]
}

// named is a status in the order of names. Nearly every comparison is decided by
// the first bytes of a name, without a look at where the status lies in memory.
type named struct {
	first uint64 // the first eight bytes of the name, with zeros if there are fewer
	*CustomUserStatus
}

func byName(s *CustomUserStatus) named {
	var first [8]byte
	copy(first[:], s.Name)
	return named{binary.BigEndian.Uint64(first[:]), s}
}

func (a named) compare(b named) int {
	if a.first != b.first {
		return cmp.Compare(a.first, b.first)
	}
	return strings.Compare(a.Name, b.Name)
}

func (a named) less(b named) bool { return a.compare(b) < 0 }

// newSnapshot takes ownership of the statuses; duplicates are [ErrDamaged].
func newSnapshot(contents Contents) (*snapshot, error) {
	s := &snapshot{
		revision: contents.Revision,
		position: Position{contents.Revision, contents.Fingerprint},
		// With this degree, the cost of copying a path is least.
		order: btree.NewBTreeGOptions(named.less, btree.Options{NoLocks: true, Degree: 16}),
	}
	all := make([]*CustomUserStatus, len(contents.Statuses))
	for i := range contents.Statuses {
		all[i] = &contents.Statuses[i]
	}
	if !contents.FingerprintKnown {
		s.position.Fingerprint = fingerprintOf(all)
	}
	return s, s.fill(all, 0)
}

// fingerprintOf returns the fingerprint of a catalog that holds the statuses.
func fingerprintOf(statuses []*CustomUserStatus) (sum Fingerprint) {
	for _, s := range statuses {
		sum += s.Fingerprint()
	}
	return sum
}

// fill puts statuses into an empty snapshot, to be changed by the edit.
func (s *snapshot) fill(statuses []*CustomUserStatus, edit uint64) error {
	// The work is mostly waiting for memory, which several can do at once.
	var uniqueIDs, uniqueNames bool
	var wg sync.WaitGroup
	wg.Go(func() { s.ids, uniqueIDs = newIndex(false, statuses, edit) })
	wg.Go(func() { s.names, uniqueNames = newIndex(true, statuses, edit) })
	for _, status := range sortedByName(statuses) {
		s.order.Load(status)
	}
	wg.Wait()
	switch {
	case !uniqueIDs:
		return fmt.Errorf("%w: two statuses have the same id", ErrDamaged)
	case !uniqueNames:
		return fmt.Errorf("%w: two statuses have the same name", ErrDamaged)
	}
	return nil
}

func sortedByName(statuses []*CustomUserStatus) []named {
	sorted := make([]named, len(statuses))
	for i, s := range statuses {
		sorted[i] = byName(s)
	}
	slices.SortFunc(sorted, named.compare)
	return sorted
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
	e.order = s.order.Copy()
	return e
}

// put makes status what old was. A nil old is a new status.
func (e *edit) put(old, status *CustomUserStatus) {
	change := Change{Kind: Created, After: *status}
	if old != nil {
		change.Kind, change.Before = Updated, *old
		e.position.Fingerprint -= old.Fingerprint()
		if old.Name != status.Name {
			e.names.remove(e.number, old.Name)
			e.order.Delete(byName(old))
		}
	}
	e.position.Fingerprint += status.Fingerprint()
	e.ids.put(e.number, status)
	e.names.put(e.number, status)
	e.order.Set(byName(status))
	e.changes = append(e.changes, change)
	e.made = append(e.made, status)
}

// putNew puts statuses that are all new, in the order in which that is fastest.
func (e *edit) putNew(statuses []*CustomUserStatus) {
	e.changes = slices.Grow(e.changes, len(statuses))
	e.made = slices.Grow(e.made, len(statuses))
	if e.ids.len > 0 {
		for _, s := range sortedByName(statuses) {
			e.put(nil, s.CustomUserStatus)
		}
		return
	}
	_ = e.fill(statuses, e.number) // their ids and names are unique, the catalog has seen to it
	e.position.Fingerprint += fingerprintOf(statuses)
	for _, s := range statuses {
		e.changes = append(e.changes, Change{Kind: Created, After: *s})
	}
	e.made = append(e.made, statuses...)
}

func (e *edit) delete(old *CustomUserStatus) {
	e.position.Fingerprint -= old.Fingerprint()
	e.ids.remove(e.number, old.ID)
	e.names.remove(e.number, old.Name)
	e.order.Delete(byName(old))
	e.changes = append(e.changes, Change{Kind: Deleted, Before: *old})
}

// touched reports whether the status with the id has been changed in this edit.
func (e *edit) touched(id string) bool { return e.ids.get(id) != e.base.ids.get(id) }

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
