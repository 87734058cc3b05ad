package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// A file that is damaged while it is open can make bbolt recurse until the
// stack is full, loop for ever, or ask for more memory than there is. None of
// that can be recovered from, so the test runs in a child process with limited
// memory and time.
func TestStoreBearsDamageWhileItIsOpen(t *testing.T) {
	t.Parallel()
	runChild(t, childCommand("damaged", tempPath(t)))
}

func TestStoreBearsRandomDamageWhileItIsOpen(t *testing.T) {
	t.Parallel()
	out := runChild(t, childCommand("damaged at random", tempPath(t)))
	for line := range strings.Lines(out) {
		if said, ok := strings.CutPrefix(strings.TrimSpace(line), "damages: "); ok {
			t.Attr("damages", said)
		}
	}
}

// limitMemory allows the process one more gigabyte of memory.
func limitMemory(t *testing.T) {
	debug.SetMaxStack(64 << 20)
	statm, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	var pages uint64
	_, err = fmt.Sscan(string(statm), &pages)
	require.NoError(t, err)
	limit := pages*uint64(os.Getpagesize()) + 1<<30
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: limit, Max: limit}))
}

// pageFile is a file that the test damages while a store has it open.
type pageFile struct {
	t    *testing.T
	file *os.File
	size int
}

func (f pageFile) read(page int) []byte {
	b := make([]byte, f.size)
	_, err := f.file.ReadAt(b, int64(page*f.size))
	require.NoError(f.t, err)
	return b
}

func (f pageFile) write(page, at int, b []byte) {
	_, err := f.file.WriteAt(b, int64(page*f.size+at))
	require.NoError(f.t, err)
}

func (f pageFile) word(page, at int, n uint64) {
	f.write(page, at, binary.NativeEndian.AppendUint64(nil, n))
}

func (f pageFile) half(page, at int, n uint32) {
	f.write(page, at, binary.NativeEndian.AppendUint32(nil, n))
}

// child returns the page that an element of a branch leads to.
func (f pageFile) child(page, element int) int {
	return int(binary.NativeEndian.Uint64(f.read(page)[16+16*element+8:]))
}

func (f pageFile) count(page int) int { return int(binary.NativeEndian.Uint16(f.read(page)[10:])) }

// tree has the pages of a store's file with three levels of records.
type tree struct {
	root     int // of the buckets
	freelist int
	records  int   // root of the records
	branches []int // below it
	leaves   []int // of all branches
	keys     []string
}

// grow opens a store with many records in small pages.
func grow(t *testing.T, path string) (*Store, pageFile, tree) {
	t.Helper()
	_ = os.Remove(path)
	s, err := Open(path, &Options{Bolt: &bbolt.Options{PageSize: 1024, NoSync: true, InitialMmapSize: 1 << 20}})
	require.NoError(t, err)
	for first := 0; first < 600; first += 200 {
		var changes list
		for i := first; i < first+200; i++ {
			changes = append(changes, put(fmt.Sprintf("id %06d %040d", i, i), fmt.Sprintf("name %d", i), 0))
		}
		commit(t, s, changes...)
	}
	load(t, s)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	f := pageFile{t, file, 1024}
	meta := 0
	if binary.NativeEndian.Uint64(f.read(1)[64:]) > binary.NativeEndian.Uint64(f.read(0)[64:]) {
		meta = 1
	}
	tr := tree{
		root:     int(binary.NativeEndian.Uint64(f.read(meta)[32:])),
		freelist: int(binary.NativeEndian.Uint64(f.read(meta)[48:])),
		records:  rootOf(t, s, s.recordBucket),
		keys:     slices.Sorted(maps.Keys(load(t, s).statuses)),
	}
	for i := range f.count(tr.records) {
		branch := f.child(tr.records, i)
		tr.branches = append(tr.branches, branch)
		for k := range f.count(branch) {
			tr.leaves = append(tr.leaves, f.child(branch, k))
		}
	}
	require.Greater(t, len(tr.branches), 2)
	require.Greater(t, len(tr.leaves), 30)
	return s, f, tr
}

