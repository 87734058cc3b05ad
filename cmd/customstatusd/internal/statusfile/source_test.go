package statusfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// read returns the statuses of a text as "name@line", and its bad values.
func read(t *testing.T, text string) (names, bad string, s *Source) {
	t.Helper()
	s, err := Read(strings.NewReader(text), customstatus.Rules{})
	require.NoError(t, err)
	// Where the bytes of the text are cut for the reader makes no difference.
	again, err := Read(iotest.OneByteReader(strings.NewReader(text)), customstatus.Rules{})
	require.NoError(t, err)
	require.Equal(t, s, again)
	for i, status := range s.Statuses {
		names += fmt.Sprintf("%s@%d ", status.Name, s.lines[i])
	}
	for _, b := range s.Bad.Values {
		bad += b.Where + ": " + b.Reason + "\n"
	}
	return strings.TrimSpace(names), bad, s
}

const (
	a = `{"name":"a","statusType":"busy"}`
	b = `{"name":"b","statusType":"away"}`
	// pretty is a status on several lines.
	pretty = "{\n  \"_id\": {\n    \"$oid\": \"65462e97a2f73c7460e18f84\"\n  },\n  \"name\": \"p\",\n  \"statusType\": \"busy\"\n}"
)

func TestReadValues(t *testing.T) {
	for name, tt := range map[string]struct{ text, names string }{
		"nothing":                          {"", ""},
		"white space":                      {"\n \r\n\t\n", ""},
		"lines":                            {a + "\n" + b + "\n", "a@1 b@2"},
		"no end of line at the end":        {a + "\n" + b, "a@1 b@2"},
		"CRLF, blank lines, mark":          {"\ufeff" + a + "\r\n\r\n" + b + "\r\n", "a@1 b@3"},
		"one behind another":               {a + b + " " + a, "a@1 b@1 a@1"},
		"on several lines":                 {pretty + "\n" + b, "p@1 b@8"},
		"files that were put together":     {"\ufeff" + a + "\n\ufeff" + b, "a@1 b@2"},
		"an array on one line":             {"[" + a + "," + b + "]\n", "a@1 b@1"},
		"an array on several lines":        {"\ufeff\n[\n  " + pretty + ",\n" + b + "\n]\n\n", "p@3 b@10"},
		"commas in front":                  {"[ " + a + "\n, " + b + "\n]", "a@1 b@2"},
		"an empty array":                   {"[]", ""},
		"several arrays":                   {"[" + a + "]\n[" + b + "]" + pretty, "a@1 b@2 p@2"},
		"a list":                           {`{"statuses":[` + a + "," + b + `],"count":2,"offset":0,"total":2,"success":true}`, "a@1 b@1"},
		"a list with other keys first":     {`{"success":true,"count":2,"statuses":[` + a + "," + b + `],"total":2}`, "a@1 b@1"},
		"a list on several lines":          {"{\n  \"statuses\": [\n" + a + ",\n" + b + "\n  ],\n  \"success\": true\n}", "a@3 b@4"},
		"several lists, one of them empty": {`{"statuses":[` + a + `]}` + "\n" + `{"statuses":[]}` + "\n" + `{"statuses":[` + b + `]}`, "a@1 b@3"},
		"white space counts for nothing":   {"{" + strings.Repeat(" ", 3*MaxValueBytes) + a[1:], "a@1"},
	} {
		t.Run(name, func(t *testing.T) {
			names, bad, s := read(t, tt.text)
			require.Empty(t, bad)
			require.Equal(t, tt.names, names)
			require.Equal(t, len(s.Statuses), s.Read)
		})
	}

	s, err := Read(strings.NewReader(`{"name":"a"}`), customstatus.Rules{StatusTypeOptional: true})
	require.NoError(t, err)
	require.Len(t, s.Statuses, 1)
}

