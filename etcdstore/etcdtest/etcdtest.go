// Package etcdtest runs an etcd cluster for tests. Each member is a process of its
// own: the test binary, started again. So a test can kill and freeze members as
// machines fail. A member that is closed within its process would hand its leadership
// over first, and hide what a real failure does.
//
//	func TestMain(m *testing.M) { etcdtest.Main(m) }
//
//	func TestFailover(t *testing.T) {
//		cluster := etcdtest.Start(t, &etcdtest.Options{Members: 3})
//		client := cluster.Client(t)
//		cluster.Kill(cluster.Leader())
//		…
//	}
//
// Nothing is left behind when the test ends, or when its process is killed.
package etcdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Options configure a [Cluster]. A nil *Options and the zero value are the defaults.
type Options struct {
	// Members is the number of members. 0 is one.
	Members int
	// Fsync makes members wait for the disk as in production, to measure times. A
	// killed process loses nothing without it.
	Fsync bool
	// MaxTxnOps is --max-txn-ops. 0 is etcd's default.
	MaxTxnOps uint
	// QuotaBytes is --quota-backend-bytes. 0 is etcd's default.
	QuotaBytes int64
	// AuthTokenTTL is --auth-token-ttl, in whole seconds. 0 is etcd's default.
	AuthTokenTTL time.Duration
	// CertFile, KeyFile and ClientCAFile make clients use TLS, and show a
	// certificate of the CA if ClientCAFile is set.
	CertFile, KeyFile, ClientCAFile string
}

// Cluster is a running cluster. Its methods are for one goroutine at a time, except
// Endpoints.
type Cluster struct {
	t       testing.TB
	opts    Options
	dir     string
	members []*member
}

// member is one member and its process, which is nil while it is killed.
type member struct {
	settings settings
	cmd      *exec.Cmd
	alive    io.Closer // the member ends when this is closed
	exited   chan struct{}
	frozen   bool
}

// patience limits the wait for a member or a leader. It is far longer than either takes.
const patience = time.Minute

// Start starts a cluster, which ends with the test, and waits until it has a leader.
// The test's TestMain must call [Main].
func Start(t testing.TB, opts *Options) *Cluster {
	t.Helper()
	c := &Cluster{t: t, dir: t.TempDir()}
	if opts != nil {
		c.opts = *opts
	}
	c.opts.Members = max(c.opts.Members, 1)
	t.Cleanup(c.Stop)
	// Others may take a port between the look for a free one and its use.
	for attempt := 1; ; attempt++ {
		err := c.start("", fmt.Sprintf("cluster%d", attempt), 0)
		if err == nil {
			return c
		}
		c.Stop()
		if attempt == 5 {
			t.Fatalf("etcdtest: start: %v", err)
		}
	}
}

// start starts all members with fresh directories, from a snapshot if there is one, whose
// revision grows by bump.
func (c *Cluster) start(snapshot, name string, bump uint64) error {
	if err := c.plan(name); err != nil {
		return err
	}
	if snapshot != "" {
		for _, m := range c.members {
			if err := m.settings.restore(snapshot, bump); err != nil {
				return err
			}
		}
	}
	for _, m := range c.members {
		if err := m.spawn(); err != nil {
			return err
		}
	}
	return c.wait()
}

// plan gives the members their addresses and directories. Those of a cluster that was
// there before keep their addresses.
func (c *Cluster) plan(name string) error {
	var ports []int
	if len(c.members) > 0 && c.members[0].settings.Name != "" && c.members[0].settings.Started {
		for _, m := range c.members {
			ports = append(ports, m.settings.ClientPort, m.settings.PeerPort)
		}
	} else {
		var err error
		if ports, err = freePorts(2 * c.opts.Members); err != nil {
			return err
		}
	}
	c.members = nil
	var initial []string
	for i := range c.opts.Members {
		m := &member{settings: settings{
			Options: c.opts, Name: fmt.Sprint("m", i), Token: name, Dir: filepath.Join(c.dir, name, fmt.Sprint(i)),
			ClientPort: ports[2*i], PeerPort: ports[2*i+1],
		}}
		initial = append(initial, m.settings.Name+"="+m.settings.peerURL())
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		m.settings.Initial = strings.Join(initial, ",")
		if err := os.MkdirAll(m.settings.Dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // only when all have been found, or two would be the same
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// Endpoints returns the addresses of all members for clients.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, m := range c.members {
		all = append(all, m.settings.clientURL())
	}
	return all
}

// Len returns the number of members.
func (c *Cluster) Len() int { return len(c.members) }

// Client returns a client of the whole cluster without authentication and TLS, which
// is closed when the test ends.
func (c *Cluster) Client(t testing.TB) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatalf("etcdtest: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Kill kills a member with SIGKILL, and waits until its process is gone.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	c.members[i].kill()
}

// Restart starts a member again that was killed, with what it has on disk. It does not
// wait until the member answers.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	if c.members[i].cmd != nil {
		c.t.Fatalf("etcdtest: member %d is running", i)
	}
	if err := c.members[i].spawn(); err != nil {
		c.t.Fatalf("etcdtest: restart member %d: %v", i, err)
	}
}

