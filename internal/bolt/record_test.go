package bolt

import (
	"bytes"
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/sentinel"
)

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for _, r := range []Record{
		{},
		{ID: "a", Name: "b", Type: "busy", Metadata: "c", Revision: 1, UpdatedAt: 1_700_000_000_123},
		{ID: "\x00\xff", Name: strings.Repeat("😀", 120), Type: "something else", Metadata: "\xff\x00\xC5", Revision: 1 << 63},
		{ID: strings.Repeat("i", 1<<16-1), Name: strings.Repeat("n", 1<<16-1), Type: strings.Repeat("t", 1<<16-1), Metadata: strings.Repeat("m", 1<<16-1)},
		{ID: "first", UpdatedAt: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()},
		{ID: "last", UpdatedAt: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli()},
	} {
		for _, typ := range []string{r.Type, "online", "away", "busy", "offline", ""} {
			for _, tag := range []Tag{0, TagOf("other")} {
				r.Type = typ
				b, sum := AppendRecord([]byte("before"), tag, &r)
				b = b[len("before"):]
				require.Len(t, b, RecordBytes(&r))
				require.LessOrEqual(t, len(b), MaxRecordBytes)
				got, gotSum, err := DecodeRecord(b, tag)
				require.NoError(t, err)
				require.Equal(t, r, got)
				require.Equal(t, sum, gotSum)
				_, _, err = DecodeRecord(b, tag+1)
				require.ErrorContains(t, err, "another catalog")
				// The record is found with other bytes behind it.
				got, gotTag, _, size, err := ScanRecord(append(b, "behind"...))
				require.NoError(t, err)
				require.Equal(t, len(b), size)
				require.Equal(t, r, got)
				require.Equal(t, tag, gotTag)
				_, _, err = DecodeRecord(append(b, 0), tag)
				require.Error(t, err)
			}
		}
	}
}

// Every later version must read today's files.
func TestStoredFormsStayAsTheyAre(t *testing.T) {
	r := Record{ID: "id", Name: "n", Type: "busy", Metadata: "{}", UpdatedAt: 1, Revision: 2}
	b, _ := AppendRecord(nil, TagOf("x"), &r)
	require.Equal(t, "\xC5\x02\xa9<_\x93"+"\x00\x00\x00\x00\x00\x00\x00\x02"+"\x00\x00\x00\x00\x00\x00\x00\x01"+
		"\x00\x02\x00\x01\x00\x04\x00\x02"+"idnbusy{}", string(b[:len(b)-8]))
	require.Zero(t, TagOf(""))
	state := State{Revision: 1, Count: 2, Digest: 3, Fingerprint: 4, Transaction: 5}.Encode()
	want := []byte{0, 0, 0, 2}
	for i := range uint64(5) {
		want = binary.BigEndian.AppendUint64(want, i+1)
	}
	require.Equal(t, want, state[:len(state)-8])
	require.Equal(t, "customstatus.meta", StateBucket(""))
	require.Equal(t, "customstatus.records", RecordBucket(""))
	require.Equal(t, "customstatus.meta/rooms", StateBucket("rooms"))
	require.Equal(t, "customstatus.records/rooms", RecordBucket("rooms"))
}

func TestDecodeRecordFindsEveryFlippedBit(t *testing.T) {
	r := Record{ID: "an id", Name: "a name", Type: "busy", Metadata: "more", Revision: 7, UpdatedAt: 99}
	b, _ := AppendRecord(nil, 0, &r)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			_, _, err := DecodeRecord(b, 0)
			require.Error(t, err)
			b[i] ^= 1 << bit
		}
		_, _, err := DecodeRecord(b[:i], 0)
		require.Error(t, err)
	}
}

// seal writes the right checksum.
func seal(b []byte) []byte {
	binary.BigEndian.PutUint64(b[len(b)-8:], Sum(b[:len(b)-8]))
	return b
}