func TestReadNamesBadValues(t *testing.T) {
	const c = `{"name":"c","statusType":"Busy"}`
	const badC = `status type "Busy" is not valid: it must be online, away, busy or offline` + "\n"
	for name, tt := range map[string]struct{ text, bad string }{
		"a short text":                   {"{}", "line 1 (value 1): name is required\n"},
		"an id with a control character": {`{"_id":"\u0000","name":"a","statusType":"busy"}`, `line 1 (value 1): id "\x00" is not valid: it must be valid UTF-8 of at most 128 bytes without control characters` + "\n"},
		"a year that JSON can't say":     {`{"name":"a","statusType":"busy","_updatedAt":{"$date":253402300800000}}`, `line 1 (value 1): time of update "10000-01-01T00:00:00Z" is not valid: the year must be from 0 to 9999` + "\n"},
		"nonsense among lines":           {a + "\nnonsense: {\n" + b + "\n" + c, `line 2 (value 2): not valid JSON: unexpected "nonsense"` + "\nline 4 (value 4): " + badC},
		"other values":                   {a + "\n1\n\"x\"\nnull\n[2, \"y\", true]\n" + c, notObjects("2 (value 2)", "3 (value 3)", "4 (value 4)", "5 (value 5)", "5 (value 6)", "5 (value 7)") + "line 6 (value 8): " + badC},
		"an array in an array":           {"[" + a + ",\n[" + b + "],\n" + c + "]", notObjects("2 (value 2)") + "line 3 (value 3): " + badC},
		"on several lines":               {pretty + "\n" + strings.Replace(pretty, "busy", "Busy", 1), "line 8 (value 2): " + badC},
		"a line that is cut in a text":   {`{"name":"a` + "\n" + c, "line 1 (value 1): not valid JSON: a string does not end on its line\nline 2 (value 2): " + badC},
		"a line that is cut at a comma":  {`{"name":"a",` + "\n" + c, "line 1 (value 1): on line 2: not valid JSON: unexpected '{'\nline 2 (value 2): " + badC},
		"a line that is cut at its end":  {`{"name":"a"` + "\n" + c, "line 1 (value 1): on line 2: not valid JSON: unexpected '{'\nline 2 (value 2): " + badC},
		"an error within several lines":  {strings.Replace(pretty, `"p",`, `"p"`, 1) + "\n" + c, "line 1 (value 1): on line 6: not valid JSON: unexpected '\"'\nline 8 (value 2): " + badC},
		"an end that is missing":         {a + "\n" + `{"name":`, "line 2 (value 2): not valid JSON: unexpected end\n"},
		"a text's end that is missing":   {a + "\n" + `{"na`, "line 2 (value 2): not valid JSON: unexpected end\n"},
		"a literal":                      {`{"name":nul}` + "\n" + c, `line 1 (value 1): not valid JSON: unexpected "nul"` + "\nline 2 (value 2): " + badC},
		"a comma too many in an object":  {`{"name":"a",}` + "\n" + c, "line 1 (value 1): not valid JSON: unexpected '}'\nline 2 (value 2): " + badC},
		"a bracket of the other kind":    {`{"name":"a"]` + "\n" + c, "line 1 (value 1): not valid JSON: unexpected ']'\nline 2 (value 2): " + badC},
		"a bracket too many":             {a + "}\n" + c, "line 1 (value 2): not valid JSON: unexpected '}'\nline 2 (value 3): " + badC},
		"a letter of another alphabet":   {"é\n" + c, "line 1 (value 1): not valid JSON: unexpected 'é'\nline 2 (value 2): " + badC},
		"no text":                        {"\x80\n", "line 1 (value 1): not valid JSON: unexpected '\ufffd'\n"},
		"commas between lines":           {a + ",\n" + c, "line 1 (value 2): not valid JSON: unexpected ','\nline 2 (value 3): " + badC},
		"a comma too many in an array":   {"[" + a + ",]\n" + c, "line 1 (value 2): not valid JSON: unexpected ']'\nline 2 (value 3): " + badC},
		"no comma in an array":           {"[\n" + a + "\n" + c + "]", "line 3 (value 2): not valid JSON: unexpected '{'\nline 3 (value 3): " + badC},
		"another mark in an array":       {"[" + a + ";" + b + "]", "line 1 (value 2): not valid JSON: unexpected ';'\n"},
		"an array without an end":        {"\n[" + a + "," + b, "line 2: the array that begins here does not end\n"},
		"an array cut in an element":     {"[" + a + `,{"na`, "line 1 (value 2): not valid JSON: unexpected end\n"},
		"a list without an end":          {`{"statuses":[` + a, "line 1: the array that begins here does not end\n"},
		"a list cut behind its statuses": {`{"statuses":[` + a + `],"count"`, "line 1: not valid JSON: unexpected end\n"},
		"a list with an unknown key":     {`{"statuses":[` + a + `],"pages":3}`, `line 1: the list that begins here: key "pages": unknown key` + "\n"},
		"a list with a status's key":     {`{"name":"a","statuses":[]}`, `line 1: the list that begins here: key "name": unknown key` + "\n"},
		"statuses that are no array":     {`{"statuses":{"update":[]}}`, `line 1 (value 1): key "statuses": unknown key` + "\n"},
		"a bad element of a list":        {`{"statuses":[` + a + ",\n" + c + "\n" + `]}`, "line 2 (value 2): " + badC},
		"too deep":                       {`{"a":` + strings.Repeat("[", 3*MaxValueBytes) + "\n" + c, "line 1 (value 1): more than 16 levels of objects and arrays\nline 2 (value 2): " + badC},
		"too long":                       {`{"a":"` + strings.Repeat("x", 3*MaxValueBytes) + `"}` + "\n" + c, "line 1 (value 1): longer than 65536 bytes\nline 2 (value 2): " + badC},
		"too long without an end":        {`{"a":` + strings.Repeat("1", 3*MaxValueBytes), "line 1 (value 1): not valid JSON: unexpected end\n"},
		"nonsense without an end":        {strings.Repeat("x", 3*MaxValueBytes), "line 1 (value 1): not valid JSON: unexpected \"" + strings.Repeat("x", 40) + "\"\n"},
		"comments":                       {"// one\n" + a + " # two\n/* three\n * /\n */" + c, "line 1: " + errComment.Error() + "\nline 2: " + errComment.Error() + "\nline 3: " + errComment.Error() + "\nline 5 (value 2): " + badC},
		"a comment that does not end":    {a + "\n/* {", "line 2: " + errComment.Error() + "\n"},
		"a comment within a value":       {strings.Replace(pretty, `"p",`, `"p", // the name`, 1) + "\n" + c, "line 1 (value 1): on line 5: " + errComment.Error() + "\nline 8 (value 2): " + badC},
		"a comment within an array":      {"[ // all\n" + a + ", # one\n" + c + "]", "line 1: " + errComment.Error() + "\nline 2: " + errComment.Error() + "\nline 3 (value 2): " + badC},
		"no comment":                     {"/ a\n" + c, "line 1 (value 1): not valid JSON: unexpected '/'\nline 2 (value 2): " + badC},
		"the shell's notation": {
			`{"_id":ObjectId("65462e97a2f73c7460e18f84")}` + "\n" + `{"_updatedAt" : ISODate("2023-11-04T11:51:28.353Z")}` + "\n" + `{"_updatedAt" : new Date(1)}` + "\n" + c,
			"line 1 (value 1): " + errShell("ObjectId").Error() + "\nline 2 (value 2): " + errShell("ISODate").Error() + "\nline 3 (value 3): " + errShell("new Date").Error() + "\nline 4 (value 4): " + badC,
		},
		"the shell's quotes": {
			"[\n  {\n    _id: 'x',\n    name: 'y'\n  },\n  {\n    \"_id\": 'x'\n  },\n  " + c + "\n]\n",
			"line 2 (value 1): on line 3: " + errQuotes.Error() + "\nline 6 (value 2): on line 7: " + errQuotes.Error() + "\nline 9 (value 3): " + badC,
		},
	} {
		t.Run(name, func(t *testing.T) {
			names, bad, s := read(t, tt.text)
			require.Equal(t, tt.bad, bad)
			require.Empty(t, names, "statuses beside bad values are not needed")
			require.Zero(t, s.Bad.More)
		})
	}
}

