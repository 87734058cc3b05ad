package statusfile

import (
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/strictjson"
)

// AppendExtendedJSON appends a status in MongoDB's extended JSON, version 2, relaxed:
// what mongoexport writes by default and mongoimport reads. The id is a text, as in
// Rocket.Chat's collection, and the time a date. Metadata has the keys of
// [customstatus.CustomUserStatus.AppendExportJSON].
func AppendExtendedJSON(b []byte, s customstatus.CustomUserStatus) []byte {
	for _, field := range []struct{ key, value string }{
		{`{"_id":`, s.ID}, {`,"name":`, s.Name}, {`,"statusType":`, string(s.StatusType)},
	} {
		b = append(b, field.key...)
		b = strictjson.AppendString(b, field.value)
	}
	b = append(b, `,"_updatedAt":{"$date":`...)
	b = appendDate(b, s.UpdatedAt.UTC())
	b = append(b, '}')
	switch {
	case s.Metadata == "":
	case utf8.ValidString(s.Metadata):
		b = append(b, `,"metadata":`...)
		b = strictjson.AppendString(b, s.Metadata)
	default:
		b = append(b, `,"metadataBase64":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(s.Metadata))
		b = append(b, '"')
	}
	return append(b, '}')
}

// appendDate appends the value of $date. The specification wants milliseconds for
// years before 1970 and after 9999, and else a text without a fraction of zero.
func appendDate(b []byte, t time.Time) []byte {
	if year := t.Year(); year < 1970 || year > 9999 {
		b = append(b, `{"$numberLong":"`...)
		b = strconv.AppendInt(b, t.UnixMilli(), 10)
		return append(b, `"}`...)
	}
	layout := "2006-01-02T15:04:05.000Z"
	if t.UnixMilli()%1000 == 0 {
		layout = "2006-01-02T15:04:05Z"
	}
	b = append(b, '"')
	b = t.AppendFormat(b, layout)
	return append(b, '"')
}
