//go:build unix

package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// patience limits each wait for a server.
const patience = 30 * time.Second

// Server is a PostgreSQL server. Its methods are for one goroutine at a time,
// except DSN and Addr. They fail the test that has started the server when the
// server doesn't do what it should.
type Server struct {
	t        testing.TB
	bin, dir string
	port     int
	served   bool // at the port, so that it must stay
	settings []string
	process  *process
	last     atomic.Int64 // the number of the last database
}

// Start starts a server, which ends with the test. It takes about a second.
func Start(t testing.TB, opts *Options) *Server {
	t.Helper()
	s := &Server{t: t, bin: programs(t), port: freePort(t)}
	if opts != nil {
		s.settings = slices.Clone(opts.Settings)
	}
	s.dir = newDirectory(t)
	s.run("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", "-D", s.data())
	s.start()
	return s
}

// programs returns the directory of PostgreSQL's programs, of the newest version.
func programs(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0])
	}
	path, err := exec.LookPath("initdb")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		missing(t, "initdb", "postgresql", "the store on PostgreSQL")
	}
	return filepath.Dir(path)
}

func version(initdb string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return n
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// newDirectory makes a temporary directory that the server's user owns. That of
// t.TempDir is closed to other users.
func newDirectory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgtest-")
	if err == nil {
		if u := user(); u != nil {
			err = os.Chown(dir, int(u.Uid), int(u.Gid))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return dir
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// run runs one of PostgreSQL's programs to its end.
func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	c.Dir = s.dir
	c.SysProcAttr = attributes()
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("pgtest: %s: %v\n%s", program, err, out)
	}
}

// start starts the server and waits until it answers.
func (s *Server) start() {
	s.t.Helper()
	for attempt := 1; ; attempt++ {
		said, err := s.launch()
		if err == nil {
			return
		}
		// Others may take a port between the look for a free one and its use.
		if attempt == 5 || !strings.Contains(said, "could not create any TCP/IP sockets") {
			s.t.Fatalf("pgtest: the server does not start: %v\n%s", err, said)
		}
		if !s.served {
			s.port = freePort(s.t)
		}
	}
}

// launch starts the server once, or returns why not, and what the server has said.
func (s *Server) launch() (said string, err error) {
	args := []string{"-D", s.data(), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "shared_buffers=32MB", "-c", "max_connections=200", "-c", "log_min_messages=fatal"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	p, err := startProcess(filepath.Join(s.bin, "postgres"), args...)
	if err != nil {
		return "", err
	}
	s.process = p
	s.t.Cleanup(func() { p.kill() })
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		_, err := s.try("postgres", "SELECT 1")
		if err == nil && !p.ended() {
			s.served = true
			return "", nil
		}
		if p.ended() || time.Now().After(end) {
			p.kill()
			return p.output.String(), fmt.Errorf("it ended, or does not answer: %v", err)
		}
	}
}

// Bouncer starts a PgBouncer before a server, in transaction mode, and returns its
// address. It ends with the test, which is skipped if there is no PgBouncer. The
// server's address may be that of a proxy.
func Bouncer(t testing.TB, server string) (addr string) {
	t.Helper()
	program := Require(t, "pgbouncer", "pgbouncer", "the store on PostgreSQL behind a pooler")
	dir, port := newDirectory(t), freePort(t)
	host, serverPort, err := net.SplitHostPort(server)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=%s port=%s user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
max_client_conn = 200
server_login_retry = 0.1
`, host, serverPort, port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := startProcess(program, config)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() { p.kill() })
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, patience)
		if err == nil {
			_ = c.Close()
			return addr
		}
		if p.ended() || time.Now().After(end) {
			p.kill()
			t.Fatalf("pgtest: PgBouncer does not start: %v\n%s", err, p.output.String())
		}
	}
}

// Addr returns the address of the server.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// DSN returns the connection string of a database, for the superuser postgres.
func (s *Server) DSN(database string) string {
	return "postgres://postgres@" + s.Addr() + "/" + database + "?sslmode=disable"
}

// NewDatabase makes an empty database and returns its name.
func (s *Server) NewDatabase() string {
	s.t.Helper()
	name := fmt.Sprintf("test%d", s.last.Add(1))
	s.Exec("postgres", "CREATE DATABASE "+name)
	return name
}

// Exec runs statements in a database and returns the first column of the last
// one's rows.
func (s *Server) Exec(database, sql string) []string {
	s.t.Helper()
	rows, err := s.try(database, sql)
	if err != nil {
		s.t.Fatalf("pgtest: %s: %v", sql, err)
	}
	return rows
}

func (s *Server) try(database, sql string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pgconn.Connect(ctx, s.DSN(database)+"&connect_timeout=5")
	if err != nil {
		return nil, err
	}
	defer c.Close(ctx)
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	var column []string
	for _, row := range results[len(results)-1].Rows {
		column = append(column, string(row[0]))
	}
	return column, nil
}

// Stop ends the server in order. Its connections end.
func (s *Server) Stop() { s.process.end(syscall.SIGINT) }

// Kill kills all processes of the server at once.
func (s *Server) Kill() { s.process.kill() }

// Restart starts the server again after [Server.Stop] or [Server.Kill], at the same
// address.
func (s *Server) Restart() {
	s.t.Helper()
	s.start()
}

// Freeze stops all processes of the server, whose connections stay. Thaw lets them
// go on.
func (s *Server) Freeze() { s.process.signal(syscall.SIGSTOP) }

// Thaw ends the effect of [Server.Freeze].
func (s *Server) Thaw() { s.process.signal(syscall.SIGCONT) }

// Standby starts a server that streams from this one. If sync is set, the commits of
// this server then wait for the standby.
func (s *Server) Standby(sync bool) *Server {
	s.t.Helper()
	standby := &Server{t: s.t, bin: s.bin, dir: newDirectory(s.t), port: freePort(s.t), settings: s.settings}
	standby.run("pg_basebackup", "-D", standby.data(), "-R", "-X", "stream", "-c", "fast", "--no-sync",
		"-d", s.DSN("postgres"))
	standby.start()
	if sync {
		s.Exec("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")
		s.Exec("postgres", "SELECT pg_reload_conf()")
		for end := time.Now().Add(patience); !slices.Contains(s.Exec("postgres", "SELECT sync_state FROM pg_stat_replication"), "sync"); {
			if time.Now().After(end) {
				s.t.Fatal("pgtest: the standby does not become synchronous")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return standby
}

// Promote makes a primary of a standby, and waits until it takes writes.
func (s *Server) Promote() {
	s.t.Helper()
	if got := s.Exec("postgres", "SELECT pg_promote(true, 30)"); !slices.Equal(got, []string{"t"}) {
		s.t.Fatalf("pgtest: pg_promote = %v", got)
	}
}

// process is a running program and its children.
type process struct {
	pid    int
	done   chan struct{}
	output *bytes.Buffer // valid after done
}

// startProcess starts a program that dies with this process, where the system can
// arrange that.
func startProcess(program string, args ...string) (*process, error) {
	c := exec.Command(program, args...)
	p := &process{done: make(chan struct{}), output: new(bytes.Buffer)}
	c.Stdout, c.Stderr = p.output, p.output
	c.SysProcAttr = attributes()
	dieTogether(c.SysProcAttr)
	c.WaitDelay = time.Second
	started := make(chan error)
	go func() {
		// The program dies with the thread that has started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.Start()
		started <- err
		if err == nil {
			_ = c.Wait()
			close(p.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.pid = c.Process.Pid
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// end sends a signal and waits for the end.
func (p *process) end(sig syscall.Signal) {
	if p.ended() {
		return
	}
	_ = syscall.Kill(p.pid, sig)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
	}
}

func (p *process) kill() {
	if p.ended() {
		return
	}
	children := p.children()
	for _, pid := range append([]int{p.pid}, children...) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.done
	// Their files must be free for the next start.
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !slices.ContainsFunc(children, func(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }) {
			return
		}
	}
}

// signal sends a signal to the program and all its children.
func (p *process) signal(sig syscall.Signal) {
	if p.ended() {
		return
	}
	_ = syscall.Kill(p.pid, sig) // first, so that it starts no more
	for _, pid := range p.children() {
		_ = syscall.Kill(pid, sig)
	}
}

// children returns the processes that the program has started.
func (p *process) children() (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		// The name of the program, in parentheses, may contain anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(p.pid) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			pids = append(pids, pid)
		}
	}
	return pids
}
