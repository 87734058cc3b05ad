package compat_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// statuses are in the catalog at first: enough for a list that is worth
// compressing.
const statuses = 50

// api is a real handler over a real catalog.
type api struct {
	handler *httpadapter.Handler
	log     *logBuffer
}

func newAPI(t *testing.T) api {
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, catalog.Close()) })
	for i := range statuses {
		_, err := catalog.Create(t.Context(), customstatus.Fields{Name: fmt.Sprintf("status %02d", i), StatusType: customstatus.Busy})
		require.NoError(t, err)
	}
	login := httpadapter.HeaderAuth(func(_ context.Context, userID, token string) (httpadapter.Caller, error) {
		if token != "secret" {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		return httpadapter.Caller{UserID: userID, MayManage: true}, nil
	})
	log := new(logBuffer)
	return api{httpadapter.New(catalog, login, &httpadapter.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}), log}
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// patience is how long a client waits for an answer or an event. It is less than
// the time between heartbeats, which would flush an event that was held back.
const patience = 10 * time.Second

// client asks a server as a browser would, which takes compressed answers.
type client struct {
	t    *testing.T
	url  string
	http *http.Client
}

func (c client) do(method, endpoint, body string, header http.Header) *http.Response {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	c.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, c.url+httpadapter.DefaultPrefix+"custom-user-status."+endpoint, strings.NewReader(body))
	require.NoError(c.t, err)
	r.Header.Set("X-User-Id", "u")
	r.Header.Set("X-Auth-Token", "secret")
	maps.Copy(r.Header, header)
	defer time.AfterFunc(patience, cancel).Stop()
	res, err := c.http.Do(r)
	require.NoError(c.t, err)
	c.t.Cleanup(func() { res.Body.Close() })
	return res
}

// list asks for all statuses, and again whether they have changed.
func (c client) list() {
	c.t.Helper()
	res := c.do(http.MethodGet, "list", "", nil)
	require.Equal(c.t, http.StatusOK, res.StatusCode)
	require.Equal(c.t, "application/json", res.Header.Get("Content-Type"))
	var page struct{ Total int }
	require.NoError(c.t, json.NewDecoder(res.Body).Decode(&page))
	require.Equal(c.t, statuses, page.Total)
	res = c.do(http.MethodGet, "list", "", http.Header{"If-None-Match": {res.Header.Get("ETag")}})
	require.Equal(c.t, http.StatusNotModified, res.StatusCode)
}

// create returns the JSON of the new status.
func (c client) create(name string) string {
	c.t.Helper()
	res := c.do(http.MethodPost, "create", `{"name":"`+name+`","statusType":"away"}`, nil)
	var answer struct{ CustomUserStatus json.RawMessage }
	require.NoError(c.t, json.NewDecoder(res.Body).Decode(&answer))
	require.Equal(c.t, http.StatusOK, res.StatusCode)
	require.Contains(c.t, string(answer.CustomUserStatus), `"name":"`+name+`"`)
	return string(answer.CustomUserStatus)
}

// stream opens an event stream.
func (c client) stream() *stream {
	c.t.Helper()
	res := c.do(http.MethodGet, "stream", "", nil)
	require.Equal(c.t, http.StatusOK, res.StatusCode)
	require.Equal(c.t, "text/event-stream", res.Header.Get("Content-Type"))
	return &stream{c.t, res, bufio.NewReader(res.Body)}
}

// stream reads events.
type stream struct {
	t   *testing.T
	res *http.Response
	in  *bufio.Reader
}

// block returns the next event.
func (s *stream) block() string {
	s.t.Helper()
	defer time.AfterFunc(patience, func() { s.res.Body.Close() }).Stop()
	var block strings.Builder
	for {
		line, err := s.in.ReadString('\n')
		require.NoError(s.t, err, "after %q", block.String())
		if line == "\n" {
			return block.String()
		}
		block.WriteString(line)
	}
}

// ends reads the end of the stream.
func (s *stream) ends() {
	s.t.Helper()
	defer time.AfterFunc(patience, func() { s.res.Body.Close() }).Stop()
	_, err := s.in.ReadByte()
	require.ErrorIs(s.t, err, io.EOF)
}
