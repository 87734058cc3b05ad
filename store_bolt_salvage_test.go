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
		"the way to the records": at.records,
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
				require.Contains(t, problems(saved), fmt.Sprintf("status %q: lost: its record is damaged", id))
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
		for _, lost := range [][]int{nil, {at.freelist, at.records}} {
			for _, p := range lost {
				clear(b[p*img.pageSize : (p+1)*img.pageSize])
			}
			saved := salvage(t, b)
			require.True(t, saved.Complete, problems(saved))
			require.True(t, before.equal(byID(saved)))
		}
	})
	t.Run("with what a commit has left that was not finished", func(t *testing.T) {
		// It was of the same revision as the last one, and some of its pages
		// still stand, newer than what the last commit leads to.
		path := tempPath(t)
		overwrite(t, path, img.file)
		s := openBolt(t, path)
		var changes []customstatus.Change
		for _, status := range img.want.statuses {
			changes = append(changes, put(status.ID, "never "+status.ID, status.Revision))
		}
		commit(t, s, changes...)
		require.NoError(t, s.Close())
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		copy(b[:2*img.pageSize], img.file)
		overwrite(t, path, b)
		s = openBolt(t, path)
		commit(t, s, put("last", "last", 0))
		want := load(t, s)
		require.NoError(t, s.Close())
		img := img
		img.file, err = os.ReadFile(path)
		require.NoError(t, err)
		at := dissect(t, img)
		survey := boltfile.Explore(bytes.NewReader(img.file), int64(len(img.file)), func(uint64, string, []byte, []byte) {})
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
		saved := salvage(t, img.file)
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

// wound is a file to be damaged, and where in it is what.
type wound struct {
	anatomy
	file []byte
	size int            // of a page
	page map[string]int // of the record of an id
}

func (w wound) at(page int) []byte { return w.file[page*w.size : (page+1)*w.size] }

// zero clears the pages of some ids.
func (w wound) zero(ids ...string) {
	for _, id := range ids {
		clear(w.at(w.page[id]))
	}
}

// record is where the record of an id begins.
func (w wound) record(id string) []byte {
	page := w.at(w.page[id])
	return page[bytes.Index(page, append([]byte(id), 0xC5, 1))+len(id):]
}

// old puts the page of an id as it was before in its place. There are two copies
// of it, and the older one is a free page.
func (w wound) old(id string) {
	number := w.page[id]
	for page := range len(w.file) / w.size {
		if page != number && bytes.Contains(w.at(page), []byte(id+"name of "+id)) {
			copy(w.at(number), w.at(page))
			binary.NativeEndian.PutUint64(w.at(number), uint64(number))
		}
	}
}

// branchKey is where a page that leads to others has a key.
func (w wound) branchKey(page int, key string) []byte {
	return w.at(page)[bytes.LastIndex(w.at(page), []byte(key)):]
}

// element is where the n-th element of the leaf page of an id begins.
func (w wound) element(id string, n int) []byte { return w.at(w.page[id])[16+16*n:] }

// point makes the bucket of records begin at another page.
func (w wound) point(page int) {
	root := w.at(w.root)
	binary.NativeEndian.PutUint64(root[bytes.Index(root, []byte("customstatus.records"))+len("customstatus.records"):], uint64(page))
}

// TestSalvageBoltKnowsWhatIsLost has three hundred statuses, called i100 to i399,
// in a tree of three levels. The last commit has updated i130 and has deleted
// one to four of others that stood on one page. On free pages are those pages as
// they were before it.
func TestSalvageBoltKnowsWhatIsLost(t *testing.T) {
	t.Parallel()
	const pageSize = 512
	path := tempPath(t)
	s, err := customstatus.OpenBolt(path, &customstatus.BoltOptions{Bolt: &bbolt.Options{PageSize: pageSize, NoSync: true}})
	require.NoError(t, err)
	var first []customstatus.Change
	for i := 100; i < 400; i++ {
		first = append(first, put(fmt.Sprintf("i%d", i), fmt.Sprintf("name of i%d", i), 0))
	}
	commit(t, s, first...)
	before := load(t, s)
	sound := wound{size: pageSize, page: make(map[string]int)}
	read := func() {
		var err error
		sound.file, err = os.ReadFile(path)
		require.NoError(t, err)
		survey := boltfile.Explore(bytes.NewReader(sound.file), int64(len(sound.file)), func(page uint64, bucket string, key, _ []byte) {
			sound.page[string(key)] = int(page)
		})
		require.Empty(t, survey.Damages)
	}
	read()
	// on returns the ids on the same page as one.
	on := func(id string) (ids []string) {
		for other, page := range sound.page {
			if page == sound.page[id] {
				ids = append(ids, other)
			}
		}
		slices.Sort(ids)
		return ids
	}
	updated := on("i130")
	deletions := map[int][]string{1: on("i200"), 2: on("i230"), 3: on("i260"), 4: on("i290")}
	second := []customstatus.Change{put("i130", "new name of i130", 1)}
	var deleted []string
	for n, ids := range deletions {
		require.Greater(t, len(ids), 4)
		deleted = append(deleted, ids[1:1+n]...)
	}
	for _, id := range deleted {
		second = append(second, gone(id, 1))
	}
	commit(t, s, second...)
	want := load(t, s)
	require.NoError(t, s.Close())
	sound.page = make(map[string]int)
	read()
	sound.anatomy = dissect(t, image{file: sound.file, pageSize: pageSize})
	never := on("i360") // a page of which there is but one copy
	branch := int(binary.NativeEndian.Uint64(sound.at(sound.records)[16+8:]))
	require.EqualValues(t, 1, binary.NativeEndian.Uint16(sound.at(branch)[8:]), "the tree has three levels")
	next := sound.at(sound.records)[16+16:] // the element of the next branch, and where its first key is
	end := string(next[binary.NativeEndian.Uint32(next):][:4])
	all := slices.Sorted(maps.Keys(want.statuses))
	below := func(ids []string) []string {
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return id >= end })
	}
	except := func(ids, others []string) []string {
		return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(others, id) })
	}
	firstLeaf := on("i100")

	for _, c := range []struct {
		what     string
		damage   func(w wound)
		complete bool
		lost     []string // are not saved
		doubtful []string // are saved, and listed
		back     []string // were deleted, and are saved as doubtful
		old      bool     // i130 is saved as it was before the last commit
		says     []string
		silent   bool // no other status is named
	}{
		{what: "a leaf of which there is no other copy", silent: true,
			damage: func(w wound) { w.zero("i360") }, lost: never,
			says: []string{
				fmt.Sprintf("page %d: in bucket \"customstatus.records\": what stands there says that it is page 0; what is lost is among the keys from %q to before ", sound.page["i360"], never[0]),
				fmt.Sprintf("the last commit left 290 statuses: %d were saved, %d missing\n", 290-len(never), len(never)),
			}},
		{what: "a leaf with an update", damage: func(w wound) { w.zero("i130") }, doubtful: updated, old: true, silent: true,
			says: []string{"the last commit left 290 statuses, 290 were saved, and it can't be told that they are the same"}},
		{what: "a leaf with a deletion", damage: func(w wound) { w.zero(deletions[1][0]) }, complete: true},
		{what: "a leaf with two deletions", damage: func(w wound) { w.zero(deletions[2][0]) }, complete: true},
		{what: "a leaf with three deletions", damage: func(w wound) { w.zero(deletions[3][0]) }, silent: true,
			doubtful: slices.Concat(deletions[3][:1], deletions[3][4:]), back: deletions[3][1:4]},
		{what: "leaves with a deletion and without another copy", silent: true,
			damage: func(w wound) { w.zero(deletions[1][0], "i360") }, lost: never,
			doubtful: slices.Concat(deletions[1][:1], deletions[1][2:]), back: deletions[1][1:2]},
		{what: "a byte of a record", damage: func(w wound) { w.record("i360")[5] ^= 1 }, lost: []string{"i360"}, silent: true,
			says: []string{
				fmt.Sprintf("page %d: status \"i360\": lost: its record is damaged: wrong checksum", sound.page["i360"]),
				"the last commit left 290 statuses: 289 were saved, 1 missing\n",
			}},
		{what: "a byte of a record that was updated", damage: func(w wound) { w.record("i130")[5] ^= 1 }, doubtful: []string{"i130"}, old: true,
			says: []string{"status \"i130\": its record is damaged: wrong checksum", "named \"name of i130\": doubtful: its page is free"}},
		{what: "a byte of a record beside one that was updated", damage: func(w wound) { w.record(updated[1])[5] ^= 1 }, complete: true,
			says: []string{fmt.Sprintf("status %q: its record is damaged: wrong checksum", updated[1])}},
		{what: "the key of a record", complete: true,
			damage: func(w wound) {
				copy(w.at(w.page["i360"])[bytes.Index(w.at(w.page["i360"]), []byte("i360\xC5")):], "i36!")
			},
			says: []string{"status \"i36!\": its record is damaged: it is that of \"i360\""}},
		{what: "an element of a leaf", damage: func(w wound) { w.element("i360", 2)[0] = 8 }, complete: true,
			says: []string{"element 2 has unknown flags"}},
		{what: "an element of a leaf and a record behind it", silent: true,
			damage:   func(w wound) { w.element("i360", 2)[0] = 8; w.record(never[3])[5] ^= 1 },
			lost:     never[3:4],
			doubtful: slices.Concat(never[2:3], never[4:]), says: []string{"doubtful: nothing leads to it, though its page is in use"}},
		{what: "the root of the records", damage: func(w wound) { clear(w.at(w.records)) }, complete: true},
		{what: "a branch, and a leaf below it", silent: true,
			damage: func(w wound) { clear(w.at(branch)); w.zero("i100") },
			lost:   firstLeaf, doubtful: except(below(all), firstLeaf), back: below(deleted),
			says: []string{"doubtful: nothing leads to its page"}},
		{what: "a branch, and a leaf that is not below it", silent: true,
			damage: func(w wound) { clear(w.at(branch)); w.zero("i360") },
			lost:   never, doubtful: below(all), back: below(deleted),
			says: []string{fmt.Sprintf("what is lost is among the keys from \"i100\" to before %q", end)}},
		{what: "a branch, two leaves, and a page that has a copy of a third", silent: true,
			damage: func(w wound) {
				copy(w.at(w.freelist), w.at(w.page["i112"]))
				clear(w.at(branch))
				w.zero("i100", "i360")
			},
			lost: slices.Concat(firstLeaf, never), doubtful: except(below(all), firstLeaf), back: below(deleted),
			says: []string{fmt.Sprintf("page %d: status \"i112\", named \"name of i112\": doubtful: nothing leads to its page", sound.page["i112"])}},
		{what: "the key of a branch, to a higher one", damage: func(w wound) { copy(w.branchKey(sound.records, end), "i3") }, complete: true},
		{what: "the key of a branch, to a lower one", damage: func(w wound) { copy(w.branchKey(sound.records, end), "i1") }, complete: true},
		{what: "the list of free pages, which has one that is used, and a leaf",
			damage: func(w wound) {
				ids := w.at(w.freelist)[16:]
				for i := 0; ; i += 8 { // the number behind that of a free page is not in the list
					id := binary.NativeEndian.Uint64(ids[i:]) + 1
					if binary.NativeEndian.Uint64(ids[i+8:]) != id {
						binary.NativeEndian.PutUint64(ids[i:], id)
						break
					}
				}
				w.zero("i360")
			},
			lost: never, back: deleted, says: []string{"it is in the list of free pages, but used", "some pages do not fit together"}},
		{what: "the list of free pages and a leaf with three deletions", silent: true,
			damage:   func(w wound) { clear(w.at(w.freelist)); w.zero(deletions[3][0]) },
			doubtful: slices.Concat(deletions[3][:1], deletions[3][4:]), back: deletions[3][1:4]},
		{what: "the way to the records", damage: func(w wound) { w.point(branch) }, complete: true,
			says: []string{"it is neither in use nor in the list of free pages"}},
		{what: "the way to the records, and a leaf", damage: func(w wound) { w.point(branch); w.zero("i100") },
			lost: firstLeaf, doubtful: except(all, below(all)), back: deleted,
			says: []string{"some pages do not fit together"}},
		{what: "the name of the bucket", complete: true,
			damage: func(w wound) { w.at(w.root)[bytes.Index(w.at(w.root), []byte("records"))]++ },
			says:   []string{"there is no bucket \"customstatus.records\""}},
		{what: "the state", damage: func(w wound) { w.at(w.root)[bytes.Index(w.at(w.root), []byte("state"))+10] ^= 1 }, silent: true,
			says: []string{"the state of the store: customstatus: damaged: wrong checksum", "it is not known how many statuses there were; 290 were saved"}},
		{what: "the root", damage: func(w wound) { clear(w.at(w.root)) }, doubtful: all,
			back: deleted,
			says: []string{"it is not known how many statuses there were; 300 were saved", "doubtful: nothing leads to its page", "doubtful: its page is free"}},
		{what: "both meta pages", damage: func(w wound) { clear(w.at(0)); clear(w.at(1)) }, doubtful: all,
			back: deleted,
			says: []string{"it is not known how many statuses there were; 300 were saved"}},
		{what: "an old leaf, with a status that was deleted, in place of the last one", complete: true,
			damage: func(w wound) { w.old("i200") }, says: []string{"some pages do not fit together"}},
		{what: "an old leaf in place of the last one", says: []string{"some pages do not fit together"},
			damage: func(w wound) { w.old("i130") },
			back:   deleted, old: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := sound
			w.file = bytes.Clone(sound.file)
			c.damage(w)
			saved := salvage(t, w.file)
			says := problems(saved)
			require.Equal(t, c.complete, saved.Complete, says)
			for _, text := range c.says {
				require.Contains(t, says, text)
			}
			require.NotEmpty(t, saved.Problems)
			require.EqualValues(t, 2, saved.Revision)
			listed := make(map[string]bool)
			for _, p := range saved.Problems {
				if strings.HasPrefix(p.Reason, "doubtful: ") {
					listed[p.Status.ID] = true
					require.Equal(t, byID(saved).statuses[p.Status.ID], p.Status)
				} else if c.silent && p.Status.ID != "" {
					require.Contains(t, c.lost, p.Status.ID)
				}
			}
			got := byID(saved).statuses
			expect := maps.Clone(want.statuses)
			for _, id := range c.lost {
				delete(expect, id)
			}
			for _, id := range c.back {
				expect[id] = before.statuses[id]
			}
			if c.old {
				expect["i130"] = before.statuses["i130"]
			}
			doubtful := slices.Sorted(slices.Values(slices.Concat(c.doubtful, c.back)))
			require.Equal(t, doubtful, slices.Sorted(maps.Keys(listed)))
			for id, status := range got {
				require.Equal(t, expect[id], status)
			}
			require.Len(t, got, len(expect))
		})
	}
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
	t.Run("tell what is lost behind a transaction of the host", func(t *testing.T) {
		path := tempPath(t)
		db, err := bbolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		s, err := customstatus.NewBoltStore(db)
		require.NoError(t, err)
		commit(t, s, put("a", "x", 0), put("b", "y", 0), put("c", "z", 0))
		commit(t, s, gone("c", 1))
		want := load(t, s)
		require.NoError(t, db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("users")); return err }))
		require.NoError(t, db.Close())
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		saved := salvage(t, file)
		require.True(t, saved.Complete)
		require.Empty(t, saved.Problems)
		require.True(t, want.equal(byID(saved)))

		for at := range file { // in all copies of it
			if bytes.HasPrefix(file[at:], []byte("axbusy")) {
				file[at+1] = '?'
			}
		}
		saved = salvage(t, file)
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
