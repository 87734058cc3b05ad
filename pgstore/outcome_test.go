package pgstore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/faultproxy"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// The bytes of a commit on their way to the server, and of its answer.
var (
	request = []byte("commit_1")
	reply   = []byte("commit_1\x00") // the name of its column
)

func TestLostConnections(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	const limit = 3 * time.Second // for a busy machine
	for _, tt := range []struct {
		name      string
		direction faultproxy.Direction
		rule      faultproxy.Rule
	}{
		{"cut before the request arrives", faultproxy.ToServer, faultproxy.Rule{Action: faultproxy.Cut, Pattern: request}},
		{"cut in the request", faultproxy.ToServer, faultproxy.Rule{Action: faultproxy.Cut, After: 300}},
		{"cut before the answer", faultproxy.ToClient, faultproxy.Rule{Action: faultproxy.Cut, Pattern: reply}},
		{"frozen before the request arrives", faultproxy.ToServer, faultproxy.Rule{Action: faultproxy.Freeze, Pattern: request}},
		{"frozen before the answer", faultproxy.ToClient, faultproxy.Rule{Action: faultproxy.Freeze, Pattern: reply}},
	} {
		opts := pgstore.Options{Timeout: limit, Catalog: tt.name, Logger: new(logbook).logger()}
		made := tt.direction == faultproxy.ToClient

		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, dsn := through(t, server, database)
			s, other := open(t, dsn, opts), open(t, server.DSN(database), opts)
			feed := follow(t, other, 0)
			rule := tt.rule
			rule.Once = true
			p.Set(tt.direction, rule)
			r, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
			if !made && tt.rule.Action == faultproxy.Freeze {
				// The time is up, and the outcome known.
				require.ErrorContains(t, err, "nothing was written")
				require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
				r, err = s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
			}
			require.NoError(t, err)
			require.Equal(t, 1, p.Fired(tt.direction))
			require.Equal(t, customstatus.Revision(1), r, "the commit is made once")
			feed.reaches(t, 1)
			holds(t, s, 1, "x")
			holds(t, other, 1, "x")

			// What was held arrives late and must change nothing.
			p.Set(tt.direction, faultproxy.Rule{})
			works(t, s)
			works(t, other)
			holds(t, other, 5, "x")
			feed.reaches(t, 5)
		})

		t.Run(tt.name+", and no other connection", func(t *testing.T) {
			t.Parallel()
			opts := opts
			opts.Catalog += ", alone"
			p, dsn := through(t, server, database)
			s, other := open(t, dsn, opts), open(t, server.DSN(database), opts)
			p.Set(tt.direction, tt.rule)
			p.Refuse(true)
			_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
			require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			_, err = s.Load(t.Context())
			require.Error(t, err, "nothing is certain yet")
			require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			_, err = s.Commit(t.Context(), []customstatus.Change{create("b", "y")})
			require.Error(t, err)
			require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown, "this commit has not begun")

			// An answer to a request that is still held is what decides. It must not
			// depend on when the request arrives.
			if made {
				holds(t, other, 1, "x")
			} else {
				holds(t, other, 0)
			}
			p.Refuse(false)
			p.CutAll()
			p.Set(tt.direction, faultproxy.Rule{})
			if made {
				holds(t, s, 1, "x")
			} else {
				holds(t, s, 0)
				require.Equal(t, []string{"1"}, server.Exec(database, "SELECT count(*) FROM customstatus.markers m JOIN customstatus.catalogs c ON c.id = m.catalog"+
					" WHERE m.revision IS NULL AND convert_from(c.name, 'UTF8') = '"+opts.Catalog+"'"), "Load has decided")
				commit(t, s, create("a", "x"))
			}
			works(t, s)
			works(t, other)
		})
	}
}

// A client that stops in the middle of a request holds up nobody.
func TestHalfARequestHoldsUpNobody(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	for _, after := range []int{1, 100, 400, 700, 1000, 1300, 1600} {
		p, dsn := through(t, server, database)
		opts := pgstore.Options{Timeout: 20 * time.Second, Catalog: fmt.Sprint(after), Logger: new(logbook).logger()}
		s := open(t, dsn, opts)
		opts.Timeout = 2 * time.Second
		other := open(t, server.DSN(database), opts)
		large := create("a", "x")
		large.After.Metadata = strings.Repeat("m", 1000)
		p.Set(faultproxy.ToServer, faultproxy.Rule{Action: faultproxy.Freeze, After: after, Once: true})
		done := make(chan error, 1)
		go func() {
			_, err := s.Commit(t.Context(), []customstatus.Change{large})
			done <- err
		}()
		eventually(t, "the request is held", func() bool { return p.Fired(faultproxy.ToServer) == 1 })
		commit(t, other, create("b", "y"))
		p.Set(faultproxy.ToServer, faultproxy.Rule{})
		require.NoError(t, <-done)
		holds(t, other, 2, "x", "y")
		works(t, s)
	}
}

