package customstatus

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	for _, s := range []CustomUserStatus{
		{},
		{ID: "a", Name: "b", StatusType: Busy, Revision: 1, UpdatedAt: time.UnixMilli(1_700_000_000_123).UTC()},
		{ID: "\x00\xff", Name: strings.Repeat("😀", MaxNameLength), StatusType: "something else", Revision: 1 << 63},
		{ID: strings.Repeat("i", 1<<16-1), Name: strings.Repeat("n", 1<<16-1), StatusType: StatusType(strings.Repeat("t", 1<<16-1))},
		{ID: "first", UpdatedAt: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)},
		{ID: "last", UpdatedAt: time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)},
	} {
		if s.UpdatedAt.IsZero() {
			s.UpdatedAt = time.UnixMilli(0).UTC()
		}
		for _, statusType := range []StatusType{s.StatusType, Online, Away, Busy, Offline, ""} {
			s.StatusType = statusType
			b, sum := appendRecord([]byte("before"), &s)
			b = b[len("before"):]
			require.Len(t, b, recordSize(&s))
			got, gotSum, err := decodeRecord(b)
			require.NoError(t, err)
			require.Equal(t, s, got)
			require.Equal(t, sum, gotSum)
			// It ends where it says, and is found within other bytes.
			got, _, size, err := scanRecord(append(b, "behind"...))
			require.NoError(t, err)
			require.Equal(t, len(b), size)
			require.Equal(t, s, got)
			_, _, err = decodeRecord(append(b, 0))
			require.Error(t, err)
		}
	}
}

func TestDecodeRecordFindsEveryFlippedBit(t *testing.T) {
	s := CustomUserStatus{ID: "an id", Name: "a name", StatusType: Busy, Revision: 7, UpdatedAt: time.UnixMilli(99).UTC()}
	b, _ := appendRecord(nil, &s)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			_, _, err := decodeRecord(b)
			require.Error(t, err)
			b[i] ^= 1 << bit
		}
		_, _, err := decodeRecord(b[:i])
		require.Error(t, err)
	}
}

func TestDecodeStateTellsNewerFromDamaged(t *testing.T) {
	state := storedState{revision: 3, count: 2, digest: 1 << 60, transaction: 9}
	b := state.encode()
	got, err := decodeState(b)
	require.NoError(t, err)
	require.Equal(t, state, got)
	for i := range b {
		_, err := decodeState(b[:i])
		require.ErrorIs(t, err, ErrDamaged)
		for bit := range 8 {
			b[i] ^= 1 << bit
			_, err := decodeState(b)
			require.ErrorIs(t, err, ErrDamaged)
			b[i] ^= 1 << bit
		}
	}
	seal := func(b []byte) []byte {
		body := b[:len(b)-8]
		sum := sum64(body)
		for i := range 8 {
			b[len(b)-8+i] = byte(sum >> (56 - 8*i))
		}
		return b
	}
	newer := seal(append(bytes.Clone(b), "what it says and the room for a checksum"...))
	newer[3] = boltFormat + 1
	_, err = decodeState(seal(newer))
	require.ErrorContains(t, err, "newer version")
	require.NotErrorIs(t, err, ErrDamaged)
	newer[3] = boltFormat
	_, err = decodeState(seal(newer))
	require.ErrorIs(t, err, ErrDamaged)
	newer[3] = 0
	_, err = decodeState(seal(newer))
	require.ErrorIs(t, err, ErrDamaged)
}

func TestOpenBoltRefusesANewerFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "statuses.db")
	s, err := OpenBolt(path, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	state := s.last.encode()
	at := bytes.Index(file, state)
	require.Positive(t, at)
	require.Equal(t, at, bytes.LastIndex(file, state))
	state[3]++
	sum := sum64(state[:len(state)-8])
	for i := range 8 {
		state[len(state)-8+i] = byte(sum >> (56 - 8*i))
	}
	copy(file[at:], state)
	require.NoError(t, os.WriteFile(path, file, 0o600))
	_, err = OpenBolt(path, nil)
	require.ErrorContains(t, err, "newer version")
	require.ErrorContains(t, err, path)
	require.NotErrorIs(t, err, ErrDamaged)
}

