package random

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/customstatus/customstatus"
)

// naive is the simplest possible catalog.
type naive struct {
	statuses map[string]customstatus.CustomUserStatus // by id
	revision customstatus.Revision
	position customstatus.Position
}

func (n naive) clone() naive {
	n.statuses = maps.Clone(n.statuses)
	return n
}

// fingerprint returns the sum of the statuses' fingerprints.
func (n naive) fingerprint() (sum customstatus.Fingerprint) {
	for _, s := range n.statuses {
		sum += s.Fingerprint()
	}
	return sum
}

// ids returns all ids in order.
func (n naive) ids() []string { return slices.Sorted(maps.Keys(n.statuses)) }

func (n naive) byName(name string) (customstatus.CustomUserStatus, bool) {
	for _, s := range n.statuses {
		if s.Name == name {
			return s, true
		}
	}
	return customstatus.CustomUserStatus{}, false
}

// The writes return the changes that they make, or the sentinel with which they
// are refused. Their fields have been checked.

func (n naive) create(id string, f customstatus.Fields, now time.Time) ([]customstatus.Change, error) {
	if _, taken := n.byName(f.Name); taken {
		return nil, customstatus.ErrNameInUse
	}
	made := customstatus.CustomUserStatus{ID: id, Name: f.Name, StatusType: f.StatusType, UpdatedAt: milliseconds(now)}
	if f.Metadata != nil {
		made.Metadata = *f.Metadata
	}
	return []customstatus.Change{{Kind: customstatus.Created, After: made}}, nil
}

func (n naive) lookUp(id string, ifRevision customstatus.Revision) (customstatus.CustomUserStatus, error) {
	s, there := n.statuses[id]
	switch {
	case !there:
		return s, customstatus.ErrNotFound
	case ifRevision != 0 && ifRevision != s.Revision:
		return s, customstatus.ErrConflict
	}
	return s, nil
}

func (n naive) update(id string, f customstatus.Fields, opts customstatus.WriteOptions, now time.Time) ([]customstatus.Change, error) {
	old, err := n.lookUp(id, opts.IfRevision)
	if err != nil {
		return nil, err
	}
	if other, taken := n.byName(f.Name); taken && other.ID != id {
		return nil, customstatus.ErrNameInUse
	}
	s := old
	s.Name = f.Name
	if !opts.KeepStatusType {
		s.StatusType = f.StatusType
	}
	if f.Metadata != nil {
		s.Metadata = *f.Metadata
	}
	if now = milliseconds(now); now.After(s.UpdatedAt) {
		s.UpdatedAt = now
	}
	return []customstatus.Change{{Kind: customstatus.Updated, Before: old, After: s}}, nil
}

func (n naive) delete(id string, opts customstatus.WriteOptions) ([]customstatus.Change, error) {
	s, err := n.lookUp(id, opts.IfRevision)
	if err != nil {
		return nil, err
	}
	return []customstatus.Change{{Kind: customstatus.Deleted, Before: s}}, nil
}

