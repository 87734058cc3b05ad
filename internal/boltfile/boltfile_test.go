package boltfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/damage"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

const pageSize = 1024

// build makes a bbolt file with several transactions and returns its bytes.
func build(t testing.TB, opts bbolt.Options, transactions ...func(*bbolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bolt.db")
	opts.NoSync, opts.NoGrowSync = true, true
	if opts.PageSize == 0 {
		opts.PageSize = pageSize
	}
	db, err := bbolt.Open(path, 0o600, &opts)
	require.NoError(t, err)
	db.AllocSize = 1
	for _, fn := range transactions {
		require.NoError(t, db.Update(fn))
	}
	require.NoError(t, db.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

// fill puts the keys with the numbers from up to, but without, to into a
// bucket.
func fill(bucket string, from, to, size int) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		for i := from; i < to && err == nil; i++ {
			err = b.Put(fmt.Appendf(nil, "key %06d", i*7919%1000003), bytes.Repeat([]byte{byte(i)}, i%size))
		}
		return err
	}
}

// drop deletes every n-th of the keys that fill puts.
func drop(bucket string, from, to, n int) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		for i := from; i < to; i += n {
			if err := tx.Bucket([]byte(bucket)).Delete(fmt.Appendf(nil, "key %06d", i*7919%1000003)); err != nil {
				return err
			}
		}
		return nil
	}
}

// nest makes buckets within buckets.
func nest(tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte("nested"))
	for depth := range 5 {
		if err != nil {
			return err
		}
		for i := range 30 {
			if err := b.Put(fmt.Appendf(nil, "%d key %d", depth, i), make([]byte, 50)); err != nil {
				return err
			}
		}
		if _, err := b.CreateBucketIfNotExists([]byte("small")); err != nil {
			return err
		}
		b, err = b.CreateBucketIfNotExists([]byte("deeper"))
	}
	return err
}

func idle(*bbolt.Tx) error { return nil }

// files returns sound files of all kinds, by a description.
func files(t testing.TB) map[string][]byte {
	var long []func(*bbolt.Tx) error
	for i := range 40 {
		long = append(long, fill("a", i*20, i*20+30, 90), drop("a", i*10, i*20, 3), fill("b", i, i+10, 20))
	}
	all := map[string][]byte{
		"new":           build(t, bbolt.Options{}),
		"small":         build(t, bbolt.Options{}, fill("a", 0, 3, 20), fill("b", 0, 1, 2), drop("a", 0, 1, 1)),
		"nested":        build(t, bbolt.Options{}, nest, fill("a", 0, 60, 40), nest),
		"deep":          build(t, bbolt.Options{}, fill("a", 0, 4000, 50), drop("a", 0, 4000, 5), fill("b", 0, 100, 10)),
		"history":       build(t, bbolt.Options{}, long...),
		"large values":  build(t, bbolt.Options{}, fill("a", 0, 30, 9000), drop("a", 0, 30, 4), fill("a", 5, 25, 5000)),
		"no free list":  build(t, bbolt.Options{NoFreelistSync: true}, fill("a", 0, 900, 50), drop("a", 0, 900, 2)),
		"emptied":       build(t, bbolt.Options{}, fill("a", 0, 900, 50), drop("a", 0, 900, 1)),
		"one committed": build(t, bbolt.Options{}, idle),
		"4096":          build(t, bbolt.Options{PageSize: 4096}, fill("a", 0, 900, 50), drop("a", 0, 900, 3)),
		"hashmap":       build(t, bbolt.Options{FreelistType: bbolt.FreelistMapType}, long...),
	}
	// A copy, whose meta pages are written in another way.
	path := filepath.Join(t.TempDir(), "bolt.db")
	require.NoError(t, os.WriteFile(path, all["history"], 0o600))
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	for i := range 2 {
		var copied bytes.Buffer
		require.NoError(t, db.View(func(tx *bbolt.Tx) error { _, err := tx.WriteTo(&copied); return err }))
		all[fmt.Sprintf("copy %d", i)] = copied.Bytes()
		require.NoError(t, db.Update(idle))
	}
	require.NoError(t, db.Close())
	return all
}

func check(b []byte) error { return boltfile.Check(bytes.NewReader(b), int64(len(b))) }

// content has all values of a file, by bucket and key.
type content map[string]string

// explore returns a survey and what it visits.
func explore(b []byte) (*boltfile.Survey, content) {
	all := make(content)
	survey := boltfile.Explore(bytes.NewReader(b), int64(len(b)), func(_ uint64, bucket string, key, value []byte) {
		all[bucket+"\x00"+string(key)] = string(value)
	})
	return survey, all
}

