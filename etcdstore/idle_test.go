package etcdstore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

// A member tells nothing of its progress before it has reached the revision at which a
// watch begins. A cluster in which nobody writes never reaches its next one.
func TestIdleCluster(t *testing.T) {
	t.Parallel()
	const interval = 500 * time.Millisecond // so long that a busy machine answers in time
	cluster := etcdtest.Start(t, nil)
	s := openOn(t, cluster, &wire{}, Options{ProgressInterval: interval})
	idles := func(after customstatus.Revision, id string) (next customstatus.Revision) {
		t.Helper()
		commits, ended := make(chan customstatus.Commit, 10), make(chan error, 1)
		go func() {
			for c, err := range s.Watch(t.Context(), after) {
				if err != nil {
					ended <- err
					return
				}
				if len(c.Changes) > 0 {
					commits <- c
				}
			}
		}()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case c := <-commits:
			require.Empty(t, c, "there was no commit")
		case <-time.After((silentIntervals + 2) * interval):
		}
		next, err := s.Commit(ctx, []customstatus.Change{create(id, "name of "+id)})
		require.NoError(t, err)
		select {
		case err := <-ended:
			require.NoError(t, err)
		case c := <-commits:
			require.Equal(t, next, c.Revision)
		case <-time.After(time.Minute):
			require.Fail(t, "the commit does not come")
		}
		return next
	}
	first := idles(0, "a")      // in a new cluster
	second := idles(first, "b") // after a commit of the catalog
	_, err := cluster.Client(t).Put(ctx, "of others", "x")
	require.NoError(t, err)
	idles(second, "c")
}

// A stream begins with the last revision, which the watcher knows. What is wrong in it
// must not end each feed.
func TestWatchFromWhatIsKnown(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, nil)
	s := openOn(t, cluster, &wire{}, Options{})
	first := create("a", "x")
	known, err := s.Commit(ctx, []customstatus.Change{first})
	require.NoError(t, err)
	stray := string(s.keys.record("stray"))
	_, err = cluster.Client(t).Put(ctx, stray, string(appendRecord(nil, &first.After)))
	require.NoError(t, err)
	_, err = cluster.Client(t).Delete(ctx, stray) // somebody cleans up by hand
	require.NoError(t, err)
	for c, err := range s.Watch(t.Context(), known) {
		require.NoError(t, err)
		switch {
		case len(c.Changes) > 0:
			require.Greater(t, c.Revision, known)
			return
		case c.FingerprintKnown: // the proof, which comes after the stream's first events
			_, err := s.Commit(ctx, []customstatus.Change{create("b", "y")})
			require.NoError(t, err)
		}
	}
}
