package boltfile_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/damage"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// open opens a bbolt file for a test.
func open(t testing.TB, path string) *bbolt.DB {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: pageSize, NoSync: true, NoGrowSync: true})
	require.NoError(t, err)
	return db
}

// write commits a number of transactions, each with a change.
func write(t testing.TB, path string, transactions int) {
	t.Helper()
	db := open(t, path)
	for i := range transactions {
		require.NoError(t, db.Update(fill("a", i*40, i*40+60, 30)))
	}
	require.NoError(t, db.Close())
}

// transactions returns the transaction numbers of the two meta pages.
func transactions(b []byte) [2]uint64 {
	return [2]uint64{order.Uint64(b[16+48:]), order.Uint64(b[pageSize+16+48:])}
}

// ways are all ways in which bbolt makes one file from another.
var ways = map[string]func(t testing.TB, from, to string){
	"the file itself": func(t testing.TB, from, to string) {
		b, err := os.ReadFile(from)
		require.NoError(t, err)
		damage.Overwrite(t, to, b)
	},
	"CopyFile": func(t testing.TB, from, to string) {
		db := open(t, from)
		require.NoError(t, db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(to, 0o600) }))
		require.NoError(t, db.Close())
	},
	"WriteTo": func(t testing.TB, from, to string) {
		db := open(t, from)
		require.NoError(t, os.WriteFile(to, written(t, db.View), 0o600))
		require.NoError(t, db.Close())
	},
	"WriteTo while it writes": func(t testing.TB, from, to string) {
		db := open(t, from)
		require.NoError(t, os.WriteFile(to, written(t, db.Update), 0o600))
		require.NoError(t, db.Close())
	},
	"Compact": func(t testing.TB, from, to string) {
		db, compact := open(t, from), open(t, to)
		require.NoError(t, bbolt.Compact(compact, db, 2000))
		require.NoError(t, compact.Close())
		require.NoError(t, db.Close())
	},
}

// written returns what WriteTo writes in a transaction.
func written(t testing.TB, transaction func(func(*bbolt.Tx) error) error) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, transaction(func(tx *bbolt.Tx) error { _, err := tx.WriteTo(&b); return err }))
	return b.Bytes()
}

// TestEveryFileThatBboltLeavesIsSound starts with a new file and makes up to
// three successive copies. Before and after each copy it commits both even and
// odd numbers of transactions.
func TestEveryFileThatBboltLeavesIsSound(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	pairs := make(map[string]bool)
	requireSound := func(path, what string) {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		txs := transactions(b)
		require.NoError(t, check(b), "%s: %v", what, txs)
		survey, _ := explore(b)
		require.Empty(t, survey.Damages, "%s: %v", what, txs)
		require.True(t, survey.Newest, "%s: %v", what, txs)
		require.False(t, survey.Foreign)
		require.Equal(t, max(txs[0], txs[1]), survey.Transaction)
		pairs[fmt.Sprintf("%d %d, %d apart", txs[0]%2, txs[1]%2, int64(txs[0]-txs[1]))] = true
	}
	files := 0
	var from func(path, what string, copies int)
	from = func(path, what string, copies int) {
		for commits := range 5 {
			if commits > 0 {
				write(t, path, 1)
			}
			what := fmt.Sprintf("%s + %d", what, commits)
			requireSound(path, what)
			if copies == 0 || commits > 3 {
				continue
			}
			for way, make := range ways {
				files++
				next := filepath.Join(directory, fmt.Sprint(files))
				make(t, path, next)
				from(next, what+", "+way, copies-1)
				require.NoError(t, os.Remove(next))
			}
		}
	}
	path := filepath.Join(directory, "new")
	write(t, path, 0)
	from(path, "new", 2)
	require.Equal(t, map[string]bool{
		"0 1, -1 apart": true, "0 1, 1 apart": true, // in turn
		"1 0, 1 apart": true, // a copy of an odd transaction
		"0 0, 2 apart": true, // one commit later
	}, pairs)
}

