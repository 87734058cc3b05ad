// Package statusjson reads and writes the two JSON forms of a status. The wire
// form is Rocket.Chat's. The export form adds the metadata, which the wire form
// has no field for.
package statusjson

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/customstatus/customstatus/internal/strictjson"
)

// The keys, in the order of writing.
const (
	KeyID        = "_id"
	KeyName      = "name"
	KeyType      = "statusType"
	KeyUpdatedAt = "_updatedAt"
	KeyMetadata  = "metadata"

	// keyBinary is the key of metadata that is not valid UTF-8, in base64.
	keyBinary = "metadataBase64"
)

// Status has the fields of both forms.
type Status struct {
	ID, Name, Type, Metadata string
	UpdatedAt                time.Time
}

// timeLayout is the documented form of _updatedAt. It always has three
// fractional digits; time.RFC3339Nano would trim zeros.
const timeLayout = "2006-01-02T15:04:05.000Z"

// Append appends the wire form, without the metadata, and returns the extended
// slice.
func (s *Status) Append(b []byte) []byte {
	b = append(b, `{"`+KeyID+`":`...)
	b = strictjson.AppendString(b, s.ID)
	b = append(b, `,"`+KeyName+`":`...)
	b = strictjson.AppendString(b, s.Name)
	b = append(b, `,"`+KeyType+`":`...)
	b = strictjson.AppendString(b, s.Type)
	b = append(b, `,"`+KeyUpdatedAt+`":"`...)
	b = s.UpdatedAt.UTC().AppendFormat(b, timeLayout)
	return append(b, `"}`...)
}

// AppendExport appends the export form and returns the extended slice. Metadata
// that is not valid UTF-8 is written in base64 under its own key.
func (s *Status) AppendExport(b []byte) []byte {
	b = s.Append(b)
	switch {
	case s.Metadata == "":
		return b
	case utf8.ValidString(s.Metadata):
		b = append(b[:len(b)-1], `,"`+KeyMetadata+`":`...)
		b = strictjson.AppendString(b, s.Metadata)
	default:
		b = append(b[:len(b)-1], `,"`+keyBinary+`":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(s.Metadata))
		b = append(b, '"')
	}
	return append(b, '}')
}

// Parse reads either form. A null field is an absent one, and unknown keys are
// ignored. Callers handle a data of null themselves.
func Parse(data []byte) (s Status, err error) {
	err = strictjson.Object(data, func(key string, value json.RawMessage) error {
		if IsNull(value) {
			return nil
		}
		if err := s.set(key, value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	})
	return s, err
}

// IsNull reports whether a JSON value is null.
func IsNull(value json.RawMessage) bool { return string(value) == "null" }

// set sets the field with the key. Unknown keys are ignored.
func (s *Status) set(key string, value json.RawMessage) error {
	var text string
	field := &text
	switch key {
	case KeyID:
		field = &s.ID
	case KeyName:
		field = &s.Name
	case KeyType:
		field = &s.Type
	case KeyMetadata:
		field = &s.Metadata
	case KeyUpdatedAt, keyBinary:
	default:
		return nil
	}
	var err error
	if *field, err = strictjson.String(value); err != nil {
		return err
	}
	switch key {
	case KeyUpdatedAt:
		s.UpdatedAt, err = time.Parse(time.RFC3339, text)
	case keyBinary:
		var metadata []byte
		metadata, err = base64.StdEncoding.DecodeString(text)
		s.Metadata = string(metadata)
	}
	return err
}

// ValidTime reports whether the documented form, with its four digits for the year,
// can express t.
func ValidTime(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}
