package customstatus_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestRules(t *testing.T) {
	long := strings.Repeat("🎧", customstatus.MaxNameCharacters)
	fields := func(name string, statusType customstatus.StatusType) customstatus.Fields {
		return customstatus.Fields{Name: name, StatusType: statusType}
	}
	nameRequired := &customstatus.Error{Code: "error-the-field-is-required", Field: "name"}
	typeRequired := &customstatus.Error{Code: "error-the-field-is-required", Field: "statusType"}
	badName := func(name, detail string) *customstatus.Error {
		return &customstatus.Error{Code: "error-input-is-not-a-valid-field", Field: "name", Input: name, Detail: detail}
	}
	badType := func(statusType string) *customstatus.Error {
		return &customstatus.Error{Code: "error-input-is-not-a-valid-field", Field: "statusType", Input: statusType, Detail: "it must be online, away, busy or offline"}
	}
	const (
		markup  = `it has one of > < & " '`
		control = "it has a control character"
		tooLong = "it has more than 120 characters"
	)
	for name, tt := range map[string]struct {
		fields customstatus.Fields
		want   *customstatus.Error
	}{
		"OK":                       {fields("vacay1", "online"), nil},
		"OK one character":         {fields("x", "away"), nil},
		"OK spaces are kept":       {fields("  in a meeting ", "busy"), nil},
		"OK longest":               {fields(long, "offline"), nil},
		"OK other punctuation":     {fields("50% off; (really) [x] /\\ `~#", "offline"), nil},
		"ErrName missing":          {fields("", ""), nameRequired},
		"ErrName white space":      {fields(" \t\n\u00a0\u2003", "busy"), nameRequired},
		"ErrName invisible":        {fields("\ufeff\u200b \u3164\u2800\ufe0f", "busy"), nameRequired},
		"ErrName byte order mark":  {fields("\ufeff", "busy"), nameRequired},
		"OK emoji of several":      {fields("👩\u200d💻", "busy"), nil},
		"OK a seen mark":           {fields("\u0600", "busy"), nil},
		"ErrName before type":      {fields("", "Busy"), nameRequired},
		"ErrName >":                {fields("a>b", "busy"), badName("a>b", markup)},
		"ErrName <":                {fields("<", "busy"), badName("<", markup)},
		"ErrName &":                {fields("R&D", "busy"), badName("R&D", markup)},
		"ErrName double quote":     {fields(`"x"`, "busy"), badName(`"x"`, markup)},
		"ErrName quote":            {fields("don't", "busy"), badName("don't", markup)},
		"ErrName NUL":              {fields("a\x00", "busy"), badName("a\x00", control)},
		"ErrName line end":         {fields("a\nb", "busy"), badName("a\nb", control)},
		"ErrName DEL":              {fields("a\x7f", "busy"), badName("a\x7f", control)},
		"ErrName C1":               {fields("a\u0085b", "busy"), badName("a\u0085b", control)},
		"ErrName too long is cut":  {fields(long+"xyz", "busy"), badName(long, tooLong)},
		"ErrName huge is cut":      {fields(strings.Repeat("x", 1<<20), "busy"), badName(strings.Repeat("x", 120), tooLong)},
		"ErrName not UTF-8":        {fields("a\xffb", "busy"), badName("a\uFFFDb", "it is not valid UTF-8")},
		"ErrType missing":          {fields("x", ""), typeRequired},
		"ErrType case":             {fields("x", "Offline"), badType("Offline")},
		"ErrType unknown":          {fields("x", "invisible"), badType("invisible")},
		"ErrType too long is cut":  {fields("x", customstatus.StatusType(strings.Repeat("y", 500))), badType(strings.Repeat("y", 120))},
		"ErrType only white space": {fields("x", " "), badType(" ")},
	} {
		t.Run(name, func(t *testing.T) {
			err := customstatus.Rules{}.Check(tt.fields)
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			var got *customstatus.Error
			require.ErrorAs(t, err, &got)
			require.Equal(t, tt.want, got)
			sentinel := customstatus.ErrInvalid
			if tt.want.Code == customstatus.CodeRequired {
				sentinel = customstatus.ErrRequired
			}
			require.ErrorIs(t, err, sentinel)
		})
	}

	optional := customstatus.Rules{StatusTypeOptional: true}
	require.NoError(t, optional.Check(fields("x", "")))
	require.ErrorIs(t, optional.Check(fields("x", "Offline")), customstatus.ErrInvalid)
	require.ErrorIs(t, optional.Check(fields("", "")), customstatus.ErrRequired)
}

