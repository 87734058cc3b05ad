package customstatus_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestRules(t *testing.T) {
	long := strings.Repeat("🎧", customstatus.MaxNameLength)
	fields := func(name string, statusType customstatus.StatusType) customstatus.Fields {
		return customstatus.Fields{Name: name, StatusType: statusType}
	}
	nameRequired := &customstatus.Error{Code: "error-the-field-is-required", Field: "Name", Reason: "The field Name is required"}
	typeRequired := &customstatus.Error{Code: "error-the-field-is-required", Field: "StatusType", Reason: "The field StatusType is required"}
	badName := func(name string) *customstatus.Error {
		return &customstatus.Error{Code: "error-input-is-not-a-valid-field", Field: "Name", Input: name, Reason: name + " is not a valid name"}
	}
	badType := func(statusType string) *customstatus.Error {
		return &customstatus.Error{Code: "error-input-is-not-a-valid-field", Field: "StatusType", Input: statusType, Reason: statusType + " is not a valid status type"}
	}
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
		"ErrName before type":      {fields("", "Busy"), nameRequired},
		"ErrName >":                {fields("a>b", "busy"), badName("a>b")},
		"ErrName <":                {fields("<", "busy"), badName("<")},
		"ErrName &":                {fields("R&D", "busy"), badName("R&D")},
		"ErrName double quote":     {fields(`"x"`, "busy"), badName(`"x"`)},
		"ErrName quote":            {fields("don't", "busy"), badName("don't")},
		"ErrName NUL":              {fields("a\x00", "busy"), badName("a\x00")},
		"ErrName line end":         {fields("a\nb", "busy"), badName("a\nb")},
		"ErrName DEL":              {fields("a\x7f", "busy"), badName("a\x7f")},
		"ErrName C1":               {fields("a\u0085b", "busy"), badName("a\u0085b")},
		"ErrName too long is cut":  {fields(long+"xyz", "busy"), badName(long)},
		"ErrName huge is cut":      {fields(strings.Repeat("x", 1<<20), "busy"), badName(strings.Repeat("x", 120))},
		"ErrName not UTF-8":        {fields("a\xffb", "busy"), badName("a\uFFFDb")},
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
			if !utf8.ValidString(name) || utf8.RuneCountInString(name) > customstatus.MaxNameLength || strings.ContainsAny(name, "<>&\"'\x00\n") {
				t.Fatalf("%q was taken", name)
			}
			return
		}
		var e *customstatus.Error
		if !errors.As(err, &e) || !errors.Is(err, customstatus.ErrRequired) && !errors.Is(err, customstatus.ErrInvalid) {
			t.Fatalf("undocumented error %v", err)
		}
		if !utf8.ValidString(e.Error()) || utf8.RuneCountInString(e.Input) > customstatus.MaxNameLength {
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
		"of somebody else":         nil,
	} {
		require.Equal(t, want, errors.Unwrap(&customstatus.Error{Code: code}), code)
	}
	require.EqualError(t, &customstatus.Error{Code: customstatus.CodeNameInUse, Reason: "The custom user status name is already in use"},
		"The custom user status name is already in use [Custom_User_Status_Error_Name_Already_In_Use]")

	one := &customstatus.ImportError{Records: []customstatus.RecordError{{Index: 3, Err: customstatus.ErrInvalid}}}
	require.EqualError(t, one, "customstatus: import: record 3: customstatus: field invalid")
	one.Records = append(one.Records, customstatus.RecordError{Index: 5, Err: &customstatus.Error{Code: customstatus.CodeNameInUse}})
	require.EqualError(t, one, "customstatus: import: record 3: customstatus: field invalid (and 1 more)")
	require.ErrorIs(t, one, customstatus.ErrInvalid)
	require.ErrorIs(t, one, customstatus.ErrNameInUse)
}
