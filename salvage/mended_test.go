package salvage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/bolt"
	"github.com/customstatus/customstatus/internal/damage"
	"github.com/customstatus/customstatus/internal/sentinel"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// written returns a file with the given number of statuses, made by two
// commits.
func written(t testing.TB, statuses, pageSize int) ([]byte, contents) {
	t.Helper()
	path := tempPath(t)
	s := open(t, path, pageSize)
	var all []bolt.Change
	for i := range statuses {
		all = append(all, put(fmt.Sprintf("id%03d", i), fmt.Sprintf("name %03d", i), 0))
	}
	commit(t, s, all[:statuses/2]...)
	commit(t, s, all[statuses/2:]...)
	want := load(t, s)
	require.NoError(t, s.Close())
	return read(t, path), want
}

// leaves returns the leaf pages of the records, by the first id on each.
func leaves(t testing.TB, file []byte) map[string]int {
	t.Helper()
	pages, seen := make(map[string]int), make(map[uint64]bool)
	survey(t, file, func(page uint64, bucket string, key, _ []byte) {
		if strings.HasPrefix(bucket, "customstatus.records") && !seen[page] {
			pages[string(key)], seen[page] = int(page), true
		}
	})
	return pages
}

// end returns the number of the first page beyond those in use.
func end(t testing.TB, file []byte, pageSize int) int {
	t.Helper()
	found := survey(t, file, nil)
	require.EqualValues(t, pageSize, found.PageSize)
	return int(found.Pages)
}

func TestFileLooksBeyondThePagesInUse(t *testing.T) {
	t.Parallel()
	const pageSize = 512
	file, want := written(t, 400, pageSize)
	used := end(t, file, pageSize)
	for _, page := range leaves(t, file) {
		moved := make([]byte, (used+20)*pageSize)
		copy(moved, file[:used*pageSize])
		from := moved[page*pageSize : (page+1)*pageSize]
		copy(moved[(used+7)*pageSize:], from)
		clear(from)
		saved := save(t, moved)
		require.True(t, saved.Complete, problems(saved))
		require.True(t, want.equal(byID(saved)))
	}
}

// TestFileDoesNotTrustWhatStandsBeyondThePagesInUse has an unfinished commit,
// whose pages are beyond the pages in use.
func TestFileDoesNotTrustWhatStandsBeyondThePagesInUse(t *testing.T) {
	t.Parallel()
	const pageSize = 512
	before, want := written(t, 100, pageSize)
	path := tempPath(t)
	damage.Overwrite(t, path, before)
	s := open(t, path, pageSize)
	var all []bolt.Change
	for i := range 100 {
		all = append(all, put(fmt.Sprintf("id%03d", i), fmt.Sprintf("never %03d", i), uint64(1+i/50)))
	}
	commit(t, s, all...)
	require.NoError(t, s.Close())
	after := read(t, path)
	require.Greater(t, end(t, after, pageSize), end(t, before, pageSize))
	copy(after[:2*pageSize], before)
	saved := save(t, after)
	require.True(t, saved.Complete)

	lost := leaves(t, before)
	for id, page := range lost {
		b := bytes.Clone(after)
		clear(b[page*pageSize : (page+1)*pageSize])
		saved := save(t, b)
		for _, s := range saved.Statuses {
			require.Equal(t, want.statuses[s.ID], s)
		}
		require.Equal(t, byID(saved).statuses[id].ID == id, saved.Complete, problems(saved))
	}

	// A record with the revision of the last commit is only saved if there is
	// no other, and is doubtful.
	r := bolt.Record{ID: "id000", Name: "never 000", Revision: 2}
	record, _ := bolt.AppendRecord(nil, 0, &r)
	used := end(t, before, pageSize)
	b := append(bytes.Clone(before[:used*pageSize]), make([]byte, 2*pageSize)...)
	binary.NativeEndian.PutUint64(b[(used+1)*pageSize:], uint64(used+1))
	copy(b[(used+1)*pageSize+100:], record)
	saved = save(t, b)
	require.Empty(t, saved.Problems)
	page := lost["id000"]
	for at := range b[:used*pageSize] { // in all copies of it
		if bytes.HasPrefix(b[at:], []byte("id000name 000")) {
			b[at+6] = '?'
		}
	}
	saved = save(t, b)
	require.False(t, saved.Complete)
	require.Equal(t, status(&r), byID(saved).statuses["id000"])
	require.Contains(t, problems(saved), fmt.Sprintf(`page %d: status "id000", named "never 000": doubtful: its page is beyond the pages in use`, used+1))
	require.Contains(t, problems(saved), fmt.Sprintf(`page %d: status "id000": its record is damaged: wrong checksum`, page))
}

