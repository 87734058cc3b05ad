package customstatus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
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

// torture asks for the long versions of the tests.
func torture() bool { return os.Getenv("CUSTOMSTATUS_TORTURE") != "" }

// image is a bbolt file that was written in many commits, with updates and
// deletions among them.
type image struct {
	file     []byte
	pageSize int
	want     contents
	// past is the file as it was some commits before, pasts after each commit.
	past  []byte
	pasts [][]byte
	// ever has every status at every revision.
	ever map[customstatus.CustomUserStatus]bool
	// pages are where the pages with the record of a status begin and end.
	pages map[string][2]int
}

func makeImage(t testing.TB, seed uint64, pageSize, first, commits, size int) image {
	t.Helper()
	path := tempPath(t)
	opts := customstatus.BoltOptions{Bolt: &bbolt.Options{PageSize: pageSize, NoSync: true, InitialMmapSize: 1}}
	s, err := customstatus.OpenBolt(path, &opts)
	require.NoError(t, err)
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
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		img.pasts = append(img.pasts, file)
		if i == commits*3/4 {
			past, img.past = load(t, s).revision, file
		}
	}
	img.want = load(t, s)
	// Else a meta page as it was could be taken for one that the last commit
	// had not yet written.
	require.Greater(t, img.want.revision, past+2)
	require.NoError(t, s.Close())
	img.file, err = os.ReadFile(path)
	require.NoError(t, err)
	survey := boltfile.Explore(bytes.NewReader(img.file), int64(len(img.file)), func(uint64, string, []byte, []byte) {})
	require.Empty(t, survey.Damages)
	for id, status := range img.want.statuses {
		record := img.record(status)
		at := bytes.Index(img.file, record)
		for survey.Usage(uint64(at/pageSize)) != boltfile.InUse { // an old copy
			at += 1 + bytes.Index(img.file[at+1:], record)
		}
		img.pages[id] = [2]int{at / pageSize * pageSize, (at + len(record) + 30 + pageSize) / pageSize * pageSize}
	}
	return img
}

// overwrite writes a file, without the sync that ext4 does for one that was cut
// to nothing before.
func overwrite(t testing.TB, path string, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.Write(b)
	require.NoError(t, errors.Join(err, f.Truncate(int64(len(b))), f.Close()))
}

// reopen opens a file that may be damaged and returns what is in it.
func reopen(path string, change ...customstatus.Change) (contents, error) {
	s, err := customstatus.OpenBolt(path, &customstatus.BoltOptions{Bolt: &bbolt.Options{NoSync: true}})
	if err != nil {
		return contents{}, err
	}
	c, err := loadAll(s)
	if err == nil && len(change) > 0 {
		if _, err = s.Commit(context.Background(), change); err == nil {
			_, err = loadAll(s)
		}
	}
	return c, errors.Join(err, s.Close())
}

// rightOrRefused requires that a damaged file gives the right data, or an error
// that says which file is damaged. It reports which.
func (img image) rightOrRefused(t testing.TB, path string, b []byte, what string) bool {
	t.Helper()
	overwrite(t, path, b)
	got, err := reopen(path, put("added", "added later", 0))
	if err != nil {
		require.ErrorIs(t, err, customstatus.ErrDamaged, what)
		require.Contains(t, err.Error(), path, what)
		return false
	}
	require.True(t, img.want.equal(got), what)
	return true
}

// salvaged requires of what can be saved from a damaged file what SalvageBolt
// promises.
func (img image) salvaged(t testing.TB, path string, b []byte, what string) {
	t.Helper()
	overwrite(t, path, b)
	saved, err := customstatus.SalvageBolt(path)
	require.NoError(t, err, what)
	ids, names := make(map[string]customstatus.CustomUserStatus), make(map[string]bool)
	for _, status := range saved.Statuses {
		_, twice := ids[status.ID]
		require.False(t, twice || names[status.Name], what)
		ids[status.ID], names[status.Name] = status, true
		require.True(t, img.ever[status], "%s: never existed: %v", what, status)
	}
	if saved.Complete {
		require.True(t, img.want.equal(contents{saved.Revision, ids}), what)
	} else {
		require.NotEmpty(t, saved.Problems, what)
	}
	listed, unsure := make(map[customstatus.CustomUserStatus]bool), false
	for _, p := range saved.Problems {
		listed[p.Status] = true
		require.NotEmpty(t, p.Reason, what)
		unsure = unsure || strings.Contains(p.Reason, "not known") || strings.Contains(p.Reason, "a meta page is damaged") || strings.Contains(p.Reason, "some pages do not fit together")
	}
	// An old page in place of the last one can't be told if another is lost.
	unsure = unsure || strings.Contains(what, "; ") && (strings.Contains(what, "as it was") || strings.Contains(what, "renumbered"))
	for id, status := range ids {
		// What is not as it should be is doubtful.
		require.True(t, saved.Complete || unsure || listed[status] || status == img.want.statuses[id], "%s: wrong: %v", what, status)
	}
	for id, status := range img.want.statuses {
		// A record whose page is unhurt is saved or, if its name was disputed, listed.
		page, end := img.pages[id][0], img.pages[id][1]
		if end <= len(b) && bytes.Equal(b[page:end], img.file[page:end]) {
			if got, ok := ids[id]; !ok || got != status {
				require.True(t, listed[status], "%s: lost: %v, got %v", what, status, got)
			}
		}
	}
}

