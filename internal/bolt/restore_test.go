package bolt

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRestoreRecord(t *testing.T) {
	t.Parallel()
	want := Record{ID: "the id", Name: "name", Type: "busy", Metadata: "{}", UpdatedAt: 1700000000123, Revision: 7}
	const tag = 42
	sound, sum := AppendRecord(nil, tag, &want)
	for i := range sound {
		b := bytes.Clone(sound)
		b[i] ^= 0x55
		got, gotSum, ok := RestoreRecord(b, tag, want.ID)
		start := i < recordRevision                   // magic, format and tag
		length := i/2 == recordLengths/2              // of the id
		id := i >= recordHeader && i < recordHeader+6 // the id
		require.Equal(t, start || length || id, ok, "byte %d", i)
		require.Equal(t, !id, SaysID(b, want.ID), "byte %d", i)
		if ok {
			require.Equal(t, want, got)
			require.Equal(t, sum, gotSum)
		}
	}

	across := bytes.Clone(sound) // and with the end of the key
	clear(across[:recordRevision])
	got, _, ok := RestoreRecord(across, tag, "the i\x00")
	require.True(t, ok)
	require.Equal(t, want, got)

	for what, b := range map[string][]byte{"nothing": nil, "the start": sound[:MinRecordBytes], "most": sound[:len(sound)-1]} {
		_, _, ok = RestoreRecord(b, tag, want.ID)
		require.False(t, ok, what)
		require.False(t, SaysID(b[:min(len(b), MinRecordBytes)], want.ID))
	}
	_, _, ok = RestoreRecord(sound, tag+1, want.ID)
	require.False(t, ok, "another catalog's")
	require.False(t, SaysID(sound, "the i!"))
}
