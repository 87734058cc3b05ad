package salvage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/bolt"
	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/churn"
	"github.com/customstatus/customstatus/internal/damage"
	"github.com/customstatus/customstatus/internal/sentinel"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// torture reports whether the long versions of the tests are to run.
func torture() bool { return os.Getenv("CUSTOMSTATUS_TORTURE") != "" }

// tempPath returns a path in a directory of the test's own.
func tempPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "statuses.db")
}

// open opens a store that does not sync, because no test here cuts the power.
func open(t testing.TB, path string, pageSize int) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path, &bolt.Options{Bolt: &bbolt.Options{PageSize: pageSize, NoSync: true, InitialMmapSize: 1}})
	require.NoError(t, err)
	return s
}

type changes []bolt.Change

func (c changes) Len() int             { return len(c) }
func (c changes) At(i int) bolt.Change { return c[i] }

func commit(t testing.TB, s *bolt.Store, all ...bolt.Change) uint64 {
	t.Helper()
	revision, err := s.Commit(context.Background(), changes(all))
	require.NoError(t, err)
	return revision
}

// put returns the change that creates a status or, if replaces is not 0,
// updates the status at that revision.
func put(id, name string, replaces uint64) bolt.Change {
	c := bolt.Change{Kind: bolt.Created, After: bolt.Record{ID: id, Name: name, Type: "busy", UpdatedAt: 1_700_000_000_123}}
	if replaces > 0 {
		c.Kind, c.BeforeID, c.Before = bolt.Updated, id, replaces
	}
	return c
}

// gone returns the change that deletes a status.
func gone(id string, replaces uint64) bolt.Change {
	return bolt.Change{Kind: bolt.Deleted, BeforeID: id, Before: replaces}
}

// contents has the statuses of a store or a result, by id.
type contents struct {
	revision customstatus.Revision
	statuses map[string]customstatus.CustomUserStatus
}

// equal is faster than require.Equal, for the many comparisons.
func (c contents) equal(other contents) bool {
	return c.revision == other.revision && maps.Equal(c.statuses, other.statuses)
}

func records(t testing.TB, s *bolt.Store) (map[string]bolt.Record, uint64) {
	t.Helper()
	all := make(map[string]bolt.Record)
	state, err := s.Load(context.Background(), func(_ int, r *bolt.Record) { all[r.ID] = *r })
	require.NoError(t, err)
	return all, state.Revision
}

func load(t testing.TB, s *bolt.Store) contents {
	t.Helper()
	all, revision := records(t, s)
	c := contents{customstatus.Revision(revision), make(map[string]customstatus.CustomUserStatus)}
	for id, r := range all {
		c.statuses[id] = status(&r)
	}
	return c
}

// byID returns a result as contents.
func byID(r *Result) contents {
	c := contents{r.Revision, make(map[string]customstatus.CustomUserStatus)}
	for _, s := range r.Statuses {
		c.statuses[s.ID] = s
	}
	return c
}

// problems returns the problems of r, one in a line.
func problems(r *Result) string {
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

// save salvages a file and requires that the file stays unchanged.
func save(t testing.TB, file []byte) *Result {
	t.Helper()
	path := tempPath(t)
	damage.Overwrite(t, path, file)
	saved, err := File(path, nil)
	require.NoError(t, err)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(file, after), "it was written to")
	return saved
}

// read reads a file.
func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

// survey explores a sound file.
func survey(t testing.TB, file []byte, visit func(page uint64, bucket string, key, value []byte)) *boltfile.Survey {
	t.Helper()
	if visit == nil {
		visit = func(uint64, string, []byte, []byte) {}
	}
	found := boltfile.Explore(bytes.NewReader(file), int64(len(file)), visit)
	require.Empty(t, found.Damages)
	return found
}

// history makes random changes.
type history struct{ *churn.Source }

func newHistory(seed uint64) history { return history{churn.New(seed)} }

