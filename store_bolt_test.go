package customstatus_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus"
)

// boltPath returns a path in a directory of the test's own.
func boltPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "statuses.db")
}

func openBolt(t testing.TB, path string, opts *customstatus.BoltOptions) *customstatus.BoltStore {
	t.Helper()
	s, err := customstatus.OpenBolt(path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func boltStatus(id string) customstatus.CustomUserStatus {
	return customstatus.CustomUserStatus{
		ID: id, Name: "name of " + id, StatusType: customstatus.Busy, Metadata: "\xff of " + id,
		UpdatedAt: time.UnixMilli(1_700_000_000_123).UTC(),
	}
}

func TestBoltStoreGivesBackWhatItWasGiven(t *testing.T) {
	ctx := t.Context()
	path := boltPath(t)
	s := openBolt(t, path, nil)
	a, b := boltStatus("a"), boltStatus("b")
	b.StatusType, b.Metadata = "", ""
	b.UpdatedAt = time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600))
	revision, err := s.Commit(ctx, []customstatus.Change{{Kind: customstatus.Created, After: a}, {Kind: customstatus.Created, After: b}})
	require.NoError(t, err)
	require.Equal(t, customstatus.Revision(1), revision)
	a.Revision, b.Revision, b.UpdatedAt = 1, 1, b.UpdatedAt.UTC()
	renamed := a
	renamed.Name = "renamed"
	_, err = s.Commit(ctx, []customstatus.Change{
		{Kind: customstatus.Updated, Before: a, After: renamed},
		{Kind: customstatus.Deleted, Before: b},
		{Kind: customstatus.Created, After: boltStatus("c")},
	})
	require.NoError(t, err)
	c := boltStatus("c")
	renamed.Revision, c.Revision = 2, 2
	for range 2 {
		contents, err := s.Load(ctx)
		require.NoError(t, err)
		require.Equal(t, customstatus.Contents{
			Statuses: []customstatus.CustomUserStatus{renamed, c}, Revision: 2,
			Fingerprint: renamed.Fingerprint() + c.Fingerprint(), FingerprintKnown: true,
		}, contents)
		revision, err := s.Revision(ctx)
		require.NoError(t, err)
		require.Equal(t, customstatus.Revision(2), revision)
		require.NoError(t, s.Close())
		s = openBolt(t, path, nil)
	}
}

func TestBoltStoreSaysWhatIsTooLarge(t *testing.T) {
	s := openBolt(t, boltPath(t), nil)
	long := boltStatus(strings.Repeat("i", 32769))
	_, err := s.Commit(t.Context(), []customstatus.Change{{Kind: customstatus.Created, After: long}})
	require.ErrorIs(t, err, customstatus.ErrTooLarge)
	var tooLarge *customstatus.TooLargeError
	require.ErrorAs(t, err, &tooLarge)
	require.Zero(t, tooLarge.MaxChanges)
	require.ErrorContains(t, err, "an id has 32769 bytes")

	many := make([]customstatus.Change, 50_001)
	for i := range many {
		many[i] = customstatus.Change{Kind: customstatus.Created, After: boltStatus(strconv.Itoa(i))}
	}
	_, err = s.Commit(t.Context(), many)
	require.ErrorAs(t, err, &tooLarge)
	require.Equal(t, 50_000, tooLarge.MaxChanges)
}

// An error says once what was done to which file, and is the sentinel of this
// package.
func TestBoltStoreErrors(t *testing.T) {
	path := boltPath(t)
	s := openBolt(t, path, nil)
	_, err := customstatus.OpenBolt(path, &customstatus.BoltOptions{LockTimeout: time.Millisecond})
	require.ErrorIs(t, err, customstatus.ErrLocked)
	require.EqualError(t, err, "bolt: open "+path+": locked")
	status := boltStatus("a")
	status.Revision = 7
	_, err = s.Commit(t.Context(), []customstatus.Change{{Kind: customstatus.Deleted, Before: status}})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	require.EqualError(t, err, "bolt: commit to "+path+`: no status "a" at revision 7: conflict`)
	for what, changes := range map[string][]customstatus.Change{
		"without changes": nil,
		"unknown kind":    {{Kind: 9, After: status}},
		"has one after":   {{Kind: customstatus.Deleted, Before: status, After: status}},
	} {
		_, err = s.Commit(t.Context(), changes)
		require.ErrorContains(t, err, what)
		require.NotErrorIs(t, err, customstatus.ErrConflict)
		require.NotErrorIs(t, err, customstatus.ErrTooLarge)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Load(done)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.Close())
	_, err = s.Load(done)
	require.ErrorIs(t, err, customstatus.ErrClosed)
	_, err = s.Commit(done, nil)
	require.ErrorIs(t, err, customstatus.ErrClosed)
	_, err = s.Revision(done)
	require.ErrorIs(t, err, customstatus.ErrClosed)
	require.ErrorIs(t, s.Backup(ctx, &bytes.Buffer{}), customstatus.ErrClosed)
	require.NoError(t, s.Close())

	require.NoError(t, os.Truncate(path, 5000))
	_, err = customstatus.OpenBolt(path, nil)
	require.ErrorIs(t, err, customstatus.ErrDamaged)
	require.Equal(t, 1, strings.Count(err.Error(), "bolt:"), "%v", err)
	_, err = customstatus.NewBoltStore(nil, nil)
	require.ErrorContains(t, err, "no database")
}