// A commit that was given up, and arrives when the server is free again, is refused.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	p, dsn := through(t, server, database)
	s := open(t, dsn, pgstore.Options{Timeout: 3 * time.Second})
	p.Set(faultproxy.ToServer, faultproxy.Rule{Action: faultproxy.Freeze, Pattern: request, Once: true})
	_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
	require.ErrorContains(t, err, "nothing was written")
	holds(t, s, 0)
	require.Equal(t, []string{"1"}, server.Exec(database, "SELECT count(*) FROM customstatus.markers WHERE revision IS NULL"))

	// Nothing else than the marker is in its way.
	rollbacks := func() string {
		return server.Exec(database, "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")[0]
	}
	before := rollbacks()
	p.Set(faultproxy.ToServer, faultproxy.Rule{})
	eventually(t, "the late commit is refused", func() bool { return rollbacks() != before })
	works(t, s)
	holds(t, s, 2)
}

// After an unknown outcome, callers are told to call Sync and read. What they read then
// must last.
func TestSyncAfterAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	p, dsn := through(t, server, database)
	c := clustered(t, open(t, dsn+"&pool_max_conns=1", pgstore.Options{Timeout: 3 * time.Second, NoListen: true, Logger: new(logbook).logger()}))
	p.Set(faultproxy.ToServer, faultproxy.Rule{Action: faultproxy.Freeze, Pattern: request, Once: true})
	p.Refuse(true)
	_, err := c.Create(t.Context(), customstatus.Fields{Name: "late", StatusType: customstatus.Busy})
	require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	p.Refuse(false)
	require.NoError(t, c.Sync(t.Context()))
	require.Zero(t, c.Len())

	rollbacks := func() string {
		return server.Exec(database, "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()")[0]
	}
	before := rollbacks()
	p.Set(faultproxy.ToServer, faultproxy.Rule{})
	eventually(t, "the late commit is refused", func() bool { return c.Len() > 0 || rollbacks() != before })
	require.NoError(t, c.Sync(t.Context()))
	require.Zero(t, c.Len())
}

// The markers of commits are old at once when somebody sets the server's clock forward.
func TestOutcomeWithoutTheMarker(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	p, dsn := through(t, server, database)
	s := open(t, dsn, pgstore.Options{Timeout: patience, Logger: new(logbook).logger()})
	p.Set(faultproxy.ToClient, faultproxy.Rule{Action: faultproxy.Cut, Pattern: reply, Once: true})
	p.Refuse(true)
	done := start(t, s, create("a", "x"))
	eventually(t, "the commit is made", func() bool {
		return len(server.Exec(database, "DELETE FROM customstatus.markers RETURNING 1")) == 1
	})
	eventually(t, "the answer is lost", func() bool { return p.Fired(faultproxy.ToClient) == 1 })
	p.Refuse(false)
	require.NoError(t, <-done)
	holds(t, s, 1, "x")
	works(t, s)
}

// A commit may leave the feed before its outcome is known.
func TestUnknownOutcomeOfACompactedCommit(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	p, dsn := through(t, server, database)
	opts := pgstore.Options{Timeout: 3 * time.Second, Logger: new(logbook).logger()}
	s, other := open(t, dsn, opts), open(t, server.DSN(database), opts)
	p.Set(faultproxy.ToClient, faultproxy.Rule{Action: faultproxy.Cut, Pattern: reply})
	p.Refuse(true)
	_, err := s.Commit(t.Context(), []customstatus.Change{create("a", "x")})
	require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	require.NoError(t, other.Compact(t.Context(), commit(t, other, create("b", "y"))))
	p.Refuse(false)
	p.CutAll()
	p.Set(faultproxy.ToClient, faultproxy.Rule{})
	holds(t, s, 2, "x", "y")
	commit(t, s, create("c", "z"))
	works(t, s)
}
