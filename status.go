package customstatus

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/customstatus/customstatus/internal/strictjson"
)

// StatusType is what a status says of its user's availability. The wire
// values are lower case; "Online" or "Busy" in Rocket.Chat's prose are labels.
type StatusType string

// The four status types. With [Rules.StatusTypeOptional] a stored status may
// also have the empty StatusType.
const (
	Online  StatusType = "online"
	Away    StatusType = "away"
	Busy    StatusType = "busy"
	Offline StatusType = "offline"
)

// Valid reports whether t is one of the four status types.
func (t StatusType) Valid() bool {
	switch t {
	case Online, Away, Busy, Offline:
		return true
	}
	return false
}

// Revision numbers the states of a catalog. A catalog that was never written
// is at revision 0 and every commit gives it a greater one. The same number
// orders the change feed, resumes a watcher, and guards a conditional write.
type Revision uint64

// CustomUserStatus is one entry of the catalog: a status that an admin has
// defined and that users pick from. It is a plain value; changing a copy
// changes nothing in a catalog.
type CustomUserStatus struct {
	// ID is the identity of the status, an opaque string: a UUID when a
	// [Catalog] made it, any other form when it was imported.
	ID string
	// Name is unique in a catalog, compared byte by byte.
	Name string
	// StatusType is the availability that the status stands for.
	StatusType StatusType
	// UpdatedAt is the time of the last write, in UTC with a resolution of
	// one millisecond. It never goes backwards for one status.
	UpdatedAt time.Time
	// Revision is the commit that wrote the status last. It is no part of
	// the JSON form.
	Revision Revision
}

// timeLayout is the documented form of _updatedAt: always three fractional
// digits, which time.RFC3339Nano would trim.
const timeLayout = "2006-01-02T15:04:05.000Z"

// AppendJSON appends the documented JSON form of s to b and returns the
// extended buffer: the keys _id, name, statusType and _updatedAt, in this
// order.
func (s CustomUserStatus) AppendJSON(b []byte) []byte {
	b = append(b, `{"_id":`...)
	b = strictjson.AppendString(b, s.ID)
	b = append(b, `,"name":`...)
	b = strictjson.AppendString(b, s.Name)
	b = append(b, `,"statusType":`...)
	b = strictjson.AppendString(b, string(s.StatusType))
	b = append(b, `,"_updatedAt":"`...)
	b = s.UpdatedAt.UTC().AppendFormat(b, timeLayout)
	return append(b, `"}`...)
}

// MarshalJSON returns the documented JSON form, see [CustomUserStatus.AppendJSON].
func (s CustomUserStatus) MarshalJSON() ([]byte, error) {
	return s.AppendJSON(nil), nil
}

// UnmarshalJSON reads the documented JSON form. Keys are case-sensitive and
// may stand in any order; unknown keys are ignored, a key given twice is an
// error. _updatedAt takes any RFC 3339 time and is cut to milliseconds in UTC.
// The values are not checked against [Rules], and Revision is set to 0.
func (s *CustomUserStatus) UnmarshalJSON(data []byte) error {
	var out CustomUserStatus
	err := strictjson.Object(data, func(key string, value json.RawMessage) error {
		var text *string
		switch key {
		case "_id":
			text = &out.ID
		case "name":
			text = &out.Name
		case "statusType":
			text = (*string)(&out.StatusType)
		case "_updatedAt":
			text = new(string)
		default:
			return nil
		}
		var err error
		if *text, err = strictjson.String(value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if key == "_updatedAt" {
			t, err := time.Parse(time.RFC3339, *text)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			out.UpdatedAt = stamp(t)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("customstatus: %w", err)
	}
	*s = out
	return nil
}

// stamp brings t to the resolution and the zone in which times are kept.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