func childDamaged(t *testing.T, path string) {
	limitMemory(t)
	first := func(tr tree) string { return tr.keys[0] }
	last := func(tr tree) string { return tr.keys[len(tr.keys)-1] }
	for _, c := range []struct {
		what   string
		damage func(f pageFile, tr tree)
		// key is where the damage is; all: also in the way of Revision.
		key func(tr tree) string
		all bool
		// only commits that remove come across it.
		removing bool
	}{
		{"the last meta page", func(f pageFile, tr tree) {
			newer := 0
			if binary.NativeEndian.Uint64(f.read(1)[64:]) > binary.NativeEndian.Uint64(f.read(0)[64:]) {
				newer = 1
			}
			f.half(newer, 20, 0)
		}, first, true, false},
		{"a branch that leads to itself", func(f pageFile, tr tree) { f.word(tr.records, 16+8, uint64(tr.records)) }, first, false, false},
		{"a branch of one element that leads to itself", func(f pageFile, tr tree) {
			f.write(tr.records, 10, []byte{1, 0})
			f.half(tr.records, 16, 16) // where its key would be
			f.word(tr.records, 16+8, uint64(tr.records))
		}, first, false, false},
		{"a branch that leads to the one above", func(f pageFile, tr tree) { f.word(tr.branches[0], 16+8, uint64(tr.records)) }, first, false, false},
		{"the last branch that leads to itself", func(f pageFile, tr tree) {
			last := tr.branches[len(tr.branches)-1]
			f.word(last, 16*f.count(last)+8, uint64(last))
		}, last, false, false},
		{"a bucket whose root is the page of buckets", func(f pageFile, tr tree) {
			b := f.read(tr.root)
			at := strings.Index(string(b), RecordBucket("")) + len(RecordBucket(""))
			f.word(tr.root, at, uint64(tr.root))
		}, first, false, false},
		{"the page of buckets is a branch that leads to itself", func(f pageFile, tr tree) {
			b := f.read(tr.root)
			b[8], b[10] = 1, 1
			binary.NativeEndian.PutUint32(b[16:], 16)
			binary.NativeEndian.PutUint32(b[20:], 4)
			binary.NativeEndian.PutUint64(b[24:], uint64(tr.root))
			f.write(tr.root, 0, b)
		}, first, true, false},
		{"the page of buckets is zeroed", func(f pageFile, tr tree) { f.write(tr.root, 0, make([]byte, f.size)) }, first, true, false},
		{"a leaf that says billions of pages belong to it", func(f pageFile, tr tree) { f.half(tr.leaves[0], 12, 1<<32-1) }, first, false, false},
		{"a leaf that says one page more belongs to it", func(f pageFile, tr tree) { f.half(tr.leaves[0], 12, 1) }, first, false, false},
		{"a branch that says one page more belongs to it", func(f pageFile, tr tree) { f.half(tr.branches[0], 12, 1) }, first, false, false},
		{"a leaf with a key far away", func(f pageFile, tr tree) { f.half(tr.leaves[0], 16+4, 1<<31) }, first, false, false},
		{"a leaf with a large value", func(f pageFile, tr tree) { f.half(tr.leaves[0], 16+12, 1<<31) }, first, false, false},
		{"a leaf of another number", func(f pageFile, tr tree) { f.word(tr.leaves[0], 0, 0) }, first, false, false},
		{"a leaf that is another one", func(f pageFile, tr tree) { f.write(tr.leaves[0], 0, f.read(tr.leaves[1])) }, first, false, false},
		{"a leaf that is zeroed", func(f pageFile, tr tree) { f.write(tr.leaves[0], 0, make([]byte, f.size)) }, first, false, false},
		{"a list of free pages that says billions of pages belong to it", func(f pageFile, tr tree) { f.half(tr.freelist, 12, 1<<32-1) }, first, false, false},
		{"a list of free pages that says it is long", func(f pageFile, tr tree) {
			f.write(tr.freelist, 10, []byte{0xFF, 0xFF})
			f.word(tr.freelist, 16, 1<<40)
		}, first, false, false},
		{"a list of free pages with one that is not there", func(f pageFile, tr tree) { f.word(tr.freelist, 16, 1<<40) }, first, false, false},
		{"a list of free pages that is none", func(f pageFile, tr tree) { f.write(tr.freelist, 8, []byte{2}) }, first, false, false},
		{"the next leaf leads nowhere", func(f pageFile, tr tree) { f.half(tr.leaves[1], 16+4, 1<<31) }, first, false, true},
		{"the leaf before leads nowhere", func(f pageFile, tr tree) { f.half(tr.leaves[len(tr.leaves)-2], 16+4, 1<<31) }, last, false, true},
		{"the next branch is a leaf's", func(f pageFile, tr tree) { f.write(tr.branches[1], 8, []byte{2}) }, first, false, true},
	} {
		for _, how := range []string{"create", "update", "delete", "load", "revision"} {
			t.Run(c.what+", "+how, func(t *testing.T) {
				s, f, tr := grow(t, path)
				before := load(t, s)
				c.damage(f, tr)
				ctx, key := context.Background(), c.key(tr)
				var err error
				switch how {
				case "create":
					_, err = s.Commit(ctx, list{put(key+" more", "more", 0)})
				case "update":
					_, err = s.Commit(ctx, list{put(key, "more", before.statuses[key].Revision)})
				case "delete": // all that may be on the leaf, so that it is joined with others
					var changes list
					for i, k := range tr.keys {
						if max(i, len(tr.keys)-1-i) >= len(tr.keys)-5 && (i < 5) == (key == tr.keys[0]) {
							changes = append(changes, gone(k, before.statuses[k].Revision))
						}
					}
					require.Len(t, changes, 5)
					_, err = s.Commit(ctx, changes)
				case "load":
					_, err = s.Load(ctx, func(int, *Record) {})
				case "revision":
					_, err = s.Revision(ctx)
				}
				switch {
				case how == "revision" && !c.all, how == "load" && strings.HasPrefix(c.what, "a list"),
					c.removing && (how == "create" || how == "update"):
					require.NoError(t, err)
				default:
					require.ErrorIs(t, err, sentinel.ErrDamaged)
					require.NotContains(t, err.Error(), "panicked", "bbolt followed it")
					require.ErrorContains(t, err, path)
					_, err := s.Commit(ctx, list{put("zz", "zz", 0)})
					if how != "load" {
						require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
					}
				}
				require.NoError(t, s.Close())
				_, err = Open(path, nil)
				require.ErrorIs(t, err, sentinel.ErrDamaged)
			})
		}
	}
}

