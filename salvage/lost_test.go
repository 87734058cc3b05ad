package salvage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/customstatus/customstatus/internal/bolt"
	"github.com/stretchr/testify/require"
)

// patient is a file to be damaged, with the places of its parts.
type patient struct {
	anatomy
	file []byte
	size int            // of a page
	page map[string]int // of the record of an id
}

func (w patient) at(page int) []byte { return w.file[page*w.size : (page+1)*w.size] }

// zero clears the pages of some ids.
func (w patient) zero(ids ...string) {
	for _, id := range ids {
		clear(w.at(w.page[id]))
	}
}

// record returns the file from the start of an id's record on.
func (w patient) record(id string) []byte {
	page := w.at(w.page[id])
	return page[bytes.Index(page, append([]byte(id), 0xC5, 2))+len(id):]
}

// key replaces the key of an id by other, and zeros the given number of bytes
// at the start of the record.
func (w patient) key(id, other string, bytes int) {
	record := w.record(id)
	clear(record[:bytes])
	page := w.at(w.page[id])
	copy(page[len(page)-len(record)-len(id):], other)
}

// old replaces the page of an id by its older copy, which is on a free page.
func (w patient) old(id string) {
	number := w.page[id]
	for page := range len(w.file) / w.size {
		if page != number && bytes.Contains(w.at(page), []byte(id+"name of "+id)) {
			copy(w.at(number), w.at(page))
			binary.NativeEndian.PutUint64(w.at(number), uint64(number))
		}
	}
}

// branchKey returns the file from the place of a key on a branch page on.
func (w patient) branchKey(page int, key string) []byte {
	return w.at(page)[bytes.LastIndex(w.at(page), []byte(key)):]
}

// element returns the file from the n-th element of an id's leaf page on.
func (w patient) element(id string, n int) []byte { return w.at(w.page[id])[16+16*n:] }

// point makes the bucket of records begin at another page.
func (w patient) point(page int) {
	root := w.at(w.root)
	binary.NativeEndian.PutUint64(root[bytes.Index(root, []byte("customstatus.records"))+len("customstatus.records"):], uint64(page))
}

