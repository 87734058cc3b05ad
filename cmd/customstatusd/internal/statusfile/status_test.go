package statusfile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

var mediaTime = time.Date(2023, 11, 4, 11, 51, 28, 353_000_000, time.UTC)

func TestParseStatus(t *testing.T) {
	full := customstatus.CustomUserStatus{ID: "65462e97a2f73c7460e18f84", Name: "caught up again", StatusType: customstatus.Busy, UpdatedAt: mediaTime}
	at := func(s string) string {
		return `{"_id":"65462e97a2f73c7460e18f84","name":"caught up again","statusType":"busy","_updatedAt":` + s + `}`
	}
	tests := []struct {
		name, text string
		want       customstatus.CustomUserStatus
		err        string
	}{
		{name: "the documented form", text: at(`"2023-11-04T11:51:28.353Z"`), want: full},
		{name: "another zone", text: at(`"2023-11-04T12:51:28.353999+01:00"`), want: full},
		{name: "v2 relaxed", text: at(`{"$date":"2023-11-04T11:51:28.353Z"}`), want: full},
		{name: "v2 canonical", text: at(`{"$date":{"$numberLong":"1699098688353"}}`), want: full},
		{name: "v1 number", text: at(`{"$date":1699098688353}`), want: full},
		{name: "v1 zone without a colon", text: at(`{"$date":"2023-11-04T12:51:28.353+0100"}`), want: full},
		{
			name: "an object id", text: `{"_id":{"$oid":"65462e97a2f73c7460e18f84"},"name":"x"}`,
			want: customstatus.CustomUserStatus{ID: "65462e97a2f73c7460e18f84", Name: "x"},
		},
		{
			name: "keys in any order, white space", text: " {\t\"statusType\" : \"away\" , \"name\" : \"x\"\r } ",
			want: customstatus.CustomUserStatus{Name: "x", StatusType: customstatus.Away},
		},
		{name: "no type in Rocket.Chat", text: `{"name":"x","statusType":null}`, want: customstatus.CustomUserStatus{Name: "x"}},
		{name: "all null", text: `{"_id":null,"name":null,"statusType":null,"_updatedAt":null,"metadata":null,"metadataBase64":null}`},
		{name: "before 1970", text: `{"_updatedAt":{"$date":{"$numberLong":"-1"}}}`, want: customstatus.CustomUserStatus{UpdatedAt: time.Date(1969, 12, 31, 23, 59, 59, 999_000_000, time.UTC)}},
		{name: "a name that needs escapes", text: `{"name":"\u00e9\ud83c\udf34"}`, want: customstatus.CustomUserStatus{Name: "é🌴"}},

		{name: "an unknown key", text: `{"name":"x","colour":"red"}`, err: `key "colour": unknown key`},
		{name: "an unknown key with null", text: `{"name":"x","colour":null}`, err: `key "colour": unknown key`},
		{name: "a date of null", text: at(`{"$date":null}`), err: `key "$date": not a time in milliseconds`},
		{name: "a key in another case", text: `{"Name":"x"}`, err: `key "Name": unknown key`},
		{name: "a key given twice", text: `{"name":"x","name":"y"}`, err: `key "name": key given twice`},
		{name: "no object", text: `"x"`, err: "not a JSON object"},
		{name: "an array", text: `[]`, err: "not a JSON object"},
		{name: "cut short", text: `{"name":"x"`, err: "unexpected end"},
		{name: "two objects", text: `{"name":"x"}{"name":"y"}`, err: "data behind the JSON value"},
		{name: "name is no string", text: `{"name":1}`, err: `key "name": not a string`},
		{name: "type is no string", text: `{"statusType":false}`, err: `key "statusType": not a string`},
		{name: "id is no string", text: `{"_id":17}`, err: `key "_id": not a string`},
		{name: "half a surrogate pair", text: `{"name":"\ud83c"}`, err: `key "name": invalid UTF-8`},
		{name: "invalid UTF-8", text: "{\"name\":\"\xff\"}", err: `key "name": invalid UTF-8`},
		{name: "object id of another kind", text: `{"_id":{"$uuid":"x"}}`, err: `key "_id": key "$uuid": unknown key`},
		{name: "object id is no string", text: `{"_id":{"$oid":1}}`, err: `key "_id": key "$oid": not a string`},
		{name: "object id too short", text: `{"_id":{"$oid":"65462e97"}}`, err: `key "$oid": not 24 hexadecimal digits`},
		{name: "object id not hexadecimal", text: `{"_id":{"$oid":"x5462e97a2f73c7460e18f84"}}`, err: `not 24 hexadecimal digits`},
		{name: "empty wrapper", text: `{"_id":{}}`, err: `key "_id": key "$oid" missing`},
		{name: "time is no time", text: at(`"yesterday"`), err: `key "_updatedAt": not an RFC 3339 time`},
		{name: "time without a zone", text: at(`"2023-11-04T11:51:28.353"`), err: `not an RFC 3339 time`},
		{name: "time is a number", text: at(`1699098688353`), err: `key "_updatedAt": not a string`},
		{name: "time of another kind", text: at(`{"$timestamp":1}`), err: `key "$timestamp": unknown key`},
		{name: "date is no time", text: at(`{"$date":"yesterday"}`), err: `key "_updatedAt": key "$date": not an RFC 3339 time`},
		{name: "date is a lone surrogate", text: at(`{"$date":"\ud83c"}`), err: `invalid UTF-8`},
		{name: "date with a fraction", text: at(`{"$date":1.5}`), err: `key "$date": not a time in milliseconds`},
		{name: "date is true", text: at(`{"$date":true}`), err: `not a time in milliseconds`},
		{name: "date of another kind", text: at(`{"$date":{"$numberInt":"1"}}`), err: `key "$date": key "$numberInt": unknown key`},
		{name: "long is no string", text: at(`{"$date":{"$numberLong":1}}`), err: `key "$date": key "$numberLong": not a string`},
		{name: "long is no number", text: at(`{"$date":{"$numberLong":"1e3"}}`), err: `not a time in milliseconds`},
		{name: "long beyond 64 bits", text: at(`{"$date":{"$numberLong":"99999999999999999999"}}`), err: `not a time in milliseconds`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStatus([]byte(tt.text))
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

// What export writes, import reads, to the byte.
func TestExportedLinesAreReadBack(t *testing.T) {
	for _, name := range []string{"x", "é🌴", `a\b`, "\u2028", "tab is no name"} {
		want := customstatus.CustomUserStatus{ID: "id " + name, Name: name, StatusType: customstatus.Away, UpdatedAt: mediaTime}
		got, err := parseStatus(want.AppendJSON(nil))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
