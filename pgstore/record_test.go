package pgstore_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

func TestRecords(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	begin := func(t *testing.T, opts pgstore.Options) (*pgstore.Store, string) {
		t.Helper()
		opts.Logger = new(logbook).logger()
		database := server.NewDatabase()
		return open(t, server.DSN(database), opts), database
	}

	// A program of the next version has renamed a status, and stored with it what
	// this version doesn't know: in a new column, in the hash, and in the feed.
	t.Run("a newer version beside this one", func(t *testing.T) {
		s, database := begin(t, pgstore.Options{})
		other := open(t, server.DSN(database), pgstore.Options{})
		c := clustered(t, other)
		commit(t, s, create("a", "x"), create("b", "y"))
		require.NoError(t, c.Sync(t.Context()))
		feed := follow(t, s, 1)
		newer := func(name string) {
			server.Exec(database, `ALTER TABLE customstatus.statuses ADD COLUMN IF NOT EXISTS emoji bytea;
				BEGIN;
				UPDATE customstatus.statuses SET name = '`+name+`', emoji = 'tada', hash = 12345, format = 2, revision = h.revision + 1 FROM customstatus.catalogs h WHERE statuses.id = 'a';
				UPDATE customstatus.catalogs SET revision = revision + 1, changes = changes + 1, token = gen_random_uuid(), format = 2,
					fingerprint = 12345 + (SELECT hash FROM customstatus.statuses WHERE id = 'b');
				INSERT INTO customstatus.commits SELECT id, revision, token, fingerprint, changes, 2, 'unknown' FROM customstatus.catalogs;
				COMMIT; SELECT pg_notify('customstatus_1', '')`)
		}
		newer("new")
		require.ErrorIs(t, feed.ends(t), customstatus.ErrCompacted)
		all := load(t, s)
		require.Equal(t, customstatus.Revision(2), all.Revision)
		require.Equal(t, "new", all.Statuses[1].Name+all.Statuses[0].Name[1:], "both versions read the name")
		_, err := s.Commit(t.Context(), []customstatus.Change{create("c", "z")})
		require.ErrorContains(t, err, "a newer version of this program has written records of the format 2")
		require.ErrorContains(t, err, "nothing was written")
		require.ErrorIs(t, err, pgstore.ErrNewerFormat)
		_, err = c.Create(t.Context(), customstatus.Fields{Name: "z", StatusType: customstatus.Busy})
		require.ErrorContains(t, err, "upgrade this program")
		for _, name := range []string{"newer", "newest"} {
			newer(name)
			eventually(t, "the catalog follows by loading", func() bool {
				status, err := c.Get("a")
				return err == nil && status.Name == name
			})
		}
		require.Equal(t, []string{"tada"}, server.Exec(database, "SELECT convert_from(emoji, 'UTF8') FROM customstatus.statuses WHERE id = 'a'"))
		require.ErrorContains(t, c.Stats().CommitError, "format 2", "the catalog says that writes fail")
	})

	t.Run("damage", func(t *testing.T) {
		for _, damage := range []string{
			"UPDATE customstatus.statuses SET name = 'other' WHERE id = 'a'",
			"UPDATE customstatus.statuses SET metadata = 'other' WHERE id = 'a'",
			"UPDATE customstatus.statuses SET hash = hash + 1 WHERE id = 'a'",
			"DELETE FROM customstatus.statuses WHERE id = 'a'",
			"INSERT INTO customstatus.statuses SELECT catalog, 'c', 'z', type, metadata, updated_at, revision, hash, format FROM customstatus.statuses WHERE id = 'a'",
		} {
			s, database := begin(t, pgstore.Options{})
			commit(t, s, create("a", "x"), create("b", "y"))
			works(t, s)
			server.Exec(database, damage)
			_, err := s.Load(t.Context())
			require.ErrorIs(t, err, customstatus.ErrDamaged, damage)
		}
		s, database := begin(t, pgstore.Options{})
		commit(t, s, create("a", "x"))
		server.Exec(database, "UPDATE customstatus.commits SET changes = 'nonsense' WHERE revision = 1")
		ended := follow(t, s, 0).ends(t)
		require.ErrorIs(t, ended, customstatus.ErrDamaged, "it says why")
		require.ErrorIs(t, ended, customstatus.ErrCompacted, "a catalog loads, which goes past the commit")
		works(t, s)
		server.Exec(database, "DELETE FROM customstatus.catalogs")
		_, err := s.Load(t.Context())
		require.ErrorContains(t, err, "is gone")
		_, err = s.Revision(t.Context())
		require.ErrorContains(t, err, "is gone")
		_, err = s.Commit(t.Context(), []customstatus.Change{create("b", "y")})
		require.ErrorContains(t, err, "is gone")
		require.ErrorContains(t, follow(t, s, 2).ends(t), "is gone")
	})

	t.Run("commits compact the feed and the markers", func(t *testing.T) {
		s, database := begin(t, pgstore.Options{KeepCommits: 100, KeepChanges: 10_000})
		feed := follow(t, s, 0)
		const each = 200
		total := 0
		for n := range 256 {
			changes := make([]customstatus.Change, each)
			for i := range changes {
				changes[i] = create(fmt.Sprint(n, " ", i), fmt.Sprint(n, " ", i))
			}
			commit(t, s, changes...)
			total += each
			if n == 100 {
				server.Exec(database, "UPDATE customstatus.markers SET at = at - interval '59 minutes' WHERE revision <= 40; UPDATE customstatus.markers SET at = at - interval '61 minutes' WHERE revision <= 20")
			}
		}
		feed.reaches(t, 256)
		require.Len(t, feed.commits, 256)
		got := server.Exec(database, "SELECT min(revision) || ' ' || count(*) FROM customstatus.commits")
		require.Equal(t, []string{"156 101"}, got, "the last hundred, and the one before")
		require.Equal(t, []string{"156"}, server.Exec(database, "SELECT compacted FROM customstatus.catalogs"))
		require.Equal(t, []string{"236"}, server.Exec(database, "SELECT count(*) FROM customstatus.markers"))
		require.ErrorIs(t, follow(t, s, 155).ends(t), customstatus.ErrCompacted)
		follow(t, s, 156).reaches(t, 256)
		require.Len(t, load(t, s).Statuses, total)
		works(t, s)
	})

	t.Run("limits", func(t *testing.T) {
		s, _ := begin(t, pgstore.Options{})
		var large *customstatus.TooLargeError
		changes := make([]customstatus.Change, 20_001)
		for i := range changes {
			changes[i] = create(fmt.Sprint(i), fmt.Sprint(i))
		}
		_, err := s.Commit(t.Context(), changes)
		require.ErrorAs(t, err, &large)
		require.Equal(t, 20_000, large.MaxChanges)
		commit(t, s, changes[:large.MaxChanges]...)
		long := create("long", string(make([]byte, 2000)))
		_, err = s.Commit(t.Context(), []customstatus.Change{long})
		require.ErrorAs(t, err, &large)
		require.Zero(t, large.MaxChanges)
		long = create(string(make([]byte, 1024)), string(make([]byte, 1024)))
		long.After.Metadata = string(make([]byte, 1<<20))
		commit(t, s, long)
		require.Len(t, load(t, s).Statuses, 20_001)
	})

	// A watcher that is far behind what the feed keeps in memory reads the database,
	// in parts.
	t.Run("a watcher far behind", func(t *testing.T) {
		s, _ := begin(t, pgstore.Options{})
		live := follow(t, s, 0)
		entered, goOn := make(chan struct{}), make(chan struct{})
		done := make(chan []customstatus.Commit)
		go func() {
			var got []customstatus.Commit
			for c, err := range s.Watch(t.Context(), 0) {
				if err != nil {
					break
				}
				if len(c.Changes) == 0 {
					close(entered)
					<-goOn
					continue
				}
				if got = append(got, c); c.Revision == 300 {
					break
				}
			}
			done <- got
		}()
		<-entered
		metadata := string(make([]byte, 32<<10))
		for i := range 300 {
			c := create(fmt.Sprint(i), fmt.Sprint(i))
			c.After.Metadata = metadata
			commit(t, s, c)
		}
		live.reaches(t, 300)
		close(goOn)
		got := <-done
		require.Len(t, got, 300)
		require.Equal(t, live.commits, got)
	})
}
