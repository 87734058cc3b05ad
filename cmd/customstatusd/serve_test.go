package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// launch starts the program on a new database in dir and kills it at the end.
func launch(t *testing.T, dir, name string, args ...string) *server {
	t.Helper()
	program, err := exec.LookPath("customstatusd")
	require.NoError(t, err)
	s, err := startServer(program, dir, name, programEnv(os.Getenv), append([]string{"--addr", "127.0.0.1:0"}, args...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.exited
	})
	return s
}

// login returns the headers that the first start in dir has printed.
func login(t *testing.T, dir string) http.Header {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "first.out"))
	require.NoError(t, err)
	header := make(http.Header)
	for _, m := range headerLine.FindAllStringSubmatch(string(text), -1) {
		name, value, _ := strings.Cut(m[1], ": ")
		header.Set(name, value)
	}
	require.Len(t, header, 2)
	return header
}

// creators makes statuses at a server from many goroutines until it is gone.
type creators struct {
	mu    sync.Mutex
	acked map[string]bool // the names of those that were answered 200
	odd   []string        // answers that there should not be
	done  sync.WaitGroup
}

// startCreators returns when enough have been answered.
func startCreators(t *testing.T, addr string, header http.Header, round, workers, enough int) *creators {
	t.Helper()
	c := &creators{acked: make(map[string]bool)}
	reached := make(chan struct{})
	for w := range workers {
		c.done.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for i := 0; ; i++ {
				name := fmt.Sprintf("status %d %d %d", round, w, i)
				answered, err := create(client, addr, header, name)
				c.mu.Lock()
				if answered {
					if c.acked[name] = true; len(c.acked) == enough {
						close(reached)
					}
				} else if err != nil {
					c.odd = append(c.odd, err.Error())
				}
				c.mu.Unlock()
				if !answered {
					return
				}
			}
		})
	}
	gone := make(chan struct{})
	go func() {
		c.done.Wait()
		close(gone)
	}()
	select {
	case <-reached:
	case <-gone:
		select {
		case <-reached:
		default:
			t.Fatalf("the server answered %d of %d: %q", len(c.acked), enough, c.odd)
		}
	}
	return c
}

// create makes one status and reports whether it was answered with 200. If no answer
// came at all, because the server has gone, the error is nil.
func create(client *http.Client, addr string, header http.Header, name string) (answered bool, err error) {
	body := fmt.Sprintf(`{"name":%q,"statusType":"busy"}`, name)
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/api/v1/custom-user-status.create", strings.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header = header.Clone()
	resp, err := client.Do(req)
	if err != nil {
		return false, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, fmt.Errorf("the answer was cut: %w", err)
	}
	if resp.StatusCode != http.StatusOK || !json.Valid(text) {
		return false, fmt.Errorf("answered %d: %s", resp.StatusCode, text)
	}
	return true, nil
}

// stored returns the names of all statuses in a file that no server holds.
func stored(t *testing.T, path string) map[string]bool {
	t.Helper()
	db, err := openLocal(t.Context(), at(path), false, customstatus.Options{})
	require.NoError(t, err)
	defer db.close()
	page, err := db.catalog.List(customstatus.Query{})
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, s := range page.Statuses {
		names[s.Name] = true
	}
	return names
}

func requireAll(t *testing.T, acked, stored map[string]bool) {
	t.Helper()
	for name := range acked {
		require.True(t, stored[name], "%q was acknowledged and is lost", name)
	}
}

// SIGTERM under load: the server ends by itself, no answer is cut or says
// anything but 200, and everything acknowledged is in the file.
func TestSIGTERMUnderLoad(t *testing.T) {
	const workers = 16
	dir := t.TempDir()
	s := launch(t, dir, "first")
	c := startCreators(t, s.addr, login(t, dir), 0, workers, 300)
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	code, err := s.wait()
	require.NoError(t, err)
	require.Equal(t, exitOK, code, s.log.text())
	c.done.Wait()
	require.Empty(t, c.odd)
	names := stored(t, filepath.Join(dir, "customstatus.db"))
	requireAll(t, c.acked, names)
	// Not one beyond those in flight at the end, one a worker.
	require.LessOrEqual(t, len(names), len(c.acked)+workers)
	t.Attr("acknowledged", strconv.Itoa(len(c.acked)))
}