func notObjects(places ...string) (bad string) {
	for _, place := range places {
		bad += "line " + place + ": not a JSON object\n"
	}
	return bad
}

// A list that was asked for a part says how many it left out; several parts may be the
// whole.
func TestReadCountsWhatAListLeavesOut(t *testing.T) {
	page := func(statuses, total string) string {
		return `{"statuses":[` + statuses + `],"count":1,"offset":0,"total":` + total + `,"success":true}` + "\n"
	}
	for text, want := range map[string]int{
		a: 0, page(a, "1"): 0, page(a, "120"): 119, page(a, "2") + page(b, "2"): 0, page("", "3"): 3, `{"statuses":[` + a + `]}`: 0,
	} {
		_, bad, s := read(t, text)
		require.Empty(t, bad)
		require.Equal(t, want, s.Missing, text)
	}
	_, bad, _ := read(t, page(a, `"x"`))
	require.Equal(t, `line 1: the list that begins here: key "total": not a number of statuses`+"\n", bad)
}

// Only so many bad values are named.
func TestReadCountsBadValues(t *testing.T) {
	_, _, s := read(t, strings.Repeat("x\n", MaxBad+7))
	require.Len(t, s.Bad.Values, MaxBad)
	require.Equal(t, 7, s.Bad.More)
	require.Equal(t, "line 100 (value 100)", s.Bad.Values[MaxBad-1].Where)
}

