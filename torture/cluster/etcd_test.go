package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus/etcdstore/etcdtest"
	"github.com/customstatus/customstatus/internal/faultproxy"
)

// etcd is a cluster of three members, with a proxy between each node and each member.
type etcd struct {
	cluster *etcdtest.Cluster
	client  *clientv3.Client
	proxy   [nodes][]*faultproxy.Proxy
}

func startEtcd(t *testing.T) engine { return newEtcd(t, &etcdtest.Options{Members: 3}) }

func newEtcd(t *testing.T, opts *etcdtest.Options) *etcd {
	e := &etcd{cluster: etcdtest.Start(t, opts)}
	e.client = e.cluster.Client(t)
	for i := range e.proxy {
		for _, member := range e.cluster.Endpoints() {
			e.proxy[i] = append(e.proxy[i], newProxy(t, strings.TrimPrefix(member, "http://")))
		}
	}
	return e
}

func (e *etcd) place(_ *testing.T, name string) (tasks []task) {
	for _, proxies := range e.proxy {
		k := task{Place: name}
		for _, p := range proxies {
			k.Endpoints = append(k.Endpoints, "http://"+p.Addr())
		}
		tasks = append(tasks, k)
	}
	return tasks
}

func (e *etcd) proxies(node int) []*faultproxy.Proxy { return e.proxy[node] }

func (e *etcd) faults() []fault {
	// again does something to the leader until the clients are done.
	again := func(name string, do func(leader int, traffic <-chan struct{}, some time.Duration)) fault {
		return fault{name, func(r *rand.Rand, begin func() <-chan struct{}) {
			for traffic := begin(); during(traffic, 200*time.Millisecond); {
				do(e.cluster.Leader(), traffic, time.Duration(100+r.IntN(1000))*time.Millisecond)
			}
			e.cluster.Leader()
		}}
	}
	return []fault{
		again("leader killed", func(leader int, traffic <-chan struct{}, some time.Duration) {
			e.cluster.Kill(leader)
			during(traffic, some)
			e.cluster.Restart(leader)
		}),
		again("leader frozen", func(leader int, traffic <-chan struct{}, some time.Duration) {
			e.cluster.Freeze(leader)
			during(traffic, 2*some)
			e.cluster.Thaw(leader)
		}),
		again("a follower frozen", func(leader int, traffic <-chan struct{}, some time.Duration) {
			follower := (leader + 1) % e.cluster.Len()
			e.cluster.Freeze(follower)
			during(traffic, 2*some)
			e.cluster.Thaw(follower)
		}),
		again("quorum lost", func(leader int, traffic <-chan struct{}, some time.Duration) {
			other := (leader + 1) % e.cluster.Len()
			e.cluster.Kill(leader)
			e.cluster.Kill(other)
			during(traffic, some)
			e.cluster.Restart(leader)
			e.cluster.Restart(other)
		}),
	}
}

func (e *etcd) inspect(ctx context.Context, place string) (held, error) {
	h := held{ids: make(map[string]string), names: make(map[string]string)}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got, err := e.client.Get(ctx, prefixOf(place), clientv3.WithPrefix())
	if err != nil {
		return h, err
	}
	for _, kv := range got.Kvs {
		key := strings.TrimPrefix(string(kv.Key), prefixOf(place))
		if id, ok := strings.CutPrefix(key, "s/"); ok {
			h.ids[id], err = nameOf(kv.Value)
			if err != nil {
				h.wrong = err
			}
		}
		if name, ok := strings.CutPrefix(key, "n/"); ok {
			h.names[name] = string(kv.Value)
		}
	}
	return h, nil
}

func prefixOf(place string) string { return "/" + place + "/" }

// nameOf returns the name in a record, whose first field it is.
func nameOf(record []byte) (string, error) {
	if len(record) > 2 && record[1] == 1 {
		if length, n := binary.Uvarint(record[2:]); n > 0 && int(length) <= len(record)-2-n {
			return string(record[2+n:][:length]), nil
		}
	}
	return "", fmt.Errorf("the record %q has no name", record)
}