func FuzzRules(f *testing.F) {
	f.Add("vacay1", "online")
	f.Add(" \u2003", "")
	f.Add("a\xff", "Offline")
	f.Add(strings.Repeat("é", 121), "busy")
	f.Fuzz(func(t *testing.T, name, statusType string) {
		err := customstatus.Rules{}.Check(customstatus.Fields{Name: name, StatusType: customstatus.StatusType(statusType)})
		if err == nil {
			if !utf8.ValidString(name) || utf8.RuneCountInString(name) > customstatus.MaxNameCharacters || strings.ContainsAny(name, "<>&\"'\x00\n") {
				t.Fatalf("%q was taken", name)
			}
			return
		}
		var e *customstatus.Error
		if !errors.As(err, &e) || !errors.Is(err, customstatus.ErrRequired) && !errors.Is(err, customstatus.ErrInvalid) {
			t.Fatalf("undocumented error %v", err)
		}
		if !utf8.ValidString(e.Error()) || utf8.RuneCountInString(e.Input) > customstatus.MaxNameCharacters {
			t.Fatalf("%q answered with %q", name, e.Error())
		}
	})
}

func TestErrors(t *testing.T) {
	for code, want := range map[customstatus.Code]error{
		customstatus.CodeRequired:  customstatus.ErrRequired,
		customstatus.CodeInvalid:   customstatus.ErrInvalid,
		customstatus.CodeNameInUse: customstatus.ErrNameInUse,
		customstatus.CodeIDInUse:   customstatus.ErrIDInUse,
		customstatus.CodeNotFound:  customstatus.ErrNotFound,
		customstatus.CodeConflict:  customstatus.ErrConflict,
		customstatus.CodeFull:      customstatus.ErrFull,
		"of somebody else":         nil,
	} {
		require.Equal(t, want, errors.Unwrap(&customstatus.Error{Code: code}), code)
	}

	one := &customstatus.ImportError{Refused: []customstatus.Refusal{{Index: 3, Err: &customstatus.Error{Code: customstatus.CodeRequired, Field: "name"}}}}
	require.EqualError(t, one, "customstatus: import: status 3: name is required")
	one.Refused = append(one.Refused, customstatus.Refusal{Index: 5, Err: &customstatus.Error{Code: customstatus.CodeNameInUse}})
	require.EqualError(t, one, "customstatus: import: status 3: name is required (and 1 more)")
	require.ErrorIs(t, one, customstatus.ErrRequired)
	require.ErrorIs(t, one, customstatus.ErrNameInUse)
	require.EqualError(t, &customstatus.ImportError{}, "customstatus: import refused")
}

