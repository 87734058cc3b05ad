package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/damage"
	"github.com/customstatus/customstatus/internal/sentinel"
)

// image is a bbolt file made by many commits, updates and deletions included.
type image struct {
	file     []byte
	pageSize int
	want     contents
	past     []byte // the file as it was some commits before
}

func makeImage(t testing.TB, seed uint64, pageSize, first, commits, size int) image {
	t.Helper()
	path := tempPath(t)
	opts := Options{Bolt: &bbolt.Options{PageSize: pageSize, NoSync: true, InitialMmapSize: 1}}
	s, err := Open(path, &opts)
	require.NoError(t, err)
	img := image{pageSize: pageSize}
	h, past := newHistory(seed), uint64(0)
	for i := range commits + 1 {
		if i == 0 {
			h.run(t, 1, first, s)
		} else {
			h.run(t, 1, size, s)
		}
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		if i == commits*3/4 {
			past, img.past = load(t, s).revision, file
		}
	}
	img.want = load(t, s)
	// With fewer commits between, an outdated meta page looks like the one
	// before the last commit.
	require.Greater(t, img.want.revision, past+2)
	require.NoError(t, s.Close())
	img.file, err = os.ReadFile(path)
	require.NoError(t, err)
	survey := boltfile.Explore(bytes.NewReader(img.file), int64(len(img.file)), func(uint64, string, []byte, []byte) {})
	require.Empty(t, survey.Damages)
	return img
}

// rightOrRefused requires that opening a damaged file gives either the right
// data or an error with the file's name. It reports whether the data is right.
func (img image) rightOrRefused(t testing.TB, path string, b []byte, what string) bool {
	t.Helper()
	damage.Overwrite(t, path, b)
	got, err := reopen(path, put("added", "added later", 0))
	if err != nil {
		require.Contains(t, err.Error(), path, what)
		if !hasMagic(b) {
			require.Contains(t, err.Error(), "not a bbolt file", what)
		} else {
			require.ErrorIs(t, err, sentinel.ErrDamaged, what)
		}
		return false
	}
	require.True(t, img.want.equal(got), what)
	return true
}

// hasMagic reports whether bbolt's magic number is in a place where a meta page
// may begin, for any page size.
func hasMagic(b []byte) bool {
	for at := 0; at+20 <= len(b); at = max(512, 2*at) {
		if binary.NativeEndian.Uint32(b[at+16:]) == 0xED0CDAED {
			return true
		}
	}
	return false
}

// sealed writes the right checksum into a record.
func sealed(b []byte) []byte {
	body := b[:len(b)-8]
	binary.BigEndian.PutUint32(b[len(body):], crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	binary.BigEndian.PutUint32(b[len(body)+4:], crc32.ChecksumIEEE(body))
	return b
}

func TestStoreFindsEveryFlippedByte(t *testing.T) {
	t.Parallel()
	img := makeImage(t, 5, 1024, 3, 12, 3)
	path := tempPath(t)
	right, refused := 0, 0
	for what, b := range damage.Flips(img.file, img.pageSize, torture()) {
		if img.rightOrRefused(t, path, b, what) {
			right++
		} else {
			refused++
		}
	}
	t.Attr("flips", fmt.Sprintf("%d, %d harmless, %d refused", right+refused, right, refused))
	require.Greater(t, refused, 1000)
}

func TestStoreFindsRandomDamage(t *testing.T) {
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
		b, what := damage.Some(random, img.file, img.past, img.pageSize)
		if img.rightOrRefused(t, path, b, what) {
			right++
		}
	}
	t.Attr("damages", fmt.Sprintf("%d, %d harmless, %d refused", rounds, right, rounds-right))
	require.Less(t, right, rounds/2)
}

func TestStoreFindsAPageThatWasNotWritten(t *testing.T) {
	t.Parallel()
	img := makeImage(t, 9, 1024, 200, 40, 10)
	path := tempPath(t)
	found := 0
	for what, b := range damage.OldPages(img.file, img.past, img.pageSize) {
		if !img.rightOrRefused(t, path, b, what) {
			found++
		}
	}
	require.Greater(t, found, 10)
}

func TestOpenRefusesWhatIsNotItsFile(t *testing.T) {
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
	damaged := true
	for _, c := range []struct {
		what    string
		file    []byte
		damaged bool
		says    string
	}{
		{"empty", nil, !damaged, "not a bbolt file: it is empty"},
		{"zeros", make([]byte, 1<<16), !damaged, "not a bbolt file"},
		{"text", bytes.Repeat([]byte("text "), 10000), !damaged, "not a bbolt file"},
		{"a few bytes", []byte("{}"), !damaged, "not a bbolt file"},
		{"JSON", []byte(`[` + strings.Repeat(`{"_id":"x","name":"y"},`, 1000) + `]`), !damaged, "not a bbolt file"},
		{"half", img.file[:len(img.file)/2], damaged, "cut short"},
		{"without its first page", append(make([]byte, 4096), img.file[4096:]...), damaged, "not a meta page"},
		{"another program's", other(bucket("widgets")), !damaged, "a bbolt file without a catalog of customstatus"},
		{"an empty bbolt file", other(func(*bbolt.Tx) error { return nil }), !damaged, "a bbolt file without a catalog of customstatus"},
		{"a catalog with a name", other(newStore(nil, "", "rooms").createBuckets), !damaged, "only with catalogs that have names"},
		{"one bucket only", other(bucket("customstatus.meta")), damaged, `no bucket "customstatus.records"`},
		{"the other bucket only", other(bucket("customstatus.records")), damaged, `no bucket "customstatus.meta"`},
		{"no state", other(func(tx *bbolt.Tx) error {
			return errors.Join(bucket("customstatus.meta")(tx), bucket("customstatus.records")(tx))
		}), damaged, `bucket "customstatus.meta"`},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := tempPath(t)
			damage.Overwrite(t, path, c.file)
			_, err := Open(path, nil)
			require.Equal(t, c.damaged, errors.Is(err, sentinel.ErrDamaged), "%v", err)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, path)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(c.file, after), "it was written to")
		})
	}
}