func TestStoredStateCountsRecordsInAndOut(t *testing.T) {
	var s storedState
	s.add(1)
	s.add(2)
	s.add(1 << 63)
	one := s
	s.remove(2)
	s.add(3)
	require.NotEqual(t, one, s)
	s.remove(3)
	s.add(2)
	require.Equal(t, one, s)
	// Two records that trade a difference are not the same as before.
	var a, b storedState
	a.add(0b1010)
	a.add(0b0101)
	b.add(0b1110)
	b.add(0b0001)
	require.NotEqual(t, a, b)
	s.remove(1)
	s.remove(2)
	s.remove(1 << 63)
	require.Zero(t, s)
}

func FuzzDecodeRecord(f *testing.F) {
	for _, s := range []CustomUserStatus{
		{ID: "65462e97a2f73c7460e18f84", Name: "caught up again", StatusType: Busy, Revision: 1, UpdatedAt: time.UnixMilli(1699098688353).UTC()},
		{ID: "x"},
	} {
		b, _ := appendRecord(nil, &s)
		f.Add(b, true)
		f.Add(b[:len(b)-1], false)
		b[19]++
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed && len(b) >= recordMin { // to get behind the checksum
			sum := sum64(b[:len(b)-8])
			for i := range 8 {
				b[len(b)-8+i] = byte(sum >> (56 - 8*i))
			}
		}
		s, sum, size, err := scanRecord(b)
		if err != nil {
			return
		}
		again, sumAgain := appendRecord(nil, &s)
		if !bytes.Equal(again, b[:size]) || sum != sumAgain {
			t.Fatalf("%q is read as %v, which is written as %q", b[:size], s, again)
		}
		clear(b)
		if got, _ := appendRecord(nil, &s); !bytes.Equal(got, again) {
			t.Fatal("what was decoded refers to the input")
		}
	})
}

func FuzzSalvage(f *testing.F) {
	path := filepath.Join(f.TempDir(), "statuses.db")
	s, err := OpenBolt(path, &BoltOptions{Bolt: &bbolt.Options{PageSize: 512}})
	require.NoError(f, err)
	for i := range 8 {
		id := string(rune('a' + i))
		_, err := s.Commit(context.Background(), []Change{{Status: CustomUserStatus{ID: id, Name: "name of " + id}}})
		require.NoError(f, err)
	}
	_, err = s.Commit(context.Background(), []Change{{Replaces: 3, Deleted: true, Status: CustomUserStatus{ID: "c"}}})
	require.NoError(f, err)
	require.NoError(f, s.Close())
	file, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(file[:20*512])
	f.Add(file[:3*512])
	f.Fuzz(func(t *testing.T, b []byte) {
		saved := salvage(bytes.NewReader(b), int64(len(b)))
		names := make(map[string]bool)
		for i, s := range saved.Statuses {
			if names[s.Name] || i > 0 && s.ID <= saved.Statuses[i-1].ID || s.Revision > saved.Revision {
				t.Fatalf("%v", saved.Statuses)
			}
			names[s.Name] = true
		}
		if !saved.Complete && len(saved.Problems) == 0 {
			t.Fatal("no word of what is missing")
		}
	})
}

// badDisk can't read from one of its sectors.
type badDisk struct {
	*bytes.Reader
	at int64
}

var errBadSector = errors.New("input/output error")

func (d badDisk) ReadAt(b []byte, off int64) (int, error) {
	if off <= d.at && d.at < off+int64(len(b)) {
		return 0, errBadSector
	}
	return d.Reader.ReadAt(b, off)
}

