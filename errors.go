package customstatus

import (
	"errors"
	"fmt"
)

// The errors that operations return, to be tested with [errors.Is].
var (
	// ErrRequired: a required field is missing. An [*Error] with the Field.
	ErrRequired = errors.New("customstatus: field required")
	// ErrInvalid: a field has a value that the rules do not allow. An
	// [*Error] with the Field and the Input.
	ErrInvalid = errors.New("customstatus: field invalid")
	// ErrNameInUse: the name belongs to another status. An [*Error].
	ErrNameInUse = errors.New("customstatus: name in use")
	// ErrIDInUse: an imported id belongs to another status. An [*Error].
	ErrIDInUse = errors.New("customstatus: id in use")
	// ErrNotFound: there is no status with this id or name. An [*Error]
	// with the id or name as Input.
	ErrNotFound = errors.New("customstatus: not found")
	// ErrConflict: a status is no longer at the revision that the write
	// names in [WriteOptions.IfRevision]; from a [Store], also that a name
	// belongs to another status. Nothing was written.
	ErrConflict = errors.New("customstatus: conflict")
	// ErrOutcomeUnknown: the write may or may not have been done, and the
	// store cannot tell which (an I/O error on the last sync, a cluster
	// that went away). Call [Catalog.Sync] and read before you write again.
	ErrOutcomeUnknown = errors.New("customstatus: outcome unknown")
	// ErrCompacted: the changes after this revision are no longer kept, or
	// the revision is none that this catalog has reached. List again and watch from the
	// page's revision.
	ErrCompacted = errors.New("customstatus: revision compacted")
	// ErrClosed: the catalog or store has been closed.
	ErrClosed = errors.New("customstatus: closed")
	// ErrDamaged: what is stored is not what was written. The message names
	// the file and the damage.
	ErrDamaged = errors.New("customstatus: damaged")
	// ErrLocked: another process holds the store.
	ErrLocked = errors.New("customstatus: locked by another process")
	// ErrNeedsReopen: an earlier failure left the store in a state in which
	// it cannot write safely. Nothing was written; close it and open it
	// again. The message names the failure.
	ErrNeedsReopen = errors.New("customstatus: store must be reopened")
)

// Code is the stable, machine-readable name of a refusal. The values are those
// of Rocket.Chat's API, from which they are taken.
type Code string

// The codes of an [*Error].
const (
	CodeRequired  Code = "error-the-field-is-required"
	CodeInvalid   Code = "error-input-is-not-a-valid-field"
	CodeNameInUse Code = "Custom_User_Status_Error_Name_Already_In_Use"
	CodeNotFound  Code = "Custom_User_Status_Error_Invalid_User_Status"

	// CodeIDInUse and CodeConflict have no counterpart in Rocket.Chat.
	CodeIDInUse  Code = "error-id-already-in-use"
	CodeConflict Code = "error-revision-conflict"
)

// The values of [Error.Field].
const (
	FieldID         = "_id"
	FieldName       = "Name"
	FieldStatusType = "StatusType"
	FieldUpdatedAt  = "_updatedAt"

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
	// Input is the value that was refused, cut to [MaxNameLength]
	// characters, or empty.
	Input string
	// Reason is the sentence for people, as Rocket.Chat words it.
	Reason string
}

// Error returns the reason and the code, in the form "REASON [CODE]".
func (e *Error) Error() string { return e.Reason + " [" + string(e.Code) + "]" }

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
	}
	return nil
}

// ImportError says which statuses [Catalog.Import] could not take. Its records
// answer to [errors.Is] and [errors.As].
type ImportError struct {
	Records []RecordError // in the order of the slice, at least one
}

// RecordError says what is wrong with one status of an import.
type RecordError struct {
	Index int // in the slice
	Err   error
}

// Error returns the first record's error and the number of the others.
func (e *ImportError) Error() string {
	if len(e.Records) == 0 {
		return "customstatus: import"
	}
	first := e.Records[0]
	s := fmt.Sprintf("customstatus: import: record %d: %v", first.Index, first.Err)
	if n := len(e.Records) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// Unwrap returns the errors of all records.
func (e *ImportError) Unwrap() []error {
	errs := make([]error, len(e.Records))
	for i, r := range e.Records {
		errs[i] = r.Err
	}
	return errs
}

func errRequired(field string) error {
	return &Error{Code: CodeRequired, Field: field, Reason: "The field " + field + " is required"}
}

func errInvalid(field, input, what string) error {
	input = clip(input)
	return &Error{Code: CodeInvalid, Field: field, Input: input, Reason: input + " is not a valid " + what}
}

func errNameInUse(name string) error {
	return &Error{Code: CodeNameInUse, Field: FieldName, Input: name, Reason: "The custom user status name is already in use"}
}

func errIDInUse(id string) error {
	return &Error{Code: CodeIDInUse, Field: FieldID, Input: clip(id), Reason: "The custom user status id is already in use"}
}

func errNotFound(input string) error {
	return &Error{Code: CodeNotFound, Input: clip(input), Reason: "Invalid user status"}
}

func errConflict(id string) error {
	return &Error{Code: CodeConflict, Field: FieldID, Input: clip(id), Reason: "The custom user status has changed since it was read"}
}
