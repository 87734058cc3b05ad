package etcdstore

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

// TestFigures measures; it asserts no time.
func TestFigures(t *testing.T) {
	rounds, statuses := 20, 2_000
	if os.Getenv("CUSTOMSTATUS_TORTURE") != "" {
		rounds, statuses = 300, 100_000
	}
	for _, members := range []int{1, 3} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			cluster := etcdtest.Start(t, &etcdtest.Options{Members: members, Fsync: true})
			a, b := newNode(t, cluster, Options{}), newNode(t, cluster, Options{})
			report(t, "etcd-alone", "%v at p50 of %d writes, %v for three bare puts in one transaction",
				alone(t, a, rounds), rounds, bare(t, cluster, rounds))
			report(t, "etcd-64-writers", "%v a write", together(t, "w", rounds, a))
			report(t, "etcd-64-writers-on-each-of-two", "%v a write", together(t, "v", rounds, a, b))
			require.NoError(t, a.Sync(ctx))
			require.NoError(t, b.Sync(ctx))
			require.Equal(t, a.Position().Fingerprint, b.Position().Fingerprint)
			if members == 1 {
				loads(t, cluster, statuses)
			}
		})
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2].Round(time.Microsecond)
}

func alone(t *testing.T, n *node, rounds int) time.Duration {
	var all []time.Duration
	for i := range rounds {
		start := time.Now()
		_, err := n.create(fmt.Sprint("alone ", i))
		require.NoError(t, err)
		all = append(all, time.Since(start))
	}
	return median(all)
}

func bare(t *testing.T, cluster *etcdtest.Cluster, rounds int) time.Duration {
	client := cluster.Client(t)
	var all []time.Duration
	for i := range rounds {
		key := fmt.Sprint("bare ", i)
		start := time.Now()
		resp, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", 0)).
			Then(opPut(key, key), opPut(key+" name", key), opPut("bare", key)).Commit()
		require.NoError(t, err)
		require.True(t, resp.Succeeded)
		all = append(all, time.Since(start))
	}
	return median(all)
}

func together(t *testing.T, prefix string, rounds int, nodes ...*node) time.Duration {
	var wg sync.WaitGroup
	start := time.Now()
	for i, n := range nodes {
		for w := range 64 {
			wg.Go(func() {
				for j := range rounds {
					if _, err := n.create(fmt.Sprint(prefix, i, " ", w, " ", j)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	return (time.Since(start) / time.Duration(64*rounds*len(nodes))).Round(time.Microsecond)
}

// loads measures a load, beside the same reads by the bare client.
func loads(t *testing.T, cluster *etcdtest.Cluster, statuses int) {
	s := openOn(t, cluster, &wire{}, Options{Prefix: "/loads/"})
	for i := 0; i < statuses; {
		var changes []customstatus.Change
		for ; len(changes) < 60 && i < statuses; i++ {
			changes = append(changes, create(fmt.Sprintf("01a2014f-260d-7008-b71f-%012d", i), fmt.Sprintf("a name of a status %d", i)))
		}
		_, err := s.Commit(ctx, changes)
		require.NoError(t, err)
	}
	client := cluster.Client(t)
	var own, bare []time.Duration
	for range 5 {
		start := time.Now()
		contents, err := s.Load(ctx)
		require.NoError(t, err)
		require.Len(t, contents.Statuses, statuses)
		own = append(own, time.Since(start))

		start = time.Now()
		read, rev := 0, int64(0)
		for from := "/loads/s/"; ; {
			resp, err := client.Get(ctx, from, clientv3.WithRange("/loads/s0"), clientv3.WithLimit(10_000), clientv3.WithRev(rev))
			require.NoError(t, err)
			read, rev = read+len(resp.Kvs), resp.Header.Revision
			if !resp.More {
				break
			}
			from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
		}
		bare = append(bare, time.Since(start))
		require.Equal(t, statuses, read)
	}
	report(t, "etcd-load", "%d statuses in %v, by the bare client in %v", statuses, median(own), median(bare))
}
