//go:build unix

package jsonstore_test

import (
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/examples/jsonstore"
	"github.com/customstatus/customstatus/storetest"
)

func TestStoreConforms(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		dir := t.TempDir()
		return func() (customstatus.Store, error) { return jsonstore.Open(dir) }
	})
}
