package salvage

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/bolt"
	"github.com/stretchr/testify/require"
)

// FuzzSalvage looks for files for which salvage hangs, or returns a result that
// contradicts itself.
func FuzzSalvage(f *testing.F) {
	path := filepath.Join(f.TempDir(), "statuses.db")
	s := open(f, path, 512)
	for i := range 8 {
		id := string(rune('a' + i))
		commit(f, s, put(id, "name of "+id, 0))
	}
	commit(f, s, gone("c", 3))
	require.NoError(f, s.Close())
	file := read(f, path)
	f.Add(file[:20*512])
	f.Add(file[:3*512])
	f.Fuzz(func(t *testing.T, b []byte) {
		saved := salvage(bytes.NewReader(b), int64(len(b)), "")
		names := make(map[string]bool)
		for i, s := range saved.Statuses {
			if names[s.Name] || i > 0 && s.ID <= saved.Statuses[i-1].ID || s.Revision > saved.Revision {
				t.Fatalf("%v", saved.Statuses)
			}
			names[s.Name] = true
		}
		if !saved.Complete && len(saved.Problems) == 0 {
			t.Fatal("no problem names what is missing")
		}
	})
}

// badDisk is a file with one unreadable sector.
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
	var want []customstatus.CustomUserStatus
	for i := range 40 { // bare records: no way leads to them
		r := bolt.Record{ID: string(rune('A' + i)), Name: strings.Repeat("n", 50+i), Revision: 1}
		file, _ = bolt.AppendRecord(file, 0, &r)
		want = append(want, status(&r))
	}
	saved := salvage(bytes.NewReader(file), int64(len(file)), "")
	require.Equal(t, want, saved.Statuses)
	saved = salvage(badDisk{bytes.NewReader(file), 1000}, int64(len(file)), "")
	require.Less(t, len(saved.Statuses), len(want))
	require.Greater(t, len(saved.Statuses), len(want)/2)
	require.Contains(t, saved.Problems[len(saved.Problems)-1].Reason, "not known")
	found := false
	for _, p := range saved.Problems {
		found = found || strings.Contains(p.String(), errBadSector.Error())
	}
	require.True(t, found)

	// Records across the boundary between two steps of the search.
	long := append(make([]byte, 1<<20-100), file...)
	require.Equal(t, want, salvage(bytes.NewReader(long), int64(len(long)), "").Statuses)
}

func TestSalvageSettlesDisputesOverNames(t *testing.T) {
	record := func(id, name string, revision uint64) bolt.Record {
		return bolt.Record{ID: id, Name: name, Revision: revision}
	}
	as := func(id, name string, revision uint64) customstatus.CustomUserStatus {
		r := record(id, name, revision)
		return status(&r)
	}
	var file []byte
	for _, r := range []bolt.Record{
		record("a", "old of a", 1), record("a", "x", 3), record("b", "x", 2), record("c", "y", 2), record("b", "z", 1), record("d", "z", 4),
	} {
		file, _ = bolt.AppendRecord(file, 0, &r)
	}
	saved := salvage(bytes.NewReader(file), int64(len(file)), "")
	require.Equal(t, []customstatus.CustomUserStatus{as("a", "x", 3), as("c", "y", 2), as("d", "z", 4)}, saved.Statuses)
	require.EqualValues(t, 4, saved.Revision)
	found := false
	for _, p := range saved.Problems {
		found = found || p.Kind == LeftOut && p.Status == as("b", "x", 2) && strings.Contains(p.String(), `left out: the name belongs to status "a"`)
	}
	require.True(t, found)
}

// TestSalvageIsNotKeptBusy has a file full of what looks like the start of a
// large record. Reading each one to its end would take minutes.
func TestSalvageIsNotKeptBusy(t *testing.T) {
	record := func(id string, size int) bolt.Record {
		return bolt.Record{ID: id, Name: strings.Repeat("n", size), Revision: 1}
	}
	ids := func(file []byte) string {
		var ids strings.Builder
		for _, s := range salvage(bytes.NewReader(file), int64(len(file)), "").Statuses {
			ids.WriteString(s.ID)
		}
		return ids.String()
	}
	var records []byte
	for _, r := range []bolt.Record{record("A", 900), record("B", 60_000)} {
		records, _ = bolt.AppendRecord(records, 0, &r)
	}
	require.Equal(t, "AB", ids(records))
	flood := bytes.Repeat([]byte{bolt.RecordMagic, 2}, 8<<20)
	require.Equal(t, "A", ids(append(flood, records...)), "small ones are still found, large ones no longer looked for")
}
