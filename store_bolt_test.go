package customstatus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func TestBoltStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		path := tempPath(t)
		return func() (customstatus.Store, error) { return customstatus.OpenBolt(path, nil) }
	})
}

func TestBoltStoreInAHostsDatabaseKeepsTheContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		db, err := bbolt.Open(tempPath(t), 0o600, nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return func() (customstatus.Store, error) { return customstatus.NewBoltStore(db) }
	})
}

// tempPath returns a path in a folder of the test's own.
func tempPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "statuses.db")
}

func openBolt(t testing.TB, path string) *customstatus.BoltStore {
	t.Helper()
	s, err := customstatus.OpenBolt(path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// gone is a change that deletes a status.
func gone(id string, replaces customstatus.Revision) customstatus.Change {
	return customstatus.Change{Replaces: replaces, Deleted: true, Status: customstatus.CustomUserStatus{ID: id}}
}

func commit(t testing.TB, s customstatus.Store, changes ...customstatus.Change) customstatus.Revision {
	t.Helper()
	revision, err := s.Commit(context.Background(), changes)
	require.NoError(t, err)
	return revision
}

// contents is what a store holds, by id.
type contents struct {
	revision customstatus.Revision
	statuses map[string]customstatus.CustomUserStatus
}

// equal is for the many comparisons, which require.Equal takes long for.
func (c contents) equal(other contents) bool {
	return c.revision == other.revision && maps.Equal(c.statuses, other.statuses)
}

func loadAll(s customstatus.Store) (contents, error) {
	all, revision, err := s.Load(context.Background())
	c := contents{revision, make(map[string]customstatus.CustomUserStatus, len(all))}
	for _, status := range all {
		c.statuses[status.ID] = status
	}
	if err == nil && len(c.statuses) != len(all) {
		err = errors.New("a status came twice")
	}
	return c, err
}

func load(t testing.TB, s customstatus.Store) contents {
	t.Helper()
	c, err := loadAll(s)
	require.NoError(t, err)
	return c
}

// history makes random changes, with updates, renames, deletions and conflicts
// among them.
type history struct {
	random  *rand.Rand
	ids     int
	collide bool // names of this commit are often in use
}

func newHistory(seed uint64) *history {
	return &history{random: rand.New(rand.NewPCG(seed, seed))}
}

func (h *history) id() string {
	h.ids++
	if h.random.IntN(4) == 0 { // a few ids that are not in order
		return fmt.Sprintf("%x-%d", h.random.Uint32(), h.ids)
	}
	return fmt.Sprintf("0192f3c4-%08d-7000-8000-000000000000", h.ids)
}

func (h *history) name() string {
	switch h.random.IntN(10) {
	case 0:
		return strings.Repeat("😀", customstatus.MaxNameLength-8) + fmt.Sprintf("%08d", h.random.IntN(1e6))
	case 1, 2, 3:
		if h.collide {
			return fmt.Sprintf("name %d", h.random.IntN(20))
		}
	}
	return fmt.Sprintf("In a meeting, number %d", h.random.IntN(1e9))
}

// changes returns up to n changes of what now holds.
func (h *history) changes(now contents, n int) []customstatus.Change {
	var changes []customstatus.Change
	h.collide = h.random.IntN(4) == 0
	picked := make(map[string]bool)
	ids := slices.Sorted(maps.Keys(now.statuses))
	for range 1 + h.random.IntN(n) {
		kind := h.random.IntN(10)
		c := customstatus.Change{Status: customstatus.CustomUserStatus{
			Name:       h.name(),
			StatusType: [...]customstatus.StatusType{customstatus.Busy, customstatus.Away, "", "other"}[h.random.IntN(4)],
			UpdatedAt:  time.UnixMilli(h.random.Int64N(1 << 41)).UTC(),
		}}
		if kind < 5 || len(ids) == 0 {
			c.Status.ID = h.id()
		} else {
			c.Status.ID = ids[h.random.IntN(len(ids))]
			old := now.statuses[c.Status.ID]
			c.Replaces = old.Revision
			c.Deleted = kind == 5
			if kind == 6 || kind == 7 {
				c.Status.Name = old.Name
			}
		}
		if !picked[c.Status.ID] {
			picked[c.Status.ID] = true
			changes = append(changes, c)
		}
	}
	return changes
}

// run makes n commits to all stores, requires that they agree, and returns what
// they hold afterwards.
func (h *history) run(t testing.TB, n, size int, stores ...customstatus.Store) contents {
	t.Helper()
	now := load(t, stores[0])
	for range n {
		changes := h.changes(now, size)
		var first error
		for i, s := range stores {
			_, err := s.Commit(context.Background(), changes)
			if err != nil {
				require.ErrorIs(t, err, customstatus.ErrConflict)
			}
			if i == 0 {
				first = err
			} else {
				require.Equal(t, first == nil, err == nil, "%v, %v", first, err)
			}
		}
		now = load(t, stores[0])
	}
	for _, s := range stores[1:] {
		require.Equal(t, now, load(t, s))
	}
	return now
}

func TestBoltStoreDoesWhatTheMemoryStoreDoes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		path := tempPath(t)
		store, memory := openBolt(t, path), customstatus.NewMemoryStore()
		h := newHistory(seed)
		want := h.run(t, 60, 12, memory, store)
		require.NotEmpty(t, want.statuses)
		require.NoError(t, store.Close())

		again := openBolt(t, path)
		require.Equal(t, want, load(t, again))
		h.run(t, 20, 300, memory, again)
	}
}

