package storetest

import (
	"context"
	"testing"

	"github.com/customstatus/customstatus"
)

func TestMem(t *testing.T) {
	Run(t, func(t *testing.T) Opener {
		opened := false
		return func() (customstatus.Store, error) {
			if opened {
				return nil, ErrVolatile
			}
			opened = true
			return customstatus.NewMemoryStore(), nil
		}
	})
}

type compactable struct {
	*SharedMemoryStore
	place *SharedMemory
}

func (c compactable) Compact(_ context.Context, upTo customstatus.Revision) error {
	c.place.Compact(upTo)
	return nil
}

func TestShared(t *testing.T) {
	RunShared(t, func(t *testing.T) SharedOpener {
		place := NewSharedMemory()
		return func() (customstatus.SharedStore, error) { return compactable{place.Open(), place}, nil }
	})
}
