package pgstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/customstatus/customstatus"
)

// Store is a [customstatus.SharedStore] in a PostgreSQL database. Several
// goroutines may use it at once.
type Store struct {
	pool    *pgxpool.Pool
	ownPool bool
	opts    Options
	log     *slog.Logger
	schema  string // quoted
	catalog int64
	channel string
	// hostListens says that the configuration of the pool has an OnNotification, which
	// takes the notifications.
	hostListens bool

	closing context.Context // done when the store is closed
	close   context.CancelFunc
	running sync.WaitGroup // of methods and feeds

	mu       sync.Mutex
	closed   bool
	feed     *feed            // the live one, or nil
	known    memory           // the positions that the store has told of
	pending  map[token]unsure // commits whose outcome is unknown
	clockAt  time.Time        // when the server's clock was read last
	serverAt time.Time        // what it showed then
}

// Open connects to a database and opens the store of a catalog in it. The dsn is
// what pgx accepts: a URL or key-value pairs, with TLS, several hosts, and the
// settings of pgxpool such as pool_max_conns. Of several hosts, the store uses the
// primary, unless target_session_attrs says otherwise. With n hosts, each is given up
// after [Options.Timeout]/(n+1) without an answer, or after a shorter connect_timeout.
//
// Open makes the tables and the catalog if they are missing, unless
// [Options.NoCreate] forbids it. It fails if they have a format that this version
// doesn't know, and if the database doesn't answer in time. No error contains the
// dsn's password.
func Open(ctx context.Context, dsn string, opts *Options) (*Store, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The error may quote what it couldn't take apart, and a password in it.
		return nil, errors.New("pgstore: the connection string is not valid; it is left out here because it may contain a password")
	}
	own, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if most := connectTimeout(&config.ConnConfig.Config, own.Timeout); config.ConnConfig.ConnectTimeout == 0 || config.ConnConfig.ConnectTimeout > most {
		config.ConnConfig.ConnectTimeout = most
	}
	if len(config.ConnConfig.Fallbacks) > 0 && config.ConnConfig.ValidateConnect == nil {
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("pgstore: open: %w", err)
	}
	s, err := New(ctx, pool, &own)
	if err != nil {
		pool.Close()
		return nil, err
	}
	s.ownPool = true
	return s, nil
}

// connectTimeout returns how long an attempt to connect to one host may take. pgx tries
// the hosts one after another, so a silent one must leave time for the others, and all
// of them for the answer.
func connectTimeout(config *pgconn.Config, all time.Duration) time.Duration {
	hosts, host, port := 1, config.Host, config.Port
	for _, next := range config.Fallbacks { // a host is there twice if TLS is optional
		if next.Host != host || next.Port != port {
			hosts++
			host, port = next.Host, next.Port
		}
	}
	if hosts == 1 {
		return all
	}
	return all / time.Duration(hosts+1)
}

// New opens the store of a catalog in the database of a pool, as [Open] does. Close
// does not close the pool; close the store first. The store needs one connection
// for a moment at each call, and takes one out of the pool for LISTEN while it is
// watched. It prepares no statements and changes no settings of a session.
func New(ctx context.Context, pool *pgxpool.Pool, opts *Options) (*Store, error) {
	own, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	schema, err := schemaOf(own.Schema)
	if err != nil {
		return nil, err
	}
	s := &Store{pool: pool, opts: own, log: own.Logger, schema: schema, pending: make(map[token]unsure),
		hostListens: pool.Config().ConnConfig.OnNotification != nil}
	s.closing, s.close = context.WithCancel(context.Background())
	err = s.prepare(ctx)
	if err == nil {
		err = s.findCatalog(ctx)
	}
	if err != nil {
		s.close()
		return nil, fmt.Errorf("pgstore: open: %w", err)
	}
	return s, nil
}

// findCatalog reads the number of the catalog, which it makes if there is none.
func (s *Store) findCatalog(ctx context.Context) error {
	return s.with(ctx, func(ctx context.Context, c *pgconn.PgConn) error {
		name := hexLiteral([]byte(s.opts.Catalog))
		find := "SELECT id, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint FROM " + s.schema + ".catalogs WHERE name = " + name
		sent := time.Now()
		rows, err := simple(ctx, c, find)
		if err == nil && len(rows) == 0 && s.opts.NoCreate {
			return s.noCatalog()
		}
		if err == nil && len(rows) == 0 {
			_, err = simple(ctx, c, readCommitted+"WITH made AS (INSERT INTO "+s.schema+".catalogs (name) VALUES ("+name+") ON CONFLICT DO NOTHING RETURNING id, token)"+
				" INSERT INTO "+s.schema+".commits (catalog, revision, token, fingerprint, total, format, changes)"+
				" SELECT id, 0, token, 0, 0, 1, '' FROM made")
			if err == nil {
				sent = time.Now()
				rows, err = simple(ctx, c, find)
			}
		}
		if err != nil {
			return err
		}
		if len(rows) != 1 {
			return errors.New("the catalog was made and is gone again")
		}
		id, err1 := strconv.ParseInt(string(rows[0][0]), 10, 64)
		now, err2 := strconv.ParseInt(string(rows[0][1]), 10, 64)
		s.catalog = id
		s.channel = unquoted(s.schema) + "_" + strconv.FormatInt(id, 10)
		s.setClock(sent, now)
		return errors.Join(err1, err2)
	})
}

