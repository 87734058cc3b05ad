package pgstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// clustered opens a catalog of a store.
func clustered(t *testing.T, s customstatus.SharedStore) *customstatus.Catalog {
	t.Helper()
	c, err := customstatus.OpenShared(t.Context(), s, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// heals waits until a catalog can create a status.
func heals(t *testing.T, c *customstatus.Catalog, name string) customstatus.CustomUserStatus {
	t.Helper()
	var made customstatus.CustomUserStatus
	eventually(t, "creates pass again", func() (ok bool) {
		var err error
		made, err = c.Create(t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
		return err == nil
	})
	return made
}

func TestFailoverWithoutLoss(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t, nil)
	database := primary.NewDatabase()
	standby := primary.Standby(true)
	opts := pgstore.Options{Timeout: 3 * time.Second, PollInterval: 50 * time.Millisecond, Logger: new(logbook).logger()}
	dsn := hosts(database, primary, standby)
	s := open(t, dsn, opts)
	a, b := clustered(t, s), clustered(t, open(t, dsn, opts))
	for i := range 10 {
		heals(t, a, fmt.Sprint("before ", i))
	}
	require.NoError(t, b.Sync(t.Context()))
	before := b.Stats()

	// A feed that begins now goes on after the failover.
	primary.Kill()
	standby.Promote()
	// It would wait for a standby, too.
	standby.Exec("postgres", "ALTER SYSTEM RESET synchronous_standby_names")
	standby.Exec("postgres", "SELECT pg_reload_conf()")
	made := heals(t, a, "after")
	eventually(t, "the other catalog sees it", func() bool {
		_, err := b.Get(made.ID)
		return err == nil
	})
	require.NoError(t, b.Sync(t.Context()))
	require.Equal(t, 11, b.Len())
	require.Equal(t, a.Position(), b.Position())
	require.Equal(t, before.Rewinds, b.Stats().Rewinds, "nothing was lost")
	works(t, s)
}

func TestFailoverThatLosesCommits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		lost int // commits that the standby hasn't
		made int // commits of somebody else on the new primary, before the catalogs find it
	}{
		{"the new primary is behind", 5, 0},
		{"the new primary has as many others", 5, 5},
		{"the new primary is ahead", 5, 9},
	} {
		t.Run(tt.name, func(t *testing.T) {
			primary := pgtest.Start(t, nil)
			database := primary.NewDatabase()
			standby := primary.Standby(false)
			opts := pgstore.Options{Timeout: 3 * time.Second, PollInterval: 50 * time.Millisecond, Logger: new(logbook).logger()}
			p, dsn := through(t, primary, database)
			a, b := clustered(t, open(t, dsn, opts)), clustered(t, open(t, dsn, opts))
			for i := range 10 {
				heals(t, a, fmt.Sprint("kept ", i))
			}
			lsn := primary.Exec("postgres", "SELECT pg_current_wal_lsn()")[0]
			eventually(t, "the standby has it", func() bool {
				return standby.Exec("postgres", "SELECT pg_last_wal_replay_lsn() >= '"+lsn+"'")[0] == "t"
			})
			standby.Stop()
			var last customstatus.CustomUserStatus
			for i := range tt.lost {
				last = heals(t, a, fmt.Sprint("lost ", i))
			}
			require.NoError(t, b.Sync(t.Context()))
			require.Equal(t, 15, b.Len())
			held := b.Position()

			primary.Kill()
			standby.Restart()
			standby.Promote()
			other := open(t, standby.DSN(database), opts)
			for i := range tt.made {
				name := fmt.Sprint("other ", i)
				commit(t, other, create(name, name))
			}
			p.SetTarget(standby.Addr())
			for _, c := range []*customstatus.Catalog{a, b} {
				eventually(t, "the catalog notices", func() bool {
					_, err := c.Get(last.ID)
					return err != nil && c.Sync(t.Context()) == nil
				})
				require.Equal(t, 10+tt.made, c.Len())
			}
			made := heals(t, a, "after")
			for _, err := range b.Watch(t.Context(), held) {
				require.ErrorIs(t, err, customstatus.ErrCompacted, "a client that comes back with a lost position")
			}
			require.NoError(t, b.Sync(t.Context()))
			_, err := b.Get(made.ID)
			require.NoError(t, err)
			require.Equal(t, a.Position(), b.Position())
			require.Equal(t, load(t, other).Fingerprint, b.Position().Fingerprint)
			if tt.made < tt.lost {
				require.EqualValues(t, 1, b.Stats().Rewinds)
			}
		})
	}
}

// An update rests on what was read. If that is of a history that is lost, the
// update must fail, even if the revision of the status is the same.
func TestCommitFromALostHistory(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	database := server.NewDatabase()
	opts := pgstore.Options{Logger: new(logbook).logger()}
	s := open(t, server.DSN(database), opts)
	r := commit(t, s, create("a", "x"))
	before := load(t, s).Statuses[0]
	feed := follow(t, s, r)

	// Another history with the same revisions.
	server.Exec(database, "UPDATE customstatus.catalogs SET token = gen_random_uuid(); UPDATE customstatus.commits c SET token = h.token FROM customstatus.catalogs h WHERE c.revision = 1")
	_, err := s.Commit(t.Context(), []customstatus.Change{rename(before, "y")})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	require.ErrorContains(t, err, "another history")
	require.ErrorIs(t, feed.ends(t), customstatus.ErrCompacted)
	_, err = s.Commit(t.Context(), []customstatus.Change{rename(before, "y")})
	require.ErrorIs(t, err, customstatus.ErrConflict, "until it is loaded")
	require.ErrorIs(t, follow(t, s, r).ends(t), customstatus.ErrCompacted, "a watch from the lost history")
	holds(t, s, 1, "x")
	commit(t, s, rename(before, "y"))
	works(t, s)
}
