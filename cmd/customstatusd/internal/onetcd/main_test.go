//go:build !nocluster

// Package onetcd_test runs processes of the program on an etcd cluster. It is a package
// of its own because the members of the cluster are this test binary, started again.
package onetcd_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/etcdstore/etcdtest"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

const (
	// patience bounds each wait and each request.
	patience  = time.Minute
	endpoints = "/api/v1/custom-user-status."
)

// program is the built program with a directory to run in.
type program struct {
	path, dir string
}

func build(t *testing.T) (path string) {
	t.Helper()
	os.Getenv("CUSTOMSTATUS_TREE") // scripts/test says by it that the program may have changed
	path = filepath.Join(t.TempDir(), "customstatusd")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", path, "../..").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

func (p program) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.path, args...)
	cmd.Dir = p.dir
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "CUSTOMSTATUS_") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	return cmd
}

// run runs a command that succeeds and returns what it printed.
func (p program) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := p.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%v\n%s%s", args, out, stderr.String())
	return string(out)
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// node is a server in a process of its own.
type node struct {
	t      *testing.T
	addr   string
	header http.Header
	log    *output
	client http.Client
}

var listening = regexp.MustCompile(`listening addr=(\S+)`)

// serve starts a server, which ends with the test.
func (p program) serve(t *testing.T, header http.Header, args ...string) *node {
	t.Helper()
	cmd := p.command(append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...)
	n := &node{t: t, header: header, log: new(output), client: http.Client{Timeout: patience}}
	cmd.Stderr = n.log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // how a killed process ends says nothing
		n.client.CloseIdleConnections()
	})
	require.Eventually(t, func() bool {
		m := listening.FindStringSubmatch(n.log.String())
		if m != nil {
			n.addr = m[1]
		}
		return m != nil
	}, patience, 20*time.Millisecond, "the server does not listen")
	return n
}

// login makes a token in a file and returns the headers of its user.
func (p program) login(t *testing.T, tokens, store string) http.Header {
	t.Helper()
	header := make(http.Header)
	for line := range strings.Lines(p.run(t, "token", "add", "--tokens", tokens, "--store", store)) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ": "); found {
			header.Set(name, value)
		}
	}
	require.Len(t, header, 2)
	return header
}

func (n *node) open(method, path, body string) *http.Response {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, "http://"+n.addr+path, strings.NewReader(body))
	require.NoError(n.t, err)
	r.Header = n.header.Clone()
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := n.client.Do(r)
	require.NoError(n.t, err, "%s", n.log)
	return resp
}

func (n *node) ask(method, path, body string) (int, string) {
	n.t.Helper()
	resp := n.open(method, path, body)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(n.t, err)
	return resp.StatusCode, string(text)
}

func (n *node) create(name string) (int, string) {
	n.t.Helper()
	return n.ask(http.MethodPost, endpoints+"create", `{"name":"`+name+`","statusType":"busy"}`)
}

// says waits until a path answers with a status and a text.
func (n *node) says(path string, status int, text string) {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		code, body := n.ask(http.MethodGet, path, "")
		return code == status && strings.Contains(body, text)
	}, patience, 50*time.Millisecond, "%s never answered %d with %s", path, status, text)
}
