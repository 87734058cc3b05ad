package customstatus

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// ImportResult says what [Catalog.Import] did.
type ImportResult struct {
	// Added is the number of statuses that are new, Unchanged that of those
	// that were in the catalog just as given.
	Added, Unchanged int
	// Revision is the one at which all are there.
	Revision Revision
}

// ImportError is returned when [Catalog.Import] could not take all statuses. Its
// refusals answer to [errors.Is] and [errors.As].
type ImportError struct {
	Refused []Refusal // in the order of the slice, at least one
}

// Refusal says why one status of an import was refused.
type Refusal struct {
	Index int // in the slice
	Err   error
}

// Error returns the first refusal and the number of the others.
func (e *ImportError) Error() string {
	if len(e.Refused) == 0 {
		return "customstatus: import refused"
	}
	first := e.Refused[0]
	s := fmt.Sprintf("customstatus: import: status %d: %v", first.Index, first.Err)
	if n := len(e.Refused) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// Unwrap returns the errors of all refusals.
func (e *ImportError) Unwrap() []error {
	errs := make([]error, len(e.Refused))
	for i, r := range e.Refused {
		errs[i] = r.Err
	}
	return errs
}

// Import adds statuses with the ids and times they have, all or none, in one
// commit. A status without an ID gets one, a zero UpdatedAt becomes now, and
// Revision doesn't count. A status that is in the catalog just as given is left
// as it is, so that an import with ids and times can be repeated; empty Metadata
// says nothing and fits any. Over a shared store, each status that was left
// existed at some moment during the call.
//
// The error is an [*ImportError] that names every status that can't be imported:
// its id or name belongs to another one, of the catalog or earlier in the slice,
// or the rules don't allow it. [ErrTooLarge] is returned when the store can't
// take so many at once; import them in parts then. Other errors are [ErrFull],
// those of ctx and of the store, and [ErrClosed].
func (c *Catalog) Import(ctx context.Context, statuses []CustomUserStatus) (ImportResult, error) {
	statuses = slices.Clone(statuses)
	invalid := make(map[int]error)
	for i := range statuses {
		s := &statuses[i]
		s.UpdatedAt, s.Revision = stamp(s.UpdatedAt), 0
		if err := c.opts.Rules.checkRecord(s); err != nil {
			invalid[i] = err
		}
		s.StatusType = c.opts.Rules.stored(s.StatusType)
	}
	var result ImportResult
	revision, err := c.write(ctx, len(statuses), func(e *edit) (err error) {
		result.Added, err = c.planImport(e, statuses, invalid)
		return err
	})
	if err != nil {
		return ImportResult{}, err
	}
	result.Unchanged, result.Revision = len(statuses)-result.Added, revision
	return result, nil
}

// planImport puts the statuses that are not there yet, and returns their number.
func (c *Catalog) planImport(e *edit, statuses []CustomUserStatus, invalid map[int]error) (added int, err error) {
	now, err := c.time()
	if err != nil {
		return 0, err
	}
	if len(invalid) > 0 {
		return 0, refusals(e, statuses, now, invalid)
	}
	fresh := make([]*CustomUserStatus, 0, len(statuses))
	made := make(map[string]bool)
	own := slices.Clone(statuses) // a second plan begins with what was given
	for i := range own {
		s := &own[i]
		if s.UpdatedAt.IsZero() {
			s.UpdatedAt = now
		}
		if s.ID == "" {
			if s.ID, err = c.freshID(e, made); err != nil {
				return 0, err
			}
			made[s.ID] = true
		} else if e.touched(s.ID) {
			return 0, errTouched
		} else if there := e.table.ByID(s.ID); there != nil && there.fits(*s) {
			e.relied = true
			continue
		}
		fresh = append(fresh, s)
	}
	switch {
	case len(fresh) == 0:
		return 0, nil
	case c.opts.MaxStatuses > 0 && e.table.Len()+len(fresh) > c.opts.MaxStatuses:
		if err := refusals(e, statuses, now, invalid); err != nil {
			return 0, err
		}
		return 0, errFull(c.opts.MaxStatuses)
	}
	if twice := e.putNew(fresh); twice != nil {
		if err := refusals(e, statuses, now, invalid); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("customstatus: the source of ids: %w", twice)
	}
	return len(fresh), nil
}

// refusals returns an [*ImportError] that names every status which the import can't
// add, or nil. What is in order is checked without it, which takes half the time.
func refusals(e *edit, statuses []CustomUserStatus, now time.Time, invalid map[int]error) error {
	var bad ImportError
	ids := make(map[string]*CustomUserStatus, len(statuses))
	names := make(map[string]*CustomUserStatus, len(statuses))
	for i, s := range statuses {
		err := invalid[i]
		if err == nil {
			if s.UpdatedAt.IsZero() {
				s.UpdatedAt = now
			}
			if there := e.table.ByID(s.ID); there != nil && there.fits(s) {
				continue
			}
			err = refusal(e, &s, ids, names)
			names[s.Name] = &s
			if s.ID != "" {
				ids[s.ID] = &s
			}
		}
		if err != nil {
			bad.Refused = append(bad.Refused, Refusal{i, err})
		}
	}
	if bad.Refused == nil {
		return nil
	}
	return &bad
}

// refusal returns why an import can't add s, or nil. The maps have the ids and
// names that come before it in the import.
func refusal(e *edit, s *CustomUserStatus, ids, names map[string]*CustomUserStatus) error {
	for _, there := range []*CustomUserStatus{e.table.ByID(s.ID), ids[s.ID]} {
		if there != nil {
			return errIDInUse(s.ID, there.Name)
		}
	}
	for _, owner := range []*CustomUserStatus{e.table.ByName(s.Name), names[s.Name]} {
		if owner != nil {
			return errNameInUse(s.Name, owner)
		}
	}
	return nil
}

// fits reports whether s is already what an import gives as t.
func (s *CustomUserStatus) fits(t CustomUserStatus) bool {
	return s.ID == t.ID && s.Name == t.Name && s.StatusType == t.StatusType && s.UpdatedAt.Equal(t.UpdatedAt) &&
		(t.Metadata == "" || s.Metadata == t.Metadata)
}