func TestFileSavesOneCatalogOfSeveral(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024})
	require.NoError(t, err)
	names := []string{"", "staff", "guests"}
	want := make(map[string]contents)
	for i, name := range names {
		s, err := bolt.New(db, &bolt.Options{Name: name})
		require.NoError(t, err)
		var all []bolt.Change
		for n := range 40 + 10*i {
			all = append(all, put(fmt.Sprintf("id%03d", n), fmt.Sprintf("%q %d", name, n), 0))
		}
		commit(t, s, all...)
		commit(t, s, put("id000", fmt.Sprintf("%q new", name), 1))
		want[name] = load(t, s)
		require.NoError(t, s.Close())
	}
	require.NoError(t, db.Close())
	file := read(t, path)
	saveAs := func(b []byte, name string) *Result {
		damage.Overwrite(t, path, b)
		saved, err := File(path, &Options{Name: name})
		require.NoError(t, err)
		return saved
	}
	hurt := bytes.Clone(file)
	clear(hurt[:2*1024]) // nothing leads anywhere any more
	for _, name := range names {
		saved := saveAs(file, name)
		require.True(t, saved.Complete)
		require.Empty(t, saved.Problems)
		require.True(t, want[name].equal(byID(saved)))

		saved = saveAs(hurt, name)
		require.False(t, saved.Complete)
		require.Equal(t, want[name].statuses, byID(saved).statuses)
	}
	saved := saveAs(file, "nobody")
	require.False(t, saved.Complete)
	require.Empty(t, saved.Statuses)
	require.Contains(t, problems(saved), `there is no bucket "customstatus.records/nobody"; the file has the catalogs ["" "guests" "staff"]`)
	require.Empty(t, saveAs(hurt, "nobody").Statuses)
}

// TestFileAfterLostMetaPages undoes the writes of the last meta pages. The
// pages that the older meta pages lead to were overwritten meanwhile.
func TestFileAfterLostMetaPages(t *testing.T) {
	t.Parallel()
	const pageSize = 1024
	path := tempPath(t)
	s := open(t, path, pageSize)
	var files [][]byte
	for i := range 12 {
		commit(t, s, put(fmt.Sprint(i), fmt.Sprint("name ", i), 0))
		files = append(files, read(t, path))
	}
	require.NoError(t, s.Close())
	found := 0
	for i, before := range files {
		for _, after := range files[i+1:] {
			b := bytes.Clone(after)
			copy(b[:2*pageSize], before)
			saved := save(t, b)
			text := problems(saved)
			if strings.Contains(text, "but leads to a state of") {
				found++
				require.False(t, saved.Complete, text)
				require.Contains(t, text, "a meta page may be damaged or outdated")
			}
			// The store agrees: it has the saved statuses, or reports the
			// damage.
			damage.Overwrite(t, path, b)
			got, err := bolt.Open(path, nil)
			if err == nil {
				_, err = got.Load(context.Background(), nil)
			}
			if err != nil {
				require.ErrorIs(t, err, sentinel.ErrDamaged)
				require.NotEmpty(t, saved.Problems)
			} else {
				require.Empty(t, saved.Problems)
				require.True(t, saved.Complete)
				require.True(t, byID(saved).equal(load(t, got)))
			}
			if got != nil {
				require.NoError(t, got.Close())
			}
		}
	}
	require.Positive(t, found)
}

// Compacting restarts the count of transactions, so the state has the number of
// a later transaction.
func TestFileOfACompactedFile(t *testing.T) {
	t.Parallel()
	img := makeImage(t, 13, 1024, 50, 20, 10)
	from, path := tempPath(t), tempPath(t)
	damage.Overwrite(t, from, img.file)
	db, err := bbolt.Open(from, 0o600, nil)
	require.NoError(t, err)
	compact, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024})
	require.NoError(t, err)
	require.NoError(t, bbolt.Compact(compact, db, 0))
	require.NoError(t, compact.Close())
	require.NoError(t, db.Close())
	file := read(t, path)
	saved := save(t, file)
	require.Empty(t, saved.Problems)
	require.True(t, saved.Complete)
	require.True(t, img.want.equal(byID(saved)))

	for _, page := range leaves(t, file) {
		b := bytes.Clone(file)
		clear(b[page*1024 : (page+1)*1024])
		saved := save(t, b)
		require.False(t, saved.Complete)
		require.Contains(t, problems(saved), "later meta pages were lost, unless the file was compacted")
		for _, s := range saved.Statuses {
			require.Equal(t, img.want.statuses[s.ID], s)
		}
	}
}

func TestFileKnowsPagesThatGoOnInOthers(t *testing.T) {
	t.Parallel()
	const pageSize = 512
	path := tempPath(t)
	s := open(t, path, pageSize)
	large := func(id, name string, before uint64) bolt.Change {
		c := put(id, name, before)
		c.After.Metadata = strings.Repeat(id, 4000)
		return c
	}
	commit(t, s, large("a", "first", 0), large("b", "b", 0), large("c", "c", 0), large("d", "d", 0))
	old := load(t, s).statuses["b"]
	commit(t, s, large("b", "second", 1))
	want := load(t, s)
	require.NoError(t, s.Close())
	file := read(t, path)
	saved := save(t, file)
	require.True(t, saved.Complete)
	require.True(t, want.equal(byID(saved)))
	// The record of b on the page that was left stands behind the page's start.
	at := bytes.Index(file, []byte("secondbusy"))
	file[at] = '?'
	saved = save(t, file)
	require.Equal(t, old, byID(saved).statuses["b"], problems(saved))
	require.Contains(t, problems(saved), `status "b", named "b": doubtful: its page is free`)
	require.NotContains(t, problems(saved), "out of place")
}

