// Package sentinel has the error values that the root package and the packages
// below it both need. The root package exports them under its own names and
// documents them there.
package sentinel

import "errors"

// The values have no prefix: whoever wraps one says where it came from.
var (
	ErrClosed         = errors.New("closed")
	ErrConflict       = errors.New("conflict")
	ErrDamaged        = errors.New("damaged")
	ErrLocked         = errors.New("locked")
	ErrNeedsReopen    = errors.New("must be reopened")
	ErrNotExclusive   = errors.New("somebody else writes the store")
	ErrOutcomeUnknown = errors.New("outcome unknown")
	ErrTooLarge       = errors.New("too large")
)
