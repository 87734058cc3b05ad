package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/strictjson"
)

// read returns the members that Object reports, as "key=value" in their order.
func read(data string) ([]string, error) {
	var members []string
	err := strictjson.Object([]byte(data), func(key string, value json.RawMessage) error {
		members = append(members, key+"="+string(value))
		return nil
	})
	return members, err
}

func TestObject(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		want []string
		err  error
		key  string // that the error names
	}{
		"empty object":           {in: `{}`},
		"white space around":     {in: " \t\r\n{ } \n"},
		"in the order given":     {in: `{"b": 1 ,"a":"x"}`, want: []string{"b=1", `a="x"`}},
		"any value":              {in: `{"a":null,"b":[1, 2],"c":{"d":{}},"e":-1.5e3,"f":true}`, want: []string{"a=null", "b=[1, 2]", `c={"d":{}}`, "e=-1.5e3", "f=true"}},
		"keys differ in case":    {in: `{"a":1,"A":2}`, want: []string{"a=1", "A=2"}},
		"empty key":              {in: `{"":1}`, want: []string{"=1"}},
		"escaped key":            {in: `{"\u0061\n":1}`, want: []string{"a\n=1"}},
		"replacement character":  {in: `{"` + "\uFFFD" + `":"\ufffd"}`, want: []string{"\uFFFD" + `="\ufffd"`}},
		"surrogate pair as key":  {in: `{"\uD83d\uDE00":1}`, want: []string{"😀=1"}},
		"object within not read": {in: `{"a":{"b":1,"b":2}}`, want: []string{`a={"b":1,"b":2}`}},

		"nothing":                {in: ``, err: strictjson.ErrSyntax},
		"only white space":       {in: "  ", err: strictjson.ErrSyntax},
		"byte order mark":        {in: "\uFEFF{}", err: strictjson.ErrSyntax},
		"array":                  {in: `[]`, err: strictjson.ErrNotObject},
		"string":                 {in: `"{}"`, err: strictjson.ErrNotObject},
		"null":                   {in: `null`, err: strictjson.ErrNotObject},
		"only open":              {in: `{`, err: strictjson.ErrSyntax},
		"open behind a member":   {in: `{"a":1`, want: []string{"a=1"}, err: strictjson.ErrSyntax},
		"open behind a comma":    {in: `{"a":1,`, want: []string{"a=1"}, err: strictjson.ErrSyntax},
		"comma at the end":       {in: `{"a":1,}`, want: []string{"a=1"}, err: strictjson.ErrSyntax},
		"comma at the start":     {in: `{,"a":1}`, err: strictjson.ErrSyntax},
		"no comma":               {in: `{"a":1 "b":2}`, want: []string{"a=1"}, err: strictjson.ErrSyntax},
		"wrong bracket":          {in: `{"a":1]`, want: []string{"a=1"}, err: strictjson.ErrSyntax},
		"key without quotes":     {in: `{a:1}`, err: strictjson.ErrSyntax},
		"key is a number":        {in: `{1:1}`, err: strictjson.ErrSyntax},
		"key is an object":       {in: `{{}:1}`, err: strictjson.ErrSyntax},
		"key is not closed":      {in: `{"a`, err: strictjson.ErrSyntax},
		"no colon":               {in: `{"a" 1}`, err: strictjson.ErrSyntax, key: "a"},
		"no value":               {in: `{"a":}`, err: strictjson.ErrSyntax, key: "a"},
		"value is cut":           {in: `{"a":"b`, err: strictjson.ErrSyntax, key: "a"},
		"value is no JSON":       {in: `{"a":1,"b":undefined}`, want: []string{"a=1"}, err: strictjson.ErrSyntax, key: "b"},
		"too deep":               {in: `{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, err: strictjson.ErrSyntax, key: "a"},
		"key given twice":        {in: `{"a":1,"a":1}`, want: []string{"a=1"}, err: strictjson.ErrDuplicateKey, key: "a"},
		"twice, once escaped":    {in: `{"a":1,"\u0061":1}`, want: []string{"a=1"}, err: strictjson.ErrDuplicateKey, key: "a"},
		"invalid UTF-8 in a key": {in: "{\"a\xff\":1}", err: strictjson.ErrUTF8, key: "a\uFFFD"},
		"in a value":             {in: "{\"a\":\"\xff\"}", err: strictjson.ErrUTF8, key: "a"},
		"in a value within":      {in: "{\"a\":[{\"b\":\"\xc0\x80\"}]}", err: strictjson.ErrUTF8, key: "a"},
		"in white space":         {in: "{\xff}", err: strictjson.ErrSyntax},
		"half a pair in a key":   {in: `{"\ud83d":1}`, err: strictjson.ErrUTF8, key: "\uFFFD"},
		"data behind":            {in: `{}x`, err: strictjson.ErrTrailing},
		"object behind":          {in: `{} {}`, err: strictjson.ErrTrailing},
		"brace behind":           {in: `{}}`, err: strictjson.ErrTrailing},
		"NUL behind":             {in: "{}\x00", err: strictjson.ErrTrailing},
		"invalid UTF-8 behind":   {in: "{}\xff", err: strictjson.ErrTrailing},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := read(tt.in)
			require.Equal(t, tt.want, got)
			require.ErrorIs(t, err, tt.err)
			var at *strictjson.KeyError
			if errors.As(err, &at) {
				require.Equal(t, tt.key, at.Key)
				require.Contains(t, err.Error(), "key ")
			} else {
				require.Empty(t, tt.key, "the error names no key: %v", err)
			}
		})
	}
}

func TestObjectReturnsTheErrorOfFieldAsItIs(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	err := strictjson.Object([]byte(`{"a":1,"b":2,`), func(string, json.RawMessage) error {
		calls++
		return stop
	})
	require.Equal(t, stop, err)
	require.Equal(t, 1, calls)
}

func TestString(t *testing.T) {
	for name, tt := range map[string]struct {
		in, want string
		err      error
	}{
		"plain":               {in: `"busy"`, want: "busy"},
		"empty":               {in: `""`},
		"escapes":             {in: `"\"\\\/\b\f\n\r\t\u0000\u00e9"`, want: "\"\\/\b\f\n\r\t\x00é"},
		"surrogate pair":      {in: `"a\ud83d\uDE00b"`, want: "a😀b"},
		"two pairs":           {in: `"\ud83d\ude00\ud83d\ude00"`, want: "😀😀"},
		"escaped backslash":   {in: `"\\ud83d"`, want: `\ud83d`},
		"replacement by hand": {in: `"\ufffd"`, want: "\uFFFD"},

		"nothing":               {in: ``, err: strictjson.ErrNotString},
		"null":                  {in: `null`, err: strictjson.ErrNotString},
		"number":                {in: `1`, err: strictjson.ErrNotString},
		"list":                  {in: `["a"]`, err: strictjson.ErrNotString},
		"not closed":            {in: `"a`, err: strictjson.ErrSyntax},
		"only a quote":          {in: `"`, err: strictjson.ErrSyntax},
		"cut in an escape":      {in: `"\u12`, err: strictjson.ErrSyntax},
		"no such escape":        {in: `"\x41"`, err: strictjson.ErrSyntax},
		"control character":     {in: "\"\n\"", err: strictjson.ErrSyntax},
		"invalid UTF-8":         {in: "\"\xff\"", err: strictjson.ErrUTF8},
		"first half alone":      {in: `"\ud83d"`, err: strictjson.ErrUTF8},
		"first half before x":   {in: `"\ud83dx\ude00"`, err: strictjson.ErrUTF8},
		"first half before \\n": {in: `"\ud83d\n"`, err: strictjson.ErrUTF8},
		"first half twice":      {in: `"\uDBFF\uD800"`, err: strictjson.ErrUTF8},
		"second half alone":     {in: `"\uDC00"`, err: strictjson.ErrUTF8},
		"second half twice":     {in: `"\ud83d\ude00\uDFFF"`, err: strictjson.ErrUTF8},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := strictjson.String(json.RawMessage(tt.in))
			require.ErrorIs(t, err, tt.err)
			require.Equal(t, tt.want, got)
		})
	}
}