// SIGKILL under load, and again on the same file. Set CUSTOMSTATUS_KILL_ROUNDS
// for more rounds.
func TestSIGKILLUnderLoad(t *testing.T) {
	rounds := 3
	if n, err := strconv.Atoi(os.Getenv("CUSTOMSTATUS_KILL_ROUNDS")); err == nil {
		rounds = n
	}
	const workers = 8
	dir := t.TempDir()
	all := make(map[string]bool)
	var header http.Header
	for round := range rounds {
		name := "again"
		if round == 0 {
			name = "first"
		}
		s := launch(t, dir, name)
		if round == 0 {
			header = login(t, dir)
		}
		c := startCreators(t, s.addr, header, round, workers, 20+round*37%100)
		require.NoError(t, s.cmd.Process.Kill())
		_, err := s.wait()
		require.NoError(t, err)
		c.done.Wait()
		for name := range c.acked {
			all[name] = true
		}
		names := stored(t, filepath.Join(dir, "customstatus.db"))
		requireAll(t, all, names)
		require.LessOrEqual(t, len(names), len(all)+(round+1)*workers)
	}
	t.Attr("rounds", strconv.Itoa(rounds))
	t.Attr("acknowledged", strconv.Itoa(len(all)))
}

// An export under load shows one instant: each worker creates one status after the
// other, so of each worker the first few must be there, with no gap.
func TestExportUnderLoad(t *testing.T) {
	const workers, exports, others = 4, 20, 5000
	dir := t.TempDir()
	s := launch(t, dir, "first")
	db, err := dialControl(t.Context(), controlPath(filepath.Join(dir, "customstatus.db")))
	require.NoError(t, err)
	defer db.close()
	var lines strings.Builder
	for i := range others { // so that an export takes a while, most of it behind the new ones
		fmt.Fprintf(&lines, `{"name":"z %d","statusType":"busy"}`+"\n", i)
	}
	_, err = db.importFrom(t.Context(), strings.NewReader(lines.String()), importOptions{}, noParts)
	require.NoError(t, err)
	c := startCreators(t, s.addr, login(t, dir), 0, workers, 200)
	first, total := -1, 0
	for range exports {
		c.mu.Lock()
		acked := maps.Clone(c.acked)
		c.mu.Unlock()
		var out bytes.Buffer
		require.NoError(t, db.export(t.Context(), &out, formatLines))
		names := make(map[string]bool)
		for line := range strings.Lines(out.String()) {
			var status struct{ Name string }
			require.NoError(t, json.Unmarshal([]byte(line), &status))
			require.False(t, names[status.Name], "%q is there twice", status.Name)
			names[status.Name] = true
		}
		requireAll(t, acked, names)
		total = 0
		for w := range workers {
			n := 0
			for names[fmt.Sprintf("status 0 %d %d", w, n)] {
				n++
			}
			total += n
		}
		if first < 0 {
			first = total
		}
		require.Len(t, names, others+total, "some are there and others, made before by the same worker, are not")
	}
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	_, err = s.wait()
	require.NoError(t, err)
	c.done.Wait()
	require.Empty(t, c.odd)
	require.Less(t, first, len(c.acked), "the exports were under load")
	t.Attr("exported", strconv.Itoa(total))
}

// halfRequest begins a create and returns when the server waits for its body.
func halfRequest(t *testing.T, s *server, header http.Header) (conn net.Conn, finish func() string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	const body = `{"name":"half","statusType":"busy"}`
	fmt.Fprintf(conn, "POST /api/v1/custom-user-status.create HTTP/1.1\r\nHost: x\r\nX-User-Id: %s\r\nX-Auth-Token: %s\r\n"+
		"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", header.Get("X-User-Id"), header.Get("X-Auth-Token"), len(body))
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "HTTP/1.1 100 Continue\r\n", line)
	_, err = r.ReadString('\n')
	require.NoError(t, err)
	return conn, func() string {
		_, err := io.WriteString(conn, body)
		require.NoError(t, err)
		answer, err := io.ReadAll(r)
		require.NoError(t, err)
		return string(answer)
	}
}

