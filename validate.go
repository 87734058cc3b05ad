package customstatus

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The limits on what a catalog takes.
const (
	// MaxNameLength is the greatest number of characters (Unicode code
	// points) in a name: enough for a phrase, short enough for every
	// client's list. At four bytes each it also stays far below what any
	// store takes as a key.
	MaxNameLength = 120
	// MaxIDLength is the greatest number of bytes in an id. Ids are opaque;
	// Rocket.Chat's have 17 or 24 bytes and a UUID has 36.
	MaxIDLength = 128
)

// Fields are what the caller of a write decides about a status.
type Fields struct {
	Name       string
	StatusType StatusType
}

// Rules say which fields a catalog takes. The zero value is the documented
// rules: both fields are required. Rules are pure data and safe for concurrent
// use.
type Rules struct {
	// StatusTypeOptional takes an empty StatusType, as a running Rocket.Chat
	// does in contrast to its documentation: a create stores it as it is,
	// an update leaves the status type unchanged.
	StatusTypeOptional bool
}

// Check returns nil if f may be written, or else an [*Error] that is
// [ErrRequired] or [ErrInvalid], for the name before the status type.
//
// A name is required: it needs a character that is not white space. It may
// have at most [MaxNameLength] characters and none of > < & " ' or a control
// character, and must be valid UTF-8. It is stored as it is given.
func (r Rules) Check(f Fields) error {
	if strings.TrimSpace(f.Name) == "" {
		return errRequired(FieldName)
	}
	if !validName(f.Name) {
		return errInvalid(FieldName, f.Name, "name")
	}
	if f.StatusType == "" {
		if r.StatusTypeOptional {
			return nil
		}
		return errRequired(FieldStatusType)
	}
	if !f.StatusType.Valid() {
		return errInvalid(FieldStatusType, string(f.StatusType), "status type")
	}
	return nil
}

// checkRecord checks a status that comes in whole, by import.
func (r Rules) checkRecord(s CustomUserStatus) error {
	if err := r.Check(Fields{Name: s.Name, StatusType: s.StatusType}); err != nil {
		return err
	}
	if s.ID != "" && !validID(s.ID) {
		return errInvalid(FieldID, s.ID, "id")
	}
	if !validTime(s.UpdatedAt) {
		return errInvalid(FieldUpdatedAt, s.UpdatedAt.UTC().Format(time.RFC3339Nano), "time")
	}
	return nil
}

func validName(name string) bool {
	return len(name) <= MaxNameLength*utf8.UTFMax &&
		utf8.RuneCountInString(name) <= MaxNameLength &&
		utf8.ValidString(name) &&
		!strings.ContainsAny(name, `><&"'`) &&
		!strings.ContainsFunc(name, unicode.IsControl)
}

func validID(id string) bool {
	return id != "" && len(id) <= MaxIDLength && utf8.ValidString(id) &&
		!strings.ContainsFunc(id, unicode.IsControl)
}

// validTime reports whether the documented JSON form can express t, which has
// four digits for the year.
func validTime(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}

// clip cuts what goes into an answer to MaxNameLength characters, and replaces
// what is no valid UTF-8.
func clip(s string) string {
	n := 0
	for i := range s {
		if n == MaxNameLength {
			s = s[:i]
			break
		}
		n++
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
