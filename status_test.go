package customstatus_test

import (
	"encoding/json"
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
		"null":            `{"name":null}`,
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