// TestFileKnowsWhatIsLost has three hundred statuses, i100 to i399, in a tree
// of three levels. The last commit has updated i130 and i305, and has deleted
// one to four statuses of each of several pages. Free pages have the older
// copies of those pages.
func TestFileKnowsWhatIsLost(t *testing.T) {
	t.Parallel()
	const pageSize = 512
	path := tempPath(t)
	s := open(t, path, pageSize)
	var first []bolt.Change
	for i := 100; i < 400; i++ {
		first = append(first, put(fmt.Sprintf("i%d", i), fmt.Sprintf("name of i%d", i), 0))
	}
	commit(t, s, first...)
	before := load(t, s)
	sound := patient{size: pageSize, page: make(map[string]int)}
	look := func() {
		sound.file = read(t, path)
		survey(t, sound.file, func(page uint64, _ string, key, _ []byte) { sound.page[string(key)] = int(page) })
	}
	look()
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
	second := []bolt.Change{put("i130", "new name of i130", 1), put("i305", "new name of i305", 1)}
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
	look()
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
	const nine = "i369" // the last one of its page, so that its key can be another one in order
	require.Equal(t, nine, on(nine)[len(on(nine))-1])
	require.Equal(t, "i309", on("i305")[4])

	for _, c := range []struct {
		what     string
		damage   func(w patient)
		complete bool
		lost     []string // are not saved
		doubtful []string // are saved, and listed
		back     []string // were deleted, and are saved as doubtful
		old      bool     // i130 is saved as it was before the last commit
		says     []string
		silent   bool // no other status is named
	}{
		{what: "a leaf of which there is no other copy", silent: true,
			damage: func(w patient) { w.zero("i360") }, lost: never,
			says: []string{
				fmt.Sprintf("page %d: in bucket \"customstatus.records\": its header has the number of page 0; the lost keys are among the keys from %q to before ", sound.page["i360"], never[0]),
				fmt.Sprintf("the last commit left 290 statuses: %d were saved, %d are missing; so it can't be proven that the saved ones are unchanged\n", 290-len(never), len(never)),
			}},
		{what: "a leaf with an update", damage: func(w patient) { w.zero("i130") }, doubtful: updated, old: true, silent: true,
			says: []string{"the last commit left 290 statuses, 290 were saved, and it can't be proven that they are the same"}},
		{what: "a leaf with a deletion", damage: func(w patient) { w.zero(deletions[1][0]) }, complete: true},
		{what: "a leaf with two deletions", damage: func(w patient) { w.zero(deletions[2][0]) }, complete: true},
		{what: "a leaf with three deletions", damage: func(w patient) { w.zero(deletions[3][0]) }, silent: true,
			doubtful: on(deletions[3][0]), back: deletions[3][1:4]},
		{what: "leaves with a deletion and without another copy", silent: true,
			damage: func(w patient) { w.zero(deletions[1][0], "i360") }, lost: never,
			doubtful: on(deletions[1][0]), back: deletions[1][1:2]},
		{what: "a byte of a record", damage: func(w patient) { w.record("i360")[8] ^= 1 }, lost: []string{"i360"}, silent: true,
			says: []string{
				fmt.Sprintf("page %d: status \"i360\": lost: its record is damaged: wrong checksum", sound.page["i360"]),
				"the last commit left 290 statuses: 289 were saved, 1 are missing; so it can't be proven that the saved ones are unchanged\n",
			}},
		{what: "a byte of a record that was updated", damage: func(w patient) { w.record("i130")[8] ^= 1 }, doubtful: []string{"i130"}, old: true,
			says: []string{"status \"i130\": its record is damaged: wrong checksum", "named \"name of i130\": doubtful: its page is free"}},
		{what: "a byte of a record beside one that was updated", damage: func(w patient) { w.record(updated[1])[8] ^= 1 }, complete: true,
			says: []string{fmt.Sprintf("status %q: its record is damaged: wrong checksum", updated[1])}},
		{what: "the key of a record", complete: true,
			damage: func(w patient) { w.key(nine, "i36z", 0) },
			says:   []string{`status "i369", named "name of i369": its key is damaged: "i36z"`}},
		{what: "the end of a key and the start of its record", complete: true,
			damage: func(w patient) { w.key(nine, "i36z", 6) },
			says:   []string{`status "i369", named "name of i369": its key is damaged: "i36z"`}},
		{what: "the end of a key and the start of its record, and a leaf",
			damage: func(w patient) { w.key(nine, "i36z", 6); w.zero("i380") }, lost: on("i380")},
		{what: "the start of a record", complete: true,
			damage: func(w patient) { w.key(nine, nine, 6) },
			says:   []string{`status "i369", named "name of i369": its record was damaged and is restored`}},
		{what: "a key and more of its record", silent: true,
			damage: func(w patient) { w.key(nine, "i36z", 20) }, lost: []string{nine},
			says: []string{fmt.Sprintf(`page %d: the record under the key "i36z" is damaged: not a record; if the key is damaged too, the id is any between "i368" and "i370"`, sound.page[nine])}},
		{what: "a key and more of its record, of which there is another copy", complete: true,
			damage: func(w patient) { w.key("i309", "i30z", 20) },
			says:   []string{`the record under the key "i30z" is damaged`}},
		{what: "an element of a leaf", damage: func(w patient) { w.element("i360", 2)[0] = 8 }, complete: true,
			says: []string{"element 2 has unknown flags"}},
		{what: "an element of a leaf and a record behind it", silent: true,
			damage:   func(w patient) { w.element("i360", 2)[0] = 8; w.record(never[3])[8] ^= 1 },
			lost:     never[3:4],
			doubtful: slices.Concat(never[2:3], never[4:]), says: []string{"doubtful: nothing leads to its record, though the page is in use"}},
		{what: "the root of the records", damage: func(w patient) { clear(w.at(w.records)) }, complete: true},
		{what: "a branch, and a leaf below it", silent: true,
			damage: func(w patient) { clear(w.at(branch)); w.zero("i100") },
			lost:   firstLeaf, doubtful: except(below(all), firstLeaf), back: below(deleted),
			says: []string{"doubtful: nothing leads to its page"}},
		{what: "a branch, and a leaf that is not below it", silent: true,
			damage: func(w patient) { clear(w.at(branch)); w.zero("i360") },
			lost:   never, doubtful: below(all), back: below(deleted),
			says: []string{fmt.Sprintf("the lost keys are among the keys from \"i100\" to before %q", end)}},
		{what: "a branch, two leaves, and a page that has a copy of a third", silent: true,
			damage: func(w patient) {
				copy(w.at(w.freelist), w.at(w.page["i112"]))
				clear(w.at(branch))
				w.zero("i100", "i360")
			},
			lost: slices.Concat(firstLeaf, never), doubtful: except(below(all), firstLeaf), back: below(deleted),
			says: []string{fmt.Sprintf("page %d: status \"i112\", named \"name of i112\": doubtful: nothing leads to its page", sound.page["i112"])}},
		{what: "the key of a branch, to a higher one", damage: func(w patient) { copy(w.branchKey(sound.records, end), "i3") }, complete: true},
		{what: "the key of a branch, to a lower one", damage: func(w patient) { copy(w.branchKey(sound.records, end), "i1") }, complete: true},
		{what: "the list of free pages, which has one that is used, and a leaf",
			damage: func(w patient) {
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
			lost: never, back: deleted, says: []string{"it is in the list of free pages and also in use", "some pages contradict each other"}},
		{what: "the list of free pages and a leaf with three deletions", silent: true,
			damage:   func(w patient) { clear(w.at(w.freelist)); w.zero(deletions[3][0]) },
			doubtful: on(deletions[3][0]), back: deletions[3][1:4]},
		{what: "the way to the records", damage: func(w patient) { w.point(branch) }, complete: true,
			says: []string{"it is neither in use nor in the list of free pages"}},
		{what: "the way to the records, and a leaf", damage: func(w patient) { w.point(branch); w.zero("i100") },
			lost: firstLeaf, doubtful: except(all, below(all)), back: deleted,
			says: []string{"some pages contradict each other"}},
		{what: "the name of the bucket", complete: true,
			damage: func(w patient) { w.at(w.root)[bytes.Index(w.at(w.root), []byte("records"))]++ },
			says:   []string{"there is no bucket \"customstatus.records\""}},
		{what: "the state", damage: func(w patient) { w.at(w.root)[bytes.Index(w.at(w.root), []byte("state"))+10] ^= 1 }, silent: true,
			says: []string{"the state of the store: damaged: wrong checksum", "it is not known how many statuses there were; 290 were saved"}},
		{what: "the root", damage: func(w patient) { clear(w.at(w.root)) }, doubtful: all,
			back: deleted,
			says: []string{"it is not known how many statuses there were; 300 were saved", "doubtful: nothing leads to its page", "doubtful: its page is free"}},
		{what: "both meta pages", damage: func(w patient) { clear(w.at(0)); clear(w.at(1)) }, doubtful: all,
			back: deleted,
			says: []string{"it is not known how many statuses there were; 300 were saved"}},
		{what: "an old leaf, with a status that was deleted, in place of the last one", complete: true,
			damage: func(w patient) { w.old("i200") }, says: []string{"some pages contradict each other"}},
		{what: "an old leaf in place of the last one", says: []string{"some pages contradict each other"},
			damage: func(w patient) { w.old("i130") },
			back:   deleted, old: true},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := sound
			w.file = bytes.Clone(sound.file)
			c.damage(w)
			saved := save(t, w.file)
			says := problems(saved)
			require.Equal(t, c.complete, saved.Complete, says)
			for _, text := range c.says {
				require.Contains(t, says, text)
			}
			require.NotEmpty(t, saved.Problems)
			require.EqualValues(t, 2, saved.Revision)
			listed := make(map[string]bool)
			for _, p := range saved.Problems {
				if p.Kind == Doubtful {
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
