package statusfile

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// The dates are those of the specification's examples and its limits: relaxed form
// from 1970 to 9999, three decimal places or none.
func TestAppendExtendedJSON(t *testing.T) {
	for ms, want := range map[int64]string{
		0:               `"1970-01-01T00:00:00Z"`,
		1:               `"1970-01-01T00:00:00.001Z"`,
		1356351330000:   `"2012-12-24T12:15:30Z"`,
		1356351330501:   `"2012-12-24T12:15:30.501Z"`,
		253402300799999: `"9999-12-31T23:59:59.999Z"`,
		-1:              `{"$numberLong":"-1"}`,
		-1000:           `{"$numberLong":"-1000"}`,
		-284643869501:   `{"$numberLong":"-284643869501"}`,
	} {
		s := customstatus.CustomUserStatus{ID: "1", Name: "a", StatusType: customstatus.Busy, UpdatedAt: time.UnixMilli(ms).UTC()}
		line := AppendExtendedJSON(nil, s)
		require.Equal(t, `{"_id":"1","name":"a","statusType":"busy","_updatedAt":{"$date":`+want+`}}`, string(line))
		again, err := parseStatus(line)
		require.NoError(t, err)
		require.Equal(t, s, again)
	}
	for metadata, want := range map[string]string{"{\"emoji\":\"🌴\"}": `"metadata":"{\"emoji\":\"🌴\"}"}`, "\xff\x00": `"metadataBase64":"/wA="}`} {
		s := customstatus.CustomUserStatus{ID: "65462e97a2f73c7460e18f84", Name: `"\ ` + "\u2028é🌴", Metadata: metadata, UpdatedAt: mediaTime}
		line := AppendExtendedJSON([]byte("x"), s)
		require.Contains(t, string(line), `x{"_id":"65462e97a2f73c7460e18f84","name":"\"\\ `+"\u2028é🌴"+`","statusType":"","_updatedAt":{"$date":"2023-11-04T11:51:28.353Z"},`+want)
		again, err := parseStatus(line[1:])
		require.NoError(t, err)
		require.Equal(t, s, again)
	}
}
