package customstatus

import (
	"fmt"
	"time"

	"github.com/customstatus/customstatus/internal/fingerprint"
	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/statusjson"
	"github.com/customstatus/customstatus/internal/table"
)

// StatusType is the availability that a status stands for. The values on the wire
// are lower case; "Online" and "Busy" in Rocket.Chat's prose are labels.
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
	return t == Online || t == Away || t == Busy || t == Offline
}

// CustomUserStatus is one entry of the catalog: a status that an admin defines and
// that users pick from. It is a plain value; a changed copy changes no catalog.
type CustomUserStatus struct {
	// ID is opaque: a UUID, unless it was imported or comes from [Options.NewID].
	ID string
	// Name is unique in a catalog, compared byte by byte.
	Name       string
	StatusType StatusType
	// UpdatedAt is the time of the last write, in UTC with a resolution of
	// one millisecond. An update never sets it back.
	UpdatedAt time.Time
	// Revision is the revision of the last write. The JSON forms don't have it.
	Revision Revision
	// Metadata is the host's own: an emoji, a colour, translations, in any form. It
	// has up to [MaxMetadataBytes] bytes of any value. The catalog keeps it to the
	// byte and never interprets it. Of the JSON forms, only the export form has it.
	Metadata string
}

// statusType is what the internal packages need to know of a status.
var statusType = pairs.Type[CustomUserStatus]{
	Keys: table.Keys[CustomUserStatus]{
		ID:   func(s *CustomUserStatus) string { return s.ID },
		Name: func(s *CustomUserStatus) string { return s.Name },
	},
	Revision:    func(s *CustomUserStatus) *uint64 { return (*uint64)(&s.Revision) },
	Fingerprint: func(s *CustomUserStatus) uint64 { return uint64(s.Fingerprint()) },
}

// Fingerprint returns a hash of the id, name, type, metadata and milliseconds of the
// status, but not of its revision. It is the same in every process and version. The
// type [Fingerprint] says what it is good for.
func (s CustomUserStatus) Fingerprint() Fingerprint {
	return Fingerprint(fingerprint.Of(s.ID, s.Name, string(s.StatusType), s.Metadata, s.UpdatedAt.UnixMilli()))
}

// AppendJSON appends the documented JSON form of s to b and returns the extended
// buffer. The form has the keys _id, name, statusType and _updatedAt, in this order.
func (s CustomUserStatus) AppendJSON(b []byte) []byte {
	form := s.json()
	return form.Append(b)
}

// AppendExportJSON appends the export form of s to b and returns the extended buffer.
// The form is the documented JSON form, followed by the key metadata if there is
// metadata. If the metadata is not valid UTF-8, the key metadataBase64 has it.
func (s CustomUserStatus) AppendExportJSON(b []byte) []byte {
	form := s.json()
	return form.AppendExport(b)
}

func (s *CustomUserStatus) json() statusjson.Status {
	return statusjson.Status{ID: s.ID, Name: s.Name, Type: string(s.StatusType), Metadata: s.Metadata, UpdatedAt: s.UpdatedAt}
}

// MarshalJSON returns the export form, see [CustomUserStatus.AppendExportJSON].
func (s CustomUserStatus) MarshalJSON() ([]byte, error) {
	return s.AppendExportJSON(nil), nil
}

// UnmarshalJSON reads the documented and the export form, and sets Revision to 0.
// Keys are case-sensitive and may come in any order. Unknown keys are ignored. A key
// given twice is an error. A key whose value is null counts as absent; null itself
// changes nothing, as with any type of encoding/json. _updatedAt takes any RFC 3339
// time and is cut to milliseconds in UTC. [Rules] are not checked.
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

// stamp returns t in UTC, cut to milliseconds.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
