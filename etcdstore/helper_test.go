package etcdstore

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

var ctx = context.Background()

// wire is what lies between a client and a cluster: it can lose what passes.
type wire struct {
	mu   sync.Mutex
	call func(method string, req any, send func() error) error
}

func (w *wire) set(call func(method string, req any, send func() error) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.call = call
}

func (w *wire) intercept(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	w.mu.Lock()
	call := w.call
	w.mu.Unlock()
	send := func() error { return invoke(ctx, method, req, reply, conn, opts...) }
	if call == nil {
		return send()
	}
	return call(method, req, send)
}

// isCommit reports whether a request is the transaction of a commit, and isStop
// whether it is one that stops a commit.
func isCommit(req any) bool {
	txn, ok := req.(*pb.TxnRequest)
	return ok && len(txn.Success) > 1
}

func isStop(req any) bool {
	txn, ok := req.(*pb.TxnRequest)
	return ok && len(txn.Success) == 1
}

// silent has a short patience, and no log.
func silent(opts Options) *Options {
	opts.Logger = slog.New(slog.DiscardHandler)
	return &opts
}

// openOn opens a store whose requests pass a wire.
func openOn(t testing.TB, cluster *etcdtest.Cluster, w *wire, opts Options) *Store {
	t.Helper()
	s, err := Open(ctx, clientv3.Config{
		Endpoints: cluster.Endpoints(), Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(w.intercept)},
	}, silent(opts))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func create(id, name string) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Created, After: customstatus.CustomUserStatus{
		ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: time.UnixMilli(1_700_000_000_123).UTC(),
	}}
}

// load returns the store's statuses by id.
func load(t testing.TB, s *Store) map[string]customstatus.CustomUserStatus {
	t.Helper()
	contents, err := s.Load(ctx)
	require.NoError(t, err)
	all := make(map[string]customstatus.CustomUserStatus)
	for _, status := range contents.Statuses {
		all[status.ID] = status
	}
	return all
}

// rename returns the change that renames a status of the store.
func rename(t testing.TB, s *Store, id, name string) customstatus.Change {
	t.Helper()
	before := load(t, s)[id]
	after := before
	after.Name = name
	return customstatus.Change{Kind: customstatus.Updated, Before: before, After: after}
}

// replays checks that the feed from the beginning leads to what the store holds, by a
// number of commits. It is the second step after each fault.
func replays(t testing.TB, s *Store, commits int) {
	t.Helper()
	contents, err := s.Load(ctx)
	require.NoError(t, err)
	replayed := make(map[string]customstatus.CustomUserStatus)
	made := 0
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for commit, err := range s.Watch(limited, 0) {
		require.NoError(t, err)
		for _, c := range commit.Changes {
			require.Equal(t, c.Before.Revision, replayed[c.ID()].Revision, "the feed is one history")
			if delete(replayed, c.ID()); c.Kind != customstatus.Deleted {
				replayed[c.After.ID] = c.After
			}
		}
		if len(commit.Changes) > 0 {
			made++
		}
		if commit.Revision >= contents.Revision {
			break
		}
	}
	require.Equal(t, commits, made, "the number of commits in the feed")
	var all []customstatus.CustomUserStatus
	for _, status := range replayed {
		all = append(all, status)
	}
	byID := func(a, b customstatus.CustomUserStatus) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) }
	slices.SortFunc(all, byID)
	slices.SortFunc(contents.Statuses, byID)
	require.Equal(t, contents.Statuses, all)
}

func idOf(lease int64) clientv3.LeaseID { return clientv3.LeaseID(lease) }

// clientLease returns the lease of the store's marker.
func clientLease(s *Store) clientv3.LeaseID { return idOf(s.session.lease) }

func opPut(key, value string) clientv3.Op { return clientv3.OpPut(key, value) }

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
