package bolt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus/internal/churn"
	"github.com/customstatus/customstatus/internal/sentinel"
)

// torture reports whether the long versions of the tests are to run.
func torture() bool { return os.Getenv("CUSTOMSTATUS_TORTURE") != "" }

// tempPath returns a path in a directory of the test's own.
func tempPath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "statuses.db")
}

func openStore(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// openHost opens a database as a host does.
func openHost(t testing.TB, path string) *bbolt.DB {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func newHostedStore(t testing.TB, db *bbolt.DB, name string) *Store {
	t.Helper()
	s, err := New(db, &Options{Name: name})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// list is the changes of a commit.
type list []Change

func (l list) Len() int        { return len(l) }
func (l list) At(i int) Change { return l[i] }

// put returns the change that creates a status or, if before is not 0, updates
// the status at that revision.
func put(id, name string, before uint64) Change {
	c := Change{Kind: Created, After: Record{ID: id, Name: name, Type: "busy", UpdatedAt: 1_700_000_000_123}}
	if before != 0 {
		c.Kind, c.BeforeID, c.Before = Updated, id, before
	}
	return c
}

// gone returns the change that deletes a status.
func gone(id string, before uint64) Change {
	return Change{Kind: Deleted, BeforeID: id, Before: before}
}

// store has the methods of a store that tests need.
type store interface {
	Load(context.Context, func(int, *Record)) (State, error)
	Commit(context.Context, Changes) (uint64, error)
}

func commit(t testing.TB, s store, changes ...Change) uint64 {
	t.Helper()
	revision, err := s.Commit(context.Background(), list(changes))
	require.NoError(t, err)
	return revision
}

// refused requires that a commit fails and changes nothing. It returns the
// error.
func refused(t testing.TB, s store, changes ...Change) error {
	t.Helper()
	_, err := s.Commit(context.Background(), list(changes))
	require.Error(t, err)
	require.NotErrorIs(t, err, sentinel.ErrConflict)
	require.NotErrorIs(t, err, sentinel.ErrOutcomeUnknown)
	return err
}

// contents has the records of a store, by id.
type contents struct {
	revision uint64
	statuses map[string]Record
}

// equal is faster than require.Equal, for the many comparisons.
func (c contents) equal(other contents) bool {
	return c.revision == other.revision && maps.Equal(c.statuses, other.statuses)
}

// loadAll loads a store and checks the state's count and fingerprint.
func loadAll(s store) (contents, error) {
	c := contents{statuses: make(map[string]Record)}
	var fingerprint, yielded, hint uint64
	state, err := s.Load(context.Background(), func(count int, r *Record) {
		c.statuses[r.ID] = *r
		fingerprint += r.Fingerprint()
		yielded++
		hint = uint64(count)
	})
	if err != nil {
		return contents{}, err
	}
	c.revision = state.Revision
	switch n := uint64(len(c.statuses)); {
	case n != yielded:
		return c, errors.New("a status came twice")
	case n != state.Count || n != 0 && n != hint:
		return c, fmt.Errorf("%d statuses, but the state says %d, and there was a hint at %d", n, state.Count, hint)
	case fingerprint != state.Fingerprint:
		return c, errors.New("the fingerprint is not that of the statuses")
	}
	return c, nil
}

func load(t testing.TB, s store) contents {
	t.Helper()
	c, err := loadAll(s)
	require.NoError(t, err)
	return c
}

// model is the simplest possible store.
type model struct {
	now contents
}

func newModel() *model { return &model{contents{statuses: make(map[string]Record)}} }

func (m *model) Load(_ context.Context, yield func(int, *Record)) (State, error) {
	state := State{Revision: m.now.revision, Count: uint64(len(m.now.statuses))}
	for _, r := range m.now.statuses {
		state.Fingerprint += r.Fingerprint()
		yield(len(m.now.statuses), &r)
	}
	return state, nil
}

func (m *model) Commit(_ context.Context, changes Changes) (uint64, error) {
	next := contents{m.now.revision + 1, maps.Clone(m.now.statuses)}
	owners := make(map[string]string)
	for id, r := range next.statuses {
		owners[r.Name] = id
	}
	for i := range changes.Len() {
		c := changes.At(i)
		old := next.statuses[c.ID()]
		if old.Revision != c.Before {
			return 0, sentinel.ErrConflict
		}
		if old.Revision != 0 {
			delete(next.statuses, old.ID)
			delete(owners, old.Name)
		}
		if c.Kind == Deleted {
			continue
		}
		if _, taken := owners[c.After.Name]; taken {
			return 0, sentinel.ErrConflict
		}
		c.After.Revision = next.revision
		owners[c.After.Name], next.statuses[c.After.ID] = c.After.ID, c.After
	}
	m.now = next
	return next.revision, nil
}

// history makes random changes.
type history struct{ *churn.Source }

func newHistory(seed uint64) history { return history{churn.New(seed)} }

// changes returns up to n changes of the given contents.
func (h history) changes(now contents, n int) list {
	var changes list
	ids := slices.Sorted(maps.Keys(now.statuses))
	for _, c := range h.Changes(n, ids, func(id string) (string, uint64) {
		return now.statuses[id].Name, now.statuses[id].Revision
	}) {
		if c.Deleted {
			changes = append(changes, gone(c.ID, c.Before))
			continue
		}
		changed := put(c.ID, c.Name, c.Before)
		changed.After.Type, changed.After.Metadata, changed.After.UpdatedAt = c.Type, c.Metadata, c.UpdatedAt
		changes = append(changes, changed)
	}
	return changes
}

// run makes n commits to all stores, requires that they agree, and returns
// their contents.
func (h history) run(t testing.TB, n, size int, stores ...store) contents {
	t.Helper()
	now := load(t, stores[0])
	for range n {
		changes := h.changes(now, size)
		var first error
		for i, s := range stores {
			_, err := s.Commit(context.Background(), changes)
			if err != nil {
				require.ErrorIs(t, err, sentinel.ErrConflict)
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

// reopen opens a file that may be damaged, commits the given change, if any,
// and returns the contents before it.
func reopen(path string, change ...Change) (contents, error) {
	s, err := Open(path, &Options{Bolt: &bbolt.Options{NoSync: true}})
	if err != nil {
		return contents{}, err
	}
	c, err := loadAll(s)
	if err == nil && len(change) > 0 {
		if _, err = s.Commit(context.Background(), list(change)); err == nil {
			_, err = loadAll(s)
		}
	}
	return c, errors.Join(err, s.Close())
}

// rootOf returns the number of a bucket's root page. The bucket must have one.
func rootOf(t testing.TB, s *Store, bucket string) int {
	t.Helper()
	var root int
	require.NoError(t, s.db.View(func(tx *bbolt.Tx) error {
		root = int(tx.Bucket([]byte(bucket)).Root())
		return nil
	}))
	require.Positive(t, root)
	return root
}
