package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
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
		{name: "before 1970", text: `{"_updatedAt":{"$date":{"$numberLong":"-1"}}}`, want: customstatus.CustomUserStatus{UpdatedAt: time.Date(1969, 12, 31, 23, 59, 59, 999_000_000, time.UTC)}},
		{name: "a name that needs escapes", text: `{"name":"\u00e9\ud83c\udf34"}`, want: customstatus.CustomUserStatus{Name: "é🌴"}},

		{name: "an unknown key", text: `{"name":"x","colour":"red"}`, err: `key "colour": unknown key`},
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

// Text of a file that a report repeats can't control a terminal.
func TestReportsAreQuoted(t *testing.T) {
	const evil = `\u001b[2J\nline 7: \u202e`
	const quoted = `"\x1b[2J\nline 7: \u202e"`
	for text, want := range map[string]string{
		`{"name":"` + evil + `","statusType":"busy"}`:                                        `name ` + quoted + ` is not valid`,
		`{"name":"a","statusType":"` + evil + `"}`:                                           `status type ` + quoted + ` is not valid`,
		`{"_id":"` + evil + `","name":"a","statusType":"busy"}`:                              `id ` + quoted,
		`{"` + evil + `":1}`:                                                                 `key ` + quoted + `: unknown key`,
		`{"_id":{"` + evil + `":1}}`:                                                         `key "_id": key ` + quoted,
		`{"name":"name","statusType":"busy"}` + "\n" + `{"name":"name","statusType":"busy"}`: `the name "name" belongs to status "`,
	} {
		db, err := openLocal(t.Context(), at(filepath.Join(t.TempDir(), "x.db")), true, customstatus.Options{})
		require.NoError(t, err)
		result, err := db.importFrom(t.Context(), strings.NewReader(text), noParts)
		require.NoError(t, errors.Join(err, db.close()))
		require.Len(t, result.Bad.Lines, 1)
		require.Contains(t, result.Bad.Lines[0].Reason, want)
	}
}

func TestReadSource(t *testing.T) {
	const a, b = `{"name":"a","statusType":"busy"}`, `{"name":"b","statusType":"away"}`
	tests := []struct {
		name, text string
		names      string // of the statuses, with their numbers
		bad        []string
	}{
		{name: "nothing"},
		{name: "blank lines only", text: "\n \r\n\t\n"},
		{name: "lines", text: a + "\n" + b + "\n", names: "a1 b2"},
		{name: "no end of line at the end", text: a + "\n" + b, names: "a1 b2"},
		{name: "CRLF, blank lines, byte order mark", text: "\xef\xbb\xbf" + a + "\r\n\r\n" + b + "\r\n", names: "a1 b3"},
		{name: "a short text", text: "{}", bad: []string{`line 1: name is required`}},
		{
			name: "bad lines among good ones", text: a + "\nnonsense\n" + b + "\n{\"name\":\"c\",\"statusType\":\"Busy\"}\n", names: "a1 b3",
			bad: []string{"line 2: not valid JSON", `line 4: status type "Busy" is not valid: it must be online, away, busy or offline`},
		},
		{
			name: "a line that is too long", text: a + "\n" + strings.Repeat("x", 3*maxLine) + "\n" + b + "\n", names: "a1 b3",
			bad: []string{"line 2: longer than 65536 bytes"},
		},
		{name: "a long line at the end", text: a + "\n" + strings.Repeat("x", 3*maxLine), names: "a1", bad: []string{"line 2: longer than 65536 bytes"}},
		{name: "an array on one line", text: "[" + a + "," + b + "]\n", names: "a1 b2"},
		{name: "an array on many lines", text: "\xef\xbb\xbf\n[\n  " + a + ",\n" + b + "\n]\n\n", names: "a1 b2"},
		{name: "an empty array", text: "[]"},
		{name: "a bad element", text: "[" + a + `,{"x":1},` + b + "]", names: "a1 b3", bad: []string{`element 2: key "x": unknown key`}},
		{name: "an array without an end", text: "[" + a + "," + b, names: "a1 b2", bad: []string{"element 3: the array does not end"}},
		{name: "an array cut in an element", text: "[" + a + `,{"na`, names: "a1", bad: []string{"element 2: the array does not end"}},
		{name: "an array with an error of syntax", text: "[" + a + ";" + b + "]", names: "a1", bad: []string{"element 2: not valid JSON"}},
		{name: "data behind an array", text: "[" + a + "]\n" + b, names: "a1", bad: []string{"element 2: data behind the JSON value"}},
		{name: "an array behind a line", text: a + "\n[" + b + "]", names: "a1", bad: []string{"line 2: not a JSON object"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := readSource(strings.NewReader(tt.text), customstatus.Rules{})
			require.NoError(t, err)
			var names []string
			for i, status := range s.statuses {
				names = append(names, fmt.Sprint(status.Name, s.numbers[i]))
			}
			require.Equal(t, tt.names, strings.Join(names, " "))
			require.Len(t, s.bad.Lines, len(tt.bad))
			for i, want := range tt.bad {
				require.Contains(t, s.bad.Lines[i].Where+": "+s.bad.Lines[i].Reason, want)
			}
		})
	}

	t.Run("rules that are looser", func(t *testing.T) {
		s, err := readSource(strings.NewReader(`{"name":"a"}`), customstatus.Rules{StatusTypeOptional: true})
		require.NoError(t, err)
		require.Len(t, s.statuses, 1)
	})
	t.Run("more bad lines than are named", func(t *testing.T) {
		s, err := readSource(strings.NewReader(strings.Repeat("x\n", maxBadLines+7)), customstatus.Rules{})
		require.NoError(t, err)
		require.Len(t, s.bad.Lines, maxBadLines)
		require.Equal(t, 7, s.bad.More)
	})
	for _, mark := range []string{"\xff\xfe{\x00", "\xfe\xff\x00{"} {
		_, err := readSource(strings.NewReader(mark), customstatus.Rules{})
		require.ErrorContains(t, err, "UTF-16")
	}
	for _, text := range []string{"", a + "\n", strings.Repeat("x", 3*maxLine), "[", "[" + a, "[" + a + "]"} {
		broken := errors.New("read failed")
		_, err := readSource(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), customstatus.Rules{})
		require.ErrorIs(t, err, broken, "after %.20q", text)
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

// FuzzReadSource looks for a text that makes reading panic, that is accepted although
// the library's own decoder refuses one of its statuses, or that export and import
// change.
func FuzzReadSource(f *testing.F) {
	f.Add([]byte(`{"_id":"a","name":"b","statusType":"busy","_updatedAt":"2023-11-04T11:51:28.353Z"}` + "\n"))
	f.Add([]byte("\xef\xbb\xbf" + `[{"_id":{"$oid":"65462e97a2f73c7460e18f84"},"_updatedAt":{"$date":{"$numberLong":"1"}}}]`))
	f.Add([]byte(`{"name":"b","_updatedAt":{"$date":1}}` + "\r\n\r\n{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := readSource(bytes.NewReader(text), customstatus.Rules{StatusTypeOptional: true})
		if err != nil {
			return
		}
		require.Len(t, s.numbers, len(s.statuses))
		for _, status := range s.statuses {
			if year := status.UpdatedAt.Year(); year < 0 || year > 9999 {
				continue // the catalog refuses it
			}
			line := status.AppendJSON(nil)
			var decoded customstatus.CustomUserStatus
			require.NoError(t, json.Unmarshal(line, &decoded))
			require.Equal(t, status, decoded)
			again, err := parseStatus(line)
			require.NoError(t, err)
			require.Equal(t, status, again)
		}
	})
}