func TestBoltStoresOfOneFile(t *testing.T) {
	path := boltPath(t)
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	for _, name := range []string{"", "rooms"} {
		s, err := customstatus.NewBoltStore(db, &customstatus.BoltOptions{Name: name})
		require.NoError(t, err)
		_, err = customstatus.NewBoltStore(db, &customstatus.BoltOptions{Name: name})
		require.ErrorIs(t, err, customstatus.ErrLocked)
		_, err = s.Commit(t.Context(), []customstatus.Change{{Kind: customstatus.Created, After: boltStatus("of " + name)}})
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	require.NoError(t, db.Close())
	for _, name := range []string{"", "rooms"} {
		s := openBolt(t, path, &customstatus.BoltOptions{Name: name})
		contents, err := s.Load(t.Context())
		require.NoError(t, err)
		require.Len(t, contents.Statuses, 1)
		require.Equal(t, "of "+name, contents.Statuses[0].ID)
		require.NoError(t, s.Close())
	}
	_, err = customstatus.OpenBolt(path, &customstatus.BoltOptions{Name: "users"})
	require.ErrorContains(t, err, `without a catalog of customstatus named "users"`)
}

func TestBoltStoreSaysThatSomebodyElseWrites(t *testing.T) {
	db, err := bbolt.Open(boltPath(t), 0o600, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	s, err := customstatus.NewBoltStore(db, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte("customstatus.meta")), tx.DeleteBucket([]byte("customstatus.records")))
	}))
	other, err := bbolt.Open(boltPath(t), 0o600, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	made, err := customstatus.NewBoltStore(other, nil)
	require.NoError(t, err)
	_, err = made.Commit(t.Context(), []customstatus.Change{{Kind: customstatus.Created, After: boltStatus("a")}})
	require.NoError(t, err)
	require.NoError(t, made.Close())
	require.NoError(t, other.View(func(from *bbolt.Tx) error {
		return db.Update(func(to *bbolt.Tx) error {
			return from.ForEach(func(name []byte, b *bbolt.Bucket) error {
				copied, err := to.CreateBucket(name)
				if err != nil {
					return err
				}
				return b.ForEach(copied.Put)
			})
		})
	}))
	_, err = s.Commit(t.Context(), []customstatus.Change{{Kind: customstatus.Created, After: boltStatus("b")}})
	require.ErrorIs(t, err, customstatus.ErrNotExclusive)
	require.NotErrorIs(t, err, customstatus.ErrDamaged)
	require.NoError(t, s.Close())
	s, err = customstatus.NewBoltStore(db, nil)
	require.NoError(t, err)
	contents, err := s.Load(t.Context())
	require.NoError(t, err)
	require.Len(t, contents.Statuses, 1)
	require.NoError(t, s.Close())
}

func TestOpenFile(t *testing.T) {
	directory := t.TempDir()
	t.Chdir(directory)
	catalog, err := customstatus.OpenFile(t.Context(), "chat.db", nil)
	require.NoError(t, err)
	create := func(name string) error {
		_, err := catalog.Create(t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
		return err
	}
	require.NoError(t, create("one"))
	_, err = customstatus.OpenFile(t.Context(), "chat.db", nil)
	require.ErrorIs(t, err, customstatus.ErrLocked)

	// When the file must be reopened, the catalog does it, wherever the process is
	// by then.
	path := filepath.Join(directory, "chat.db")
	old, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, create("two"))
	t.Chdir(t.TempDir())
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(old, 0) // as cp does
	require.NoError(t, errors.Join(err, f.Close()))
	require.ErrorIs(t, create("three"), customstatus.ErrDamaged)
	require.NoError(t, create("three"))
	require.Equal(t, uint64(1), catalog.Stats().Reopens)
	require.NoError(t, catalog.Close())

	catalog, err = customstatus.OpenFile(t.Context(), path, &customstatus.Options{MaxStatuses: 2})
	require.NoError(t, err)
	require.Equal(t, 2, catalog.Len())
	require.ErrorIs(t, create("four"), customstatus.ErrFull)
	require.NoError(t, catalog.Close())

	// One that fails leaves the file to others.
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = customstatus.OpenFile(done, path, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, openBolt(t, path, nil).Close())
}

// A file that has gone is not replaced by an empty one, which would take what is
// in memory with it.
func TestOpenFileDoesNotReopenAFileThatHasGone(t *testing.T) {
	path := boltPath(t)
	catalog, err := customstatus.OpenFile(t.Context(), path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, catalog.Close()) })
	create := func(name string) error {
		_, err := catalog.Create(t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
		return err
	}
	require.NoError(t, create("one"))
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, 4096))
	require.ErrorIs(t, create("two"), customstatus.ErrDamaged)
	require.NoError(t, os.Remove(path))
	require.ErrorIs(t, create("two"), os.ErrNotExist)
	require.NoFileExists(t, path)
	_, err = catalog.GetByName("one")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	require.NoError(t, create("two"))
	require.Equal(t, 2, catalog.Len())
}