// readClock reads the server's clock.
func (s *Store) readClock(ctx context.Context) error {
	return s.with(ctx, func(ctx context.Context, c *pgconn.PgConn) error {
		sent := time.Now()
		rows, err := simple(ctx, c, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
		if err != nil {
			return err
		}
		if len(rows) != 1 {
			return fmt.Errorf("the clock has %d rows, want 1", len(rows))
		}
		now, err := strconv.ParseInt(string(rows[0][0]), 10, 64)
		if err == nil {
			s.setClock(sent, now)
		}
		return err
	})
}

func (s *Store) noCatalog() error {
	return fmt.Errorf("%w: %q in the schema %s", ErrNoCatalog, s.opts.Catalog, s.schema)
}

// setClock notes what the server's clock showed, in microseconds since 1970. The
// query was sent before.
func (s *Store) setClock(sent time.Time, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clockAt, s.serverAt = sent, time.UnixMicro(now)
}

// serverTime returns what the server's clock shows, or a little more.
func (s *Store) serverTime() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serverAt.Add(time.Since(s.clockAt))
}

// enter begins a method. The caller calls leave unless there is an error.
func (s *Store) enter(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return customstatus.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.running.Add(1)
	return nil
}

func (s *Store) leave() { s.running.Done() }

// with calls f with a connection and a context that limits the wait. The
// connection returns to the pool, which drops it if it is broken.
func (s *Store) with(ctx context.Context, f func(context.Context, *pgconn.PgConn) error) error {
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	conn, err := s.pool.Acquire(limited)
	if err != nil {
		return s.describe(ctx, err)
	}
	defer release(conn)
	err = f(limited, conn.Conn().PgConn())
	if isStandby(err) {
		s.leaveServer(conn)
	}
	return s.describe(ctx, err)
}

// release returns a connection to its pool. One that is broken leaves the pool at
// once: pgx would keep its place for 15 seconds, in which it waits for an answer.
func release(conn *pgxpool.Conn) {
	if !conn.Conn().IsClosed() {
		conn.Release()
		return
	}
	_ = conn.Hijack().PgConn().Conn().Close()
}

// describe returns the error of a call that was limited by ctx and the time limit.
func (s *Store) describe(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return &silence{s.opts.Timeout, err}
	}
	return err
}

// leaveServer closes a connection that can't write. If the server has become a
// standby, it drops all others too, so that new ones find the primary. A primary may
// have been told to refuse writes, and a new connection then sees when that is over.
func (s *Store) leaveServer(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	rows, err := simple(ctx, conn.Conn().PgConn(), "SELECT pg_is_in_recovery()")
	_ = conn.Conn().Close(ctx)
	if err != nil || len(rows) != 1 || string(rows[0][0]) != "f" {
		s.pool.Reset()
	}
}

// Revision implements [customstatus.Store]. It fails if the database has gone back to
// another history since it was read, because the number then says nothing about what
// was read. The next Load ends that. A catalog loads by itself. Like Load, Revision first
// finds out what became of commits whose outcome was unknown, so that a catalog's Sync
// does.
func (s *Store) Revision(ctx context.Context) (customstatus.Revision, error) {
	if err := s.enter(ctx); err != nil {
		return 0, edge("revision", err)
	}
	defer s.leave()
	if err := s.settle(ctx); err != nil {
		return 0, edge("revision", err)
	}
	s.mu.Lock()
	asked := s.known // was told before what is read
	s.mu.Unlock()
	var head position
	err := s.with(ctx, func(ctx context.Context, c *pgconn.PgConn) error {
		rows := query(ctx, c, "SELECT revision, pg_is_in_recovery(), uuid_send(token) FROM "+s.schema+".catalogs WHERE id = $1", int8(s.catalog))
		found := false
		for rows.NextRow() {
			v := rows.Values()
			if v[1][0] != 0 {
				_, _ = rows.Close()
				return errStandby
			}
			head, found = position{binary.BigEndian.Uint64(v[0]), token(v[2])}, true
		}
		if _, err := rows.Close(); err != nil {
			return err
		}
		if !found {
			return errGone
		}
		return nil
	})
	if err == nil && !s.tell(head, &asked) {
		err = fmt.Errorf("the database has gone back to another history before revision %d", max(asked.last.revision, head.revision))
		s.diverge(fmt.Errorf("%w: %w", customstatus.ErrCompacted, err))
	}
	if err != nil {
		return 0, edge("revision", err)
	}
	return customstatus.Revision(head.revision), nil
}

// tell remembers a position that the store is about to tell of, so that a feed that brings
// another commit there is noticed. It reports false for a position of another history than
// that of what the store has told of. The memory was asked when the store asked for p.
func (s *Store) tell(p position, asked *memory) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.revision < asked.last.revision || s.known.contradicts(p):
		return false
	case s.known.loads == asked.loads: // or what was loaded may be of another history
		s.known.add(p)
	}
	return true
}

// Close implements [customstatus.Store]. It waits for running methods, and not for
// watchers. Without an answer of the database, most methods end within twice
// [Options.Timeout]. A Commit may take four times as long as Timeout: it finds out
// what became of an earlier one, gets a connection, waits for its answer, and finds
// out what became of itself. A Load takes as long as it makes progress.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.close()
	s.running.Wait()
	if s.ownPool {
		s.pool.Close()
	}
	return nil
}

// lockTimeout is a little less than the time that an answer may take, so that the server
// says what a call has waited for.
func (s *Store) lockTimeout() string {
	return strconv.FormatInt(max(1, s.opts.Timeout.Milliseconds()*7/8), 10) + "ms"
}

func unquoted(schema string) string { return schema[1 : len(schema)-1] }
