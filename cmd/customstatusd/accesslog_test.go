package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestLogRequests(t *testing.T) {
	token := "Kq3" + strings.Repeat("xY7-_", 8) // as long as those of tokenauth
	tests := []struct {
		name, target string
		method       string
		handler      http.HandlerFunc
		want         []string
		not          string
		gone         bool // the client
	}{
		{
			name: "nothing written", target: "/a?token=secret",
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    []string{"level=INFO", "method=GET", "path=/a ", "status=200", "bytes=0", `user_id=""`, "remote=192.0.2.1"},
			not:     "secret",
		},
		{
			name: "a caller and an id", target: "/a",
			handler: func(w http.ResponseWriter, r *http.Request) {
				noteUser(r.Context(), "alice")
				w.Header().Set(requestIDHeader, "id-1")
				io.WriteString(w, "hello")
			},
			want: []string{"request_id=id-1", "status=200", "bytes=5", "user_id=alice"},
		},
		{
			name: "the first status counts", target: "/a",
			handler: func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusEarlyHints)
				w.WriteHeader(http.StatusTeapot)
			},
			want: []string{"level=INFO", "status=418"},
		},
		{
			name: "an error of the server", target: "/a",
			handler: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
			want:    []string{"level=ERROR", "status=500"},
		},
		{
			name: "a client that has hung up", target: "/a",
			gone:    true,
			handler: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
			want:    []string{"level=INFO", "status=500"},
		},
		{
			name: "a panic before a client that has hung up", target: "/a",
			gone:    true,
			handler: func(http.ResponseWriter, *http.Request) { panic("a fault") },
			want:    []string{"level=ERROR", "aborted=true"},
		},
		{
			name: "cut", target: "/a",
			handler: func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "half")
				panic(http.ErrAbortHandler)
			},
			want: []string{"level=ERROR", "bytes=4", "aborted=true"},
		},
		{
			name: "a connection refused after failed logins", target: "/a",
			handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			want:    []string{"level=INFO", "status=0", "refused=true"},
			not:     "aborted",
		},
		{
			name: "a token in the path", target: "/api/v1/" + token + "/custom-user-status.list/" + token[:21] + "/custom-user-status." + token,
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    []string{"path=/api/v1/…/custom-user-status.list/…/… "},
			not:     token[:8],
		},
		{
			name: "a token as the method", target: "/a", method: token,
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    []string{"method=other path=/a "},
			not:     token,
		},
		{
			name: "a mistyped endpoint", target: "/api/v1/custom-user-status.lst",
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    []string{"path=/api/v1/custom-user-status.lst "},
		},
		{
			name: "a write", target: "/a",
			handler: func(_ http.ResponseWriter, r *http.Request) {
				noteStatus(r, customstatus.CustomUserStatus{ID: "id-2", Name: "In a\nmeeting"})
			},
			want: []string{"status_id=id-2", `status_name="In a\nmeeting"`},
		},
		{
			name: "health", target: "/healthz",
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    []string{"level=DEBUG"},
		},
		{
			name: "a line can't be forged", target: "/a%0Alevel=ERROR",
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    []string{`path="/a\nlevel=ERROR"`},
		},
		{
			name: "a long path is cut", target: strings.Repeat("/x", 3*maxLogged),
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    []string{"path=" + strings.Repeat("/x", maxLogged/2) + "…"},
			not:     strings.Repeat("/x", maxLogged/2+1),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
			func() {
				defer func() { recover() }()
				ctx, hangUp := context.WithCancel(t.Context())
				defer hangUp()
				if tt.gone {
					hangUp()
				}
				logRequests(log, new(serveConfig).clientAddr, new(requests).begin, tt.handler).
					ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, cmp.Or(tt.method, http.MethodGet), tt.target, nil))
			}()
			for _, want := range tt.want {
				require.Contains(t, out.String(), want)
			}
			require.Equal(t, 1, strings.Count(out.String(), "\n"))
			if tt.not != "" {
				require.NotContains(t, out.String(), tt.not)
			}
		})
	}
}

// What is between the server and a handler does not keep it from streaming.
func TestLogRequestsStreams(t *testing.T) {
	read := make(chan struct{})
	h := logRequests(slog.New(slog.DiscardHandler), new(serveConfig).clientAddr, new(requests).begin, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := rc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
			t.Error(err)
		}
		for range 2 {
			io.WriteString(w, "line\n")
			w.(http.Flusher).Flush()
			<-read
		}
	}))
	srv := httptest.NewServer(h)
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for range 2 {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "line\n", line)
		read <- struct{}{}
	}
}

func TestClientAddr(t *testing.T) {
	tests := []struct {
		header string
		values []string
		want   string
	}{
		{"", []string{"10.0.0.1"}, "192.0.2.1"},
		{"X-Forwarded-For", nil, "192.0.2.1"},
		{"X-Forwarded-For", []string{"10.0.0.1"}, "10.0.0.1"},
		{"x-forwarded-for", []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.2"},
		{"X-Forwarded-For", []string{"10.0.0.1", "10.0.0.2 ,10.0.0.3"}, "10.0.0.3"},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["X-Forwarded-For"] = tt.values
		require.Equal(t, tt.want, (&serveConfig{clientAddrHeader: tt.header}).clientAddr(r))
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "pipe"
	require.Equal(t, "pipe", new(serveConfig).clientAddr(r))
}

// brokenWriter fails when it is flushed.
type brokenWriter struct{ http.ResponseWriter }

var errBroken = errors.New("broken pipe")

func (brokenWriter) FlushError() error { return errBroken }

// A stream behind the log learns that its client has gone.
func TestLogRequestsKeepsFlushErrors(t *testing.T) {
	rec := &recorder{ResponseWriter: brokenWriter{httptest.NewRecorder()}}
	require.ErrorIs(t, http.NewResponseController(rec).Flush(), errBroken)
}
