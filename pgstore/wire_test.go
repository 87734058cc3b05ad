package pgstore

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func someChanges() []customstatus.Change {
	before := customstatus.CustomUserStatus{ID: "b", Revision: 7}
	after := customstatus.CustomUserStatus{ID: "a", Name: "\x00\xff", StatusType: "busy", Metadata: strings.Repeat("m", 300),
		UpdatedAt: time.UnixMilli(-62167219200000).UTC(), Revision: 9}
	renamed := after
	renamed.ID = "b"
	return []customstatus.Change{
		{Kind: customstatus.Created, After: after},
		{Kind: customstatus.Updated, Before: before, After: renamed},
		{Kind: customstatus.Deleted, Before: customstatus.CustomUserStatus{ID: "c", Revision: 1 << 62}},
	}
}

func TestChangesSurviveTheirEncoding(t *testing.T) {
	encoded := encodeChanges(someChanges())
	got, err := decodeChanges(encoded, 9)
	require.NoError(t, err)
	require.Equal(t, someChanges(), got)
	for i := range encoded {
		_, err := decodeChanges(encoded[:i], 9)
		require.ErrorIs(t, err, errEncoding, "the first %d bytes", i)
	}
	_, err = decodeChanges(append(encoded, 0), 9)
	require.ErrorIs(t, err, errEncoding)
}

func FuzzDecodeChanges(f *testing.F) {
	f.Add(encodeChanges(someChanges()))
	f.Add([]byte{1, 9, 0})
	f.Fuzz(func(t *testing.T, encoded []byte) {
		changes, err := decodeChanges(encoded, 9)
		if err != nil {
			return
		}
		again, err := decodeChanges(encodeChanges(changes), 9)
		require.NoError(t, err)
		require.Equal(t, changes, again)
	})
}
