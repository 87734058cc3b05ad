package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
)

// model is what a place has to hold, and the commits that led to it.
type model struct {
	statuses map[string]customstatus.CustomUserStatus
	revision customstatus.Revision
	log      []customstatus.Commit
	// unknown are the ids of new statuses whose commit may or may not have
	// been made.
	unknown map[string]bool
}

func newModel() model {
	return model{statuses: make(map[string]customstatus.CustomUserStatus), unknown: make(map[string]bool)}
}

// made takes in a commit that the store has made.
func (m *model) made(changes []customstatus.Change, revision customstatus.Revision) {
	c := customstatus.Commit{Revision: revision, Changes: slices.Clone(changes)}
	for i, change := range c.Changes {
		id := change.Status.ID
		if change.Deleted {
			c.Changes[i].Status = customstatus.CustomUserStatus{ID: id}
			delete(m.statuses, id)
			continue
		}
		c.Changes[i].Status.Revision = revision
		m.statuses[id] = c.Changes[i].Status
	}
	m.revision = revision
	m.log = append(m.log, c)
}

// conflict says why changes have to be refused, or "". No id stands twice in
// changes.
func (m *model) conflict(changes []customstatus.Change) string {
	names := make(map[string]string, len(m.statuses)) // to ids
	for id, s := range m.statuses {
		names[s.Name] = id
	}
	for _, c := range changes {
		old, there := m.statuses[c.Status.ID]
		switch {
		case !there && c.Replaces != 0:
			return fmt.Sprintf("there is no status %q to replace", c.Status.ID)
		case there && c.Replaces != old.Revision:
			return fmt.Sprintf("status %q is at revision %d", c.Status.ID, old.Revision)
		}
		if !c.Deleted {
			if id, taken := names[c.Status.Name]; taken && id != c.Status.ID {
				return fmt.Sprintf("the name %q belongs to status %q in its turn", c.Status.Name, id)
			}
		}
		if there {
			delete(names, old.Name)
		}
		if !c.Deleted {
			names[c.Status.Name] = c.Status.ID
		}
	}
	return ""
}

// differences says in which ways what a store holds is not what it has to hold.
func (m *model) differences(all []customstatus.CustomUserStatus, revision customstatus.Revision) []string {
	var found []string
	if revision != m.revision && (len(m.unknown) == 0 || revision < m.revision) {
		found = append(found, fmt.Sprintf("the revision is %d, want %d, that of the last commit", revision, m.revision))
	}
	seen := make(map[string]bool, len(all))
	for _, got := range all {
		want, there := m.statuses[got.ID]
		switch {
		case seen[got.ID]:
			found = append(found, fmt.Sprintf("status %+q is there twice", got.ID))
		case there:
			if d := difference(got, want); d != "" {
				found = append(found, fmt.Sprintf("status %+q: %s", got.ID, d))
			}
		case !m.unknown[got.ID]:
			found = append(found, fmt.Sprintf("a status that must not be there: %s", describe(got)))
		}
		seen[got.ID] = true
	}
	for _, id := range slices.Sorted(maps.Keys(m.statuses)) {
		if !seen[id] {
			found = append(found, fmt.Sprintf("a status is missing: %s", describe(m.statuses[id])))
		}
	}
	return found
}

// difference says in which way got is not want, or "".
func difference(got, want customstatus.CustomUserStatus) string {
	switch {
	case got.ID != want.ID:
		return fmt.Sprintf("ID is %+q, want %+q", got.ID, want.ID)
	case got.Name != want.Name:
		return fmt.Sprintf("Name is %+q, want %+q", got.Name, want.Name)
	case got.StatusType != want.StatusType:
		return fmt.Sprintf("StatusType is %+q, want %+q", got.StatusType, want.StatusType)
	case !got.UpdatedAt.Equal(want.UpdatedAt):
		return fmt.Sprintf("UpdatedAt is %v, want the instant %v", got.UpdatedAt, want.UpdatedAt)
	case got.UpdatedAt.Location() != time.UTC:
		return fmt.Sprintf("UpdatedAt is %v in location %q, want time.UTC", got.UpdatedAt, got.UpdatedAt.Location())
	case got.Revision != want.Revision:
		return fmt.Sprintf("Revision is %d, want %d", got.Revision, want.Revision)
	}
	return ""
}

// differenceOfCommits says in which way a commit of a feed is not what was
// made, or "".
func differenceOfCommits(got, want customstatus.Commit) string {
	if got.Revision != want.Revision {
		return fmt.Sprintf("its revision is %d, want %d", got.Revision, want.Revision)
	}
	if len(got.Changes) != len(want.Changes) {
		return fmt.Sprintf("it has %d changes, want %d", len(got.Changes), len(want.Changes))
	}
	there := make(map[string]bool, len(got.Changes))
	for _, c := range got.Changes {
		there[c.Status.ID] = true
	}
	for i, w := range want.Changes {
		g := got.Changes[i]
		switch {
		case !there[w.Status.ID]:
			return fmt.Sprintf("it lacks the change of status %+q", w.Status.ID)
		case g.Status.ID != w.Status.ID:
			return fmt.Sprintf("its change number %d is that of status %+q, want that of status %+q", i+1, g.Status.ID, w.Status.ID)
		case g.Deleted != w.Deleted:
			return fmt.Sprintf("the change of status %+q has Deleted %t, want %t", w.Status.ID, g.Deleted, w.Deleted)
		case g.Replaces != w.Replaces:
			return fmt.Sprintf("the change of status %+q has Replaces %d, want %d", w.Status.ID, g.Replaces, w.Replaces)
		case w.Deleted:
			continue
		}
		if d := difference(g.Status, w.Status); d != "" {
			return fmt.Sprintf("the change of status %+q: %s", w.Status.ID, d)
		}
	}
	return ""
}

func describe(s customstatus.CustomUserStatus) string {
	return fmt.Sprintf("{%+q %+q %s %s @%d}", s.ID, s.Name, s.StatusType, s.UpdatedAt.Format(time.RFC3339Nano), s.Revision)
}

// describeChanges shows a commit, the first changes of a long one.
func describeChanges(changes []customstatus.Change) string {
	const most = 6
	var b strings.Builder
	for i, c := range changes {
		if i == most {
			fmt.Fprintf(&b, ", … %d more", len(changes)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		switch {
		case c.Deleted:
			fmt.Fprintf(&b, "delete %+q@%d", c.Status.ID, c.Replaces)
		case c.Replaces == 0:
			fmt.Fprintf(&b, "create %+q as %+q", c.Status.ID, c.Status.Name)
		default:
			fmt.Fprintf(&b, "write %+q@%d as %+q", c.Status.ID, c.Replaces, c.Status.Name)
		}
	}
	return "[" + b.String() + "]"
}
