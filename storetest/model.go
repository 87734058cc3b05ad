package storetest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
)

// model has the contents that a place must have, and the commits that led to
// them.
type model struct {
	statuses map[string]customstatus.CustomUserStatus
	versions map[version]customstatus.CustomUserStatus // all earlier statuses
	revision customstatus.Revision
	log      []customstatus.Commit // what a feed must yield
	// unknown has the ids of creates with an unknown outcome.
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

// made adds a commit that the store has made.
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

// before returns the whole status as it was at a revision. If there was none,
// it invents one.
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

// write returns the change that renames a status.
func (m *model) write(id string, at customstatus.Revision, name string) customstatus.Change {
	return update(m.before(id, at), name)
}

// remove returns the change that deletes a status.
func (m *model) remove(id string, at customstatus.Revision) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Deleted, Before: m.before(id, at)}
}

// put returns the change that creates a status or, if the status exists,
// renames it.
func (m *model) put(id, name string) customstatus.Change {
	if s, there := m.statuses[id]; there {
		return update(s, name)
	}
	return create(id, name)
}

// removeNow returns the change that deletes an existing status.
func (m *model) removeNow(id string) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Deleted, Before: m.statuses[id]}
}

// someTime is the time of statuses whose time does not matter.
var someTime = time.Date(2023, time.November, 4, 11, 51, 28, 353_000_000, time.UTC)

func status(id, name string) customstatus.CustomUserStatus {
	return customstatus.CustomUserStatus{ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: someTime}
}

// create returns the change that creates a status.
func create(id, name string) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Created, After: status(id, name)}
}

// update returns the change that renames a status. It leaves After.Revision as
// it was, which a store must ignore.
func update(before customstatus.CustomUserStatus, name string) customstatus.Change {
	after := before
	after.Name = name
	return customstatus.Change{Kind: customstatus.Updated, Before: before, After: after}
}

// conflict says why a store must refuse the changes, or returns "". Every id is
// in one change only.
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
			return fmt.Sprintf("status %q exists already", id)
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
			return fmt.Sprintf("the name %q belongs to status %q at that time", c.After.Name, owner)
		}
		if there {
			delete(names, old.Name)
		}
		names[c.After.Name] = id
	}
	return ""
}

// differences describes how the contents of a store differ from the model.
func (m *model) differences(all customstatus.Contents) []string {
	var found []string
	if all.Revision != m.revision && (len(m.unknown) == 0 || all.Revision < m.revision) {
		found = append(found, fmt.Sprintf("the revision is %d, want %d, the revision of the last commit", all.Revision, m.revision))
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
			found = append(found, fmt.Sprintf("a status that should not exist: %s", describe(got)))
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
		found = append(found, fmt.Sprintf("the fingerprint is %#x, but the sum over the statuses is %#x", uint64(all.Fingerprint), uint64(sum)))
	}
	return found
}

// difference describes how got differs from want, or returns "".
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

// differenceOfCommits describes how a feed's commit differs from the commit
// that was made, or returns "".
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
			return fmt.Sprintf("change number %d is of status %+q, want status %+q", i+1, g.ID(), id)
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
		return fmt.Sprintf("its fingerprint is %#x, but the sum over all statuses is %#x", uint64(got.Fingerprint), uint64(want.Fingerprint))
	}
	return ""
}