// boltReads opens a file with bbolt, reads all keys, runs bbolt's own check,
// and writes to the file.
func boltReads(t testing.TB, path string, b []byte) (all content, err error) {
	t.Helper()
	damage.Overwrite(t, path, b)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, NoGrowSync: true, Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	all = make(content)
	var walk func(top string, b *bbolt.Bucket) error
	walk = func(top string, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			if v == nil {
				return walk(top, b.Bucket(k))
			}
			all[top+"\x00"+string(k)] = string(v)
			return nil
		})
	}
	err = db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return walk(string(name), b) })
	})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("written later"))
		if err != nil {
			return err
		}
		return b.Put([]byte("key"), make([]byte, 3000))
	})
	return all, errors.Join(err, db.Close())
}

func TestCheckAndExploreReadWhatBboltWrites(t *testing.T) {
	for name, b := range files(t) {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, check(b))
			want, err := boltReads(t, filepath.Join(t.TempDir(), "bolt.db"), b)
			require.NoError(t, err)
			survey, got := explore(b)
			require.Empty(t, survey.Damages)
			require.True(t, survey.Newest)
			require.Equal(t, want, got)
			require.Equal(t, order.Uint32(b[24:]), uint32(survey.PageSize))
			require.LessOrEqual(t, survey.Pages*survey.PageSize, uint64(len(b)))
		})
	}
}

func TestCheckReadsALongListOfFreePages(t *testing.T) {
	// More free pages than a page's count can hold.
	b := build(t, bbolt.Options{PageSize: 512, FreelistType: bbolt.FreelistMapType}, func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucket([]byte("a"))
		if err != nil {
			return err
		}
		return b.Put([]byte("large"), make([]byte, 512*70000))
	}, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("a")) })
	require.NoError(t, check(b))
	survey, _ := explore(b)
	require.Empty(t, survey.Damages)
	free := 0
	for i := range survey.Pages {
		if survey.Usage(i) == boltfile.Free {
			free++
		}
	}
	require.Greater(t, free, 1<<16)
}

func TestCheckRefusesEveryTruncation(t *testing.T) {
	for name, b := range files(t) {
		t.Run(name, func(t *testing.T) {
			survey, _ := explore(b)
			used := int(survey.Pages * survey.PageSize)
			require.NoError(t, check(b[:used]))
			for n := 0; n < used; n += 1 + n/97 {
				requireRefused(t, b[:n])
				explore(b[:n])
			}
		})
	}
}

func requireDamage(t testing.TB, err error) *boltfile.DamageError {
	t.Helper()
	require.Error(t, err)
	var damage *boltfile.DamageError
	require.ErrorAs(t, err, &damage)
	return damage
}

// requireRefused requires that Check refuses a file: as damaged or, if nothing
// of the meta pages is left, as not a bbolt file.
func requireRefused(t testing.TB, b []byte) {
	t.Helper()
	err := check(b)
	if !errors.Is(err, boltfile.ErrNotBbolt) {
		requireDamage(t, err)
		return
	}
	magic := order.AppendUint32(nil, 0xED0CDAED)
	require.False(t, len(b) >= 20 && bytes.Equal(b[16:20], magic))
	require.False(t, len(b) >= pageSize+20 && bytes.Equal(b[pageSize+16:][:4], magic))
}

// same requires that bbolt reads every file that Check accepts without a panic,
// and that Explore agrees with both. It reports whether Check accepted the
// file.
func same(t testing.TB, path string, b []byte) bool {
	t.Helper()
	err := check(b)
	survey, got := explore(b)
	if err != nil {
		requireRefused(t, b)
		require.NotEmpty(t, survey.Damages, "Check says %v", err)
		return false
	}
	require.Empty(t, survey.Damages)
	want, err := boltReads(t, path, b)
	require.NoError(t, err)
	require.Equal(t, want, got)
	return true
}

func torture() bool { return os.Getenv("CUSTOMSTATUS_TORTURE") != "" }

