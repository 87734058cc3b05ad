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
	versions map[version]customstatus.CustomUserStatus // what statuses were
	revision customstatus.Revision
	log      []customstatus.Commit // as a feed has to tell it
	// unknown are the ids of new statuses whose commit may or may not have
	// been made.
	unknown map[string]bool
}

type version struct {
	id       string
	revision customstatus.Revision
}

func newModel() model {
	return model{
		statuses: make(map[string]customstatus.CustomUserStatus),
		versions: make(map[version]customstatus.CustomUserStatus),
		unknown:  make(map[string]bool),
	}
}

// made takes in a commit that the store has made.
func (m *model) made(changes []customstatus.Change, revision customstatus.Revision) {
	c := customstatus.Commit{Revision: revision, Changes: slices.Clone(changes), FingerprintKnown: true}
	for i := range c.Changes {
		change := &c.Changes[i]
		change.Before = customstatus.CustomUserStatus{ID: change.Before.ID, Revision: change.Before.Revision}
		if change.Kind == customstatus.Deleted {
			delete(m.statuses, change.ID())
			continue
		}
		change.After.Revision = revision
		m.statuses[change.ID()] = change.After
		m.versions[version{change.ID(), revision}] = change.After
	}
	m.revision = revision
	c.Fingerprint = m.fingerprint()
	m.log = append(m.log, c)
}

func (m *model) fingerprint() customstatus.Fingerprint {
	var sum customstatus.Fingerprint
	for _, s := range m.statuses {
		sum += s.Fingerprint()
	}
	return sum
}

// before returns the whole status as it was at a revision or, if there was none,
// one that is made up.
func (m *model) before(id string, revision customstatus.Revision) customstatus.CustomUserStatus {
	if s, ok := m.versions[version{id, revision}]; ok {
		return s
	}
	s, ok := m.statuses[id]
	if !ok {
		s = status(id, "name of "+id)
	}
	s.Revision = revision
	return s
}

// write is a change that gives a status another name.
func (m *model) write(id string, at customstatus.Revision, name string) customstatus.Change {
	return update(m.before(id, at), name)
}

// remove is a change that deletes a status.
func (m *model) remove(id string, at customstatus.Revision) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Deleted, Before: m.before(id, at)}
}

// put is a change that creates a status or, if it is there, gives it a name.
func (m *model) put(id, name string) customstatus.Change {
	if s, there := m.statuses[id]; there {
		return update(s, name)
	}
	return create(id, name)
}

// removeNow is a change that deletes a status that is there.
func (m *model) removeNow(id string) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Deleted, Before: m.statuses[id]}
}

// someTime is when statuses are written whose time does not matter.
var someTime = time.Date(2023, time.November, 4, 11, 51, 28, 353_000_000, time.UTC)

func status(id, name string) customstatus.CustomUserStatus {
	return customstatus.CustomUserStatus{ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: someTime}
}

// create is a change that brings in a status.
func create(id, name string) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Created, After: status(id, name)}
}

// update is a change that gives a status another name. A caller leaves the
// revision as it was, which must not count.
func update(before customstatus.CustomUserStatus, name string) customstatus.Change {
	after := before
	after.Name = name
	return customstatus.Change{Kind: customstatus.Updated, Before: before, After: after}
}

// conflict says why changes have to be refused, or "". No id stands twice in
// changes.
func (m *model) conflict(changes []customstatus.Change) string {
	names := make(map[string]string, len(m.statuses)) // to ids
	for id, s := range m.statuses {
		names[s.Name] = id
	}
	for _, c := range changes {
		id := c.ID()
		old, there := m.statuses[id]
		switch {
		case c.Kind == customstatus.Created && there:
			return fmt.Sprintf("there is a status %q already", id)
		case c.Kind != customstatus.Created && !there:
			return fmt.Sprintf("there is no status %q", id)
		case there && c.Before.Revision != old.Revision:
			return fmt.Sprintf("status %q is at revision %d", id, old.Revision)
		}
		if c.Kind == customstatus.Deleted {
			delete(names, old.Name)
			continue
		}
		if owner, taken := names[c.After.Name]; taken && owner != id {
			return fmt.Sprintf("the name %q belongs to status %q in its turn", c.After.Name, owner)
		}
		if there {
			delete(names, old.Name)
		}
		names[c.After.Name] = id
	}
	return ""
}

// differences says in which ways what a store holds is not what it has to hold.
func (m *model) differences(all customstatus.Contents) []string {
	var found []string
	if all.Revision != m.revision && (len(m.unknown) == 0 || all.Revision < m.revision) {
		found = append(found, fmt.Sprintf("the revision is %d, want %d, that of the last commit", all.Revision, m.revision))
	}
	var sum customstatus.Fingerprint
	seen := make(map[string]bool, len(all.Statuses))
	byID := func(a, b customstatus.CustomUserStatus) int { return strings.Compare(a.ID, b.ID) }
	for _, got := range slices.SortedFunc(slices.Values(all.Statuses), byID) {
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
		sum += got.Fingerprint()
	}
	for _, id := range slices.Sorted(maps.Keys(m.statuses)) {
		if !seen[id] {
			found = append(found, fmt.Sprintf("a status is missing: %s", describe(m.statuses[id])))
		}
	}
	if all.FingerprintKnown && all.Fingerprint != sum {
		found = append(found, fmt.Sprintf("the fingerprint is %#x, but that of the statuses is %#x", uint64(all.Fingerprint), uint64(sum)))
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
	case got.Metadata != want.Metadata:
		return fmt.Sprintf("Metadata is %s, want %s", shorten(got.Metadata), shorten(want.Metadata))
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
		there[c.ID()] = true
	}
	for i, w := range want.Changes {
		g, id := got.Changes[i], w.ID()
		switch {
		case !there[id]:
			return fmt.Sprintf("it lacks the change of status %+q", id)
		case g.ID() != id:
			return fmt.Sprintf("its change number %d is that of status %+q, want that of status %+q", i+1, g.ID(), id)
		case g.Kind != w.Kind:
			return fmt.Sprintf("the change of status %+q is of kind %v, want %v", id, g.Kind, w.Kind)
		case g.Before.ID != w.Before.ID:
			return fmt.Sprintf("the change of status %+q has Before.ID %+q, want %+q", id, g.Before.ID, w.Before.ID)
		case g.Before.Revision != w.Before.Revision:
			return fmt.Sprintf("the change of status %+q has Before.Revision %d, want %d", id, g.Before.Revision, w.Before.Revision)
		case w.Kind == customstatus.Deleted && g.After != customstatus.CustomUserStatus{}:
			return fmt.Sprintf("the change of status %+q is a deletion with an After, %s", id, describe(g.After))
		case w.Kind == customstatus.Deleted:
			continue
		}
		if d := difference(g.After, w.After); d != "" {
			return fmt.Sprintf("the change of status %+q: %s", id, d)
		}
	}
	if got.FingerprintKnown && got.Fingerprint != want.Fingerprint {
		return fmt.Sprintf("its fingerprint is %#x, but that of all statuses is %#x", uint64(got.Fingerprint), uint64(want.Fingerprint))
	}
	return ""
}