func TestSalvageReadsAroundBadSectors(t *testing.T) {
	var file []byte
	var want []CustomUserStatus
	for i := range 40 { // bare records: no way leads to them
		s := CustomUserStatus{ID: string(rune('A' + i)), Name: strings.Repeat("n", 50+i), Revision: 1, UpdatedAt: time.UnixMilli(0).UTC()}
		file, _ = appendRecord(file, &s)
		want = append(want, s)
	}
	saved := salvage(bytes.NewReader(file), int64(len(file)))
	require.Equal(t, want, saved.Statuses)
	saved = salvage(badDisk{bytes.NewReader(file), 1000}, int64(len(file)))
	require.Less(t, len(saved.Statuses), len(want))
	require.Greater(t, len(saved.Statuses), len(want)/2)
	require.Contains(t, saved.Problems[len(saved.Problems)-1].Reason, "not known")
	found := false
	for _, p := range saved.Problems {
		found = found || strings.Contains(p.String(), errBadSector.Error())
	}
	require.True(t, found)

	// Records that stand where one step of the search ends.
	long := append(make([]byte, 1<<20-100), file...)
	require.Equal(t, want, salvage(bytes.NewReader(long), int64(len(long))).Statuses)
}

func TestSalvageSettlesDisputesOverNames(t *testing.T) {
	status := func(id, name string, revision Revision) CustomUserStatus {
		return CustomUserStatus{ID: id, Name: name, Revision: revision, UpdatedAt: time.UnixMilli(0).UTC()}
	}
	var file []byte
	for _, s := range []CustomUserStatus{
		status("a", "old of a", 1), status("a", "x", 3), status("b", "x", 2), status("c", "y", 2), status("b", "z", 1), status("d", "z", 4),
	} {
		file, _ = appendRecord(file, &s)
	}
	saved := salvage(bytes.NewReader(file), int64(len(file)))
	require.Equal(t, []CustomUserStatus{status("a", "x", 3), status("c", "y", 2), status("d", "z", 4)}, saved.Statuses)
	require.EqualValues(t, 4, saved.Revision)
	found := false
	for _, p := range saved.Problems {
		found = found || p.Status == status("b", "x", 2) && strings.Contains(p.Reason, `left out: the name belongs to status "a"`)
	}
	require.True(t, found)
}

// TestSalvageIsNotKeptBusy gives it a file full of what looks like the beginning of
// a large record, which would take minutes to read to the end each time.
func TestSalvageIsNotKeptBusy(t *testing.T) {
	status := func(id string, size int) CustomUserStatus {
		return CustomUserStatus{ID: id, Name: strings.Repeat("n", size), Revision: 1, UpdatedAt: time.UnixMilli(0).UTC()}
	}
	ids := func(file []byte) string {
		var ids string
		for _, s := range salvage(bytes.NewReader(file), int64(len(file))).Statuses {
			ids += s.ID
		}
		return ids
	}
	var records []byte
	for _, s := range []CustomUserStatus{status("A", 900), status("B", 60_000)} {
		records, _ = appendRecord(records, &s)
	}
	require.Equal(t, "AB", ids(records))
	flood := bytes.Repeat([]byte{recordMagic, boltFormat}, 8<<20)
	require.Equal(t, "A", ids(append(flood, records...)), "small ones are still found, large ones no longer looked for")
}

// TestFailedCommitBesideAnother is about a commit that fails, and another store of
// the database that commits before the first one looks what has become of its own.
func TestFailedCommitBesideAnother(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "host.db"), 0o600, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	create := func(s *BoltStore, id string) error {
		_, err := s.Commit(context.Background(), []Change{{Status: CustomUserStatus{ID: id, Name: id}}})
		return err
	}
	s, err := NewBoltStore(db)
	require.NoError(t, err)
	other, err := NewBoltStore(db)
	require.NoError(t, err)
	require.NoError(t, create(s, "a"))
	before := s.last
	require.NoError(t, create(other, "b"))
	require.ErrorIs(t, s.failed(errBadSector, before), ErrOutcomeUnknown)
	require.ErrorIs(t, create(s, "c"), ErrNeedsReopen)
	require.NoError(t, create(other, "c"))
}