func TestCheckFindsWhatWouldBreakBbolt(t *testing.T) {
	all := files(t)
	t.Run("every byte of a small file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "bolt.db")
		for name, step := range map[string]int{"small": 1, "nested": 17} {
			file := all[name]
			patterns := []byte{0} // in turn, each bit
			if torture() {
				step, patterns = 1, []byte{0x01, 0x80, 0xFF, 0x10, 0x42}
			}
			refused := 0
			for i := 0; i < len(file); i += step {
				for _, pattern := range patterns {
					if pattern == 0 {
						pattern = 1 << (i / step % 8)
					}
					b := bytes.Clone(file)
					b[i] ^= pattern
					if !same(t, path, b) {
						refused++
					}
				}
			}
			require.Greater(t, refused, 200)
		}
	})
	t.Run("random damages", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "bolt.db")
		rounds := 50
		if torture() {
			rounds = 3000
		}
		random := rand.New(rand.NewPCG(1, 2))
		for _, name := range slices.Sorted(maps.Keys(all)) {
			refused := 0
			for range rounds {
				b := bytes.Clone(all[name])
				for range 1 + random.IntN(3) {
					hurt(random, b)
				}
				if !same(t, path, b) {
					refused++
				}
			}
			require.NotZero(t, refused, name)
		}
	})
}

// hurt damages a file in a random way and keeps the length.
func hurt(random *rand.Rand, b []byte) {
	size := int(order.Uint32(b[24:]))
	if size < 512 || size > len(b) {
		size = pageSize
	}
	at := func() int { return random.IntN(len(b)/size) * size }
	from, to := at(), at()
	switch random.IntN(7) {
	case 0:
		b[random.IntN(len(b))] ^= byte(1 + random.IntN(255))
	case 1: // in a header or the first elements
		b[from+random.IntN(64)] ^= 1 << random.IntN(8)
	case 2:
		clear(b[from : from+size])
	case 3:
		copy(b[to:to+size], b[from:from+size])
	case 4:
		page := bytes.Clone(b[to : to+size])
		copy(b[to:to+size], b[from:from+size])
		copy(b[from:from+size], page)
	case 5:
		for i := range b[from : from+size] {
			b[from+i] = byte(random.Uint32())
		}
	case 6: // a stale page with the right number
		copy(b[to:to+size], b[from:from+size])
		order.PutUint64(b[to:], uint64(to/size))
	}
}

var order = binary.NativeEndian

// seal writes the checksum of a meta page.
func seal(b []byte, page int) {
	body := b[page*pageSize+16:]
	h := fnv.New64a()
	_, _ = h.Write(body[:56])
	order.PutUint64(body[56:], h.Sum64())
}

// newest returns the number of the newer meta page.
func newest(b []byte) int {
	if order.Uint64(b[16+48:]) > order.Uint64(b[pageSize+16+48:]) {
		return 0
	}
	return 1
}

