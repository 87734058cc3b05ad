package pgstore_test

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
	"github.com/customstatus/customstatus/storetest"
)

// catalogs returns a function that opens stores on a new catalog for each place.
func catalogs(dsn string, opts pgstore.Options) func(t *testing.T) storetest.SharedOpener {
	var last atomic.Int64
	return func(t *testing.T) storetest.SharedOpener {
		opts := opts
		opts.Catalog = fmt.Sprintf("%s %d", t.Name(), last.Add(1))
		return func() (customstatus.SharedStore, error) { return pgstore.Open(t.Context(), dsn, &opts) }
	}
}

func TestStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	for _, tt := range []struct {
		name string
		opts pgstore.Options
	}{
		{"with LISTEN", pgstore.Options{}},
		{"without LISTEN and NOTIFY", pgstore.Options{NoListen: true, NoNotify: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			storetest.RunShared(t, catalogs(server.DSN(server.NewDatabase()), tt.opts))
		})
	}
}

func TestMain(m *testing.M) { os.Exit(m.Run()) }
