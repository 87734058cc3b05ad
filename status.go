package customstatus

import (
	"fmt"
	"time"

	"github.com/customstatus/customstatus/internal/fingerprint"
	"github.com/customstatus/customstatus/internal/statusjson"
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
	// the JSON forms.
	Revision Revision
	// Metadata is the host's own: an emoji, a colour, translations, in any
	// form. It has up to [MaxMetadataBytes] bytes of any value, is kept to the
	// byte, and is never looked at. It is no part of the wire's JSON form.
	Metadata string
}

// Fingerprint returns the hash of the status: of its id, name, type, metadata and
// milliseconds, but not of its revision. It is the same in every process and
// version. See [Fingerprint] for what it is good for.
func (s CustomUserStatus) Fingerprint() Fingerprint {
	return Fingerprint(fingerprint.Of(s.ID, s.Name, string(s.StatusType), s.Metadata, s.UpdatedAt.UnixMilli()))
}

// AppendJSON appends the documented JSON form of s to b and returns the
// extended buffer: the keys _id, name, statusType and _updatedAt, in this
// order.
func (s CustomUserStatus) AppendJSON(b []byte) []byte {
	form := s.json()
	return form.Append(b)
}

// AppendExportJSON appends the form in which a status is exported, with all that
// an import brings back: the documented JSON form and, if there is metadata, the
// key metadata behind it. Metadata that is not valid UTF-8, which JSON can't
// express, has the key metadataBase64 instead.
func (s CustomUserStatus) AppendExportJSON(b []byte) []byte {
	form := s.json()
	return form.AppendExport(b)
}

func (s *CustomUserStatus) json() statusjson.Status {
	return statusjson.Status{ID: s.ID, Name: s.Name, Type: string(s.StatusType), Metadata: s.Metadata, UpdatedAt: s.UpdatedAt}
}

// MarshalJSON returns the exported JSON form, see [CustomUserStatus.AppendExportJSON].
// It has no Revision.
func (s CustomUserStatus) MarshalJSON() ([]byte, error) {
	return s.AppendExportJSON(nil), nil
}

// UnmarshalJSON reads the documented and the exported JSON form. Keys are
// case-sensitive and may stand in any order; unknown keys are ignored, and a key
// given twice is an error. A key whose value is null counts as absent, and null
// itself changes nothing, as with any type of encoding/json. _updatedAt takes any
// RFC 3339 time and is cut to milliseconds in UTC. The values are not checked
// against [Rules], and Revision is set to 0.
func (s *CustomUserStatus) UnmarshalJSON(data []byte) error {
	if statusjson.IsNull(data) {
		return nil
	}
	form, err := statusjson.Parse(data)
	if err != nil {
		return fmt.Errorf("customstatus: %w", err)
	}
	*s = CustomUserStatus{ID: form.ID, Name: form.Name, StatusType: StatusType(form.Type), Metadata: form.Metadata, UpdatedAt: stamp(form.UpdatedAt)}
	return nil
}

// stamp brings t to the resolution and the zone in which times are kept.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
