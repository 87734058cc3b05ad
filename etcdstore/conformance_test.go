package etcdstore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
	"github.com/customstatus/customstatus/storetest"
)

// compacter makes the cluster forget, as its auto-compaction does.
type compacter struct {
	*etcdstore.Store
	client *clientv3.Client
}

func (c compacter) Compact(ctx context.Context, upTo customstatus.Revision) error {
	_, err := c.client.Compact(ctx, int64(upTo)+1)
	return err
}

// patience is how long the stores wait. The contract says nothing of time, and a store
// must not leave a member that a busy machine has made slow.
const patience = 30 * time.Second

func conforms(t *testing.T, cluster *etcdtest.Cluster) {
	client := cluster.Client(t)
	var places atomic.Int64
	storetest.RunShared(t, func(t *testing.T) storetest.SharedOpener {
		prefix := fmt.Sprintf("/place%d/", places.Add(1))
		return func() (customstatus.SharedStore, error) {
			s, err := etcdstore.New(client, &etcdstore.Options{
				Prefix: prefix, Timeout: 2 * patience, MemberTimeout: patience, ProgressInterval: patience,
			})
			return compacter{s, client}, err
		}
	})
}

func TestConformsOnOneMember(t *testing.T) {
	t.Parallel()
	conforms(t, etcdtest.Start(t, nil))
}

func TestConformsOnThreeMembers(t *testing.T) {
	t.Parallel()
	conforms(t, etcdtest.Start(t, &etcdtest.Options{Members: 3}))
}
