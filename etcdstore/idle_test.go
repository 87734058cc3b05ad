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
	const interval = 200 * time.Millisecond
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
		case <-time.After(5 * silentIntervals * interval):
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
