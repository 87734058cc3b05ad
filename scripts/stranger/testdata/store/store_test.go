package store

import (
	"context"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

// counting is the project's own store, which counts the commits.
type counting struct {
	customstatus.Store
	commits chan<- int
}

func (c counting) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	select {
	case c.commits <- len(changes):
	default:
	}
	return c.Store.Commit(ctx, changes)
}

func TestStore(t *testing.T) {
	commits := make(chan int, 1)
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		opened := false
		return func() (customstatus.Store, error) {
			if opened {
				return nil, storetest.ErrVolatile
			}
			opened = true
			return counting{customstatus.NewMemoryStore(), commits}, nil
		}
	})
	if len(commits) == 0 {
		t.Error("the suite never committed anything to the store")
	}
}

// sharedCounting is counting as a shared store.
type sharedCounting struct {
	customstatus.SharedStore
	commits chan<- int
}

func (c sharedCounting) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	return counting{c.SharedStore, c.commits}.Commit(ctx, changes)
}

func TestSharedStore(t *testing.T) {
	commits := make(chan int, 1)
	storetest.RunShared(t, func(t *testing.T) storetest.SharedOpener {
		place := storetest.NewSharedMemory()
		return func() (customstatus.SharedStore, error) { return sharedCounting{place.Open(), commits}, nil }
	})
	if len(commits) == 0 {
		t.Error("the suite never committed anything to the store")
	}
}
