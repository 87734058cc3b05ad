package pgstore_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// A page of the feed has a limit, and a commit may be larger.
func TestFeedPassesALargeCommit(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	opts := pgstore.Options{Logger: new(logbook).logger()}
	s, other := open(t, server.DSN(database), opts), open(t, server.DSN(database), opts)
	var changes []customstatus.Change
	for i := range 10_000 {
		c := create(fmt.Sprint("id", i), fmt.Sprint("name", i))
		c.After.Metadata = strings.Repeat("x", 500)
		changes = append(changes, c)
	}
	large := commit(t, s, changes...)
	small := commit(t, s, create("small", "small"))
	require.Equal(t, large+1, small)
	for _, after := range []customstatus.Revision{0, large} {
		follow(t, other, after).reaches(t, small)
	}
}

// A commit that is gone from the table must not be waited for.
func TestFeedWithAHole(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	s := open(t, server.DSN(database), pgstore.Options{Logger: new(logbook).logger()})
	r := commit(t, s, create("a", "x"))
	commit(t, s, create("b", "y"))
	server.Exec(database, "DELETE FROM customstatus.commits WHERE revision = 2")
	require.ErrorIs(t, follow(t, s, r).ends(t), customstatus.ErrCompacted)
	commit(t, s, create("c", "z"))
	works(t, s)
}

// A page of the feed must not read all later commits, even before the server has
// gathered statistics. Then the planner expects few rows, and prefers to sort them.
func TestFeedReadsNoMoreThanItsPage(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, &pgtest.Options{Settings: []string{"autovacuum=off"}})
	database := server.NewDatabase()
	s := open(t, server.DSN(database), pgstore.Options{Logger: new(logbook).logger()})
	commit(t, s, create("a", "x"))
	server.Exec(database, `INSERT INTO customstatus.commits (catalog, revision, token, fingerprint, total, format, changes)
		SELECT id, r, gen_random_uuid(), 0, r, 1, 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' FROM customstatus.catalogs, generate_series(2, 20000) r`)
	c := newSession(t, server.DSN(database))
	c.exec("BEGIN")
	results, err := c.c.Exec(t.Context(), `SELECT count(f.*) FROM customstatus.catalogs h, customstatus.feed_1(h.id, 1000) f;
		SELECT idx_tup_fetch FROM pg_stat_xact_user_tables WHERE schemaname = 'customstatus' AND relname = 'commits'`).ReadAll()
	require.NoError(t, err)
	require.Equal(t, "257", string(results[0].Rows[0][0]))
	require.Equal(t, "257", string(results[1].Rows[0][0]), "rows that were read")
}
