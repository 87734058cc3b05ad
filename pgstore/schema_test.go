package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

func TestSchemas(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	as := func(role, database string) string {
		return strings.Replace(server.DSN(database), "postgres@", role+":secret@", 1)
	}
	quiet := pgstore.Options{Logger: new(logbook).logger()}

	t.Run("many come first at once", func(t *testing.T) {
		database := server.NewDatabase()
		var all sync.WaitGroup
		errs := make([]error, 12)
		for i := range errs {
			dsn := server.DSN(database)
			if i%2 == 0 { // which is the default of some databases
				dsn += "&default_transaction_isolation=serializable"
			}
			all.Go(func() {
				s, err := pgstore.Open(t.Context(), dsn, &quiet)
				if errs[i] = err; err == nil {
					_, errs[i] = s.Commit(t.Context(), []customstatus.Change{create(fmt.Sprint(i), fmt.Sprint(i))})
					require.NoError(t, s.Close())
				}
			})
		}
		all.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		require.Len(t, load(t, open(t, server.DSN(database), quiet)).Statuses, 12)
	})

	t.Run("catalogs and schemas don't see each other", func(t *testing.T) {
		database := server.NewDatabase()
		var stores []*pgstore.Store
		for _, opts := range []pgstore.Options{{}, {Catalog: "rooms"}, {Catalog: "\x00'\\"}, {Schema: "other"}, {Schema: "select", Catalog: "rooms"}, {Schema: strings.Repeat("s", 48), Catalog: strings.Repeat("\xff", 255)}} {
			stores = append(stores, open(t, server.DSN(database), opts))
		}
		for i, s := range stores {
			feed := follow(t, s, 0)
			for k := range i + 1 {
				commit(t, s, create(fmt.Sprint(k), fmt.Sprint(k)))
			}
			feed.reaches(t, customstatus.Revision(i+1))
		}
		for i, s := range stores {
			require.Len(t, load(t, s).Statuses, i+1)
			works(t, s)
		}
		server.Exec(database, `CREATE ROLE "Ü ""{schema}"`)
		sql, err := pgstore.GrantSQL("select", `Ü "{schema}`)
		require.NoError(t, err)
		server.Exec(database, sql)
	})

	t.Run("a role with the least privileges", func(t *testing.T) {
		database := server.NewDatabase()
		server.Exec("postgres", "CREATE ROLE chat LOGIN; REVOKE ALL ON DATABASE "+database+" FROM PUBLIC; GRANT CONNECT ON DATABASE "+database+" TO chat")
		server.Exec(database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
		opts := pgstore.Options{Schema: "statuses"}
		_, err := pgstore.Open(t.Context(), as("chat", database), &opts)
		require.ErrorContains(t, err, "permission denied for database")
		opts.NoMigrate = true
		_, err = pgstore.Open(t.Context(), as("chat", database), &opts)
		require.ErrorContains(t, err, "SchemaSQL")

		sql, err := pgstore.SchemaSQL("statuses")
		require.NoError(t, err)
		server.Exec(database, sql)
		_, err = pgstore.Open(t.Context(), as("chat", database), &opts)
		require.ErrorContains(t, err, "permission denied")
		require.NotContains(t, err.Error(), "secret")
		sql, err = pgstore.GrantSQL("statuses", "chat")
		require.NoError(t, err)
		server.Exec(database, sql)
		s := open(t, as("chat", database), opts)
		works(t, s)
		commit(t, s, create("a", "x"))
		r := commit(t, s, rename(load(t, s).Statuses[0], "y"))
		require.NoError(t, s.Compact(t.Context(), r))
		works(t, s)
		for _, denied := range []string{"DROP TABLE statuses.statuses", "DELETE FROM statuses.catalogs", "UPDATE statuses.version SET version = 2",
			"UPDATE statuses.commits SET total = 0", "CREATE TABLE statuses.own ()", "CREATE TABLE public.own ()", "TRUNCATE statuses.statuses"} {
			_, err := newSession(t, as("chat", database)).c.Exec(t.Context(), denied).ReadAll()
			require.Error(t, err, denied)
		}
		// Without any of the privileges, something fails.
		use := func(catalog string) error {
			opts := opts
			opts.Catalog = catalog
			s, err := pgstore.Open(t.Context(), as("chat", database), &opts)
			if err != nil {
				return err
			}
			defer s.Close()
			var last customstatus.Change
			for i := range 64 { // at the last, old markers are deleted
				switch i {
				case 0:
					last = create("a", "x")
				case 63:
					last = remove(last.After)
				default:
					last = rename(last.After, fmt.Sprint("x", i))
				}
				r, err := s.Commit(t.Context(), []customstatus.Change{last})
				if err != nil {
					return err
				}
				last.After.Revision = r
			}
			_, err = s.Load(t.Context())
			return errors.Join(err, s.Compact(t.Context(), 64))
		}
		require.NoError(t, use("granted"))
		for _, privilege := range []string{"USAGE ON SCHEMA statuses", "SELECT ON statuses.version",
			"SELECT ON statuses.catalogs", "INSERT ON statuses.catalogs", "UPDATE ON statuses.catalogs",
			"SELECT ON statuses.statuses", "INSERT ON statuses.statuses", "UPDATE ON statuses.statuses", "DELETE ON statuses.statuses",
			"SELECT ON statuses.commits", "INSERT ON statuses.commits", "DELETE ON statuses.commits",
			"SELECT ON statuses.markers", "INSERT ON statuses.markers", "DELETE ON statuses.markers",
			"EXECUTE ON ALL FUNCTIONS IN SCHEMA statuses"} {
			server.Exec(database, "REVOKE "+privilege+" FROM chat")
			require.ErrorContains(t, use("without "+privilege), "permission denied", privilege)
			server.Exec(database, "GRANT "+privilege+" TO chat")
		}
		works(t, s)
	})

	t.Run("a newer schema", func(t *testing.T) {
		database := server.NewDatabase()
		s := open(t, server.DSN(database), quiet)
		server.Exec(database, "UPDATE customstatus.version SET version = 2")
		works(t, open(t, server.DSN(database), quiet))
		server.Exec(database, "UPDATE customstatus.version SET oldest = 2")
		_, err := pgstore.Open(t.Context(), server.DSN(database), &quiet)
		require.ErrorContains(t, err, "needs a program that knows version 2, and this program knows version 1")
		works(t, s)
	})

	t.Run("wrong options", func(t *testing.T) {
		for _, opts := range []pgstore.Options{{Schema: "a-b"}, {Schema: "A"}, {Schema: "1a"}, {Schema: strings.Repeat("a", 49)},
			{Catalog: strings.Repeat("a", 256)}, {Timeout: -1}, {KeepCommits: -1}, {KeepCommits: 99}, {KeepChanges: 9_999}} {
			_, err := pgstore.Open(t.Context(), server.DSN("postgres"), &opts)
			require.ErrorContains(t, err, "pgstore: ")
		}
		_, err := pgstore.SchemaSQL(`a"; DROP`)
		require.Error(t, err)
		_, err = pgstore.GrantSQL(`a"; DROP`, "chat")
		require.Error(t, err)
	})

	t.Run("a pool of the host's", func(t *testing.T) {
		config, err := pgxpool.ParseConfig(server.DSN(server.NewDatabase()))
		require.NoError(t, err)
		config.MaxConns = 1
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		defer pool.Close()
		s, err := pgstore.New(t.Context(), pool, nil)
		require.NoError(t, err)
		feed := follow(t, s, 0)
		works(t, s)
		feed.reaches(t, 2)
		require.NoError(t, s.Close())
		require.ErrorIs(t, feed.ends(t), customstatus.ErrClosed)
		require.NoError(t, pool.Ping(t.Context()), "the pool stays open")
		require.EqualValues(t, 0, pool.Stat().AcquiredConns())
	})

	t.Run("no pool at hand", func(t *testing.T) {
		config, err := pgxpool.ParseConfig(server.DSN(server.NewDatabase()))
		require.NoError(t, err)
		config.MaxConns = 1
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		defer pool.Close()
		s, err := pgstore.New(t.Context(), pool, &pgstore.Options{Timeout: 3 * time.Second})
		require.NoError(t, err)
		busy, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		_, err = s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		require.ErrorContains(t, err, "no connection, nothing was written")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = s.Load(ctx)
		require.ErrorIs(t, err, context.Canceled)
		busy.Release()
		require.NoError(t, s.Close())
	})
}

func TestNoPasswordInAnError(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://chat:s3cr3t@127.0.0.1:1/chat?connect_timeout=2",
		"postgres://chat:s3cr3t@127.0.0.1:1/chat?sslmode=nonsense",
		"postgres://chat:s3cr3t%zz@127.0.0.1:1/chat",
		"postgres://chat:s3cr3t@127.0.0.1:port/chat",
		"postgres://chat:s3cr3t@[::1/chat",
		"host=127.0.0.1 port=1 user=chat password=s3cr3t",
		"host=127.0.0.1 port=1 user=chat password=s3cr3t sslmode=nonsense",
		"host=127.0.0.1 port=1 user=chat password='s3cr3t",
		"s3cr3t",
		"postgres://chat:s3cr3t@no-such-host.invalid/chat?connect_timeout=2",
		"postgres://chat:s3cr3t@127.0.0.1:1,127.0.0.1:2/chat?connect_timeout=2&pool_max_conns=s3cr3t",
	} {
		book := new(logbook)
		_, err := pgstore.Open(t.Context(), dsn, &pgstore.Options{Timeout: 3e9, Logger: book.logger()})
		require.Error(t, err, dsn)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "s3cr3t")
		require.NotContains(t, book.String(), "s3cr3t")
	}
}

// A server goes on with a catalog's row, and never with that of another catalog that
// was made after the first one was dropped.
func TestACatalogThatWasDropped(t *testing.T) {
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	dsn := server.DSN(database)
	s := open(t, dsn, pgstore.Options{})
	commit(t, s, create("a", "one"))
	server.Exec(database, "DROP SCHEMA customstatus CASCADE")
	other := open(t, dsn, pgstore.Options{Catalog: "other"})
	commit(t, other, create("a", "secret"))

	_, err := s.Load(t.Context())
	require.ErrorContains(t, err, "gone")
	_, err = s.Revision(t.Context())
	require.ErrorContains(t, err, "gone")
	_, err = s.Commit(t.Context(), []customstatus.Change{create("b", "two")})
	require.ErrorContains(t, err, "gone")
	holds(t, other, 1, "secret")
}