// childDamagedAtRandom damages what bbolt relies on, anywhere, and then uses the
// store. It ends well, with an error or with what is right.
func childDamagedAtRandom(t *testing.T, path string) {
	limitMemory(t)
	rounds := 200
	if torture() {
		rounds = 10_000
	}
	random := rand.New(rand.NewPCG(5, 6))
	said, noticed := 0, 0
	for range rounds {
		s, f, tr := grow(t, path)
		want := load(t, s)
		info, err := os.Stat(path)
		require.NoError(t, err)
		pages := slices.Concat([]int{tr.root, tr.records, tr.freelist}, tr.branches, tr.leaves)
		for range 1 + random.IntN(3) {
			page := pages[random.IntN(len(pages))]
			if random.IntN(10) == 0 {
				page = random.IntN(int(info.Size()) / f.size)
			}
			damageOpen(random, f, page, pages)
		}
		ok := true
		for range 4 {
			var err error
			if random.IntN(3) == 0 {
				var got contents
				if got, err = loadAll(s); err == nil {
					require.True(t, want.equal(got), "a load is wrong")
				}
			} else {
				changes := newHistory(random.Uint64()).changes(want, 40)
				if random.IntN(3) == 0 { // so that pages are joined
					changes = removal(want, random)
				}
				if _, err = s.Commit(context.Background(), changes); err == nil {
					m := &model{want}
					_, err := m.Commit(context.Background(), changes)
					require.NoError(t, err)
					want = m.now
				} else if errors.Is(err, sentinel.ErrConflict) {
					err = nil
				}
			}
			if err != nil {
				ok = false
				require.True(t, errors.Is(err, sentinel.ErrDamaged) || errors.Is(err, sentinel.ErrNeedsReopen) || errors.Is(err, sentinel.ErrOutcomeUnknown), "%v", err)
			}
		}
		require.NoError(t, s.Close())
		if !ok {
			said++
		}
		if got, err := reopen(path); err != nil {
			noticed++
		} else if ok {
			require.True(t, want.equal(got), "what is opened again is wrong")
		}
	}
	fmt.Printf("damages: %d, %d said while open, %d when opened again\n", rounds, said, noticed)
	require.Greater(t, said, rounds/3)
}

// removal returns a commit that removes adjacent statuses.
func removal(now contents, random *rand.Rand) list {
	ids := slices.Sorted(maps.Keys(now.statuses))
	first := random.IntN(len(ids))
	var changes list
	for _, id := range ids[first:min(len(ids), first+1+random.IntN(60))] {
		if random.IntN(10) > 0 {
			changes = append(changes, gone(id, now.statuses[id].Revision))
		}
	}
	if len(changes) == 0 {
		return list{gone(ids[first], now.statuses[ids[first]].Revision)}
	}
	return changes
}

// damageOpen damages a page in a way that may mislead bbolt.
func damageOpen(random *rand.Rand, f pageFile, page int, pages []int) {
	b := f.read(page)
	elements := max(1, f.count(page))
	element := 16 + 16*random.IntN(min(elements, (f.size-32)/16))
	switch random.IntN(8) {
	case 0:
		b[random.IntN(16)] ^= 1 << random.IntN(8)
	case 1:
		b[element+random.IntN(16)] ^= 1 << random.IntN(8)
	case 2:
		binary.NativeEndian.PutUint64(b[element+8:], uint64(pages[random.IntN(len(pages))]))
	case 3:
		binary.NativeEndian.PutUint32(b[12:], random.Uint32()>>random.IntN(32))
	case 4:
		binary.NativeEndian.PutUint16(b[10:], uint16(random.Uint32()>>random.IntN(32)))
	case 5:
		copy(b, f.read(pages[random.IntN(len(pages))]))
	case 6:
		clear(b[random.IntN(len(b)):])
	default:
		binary.NativeEndian.PutUint32(b[element+4*random.IntN(4):], random.Uint32()>>random.IntN(32))
	}
	f.write(page, 0, b)
}