func TestCheckNamesTheDamage(t *testing.T) {
	file := files(t)["nested"]
	n := newest(file)
	body := n*pageSize + 16
	root := int(order.Uint64(file[body+16:])) * pageSize
	freelist := int(order.Uint64(file[body+32:])) * pageSize
	require.EqualValues(t, 2, order.Uint16(file[root+8:]), "the root is a leaf")
	// The two buckets of the root page, "a" and "nested", have pages of their own.
	position := root + 16 + int(order.Uint32(file[root+16+4:]))
	bucket := int(order.Uint64(file[position+1:])) * pageSize
	require.EqualValues(t, 1, order.Uint16(file[bucket+8:]), "bucket a is a branch")
	leaf := int(order.Uint64(file[bucket+16+8:])) * pageSize

	for _, c := range []struct {
		what  string
		wound func(b []byte) []byte
		says  string
	}{
		{"short", func(b []byte) []byte { return b[:50] }, "cut short"},
		{"no second meta page", func(b []byte) []byte { return b[:pageSize] }, "cut short"},
		{"no first meta page", func(b []byte) []byte { return append(bytes.Repeat([]byte("text"), pageSize/4), b[pageSize:]...) }, "page 0: not a meta page of bbolt"},
		{"other byte order", func(b []byte) []byte { order.PutUint32(b[16:], 0xEDDA0CED); return b }, "other byte order"},
		{"version", func(b []byte) []byte { b[20]++; return b }, "version 3 of bbolt's format"},
		{"meta 0", func(b []byte) []byte { b[16+40]++; return b }, "page 0: meta page with a wrong checksum"},
		{"meta 1", func(b []byte) []byte { b[pageSize+16+40]++; return b }, "page 1: meta page with a wrong checksum"},
		{"meta id", func(b []byte) []byte { b[0]++; return b }, "has page number 1"},
		{"page size", func(b []byte) []byte { order.PutUint32(b[16+8:], 1000); seal(b, 0); return b }, "page size of 1000"},
		{"page sizes", func(b []byte) []byte { order.PutUint32(b[pageSize+16+8:], 2048); seal(b, 1); return b }, "page size of 2048, unlike page 0"},
		{"lost meta", func(b []byte) []byte {
			at := (1-n)*pageSize + 16 + 48
			order.PutUint64(b[at:], order.Uint64(b[at:])-2)
			seal(b, 1-n)
			return b
		}, "a write was lost"},
		{"meta twice", func(b []byte) []byte {
			copy(b[n*pageSize+16:n*pageSize+80], b[(1-n)*pageSize+16:])
			return b
		}, "a write was lost"},
		{"pages", func(b []byte) []byte { order.PutUint64(b[body+40:], 1e6); seal(b, n); return b }, "cut short"},
		{"no pages", func(b []byte) []byte { order.PutUint64(b[body+40:], 3); seal(b, n); return b }, "cut short"},
		{"root is a meta page", func(b []byte) []byte { order.PutUint64(b[body+16:], 1); seal(b, n); return b }, "page 1: another page leads to it"},
		{"root is the free list", func(b []byte) []byte {
			order.PutUint64(b[body+16:], order.Uint64(b[body+32:]))
			seal(b, n)
			return b
		}, "used twice"},
		{"free list is no list", func(b []byte) []byte { order.PutUint16(b[freelist+8:], 2); return b }, "should be the list of free pages"},
		{"free list too long", func(b []byte) []byte { order.PutUint16(b[freelist+10:], 500); return b }, "more than fit"},
		{"free list far too long", func(b []byte) []byte {
			order.PutUint16(b[freelist+10:], 0xFFFF)
			order.PutUint64(b[freelist+16:], 1<<63)
			return b
		}, "more than fit"},
		{"free list out of order", func(b []byte) []byte {
			order.PutUint64(b[freelist+24:], 2)
			order.PutUint16(b[freelist+10:], 2)
			return b
		}, "list of free pages has page 2 after"},
		{"free list in itself", func(b []byte) []byte {
			order.PutUint64(b[freelist+16:], uint64(freelist/pageSize))
			order.PutUint16(b[freelist+10:], 1)
			return b
		}, "in the list of free pages and also in use"},
		{"free list cut", func(b []byte) []byte { order.PutUint16(b[freelist+10:], 0); return b }, "neither in use nor in the list"},
		{"number", func(b []byte) []byte { b[root]++; return b }, "has the number of page"},
		{"overflow", func(b []byte) []byte { order.PutUint32(b[root+12:], 1e6); return b }, "1000000 overflow pages"},
		{"overflow into others", func(b []byte) []byte { order.PutUint32(b[leaf+12:], 3); return b }, "used twice"},
		{"type", func(b []byte) []byte { order.PutUint16(b[root+8:], 4); return b }, "should be part of a bucket"},
		{"count", func(b []byte) []byte { order.PutUint16(b[root+10:], 60000); return b }, "60000 elements, more than fit"},
		{"empty branch", func(b []byte) []byte { order.PutUint16(b[bucket+10:], 0); return b }, `(bucket "a"): a branch page without elements`},
		{"empty leaf", func(b []byte) []byte { order.PutUint16(b[leaf+10:], 0); return b }, "an empty page in a bucket"},
		{"flags", func(b []byte) []byte { b[leaf+16+1] = 1; return b }, "unknown flags"},
		{"position", func(b []byte) []byte { b[leaf+16+4]++; return b }, "in the wrong place"},
		{"key size", func(b []byte) []byte { order.PutUint32(b[leaf+16+8:], 0); return b }, "a key of 0 bytes"},
		{"value size", func(b []byte) []byte { order.PutUint32(b[leaf+16+12:], 0xFFFFFFFF); return b }, "a value of 4294967295"},
		{"order", func(b []byte) []byte {
			first := leaf + bytes.Index(b[leaf:leaf+pageSize], []byte("key "))
			second := first + 4 + bytes.Index(b[first+4:leaf+pageSize], []byte("key "))
			copy(b[second:second+10], b[first:])
			return b
		}, "not greater than the one before"},
		{"below its page", func(b []byte) []byte {
			copy(b[bytes.Index(b[leaf:leaf+pageSize], []byte("key "))+leaf:], "aaa")
			return b
		}, "does not belong on this page"},
		{"child", func(b []byte) []byte { order.PutUint64(b[bucket+16+8:], 1e9); return b }, "page 1000000000 (bucket \"a\"): another page leads to it"},
		{"child twice", func(b []byte) []byte { copy(b[bucket+32+8:bucket+40+8], b[bucket+16+8:]); return b }, "used twice"},
		{"bucket's header cut", func(b []byte) []byte {
			order.PutUint32(b[root+32+12:], 10)
			return b
		}, "a bucket's header of 10 bytes"},
		{"no bucket", func(b []byte) []byte { b[root+16] = 0; return b }, "a key outside of all buckets"},
		{"bucket inline without a page", func(b []byte) []byte { order.PutUint64(b[position+1:], 0); return b }, "an inline bucket of 0 bytes"},
		{"bucket with too much", func(b []byte) []byte {
			order.PutUint32(b[root+32+12:], 20)
			return b
		}, "4 unexpected bytes"},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := c.wound(bytes.Clone(file))
			err := check(b)
			requireDamage(t, err)
			require.Contains(t, err.Error(), c.says)
			survey, _ := explore(b)
			require.NotEmpty(t, survey.Damages)
			if strings.Contains(c.says, "used") {
				require.True(t, survey.Conflict)
			}
		})
	}
}

