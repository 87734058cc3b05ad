package salvage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/customstatus/customstatus/internal/bolt"
	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/damage"
	"github.com/customstatus/customstatus/internal/sentinel"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func TestFile(t *testing.T) {
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
		saved := save(t, img.file)
		require.True(t, saved.Complete)
		require.Empty(t, saved.Problems)
		require.True(t, img.want.equal(byID(saved)))
	})
	for what, page := range map[string]int{
		"the way to the records": at.records,
		"the list of free pages": at.freelist,
	} {
		t.Run("without "+what, func(t *testing.T) {
			saved := save(t, without(page))
			require.True(t, saved.Complete, problems(saved))
			require.True(t, img.want.equal(byID(saved)))
			require.Contains(t, problems(saved), fmt.Sprintf("page %d: ", page))
		})
	}
	t.Run("without the last meta page", func(t *testing.T) {
		saved := save(t, without(at.meta))
		require.False(t, saved.Complete)
		require.Contains(t, problems(saved), "a meta page may be damaged")
		for id, status := range img.want.statuses {
			require.Equal(t, status, byID(saved).statuses[id])
		}
	})
	t.Run("without any meta page", func(t *testing.T) {
		saved := save(t, without(0, 1))
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
			saved := save(t, file)
			require.Empty(t, saved.Statuses)
			require.NotEmpty(t, saved.Problems)
		}
	})
	t.Run("without a record", func(t *testing.T) {
		restored, lost := 0, 0
		for id, status := range img.want.statuses {
			b := bytes.Clone(img.file)
			record := img.record(id)
			b[img.pages[id][0]+bytes.Index(b[img.pages[id][0]:], record)+len(record)-1] ^= 1
			saved := save(t, b)
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
				require.Contains(t, problems(saved), fmt.Sprintf("status %q: lost: its record is damaged", id))
			}
			require.Contains(t, problems(saved), fmt.Sprintf("the last commit left %d statuses", len(img.want.statuses)))
		}
		require.NotZero(t, restored)
		require.NotZero(t, lost)
	})
	t.Run("with an old root page", func(t *testing.T) {
		// An earlier root page was in the same place. Most of the records that
		// it led to are still in the file.
		path := tempPath(t)
		damage.Overwrite(t, path, img.file)
		s := open(t, path, 0)
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
			file := read(t, path)
			at := root(file)
			page := bytes.Clone(file[at : at+img.pageSize])
			if old := before[at]; old != nil && !bytes.Equal(old, page) {
				tried++
				copy(file[at:], old)
				saved := save(t, file)
				require.True(t, !saved.Complete || now.equal(byID(saved)))
			}
			before[at] = page
		}
		require.Greater(t, tried, 10)
		require.NoError(t, s.Close())
	})
	t.Run("without the commit that was not finished", func(t *testing.T) {
		// Only the meta page knows the last commit.
		path := tempPath(t)
		damage.Overwrite(t, path, img.file)
		s := open(t, path, 0)
		before := load(t, s)
		newHistory(99).run(t, 1, 30, s)
		require.Greater(t, load(t, s).revision, before.revision)
		require.NoError(t, s.Close())
		b := read(t, path)
		copy(b[:2*img.pageSize], img.file)
		for _, lost := range [][]int{nil, {at.freelist, at.records}} {
			for _, p := range lost {
				clear(b[p*img.pageSize : (p+1)*img.pageSize])
			}
			saved := save(t, b)
			require.True(t, saved.Complete, problems(saved))
			require.True(t, before.equal(byID(saved)))
		}
	})
	t.Run("with what a commit has left that was not finished", func(t *testing.T) {
		// The unfinished commit had the same revision as the last one. Some of
		// its pages are still in the file, newer than the last commit's.
		path := tempPath(t)
		damage.Overwrite(t, path, img.file)
		s := open(t, path, 0)
		var all []bolt.Change
		for _, status := range img.want.statuses {
			all = append(all, put(status.ID, "never "+status.ID, uint64(status.Revision)))
		}
		commit(t, s, all...)
		require.NoError(t, s.Close())
		b := read(t, path)
		copy(b[:2*img.pageSize], img.file)
		damage.Overwrite(t, path, b)
		s = open(t, path, 0)
		commit(t, s, put("last", "last", 0))
		want := load(t, s)
		require.NoError(t, s.Close())
		img := img
		img.file = read(t, path)
		at := dissect(t, img)
		survey := survey(t, img.file, nil)
		left := 0
		for page := range survey.Pages {
			if survey.Usage(page) == boltfile.Free {
				left += bytes.Count(img.file[page*survey.PageSize:(page+1)*survey.PageSize], []byte("never "))
			}
		}
		require.Greater(t, left, 10)
		leaf := bytes.Index(img.file, []byte("lastlast")) / img.pageSize
		for _, page := range []int{at.records, leaf} {
			clear(img.file[page*img.pageSize : (page+1)*img.pageSize])
		}
		saved := save(t, img.file)
		require.False(t, saved.Complete)
		same := 0
		for id, status := range byID(saved).statuses {
			require.False(t, strings.HasPrefix(status.Name, "never "), status)
			if status == want.statuses[id] {
				same++
			}
		}
		require.Greater(t, same, len(want.statuses)*3/4)
	})
}

func TestFileCan(t *testing.T) {
	t.Parallel()
	t.Run("not read a file that is open", func(t *testing.T) {
		path := tempPath(t)
		s := open(t, path, 0)
		_, err := File(path, nil)
		require.ErrorIs(t, err, sentinel.ErrLocked)
		require.ErrorContains(t, err, path)
		require.NoError(t, s.Close())
		_, err = File(path, nil)
		require.NoError(t, err)
	})
	t.Run("not read what is not there", func(t *testing.T) {
		_, err := File(filepath.Join(t.TempDir(), "none"), nil)
		require.ErrorIs(t, err, os.ErrNotExist)
	})
	t.Run("not read a directory", func(t *testing.T) {
		_, err := File(t.TempDir(), nil)
		require.ErrorContains(t, err, "not a regular file")
	})
	t.Run("tell what is lost behind a transaction of the host", func(t *testing.T) {
		path := tempPath(t)
		db, err := bbolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		s, err := bolt.New(db, nil)
		require.NoError(t, err)
		commit(t, s, put("a", "x", 0), put("b", "y", 0), put("c", "z", 0))
		commit(t, s, gone("c", 1))
		want := load(t, s)
		require.NoError(t, db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("users")); return err }))
		require.NoError(t, db.Close())
		file := read(t, path)
		saved := save(t, file)
		require.True(t, saved.Complete)
		require.Empty(t, saved.Problems)
		require.True(t, want.equal(byID(saved)))

		for at := range file { // in all copies of it
			if bytes.HasPrefix(file[at:], []byte("axbusy")) {
				file[at+1] = '?'
			}
		}
		saved = save(t, file)
		require.False(t, saved.Complete)
		delete(want.statuses, "a")
		require.True(t, want.equal(byID(saved)))
		require.Contains(t, problems(saved), `status "a": lost: its record is damaged: wrong checksum`)
		require.NotContains(t, problems(saved), "doubtful")
	})
	t.Run("survive a survey of pages that are gone", func(t *testing.T) {
		survey := boltfile.Explore(bytes.NewReader(nil), 0, nil)
		require.Zero(t, survey.Pages)
	})
}
