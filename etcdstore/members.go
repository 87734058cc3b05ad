package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// members are the members of the cluster. The store talks to one of them until that
// one fails: the client's own balancer would give a frozen member its share of the
// calls for as long as the connection looks alive.
type members struct {
	client *clientv3.Client

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn // by endpoint
	turn   int                         // picks the endpoint
	closed bool
}

// member is a connection to one endpoint.
type member struct {
	endpoint string
	*grpc.ClientConn
}

func newMembers(client *clientv3.Client) *members {
	return &members{client: client, conns: make(map[string]*grpc.ClientConn), turn: rand.IntN(1 << 20)}
}

// current returns the member to talk to.
func (m *members) current() (member, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	endpoints := m.client.Endpoints()
	if len(endpoints) == 0 {
		return member{}, errors.New("the client has no endpoints")
	}
	endpoint := endpoints[m.turn%len(endpoints)]
	if conn := m.conns[endpoint]; conn != nil {
		return member{endpoint, conn}, nil
	}
	if m.closed {
		return member{}, status.Error(codes.Canceled, "the store is closed")
	}
	conn, err := m.client.Dial(endpoint)
	if err != nil {
		return member{}, fmt.Errorf("connect to %s: %w", endpoint, err)
	}
	m.conns[endpoint] = conn
	return member{endpoint, conn}, nil
}

// leave makes another member the current one, if there is another and from is still
// the current one.
func (m *members) leave(from member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if endpoints := m.client.Endpoints(); len(endpoints) > 0 && endpoints[m.turn%len(endpoints)] == from.endpoint {
		m.turn++
	}
	if from.ClientConn != nil {
		from.ResetConnectBackoff() // the store has its own pauses
	}
}

func (m *members) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	var errs []error
	for _, conn := range m.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// The pauses after all members have failed.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = 250 * time.Millisecond
)

// ask calls a member, and the next one if that one fails, until ctx is done. Each
// has the given time. Only what may be done twice may be asked like this.
func (s *Store) ask(ctx context.Context, each time.Duration, call func(context.Context, member) error) error {
	var last error
	pause := firstPause
	for tried := 1; ; tried++ {
		m, err := s.members.current()
		if err != nil {
			return err
		}
		err = within(ctx, each, func(ctx context.Context) error { return call(ctx, m) })
		if err == nil || isVerdict(err) || is(err, rpctypes.ErrNoSpace) {
			return err
		}
		if last == nil || ctx.Err() == nil {
			last = fmt.Errorf("%s: %w", m.endpoint, err)
		}
		s.members.leave(m)
		if ctx.Err() == nil && tried%max(len(s.members.client.Endpoints()), 1) == 0 {
			sleep(ctx, pause)
			pause = min(2*pause, lastPause)
		}
		if ctx.Err() != nil {
			return &silence{last}
		}
	}
}

// silence says that no member has answered in time. It is a [net.Error], and not
// [context.DeadlineExceeded]: the limit need not be that of the caller's context.
type silence struct{ last error }

func (s *silence) Error() string {
	return fmt.Sprintf("no member of the cluster has answered: %v: check that a majority of the members is up", s.last)
}

func (s *silence) Unwrap() error   { return s.last }
func (s *silence) Timeout() bool   { return true }
func (s *silence) Temporary() bool { return true }

var _ net.Error = (*silence)(nil)

// within gives a call the time that a member has.
func within(ctx context.Context, each time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	return call(ctx)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// isVerdict reports whether an error is etcd's answer to the request, which has then
// changed nothing and would get the same answer again. A cluster that is out of space
// is not among them: etcd may answer so to a transaction that it has made.
func isVerdict(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied, codes.Unauthenticated, codes.NotFound,
		codes.OutOfRange, codes.Unimplemented, codes.DataLoss:
		return true
	}
	return false
}

// is reports whether an error is, or wraps, an answer of etcd.
func is(err, answer error) bool {
	var answered interface {
		error
		GRPCStatus() *status.Status
	}
	return errors.As(err, &answered) && rpctypes.Error(answered) == answer
}
