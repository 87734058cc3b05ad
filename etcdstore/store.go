package etcdstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/customstatus/customstatus"
)

// Store is a [customstatus.SharedStore] in an etcd cluster. Several goroutines may
// use it at once, and any number of stores in any number of processes may be open on
// one prefix.
type Store struct {
	opts    Options
	keys    keys
	members *members
	own     *clientv3.Client // closed by Close, or nil

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // methods that Close waits for
	closing context.Context
	close   context.CancelFunc

	newer atomic.Pointer[error] // a newer format was met, so that commits are refused

	turn     chan struct{} // held by the one that commits
	session  *session      // guarded by turn
	doubt    *doubt        // guarded by turn
	doubtful atomic.Bool   // doubt isn't nil
}

// Open connects to a cluster and returns the store under [Options.Prefix]. Nothing
// is created before the first commit. Unless the host sets them, Open gives the client
// a keepalive of ten seconds, and no log of its own: the store reports errors itself.
//
// An error is returned if the cluster doesn't answer within [Options.Timeout],
// or refuses the user. No error contains the password.
func Open(ctx context.Context, config clientv3.Config, opts *Options) (*Store, error) {
	complete, err := opts.complete()
	if err != nil {
		return nil, fmt.Errorf("etcdstore: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("etcdstore: %w", err)
	}
	config.DialTimeout = cmp.Or(config.DialTimeout, complete.Timeout)
	config.DialKeepAliveTime = cmp.Or(config.DialKeepAliveTime, 10*time.Second)
	config.DialKeepAliveTimeout = cmp.Or(config.DialKeepAliveTimeout, 3*time.Second)
	if config.Logger == nil && config.LogConfig == nil {
		config.Logger = zap.NewNop()
	}
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay, reconnect.MaxDelay = 100*time.Millisecond, 2*time.Second
	config.DialOptions = append([]grpc.DialOption{
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: complete.MemberTimeout}),
	}, config.DialOptions...)
	client, err := connect(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("etcdstore: connect: %w", err)
	}
	s := newStore(client, complete)
	s.own = client
	if _, err := s.Revision(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// connect returns a client of the cluster. With a user and a password, the client logs
// in before it is returned, and heeds no context but the one that it lives with.
func connect(ctx context.Context, config clientv3.Config) (*clientv3.Client, error) {
	if config.Context == nil {
		config.Context = context.Background()
	}
	life, end := context.WithCancel(config.Context)
	stop := context.AfterFunc(ctx, end)
	config.Context = life
	client, err := clientv3.New(config)
	stopped := stop()
	switch {
	case err == nil && stopped:
		return client, nil
	case err == nil:
		_ = client.Close() // its context is done
		return nil, ctx.Err()
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("no member of the cluster has answered within %v: %w", config.DialTimeout, err)
	}
	end()
	return nil, err
}

// New returns the store under [Options.Prefix] in the cluster of a client that the
// host has. The store makes connections of its own with the client's configuration.
// Close does not close the client. Close the store before the client.
func New(client *clientv3.Client, opts *Options) (*Store, error) {
	complete, err := opts.complete()
	if err != nil {
		return nil, fmt.Errorf("etcdstore: %w", err)
	}
	return newStore(client, complete), nil
}

func newStore(client *clientv3.Client, opts Options) *Store {
	s := &Store{opts: opts, keys: keysUnder(opts.Prefix), members: newMembers(client), turn: make(chan struct{}, 1)}
	s.closing, s.close = context.WithCancel(context.Background())
	return s
}

// begin returns the error with which a method can't begin. If there is none, the
// caller must call the function end.
func (s *Store) begin(ctx context.Context) (end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, customstatus.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.running.Add(1)
	return s.running.Done, nil
}

// reading returns the context of a method that Close may break off.
func (s *Store) reading(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// failed returns the error of a method: that of the caller's context or of Close, if
// either has ended the method, and otherwise err.
func (s *Store) failed(ctx context.Context, does string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.closing.Err() != nil:
		err = customstatus.ErrClosed
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	return fmt.Errorf("etcdstore: %s: %w", does, s.explain(err))
}

// explain adds the remedy to an error that has one.
func (s *Store) explain(err error) error {
	switch {
	case is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("%w: the user needs a role with read and write access to the prefix %q", err, s.keys.prefix)
	case is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: make room in the cluster, and disarm its alarm with etcdctl", err)
	}
	return err
}

// Revision implements [customstatus.Store]. It asks the cluster's majority. Like Load,
// Revision first decides a commit whose outcome was unknown, so that a catalog's Sync does.
func (s *Store) Revision(ctx context.Context) (customstatus.Revision, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("etcdstore: read the revision: %w", err)
	}
	defer end()
	running, cancel := s.reading(ctx)
	defer cancel()
	if err := s.settleFirst(running); err != nil {
		return 0, s.failed(ctx, "read the revision", err)
	}
	revision, _, err := s.head(running)
	return revision, s.failed(ctx, "read the revision", err)
}

// head returns the revision of the catalog, and that of the cluster at the same
// instant.
func (s *Store) head(ctx context.Context) (revision customstatus.Revision, cluster int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	err = s.ask(ctx, s.opts.MemberTimeout, func(ctx context.Context, m member) error {
		resp, err := pb.NewKVClient(m).Range(ctx, &pb.RangeRequest{Key: []byte(s.keys.revision)})
		if err != nil {
			return err
		}
		revision, cluster = 0, resp.Header.Revision
		if len(resp.Kvs) > 0 {
			revision = customstatus.Revision(resp.Kvs[0].ModRevision)
		}
		return nil
	})
	return revision, cluster, err
}

// Load implements [customstatus.Store]. It reads the catalog in pages, all at one
// revision. [customstatus.ErrDamaged] is returned when a record is not one that a
// commit has written, or when there are more or fewer names than records.
func (s *Store) Load(ctx context.Context) (customstatus.Contents, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return customstatus.Contents{}, fmt.Errorf("etcdstore: load: %w", err)
	}
	defer end()
	running, cancel := s.reading(ctx)
	defer cancel()
	contents := customstatus.Contents{Shared: true}
	met := s.newer.Load() // what is met from now on may be newer than what is read
	if err = s.settleFirst(running); err == nil {
		var newer error
		contents.Revision, newer, err = s.scan(running, func(count int, status *customstatus.CustomUserStatus) {
			if count > cap(contents.Statuses) || contents.Statuses == nil {
				contents.Statuses = make([]customstatus.CustomUserStatus, 0, count)
			}
			contents.Statuses = append(contents.Statuses, *status)
		}, func() { contents.Statuses = nil })
		if err == nil {
			s.meet(newer)
			if newer == nil {
				s.newer.CompareAndSwap(met, nil)
			}
		}
	}
	if err != nil {
		return customstatus.Contents{}, s.failed(ctx, "load", err)
	}
	return contents, nil
}