// An error says in plain English which status and which field it is about.
func TestErrorsInPlainEnglish(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{MaxStatuses: 2, NewID: func() string { return "id1" }})
	s := create(t, c, "Lunch", customstatus.Away)
	_, err := c.Import(ctx, []customstatus.CustomUserStatus{{ID: "id2", Name: "Dinner", StatusType: "busy"}})
	require.NoError(t, err)
	second := func(_ customstatus.CustomUserStatus, err error) error { return err }
	deleted := func(id string, opts *customstatus.WriteOptions) error {
		_, err := c.Delete(ctx, id, opts)
		return err
	}
	imported := func(s customstatus.CustomUserStatus) error {
		_, err := c.Import(ctx, []customstatus.CustomUserStatus{s})
		return err
	}
	for want, err := range map[string]error{
		`name is required`:        second(c.Create(ctx, customstatus.Fields{})),
		`status type is required`: second(c.Create(ctx, customstatus.Fields{Name: "x"})),
		`name "a\tb" is not valid: it has a control character`:                      second(c.Create(ctx, customstatus.Fields{Name: "a\tb", StatusType: "busy"})),
		`status type "Busy" is not valid: it must be online, away, busy or offline`: second(c.Create(ctx, customstatus.Fields{Name: "x", StatusType: "Busy"})),
		`the name "Lunch" belongs to status "id1"`:                                  second(c.Create(ctx, customstatus.Fields{Name: "Lunch", StatusType: "busy"})),
		`the catalog is full: it takes at most 2 statuses`:                          second(c.Create(ctx, customstatus.Fields{Name: "x", StatusType: "busy"})),
		`id is required`:              deleted("", nil),
		`no status has the id "no\n"`: deleted("no\n", nil),
		`status "id1" has changed: it is named "Lunch" and is at revision 1, not 7`: deleted(s.ID, &customstatus.WriteOptions{IfRevision: 7}),
		`no status has the name "x"`: second(c.GetByName("x")),
		`customstatus: import: status 0: the id "id1" is in use: by the status named "Lunch"`:                                             imported(customstatus.CustomUserStatus{ID: "id1", Name: "x", StatusType: "busy"}),
		`customstatus: import: status 0: id "a\x00" is not valid: it must be valid UTF-8 of at most 128 bytes without control characters`: imported(customstatus.CustomUserStatus{ID: "a\x00", Name: "x", StatusType: "busy"}),
		`customstatus: import: status 0: time of update "10000-01-01T00:00:00Z" is not valid: the year must be from 0 to 9999`:            imported(customstatus.CustomUserStatus{Name: "x", StatusType: "busy", UpdatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}),
		`something-new`: &customstatus.Error{Code: "something-new"},
		`too large`:     &customstatus.TooLargeError{},
	} {
		require.EqualError(t, err, want)
	}
}

// A rule of the host's sees every name that is written, and what it returns is
// checked and stored.
func TestNameRule(t *testing.T) {
	rules := customstatus.Rules{NameRule: func(name string) (string, error) {
		if strings.Contains(name, "secret") {
			return "", errors.New("it has a secret")
		}
		return strings.Trim(name, "."), nil
	}}
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Rules: rules})
	made, err := c.Create(ctx, customstatus.Fields{Name: "..lunch.", StatusType: "away"})
	require.NoError(t, err)
	require.Equal(t, "lunch", made.Name)
	made, err = c.Update(ctx, made.ID, customstatus.Fields{Name: "break.", StatusType: "away"}, nil)
	require.NoError(t, err)
	require.Equal(t, "break", made.Name)
	_, err = c.Create(ctx, customstatus.Fields{Name: "break...", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrNameInUse)
	_, err = c.Create(ctx, customstatus.Fields{Name: "...", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrRequired)
	refused := (*customstatus.Error)(nil)
	for _, write := range []func() error{
		func() error {
			_, err := c.Create(ctx, customstatus.Fields{Name: "a secret", StatusType: "busy"})
			return err
		},
		func() error {
			_, err := c.Update(ctx, made.ID, customstatus.Fields{Name: "a secret", StatusType: "busy"}, nil)
			return err
		},
		func() error {
			_, err := c.Import(ctx, []customstatus.CustomUserStatus{{Name: "a secret", StatusType: "busy"}})
			return err
		},
	} {
		err := write()
		require.ErrorIs(t, err, customstatus.ErrInvalid)
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "it has a secret", refused.Detail)
	}
	for range 2 { // the second time, all is there
		result, err := c.Import(ctx, []customstatus.CustomUserStatus{{ID: "1", Name: ".gym.", StatusType: "busy", UpdatedAt: start}})
		require.NoError(t, err)
		require.Equal(t, 1, result.Added+result.Unchanged)
	}
	_, err = c.GetByName("gym")
	require.NoError(t, err)
}