// add imports statuses, some of them invalid. It returns the sentinel of each
// refused status by index.
func (n naive) add(statuses []customstatus.CustomUserStatus, invalid map[int]error, newID func() string, now time.Time) ([]customstatus.Change, map[int]error) {
	var changes []customstatus.Change
	bad := maps.Clone(invalid)
	ids, names := make(map[string]bool), make(map[string]bool)
	for i, s := range statuses {
		if invalid[i] != nil {
			continue
		}
		s.Revision = 0
		if s.UpdatedAt = milliseconds(s.UpdatedAt); s.UpdatedAt.IsZero() {
			s.UpdatedAt = milliseconds(now)
		}
		if s.ID == "" {
			s.ID = newID()
		}
		there, known := n.statuses[s.ID]
		there.Revision = 0
		if s.Metadata == "" { // it says nothing
			there.Metadata = ""
		}
		if known && there == s {
			continue
		}
		_, taken := n.byName(s.Name)
		switch {
		case known || ids[s.ID]:
			bad[i] = customstatus.ErrIDInUse
		case taken || names[s.Name]:
			bad[i] = customstatus.ErrNameInUse
		}
		ids[s.ID], names[s.Name] = true, true
		changes = append(changes, customstatus.Change{Kind: customstatus.Created, After: s})
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return changes, nil
}

// apply makes the changes and returns the commit for watchers.
func (n *naive) apply(changes []customstatus.Change, revision customstatus.Revision) customstatus.Commit {
	n.revision = revision
	changes = slices.Clone(changes)
	for i := range changes {
		c := &changes[i]
		if c.Kind == customstatus.Deleted {
			delete(n.statuses, c.Before.ID)
			continue
		}
		c.After.Revision = revision
		n.statuses[c.After.ID] = c.After
	}
	n.position = customstatus.Position{Revision: revision, Fingerprint: n.fingerprint()}
	return customstatus.Commit{Revision: revision, Changes: changes, Fingerprint: n.position.Fingerprint, FingerprintKnown: true}
}

// list returns the page for a valid query.
func (n naive) list(q customstatus.Query) customstatus.Page {
	page := customstatus.Page{Position: n.position, Statuses: []customstatus.CustomUserStatus{}}
	for _, s := range n.statuses {
		if (q.ID == "" || s.ID == q.ID) && (q.Name == "" || s.Name == q.Name) &&
			containsFold(s.Name, q.NameContains) && (q.Filter == nil || q.Filter(s)) {
			page.Statuses = append(page.Statuses, s)
		}
	}
	keys := q.Sort
	if len(keys) == 0 {
		keys = []customstatus.SortKey{{Field: customstatus.SortByName}}
	}
	slices.SortFunc(page.Statuses, func(a, b customstatus.CustomUserStatus) int {
		for _, k := range keys {
			if c := compare(a, b, k.Field); c != 0 && k.Descending {
				return -c
			} else if c != 0 {
				return c
			}
		}
		return compare(a, b, customstatus.SortByID)
	})
	page.Total = len(page.Statuses)
	page.Statuses = page.Statuses[min(q.Offset, page.Total):]
	if q.Limit > 0 {
		page.Statuses = page.Statuses[:min(q.Limit, len(page.Statuses))]
	}
	return page
}

func compare(a, b customstatus.CustomUserStatus, f customstatus.SortField) int {
	switch f {
	case customstatus.SortByID:
		return strings.Compare(a.ID, b.ID)
	case customstatus.SortByName:
		return strings.Compare(a.Name, b.Name)
	case customstatus.SortByStatusType:
		return strings.Compare(string(a.StatusType), string(b.StatusType))
	}
	return a.UpdatedAt.Compare(b.UpdatedAt)
}

// containsFold tries every part of name.
func containsFold(name, part string) bool {
	for i := range len(name) + 1 {
		for j := i; j <= len(name); j++ {
			if utf8.ValidString(name[i:j]) && strings.EqualFold(name[i:j], part) {
				return true
			}
		}
	}
	return false
}

// milliseconds returns t as a catalog keeps it.
func milliseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// log has the commits that a catalog keeps for watchers.
type log struct {
	limit   int // changes
	base    customstatus.Position
	reached customstatus.Revision // no commit is missing up to it
	commits []customstatus.Commit
}

func (l *log) append(c customstatus.Commit) {
	l.reached = c.Revision
	l.commits = append(l.commits, c)
	for len(l.commits) > 1 {
		kept := 0
		for _, c := range l.commits {
			kept += len(c.Changes)
		}
		if kept <= l.limit {
			return
		}
		l.base = l.commits[0].Position()
		l.commits = l.commits[1:]
	}
}

func (l *log) reset(base customstatus.Position) {
	l.base, l.reached, l.commits = base, base.Revision, nil
}

// since returns the commits after a position. It reports false if the log does
// not know them.
func (l *log) since(after customstatus.Position) ([]customstatus.Commit, bool) {
	last := l.base
	rest := l.commits
	for i, c := range l.commits {
		if c.Revision <= after.Revision {
			rest = l.commits[i+1:]
		}
		last = c.Position()
	}
	then := l.base // where the catalog was at the revision
	if n := len(l.commits) - len(rest); n > 0 {
		then = l.commits[n-1].Position()
	}
	switch {
	case l.base.Revision <= after.Revision && after.Revision <= l.reached && then.Fingerprint == after.Fingerprint:
		return rest, true
	case last.Fingerprint == after.Fingerprint:
		return nil, true // it holds what the catalog holds now
	}
	return nil, false
}
