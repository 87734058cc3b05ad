package customstatus

import (
	"context"
	"fmt"
	"slices"
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
		if err := c.rules.checkRecord(s); err != nil {
			invalid[i] = err
		}
		s.StatusType = c.rules.stored(s.StatusType)
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
	var bad ImportError
	fresh := make([]*CustomUserStatus, 0, len(statuses))
	ids := make(map[string]string, len(statuses)) // to names
	names := make(map[string]*CustomUserStatus, len(statuses))
	now, err := c.time()
	if err != nil {
		return 0, err
	}
	for i, s := range statuses {
		if err := invalid[i]; err != nil {
			bad.Refused = append(bad.Refused, Refusal{i, err})
			continue
		}
		if s.UpdatedAt.IsZero() {
			s.UpdatedAt = now
		}
		if s.ID == "" {
			id, err := c.freshID(e, ids)
			if err != nil {
				return 0, err
			}
			s.ID = id
		} else if e.touched(s.ID) {
			return 0, errTouched
		}
		there := e.table.ByID(s.ID)
		if there != nil && there.fits(s) {
			e.relied = true
			continue
		}
		if err := refusal(e, &s, ids, names); err != nil {
			bad.Refused = append(bad.Refused, Refusal{i, err})
		}
		ids[s.ID], names[s.Name] = s.Name, &s
		fresh = append(fresh, &s)
	}
	switch {
	case bad.Refused != nil:
		return 0, &bad
	case c.maxStatuses > 0 && len(fresh) > 0 && e.table.Len()+len(fresh) > c.maxStatuses:
		return 0, errFull(c.maxStatuses)
	}
	e.putNew(fresh)
	return len(fresh), nil
}

// refusal returns why an import can't add s, or nil. The maps have the ids and
// names that come before it in the import.
func refusal(e *edit, s *CustomUserStatus, ids map[string]string, names map[string]*CustomUserStatus) error {
	if there := e.table.ByID(s.ID); there != nil {
		return errIDInUse(s.ID, there.Name)
	}
	if name, taken := ids[s.ID]; taken {
		return errIDInUse(s.ID, name)
	}
	owner := e.table.ByName(s.Name)
	if owner == nil {
		owner = names[s.Name]
	}
	if owner != nil {
		return errNameInUse(s.Name, owner)
	}
	return nil
}

// fits reports whether s is already what an import gives as t.
func (s *CustomUserStatus) fits(t CustomUserStatus) bool {
	return s.ID == t.ID && s.Name == t.Name && s.StatusType == t.StatusType && s.UpdatedAt.Equal(t.UpdatedAt) &&
		(t.Metadata == "" || s.Metadata == t.Metadata)
}
