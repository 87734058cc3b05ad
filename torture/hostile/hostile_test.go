//go:build linux

package hostile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/torture/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// connections is the number of concurrent hostile clients.
const connections = 2000

// perConnection limits the memory in bytes that a server holds for a connection
// with an incomplete request: buffers and two stacks, with a margin. It is a
// bound, not a measurement.
const perConnection = 128 << 10

// TestHandler runs the hostile clients against the handler, in a server with
// customstatusd's limits and a bbolt file.
func TestHandler(t *testing.T) {
	catalog, err := customstatus.OpenFile(context.Background(), filepath.Join(t.TempDir(), "catalog.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	credentials := http.Header{"X-User-Id": {"manager"}, "X-Auth-Token": {"a secret"}}
	var log problems
	logger := slog.New(slog.NewTextHandler(&log, nil))
	handler := httpadapter.New(catalog, httpadapter.HeaderAuth(func(_ context.Context, userID, authToken string) (httpadapter.Caller, error) {
		if userID != "manager" || authToken != "a secret" {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		return httpadapter.Caller{UserID: userID, MayManage: true}, nil
	}), &httpadapter.Options{Logger: logger})
	peak := &openConnections{}
	server := &http.Server{ // as customstatusd sets it up, with time for clients that share its process
		Handler:                      handler,
		ReadHeaderTimeout:            2 * time.Minute,
		ReadTimeout:                  2 * time.Minute,
		WriteTimeout:                 2 * time.Minute,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               16 << 10,
		ErrorLog:                     slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		DisableGeneralOptionsHandler: true,
		ConnState:                    peak.count,
	}
	server.RegisterOnShutdown(handler.EndStreams)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	before := memory()
	c := &crowd{addr: listener.Addr().String(), credentials: credentials, size: size(t, 2), open: peak.current}
	var most uint64
	c.atPeak = func() {
		most = memory() // the clients are in it too
		if most > before+uint64(c.size)*perConnection {
			t.Errorf("with %d connections, %d bytes are in use, %d were before", c.size, most, before)
		}
	}
	c.run(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := errors.Join(server.Shutdown(ctx), catalog.Close()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
	if after := memory(); after > before+32<<20 {
		t.Errorf("when all are gone, %d bytes are in use, %d were before", after, before)
	}
	if errs := log.errors(); errs != "" {
		t.Errorf("the server has logged:\n%s", errs)
	}
	harness.Report(t, "connections", "%d at once; %d honest requests answered; %d MiB in use, clients included, %d before; %s",
		peak.most(), c.honest.Load(), most>>20, before>>20, c.verdict)
}

// TestServer runs the hostile clients against customstatusd itself.
func TestServer(t *testing.T) {
	program := harness.BuildServer(t)
	path := filepath.Join(t.TempDir(), "catalog.db")
	credentials := harness.NewToken(t, program, path)
	s := harness.StartServer(t, program, path)
	idle := sockets(t, s)
	c := &crowd{
		addr:        strings.TrimPrefix(s.URL, "http://"),
		credentials: credentials,
		size:        size(t, 1),
		open:        func() int { return sockets(t, s) - idle },
	}
	before := status(t, s, "VmHWM")
	c.run(t)
	after := status(t, s, "VmHWM") // the greatest there was
	if after > before+uint64(c.size)*perConnection {
		t.Errorf("the server has held %d bytes, %d before", after, before)
	}
	if err := s.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	log, err := s.Wait()
	if err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, `"level":"ERROR"`) {
			t.Errorf("the server has logged: %s", line)
		}
	}
	harness.Report(t, "connections", "%d; %d honest requests answered; at most %d MiB resident, %d before; %s",
		c.size, c.honest.Load(), after>>20, before>>20, c.verdict)
}

// size returns the number of connections, which the limit on descriptors may
// reduce.
func size(t *testing.T, perConnection uint64) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	connections := connections
	if raceDetector {
		// The race detector takes ten times the memory and time, and finds
		// races with fewer connections too.
		connections /= 10
		t.Logf("only %d connections under the race detector", connections)
	}
	const others = 200
	if n := (limit.Cur - others) / perConnection; n < uint64(connections) {
		t.Logf("only %d connections, for the limit on descriptors is %d", n, limit.Cur)
		return int(n)
	}
	return connections
}

// memory returns the bytes that the process uses now, without garbage.
func memory() uint64 {
	runtime.GC()
	runtime.GC() // the first one leaves what was in a pool
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// status returns a figure from Linux's status of the process, in bytes.
func status(t *testing.T, s *harness.Server, name string) uint64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatalf("no %s in\n%s", name, data)
	return 0
}

// sockets returns the number of open sockets of the process.
func sockets(t *testing.T, s *harness.Server) int {
	t.Helper()
	directory := fmt.Sprintf("/proc/%d/fd", s.Cmd.Process.Pid)
	entries, err := os.ReadDir(directory)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if target, _ := os.Readlink(filepath.Join(directory, e.Name())); strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// openConnections counts the open connections of a server.
type openConnections struct {
	mu           sync.Mutex
	now, highest int
}

func (o *openConnections) count(_ net.Conn, state http.ConnState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch state {
	case http.StateNew:
		o.now++
		o.highest = max(o.highest, o.now)
	case http.StateClosed, http.StateHijacked:
		o.now--
	}
}

func (o *openConnections) current() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *openConnections) most() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.highest
}

// problems keeps the error lines of a log.
type problems struct {
	mu    sync.Mutex
	lines strings.Builder
}

func (p *problems) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(string(line), "level=ERROR") {
		p.lines.Write(line)
	}
	return len(line), nil
}

func (p *problems) errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines.String()
}