func TestShutdown(t *testing.T) {
	shuttingDown := regexp.MustCompile(`msg="shutting down"`)

	t.Run("a running request is answered", func(t *testing.T) {
		dir := t.TempDir()
		s := launch(t, dir, "first")
		_, finish := halfRequest(t, s, login(t, dir))
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
		_, err := s.log.find(shuttingDown)
		require.NoError(t, err)
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGHUP)) // does not count as a second one
		answer := finish()
		require.Contains(t, answer, "HTTP/1.1 200 OK\r\n")
		require.Contains(t, answer, `"name":"half"`)
		require.True(t, strings.HasSuffix(answer, `"success":true}`), answer)
		code, err := s.wait()
		require.NoError(t, err)
		require.Equal(t, exitOK, code, s.log.text())
		require.True(t, stored(t, filepath.Join(dir, "customstatus.db"))["half"])
	})

	t.Run("an event stream does not hold it up", func(t *testing.T) {
		dir := t.TempDir()
		s := launch(t, dir, "first")
		req, err := http.NewRequest(http.MethodGet, "http://"+s.addr+"/api/v1/custom-user-status.stream", nil)
		require.NoError(t, err)
		req.Header = login(t, dir)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
		_, err = io.ReadAll(resp.Body)
		require.NoError(t, err, "the stream must end, not be cut")
		code, err := s.wait()
		require.NoError(t, err)
		require.Equal(t, exitOK, code, s.log.text())
	})

	t.Run("a request that does not end in time is cut", func(t *testing.T) {
		dir := t.TempDir()
		s := launch(t, dir, "first", "--shutdown-timeout", "1ms")
		halfRequest(t, s, login(t, dir))
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGINT))
		code, err := s.wait()
		require.NoError(t, err)
		require.Equal(t, exitFailure, code)
		require.Contains(t, s.log.text(), "customstatusd: requests were still running after 1ms and were cut off")
		require.Empty(t, stored(t, filepath.Join(dir, "customstatus.db")))
	})

	t.Run("a second signal ends it at once", func(t *testing.T) {
		dir := t.TempDir()
		s := launch(t, dir, "first", "--shutdown-timeout", "1h")
		halfRequest(t, s, login(t, dir))
		require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
		_, err := s.log.find(shuttingDown)
		require.NoError(t, err)
		again := time.NewTicker(100 * time.Millisecond) // the first ones count as the same
		defer again.Stop()
		for ended := false; !ended; {
			select {
			case <-again.C:
				_ = s.cmd.Process.Signal(syscall.SIGTERM) // an error means that it has just ended
			case <-s.exited:
				ended = true
			}
		}
		code, err := s.wait()
		require.NoError(t, err)
		require.Equal(t, exitFailure, code)
		require.Contains(t, s.log.text(), "customstatusd: ended at once by a second signal")
		require.Empty(t, stored(t, filepath.Join(dir, "customstatus.db")))
	})

	t.Run("cancelling the context of run", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, w := io.Pipe()
		var out bytes.Buffer
		ended := make(chan int)
		dir := t.TempDir()
		go func() {
			noEnv := func(string) (string, bool) { return "", false }
			code := run(ctx, []string{"--addr", "127.0.0.1:0", "--db", filepath.Join(dir, "x.db")}, nil, &out, w, noEnv)
			w.Close()
			ended <- code
		}()
		log := bufio.NewScanner(r)
		for log.Scan() {
			if strings.Contains(log.Text(), "msg=listening") {
				cancel()
			}
		}
		require.Equal(t, exitOK, <-ended)
		require.Contains(t, out.String(), "X-Auth-Token: ")
	})
}

// The server goes on when nobody reads its log any more.
func TestLogReaderGone(t *testing.T) {
	dir := t.TempDir()
	program, err := exec.LookPath("customstatusd")
	require.NoError(t, err)
	cmd := exec.Command(program, "--addr", "127.0.0.1:0")
	cmd.Dir = dir
	stdout, err := os.Create(filepath.Join(dir, "first.out"))
	require.NoError(t, err)
	defer stdout.Close()
	cmd.Stdout = stdout
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer cmd.Wait()
	defer cmd.Process.Kill()
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	addr := regexp.MustCompile(`addr=(\S+)`).FindStringSubmatch(line)[1]
	require.NoError(t, stderr.Close())
	for i := range 3 {
		answered, err := create(http.DefaultClient, addr, login(t, dir), fmt.Sprint(i))
		require.NoError(t, err)
		require.True(t, answered)
	}
}

// If the credentials can't be printed, the next start is the first one again.
func TestFirstStartThatNobodySees(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	r, w := io.Pipe()
	require.NoError(t, r.Close())
	var errs bytes.Buffer
	noEnv := func(string) (string, bool) { return "", false }
	code := run(t.Context(), []string{"--addr", "127.0.0.1:0", "--db", path}, nil, w, &errs, noEnv)
	require.Equal(t, exitFailure, code)
	require.Contains(t, errs.String(), io.ErrClosedPipe.Error())
	require.NoFileExists(t, filepath.Join(dir, "x.tokens"))
	require.NoFileExists(t, filepath.Join(dir, "x.db.sock"))
	require.Empty(t, stored(t, path))
}

