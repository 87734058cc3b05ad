package customstatus

import (
	"fmt"
	"time"

	"github.com/customstatus/customstatus/internal/statusjson"
	"github.com/customstatus/customstatus/internal/text"
)

// The limits on the fields of a status.
const (
	// MaxNameCharacters is the greatest number of Unicode code points in a name.
	MaxNameCharacters = 120
	// MaxIDBytes is the greatest number of bytes in an id. The ids of
	// Rocket.Chat have 17 or 24 bytes, a UUID has 36.
	MaxIDBytes = 128
	// MaxMetadataBytes is the greatest number of bytes in the metadata.
	MaxMetadataBytes = 4096
)

// Fields are what the caller of a write decides about a status.
type Fields struct {
	Name       string
	StatusType StatusType
	// Metadata becomes the metadata of the status. With nil, an updated status
	// keeps its metadata, and a new one has none.
	Metadata *string
}

// Rules say which fields a catalog accepts. The zero value is the documented
// rules: name and status type are required.
type Rules struct {
	// StatusTypeOptional accepts an empty StatusType and stores it as it is, as a
	// running Rocket.Chat does. But Rocket.Chat's web client stops loading the whole
	// menu at such a status, so it is only for clients that can handle one.
	StatusTypeOptional bool
	// StatusTypeDefault, one of the four types, is stored instead of an empty
	// StatusType. It requires StatusTypeOptional.
	StatusTypeDefault StatusType
	// NameRule, if not nil, is called with each name that is written. It returns
	// the name to store, or an error, whose text becomes [Error.Detail]. Applied to
	// a name it has returned, it must return that name. Ready-made rules are in the
	// module namerules. Stored names are not changed, but a write that keeps one is
	// checked like any other. NameRule must be safe for concurrent use.
	NameRule func(name string) (string, error)
}

// Check returns nil if f may be written. Otherwise it returns an [*Error] that is
// [ErrRequired] or [ErrInvalid], for the first of name, status type and metadata
// that is at fault.
//
// A name needs a character that can be seen: white space and invisible characters
// alone are no name. A name has at most [MaxNameCharacters], is valid UTF-8, and
// contains neither a control character nor one of > < & " '. Without a NameRule it is
// stored as it is given. Metadata has at most [MaxMetadataBytes].
func (r Rules) Check(f Fields) error { return r.apply(&f) }

// apply is Check, and gives f the name to store.
func (r Rules) apply(f *Fields) error {
	if r.NameRule != nil && f.Name != "" {
		name, err := r.NameRule(f.Name)
		if err != nil {
			return errInvalid(FieldName, f.Name, err.Error())
		}
		f.Name = name
	}
	if text.Blank(f.Name) {
		return errRequired(FieldName)
	}
	if detail := text.NameFault(f.Name, MaxNameCharacters); detail != "" {
		return errInvalid(FieldName, f.Name, detail)
	}
	switch {
	case f.StatusType == "" && !r.StatusTypeOptional:
		return errRequired(FieldStatusType)
	case f.StatusType != "" && !f.StatusType.Valid():
		return errInvalid(FieldStatusType, string(f.StatusType), "it must be online, away, busy or offline")
	case f.Metadata != nil && len(*f.Metadata) > MaxMetadataBytes:
		return errInvalid(FieldMetadata, *f.Metadata, fmt.Sprintf("it has %d bytes, at most %d are allowed", len(*f.Metadata), MaxMetadataBytes))
	}
	return nil
}

// stored returns the status type that is stored for t, which has passed Check.
func (r Rules) stored(t StatusType) StatusType {
	if t == "" && r.StatusTypeOptional {
		return r.StatusTypeDefault
	}
	return t
}

// checkRecord checks a status to be imported, and gives it the name to store.
func (r Rules) checkRecord(s *CustomUserStatus) error {
	f := Fields{Name: s.Name, StatusType: s.StatusType, Metadata: &s.Metadata}
	if err := r.apply(&f); err != nil {
		return err
	}
	s.Name = f.Name
	if s.ID != "" && !text.ValidID(s.ID, MaxIDBytes) {
		return errInvalid(FieldID, s.ID, fmt.Sprintf("it must be valid UTF-8 of at most %d bytes without control characters", MaxIDBytes))
	}
	if !statusjson.ValidTime(s.UpdatedAt) {
		return errInvalid(FieldUpdatedAt, s.UpdatedAt.UTC().Format(time.RFC3339Nano), "the year must be from 0 to 9999")
	}
	return nil
}