func TestDecodeStateTellsOtherFormatsFromDamage(t *testing.T) {
	state := State{Revision: 3, Count: 2, Digest: 1 << 60, Fingerprint: 1 << 59, Transaction: 9}
	b := state.Encode()
	got, err := DecodeState(b)
	require.NoError(t, err)
	require.Equal(t, state, got)
	for i := range b {
		_, err := DecodeState(b[:i])
		require.ErrorIs(t, err, sentinel.ErrDamaged)
		for bit := range 8 {
			b[i] ^= 1 << bit
			_, err := DecodeState(b)
			require.ErrorIs(t, err, sentinel.ErrDamaged)
			b[i] ^= 1 << bit
		}
	}
	newer := append(bytes.Clone(b), "what it says and the room for a checksum"...)
	newer[3] = format + 1
	_, err = DecodeState(seal(newer))
	require.ErrorContains(t, err, "newer version")
	require.NotErrorIs(t, err, sentinel.ErrDamaged)
	newer[3] = format
	_, err = DecodeState(seal(newer))
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	newer[3] = 0
	_, err = DecodeState(seal(newer))
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	first := bytes.Clone(b[:4+4*8+8]) // as long as it was
	first[3] = 1
	_, err = DecodeState(seal(first))
	require.ErrorContains(t, err, "format 1 by customstatus before its first release")
	require.NotErrorIs(t, err, sentinel.ErrDamaged)
}

func TestOpenRefusesOtherFormats(t *testing.T) {
	for says, format := range map[string]byte{"newer version": format + 1, "before its first release": 1} {
		path := tempPath(t)
		s, err := Open(path, nil)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		state := s.last.Encode()
		at := bytes.Index(file, state)
		require.Positive(t, at)
		require.Equal(t, at, bytes.LastIndex(file, state))
		state[3] = format
		copy(file[at:], seal(state))
		require.NoError(t, os.WriteFile(path, file, 0o600))
		_, err = Open(path, nil)
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, path)
		require.NotErrorIs(t, err, sentinel.ErrDamaged)
	}
}

func TestStateCountsRecordsInAndOut(t *testing.T) {
	var s State
	s.Add(1, 10)
	s.Add(2, 20)
	s.Add(1<<63, 1<<63)
	one := s
	s.Remove(2, 20)
	s.Add(3, 20)
	require.NotEqual(t, one, s)
	require.Equal(t, one.Fingerprint, s.Fingerprint)
	s.Remove(3, 20)
	s.Add(2, 20)
	require.Equal(t, one, s)
	// Opposite changes of two records do not cancel each other out.
	var a, b State
	a.Add(0b1010, 0)
	a.Add(0b0101, 0)
	b.Add(0b1110, 0)
	b.Add(0b0001, 0)
	require.NotEqual(t, a, b)
	s.Remove(1, 10)
	s.Remove(2, 20)
	s.Remove(1<<63, 1<<63)
	require.Zero(t, s)
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range []Record{
		{ID: "65462e97a2f73c7460e18f84", Name: "caught up again", Type: "busy", Metadata: `{"emoji":":x:"}`, Revision: 1, UpdatedAt: 1699098688353},
		{ID: "x"},
	} {
		b, _ := AppendRecord(nil, 0, &r)
		f.Add(b, true)
		f.Add(b[:len(b)-1], false)
		b[recordLengths+1]++
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed && len(b) >= MinRecordBytes { // to get behind the checksum
			seal(b)
		}
		r, tag, sum, size, err := ScanRecord(b)
		if err != nil {
			return
		}
		again, sumAgain := AppendRecord(nil, tag, &r)
		if !bytes.Equal(again, b[:size]) || sum != sumAgain {
			t.Fatalf("%q is read as %v, which is written as %q", b[:size], r, again)
		}
		clear(b)
		if got, _ := AppendRecord(nil, tag, &r); !bytes.Equal(got, again) {
			t.Fatal("what was decoded refers to the input")
		}
	})
}
