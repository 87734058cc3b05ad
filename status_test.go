package customstatus_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestStatusJSON(t *testing.T) {
	at := func(s string) time.Time {
		t.Helper()
		v, err := time.Parse(time.RFC3339Nano, s)
		require.NoError(t, err)
		return v.UTC()
	}
	for name, tt := range map[string]struct {
		status customstatus.CustomUserStatus
		json   string
	}{
		"the documented update": {
			customstatus.CustomUserStatus{ID: "65462e97a2f73c7460e18f84", Name: "caught up again", StatusType: customstatus.Busy, UpdatedAt: at("2023-11-04T11:51:28.353Z")},
			`{"_id":"65462e97a2f73c7460e18f84","name":"caught up again","statusType":"busy","_updatedAt":"2023-11-04T11:51:28.353Z"}`,
		},
		"zeros of the fraction stay": {
			customstatus.CustomUserStatus{ID: "a", Name: "b", StatusType: customstatus.Away, UpdatedAt: at("2021-09-26T14:03:43.8Z")},
			`{"_id":"a","name":"b","statusType":"away","_updatedAt":"2021-09-26T14:03:43.800Z"}`,
		},
		"a whole second": {
			customstatus.CustomUserStatus{ID: "a", Name: "b", StatusType: customstatus.Online, UpdatedAt: at("2021-09-26T14:03:43Z")},
			`{"_id":"a","name":"b","statusType":"online","_updatedAt":"2021-09-26T14:03:43.000Z"}`,
		},
		"no status type": {
			customstatus.CustomUserStatus{ID: "a", Name: "b", UpdatedAt: at("0000-01-01T00:00:00Z")},
			`{"_id":"a","name":"b","statusType":"","_updatedAt":"0000-01-01T00:00:00.000Z"}`,
		},
		"not escaped as HTML": {
			customstatus.CustomUserStatus{ID: `<"&\>`, Name: "é 🎧 \u2028", StatusType: customstatus.Offline, UpdatedAt: at("9999-12-31T23:59:59.999Z")},
			`{"_id":"<\"&\\>","name":"é 🎧 ` + "\u2028" + `","statusType":"offline","_updatedAt":"9999-12-31T23:59:59.999Z"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, "x"+tt.json, string(tt.status.AppendJSON([]byte("x"))))

			var back customstatus.CustomUserStatus
			require.NoError(t, json.Unmarshal([]byte(tt.json), &back))
			require.Equal(t, tt.status, back)
		})
	}

	// encoding/json escapes for HTML what a Marshaler gives it; the value is
	// the same.
	marshalled, err := json.Marshal(customstatus.CustomUserStatus{ID: "<", UpdatedAt: at("2021-09-26T14:03:43.057+02:00")})
	require.NoError(t, err)
	require.Equal(t, `{"_id":"\u003c","name":"","statusType":"","_updatedAt":"2021-09-26T12:03:43.057Z"}`, string(marshalled))
}

func TestStatusUnmarshalJSON(t *testing.T) {
	t.Run("OK", func(t *testing.T) {
		s := customstatus.CustomUserStatus{Name: "before", Revision: 9}
		require.NoError(t, s.UnmarshalJSON([]byte(`{"_updatedAt":"2021-09-26T16:03:43.0579+02:00","_id":"x","more":[1,{}]}`)))
		require.Equal(t, customstatus.CustomUserStatus{ID: "x", UpdatedAt: time.Date(2021, 9, 26, 14, 3, 43, 57e6, time.UTC)}, s)
	})
	for name, in := range map[string]string{
		"no object":       `[]`,
		"cut":             `{"_id":"x"`,
		"more behind":     `{"_id":"x"} 1`,
		"twice":           `{"name":"x","name":"x"}`,
		"not a string":    `{"name":1}`,
		"not a time":      `{"_updatedAt":"yesterday"}`,
		"time is number":  `{"_updatedAt":1}`,
		"invalid UTF-8":   "{\"name\":\"\xff\"}",
		"lone surrogate":  `{"name":"\ud800"}`,
		"surrogate order": `{"name":"\udc00\ud800"}`,
	} {
		t.Run("Err "+name, func(t *testing.T) {
			before := customstatus.CustomUserStatus{ID: "before"}
			s := before
			require.Error(t, s.UnmarshalJSON([]byte(in)))
			require.Equal(t, before, s, "a failure leaves the status as it was")
		})
	}
}

func TestStatusType(t *testing.T) {
	for _, valid := range []customstatus.StatusType{"online", "away", "busy", "offline"} {
		require.True(t, valid.Valid(), valid)
	}
	for _, invalid := range []customstatus.StatusType{"", "Online", "busy ", "invisible"} {
		require.False(t, invalid.Valid(), invalid)
	}
}

// Null is no status and no value, as with any type of encoding/json.
func TestStatusJSONNull(t *testing.T) {
	there := customstatus.CustomUserStatus{ID: "a", Name: "b"}
	s := there
	require.NoError(t, json.Unmarshal([]byte("null"), &s))
	require.Equal(t, there, s)
	var all []customstatus.CustomUserStatus
	require.NoError(t, json.Unmarshal([]byte(`[null,{"_id":"a","name":"b","statusType":null,"_updatedAt":null,"metadata":null}]`), &all))
	require.Equal(t, []customstatus.CustomUserStatus{{}, there}, all)
}

func TestExportJSON(t *testing.T) {
	s := customstatus.CustomUserStatus{ID: "a", Name: "b", StatusType: "busy", UpdatedAt: time.Date(2023, 11, 4, 11, 51, 28, 353e6, time.UTC)}
	const wire = `{"_id":"a","name":"b","statusType":"busy","_updatedAt":"2023-11-04T11:51:28.353Z"`
	for metadata, want := range map[string]string{
		"":                 wire + `}`,
		`{"emoji":"🎧"}`:    wire + `,"metadata":"{\"emoji\":\"🎧\"}"}`,
		"\x00\t":           wire + `,"metadata":"\u0000\t"}`,
		"\xff\x00 invalid": wire + `,"metadataBase64":"/wAgaW52YWxpZA=="}`,
	} {
		s.Metadata = metadata
		require.Equal(t, want, string(s.AppendExportJSON(nil)))
		require.Equal(t, wire+"}", string(s.AppendJSON(nil)), "it is not on the wire")
		var back customstatus.CustomUserStatus
		require.NoError(t, json.Unmarshal(s.AppendExportJSON(nil), &back))
		require.Equal(t, s, back)
	}
	require.ErrorContains(t, json.Unmarshal([]byte(`{"metadataBase64":"*"}`), &s), "metadataBase64")
}

func TestPosition(t *testing.T) {
	for text, p := range map[string]customstatus.Position{
		"0-0000000000000000":                    {},
		"42-9f3a07c1d2e4b586":                   {Revision: 42, Fingerprint: 0x9f3a07c1d2e4b586},
		"18446744073709551615-ffffffffffffffff": {Revision: 1<<64 - 1, Fingerprint: 1<<64 - 1},
	} {
		require.Equal(t, text, p.String())
		back, err := customstatus.ParsePosition(text)
		require.NoError(t, err)
		require.Equal(t, p, back)
		inJSON, err := json.Marshal(p)
		require.NoError(t, err)
		require.Equal(t, `"`+text+`"`, string(inJSON))
		require.NoError(t, json.Unmarshal(inJSON, &back))
		require.Equal(t, p, back)
	}
	for _, text := range []string{
		"", "42", "42-", "-9f3a07c1d2e4b586", "42-9f3a07c1d2e4b58", "42-09f3a07c1d2e4b586", "42-9F3A07C1D2E4B586",
		"042-9f3a07c1d2e4b586", "+42-9f3a07c1d2e4b586", " 42-9f3a07c1d2e4b586", "42-9f3a07c1d2e4b586 ", "4-2-9f3a07c1d2e4b586",
		"18446744073709551616-ffffffffffffffff", "x-9f3a07c1d2e4b586", "42-9f3a07c1d2e4b58g",
	} {
		_, err := customstatus.ParsePosition(text)
		require.Error(t, err, text)
		p := customstatus.Position{Revision: 1}
		require.Error(t, p.UnmarshalText([]byte(text)))
		require.Equal(t, customstatus.Position{Revision: 1}, p)
	}
}

func TestChange(t *testing.T) {
	a, b := customstatus.CustomUserStatus{ID: "x", Name: "a"}, customstatus.CustomUserStatus{ID: "x", Name: "b"}
	for _, c := range []customstatus.Change{
		{Kind: customstatus.Created, After: b}, {Kind: customstatus.Updated, Before: a, After: b}, {Kind: customstatus.Deleted, Before: b},
	} {
		require.Equal(t, b, c.Status())
		require.Equal(t, "x", c.ID())
	}
	require.Equal(t, "created updated deleted ChangeKind(4)", fmt.Sprint(customstatus.Created, customstatus.Updated, customstatus.Deleted, customstatus.ChangeKind(4)))
}
