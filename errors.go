package customstatus

import (
	"errors"
	"fmt"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// The errors that a caller can mend by another call. Each is the sentinel of an
// [*Error]; test them with [errors.Is].
var (
	// ErrRequired is returned when a required field is missing.
	ErrRequired = errors.New("required field missing")
	// ErrInvalid is returned when a field has a value that the rules do not
	// allow.
	ErrInvalid = errors.New("invalid field")
	// ErrNameInUse is returned when the name belongs to another status.
	ErrNameInUse = errors.New("name in use")
	// ErrIDInUse is returned when an imported id belongs to another status.
	ErrIDInUse = errors.New("id in use")
	// ErrNotFound is returned when no status has the id or name.
	ErrNotFound = errors.New("status not found")
	// ErrFull is returned when the catalog has [Options.MaxStatuses] statuses.
	// Delete one and retry.
	ErrFull = errors.New("catalog full")
	// ErrConflict is returned when the status changed since the revision in
	// [WriteOptions]. Read it again and retry. A [Store] returns it for a
	// commit that does not fit what it holds.
	ErrConflict = sentinel.ErrConflict
)

// The errors of stores and of the catalog as a whole, to be tested with
// [errors.Is].
var (
	// ErrTooLarge is returned when a store can't take so many changes in one
	// commit, or can't keep a status at all. Nothing was written. It is a
	// [*TooLargeError]: split the import into parts of at most MaxChanges.
	ErrTooLarge = sentinel.ErrTooLarge
	// ErrOutcomeUnknown is returned when a write may or may not have been
	// done and the store can't tell which, after an I/O error on the last sync
	// for example. Call [Catalog.Sync] and read before you write again.
	ErrOutcomeUnknown = sentinel.ErrOutcomeUnknown
	// ErrCompacted is returned when the changes after a position are no longer
	// kept, or when the position is none of this catalog's. List again and
	// watch from the page's position.
	ErrCompacted = errors.New("position compacted or unknown")
	// ErrClosed is returned when the catalog or store has been closed.
	ErrClosed = sentinel.ErrClosed
	// ErrDamaged is returned when what is stored is not what was written. The
	// message names the file and the damage. Restore a backup, or save what is
	// intact with package salvage.
	ErrDamaged = sentinel.ErrDamaged
	// ErrLocked is returned when the place of an exclusive store is open
	// already, in this process or another. Close it there first.
	ErrLocked = sentinel.ErrLocked
	// ErrNotExclusive is returned when somebody else has written to a store
	// that is for one process alone. Nothing was written. Find the other
	// writer and stop it.
	ErrNotExclusive = sentinel.ErrNotExclusive
	// ErrNeedsReopen is returned when an earlier failure left the store in a
	// state in which it can't write safely. Nothing was written. Close the
	// store and open it again, or let [Options.Reopen] do so. The message
	// names the failure.
	ErrNeedsReopen = sentinel.ErrNeedsReopen
)

// Code is the stable, machine-readable name of a refusal. The values are those
// of Rocket.Chat's API.
type Code string

// The codes of an [*Error].
const (
	CodeRequired  Code = "error-the-field-is-required"
	CodeInvalid   Code = "error-input-is-not-a-valid-field"
	CodeNameInUse Code = "Custom_User_Status_Error_Name_Already_In_Use"
	CodeNotFound  Code = "Custom_User_Status_Error_Invalid_User_Status"

	// These have no counterpart in Rocket.Chat.
	CodeIDInUse  Code = "error-id-already-in-use"
	CodeConflict Code = "error-revision-conflict"
	CodeFull     Code = "error-too-many-statuses"
)

// The values of [Error.Field]. Those of a status are the keys of its JSON form.
const (
	FieldID         = "_id"
	FieldName       = "name"
	FieldStatusType = "statusType"
	FieldUpdatedAt  = "_updatedAt"
	FieldMetadata   = "metadata"

	FieldOffset = "offset" // of a [Query]
	FieldLimit  = "limit"
	FieldSort   = "sort"
)

// Error says why the catalog refused an operation that its caller can mend.
// Errors of the machine (disk, network) are not of this type.
type Error struct {
	// Code is one of the constants above.
	Code Code
	// Field is the field at fault, one of the constants above, or empty.
	Field string
	// Input is the value that was refused, cut to [MaxNameCharacters]
	// characters and made valid UTF-8, or empty.
	Input string
	// ID is the id of the status that the error is about: the one that was to
	// be written or, with CodeNameInUse, the one that has the name. It may be
	// empty.
	ID string
	// Detail says more in plain English, or is empty.
	Detail string
}

// Error says in plain English what was refused, with the status and the field.
// Values that come from outside are quoted.
func (e *Error) Error() string {
	s := e.sentence()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func (e *Error) sentence() string {
	switch e.Code {
	case CodeRequired:
		return e.word() + " is required"
	case CodeInvalid:
		return fmt.Sprintf("%s %q is not valid", e.word(), e.Input)
	case CodeNameInUse:
		return fmt.Sprintf("the name %q belongs to status %q", e.Input, e.ID)
	case CodeIDInUse:
		return fmt.Sprintf("the id %q is in use", e.ID)
	case CodeNotFound:
		return fmt.Sprintf("no status has the %s %q", e.word(), e.Input)
	case CodeConflict:
		return fmt.Sprintf("status %q has changed", e.ID)
	case CodeFull:
		return "the catalog is full"
	}
	return string(e.Code)
}

// word is what people call the field.
func (e *Error) word() string {
	switch e.Field {
	case FieldID:
		return "id"
	case FieldStatusType:
		return "status type"
	case FieldUpdatedAt:
		return "time of update"
	}
	return e.Field
}

// Unwrap returns the sentinel that stands for e.Code, or nil.
func (e *Error) Unwrap() error {
	switch e.Code {
	case CodeRequired:
		return ErrRequired
	case CodeInvalid:
		return ErrInvalid
	case CodeNameInUse:
		return ErrNameInUse
	case CodeIDInUse:
		return ErrIDInUse
	case CodeNotFound:
		return ErrNotFound
	case CodeConflict:
		return ErrConflict
	case CodeFull:
		return ErrFull
	}
	return nil
}

// TooLargeError is returned by a [Store] for a commit that it can't take. It is
// [ErrTooLarge].
type TooLargeError struct {
	// MaxChanges is the number of changes that would pass in one commit. It is
	// 0 if the store can't keep one of the statuses, in whatever commit.
	MaxChanges int
	// Err says what is too large, or is nil.
	Err error
}

// Error says what is too large and how much would pass.
func (e *TooLargeError) Error() string {
	s := ErrTooLarge.Error()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.MaxChanges > 0 {
		s += fmt.Sprintf(": at most %d changes fit in one commit", e.MaxChanges)
	}
	return s
}

// Unwrap returns [ErrTooLarge] and e.Err.
func (e *TooLargeError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrTooLarge}
	}
	return []error{ErrTooLarge, e.Err}
}

func errRequired(field string) error {
	return &Error{Code: CodeRequired, Field: field}
}

func errInvalid(field, input, detail string) error {
	return &Error{Code: CodeInvalid, Field: field, Input: clip(input), Detail: detail}
}

func errNameInUse(name string, owner *CustomUserStatus) error {
	return &Error{Code: CodeNameInUse, Field: FieldName, Input: name, ID: owner.ID}
}

func errIDInUse(id, name string) error {
	return &Error{Code: CodeIDInUse, Field: FieldID, Input: clip(id), ID: clip(id), Detail: fmt.Sprintf("by the status named %q", name)}
}

func errNotFound(field, input string) error {
	e := &Error{Code: CodeNotFound, Field: field, Input: clip(input)}
	if field == FieldID {
		e.ID = e.Input
	}
	return e
}

func errConflict(s *CustomUserStatus, want Revision) error {
	return &Error{Code: CodeConflict, Field: FieldID, Input: s.ID, ID: s.ID,
		Detail: fmt.Sprintf("it is named %q and is at revision %d, not %d", s.Name, s.Revision, want)}
}

func errFull(most int) error {
	return &Error{Code: CodeFull, Detail: fmt.Sprintf("it takes at most %d statuses", most)}
}