// TestFileNamesAnOldPageByWhatIsNewerElsewhere replaces a leaf by an outdated
// page, and clears another leaf, so that the checksum over all statuses is of
// no use.
func TestFileNamesAnOldPageByWhatIsNewerElsewhere(t *testing.T) {
	t.Parallel()
	const pageSize, id = 512, "id010"
	path := tempPath(t)
	first, _ := written(t, 100, pageSize)
	damage.Overwrite(t, path, first)
	s := open(t, path, pageSize)
	defer func() { require.NoError(t, s.Close()) }()
	on := func(file []byte) (ids []string, page int) {
		pages := make(map[uint64][]string)
		survey(t, file, func(page uint64, _ string, key, _ []byte) { pages[page] = append(pages[page], string(key)) })
		for number, keys := range pages {
			if slices.Contains(keys, id) {
				return keys, int(number)
			}
		}
		return nil, 0
	}
	var pasts [][]byte
	found, revision := 0, uint64(1)
	for i := range 12 {
		revision = commit(t, s, put(id, fmt.Sprintf("name %03d", 100+i), revision))
		file := read(t, path)
		ids, page := on(file)
		for k, past := range pasts {
			if _, before := on(past); before != page || k+1 == len(pasts) {
				continue
			}
			b := bytes.Clone(file)
			copy(b[page*pageSize:(page+1)*pageSize], past[page*pageSize:])
			lost := leaves(t, file)["id050"]
			require.NotEqual(t, page, lost)
			clear(b[lost*pageSize : (lost+1)*pageSize])
			saved := save(t, b)
			require.False(t, saved.Complete)
			text := problems(saved)
			require.NotContains(t, text, "some pages contradict each other")
			for _, id := range ids {
				require.Contains(t, text, fmt.Sprintf("page %d: status %q, named %q: doubtful: its page seems to be outdated", page, id, byID(saved).statuses[id].Name))
			}
			require.Equal(t, len(ids), strings.Count(text, "doubtful"), text)
			found++
		}
		pasts = append(pasts, file)
	}
	require.Positive(t, found)
}

func TestGaps(t *testing.T) {
	t.Parallel()
	gaps := []gap{{"", "b"}, {"d", "f"}, {"h", ""}}
	for id, want := range map[string]bool{
		"a": true, "azz": true, "b": false, "c": false, "d": false, "d ": true, "e": true, "f": false, "h": false, "h ": true, "z": true,
	} {
		require.Equal(t, want, among(gaps, id), id)
	}
	require.True(t, among([]gap{{}}, "any"))
	require.False(t, among(nil, "any"))
	require.Equal(t, "any before \"b\", any between \"d\" and \"f\", any beyond \"h\", any at all", fmt.Sprintf("%v, %v, %v, %v", gaps[0], gaps[1], gaps[2], gap{}))
}

func TestProblemsSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	r := bolt.Record{ID: "a", Name: "x"}
	both := status(&r)
	for _, c := range []struct {
		problem Problem
		says    string
	}{
		{Problem{Damage, 3, customstatus.CustomUserStatus{}, "why"}, "page 3: why"},
		{Problem{Damage, -1, both, "why"}, `status "a", named "x": why`},
		{Problem{Lost, 0, customstatus.CustomUserStatus{ID: "a"}, "why"}, `page 0: status "a": lost: why`},
		{Problem{Doubtful, 4, both, "why"}, `page 4: status "a", named "x": doubtful: why`},
		{Problem{LeftOut, 4, both, "why"}, `page 4: status "a", named "x": left out: why`},
		{Problem{Uncertain, -1, customstatus.CustomUserStatus{}, "why"}, "why"},
	} {
		require.Equal(t, c.says, c.problem.String())
	}
	require.Equal(t, "damage, lost, doubtful, left out, uncertain, Kind(0)", fmt.Sprintf("%v, %v, %v, %v, %v, %v", Damage, Lost, Doubtful, LeftOut, Uncertain, Kind(0)))
}

func TestFileOfAnotherProgram(t *testing.T) {
	t.Parallel()
	for what, b := range map[string][]byte{"empty": nil, "JSON": []byte("{}"), "zeros": make([]byte, 10000)} {
		saved := save(t, b)
		require.False(t, saved.Complete, what)
		require.Contains(t, problems(saved), "not a bbolt file", what)
	}
	_, err := File(os.DevNull, nil)
	require.ErrorContains(t, err, "not a regular file")
}
