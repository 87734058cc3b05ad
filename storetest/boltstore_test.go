package storetest_test

import (
	"path/filepath"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

func TestBoltStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "rooms"} {
		t.Run("of the name "+name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Opener {
				path := filepath.Join(t.TempDir(), "statuses.db")
				return func() (customstatus.Store, error) {
					return customstatus.OpenBolt(path, &customstatus.BoltOptions{Name: name})
				}
			})
		})
	}
}

func TestBoltStoreInAHostsDatabaseKeepsTheContract(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "rooms"} {
		t.Run("of the name "+name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Opener {
				db, err := bbolt.Open(filepath.Join(t.TempDir(), "statuses.db"), 0o600, nil)
				require.NoError(t, err)
				t.Cleanup(func() { require.NoError(t, db.Close()) })
				return func() (customstatus.Store, error) {
					return customstatus.NewBoltStore(db, &customstatus.BoltOptions{Name: name})
				}
			})
		})
	}
}
