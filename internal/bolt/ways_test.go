package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/damage"
)

// fileWays are the ways to make a file: each makes one at a path from an open
// database with a catalog.
var fileWays = map[string]func(t *testing.T, s *Store, path string){
	"backup": func(t *testing.T, s *Store, path string) { backUp(t, s, path) },
	"backup of a backup": func(t *testing.T, s *Store, path string) {
		first := tempPath(t)
		backUp(t, s, first)
		copied := openFast(t, first, s.name)
		backUp(t, copied, path)
		require.NoError(t, copied.Close())
	},
	"backup of a backup that went on": func(t *testing.T, s *Store, path string) {
		first := tempPath(t)
		backUp(t, s, first)
		copied := openFast(t, first, s.name)
		next(t, copied)
		backUp(t, copied, path)
		require.NoError(t, copied.Close())
	},
	"backup while it is written": func(t *testing.T, s *Store, path string) {
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					id := fmt.Sprintf("live %d", i)
					if _, err := s.Commit(context.Background(), list{put(id, id, 0)}); err != nil {
						t.Error(err)
						return
					}
				}
			}
		}()
		defer func() {
			close(stop)
			<-stopped
		}()
		backUp(t, s, path)
	},
	"CopyFile": func(t *testing.T, s *Store, path string) {
		require.NoError(t, s.db.View(func(tx *bbolt.Tx) error { return tx.CopyFile(path, 0o600) }))
	},
	"WriteTo": func(t *testing.T, s *Store, path string) {
		f, err := os.Create(path)
		require.NoError(t, err)
		require.NoError(t, s.db.View(func(tx *bbolt.Tx) error {
			_, err := tx.WriteTo(f)
			return errors.Join(err, f.Close())
		}))
	},
	"Compact in one transaction": func(t *testing.T, s *Store, path string) { compact(t, s, path, 0) },
	"Compact in several":         func(t *testing.T, s *Store, path string) { compact(t, s, path, 500) },
	"a copy of the bytes": func(t *testing.T, s *Store, path string) {
		b, err := os.ReadFile(s.path)
		require.NoError(t, err)
		damage.Overwrite(t, path, b)
	},
	"read and written anew": func(t *testing.T, s *Store, path string) {
		var changes list
		for _, r := range load(t, s).statuses {
			r.Revision = 0
			changes = append(changes, Change{Kind: Created, After: r})
		}
		copied := openFast(t, path, s.name)
		commit(t, copied, changes...)
		require.NoError(t, copied.Close())
	},
}

// openFast opens a store that does not sync, because no test here cuts the
// power.
func openFast(t *testing.T, path, name string) *Store {
	t.Helper()
	s, err := Open(path, &Options{Name: name, Bolt: &bbolt.Options{NoSync: true}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func backUp(t *testing.T, s *Store, path string) {
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, errors.Join(s.Backup(context.Background(), f), f.Close()))
}

func compact(t *testing.T, s *Store, path string, txSize int64) {
	to, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	require.NoError(t, err)
	require.NoError(t, errors.Join(bbolt.Compact(to, s.db, txSize), to.Close()))
}

// next makes one commit that creates, updates and deletes a status each.
func next(t *testing.T, s *Store) {
	now := load(t, s)
	id := fmt.Sprintf("next %d", now.revision)
	for now.statuses[id].Revision != 0 { // written anew, the revisions begin again
		id += "+"
	}
	changes := list{put(id, id, 0)}
	for _, r := range now.statuses {
		if len(changes) == 1 {
			changes = append(changes, put(r.ID, r.ID+" renamed", r.Revision))
		} else if len(changes) == 2 {
			changes = append(changes, gone(r.ID, r.Revision))
		}
	}
	commit(t, s, changes...)
}

// soundAndGoesOn repeatedly closes, checks, opens and loads a file, with a
// commit each time.
func soundAndGoesOn(t *testing.T, path, name string) {
	t.Helper()
	var want contents
	for commits := range 5 {
		f, err := os.Open(path)
		require.NoError(t, err)
		info, err := f.Stat()
		require.NoError(t, err)
		require.NoError(t, boltfile.Check(f, info.Size()), "after %d commits", commits)
		require.NoError(t, f.Close())
		s := openFast(t, path, name)
		got := load(t, s)
		require.NotEmpty(t, got.statuses)
		if commits > 0 {
			require.True(t, want.equal(got), "after %d commits", commits)
		}
		next(t, s)
		want = load(t, s)
		require.NoError(t, s.Close())
	}
}

// Every file that the library or bbolt writes can be opened, written and opened
// again, however it was made and whichever meta page is newer.
func TestEveryFileIsOpenedWrittenAndOpenedAgain(t *testing.T) {
	t.Parallel()
	for from, open := range map[string]func(t *testing.T, path, name string) *Store{
		"own": openFast,
		"host's": func(t *testing.T, path, name string) *Store {
			db := openHost(t, path)
			db.NoSync = true
			require.NoError(t, db.Update(hostsData))
			return newHostedStore(t, db, name)
		},
	} {
		for way, make := range fileWays {
			for _, name := range []string{"", "rooms"} {
				for parity := range 2 {
					for _, size := range []int{1, 2_000} {
						if name != "" && size > 1 {
							continue
						}
						t.Run(fmt.Sprintf("%s %q, %d, of %d, %s", from, name, parity, size, way), func(t *testing.T) {
							s := open(t, tempPath(t), name)
							_, err := s.Commit(t.Context(), created(size))
							require.NoError(t, err)
							for range 2 + parity {
								next(t, s)
							}
							path := tempPath(t)
							make(t, s, path)
							soundAndGoesOn(t, path, name)
							next(t, s)
							require.NoError(t, s.Close())
							if from == "own" {
								soundAndGoesOn(t, s.path, name)
							}
						})
					}
				}
			}
		}
	}
}

// hostsData writes a host's own data: many buckets, a nested one among them,
// and values of many pages.
func hostsData(tx *bbolt.Tx) error {
	for i := range 300 {
		b, err := tx.CreateBucket(fmt.Appendf(nil, "bucket %d of the host", i))
		if err != nil {
			return err
		}
		if err := b.Put([]byte("key"), make([]byte, i*100)); err != nil {
			return err
		}
	}
	b, err := tx.Bucket([]byte("bucket 1 of the host")).CreateBucket([]byte("within"))
	if err != nil {
		return err
	}
	return b.Put([]byte("key"), make([]byte, 100_000))
}