func TestCheckLooksIntoInlineBuckets(t *testing.T) {
	file := build(t, bbolt.Options{}, fill("a", 0, 3, 20))
	root := int(order.Uint64(file[newest(file)*pageSize+16+16:])) * pageSize
	position := root + 16 + int(order.Uint32(file[root+16+4:]))
	inline := position + 1 + 16 // behind the key "a" and the bucket's header
	require.EqualValues(t, 3, order.Uint16(file[inline+10:]), "its elements")
	for _, c := range []struct {
		what  string
		wound func(b []byte)
		says  string
	}{
		{"type", func(b []byte) { b[inline+8] = 1 }, "wrong header"},
		{"overflow", func(b []byte) { b[inline+12] = 1 }, "wrong header"},
		{"element", func(b []byte) { b[inline+16+4]++ }, "in the wrong place"},
		{"bucket", func(b []byte) { b[inline+16] = 1 }, "an inline bucket contains another bucket"},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := bytes.Clone(file)
			c.wound(b)
			damage := requireDamage(t, check(b))
			require.Equal(t, "a", damage.Bucket)
			require.Contains(t, damage.Reason, c.says)
			survey, _ := explore(b)
			require.NotEmpty(t, survey.Damages)
		})
	}
}

func TestCheckBearsATreeWithoutEnd(t *testing.T) {
	// Two thousand branches, each with the next one as its only child.
	const pages = 2000
	file := build(t, bbolt.Options{})
	file = append(file, make([]byte, (pages-len(file)/pageSize)*pageSize)...)
	for i := 4; i < pages; i++ {
		p := file[i*pageSize:]
		order.PutUint64(p, uint64(i))
		order.PutUint16(p[8:], 1)
		order.PutUint16(p[10:], 1)
		order.PutUint32(p[16:], 16)
		order.PutUint32(p[20:], 1)
		order.PutUint64(p[24:], uint64(i+1))
		p[32] = 'k'
	}
	n := newest(file)
	order.PutUint64(file[n*pageSize+16+16:], 4)
	order.PutUint64(file[n*pageSize+16+40:], pages)
	seal(file, n)
	require.Contains(t, check(file).Error(), "pages deep")
	survey, _ := explore(file)
	require.NotEmpty(t, survey.Damages)
}

// failing is a file on a disk that fails to read beyond an offset.
type failing struct {
	io.ReaderAt
	from int64
}

var errDisk = errors.New("input/output error")

func (f failing) ReadAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > f.from {
		return 0, errDisk
	}
	return f.ReaderAt.ReadAt(b, off)
}

func TestCheckTellsADiskThatFailsFromDamage(t *testing.T) {
	file := files(t)["large values"]
	for from := 0; from < len(file); from += 512 {
		r := failing{bytes.NewReader(file), int64(from)}
		if err := boltfile.Check(r, int64(len(file))); err != nil {
			require.ErrorIs(t, err, errDisk)
			survey := boltfile.Explore(r, int64(len(file)), func(uint64, string, []byte, []byte) {})
			require.Contains(t, survey.Damages[0].Error(), errDisk.Error())
		}
	}
	// A file that is shorter than the given size.
	requireDamage(t, boltfile.Check(bytes.NewReader(file[:100]), int64(len(file))))
}

// FuzzCheck looks for files that Check accepts but that break bbolt. It seals
// the meta pages, so that the fuzzer gets past their checksums.
func FuzzCheck(f *testing.F) {
	for _, name := range []string{"new", "small", "one committed"} {
		b := files(f)[name]
		f.Add(b, true)
		f.Add(b, false)
	}
	path := filepath.Join(f.TempDir(), "bolt.db")
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed && len(b) >= 2*pageSize {
			seal(b, 0)
			seal(b, 1)
		}
		if len(b) > 1<<20 {
			return
		}
		same(t, path, b)
	})
}
