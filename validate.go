package customstatus

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The limits on what a catalog takes.
const (
	// MaxNameCharacters is the greatest number of characters (Unicode code
	// points) in a name: enough for a phrase, short enough for every
	// client's list. At four bytes each it also stays far below what any
	// store takes as a key.
	MaxNameCharacters = 120
	// MaxIDBytes is the greatest number of bytes in an id. Ids are opaque;
	// Rocket.Chat's have 17 or 24 bytes and a UUID has 36.
	MaxIDBytes = 128
	// MaxMetadataBytes is the greatest number of bytes in a status's metadata.
	MaxMetadataBytes = 4096
)

// Fields are what the caller of a write decides about a status.
type Fields struct {
	Name       string
	StatusType StatusType
	// Metadata, if not nil, becomes the metadata of the status. Nil leaves an
	// updated status the metadata that it has, and a new one without.
	Metadata *string
}

// Rules say which fields a catalog takes. The zero value is the documented
// rules: both fields are required. Rules are pure data and safe for concurrent
// use.
type Rules struct {
	// StatusTypeOptional also takes an empty StatusType and stores it as it
	// is, as a running Rocket.Chat does in contrast to its documentation. A
	// web client of Rocket.Chat stops loading its whole menu over one status
	// with an empty type, so set it only for clients that are known to bear
	// it.
	StatusTypeOptional bool
	// StatusTypeDefault, if not empty, is stored in place of an empty
	// StatusType: what such a web client can bear. It is one of the four, and
	// counts only with StatusTypeOptional.
	StatusTypeDefault StatusType
}

// Check returns nil if f may be written, or else an [*Error] that is
// [ErrRequired] or [ErrInvalid], for the name before the status type before the
// metadata.
//
// A name is required: it needs a character that is not white space. It may
// have at most [MaxNameCharacters] characters and none of > < & " ' or a control
// character, and must be valid UTF-8. It is stored as it is given. Metadata may
// have at most [MaxMetadataBytes] bytes.
func (r Rules) Check(f Fields) error {
	if strings.TrimSpace(f.Name) == "" {
		return errRequired(FieldName)
	}
	if detail := nameFault(f.Name); detail != "" {
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

// checkRecord checks a status that comes in whole, by import.
func (r Rules) checkRecord(s *CustomUserStatus) error {
	if err := r.Check(Fields{Name: s.Name, StatusType: s.StatusType, Metadata: &s.Metadata}); err != nil {
		return err
	}
	if s.ID != "" && !validID(s.ID) {
		return errInvalid(FieldID, s.ID, fmt.Sprintf("it must be valid UTF-8 of at most %d bytes without control characters", MaxIDBytes))
	}
	if !validTime(s.UpdatedAt) {
		return errInvalid(FieldUpdatedAt, s.UpdatedAt.UTC().Format(time.RFC3339Nano), "the year must be from 0 to 9999")
	}
	return nil
}

// nameFault says what is wrong with a name, or "".
func nameFault(name string) string {
	switch {
	case len(name) > MaxNameCharacters*utf8.UTFMax || utf8.RuneCountInString(name) > MaxNameCharacters:
		return fmt.Sprintf("it has more than %d characters", MaxNameCharacters)
	case !utf8.ValidString(name):
		return "it is not valid UTF-8"
	case strings.ContainsAny(name, `><&"'`):
		return `it has one of > < & " '`
	case strings.ContainsFunc(name, unicode.IsControl):
		return "it has a control character"
	}
	return ""
}

func validID(id string) bool {
	return id != "" && len(id) <= MaxIDBytes && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, unicode.IsControl)
}

// validTime reports whether the documented JSON form can express t, which has
// four digits for the year.
func validTime(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}

// clip cuts what goes into an answer to MaxNameCharacters characters, and replaces
// what is no valid UTF-8.
func clip(s string) string {
	n := 0
	for i := range s {
		if n == MaxNameCharacters {
			s = s[:i]
			break
		}
		n++
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
