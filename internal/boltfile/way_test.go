package boltfile

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// wayFile makes a file with a bucket whose tree has three levels, and a second
// bucket.
func wayFile(t *testing.T) (file []byte, tx uint64, root uint64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "way.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024, NoSync: true})
	require.NoError(t, err)
	for round := range 3 { // so that there are free pages
		require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
			small, err := tx.CreateBucketIfNotExists([]byte("small"))
			require.NoError(t, err)
			require.NoError(t, small.Put([]byte("key"), fmt.Append(nil, round)))
			large, err := tx.CreateBucketIfNotExists([]byte("large"))
			require.NoError(t, err)
			large.FillPercent = 0.9
			for i := range 2000 {
				require.NoError(t, large.Put(fmt.Appendf(nil, "key %06d", i), fmt.Appendf(nil, "value %d in round %d", i, round)))
			}
			return large.Put([]byte("long"), make([]byte, 10_000))
		}))
	}
	require.NoError(t, db.View(func(view *bbolt.Tx) error {
		tx, root = uint64(view.ID()), uint64(view.Bucket([]byte("large")).Root())
		return nil
	}))
	require.NoError(t, db.Close())
	file, err = os.ReadFile(path)
	require.NoError(t, err)
	return file, tx, root
}

func newTestWay(t *testing.T, file []byte, tx uint64) *Way {
	t.Helper()
	w, err := NewWay(file, 1024, tx)
	require.NoError(t, err)
	for _, name := range []string{"large", "small", "none"} {
		require.NoError(t, w.Bucket(name))
	}
	return w
}

func TestWayThroughASoundFile(t *testing.T) {
	file, tx, _ := wayFile(t)
	w := newTestWay(t, file, tx)
	require.NoError(t, w.Freelist())
	for _, bucket := range []string{"large", "small", "none"} {
		require.NoError(t, w.Last(bucket))
		require.NoError(t, w.All(bucket))
		for i := -1; i < 2001; i++ {
			require.NoError(t, w.Key(bucket, fmt.Appendf(nil, "key %06d", i), []Use{Insert, Replace, Remove}[(i+3)%3]))
		}
	}
	require.Greater(t, len(w.pages), 100)
}

func TestWayReadsNoMoreThanItNeeds(t *testing.T) {
	file, tx, _ := wayFile(t)
	w := newTestWay(t, file, tx)
	before := len(w.pages)
	require.NoError(t, w.Key("large", []byte("key 001000"), Remove))
	require.Equal(t, before+3, len(w.pages), "a page on each level, for little is removed")
	leaf, err := w.descend(w.buckets["large"].root, &w.buckets["large"].above, []byte("key 001000"), false)
	require.NoError(t, err)
	for i := range leaf.count - 1 {
		if string(leaf.at(i).key) == "key 001000" {
			continue
		}
		require.NoError(t, w.Key("large", leaf.at(i).key, Remove))
	}
	require.Greater(t, len(w.pages), before+4, "those beside, for most is removed")
}

func TestWayRefusesWhatIsNotThere(t *testing.T) {
	file, tx, root := wayFile(t)
	_, err := NewWay(file, 1024, tx+1)
	require.ErrorContains(t, err, "no meta page is of transaction")
	_, err = NewWay(file[:50], 1024, tx)
	require.ErrorContains(t, err, "cut short")
	_, err = NewWay(file[:8192], 1024, tx)
	require.ErrorContains(t, err, "pages of 1024 bytes")

	// Every method finds every damage to the header of the bucket's root page.
	for _, c := range []struct {
		at   int
		with uint64
		says string
	}{
		{0, 3, "has the number of page 3"},
		{8, 0x10, "should be part of a bucket"},
		{10, 0, "without elements"},
		{10, 0xFFFF, "more than fit in it"},
		{12, 1 << 31, "but fewer pages follow"},
		{12, 1, "1 overflow pages, but its elements have"},
		{16, 1, "is in the wrong place"},
		{20, 0, "a key of 0 bytes"},
		{24, root, "used twice"},
		{24, 1 << 40, "another page leads to it"},
	} {
		b := append([]byte(nil), file...)
		at := int(root)*1024 + c.at
		switch c.at {
		case 8, 10:
			binary.NativeEndian.PutUint16(b[at:], uint16(c.with))
		case 0, 24:
			binary.NativeEndian.PutUint64(b[at:], c.with)
		default:
			binary.NativeEndian.PutUint32(b[at:], uint32(c.with))
		}
		for how, err := range map[string]error{
			"key": newTestWay(t, b, tx).Key("large", []byte("a"), Insert),
			"all": newTestWay(t, b, tx).All("large"),
		} {
			var damage *DamageError
			require.ErrorAs(t, err, &damage, "%s: %v", how, c)
			require.Equal(t, "large", damage.Bucket)
			require.ErrorContains(t, err, c.says, how)
		}
	}
}
