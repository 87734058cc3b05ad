package pgstore_test

import (
	"testing"

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
