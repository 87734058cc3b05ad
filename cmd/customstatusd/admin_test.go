package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

// adminAddr returns the address of a server's operator's listener.
func adminAddr(t *testing.T, s *server) string {
	t.Helper()
	m, err := s.log.find(regexp.MustCompile(`msg="serving metrics" addr=(\S+)`))
	require.NoError(t, err)
	return m[1]
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// The listener is for this machine, has no credentials, and holds up no end.
func TestAdminListener(t *testing.T) {
	t.Parallel()
	s := launch(t, t.TempDir(), "first", "--admin-addr", ":0", "--admin-pprof")
	at := "http://" + adminAddr(t, s)
	require.Contains(t, at, "//127.0.0.1:")
	code, text := get(t, at+"/readyz")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"status":"ok"}`, text)
	for path, want := range map[string]int{
		"/":                         http.StatusNotFound,
		"/api/v1/":                  http.StatusNotFound,
		"/debug/pprof/":             http.StatusOK,
		"/debug/pprof/heap?debug=1": http.StatusOK,
		"/debug/pprof/cmdline":      http.StatusNotFound,
		"/debug/pprof/symbol":       http.StatusOK,
	} {
		code, _ = get(t, at+path)
		require.Equal(t, want, code, path)
	}
	code, _ = get(t, "http://"+s.addr+"/metrics")
	require.Equal(t, http.StatusNotFound, code, "the clients' listener has no metrics")

	// A profile that is under way holds up no end.
	profile := make(chan error, 1)
	go func() {
		resp, err := http.Get(at + "/debug/pprof/trace?seconds=100")
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		profile <- err
	}()
	require.Eventually(t, func() bool {
		_, text := get(t, at+"/debug/pprof/goroutine?debug=1")
		return strings.Contains(text, "pprof.Trace")
	}, patience, patience/1000)
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	code, err := s.wait()
	require.NoError(t, err)
	require.Equal(t, exitOK, code, s.log.text())
	require.Error(t, <-profile, "the profile was cut")
}

// Profiles are served only if the operator wants them.
func TestAdminWithoutProfiles(t *testing.T) {
	a := tryAdmin(t, nil)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/symbol"} {
		require.Equal(t, http.StatusNotFound, a.ask(path, "localhost").Code, path)
	}
}

// triedAdmin is a listener whose handler a test calls.
type triedAdmin struct {
	*admin
	t *testing.T
}

func tryAdmin(t *testing.T, db *localDatabase) triedAdmin {
	t.Helper()
	config := &serveConfig{admin: adminConfig{addr: "0"}}
	if db != nil && db.shared != nil {
		config.store = address{kind: kindPostgres}
	}
	a, err := listenAdmin(t.Context(), config, replacing{log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(a.close)
	if db != nil {
		a.show(newHealth(db, func() error { return nil }))
	}
	return triedAdmin{a, t}
}

func (a triedAdmin) ask(path, host string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(a.t.Context(), http.MethodGet, path, nil)
	r.Host = host
	a.server.Handler.ServeHTTP(rec, r)
	return rec
}

func (a triedAdmin) says(want string) {
	a.t.Helper()
	rec := a.ask("/readyz", "127.0.0.1:9464")
	require.Equal(a.t, `{"status":"`+want+`"}`, rec.Body.String())
	require.Equal(a.t, map[bool]int{true: 200, false: 503}[want == statusOK], rec.Code)
}

func TestReadiness(t *testing.T) {
	a := tryAdmin(t, nil)
	a.says("starting")
	db := openTemp(t)
	a.show(newHealth(db, func() error { return nil }))
	a.says("ok")
	require.NoError(t, db.catalog.Close())
	a.says("restart needed")
	a.ends()
	a.says("shutting down")
}

// deafStore is a shared store that a test makes unreachable.
type deafStore struct {
	customstatus.SharedStore
	failure atomic.Pointer[error]
}

func (s *deafStore) Revision(ctx context.Context) (customstatus.Revision, error) {
	if err := s.failure.Load(); err != nil {
		return 0, *err
	}
	return s.SharedStore.Revision(ctx)
}

func (s *deafStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if err := s.failure.Load(); err != nil {
		return 0, *err
	}
	return s.SharedStore.Commit(ctx, changes)
}

func TestReadinessOfSharedStore(t *testing.T) {
	store := &deafStore{SharedStore: storetest.NewSharedMemory().Open()}
	db, err := openOver(t.Context(), store, customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { db.close() })
	a := tryAdmin(t, db)
	a.says("ok")
	failure := errors.New("connection refused")
	store.failure.Store(&failure)
	a.says("store unreachable")
	_, err = db.catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: customstatus.Busy})
	require.Error(t, err)
	require.Contains(t, a.ask("/readyz", "localhost").Body.String(), `{"status":"writes fail",`, "the graver reason")
	store.failure.Store(nil)
	_, err = db.catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: customstatus.Busy})
	require.NoError(t, err)
	a.says("ok")
}

// A page of another host, whose name leads to this machine, reads nothing.
func TestAdminHosts(t *testing.T) {
	a := tryAdmin(t, openTemp(t))
	for host, want := range map[string]int{
		"127.0.0.1:9464":      http.StatusOK,
		"localhost:9464":      http.StatusOK,
		"LOCALHOST":           http.StatusOK,
		"[::1]:9464":          http.StatusOK,
		"[::1]":               http.StatusOK,
		"":                    http.StatusForbidden,
		"evil.example":        http.StatusForbidden,
		"evil.example:9464":   http.StatusForbidden,
		"localhost.evil:9464": http.StatusForbidden,
	} {
		require.Equal(t, want, a.ask("/readyz", host).Code, host)
	}
	a.loopback = false
	require.Equal(t, http.StatusOK, a.ask("/readyz", "node1.example:9464").Code)
}

// More than a few requests at once are refused. Profiles and scrapes don't count for the
// readiness check: they must not make the server look as if it were not ready.
func TestAdminIsBounded(t *testing.T) {
	a := tryAdmin(t, openTemp(t))
	a.server.Handler = a.handler(true)
	for range adminProfiles {
		a.profiling <- struct{}{}
	}
	for range adminRequests {
		a.scraping <- struct{}{}
	}
	require.Equal(t, http.StatusServiceUnavailable, a.ask("/metrics", "localhost").Code)
	require.Equal(t, http.StatusServiceUnavailable, a.ask("/debug/pprof/", "localhost").Code)
	require.Equal(t, http.StatusOK, a.ask("/readyz", "localhost").Code)
	<-a.profiling
	for path, want := range map[string]int{
		"": http.StatusOK, "profile?seconds=301": http.StatusBadRequest, "trace?seconds=1e9": http.StatusBadRequest,
		"heap?seconds=100000": http.StatusBadRequest, "trace?seconds=NaN": http.StatusBadRequest, "trace?seconds=1e-9": http.StatusOK,
	} {
		require.Equal(t, want, a.ask("/debug/pprof/"+path, "localhost").Code, path)
	}
	for range adminRequests {
		a.running <- struct{}{}
	}
	require.Equal(t, http.StatusServiceUnavailable, a.ask("/readyz", "localhost").Code)
	<-a.running
	require.Equal(t, http.StatusOK, a.ask("/readyz", "localhost").Code)
}

// A listener that asks for no login is not open to others without a word in the log.
func TestAdminBeyondThisMachine(t *testing.T) {
	for addr, want := range map[string]int{"0.0.0.0:0": 1, ":0": 0, "127.0.0.1:0": 0, "localhost:0": 0} {
		var log bytes.Buffer
		a, err := listenAdmin(t.Context(), &serveConfig{admin: adminConfig{addr: addr}}, replacing{log: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		a.close()
		require.Equal(t, want, strings.Count(log.String(), "level=WARN"), "%s: %s", addr, log.String())
		require.Equal(t, want, strings.Count(log.String(), "open beyond this machine, and asks for no login"), addr)
	}
}

func TestAdminAddr(t *testing.T) {
	for given, want := range map[string]string{
		"9464":           "127.0.0.1:9464",
		":9464":          "127.0.0.1:9464",
		"0.0.0.0:9464":   "0.0.0.0:9464",
		"[::]:9464":      "[::]:9464",
		"localhost:9464": "localhost:9464",
		"127.0.0.2:0":    "127.0.0.2:0",
		":":              "127.0.0.1:",
		":http":          "127.0.0.1:http",
	} {
		c := adminConfig{addr: given}
		require.NoError(t, c.check(), given)
		require.Equal(t, want, c.onThisMachine(), given)
	}
	for _, bad := range []string{"localhost", "::1", "[::1]"} {
		require.Error(t, (&adminConfig{addr: bad}).check(), bad)
	}
	require.Error(t, (&adminConfig{pprof: true}).check())
	require.NoError(t, (&adminConfig{}).check())
}
