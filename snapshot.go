package customstatus

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/btree"
)

// snapshot is all statuses at one revision. It never changes once it has been
// published; the statuses it points to don't either.
type snapshot struct {
	revision Revision
	ids      index
	names    index
	order    *btree.BTreeG[named]
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

// newSnapshot takes over statuses. Those of a store that keeps its contract have
// unique ids and names.
func newSnapshot(statuses []CustomUserStatus, revision Revision) (*snapshot, error) {
	s := &snapshot{
		revision: revision,
		// With this degree, the cost of copying a path is least.
		order: btree.NewBTreeGOptions(named.less, btree.Options{NoLocks: true, Degree: 16}),
	}
	all := make([]*CustomUserStatus, len(statuses))
	for i := range statuses {
		all[i] = &statuses[i]
	}
	return s, s.fill(all, 0)
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
	change := Change{Status: *status}
	if old != nil {
		change.Replaces = old.Revision
		if old.Name != status.Name {
			e.names.remove(e.number, old.Name)
			e.order.Delete(byName(old))
		}
	}
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
	for _, s := range statuses {
		e.changes = append(e.changes, Change{Status: *s})
	}
	e.made = append(e.made, statuses...)
}

func (e *edit) delete(old *CustomUserStatus) {
	e.ids.remove(e.number, old.ID)
	e.names.remove(e.number, old.Name)
	e.order.Delete(byName(old))
	e.changes = append(e.changes, Change{Replaces: old.Revision, Deleted: true, Status: *old})
}

// touched reports whether the status with the id has been changed in this edit.
func (e *edit) touched(id string) bool { return e.ids.get(id) != e.base.ids.get(id) }

// commit gives what was put its revision. After it the snapshot can be published.
func (e *edit) commit(revision Revision) (*snapshot, Commit) {
	for _, s := range e.made {
		s.Revision = revision
	}
	for i := range e.changes {
		if c := &e.changes[i]; !c.Deleted {
			c.Status.Revision = revision
		}
	}
	next := e.snapshot
	next.revision = revision
	changes := e.changes
	if cap(changes) > 2*len(changes) {
		// The feed keeps them, but not the room of writes that were refused.
		changes = slices.Clone(changes)
	}
	return &next, Commit{Revision: revision, Changes: changes}
}

// list returns a page. The query has been checked.
func (s *snapshot) list(q Query) Page {
	page := Page{Revision: s.revision}
	if q.ID == "" && q.Name == "" {
		if desc, ok := nameFirst(q.Sort); ok {
			page.Total = s.order.Len()
			page.Statuses = s.window(q.Offset, q.Limit, desc)
			return page
		}
	}
	matches := s.matches(q)
	if desc, ok := nameFirst(q.Sort); !ok {
		slices.SortFunc(matches, compareBy(q.Sort))
	} else if desc {
		slices.Reverse(matches)
	}
	page.Total = len(matches)
	matches = matches[min(q.Offset, len(matches)):]
	if q.Limit > 0 {
		matches = matches[:min(q.Limit, len(matches))]
	}
	page.Statuses = make([]CustomUserStatus, len(matches))
	for i, m := range matches {
		page.Statuses[i] = *m
	}
	return page
}

// window returns statuses in the order of their names, at the same cost for
// every offset.
func (s *snapshot) window(offset, limit int, desc bool) []CustomUserStatus {
	total := s.order.Len()
	n := total - min(offset, total)
	if limit > 0 {
		n = min(n, limit)
	}
	out := make([]CustomUserStatus, 0, n)
	if n == 0 {
		return out
	}
	add := func(status named) bool {
		out = append(out, *status.CustomUserStatus)
		return len(out) < n
	}
	if desc {
		first, _ := s.order.GetAt(total - 1 - offset)
		s.order.Descend(first, add)
	} else if offset == 0 {
		s.order.Scan(add)
	} else {
		first, _ := s.order.GetAt(offset)
		s.order.Ascend(first, add)
	}
	return out
}

// matches returns what the query's ID and Name leave, by name.
func (s *snapshot) matches(q Query) []*CustomUserStatus {
	var out []*CustomUserStatus
	contains := containsFold(q.Name)
	if q.ID != "" {
		if status := s.ids.get(q.ID); status != nil && contains(status.Name) {
			out = append(out, status)
		}
		return out
	}
	s.order.Scan(func(status named) bool {
		if contains(status.Name) {
			out = append(out, status.CustomUserStatus)
		}
		return true
	})
	return out
}

// nameFirst reports whether the keys sort by name, which, being unique, leaves
// nothing for further keys to decide.
func nameFirst(keys []SortKey) (desc, ok bool) {
	if len(keys) == 0 {
		return false, true
	}
	return keys[0].Descending, keys[0].Field == SortByName
}

func compareBy(keys []SortKey) func(a, b *CustomUserStatus) int {
	return func(a, b *CustomUserStatus) int {
		for _, k := range keys {
			var c int
			switch k.Field {
			case SortByID:
				c = strings.Compare(a.ID, b.ID)
			case SortByName:
				c = strings.Compare(a.Name, b.Name)
			case SortByStatusType:
				c = cmp.Compare(a.StatusType, b.StatusType)
			case SortByUpdatedAt:
				c = a.UpdatedAt.Compare(b.UpdatedAt)
			}
			if k.Descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return strings.Compare(a.ID, b.ID)
	}
}

// containsFold returns a function that tells whether a name contains part,
// under Unicode simple case folding, the one of [strings.EqualFold].
func containsFold(part string) func(name string) bool {
	if part == "" {
		return func(string) bool { return true }
	}
	folded := appendFold(nil, part)
	buf := make([]byte, 0, MaxNameLength*utf8.UTFMax)
	return func(name string) bool {
		buf = appendFold(buf[:0], name)
		return bytes.Contains(buf, folded)
	}
}

// appendFold appends s with each character replaced by the least one that it
// folds to.
func appendFold(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z':
			b = append(b, byte(r)-'a'+'A')
		case r < utf8.RuneSelf:
			b = append(b, byte(r))
		default:
			least := r
			for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
				least = min(least, next)
			}
			b = utf8.AppendRune(b, least)
		}
	}
	return b
}