// Freeze stops the process of a member with SIGSTOP. Its connections stay open. The
// test fails on systems that have no such signal.
func (c *Cluster) Freeze(i int) {
	c.t.Helper()
	c.signal(i, freeze)
	c.members[i].frozen = true
}

// Thaw lets a frozen member go on.
func (c *Cluster) Thaw(i int) {
	c.t.Helper()
	c.signal(i, thaw)
	c.members[i].frozen = false
}

func (c *Cluster) signal(i int, send func(*os.Process) error) {
	c.t.Helper()
	m := c.members[i]
	if m.cmd == nil {
		c.t.Fatalf("etcdtest: member %d is not running", i)
	}
	if err := send(m.cmd.Process); err != nil {
		c.t.Fatalf("etcdtest: signal member %d: %v", i, err)
	}
}

// Leader waits until the running members agree on a leader that is one of them, and
// returns its number.
func (c *Cluster) Leader() int {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if i, ok := c.leader(); ok {
			return i
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("etcdtest: the cluster has no leader. %s", c.logs())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// wait waits until all members answer and agree on a leader.
func (c *Cluster) wait() error {
	deadline := time.Now().Add(patience)
	for {
		_, ok := c.leader()
		if ok {
			for _, m := range c.members {
				m.settings.Started = true
			}
			return nil
		}
		for _, m := range c.members {
			select {
			case <-m.exited:
				return fmt.Errorf("a member has ended. %s", c.logs())
			default:
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the cluster has no leader. %s", c.logs())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// leader asks all running members who leads.
func (c *Cluster) leader() (int, bool) {
	ids := make(map[uint64]int)
	var leaders []uint64
	for i, m := range c.members {
		if m.cmd == nil || m.frozen {
			continue
		}
		member, leader, err := m.settings.status()
		if err != nil {
			return 0, false
		}
		ids[member] = i
		leaders = append(leaders, leader)
	}
	if len(leaders) == 0 || len(slices.Compact(leaders)) != 1 {
		return 0, false
	}
	i, ok := ids[leaders[0]]
	return i, ok
}

// Snapshot writes a snapshot of the cluster, as "etcdctl snapshot save" does, and
// returns its path. It is gone when the test ends.
func (c *Cluster) Snapshot() string {
	c.t.Helper()
	client := c.Client(c.t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	read, err := client.Snapshot(ctx)
	if err != nil {
		c.t.Fatalf("etcdtest: snapshot: %v", err)
	}
	defer read.Close()
	file, err := os.CreateTemp(c.t.TempDir(), "snapshot")
	if err != nil {
		c.t.Fatalf("etcdtest: snapshot: %v", err)
	}
	_, err = io.Copy(file, read)
	if err = errors.Join(err, file.Close()); err != nil {
		c.t.Fatalf("etcdtest: snapshot: %v", err)
	}
	return file.Name()
}

// Restore kills all members and starts a new cluster from a snapshot, at the same
// addresses, as an operator does after a disaster. It waits until the cluster has a
// leader.
func (c *Cluster) Restore(snapshot string) {
	c.t.Helper()
	c.RestoreBumped(snapshot, 0)
}

// RestoreBumped is Restore with the flags --bump-revision and --mark-compacted of etcdutl,
// unless bump is 0: the new cluster goes on with a revision that is greater by bump.
func (c *Cluster) RestoreBumped(snapshot string, bump uint64) {
	c.t.Helper()
	started := c.members
	c.Stop()
	c.members = started
	if err := c.start(snapshot, fmt.Sprintf("restored%d", time.Now().UnixNano()), bump); err != nil {
		c.t.Fatalf("etcdtest: restore: %v", err)
	}
}

// Stop kills all members. The end of the test does so too.
func (c *Cluster) Stop() {
	for _, m := range c.members {
		m.kill()
	}
}

// logs returns what the members have logged.
func (c *Cluster) logs() string {
	var b strings.Builder
	for _, m := range c.members {
		data, err := os.ReadFile(m.settings.log())
		if err == nil {
			fmt.Fprintf(&b, "Member %s:\n%s", m.settings.Name, data)
		}
	}
	return b.String()
}

// spawn starts the process of a member.
func (m *member) spawn() error {
	cmd, err := m.settings.command()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.settings.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	alive, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	exited := make(chan struct{})
	started := make(chan error)
	var once sync.Once
	go func() {
		err := runOnOwnThread(cmd, func(err error) { once.Do(func() { started <- err }) })
		_ = err // how a killed process ends says nothing
		close(exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	m.cmd, m.alive, m.exited, m.frozen = cmd, alive, exited, false
	return nil
}

func (m *member) kill() {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Kill() // it may have ended
	<-m.exited
	_ = m.alive.Close()
	m.cmd = nil
}
