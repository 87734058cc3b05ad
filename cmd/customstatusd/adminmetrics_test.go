//go:build !nometrics && !nocluster

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
)

func metricFamilies(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err)
	return families
}

// The page has the figures of the catalog and of the process, and nobody's token.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := launch(t, dir, "first", "--admin-addr", ":0")
	at := "http://" + adminAddr(t, s)
	header := login(t, dir)
	n := node{t, s.addr, header}
	n.create("Lunch")
	resp, _ := n.ask(http.MethodGet, sessionPath, "")
	require.Equal(t, http.StatusUnauthorized, resp.StatusCode)

	code, text := get(t, at+"/metrics")
	require.Equal(t, http.StatusOK, code)
	families := metricFamilies(t, text)
	require.Equal(t, 1.0, families["customstatus_statuses"].GetMetric()[0].GetGauge().GetValue())
	require.Contains(t, text, `customstatus_http_requests_total{code="200",endpoint="create"} 1`)
	require.Contains(t, text, `customstatus_http_requests_total{code="401",endpoint="session"} 1`)
	require.Contains(t, text, "\ncustomstatus_commit_duration_seconds_count 1\n", "the catalog has the observer")
	require.Contains(t, text, `customstatus_build_info{goversion="go`)
	require.Contains(t, families, "process_open_fds")
	require.Contains(t, families, "go_goroutines")
	for name := range header {
		require.NotContains(t, text, header.Get(name))
	}
}

// The page shows whether a shared store answers.
func TestMetricsOfSharedStore(t *testing.T) {
	store := &deafStore{SharedStore: storetest.NewSharedMemory().Open()}
	db, err := openOver(t.Context(), store, customstatus.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { db.close() })
	page := func(a triedAdmin) string { return a.ask("/metrics", "localhost").Body.String() }
	starting := tryAdmin(t, nil)
	require.Equal(t, http.StatusOK, starting.ask("/metrics", "localhost").Code)
	a := tryAdmin(t, db)
	require.Contains(t, page(a), "\ncustomstatus_store_up 1\n")
	failure := errors.New("connection refused")
	store.failure.Store(&failure)
	require.Contains(t, page(a), "\ncustomstatus_store_up 0\n")
}

// While the server ends, it answers the operator, and its readiness check sends clients
// elsewhere.
func TestReadinessAtTheEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := launch(t, dir, "first", "--admin-addr", ":0")
	at := "http://" + adminAddr(t, s)
	conn, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer conn.Close()
	header := login(t, dir)
	_, err = fmt.Fprintf(conn, "POST %screate HTTP/1.1\r\nHost: x\r\nX-User-Id: %s\r\nX-Auth-Token: %s\r\nContent-Length: 100\r\n\r\n{",
		endpoints, header.Get("X-User-Id"), header.Get("X-Auth-Token"))
	require.NoError(t, err)
	says := func(path, want string) {
		t.Helper()
		require.Eventually(t, func() bool {
			_, text := get(t, at+path)
			return strings.Contains(text, want)
		}, patience, patience/1000)
	}
	says("/metrics", "\ncustomstatus_http_requests_in_flight 1\n")
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
	says("/readyz", `{"status":"shutting down"}`)
	code, _ := get(t, at+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.NoError(t, conn.Close())
	code, err = s.wait()
	require.NoError(t, err)
	require.Equal(t, exitOK, code, s.log.text())
}

// Clients that send half a body take no places from others.
func TestAdminWaitsForNoBody(t *testing.T) {
	a := tryAdmin(t, openTemp(t))
	server := httptest.NewServer(a.server.Handler)
	defer server.Close()
	for range adminRequests + 1 {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
		require.NoError(t, err)
		text, err := bufio.NewReader(conn).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "HTTP/1.1 200 OK\r\n", text)
	}
}
