package storetest_test

import (
	"context"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

// clusterStore is a store under test that can also forget its old commits.
type clusterStore struct {
	*storetest.SharedMemoryStore
	cluster *storetest.SharedMemory
}

var _ storetest.Compacter = clusterStore{}

// Compact is only for the test, and so not a method of the store itself.
func (s clusterStore) Compact(_ context.Context, upTo customstatus.Revision) error {
	s.cluster.Compact(upTo)
	return nil
}

// The test of a store that others write too: every case gets a new place, and
// opens it as often as it needs.
func ExampleRunShared() {
	testStore := func(t *testing.T) { // in your test file: func TestStore(t *testing.T)
		storetest.RunShared(t, func(t *testing.T) storetest.SharedOpener {
			cluster := storetest.NewSharedMemory()
			return func() (customstatus.SharedStore, error) {
				return clusterStore{cluster.Open(), cluster}, nil
			}
		})
	}
	_ = testStore
}

// A store that keeps nothing says so when it is opened again. What needs a
// second opening is then skipped.
func ExampleRun_volatile() {
	testStore := func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Opener {
			opened := false
			return func() (customstatus.Store, error) {
				if opened {
					return nil, storetest.ErrVolatile
				}
				opened = true
				return customstatus.NewMemoryStore(), nil
			}
		})
	}
	_ = testStore
}