// A server that is stopped while it starts leaves no tokens file with a token that
// nobody has seen.
func TestToldToEndWhileStarting(t *testing.T) {
	opened := regexp.MustCompile(`msg=opened`)
	// hold makes a server wait when it is about to make its first token.
	hold := func(t *testing.T, dir string) (release func()) {
		lock, err := lockedfile.OpenFile(filepath.Join(dir, "x.tokens.lock"), os.O_RDWR|os.O_CREATE, 0o600)
		require.NoError(t, err)
		return func() { require.NoError(t, lock.Close()) }
	}
	await := func(t *testing.T, log *bufio.Scanner) {
		for log.Scan() {
			if opened.MatchString(log.Text()) {
				return
			}
		}
		t.Fatal("the server did not open the database")
	}

	t.Run("by a signal", func(t *testing.T) {
		dir := t.TempDir()
		program, err := exec.LookPath("customstatusd")
		require.NoError(t, err)
		release := hold(t, dir)
		cmd := exec.Command(program, "--addr", "127.0.0.1:0", "--db", "x.db", "--log-level", "debug")
		cmd.Dir = dir
		var out bytes.Buffer
		cmd.Stdout = &out
		stderr, err := cmd.StderrPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		defer cmd.Process.Kill()
		log := bufio.NewScanner(stderr)
		await(t, log)
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		release()
		for log.Scan() {
		}
		require.NoError(t, cmd.Wait())
		// The signal may come a moment later than the start is over.
		_, err = os.Stat(filepath.Join(dir, "x.tokens"))
		require.Equal(t, tokenText.MatchString(out.String()), err == nil)
	})

	t.Run("by the context of run", func(t *testing.T) {
		dir := t.TempDir()
		release := hold(t, dir)
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		var out bytes.Buffer
		ended := make(chan int, 1)
		go func() {
			noEnv := func(string) (string, bool) { return "", false }
			ended <- run(ctx, []string{"--addr", "127.0.0.1:0", "--db", filepath.Join(dir, "x.db"), "--log-level", "debug"}, nil, &out, w, noEnv)
			w.Close()
		}()
		log := bufio.NewScanner(r)
		await(t, log)
		cancel()
		release()
		for log.Scan() {
		}
		require.Equal(t, exitOK, <-ended)
		require.Empty(t, out.String())
		require.Equal(t, []string{"x.db", "x.tokens.lock"}, names(t, dir))
	})

	t.Run("before it opens the database", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		dir := t.TempDir()
		var out, errs bytes.Buffer
		noEnv := func(string) (string, bool) { return "", false }
		code := run(ctx, []string{"--addr", "127.0.0.1:0", "--db", filepath.Join(dir, "x.db")}, nil, &out, &errs, noEnv)
		require.Equal(t, exitOK, code, errs.String())
		require.Empty(t, out.String())
		require.NoFileExists(t, filepath.Join(dir, "x.tokens"))
	})
}

func TestURL(t *testing.T) {
	tests := []struct{ addr, listener, want string }{
		{"127.0.0.1:0", "127.0.0.1:80", "http://127.0.0.1:80"},
		{":3000", "[::]:3000", "http://127.0.0.1:3000"},
		{"0.0.0.0:3000", "0.0.0.0:3000", "http://127.0.0.1:3000"},
		{"[::1]:3000", "[::1]:3000", "http://[::1]:3000"},
		{"chat.example:0", "192.0.2.1:3000", "http://chat.example:3000"},
	}
	for _, tt := range tests {
		addr, err := net.ResolveTCPAddr("tcp", tt.listener)
		require.NoError(t, err)
		require.Equal(t, tt.want, (&serveConfig{addr: tt.addr}).url(addr))
	}
}

func TestShellQuote(t *testing.T) {
	for _, s := range []string{"", "plain", "two words", `it's`, `''`, `$HOME "x" \ ` + "`ls`"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(s)).Output()
		require.NoError(t, err)
		require.Equal(t, s, string(out))
	}
}

func TestNoCertificate(t *testing.T) {
	c, err := loadCertificate("", "")
	require.NoError(t, err)
	require.Nil(t, c)
	require.NoError(t, c.reload())
	_, err = loadCertificate("missing.pem", "missing.pem")
	require.ErrorIs(t, err, os.ErrNotExist)
}
