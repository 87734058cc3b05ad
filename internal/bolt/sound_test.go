package bolt

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// The check of pages accepts everything that bbolt writes.
func TestStoreTakesWhatBboltWrites(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what string
		bolt bbolt.Options
		host func(tx *bbolt.Tx) error
	}{
		{"small pages", bbolt.Options{PageSize: 512}, nil},
		{"large pages", bbolt.Options{PageSize: 64 << 10}, nil},
		{"no list of free pages", bbolt.Options{NoFreelistSync: true}, nil},
		{"a map of free pages", bbolt.Options{FreelistType: bbolt.FreelistMapType}, nil},
		{"buckets beside", bbolt.Options{PageSize: 512}, hostsData},
		// More pages than the count in the page's header can hold.
		{"very many free pages", bbolt.Options{PageSize: 512, FreelistType: bbolt.FreelistMapType}, func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("large"))
			if err != nil {
				return err
			}
			if b.Get([]byte("key")) != nil {
				return b.Delete([]byte("key"))
			}
			return b.Put([]byte("key"), make([]byte, 512*70_000))
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			c.bolt.NoSync = true
			path := tempPath(t)
			db, err := bbolt.Open(path, 0o600, &c.bolt)
			require.NoError(t, err)
			if c.host != nil {
				require.NoError(t, db.Update(c.host))
			}
			s := newHostedStore(t, db, "")
			m, h := newModel(), newHistory(9)
			h.run(t, 40, 30, m, s)
			if c.host != nil && c.what != "buckets beside" {
				require.NoError(t, db.Update(c.host))
			}
			h.run(t, 10, 400, m, s)
			// Nearly all are deleted, so that bbolt merges pages up to the
			// root, and created again.
			for _, keep := range []int{100, 3, 0} {
				var changes list
				for id, r := range m.now.statuses {
					if len(m.now.statuses)-len(changes) > keep {
						changes = append(changes, gone(id, r.Revision))
					}
				}
				commit(t, m, changes...)
				commit(t, s, changes...)
				require.True(t, m.now.equal(load(t, s)))
				h.run(t, 5, 10, m, s)
			}
			h.run(t, 5, 400, m, s)
			want := load(t, s)
			require.NoError(t, s.Close())
			require.NoError(t, db.Close())
			reopened, err := Open(path, &Options{Bolt: &c.bolt})
			require.NoError(t, err)
			require.True(t, want.equal(load(t, reopened)))
			require.NoError(t, reopened.Close())
		})
	}
}

// Ids of every length, so that an element takes from a few bytes to many pages.
func TestStoreTakesIDsAndNamesOfEveryLength(t *testing.T) {
	s := openStore(t, tempPath(t))
	m := newModel()
	for i := range 200 {
		text := fmt.Sprintf("%0*d", 1+i*i/2, i)
		c := put(text, text, 0)
		c.After.Metadata = text
		commit(t, s, c)
		commit(t, m, c)
		if i%5 == 4 {
			old := fmt.Sprintf("%0*d", 1+(i-3)*(i-3)/2, i-3)
			commit(t, s, gone(old, uint64(load(t, s).statuses[old].Revision)))
			commit(t, m, gone(old, m.now.statuses[old].Revision))
		}
	}
	require.True(t, m.now.equal(load(t, s)))
}