// changes returns up to n changes of the given records.
func (h history) changes(now map[string]bolt.Record, n int) changes {
	var all changes
	ids := slices.Sorted(maps.Keys(now))
	for _, c := range h.Changes(n, ids, func(id string) (string, uint64) { return now[id].Name, now[id].Revision }) {
		if c.Deleted {
			all = append(all, gone(c.ID, c.Before))
			continue
		}
		changed := put(c.ID, c.Name, c.Before)
		changed.After.Type, changed.After.Metadata, changed.After.UpdatedAt = c.Type, c.Metadata, c.UpdatedAt
		all = append(all, changed)
	}
	return all
}

// run makes n commits and returns the store's contents afterwards.
func (h history) run(t testing.TB, n, size int, s *bolt.Store) contents {
	t.Helper()
	for range n {
		now, _ := records(t, s)
		if _, err := s.Commit(context.Background(), h.changes(now, size)); err != nil {
			require.ErrorIs(t, err, sentinel.ErrConflict)
		}
	}
	return load(t, s)
}

// image is a bbolt file made by many commits, updates and deletions included.
type image struct {
	file     []byte
	pageSize int
	want     contents
	records  map[string]bolt.Record // of want
	// past is the file some commits earlier, pasts is the file after each
	// commit.
	past  []byte
	pasts [][]byte
	// ever has every status at every revision.
	ever map[customstatus.CustomUserStatus]bool
	// pages has for each status the offsets where the pages of the record begin
	// and end.
	pages map[string][2]int
}

func makeImage(t testing.TB, seed uint64, pageSize, first, commits, size int) image {
	t.Helper()
	path := tempPath(t)
	s := open(t, path, pageSize)
	img := image{pageSize: pageSize, ever: make(map[customstatus.CustomUserStatus]bool), pages: make(map[string][2]int)}
	h, past := newHistory(seed), customstatus.Revision(0)
	for i := range commits + 1 {
		if i == 0 {
			h.run(t, 1, first, s)
		} else {
			h.run(t, 1, size, s)
		}
		for _, status := range load(t, s).statuses {
			img.ever[status] = true
		}
		file := read(t, path)
		img.pasts = append(img.pasts, file)
		if i == commits*3/4 {
			past, img.past = load(t, s).revision, file
		}
	}
	img.want = load(t, s)
	img.records, _ = records(t, s)
	// With fewer commits between, an outdated meta page looks like the one
	// before the last commit.
	require.Greater(t, img.want.revision, past+2)
	require.NoError(t, s.Close())
	img.file = read(t, path)
	found := survey(t, img.file, nil)
	for id := range img.want.statuses {
		record := img.record(id)
		at := bytes.Index(img.file, record)
		for found.Usage(uint64(at/pageSize)) != boltfile.InUse { // an old copy
			at += 1 + bytes.Index(img.file[at+1:], record)
		}
		from := at / pageSize
		for int(binary.NativeEndian.Uint64(img.file[from*pageSize:])) != from { // a page behind the first of several
			from--
		}
		to := from + 1 + int(binary.NativeEndian.Uint32(img.file[from*pageSize+12:]))
		img.pages[id] = [2]int{from * pageSize, to * pageSize}
	}
	return img
}

// record returns the last commit's record of a status, up to the checksum.
func (img image) record(id string) []byte {
	r := img.records[id]
	b, _ := bolt.AppendRecord(nil, 0, &r)
	return b[:len(b)-8]
}

// anatomy has the places of an image's parts.
type anatomy struct {
	meta     int // page of the newer meta page
	freelist int // page of the list of free pages
	root     int // page that leads to the buckets
	records  int // root page of the bucket of records
}

func dissect(t testing.TB, img image) anatomy {
	t.Helper()
	word := func(at int) int { return int(binary.NativeEndian.Uint64(img.file[at:])) }
	a := anatomy{}
	if word(64) < word(img.pageSize+64) {
		a.meta = 1
	}
	a.freelist = word(a.meta*img.pageSize + 48)
	a.root = word(a.meta*img.pageSize + 32)
	const name = "customstatus.records"
	at := a.root*img.pageSize + bytes.Index(img.file[a.root*img.pageSize:(a.root+1)*img.pageSize], []byte(name)) + len(name)
	a.records = word(at)
	require.Positive(t, a.records)
	return a
}
