package pgstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// session is a connection of somebody else.
type session struct {
	t *testing.T
	c *pgconn.PgConn
}

func newSession(t *testing.T, dsn string) *session {
	t.Helper()
	c, err := pgconn.Connect(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return &session{t, c}
}

func (s *session) exec(sql string) {
	s.t.Helper()
	_, err := s.c.Exec(s.t.Context(), sql).ReadAll()
	require.NoError(s.t, err)
}

const lockHead = "BEGIN; SELECT 1 FROM customstatus.catalogs FOR UPDATE"

// waiting is the commits that wait for a lock.
const waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%commit_1%' AND pid <> pg_backend_pid()"

// start begins a commit and returns the channel of the outcome.
func start(t *testing.T, s customstatus.Store, changes ...customstatus.Change) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := s.Commit(t.Context(), changes)
		done <- err
	}()
	return done
}

func TestSQLStates(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, &pgtest.Options{Settings: []string{"deadlock_timeout=100ms"}})
	begin := func(t *testing.T, opts pgstore.Options) (*pgstore.Store, string, *logbook) {
		t.Helper()
		database := server.NewDatabase()
		book := new(logbook)
		opts.Logger = book.logger()
		return open(t, server.DSN(database), opts), database, book
	}
	definite := func(t *testing.T, err error, code string) {
		t.Helper()
		require.ErrorContains(t, err, "nothing was written")
		require.ErrorContains(t, err, code)
		require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
		require.NotErrorIs(t, err, customstatus.ErrConflict)
	}

	t.Run("55P03, the lock is held for too long", func(t *testing.T) {
		s, database, _ := begin(t, pgstore.Options{Timeout: 8 * time.Second})
		other := newSession(t, server.DSN(database))
		other.exec(lockHead)
		_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		definite(t, err, "55P03")
		require.ErrorContains(t, err, "another transaction holds a lock on the catalog")
		other.exec("ROLLBACK")
		works(t, s)
		holds(t, s, 2)
	})

	t.Run("57014, an operator cancels the statement", func(t *testing.T) {
		s, database, _ := begin(t, pgstore.Options{})
		other := newSession(t, server.DSN(database))
		other.exec(lockHead)
		done := start(t, s, create("a", "x"))
		eventually(t, "the commit waits", func() bool { return len(server.Exec(database, waiting)) == 1 })
		server.Exec(database, "SELECT pg_cancel_backend(pid) FROM ("+waiting+") w")
		definite(t, <-done, "57014")
		other.exec("ROLLBACK")
		works(t, s)
		holds(t, s, 2)
	})

	// A commit must heed what it finds after it has waited for the lock.
	for _, tt := range []struct {
		change string
		want   error
	}{
		{"format = 2", pgstore.ErrNewerFormat},
		{"token = gen_random_uuid()", customstatus.ErrConflict},
	} {
		t.Run("the head has changed meanwhile, "+tt.change, func(t *testing.T) {
			s, database, _ := begin(t, pgstore.Options{})
			commit(t, s, create("a", "x"))
			other := newSession(t, server.DSN(database))
			other.exec("BEGIN; UPDATE customstatus.catalogs SET " + tt.change)
			done := start(t, s, create("b", "y"))
			eventually(t, "the commit waits", func() bool { return len(server.Exec(database, waiting)) == 1 })
			other.exec("COMMIT")
			require.ErrorIs(t, <-done, tt.want)
			require.Equal(t, []string{"1"}, server.Exec(database, "SELECT count(*) FROM customstatus.statuses"))
		})
	}

	t.Run("57P01, an operator ends the session", func(t *testing.T) {
		s, database, book := begin(t, pgstore.Options{})
		other := newSession(t, server.DSN(database))
		other.exec(lockHead)
		done := start(t, s, create("a", "x"))
		eventually(t, "the commit waits", func() bool { return len(server.Exec(database, waiting)) == 1 })
		server.Exec(database, "SELECT pg_terminate_backend(pid) FROM ("+waiting+") w")
		eventually(t, "the commit waits again", func() bool {
			return strings.Contains(book.String(), "57P01") && len(server.Exec(database, waiting)) == 1
		})
		other.exec("ROLLBACK")
		require.NoError(t, <-done)
		holds(t, s, 1, "x")
		works(t, s)
	})

	t.Run("40P01, a deadlock with somebody else", func(t *testing.T) {
		s, database, book := begin(t, pgstore.Options{})
		r := commit(t, s, create("a", "x"))
		before := create("a", "x").After
		before.Revision = r
		other := newSession(t, server.DSN(database))
		other.exec("BEGIN; SELECT 1 FROM customstatus.statuses FOR UPDATE")
		done := start(t, s, rename(before, "y"))
		eventually(t, "the commit waits", func() bool { return len(server.Exec(database, waiting)) == 1 })
		// Whoever notices the deadlock is the victim.
		if _, err := other.c.Exec(t.Context(), "SELECT 1 FROM customstatus.catalogs FOR UPDATE").ReadAll(); err == nil {
			eventually(t, "the commit is tried again", func() bool { return strings.Contains(book.String(), "40P01") })
		} else {
			require.ErrorContains(t, err, "40P01")
		}
		other.exec("ROLLBACK")
		require.NoError(t, <-done)
		holds(t, s, 2, "y")
		works(t, s)
	})

	const failing = `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted' USING ERRCODE = '40001'; END $$;
		CREATE TRIGGER fail BEFORE INSERT ON customstatus.commits FOR EACH ROW EXECUTE FUNCTION fail()`
	t.Run("40001, a trigger that always fails so", func(t *testing.T) {
		s, database, book := begin(t, pgstore.Options{Timeout: 2 * time.Second})
		server.Exec(database, failing)
		_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		definite(t, err, "40001")
		require.Greater(t, strings.Count(book.String(), "tried again"), 3)
		holds(t, s, 0)
		server.Exec(database, "DROP TRIGGER fail ON customstatus.commits")
		works(t, s)
		holds(t, s, 2)
	})

	t.Run("40001, and then no connection is free", func(t *testing.T) {
		database := server.NewDatabase()
		pool, err := pgxpool.New(t.Context(), server.DSN(database)+"&pool_max_conns=1")
		require.NoError(t, err)
		defer pool.Close()
		book := new(logbook)
		s, err := pgstore.New(t.Context(), pool, &pgstore.Options{Timeout: 4 * time.Second, NoListen: true, Logger: book.logger()})
		require.NoError(t, err)
		defer s.Close()
		server.Exec(database, failing)
		done := start(t, s, create("a", "x"))
		eventually(t, "the commit is tried again", func() bool { return strings.Contains(book.String(), "tried again") })
		held, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		err = <-done
		held.Release()
		definite(t, err, "40001")
		holds(t, s, 0)
	})

	t.Run("40003, the server doesn't know", func(t *testing.T) {
		s, database, book := begin(t, pgstore.Options{Timeout: 4 * time.Second})
		// A sequence counts what is rolled back, too.
		server.Exec(database, `CREATE SEQUENCE tries;
			CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
				$$ BEGIN PERFORM nextval('tries'); RAISE EXCEPTION 'planted' USING ERRCODE = '40003'; END $$;
			CREATE TRIGGER fail BEFORE INSERT ON customstatus.commits FOR EACH ROW EXECUTE FUNCTION fail()`)
		_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		definite(t, err, "40003")
		require.Contains(t, book.String(), "tried again")
		require.Equal(t, server.Exec(database, "SELECT last_value FROM tries"),
			server.Exec(database, "SELECT count(*) FROM customstatus.markers WHERE revision IS NULL"))
		server.Exec(database, "DROP TRIGGER fail ON customstatus.commits")
		works(t, s)
	})

	t.Run("25006, a database that takes no writes", func(t *testing.T) {
		s, database, _ := begin(t, pgstore.Options{Timeout: 4 * time.Second})
		server.Exec("postgres", "ALTER DATABASE "+database+" SET default_transaction_read_only = on")
		server.Exec(database, "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		definite(t, err, "25006")
		holds(t, s, 0)
		server.Exec("postgres", "ALTER DATABASE "+database+" RESET default_transaction_read_only")
		_, err = s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		if err != nil { // the sessions from before
			definite(t, err, "25006")
		}
		eventually(t, "commits pass again", func() bool {
			_, err := s.Commit(t.Context(), []customstatus.Change{create(fmt.Sprint(time.Now().UnixNano()), fmt.Sprint(time.Now().UnixNano()))})
			return err == nil
		})
		works(t, s)
	})

	t.Run("a session's default level is serializable", func(t *testing.T) {
		database := server.NewDatabase()
		server.Exec("postgres", "ALTER DATABASE "+database+" SET default_transaction_isolation = 'serializable'")
		opts := pgstore.Options{Logger: new(logbook).logger()}
		var all sync.WaitGroup
		errs := make(chan error, 100)
		for i := range 4 {
			s := open(t, server.DSN(database), opts)
			all.Go(func() {
				for k := range 25 {
					_, err := s.Commit(t.Context(), []customstatus.Change{create(fmt.Sprint(i, " ", k), fmt.Sprint(i, " ", k))})
					errs <- err
				}
			})
		}
		all.Wait()
		for range 100 {
			require.NoError(t, <-errs)
		}
		got := load(t, open(t, server.DSN(database), opts))
		require.Equal(t, customstatus.Revision(100), got.Revision)
		require.Len(t, got.Statuses, 100)
	})

	t.Run("synchronous_commit off is not for commits", func(t *testing.T) {
		database := server.NewDatabase()
		server.Exec("postgres", "ALTER DATABASE "+database+" SET synchronous_commit = off")
		s := open(t, server.DSN(database), pgstore.Options{})
		// What counts is the setting at the end of the transaction.
		server.Exec(database, `CREATE TABLE seen (value text);
			CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
			CREATE CONSTRAINT TRIGGER note AFTER INSERT ON customstatus.commits DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note()`)
		commit(t, s, create("a", "x"))
		require.Equal(t, []string{"on"}, server.Exec(database, "SELECT value FROM seen"))
	})

	// The server shows the commit to others when the wait for the standby was broken off.
	// A failover would lose it.
	t.Run("what a synchronous standby doesn't have has not been made", func(t *testing.T) {
		s, _, _ := begin(t, pgstore.Options{Timeout: 3 * time.Second})
		standbys := func(sql string) {
			server.Exec("postgres", "ALTER SYSTEM "+sql)
			server.Exec("postgres", "SELECT pg_reload_conf()")
		}
		probe := newSession(t, server.DSN("postgres"))
		waits := make(chan struct{})
		var met atomic.Bool
		standbys("SET synchronous_standby_names = 'away'")
		defer func() {
			met.Store(true)
			standbys("RESET synchronous_standby_names")
			<-waits
		}()
		go func() {
			defer close(waits)
			for !met.Load() { // a commit returns, until the server has heard of the setting
				if _, err := probe.c.Exec(t.Context(), "SELECT pg_logical_emit_message(true, 'probe', '')").ReadAll(); err != nil {
					return
				}
			}
		}()
		eventually(t, "commits wait for the standby", func() bool {
			met.Store(len(server.Exec("postgres", "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")) > 0)
			return met.Load()
		})
		_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
		standbys("RESET synchronous_standby_names")
		holds(t, s, 1, "x")
		works(t, s)
	})

	t.Run("55000, a database that takes no connections", func(t *testing.T) {
		s, database, book := begin(t, pgstore.Options{Timeout: patience})
		server.Exec("postgres", "ALTER DATABASE "+database+" ALLOW_CONNECTIONS false")
		server.Exec("postgres", "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '"+database+"'")
		_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		definite(t, err, "55000")
		require.NotContains(t, book.String(), "tried again", "it will answer so again")
	})

	t.Run("a store that is closed", func(t *testing.T) {
		s, _, _ := begin(t, pgstore.Options{})
		require.NoError(t, s.Close())
		_, loaded := s.Load(t.Context())
		_, committed := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		_, asked := s.Revision(t.Context())
		var watched error
		for _, watched = range s.Watch(t.Context(), 0) {
		}
		for does, err := range map[string]error{"load": loaded, "commit": committed, "revision": asked, "watch": watched} {
			require.ErrorIs(t, err, customstatus.ErrClosed)
			require.EqualError(t, err, "pgstore: "+does+": "+customstatus.ErrClosed.Error())
		}
	})

	t.Run("too late by the server's clock", func(t *testing.T) {
		s, database, _ := begin(t, pgstore.Options{Timeout: 4 * time.Second})
		server.Exec(database, `CREATE FUNCTION customstatus.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '2 hours' $$;
			ALTER FUNCTION customstatus.commit_1 SET search_path = customstatus, pg_catalog`)
		_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
		definite(t, err, "CS004")
		holds(t, s, 0)
		server.Exec(database, "ALTER FUNCTION customstatus.commit_1 RESET search_path")
		works(t, s)
	})
}