// What is no JSON in UTF-8 is called by its name, with what helps.
func TestReadForeignTexts(t *testing.T) {
	for text, want := range map[string]string{
		"\xff\xfe{\x00": "UTF-16, as PowerShell writes it; convert it first: iconv -f UTF-16 -t UTF-8",
		"\xfe\xff\x00{": "UTF-16, as PowerShell",
		"{\x00\"\x00":   "iconv -f UTF-16LE -t UTF-8",
		"\x00[\x00{":    "iconv -f UTF-16BE -t UTF-8",
		"\x16\x00\x00\x00\x02hello\x00\x06\x00\x00\x00world\x00\x00": "BSON, as mongodump writes it; convert it first: bsondump",
		"\x12\x00\x00\x00\x07_id\x00":                                "BSON",
		"\x05\x00\x00\x00\x00":                                       "BSON", // an empty document
		"\x6d\xe2\x99\x81\x00":                                       "an archive of mongodump",
		"\x1f\x8b\x08\x00":                                           "compressed by gzip",
		"PK\x03\x04":                                                 "a zip archive",
		strings.Repeat("\x00", 16) + "\xed\xda\x0c\xed":              "a database; export it first",
		"_id,name,statusType\n1,a,busy\n":                            "CSV",
	} {
		_, bad, s := read(t, text)
		require.Len(t, s.Bad.Values, 1, "%q", text)
		require.Contains(t, bad, want, "%q", text)
		require.Empty(t, s.Bad.Values[0].Where)
	}
}

// An error of the reader is returned, wherever it comes.
func TestReadReturnsTheReadersError(t *testing.T) {
	broken := errors.New("read failed")
	text := "\ufeff[\n" + pretty + ",1, \"x\", x\n" + b + "]{\"success\":true,\"statuses\":[" + a + "],\"count\":1} // comment\n/* and * more */ x:y\n" + `{"name":ISODate("x")}`
	for i := range len(text) {
		_, err := Read(io.MultiReader(strings.NewReader(text[:i]), iotest.ErrReader(broken)), customstatus.Rules{})
		require.ErrorIs(t, err, broken, "after %q", text[:i])
	}
}

// FuzzRead looks for a text that makes reading panic, that has more or fewer values
// for encoding/json, that is accepted although the library's own decoder refuses one
// of its statuses, or that export and import change.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		`{"_id":"a","name":"b","statusType":"busy","_updatedAt":"2023-11-04T11:51:28.353Z"}` + "\n",
		"\xef\xbb\xbf" + `[{"_id":{"$oid":"65462e97a2f73c7460e18f84"},"_updatedAt":{"$date":{"$numberLong":"1"}}}]`,
		`{"name":"b","_updatedAt":{"$date":1}}` + "\r\n\r\n{}",
		pretty + a + "[" + b + ", " + a + "]", `{"count":1,"statuses":[` + a + `],"success":true}`,
		"[" + a + ";" + b + "\n," + b + "]", `{"_updatedAt":ISODate("x")}` + "\n" + `{_id:'x'}`, "/* x */ {} // y", a + "\n{\n" + b,
		`{"name":"x","metadata":"\u0000","statusType":null} nul [1,"x",[]]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read(bytes.NewReader(text), customstatus.Rules{StatusTypeOptional: true})
		require.NoError(t, err)
		require.LessOrEqual(t, len(s.Bad.Values), MaxBad)
		for _, bad := range s.Bad.Values {
			require.NotEmpty(t, bad.Reason)
		}
		if s.Bad.Len() > 0 {
			require.Empty(t, s.Statuses)
			return
		}
		require.Len(t, s.lines, len(s.Statuses))
		require.Equal(t, s.Read, len(s.Statuses))
		require.Equal(t, countStatuses(t, text), s.Read)
		for i, status := range s.Statuses {
			require.LessOrEqual(t, s.lines[i], 1+bytes.Count(text, []byte("\n")))
			extended, err := parseStatus(AppendExtendedJSON(nil, status))
			require.NoError(t, err)
			require.Equal(t, status, extended)
			line := status.AppendExportJSON(nil)
			var decoded customstatus.CustomUserStatus
			require.NoError(t, json.Unmarshal(line, &decoded))
			require.Equal(t, status, decoded)
			again, err := parseStatus(line)
			require.NoError(t, err)
			require.Equal(t, status, again)
		}
	})
}

// countStatuses counts the statuses of a text without faults with encoding/json.
func countStatuses(t *testing.T, text []byte) (n int) {
	dec := json.NewDecoder(bytes.NewReader(bytes.ReplaceAll(text, []byte("\ufeff"), nil)))
	for {
		var value json.RawMessage
		err := dec.Decode(&value)
		if err == io.EOF {
			return n
		}
		require.NoError(t, err)
		var list struct {
			Statuses []json.RawMessage `json:"statuses"`
		}
		elements := []json.RawMessage{}
		switch {
		case json.Unmarshal(value, &elements) == nil:
			n += len(elements)
		case json.Unmarshal(value, &list) == nil && list.Statuses != nil:
			n += len(list.Statuses)
		default:
			n++
		}
	}
}