// meet remembers a value in a newer format, if newer isn't nil.
func (s *Store) meet(newer error) {
	if newer != nil && s.newer.Swap(&newer) == nil {
		s.opts.Logger.Warn("etcdstore: writes are refused until this program is upgraded", "reason", newer)
	}
}

// scan calls each for every status at one revision, with the number of keys that
// there are. If the cluster compacts that revision in the meantime, scan calls again
// and begins anew. It returns the catalog's revision, and whether a value is in a
// newer format.
func (s *Store) scan(ctx context.Context, each func(count int, status *customstatus.CustomUserStatus), again func()) (revision customstatus.Revision, newer, err error) {
	for attempt := 0; ; attempt++ {
		revision, newer, err = s.scanOnce(ctx, each)
		if attempt < 3 && is(err, rpctypes.ErrCompacted) {
			again()
			continue
		}
		return revision, newer, err
	}
}

func (s *Store) scanOnce(ctx context.Context, each func(int, *customstatus.CustomUserStatus)) (revision customstatus.Revision, newer, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// While one page is parsed, the next one is on its way.
	next := s.fetch(ctx, &pb.RangeRequest{Key: []byte(s.keys.revision), RangeEnd: end(s.keys.records), Limit: int64(s.opts.PageSize)})
	var names chan fetched
	latest, records := int64(0), int64(0)
	for at := int64(0); next != nil; {
		page := <-next
		if page.err != nil {
			return 0, nil, page.err
		}
		if at == 0 {
			at = page.Header.Revision
			names = s.fetch(ctx, &pb.RangeRequest{Key: []byte(s.keys.names), RangeEnd: end(s.keys.names), CountOnly: true, Revision: at})
		}
		if next = nil; page.More {
			after := append(slices.Clone(page.Kvs[len(page.Kvs)-1].Key), 0)
			next = s.fetch(ctx, &pb.RangeRequest{Key: after, RangeEnd: end(s.keys.records), Limit: int64(s.opts.PageSize), Revision: at})
		}
		for _, kv := range page.Kvs {
			if string(kv.Key) == s.keys.revision {
				if _, err := parseHead(kv); errors.Is(err, ErrNewerFormat) {
					newer = err
				} else if err != nil {
					return 0, nil, err
				}
				revision = customstatus.Revision(kv.ModRevision)
				continue
			}
			if _, ok := s.keys.id(kv.Key); !ok {
				continue // a newer version may keep more
			}
			status, err := s.keys.parseRecord(kv)
			if errors.Is(err, ErrNewerFormat) {
				newer = err
			} else if err != nil {
				return 0, nil, err
			}
			records++
			latest = max(latest, kv.ModRevision)
			each(int(page.Count), &status)
		}
	}
	if latest > int64(revision) {
		return 0, nil, damaged("a record is at revision %d, and the last commit was %d", latest, revision)
	}
	count := <-names
	if count.err != nil {
		return 0, nil, count.err
	}
	if count.Count != records {
		return 0, nil, damaged("there are %d names and %d records", count.Count, records)
	}
	return revision, newer, nil
}

// fetched is a page, or why there is none.
type fetched struct {
	*pb.RangeResponse
	err error
}

// fetch begins to read a page.
func (s *Store) fetch(ctx context.Context, req *pb.RangeRequest) chan fetched {
	c := make(chan fetched, 1)
	go func() {
		page, err := s.page(ctx, req)
		c <- fetched{page, err}
	}()
	return c
}

// page reads one range. A page is larger than other answers, so that a member may
// take longer.
func (s *Store) page(ctx context.Context, req *pb.RangeRequest) (page *pb.RangeResponse, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	err = s.ask(ctx, s.opts.Timeout/2, func(ctx context.Context, m member) error {
		page, err = pb.NewKVClient(m).Range(ctx, req, grpc.MaxCallRecvMsgSize(math.MaxInt32))
		return err
	})
	return page, err
}

// Close implements [customstatus.Store]. It takes away the store's lease, so that
// nothing of this store can still be written later, and gives the cluster a second
// for that.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.close()
	s.running.Wait()
	s.revoke()
	err := s.members.close()
	if s.own != nil {
		err = errors.Join(err, s.own.Close())
	}
	if err != nil {
		return fmt.Errorf("etcdstore: close: %w", err)
	}
	return nil
}