// TestSalvageBoltAfterALostWrite puts in the place of each page what stood there
// once: what a disk leaves that forgets a single write.
func TestSalvageBoltAfterALostWrite(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	seeds := 4
	if torture() {
		seeds = 40
	}
	lost := 0
	for seed := range uint64(seeds) {
		for _, img := range []image{
			makeImage(t, 100+seed, 1024, 250, 30, 12),
			makeImage(t, 200+seed, 4096, 1000, 30, 12),
			makeImage(t, 300+seed, 2048, 450, 40, 12),
		} {
			survey := boltfile.Explore(bytes.NewReader(img.file), int64(len(img.file)), func(uint64, string, []byte, []byte) {})
			for p := 2; p < int(survey.Pages); p++ {
				from, to := p*img.pageSize, (p+1)*img.pageSize
				if survey.Usage(uint64(p)) != boltfile.InUse {
					continue
				}
				previous := img.file[from:to]
				for i, past := range slices.Backward(img.pasts) {
					if to > len(past) || bytes.Equal(past[from:to], previous) || bytes.Equal(past[from:to], img.file[from:to]) {
						continue
					}
					previous = past[from:to]
					b := bytes.Clone(img.file)
					copy(b[from:to], previous)
					img.salvaged(t, path, b, fmt.Sprintf("seed %d, pages of %d bytes: page %d as it was after commit %d", seed, img.pageSize, p, i))
					lost++
				}
			}
		}
	}
	t.Attr("lost-writes", fmt.Sprint(lost))
}

// record is the beginning of the record of a status, up to its strings.
func (img image) record(s customstatus.CustomUserStatus) []byte {
	b := binary.BigEndian.AppendUint64([]byte{0xC5, 1}, uint64(s.Revision))
	b = binary.BigEndian.AppendUint64(b, uint64(s.UpdatedAt.UnixMilli()))
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.ID)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.Name)))
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.StatusType)))
	return append(append(b, s.ID...), s.Name...)
}

