package storetest_test

import (
	"context"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

// clusterStore is a store under test that can also forget old commits.
type clusterStore struct {
	*storetest.SharedMemoryStore
	cluster *storetest.SharedMemory
}

var _ storetest.Compacter = clusterStore{}

// Compact is only needed for the test, so the store itself has no such method.
func (s clusterStore) Compact(_ context.Context, upTo customstatus.Revision) error {
	s.cluster.Compact(upTo)
	return nil
}

// Test a shared store. Every case gets a new place and opens it as often as it
// needs.
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

// Test a store that keeps nothing after Close. The Opener says so when it is
// called again, and the cases that need a second opening are skipped.
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
