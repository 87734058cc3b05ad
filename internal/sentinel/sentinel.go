// Package sentinel has the error values that the root package shares with the
// packages below it. The root package exports and documents them.
package sentinel

import "errors"

// The texts have no prefix: the function that wraps a sentinel says where the
// error came from.
var (
	ErrClosed         = errors.New("closed")
	ErrCompacted      = errors.New("position compacted or unknown")
	ErrConflict       = errors.New("conflict")
	ErrDamaged        = errors.New("damaged")
	ErrLocked         = errors.New("locked")
	ErrNeedsReopen    = errors.New("must be reopened")
	ErrNotExclusive   = errors.New("somebody else writes the store")
	ErrOutcomeUnknown = errors.New("outcome unknown")
	ErrTooLarge       = errors.New("too large")
)