// The wanted texts are what node's JSON.stringify prints.
func TestAppendString(t *testing.T) {
	for in, want := range map[string]string{
		"":                           `""`,
		"In a meeting":               `"In a meeting"`,
		`a"b\c/`:                     `"a\"b\\c/"`,
		"\b\f\n\r\t":                 `"\b\f\n\r\t"`,
		"\x00\x01\x0b\x1f":           `"\u0000\u0001\u000b\u001f"`,
		"<b>&amp;'</b>":              `"<b>&amp;'</b>"`,
		"\x7f\u0080\u2028\u2029é😀":   "\"\x7f\u0080\u2028\u2029é😀\"",
		"a\xffb":                     "\"a\uFFFDb\"",
		"\xc0\x80":                   "\"\uFFFD\"",
		"before\nin between\nbehind": `"before\nin between\nbehind"`,
	} {
		require.Equal(t, want, string(strictjson.AppendString(nil, in)))
		require.Equal(t, "x"+want, string(strictjson.AppendString([]byte("x"), in)))
	}
}

// FuzzObject compares Object with encoding/json. Whatever Object accepts,
// encoding/json accepts with the same meaning. Whatever Object refuses has the
// fault that its error names.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1,"b":[{"c":null}]}`, `{"a":1,"a":2}`, `{"\ud83d\ude00":"\ud83d"}`, "{\"a\xff\":\"\xff\"}",
		`{"a":"\\ud83d\n\u0000"} x`, `[1]`, `{"a" 1}`, `{"a":tru`, "\uFEFF{}", `{"":{"":{}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := make(map[string]json.RawMessage)
		err := strictjson.Object(data, func(key string, value json.RawMessage) error {
			require.NotContains(t, got, key)
			require.Equal(t, bytes.TrimSpace(value), []byte(value))
			got[key] = bytes.Clone(value)
			if s, err := strictjson.String(value); err == nil {
				again, err := strictjson.String(strictjson.AppendString(nil, s))
				require.NoError(t, err)
				require.Equal(t, s, again)
				// Nothing was replaced: every U+FFFD in the value was in the input.
				held := strings.Count(string(value), "\uFFFD") + strings.Count(strings.ToLower(string(value)), `\ufffd`)
				require.GreaterOrEqual(t, held, strings.Count(s, "\uFFFD"))
			}
			return nil
		})
		var want map[string]json.RawMessage
		lax := json.Unmarshal(data, &want)
		switch {
		case err == nil:
			require.NoError(t, lax)
			require.Equal(t, want, got)
		case errors.Is(err, strictjson.ErrUTF8), errors.Is(err, strictjson.ErrDuplicateKey):
			var at *strictjson.KeyError
			require.ErrorAs(t, err, &at)
		case errors.Is(err, strictjson.ErrNotObject):
			require.True(t, lax != nil || want == nil)
		default:
			require.Error(t, lax)
			require.True(t, errors.Is(err, strictjson.ErrSyntax) || errors.Is(err, strictjson.ErrTrailing))
		}
	})
}
