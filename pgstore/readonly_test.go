package pgstore_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// A primary may refuse writes for a while, in a switchover say. It is no standby, so
// the other connections of the host's pool are good.
func TestReadOnlyPrimary(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	config, err := pgxpool.ParseConfig(server.DSN(database))
	require.NoError(t, err)
	config.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	book := new(logbook)
	s, err := pgstore.New(t.Context(), pool, &pgstore.Options{Timeout: patience, NoListen: true, Logger: book.logger()})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()

	server.Exec("postgres", "ALTER DATABASE "+database+" SET default_transaction_read_only = on")
	pool.Reset() // the setting is for new connections
	hosts, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	kept := hosts.Conn().PgConn().PID()
	done := start(t, s, create("a", "x"))
	eventually(t, "the commit has been tried more than a few times", func() bool { return strings.Count(book.String(), "25006") > 4 })
	server.Exec("postgres", "ALTER DATABASE "+database+" RESET default_transaction_read_only")
	require.NoError(t, <-done)

	hosts.Release()
	var pids []uint32
	for range 2 {
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
		pids = append(pids, conn.Conn().PgConn().PID())
	}
	require.Contains(t, pids, kept)
}
