package customstatus_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func salvage(t testing.TB, file []byte) *customstatus.Salvage {
	t.Helper()
	path := tempPath(t)
	overwrite(t, path, file)
	saved, err := customstatus.SalvageBolt(path)
	require.NoError(t, err)
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(file, after), "it was written to")
	return saved
}

// byID returns what was saved in the form of contents.
func byID(s *customstatus.Salvage) contents {
	c := contents{s.Revision, make(map[string]customstatus.CustomUserStatus)}
	for _, status := range s.Statuses {
		c.statuses[status.ID] = status
	}
	return c
}

// problems are the problems of s, one in a line.
func problems(s *customstatus.Salvage) string {
	var b strings.Builder
	for _, p := range s.Problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

// anatomy says where in an image what is.
type anatomy struct {
	meta     int            // page of the newer meta page
	freelist int            // page of the list of free pages
	buckets  map[string]int // root pages of the buckets
}

func dissect(t testing.TB, img image) anatomy {
	t.Helper()
	word := func(at int) int { return int(binary.NativeEndian.Uint64(img.file[at:])) }
	a := anatomy{buckets: make(map[string]int)}
	if word(64) < word(img.pageSize+64) {
		a.meta = 1
	}
	a.freelist = word(a.meta*img.pageSize + 48)
	root := img.file[word(a.meta*img.pageSize+32)*img.pageSize:]
	for _, name := range []string{"customstatus.records", "customstatus.names"} {
		at := bytes.Index(root[:img.pageSize], []byte(name)) + len(name)
		a.buckets[name] = int(binary.NativeEndian.Uint64(root[at:]))
		require.Positive(t, a.buckets[name])
	}
	return a
}

func TestSalvageBolt(t *testing.T) {
	t.Parallel()
	img := makeImage(t, 11, 1024, 200, 30, 20)
	at := dissect(t, img)
	without := func(pages ...int) []byte {
		b := bytes.Clone(img.file)
		for _, p := range pages {
			clear(b[p*img.pageSize : (p+1)*img.pageSize])
		}
		return b
	}

	t.Run("a sound file", func(t *testing.T) {
		saved := salvage(t, img.file)
		require.True(t, saved.Complete)
		require.Empty(t, saved.Problems)
		require.True(t, img.want.equal(byID(saved)))
	})
	for what, page := range map[string]int{
		"the way to the records": at.buckets["customstatus.records"],
		"the way to the names":   at.buckets["customstatus.names"],
		"the list of free pages": at.freelist,
	} {
		t.Run("without "+what, func(t *testing.T) {
			saved := salvage(t, without(page))
			require.True(t, saved.Complete, problems(saved))
			require.True(t, img.want.equal(byID(saved)))
			require.Contains(t, problems(saved), fmt.Sprintf("page %d: ", page))
		})
	}
	t.Run("without the last meta page", func(t *testing.T) {
		saved := salvage(t, without(at.meta))
		require.False(t, saved.Complete)
		require.Contains(t, problems(saved), "a meta page is damaged")
		for id, status := range img.want.statuses {
			require.Equal(t, status, byID(saved).statuses[id])
		}
	})
	t.Run("without any meta page", func(t *testing.T) {
		saved := salvage(t, without(0, 1))
		require.False(t, saved.Complete)
		require.Contains(t, problems(saved), "it is not known how many statuses there were")
		require.Contains(t, problems(saved), "doubtful: nothing leads to its page")
		for id, status := range img.want.statuses {
			if byID(saved).statuses[id] != status {
				require.Contains(t, problems(saved), fmt.Sprintf("status %q, named %q: left out: the name belongs to", id, status.Name))
			}
		}
	})
	t.Run("with nothing at all", func(t *testing.T) {
		for _, file := range [][]byte{nil, make([]byte, 5000), bytes.Repeat([]byte{0xC5, 1}, 9999)} {
			saved := salvage(t, file)
			require.Empty(t, saved.Statuses)
			require.NotEmpty(t, saved.Problems)
		}
	})
	t.Run("without a record", func(t *testing.T) {
		restored, lost := 0, 0
		for id, status := range img.want.statuses {
			b := bytes.Clone(img.file)
			record := img.record(status)
			b[img.pages[id][0]+bytes.Index(b[img.pages[id][0]:], record)+len(record)-1] ^= 1
			saved := salvage(t, b)
			if saved.Complete { // from where the page was before
				restored++
				require.True(t, img.want.equal(byID(saved)))
				continue
			}
			got, ok := byID(saved).statuses[id]
			require.NotEqual(t, status, got)
			if ok {
				require.Contains(t, problems(saved), "doubtful: its page is free")
			} else {
				lost++
				require.Contains(t, problems(saved), fmt.Sprintf("status %q, named %q: lost: ", id, status.Name))
			}
			require.Contains(t, problems(saved), fmt.Sprintf("the last commit left %d statuses", len(img.want.statuses)))
		}
		require.NotZero(t, restored)
		require.NotZero(t, lost)
	})
	t.Run("with an old root page", func(t *testing.T) {
		// Where the root page stands, it has stood before, when there were
		// other records: most of those are still somewhere in the file, too.
		path := tempPath(t)
		overwrite(t, path, img.file)
		s, err := customstatus.OpenBolt(path, &customstatus.BoltOptions{Bolt: &bbolt.Options{NoSync: true}})
		require.NoError(t, err)
		root := func(file []byte) int {
			newer := 0
			if binary.NativeEndian.Uint64(file[64:]) < binary.NativeEndian.Uint64(file[img.pageSize+64:]) {
				newer = img.pageSize
			}
			return int(binary.NativeEndian.Uint64(file[newer+32:])) * img.pageSize
		}
		h := newHistory(44)
		before := make(map[int][]byte) // root pages by where they stand
		tried := 0
		for range 60 {
			now := h.run(t, 1, 2, s)
			file, err := os.ReadFile(path)
			require.NoError(t, err)
			at := root(file)
			page := bytes.Clone(file[at : at+img.pageSize])
			if old := before[at]; old != nil && !bytes.Equal(old, page) {
				tried++
				copy(file[at:], old)
				saved := salvage(t, file)
				require.True(t, !saved.Complete || now.equal(byID(saved)))
			}
			before[at] = page
		}
		require.Greater(t, tried, 10)
		require.NoError(t, s.Close())
	})
	t.Run("without the commit that was not finished", func(t *testing.T) {
		// The meta page is the only one that knows of the last commit.
		path := tempPath(t)
		overwrite(t, path, img.file)
		s := openBolt(t, path)
		before := load(t, s)
		newHistory(99).run(t, 1, 30, s)
		require.Greater(t, load(t, s).revision, before.revision)
		require.NoError(t, s.Close())
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		copy(b[:2*img.pageSize], img.file)
		for _, lost := range [][]int{nil, {at.freelist, at.buckets["customstatus.records"]}} {
			for _, p := range lost {
				clear(b[p*img.pageSize : (p+1)*img.pageSize])
			}
			saved := salvage(t, b)
			require.True(t, saved.Complete, problems(saved))
			require.True(t, before.equal(byID(saved)))
		}
	})
	t.Run("without saying nothing of what it leaves out", func(t *testing.T) {
		id := slices.Sorted(maps.Keys(img.want.statuses))[len(img.want.statuses)/2]
		page := img.pages[id][0] / img.pageSize
		saved := salvage(t, without(at.buckets["customstatus.records"], at.buckets["customstatus.names"], page))
		require.False(t, saved.Complete)
		require.Contains(t, problems(saved), "left out: its page is free")
	})
}

func TestSalvageBoltCan(t *testing.T) {
	t.Parallel()
	t.Run("not read a file that is open", func(t *testing.T) {
		path := tempPath(t)
		openBolt(t, path)
		_, err := customstatus.SalvageBolt(path)
		require.ErrorIs(t, err, customstatus.ErrLocked)
		require.ErrorContains(t, err, path)
	})
	t.Run("not read what is not there", func(t *testing.T) {
		_, err := customstatus.SalvageBolt(filepath.Join(t.TempDir(), "none"))
		require.ErrorIs(t, err, os.ErrNotExist)
	})
	t.Run("not read a folder", func(t *testing.T) {
		_, err := customstatus.SalvageBolt(t.TempDir())
		require.ErrorContains(t, err, "no regular file")
	})
	t.Run("survive a survey of pages that are gone", func(t *testing.T) {
		survey := boltfile.Explore(bytes.NewReader(nil), 0, nil)
		require.Zero(t, survey.Pages)
	})
}