// TestALostMetaPageIsFound undoes the write of one meta page and keeps the next
// write.
func TestALostMetaPageIsFound(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	for way, make := range ways {
		for before := range 4 {
			from, path := filepath.Join(directory, "from"), filepath.Join(directory, "to")
			write(t, from, 20+before)
			make(t, from, path)
			for after := range 4 {
				if after > 0 {
					write(t, path, 1)
				}
				older, err := os.ReadFile(path)
				require.NoError(t, err)
				next := filepath.Join(directory, "next")
				damage.Overwrite(t, next, older)
				write(t, next, 1)
				lost := int(transactions(read(t, next))[0]) // the page that the first one wrote
				if lost == int(transactions(older)[0]) {
					lost = 1
				} else {
					lost = 0
				}
				write(t, next, 1)
				b := read(t, next)
				copy(b[lost*pageSize:(lost+1)*pageSize], older[lost*pageSize:])
				requireDamage(t, check(b))
				survey, _ := explore(b)
				require.False(t, survey.Newest, "%s, %d before, %d after: %v", way, before, after, transactions(b))
				require.NotEmpty(t, survey.Damages)
			}
			require.NoError(t, os.Remove(from))
			require.NoError(t, os.Remove(path))
		}
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

func TestMetaPagesOfWhichOneIsOutdated(t *testing.T) {
	sound := build(t, bbolt.Options{}, fill("a", 0, 10, 20))
	for _, c := range []struct {
		txs   [2]uint64
		sound bool
	}{
		{[2]uint64{0, 1}, true}, {[2]uint64{2, 1}, true}, {[2]uint64{2, 3}, true}, {[2]uint64{4, 3}, true},
		{[2]uint64{1, 0}, true}, {[2]uint64{3, 2}, true}, {[2]uint64{4, 2}, true}, {[2]uint64{2, 0}, true},
		{[2]uint64{2, 2}, false}, {[2]uint64{3, 3}, false}, // the same twice
		{[2]uint64{1, 2}, false}, {[2]uint64{3, 4}, false}, // the newer one where the older one belongs
		{[2]uint64{2, 4}, false}, {[2]uint64{3, 1}, false}, {[2]uint64{1, 3}, false},
		{[2]uint64{2, 5}, false}, {[2]uint64{6, 3}, false}, {[2]uint64{3, 0}, false}, {[2]uint64{6, 2}, false}, {[2]uint64{2, 6}, false},
		{[2]uint64{1<<64 - 1, 0}, false}, {[2]uint64{0, 1<<64 - 1}, false}, {[2]uint64{1<<64 - 2, 0}, false}, {[2]uint64{0, 1<<64 - 2}, false},
	} {
		b := bytes.Clone(sound)
		newer := b[newest(sound)*pageSize+16:][:metaBody]
		for page, tx := range c.txs {
			copy(b[page*pageSize+16:], bytes.Clone(newer))
			order.PutUint64(b[page*pageSize+16+48:], tx)
			seal(b, page)
		}
		err := check(b)
		survey, _ := explore(b)
		require.Equal(t, c.sound, survey.Newest, c.txs)
		if c.sound {
			require.NoError(t, err, c.txs)
			continue
		}
		require.ErrorContains(t, err, "a write was lost", c.txs)
	}
}

const metaBody = 64

func TestAFileThatIsNoBboltFile(t *testing.T) {
	sound := build(t, bbolt.Options{PageSize: 4096}, fill("a", 0, 100, 20))
	clean := func(at ...int) []byte {
		b := bytes.Clone(sound)
		for _, i := range at {
			clear(b[i : i+64])
		}
		return b
	}
	for what, b := range map[string][]byte{
		"empty":             nil,
		"one byte":          {1},
		"JSON":              []byte(`{"statuses":[]}` + "\n"),
		"text":              bytes.Repeat([]byte("no bbolt file at all "), 1000),
		"zeros":             make([]byte, 1<<16),
		"SQLite":            append([]byte("SQLite format 3\x00"), make([]byte, 8192)...),
		"cut before it":     sound[:19],
		"both gone":         clean(16, 4096+16),
		"magic out of step": append([]byte("one byte"), sound...),
	} {
		t.Run(what, func(t *testing.T) {
			require.ErrorIs(t, check(b), boltfile.ErrNotBbolt)
			survey, _ := explore(b)
			require.True(t, survey.Foreign)
			require.False(t, survey.Newest)
			require.NotEmpty(t, survey.Damages)
		})
	}
	for what, b := range map[string][]byte{
		"cut behind it":     sound[:20],
		"cut":               sound[:100],
		"the first one":     clean(16),
		"the second one":    clean(4096 + 16),
		"other byte order":  swap(bytes.Clone(sound), 16, 4096+16),
		"one of them alone": swap(clean(4096+16), 16),
	} {
		t.Run("damaged: "+what, func(t *testing.T) {
			err := check(b)
			require.NotErrorIs(t, err, boltfile.ErrNotBbolt)
			requireDamage(t, err)
			survey, _ := explore(b)
			require.False(t, survey.Foreign)
		})
	}
	// The second meta page is looked for at every possible page size.
	for size := 512; size <= 16<<20; size *= 2 {
		b := make([]byte, size+100)
		order.PutUint32(b[size+16:], 0xED0CDAED)
		requireDamage(t, check(b))
	}
	require.ErrorIs(t, boltfile.Check(broken{}, 5000), errDisk, "an unreadable file is not taken for another program's")
}

// swap turns the magic numbers at the given offsets to the other byte order.
func swap(b []byte, at ...int) []byte {
	for _, i := range at {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	return b
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errDisk }
