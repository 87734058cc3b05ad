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

// catalogs returns a function that opens stores on a new catalog for each place. The
// contract says nothing of time, and so the stores have patience on a busy machine.
func catalogs(dsn string, opts pgstore.Options) func(t *testing.T) storetest.SharedOpener {
	var last atomic.Int64
	return func(t *testing.T) storetest.SharedOpener {
		opts := opts
		opts.Timeout = patience
		opts.Catalog = fmt.Sprintf("%s %d", t.Name(), last.Add(1))
		return func() (customstatus.SharedStore, error) { return pgstore.Open(t.Context(), dsn, &opts) }
	}
}

// unusual is what an operator may have set for a database, and what a store must not
// rely on.
var unusual = []string{
	"default_transaction_isolation = 'repeatable read'", "default_transaction_deferrable = on", "synchronous_commit = off",
	"lock_timeout = '1ms'", "idle_in_transaction_session_timeout = '1s'", "statement_timeout = '20s'",
	"standard_conforming_strings = off", "backslash_quote = off", "bytea_output = escape", "client_encoding = 'LATIN1'",
	"datestyle = 'SQL, DMY'", "timezone = 'Pacific/Chatham'", "intervalstyle = sql_standard", "extra_float_digits = -15",
	"search_path = ''", "plan_cache_mode = force_generic_plan", "enable_indexscan = off", "row_security = off",
	"quote_all_identifiers = on", "transform_null_equals = on", "array_nulls = off", "check_function_bodies = off",
}

func TestStoreKeepsTheContract(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	for _, tt := range []struct {
		name string
		opts pgstore.Options
		set  []string
	}{
		{"with LISTEN", pgstore.Options{}, nil},
		{"without LISTEN and NOTIFY, in an unusual database", pgstore.Options{NoListen: true, NoNotify: true}, unusual},
	} {
		t.Run(tt.name, func(t *testing.T) {
			database := server.NewDatabase()
			for _, setting := range tt.set {
				server.Exec("postgres", "ALTER DATABASE "+database+" SET "+setting)
			}
			storetest.RunShared(t, catalogs(server.DSN(database), tt.opts))
		})
	}
}

func TestMain(m *testing.M) { os.Exit(m.Run()) }
