package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// catalogs are names, some of them prefixes of others.
var catalogs = []string{"", "rooms", "rooms/east", "/", "räume \x00", strings.Repeat("n", MaxCatalogBytes)}

func TestCatalogsInOneFileDoNotDisturbEachOther(t *testing.T) {
	path := tempPath(t)
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	stores, models := make(map[string]*Store), make(map[string]*model)
	for _, name := range catalogs {
		stores[name], err = New(db, &Options{Name: name})
		require.NoError(t, err)
		models[name] = newModel()
	}
	for round := range uint64(20) {
		for i, name := range catalogs {
			// The same ids and names come up in all of them.
			newHistory(round).run(t, 1, 20, models[name], stores[name])
			if i%2 == 0 {
				commit(t, stores[name], put("only", "only "+name, load(t, stores[name]).statuses["only"].Revision))
				_, err := models[name].Commit(t.Context(), list{put("only", "only "+name, models[name].now.statuses["only"].Revision)})
				require.NoError(t, err)
			}
		}
	}
	same := func(name string, s *Store) {
		t.Helper()
		require.True(t, models[name].now.equal(load(t, s)), "catalog %q", name)
	}
	backups := make(map[string]*bytes.Buffer)
	for name, s := range stores {
		same(name, s)
		backups[name] = new(bytes.Buffer)
		require.NoError(t, s.Backup(context.Background(), backups[name]))
		require.NoError(t, s.Close())
	}
	require.NoError(t, db.Close())

	// Each catalog can be opened and changed alone.
	for _, name := range catalogs {
		s, err := Open(path, &Options{Name: name})
		require.NoError(t, err)
		same(name, s)
		newHistory(99).run(t, 3, 20, models[name], s)
		require.NoError(t, s.Close())
	}
	// A backup of one catalog has all catalogs.
	copied := tempPath(t)
	require.NoError(t, os.WriteFile(copied, backups["rooms"].Bytes(), 0o600))
	for _, name := range catalogs {
		s, err := Open(copied, &Options{Name: name})
		require.NoError(t, err)
		load(t, s)
		newHistory(99).run(t, 3, 20, s)
		same(name, s)
		require.NoError(t, s.Close())
	}
}

// A record in the wrong catalog is damage, not a status.
func TestRecordsOfAnotherCatalogAreDamage(t *testing.T) {
	path := tempPath(t)
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	for _, name := range []string{"a", "b"} {
		s, err := New(db, &Options{Name: name})
		require.NoError(t, err)
		commit(t, s, put("id", "name", 0))
		require.NoError(t, s.Close())
	}
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		record := bytes.Clone(tx.Bucket([]byte(RecordBucket("b"))).Get([]byte("id")))
		return tx.Bucket([]byte(RecordBucket("a"))).Put([]byte("id"), record)
	}))
	require.NoError(t, db.Close())
	s, err := Open(path, &Options{Name: "a"})
	require.NoError(t, err)
	_, err = loadAll(s)
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	require.ErrorContains(t, err, "another catalog")
	require.NoError(t, s.Close())
}

func TestNamesOfCatalogs(t *testing.T) {
	path := tempPath(t)
	long := &Options{Name: strings.Repeat("n", MaxCatalogBytes+1)}
	_, err := Open(path, long)
	require.ErrorContains(t, err, "name of 256 bytes")
	require.NoFileExists(t, path)
	_, err = New(openHost(t, tempPath(t)), long)
	require.ErrorContains(t, err, "name of 256 bytes")

	s, err := Open(path, &Options{Name: "rooms"})
	require.NoError(t, err)
	commit(t, s, put("a", "a", 0))
	require.NoError(t, s.Close())
	for _, name := range []string{"", "room", "rooms/"} {
		_, err = Open(path, &Options{Name: name})
		require.ErrorContains(t, err, "without a catalog of customstatus")
		require.ErrorContains(t, err, name)
		require.NotErrorIs(t, err, sentinel.ErrDamaged)
	}
	s, err = Open(path, &Options{Name: "rooms"})
	require.NoError(t, err)
	require.Len(t, load(t, s).statuses, 1)
	require.NoError(t, s.Close())
}

func TestACatalogIsOpenOnce(t *testing.T) {
	db, other := openHost(t, tempPath(t)), openHost(t, tempPath(t))
	for _, name := range []string{"", "rooms"} {
		s, err := New(db, &Options{Name: name})
		require.NoError(t, err)
		_, err = New(db, &Options{Name: name})
		require.ErrorIs(t, err, sentinel.ErrLocked)
		require.ErrorContains(t, err, db.Path())
		commit(t, s, put("a", "a", 0))

		elsewhere, err := New(other, &Options{Name: name})
		require.NoError(t, err)
		require.NoError(t, elsewhere.Close())
		require.NoError(t, s.Close())
		require.NoError(t, s.Close())
		s, err = New(db, &Options{Name: name})
		require.NoError(t, err)
		commit(t, s, put("b", "b", 0))
		defer func() { require.NoError(t, s.Close()) }()
	}

	// A catalog whose opening failed counts as closed.
	db = openHost(t, tempPath(t))
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte(RecordBucket("")))
		return err
	}))
	_, err := New(db, nil)
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(RecordBucket(""))) }))
	commit(t, newHostedStore(t, db, ""), put("a", "a", 0))
}

// A store reports a host that writes to the catalog's buckets, and does not
// call that damage.
func TestStoreNoticesAnotherWriter(t *testing.T) {
	db := openHost(t, tempPath(t))
	s := newHostedStore(t, db, "")
	commit(t, s, put("a", "a", 0))
	var before []byte
	state := func(tx *bbolt.Tx) *bbolt.Bucket { return tx.Bucket([]byte(StateBucket(""))) }
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		before = bytes.Clone(state(tx).Get([]byte(StateKey)))
		now, err := DecodeState(before)
		now.Revision++
		return errors.Join(err, state(tx).Put([]byte(StateKey), now.Encode()))
	}))
	err := refused(t, s, put("b", "b", 0))
	require.ErrorIs(t, err, sentinel.ErrNotExclusive)
	require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
	require.NotErrorIs(t, err, sentinel.ErrDamaged)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error { return state(tx).Put([]byte(StateKey), before) }))
	require.ErrorIs(t, refused(t, s, put("b", "b", 0)), sentinel.ErrNeedsReopen)
	_, err = loadAll(s)
	require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
	require.NoError(t, s.Close())
	commit(t, newHostedStore(t, db, ""), put("b", "b", 0))
}
