package customstatus

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/customstatus/customstatus/internal/sentinel"
	"github.com/customstatus/customstatus/internal/text"
)

// Errors that the caller can mend by another call. Each is the sentinel of an
// [*Error]; test for it with [errors.Is].
var (
	// ErrRequired is returned when a required field is missing.
	ErrRequired = errors.New("required field missing")
	// ErrInvalid is returned when the rules don't allow the value of a field.
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
	// commit that doesn't fit what the store holds.
	ErrConflict = sentinel.ErrConflict
)

// Errors of stores and of the catalog as a whole. Test for them with [errors.Is].
var (
	// ErrTooLarge is returned when a store can't take so many changes in one
	// commit, or can't keep a status at all. Nothing was written. The error is a
	// [*TooLargeError]: import in parts of at most MaxChanges.
	ErrTooLarge = sentinel.ErrTooLarge
	// ErrOutcomeUnknown is returned when the store can't tell whether a write
	// was done, after an I/O error on the last sync for example. Call
	// [Catalog.Sync] and read before you write again.
	ErrOutcomeUnknown = sentinel.ErrOutcomeUnknown
	// ErrCompacted is returned when the changes after a position are no longer
	// kept, or when the position is not part of the catalog's history. List again
	// and watch from the page's position.
	ErrCompacted = sentinel.ErrCompacted
	// ErrClosed is returned when the catalog or store has been closed.
	ErrClosed = sentinel.ErrClosed
	// ErrDamaged is returned when the stored data is not what was written. The
	// message names the file and the damage. Restore a backup, or recover what
	// is intact with package salvage.
	ErrDamaged = sentinel.ErrDamaged
	// ErrLocked is returned when an exclusive store is already open, in this
	// process or another. Close it there first.
	ErrLocked = sentinel.ErrLocked
	// ErrNotExclusive is returned when somebody else has written to a store
	// that is for one process alone. Nothing was written. Find the other
	// writer and stop it.
	ErrNotExclusive = sentinel.ErrNotExclusive
	// ErrNeedsReopen is returned when the store can't write safely after an
	// earlier failure, which the message names. Nothing was written. Close the
	// store and open it again, or let [Options.Reopen] do so.
	ErrNeedsReopen = sentinel.ErrNeedsReopen
)

// Code is the stable, machine-readable name of a refusal, as in Rocket.Chat's API.
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

// Error says why the catalog refused an operation, where the caller can mend it.
// Failures of the machine (disk, network) have other types.
type Error struct {
	// Code is one of the constants above.
	Code Code
	// Field is the field at fault, one of the constants above, or empty.
	Field string
	// Input is the refused value as UTF-8, cut to [MaxNameCharacters], or empty.
	Input string
	// ID is the id of the status that was to be written or, with CodeNameInUse,
	// of the status that has the name. It may be empty.
	ID string
	// Detail says more in plain English, or is empty.
	Detail string
}

// codes has the sentinel of each code, and the sentence of [text.Refusal].
var codes = map[Code]struct {
	sentinel error
	sentence string
}{
	CodeRequired:  {ErrRequired, "{field} is required"},
	CodeInvalid:   {ErrInvalid, "{field} {input} is not valid"},
	CodeNameInUse: {ErrNameInUse, "the name {input} belongs to status {id}"},
	CodeIDInUse:   {ErrIDInUse, "the id {id} is in use"},
	CodeNotFound:  {ErrNotFound, "no status has the {field} {input}"},
	CodeConflict:  {ErrConflict, "status {id} has changed"},
	CodeFull:      {ErrFull, "the catalog is full"},
}

// Error says in plain English what was refused, and names the status and the field.
// It quotes values that come from outside.
func (e *Error) Error() string {
	sentence := cmp.Or(codes[e.Code].sentence, string(e.Code))
	return text.Refusal(sentence, e.Field, e.Input, e.ID, e.Detail)
}

// Unwrap returns the sentinel of e.Code, or nil.
func (e *Error) Unwrap() error { return codes[e.Code].sentinel }

// A [Store] returns a TooLargeError for a commit that it can't take. [errors.Is]
// finds [ErrTooLarge] in it.
type TooLargeError struct {
	// MaxChanges is the number of changes that would fit in one commit. It is
	// 0 if the store can't keep one of the statuses at all.
	MaxChanges int
	// Err says what is too large, or is nil.
	Err error
}

// Error says what is too large and how many changes would fit.
func (e *TooLargeError) Error() string { return text.TooLarge(ErrTooLarge, e.MaxChanges, e.Err) }

// Unwrap returns [ErrTooLarge] and e.Err.
func (e *TooLargeError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrTooLarge}
	}
	return []error{ErrTooLarge, e.Err}
}

func errRequired(field string) error { return &Error{Code: CodeRequired, Field: field} }

func errInvalid(field, input, detail string) error {
	return &Error{Code: CodeInvalid, Field: field, Input: clip(input), Detail: detail}
}

func errNameInUse(name string, owner *CustomUserStatus) error {
	return &Error{Code: CodeNameInUse, Field: FieldName, Input: name, ID: owner.ID}
}

func errIDNotFound(id string) error {
	return &Error{Code: CodeNotFound, Field: FieldID, Input: clip(id), ID: clip(id)}
}

func errFull(most int) error {
	return &Error{Code: CodeFull, Detail: fmt.Sprintf("it takes at most %d statuses", most)}
}

func clip(s string) string { return text.Clip(s, MaxNameCharacters) }
