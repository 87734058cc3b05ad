package customstatus

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Apply makes all changes at the revision after c.Revision, or none. Its error is
// the one that [Store] asks for: [ErrConflict], or one for changes that no commit
// may have. It is for stores that write all they hold at every commit, and costs
// as much as there are statuses. Neither changes nor the slice that c.Statuses was
// are changed. A fingerprint that is known stays known.
func (c *Contents) Apply(changes []Change) error {
	if err := checkChanges(changes); err != nil {
		return err
	}
	revision, sum := c.Revision+1, c.Fingerprint
	byID := make(map[string]*CustomUserStatus, len(c.Statuses))
	byName := make(map[string]*CustomUserStatus, len(c.Statuses))
	for i := range c.Statuses {
		s := &c.Statuses[i]
		byID[s.ID], byName[s.Name] = s, s
	}
	for i := range changes {
		change := &changes[i]
		old := byID[change.ID()]
		if err := change.conflict(old, byName[change.After.Name]); err != nil {
			return err
		}
		if old != nil {
			sum -= old.Fingerprint()
			delete(byID, old.ID)
			delete(byName, old.Name)
		}
		if change.Kind != Deleted {
			s := change.After
			s.Revision = revision
			sum += s.Fingerprint()
			byID[s.ID], byName[s.Name] = &s, &s
		}
	}
	statuses := make([]CustomUserStatus, 0, len(byID))
	for _, id := range slices.Sorted(maps.Keys(byID)) {
		statuses = append(statuses, *byID[id])
	}
	c.Statuses, c.Revision = statuses, revision
	if c.FingerprintKnown {
		c.Fingerprint = sum
	}
	return nil
}

// checkChanges returns an error if no commit may have the changes.
func checkChanges(changes []Change) error {
	if len(changes) == 0 {
		return errors.New("a commit without changes")
	}
	var seen map[string]struct{} // nil while the ids come in their order
	for i := range changes {
		c := &changes[i]
		id := c.ID()
		switch {
		case c.Kind != Created && c.Kind != Updated && c.Kind != Deleted:
			return fmt.Errorf("a change of the unknown kind %d", c.Kind)
		case c.Kind == Updated && c.Before.ID != id:
			return fmt.Errorf("a change makes status %q of status %q", id, c.Before.ID)
		}
		if seen == nil && i > 0 && id <= changes[i-1].ID() {
			seen = make(map[string]struct{}, len(changes))
			for k := range i {
				seen[changes[k].ID()] = struct{}{}
			}
		}
		if seen != nil {
			if _, twice := seen[id]; twice {
				return fmt.Errorf("status %q stands twice in a commit", id)
			}
			seen[id] = struct{}{}
		}
	}
	return nil
}

// conflict returns an ErrConflict if the change does not fit what a store holds:
// the status with the id of the change and the one with the name that it takes,
// of which either may be nil.
func (c *Change) conflict(old, owner *CustomUserStatus) error {
	switch {
	case c.Kind == Created && old != nil:
		return fmt.Errorf("%w: status %q is there already", ErrConflict, old.ID)
	case c.Kind != Created && old == nil:
		return fmt.Errorf("%w: there is no status %q", ErrConflict, c.Before.ID)
	case old != nil && old.Revision != c.Before.Revision:
		return fmt.Errorf("%w: status %q is at revision %d, not %d", ErrConflict, old.ID, old.Revision, c.Before.Revision)
	case c.Kind != Deleted && owner != nil && owner.ID != c.After.ID:
		return fmt.Errorf("%w: the name %q belongs to status %q", ErrConflict, owner.Name, owner.ID)
	}
	return nil
}