func TestServerDiesAndComesBack(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	opts := pgstore.Options{Timeout: 3 * time.Second, Logger: new(logbook).logger()}
	a, b := open(t, server.DSN(database), opts), open(t, server.DSN(database), opts)
	book := new(logbook)
	patient := open(t, server.DSN(database), pgstore.Options{Timeout: patience, Logger: book.logger()})
	for i, stop := range []func(){server.Kill, server.Stop, server.Kill} {
		feed := follow(t, b, load(t, b).Revision)
		name := fmt.Sprint("before ", i)
		r := commit(t, a, create(name, name))
		feed.reaches(t, r)
		stop()
		require.Error(t, feed.ends(t), "a watcher hears that there is no server")
		_, err := a.Commit(t.Context(), []customstatus.Change{create("during", "during")})
		require.ErrorContains(t, err, "nothing was written")
		_, err = b.Load(t.Context())
		require.Error(t, err)
		_, err = b.Revision(t.Context())
		require.Error(t, err)
		tries := strings.Count(book.String(), "tried again")
		back := fmt.Sprint("back ", i)
		done := start(t, patient, create(back, back))
		eventually(t, "the commit is tried again", func() bool { return strings.Count(book.String(), "tried again") > tries })
		server.Restart()
		require.NoError(t, <-done)
		got, _ := names(t, a)
		require.Contains(t, got, back)
		require.Contains(t, got, name)
		require.NotContains(t, got, "during")
		works(t, a)
		works(t, b)
	}
}

func TestFrozenServer(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	opts := pgstore.Options{Timeout: 3 * time.Second, PollInterval: 100 * time.Millisecond, Logger: new(logbook).logger()}
	a := open(t, server.DSN(database), opts)
	commit(t, a, create("a", "x"))
	feed := follow(t, a, 1)
	server.Freeze()
	_, err := a.Commit(t.Context(), []customstatus.Change{create("b", "y")})
	require.Error(t, err)
	unknown := err
	require.Error(t, feed.ends(t))
	_, err = a.Revision(t.Context())
	require.ErrorContains(t, err, "has not answered")
	require.NotErrorIs(t, err, context.DeadlineExceeded, "the caller has set no deadline")
	server.Thaw()
	got, revision := names(t, a)
	t.Logf("the commit in the frozen server: %v; then there are %q", unknown, got)
	works(t, a)
	again, _ := names(t, a)
	require.ElementsMatch(t, got, again, "the decision about revision %d is final", revision)
}
