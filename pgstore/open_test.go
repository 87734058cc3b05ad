package pgstore_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// A store that must not create finds what is there and makes nothing.
func TestNoCreate(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	dsn := server.DSN(server.NewDatabase())
	missing := func(opts pgstore.Options, says string) {
		t.Helper()
		opts.NoCreate = true
		for range 2 { // the first makes no catalog that the second finds
			_, err := pgstore.Open(t.Context(), dsn, &opts)
			require.ErrorIs(t, err, pgstore.ErrNoCatalog)
			require.ErrorContains(t, err, says)
		}
	}
	noTables := func(schema string) {
		t.Helper()
		_, err := pgstore.Open(t.Context(), dsn, &pgstore.Options{Schema: schema, NoMigrate: true})
		require.ErrorContains(t, err, "has no tables")
	}
	missing(pgstore.Options{}, `"default" in the schema "customstatus"`)
	noTables("")
	commit(t, open(t, dsn, pgstore.Options{}), create("1", "one"))
	require.Len(t, load(t, open(t, dsn, pgstore.Options{NoCreate: true})).Statuses, 1)
	missing(pgstore.Options{Catalog: "x'"}, `"x'" in the schema "customstatus"`)
	missing(pgstore.Options{Schema: "other"}, `"default" in the schema "other"`)
	noTables("other")
}

// A first host that takes connections and says nothing leaves time for the second one.
func TestOpenPastASilentHost(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, silent.Close()) })
	dsn := strings.Replace(server.DSN(server.NewDatabase()), server.Addr(), silent.Addr().String()+","+server.Addr(), 1)
	require.Contains(t, dsn, ",")
	works(t, open(t, dsn, pgstore.Options{Timeout: 6 * time.Second}))
}