// sealed makes the checksum of a record right.
func sealed(b []byte) []byte {
	body := b[:len(b)-8]
	binary.BigEndian.PutUint32(b[len(body):], crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	binary.BigEndian.PutUint32(b[len(body)+4:], crc32.ChecksumIEEE(body))
	return b
}

// hurt damages a file in a random way, and says how.
func (img image) hurt(random *rand.Rand, b []byte) ([]byte, string) {
	size := img.pageSize
	pages := len(b) / size
	if pages == 0 {
		return b, "nothing left to hurt"
	}
	p, q := random.IntN(pages), random.IntN(pages)
	from, to := b[p*size:(p+1)*size], b[q*size:(q+1)*size]
	switch random.IntN(12) {
	case 0:
		at := random.IntN(len(b))
		b[at] ^= 1 << random.IntN(8)
		return b, fmt.Sprintf("bit at %d", at)
	case 1:
		at := random.IntN(len(b))
		b[at] = byte(random.Uint32())
		return b, fmt.Sprintf("byte at %d", at)
	case 2:
		from[random.IntN(64)] ^= 1 << random.IntN(8)
		return b, fmt.Sprintf("head of page %d", p)
	case 3:
		clear(from)
		return b, fmt.Sprintf("page %d zeroed", p)
	case 4:
		at := random.IntN(size/512) * 512
		clear(from[at : at+512])
		return b, fmt.Sprintf("sector at %d of page %d zeroed", at, p)
	case 5:
		page := bytes.Clone(from)
		copy(from, to)
		copy(to, page)
		return b, fmt.Sprintf("pages %d and %d swapped", p, q)
	case 6:
		copy(to, from)
		return b, fmt.Sprintf("page %d over page %d", p, q)
	case 7: // as if the page had been written there
		copy(to, from)
		binary.NativeEndian.PutUint64(to, uint64(q))
		return b, fmt.Sprintf("page %d over page %d, renumbered", p, q)
	case 8:
		for i := range from {
			from[i] = byte(random.Uint32())
		}
		return b, fmt.Sprintf("page %d garbage", p)
	case 9:
		n := random.IntN(len(b))
		return b[:n], fmt.Sprintf("cut to %d", n)
	case 10: // a write that never came to the disk
		if (p+1)*size <= len(img.past) {
			copy(from, img.past[p*size:])
		}
		return b, fmt.Sprintf("page %d as it was", p)
	default:
		n := random.IntN(len(b))
		clear(b[n:])
		return b, fmt.Sprintf("zeros from %d", n)
	}
}

func TestBoltStoreFindsEveryFlippedByte(t *testing.T) {
	t.Parallel()
	img := makeImage(t, 5, 1024, 3, 12, 3)
	newer := max(binary.NativeEndian.Uint64(img.file[64:]), binary.NativeEndian.Uint64(img.file[img.pageSize+64:])) % 2
	pages := binary.NativeEndian.Uint64(img.file[int(newer)*img.pageSize+56:])
	img.file = img.file[:int(pages)*img.pageSize] // behind it, there is nothing to damage
	patterns := []byte{0}
	if torture() {
		patterns = []byte{0x01, 0x02, 0x10, 0x80, 0xFF}
	}
	path := tempPath(t)
	right, refused := 0, 0
	for i := range img.file {
		for _, pattern := range patterns {
			if pattern == 0 {
				pattern = 1 << (i % 8)
			}
			b := bytes.Clone(img.file)
			b[i] ^= pattern
			img.salvaged(t, path, b, fmt.Sprintf("byte %d ^ %#x", i, pattern))
			if img.rightOrRefused(t, path, b, fmt.Sprintf("byte %d ^ %#x", i, pattern)) {
				right++
			} else {
				refused++
			}
		}
	}
	t.Attr("flips", fmt.Sprintf("%d in a file of %d bytes, %d harmless, %d refused", right+refused, len(img.file), right, refused))
	require.Greater(t, refused, 1000)
}

func TestBoltStoreFindsRandomDamage(t *testing.T) {
	t.Parallel()
	images := []image{
		makeImage(t, 6, 4096, 1500, 60, 40),
		makeImage(t, 7, 1024, 300, 60, 30),
		makeImage(t, 8, 4096, 10, 30, 5),
	}
	rounds := 300
	if torture() {
		rounds = 10_000
	}
	random := rand.New(rand.NewPCG(3, 4))
	path := tempPath(t)
	right := 0
	for i := range rounds {
		img := images[i%len(images)]
		b := bytes.Clone(img.file)
		var how, what string
		for range 1 + random.IntN(3) {
			b, how = img.hurt(random, b)
			what += how + "; "
		}
		img.salvaged(t, path, b, what)
		if img.rightOrRefused(t, path, b, what) {
			right++
		}
	}
	t.Attr("damages", fmt.Sprintf("%d, %d harmless, %d refused", rounds, right, rounds-right))
	require.Less(t, right, rounds/2)
}

func TestBoltStoreFindsAPageThatWasNotWritten(t *testing.T) {
	t.Parallel()
	img := makeImage(t, 9, 1024, 200, 40, 10)
	path := tempPath(t)
	found := 0
	for page := 0; (page+1)*img.pageSize <= min(len(img.file), len(img.past)); page++ {
		b := bytes.Clone(img.file)
		copy(b[page*img.pageSize:(page+1)*img.pageSize], img.past[page*img.pageSize:])
		if !img.rightOrRefused(t, path, b, fmt.Sprintf("page %d as it was", page)) {
			found++
		}
		img.salvaged(t, path, b, fmt.Sprintf("page %d as it was", page))
	}
	require.Greater(t, found, 10)
}

func TestOpenBoltRefusesWhatIsNotItsFile(t *testing.T) {
	img := makeImage(t, 10, 4096, 20, 20, 3)
	other := func(fn func(tx *bbolt.Tx) error) []byte {
		path := filepath.Join(t.TempDir(), "other.db")
		db, err := bbolt.Open(path, 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Update(fn))
		require.NoError(t, db.Close())
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		return b
	}
	bucket := func(name string) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte(name)); return err }
	}
	for _, c := range []struct {
		what string
		file []byte
		says string
	}{
		{"empty", nil, "the file is empty"},
		{"zeros", make([]byte, 1<<16), "no meta page"},
		{"text", bytes.Repeat([]byte("text "), 10000), "no meta page"},
		{"half", img.file[:len(img.file)/2], "cut short"},
		{"another program's", other(bucket("widgets")), "not a file of customstatus"},
		{"an empty bbolt file", other(func(*bbolt.Tx) error { return nil }), "not a file of customstatus"},
		{"one bucket only", other(bucket("customstatus.meta")), `no bucket "customstatus.records"`},
		{"the other bucket only", other(bucket("customstatus.records")), `no bucket "customstatus.meta"`},
		{"no state", other(func(tx *bbolt.Tx) error {
			return errors.Join(bucket("customstatus.meta")(tx), bucket("customstatus.records")(tx))
		}), `bucket "customstatus.meta"`},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := tempPath(t)
			overwrite(t, path, c.file)
			_, err := customstatus.OpenBolt(path, nil)
			require.ErrorIs(t, err, customstatus.ErrDamaged)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, path)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(c.file, after), "it was written to")
		})
	}
}
