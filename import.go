package customstatus

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// ImportResult says what [Catalog.Import] did.
type ImportResult struct {
	Added     int      // statuses that are new
	Unchanged int      // statuses that the catalog had just as given
	Revision  Revision // at which the catalog has them all
}

// ImportError is returned when [Catalog.Import] refuses statuses. [errors.Is] and
// [errors.As] find the errors of the refusals.
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
	s := fmt.Sprintf("customstatus: import: status %d: %v", e.Refused[0].Index, e.Refused[0].Err)
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

// Import adds statuses with the ids and times that they have, all or none, in one
// commit. A status without an ID gets one, a zero UpdatedAt becomes the current
// time, and Revision is ignored. Import skips a status that the catalog has just as
// given (its name: as [Rules.NameRule] makes it), so an import with ids and times can
// be repeated; empty Metadata matches any.
// Over a shared store, each skipped status existed at some moment during the call.
//
// An [*ImportError] is returned when statuses can't be imported: the rules don't
// allow them, or their id or name belongs to another status, of the catalog or
// earlier in the slice. It names them all. [ErrTooLarge] is returned when the store
// can't take so many at once: import them in parts. Other errors are [ErrFull],
// [ErrClosed], and those of ctx and of the store.
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

// planImport adds the statuses that the catalog doesn't have, and returns their
// number.
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
	for _, s := range statuses {
		if s.UpdatedAt.IsZero() {
			s.UpdatedAt = now
		}
		if s.ID == "" {
			if s.ID, err = c.freshID(e, made); err != nil {
				return 0, err
			}
			made[s.ID] = true
		} else if e.Touched(s.ID) {
			return 0, errTouched
		} else if e.has(&s) {
			e.relied = true
			continue
		}
		alone := s // one slice for all would stay as long as the last of them
		fresh = append(fresh, &alone)
	}
	if len(fresh) == 0 {
		return 0, nil
	}
	if most := c.opts.MaxStatuses; most > 0 && e.Len()+len(fresh) > most {
		err = errFull(most)
	} else if twice := e.Add(fresh); twice != nil {
		err = fmt.Errorf("customstatus: the source of ids: %w", twice)
	}
	if err != nil {
		return 0, cmp.Or(refusals(e, statuses, now, invalid), err)
	}
	return len(fresh), nil
}

// refusals returns an [*ImportError] that names every status that can't be added, or
// nil. A sound import is planned without it, in half the time.
func refusals(e *edit, statuses []CustomUserStatus, now time.Time, invalid map[int]error) error {
	var bad ImportError
	twins := e.Twins(len(statuses))
	for i, s := range statuses {
		if s.UpdatedAt.IsZero() {
			s.UpdatedAt = now
		}
		err := invalid[i]
		if err == nil && !e.has(&s) {
			if there, owner := twins(&s); there != nil {
				err = &Error{Code: CodeIDInUse, Field: FieldID, Input: clip(s.ID), ID: clip(s.ID),
					Detail: fmt.Sprintf("by the status named %q", there.Name)}
			} else if owner != nil {
				err = errNameInUse(s.Name, owner)
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

// has reports whether the catalog has what an import gives as s.
func (e *edit) has(s *CustomUserStatus) bool {
	there := e.ByID(s.ID)
	return there != nil && there.Name == s.Name && there.StatusType == s.StatusType && there.UpdatedAt.Equal(s.UpdatedAt) &&
		(s.Metadata == "" || there.Metadata == s.Metadata)
}
