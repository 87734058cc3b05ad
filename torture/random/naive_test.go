package random

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/customstatus/customstatus"
)

// naive is a catalog as one would write it on a napkin.
type naive struct {
	statuses map[string]customstatus.CustomUserStatus // by id
	revision customstatus.Revision
}

func (n naive) clone() naive {
	n.statuses = maps.Clone(n.statuses)
	return n
}

// ids returns all ids in their order.
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
	return []customstatus.Change{{Status: customstatus.CustomUserStatus{
		ID: id, Name: f.Name, StatusType: f.StatusType, UpdatedAt: milliseconds(now),
	}}}, nil
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

func (n naive) update(id string, f customstatus.Fields, ifRevision customstatus.Revision, now time.Time) ([]customstatus.Change, error) {
	s, err := n.lookUp(id, ifRevision)
	if err != nil {
		return nil, err
	}
	if other, taken := n.byName(f.Name); taken && other.ID != id {
		return nil, customstatus.ErrNameInUse
	}
	old := s.Revision
	s.Name = f.Name
	if f.StatusType != "" {
		s.StatusType = f.StatusType
	}
	if now = milliseconds(now); now.After(s.UpdatedAt) {
		s.UpdatedAt = now
	}
	return []customstatus.Change{{Replaces: old, Status: s}}, nil
}

func (n naive) delete(id string, ifRevision customstatus.Revision) ([]customstatus.Change, error) {
	s, err := n.lookUp(id, ifRevision)
	if err != nil {
		return nil, err
	}
	return []customstatus.Change{{Replaces: s.Revision, Deleted: true, Status: s}}, nil
}

// add is an import of statuses of which some are invalid. Of all that are
// refused, it returns the sentinels by index.
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
		changes = append(changes, customstatus.Change{Status: s})
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return changes, nil
}

// apply makes changes and returns the commit that watchers see.
func (n *naive) apply(changes []customstatus.Change, revision customstatus.Revision) customstatus.Commit {
	n.revision = revision
	changes = slices.Clone(changes)
	for i := range changes {
		c := &changes[i]
		if c.Deleted {
			delete(n.statuses, c.Status.ID)
			continue
		}
		c.Status.Revision = revision
		n.statuses[c.Status.ID] = c.Status
	}
	return customstatus.Commit{Revision: revision, Changes: changes}
}

// list returns what a query with no error in it asks for.
func (n naive) list(q customstatus.Query) customstatus.Page {
	page := customstatus.Page{Revision: n.revision, Statuses: []customstatus.CustomUserStatus{}}
	for _, s := range n.statuses {
		if (q.ID == "" || s.ID == q.ID) && containsFold(s.Name, q.Name) {
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

// milliseconds is t as a catalog keeps times.
func milliseconds(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// log is the commits that a catalog keeps for watchers.
type log struct {
	limit   int // changes
	base    customstatus.Revision
	commits []customstatus.Commit
}

func (l *log) append(c customstatus.Commit) {
	l.commits = append(l.commits, c)
	for len(l.commits) > 1 {
		kept := 0
		for _, c := range l.commits {
			kept += len(c.Changes)
		}
		if kept <= l.limit {
			return
		}
		l.base = l.commits[0].Revision
		l.commits = l.commits[1:]
	}
}

func (l *log) reset(base customstatus.Revision) { l.base, l.commits = base, nil }

// since returns the commits after a revision.
func (l *log) since(after customstatus.Revision) []customstatus.Commit {
	i := slices.IndexFunc(l.commits, func(c customstatus.Commit) bool { return c.Revision > after })
	if i < 0 {
		return nil
	}
	return l.commits[i:]
}