func TestBoltStoreHandsNamesOnWithinACommit(t *testing.T) {
	s := openBolt(t, tempPath(t))
	commit(t, s, put("a", "x", 0), put("b", "y", 0), put("c", "z", 0))
	commit(t, s, put("a", "free", 1), put("b", "x", 1), gone("c", 1), put("d", "y", 0), put("e", "z", 0))
	now := load(t, s)
	names := make(map[string]string)
	for id, status := range now.statuses {
		names[id] = status.Name
	}
	require.Equal(t, map[string]string{"a": "free", "b": "x", "d": "y", "e": "z"}, names)
}

func TestBoltStoreRefuses(t *testing.T) {
	ctx := context.Background()
	s := openBolt(t, tempPath(t))
	commit(t, s, put("a", "x", 0), put("b", "y", 0))
	before := load(t, s)
	long := strings.Repeat("n", bbolt.MaxKeySize+1)
	for _, c := range []struct {
		what     string
		conflict bool
		changes  []customstatus.Change
	}{
		{"an id that exists", true, []customstatus.Change{put("a", "z", 0)}},
		{"an old revision", true, []customstatus.Change{put("new", "new", 0), put("a", "z", 2)}},
		{"an id that does not exist", true, []customstatus.Change{put("c", "z", 1)}},
		{"a delete of an id that does not exist", true, []customstatus.Change{gone("c", 1)}},
		{"a name of another", true, []customstatus.Change{put("a", "y", 1)}},
		{"a name taken before", true, []customstatus.Change{put("c", "z", 0), put("a", "z", 1)}},
		{"a name given up later", true, []customstatus.Change{put("c", "x", 0), gone("a", 1)}},
		{"two names at once", true, []customstatus.Change{put("a", "y", 1), put("b", "x", 1)}},
		{"an id twice", false, []customstatus.Change{put("a", "z", 1), put("a", "z", 1)}},
		{"a delete of nothing", false, []customstatus.Change{gone("a", 0)}},
		{"no id", false, []customstatus.Change{put("", "z", 0)}},
		{"no name", false, []customstatus.Change{put("c", "", 0)}},
		{"a long id", false, []customstatus.Change{put(long, "z", 0)}},
		{"a long name", false, []customstatus.Change{put("c", strings.Repeat("n", 1<<16), 0)}},
		{"a long status type", false, []customstatus.Change{{Status: customstatus.CustomUserStatus{
			ID: "c", Name: "z", StatusType: customstatus.StatusType(strings.Repeat("t", 1<<16))}}}},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := s.Commit(ctx, c.changes)
			require.Error(t, err)
			require.Equal(t, c.conflict, errors.Is(err, customstatus.ErrConflict), "%v", err)
			require.Equal(t, before, load(t, s))
		})
	}
	require.Equal(t, customstatus.Revision(2), commit(t, s, put("c", "z", 0)))
}

