package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

type etcd struct {
	cluster *etcdtest.Cluster
}

func startEtcd(b *testing.B) server {
	return &etcd{etcdtest.Start(b, &etcdtest.Options{Fsync: true})}
}

func (e *etcd) open(b *testing.B) customstatus.SharedStore {
	s, err := etcdstore.Open(b.Context(), clientv3.Config{Endpoints: e.cluster.Endpoints()}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func (e *etcd) bare(b *testing.B) bare { return &bareEtcd{e.cluster.Client(b)} }

// bareEtcd is a store of one key for each status and one for each name.
type bareEtcd struct{ client *clientv3.Client }

func (e *bareEtcd) create(ctx context.Context, s customstatus.CustomUserStatus) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	answer, err := e.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision("bare/n/"+s.Name), "=", 0)).
		Then(clientv3.OpPut("bare/n/"+s.Name, s.ID), clientv3.OpPut("bare/s/"+s.ID, string(value))).
		Commit()
	if err == nil && !answer.Succeeded {
		err = errors.New("the name is in use")
	}
	return err
}

func (e *bareEtcd) wakes(ctx context.Context) iter.Seq2[struct{}, error] {
	return func(yield func(struct{}, error) bool) {
		for answer := range e.client.Watch(ctx, "bare/s/", clientv3.WithPrefix(), clientv3.WithCreatedNotify()) {
			if !yield(struct{}{}, answer.Err()) {
				return
			}
		}
	}
}

func (e *bareEtcd) load(ctx context.Context) (int, error) {
	const page = 10_000
	count, options := 0, []clientv3.OpOption{clientv3.WithRange(clientv3.GetPrefixRangeEnd(etcdstore.DefaultPrefix + "s/")), clientv3.WithLimit(page)}
	for key := etcdstore.DefaultPrefix + "s/"; ; {
		answer, err := e.client.Get(ctx, key, options...)
		if err != nil {
			return 0, err
		}
		count += len(answer.Kvs)
		if !answer.More {
			return count, nil
		}
		key = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
	}
}