func TestBoltStoreKeepsWhatFitsABboltKey(t *testing.T) {
	path := tempPath(t)
	s := openBolt(t, path)
	id, name := strings.Repeat("i", bbolt.MaxKeySize), strings.Repeat("n", bbolt.MaxKeySize)
	commit(t, s, put(id, name, 0))
	commit(t, s, put(id, name+"", 1), put("other", "\x00\xff", 0))
	want := load(t, s)
	require.Equal(t, name, want.statuses[id].Name)
	require.NoError(t, s.Close())
	require.Equal(t, want, load(t, openBolt(t, path)))
}

func TestOpenBoltMakesAFileWithModeAndWithoutLeftovers(t *testing.T) {
	for _, c := range []struct{ given, want os.FileMode }{{0, 0o600}, {0o640, 0o640}} {
		path := tempPath(t)
		s, err := customstatus.OpenBolt(path, &customstatus.BoltOptions{FileMode: c.given})
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, c.want, info.Mode())
		require.NoError(t, s.Close())
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

func TestBackupIsACopyThatOpens(t *testing.T) {
	s := openBolt(t, tempPath(t))
	want := newHistory(1).run(t, 50, 20, s)
	var backup bytes.Buffer
	require.NoError(t, s.Backup(&backup))
	path := tempPath(t)
	require.NoError(t, os.WriteFile(path, backup.Bytes(), 0o600))
	copied := openBolt(t, path)
	require.Equal(t, want, load(t, copied))
	newHistory(2).run(t, 20, 20, copied, s) // and both go on
}

// The names of a store are in memory: they must be those of the database even
// if another store writes it, and if nobody has loaded it yet.
func TestBoltStoreKnowsAllNames(t *testing.T) {
	conflicts := func(t *testing.T, s customstatus.Store, c customstatus.Change, why string) {
		t.Helper()
		_, err := s.Commit(t.Context(), []customstatus.Change{c})
		require.ErrorIs(t, err, customstatus.ErrConflict, why)
	}
	t.Run("never loaded", func(t *testing.T) {
		path := tempPath(t)
		s := openBolt(t, path)
		commit(t, s, put("a", "one", 0))
		require.NoError(t, s.Close())
		s = openBolt(t, path)
		conflicts(t, s, put("b", "one", 0), "stored before")
		commit(t, s, put("b", "two", 0))
		commit(t, s, put("a", "three", 1), put("b", "one", 2))
	})
	t.Run("a done context", func(t *testing.T) {
		path := tempPath(t)
		s := openBolt(t, path)
		newHistory(1).run(t, 3, 1000, s)
		require.NoError(t, s.Close())
		s = openBolt(t, path)
		ctx := &doneLater{Context: context.Background(), looks: 2}
		_, err := s.Commit(ctx, []customstatus.Change{put("b", "two", 0)})
		require.ErrorIs(t, err, context.Canceled)
		commit(t, s, put("b", "two", 0))
	})
	t.Run("two stores in one database", func(t *testing.T) {
		db, err := bbolt.Open(tempPath(t), 0o600, nil)
		require.NoError(t, err)
		defer db.Close()
		s, err := customstatus.NewBoltStore(db)
		require.NoError(t, err)
		other, err := customstatus.NewBoltStore(db)
		require.NoError(t, err)
		commit(t, s, put("a", "one", 0))
		load(t, other)
		commit(t, s, put("b", "two", 0))
		conflicts(t, other, put("c", "two", 0), "created by the other")
		commit(t, other, put("a", "three", 1))
		commit(t, s, put("c", "one", 0))
		conflicts(t, s, put("d", "three", 0), "renamed by the other")
		commit(t, s, put("e", "five", 0))
		load(t, other) // which must not make s believe that it knows all
		commit(t, other, put("f", "six", 0))
		conflicts(t, s, put("g", "six", 0), "created by the other after a load")
	})
}

// What a commit would meet is said without one, to a health check say.
func TestBoltStoreSaysThatItsFileWasCut(t *testing.T) {
	path := tempPath(t)
	s := openBolt(t, path)
	want := newHistory(1).run(t, 5, 100, s)
	revision, err := s.Commit(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, want.revision, revision)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()-4096))
	_, err = s.Commit(t.Context(), nil)
	require.ErrorIs(t, err, customstatus.ErrDamaged)
	_, err = s.Commit(t.Context(), nil)
	require.ErrorIs(t, err, customstatus.ErrNeedsReopen)
}

// doneLater is a context that is done when it has been looked at a few times.
type doneLater struct {
	context.Context
	looks int
}

func (c *doneLater) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}
