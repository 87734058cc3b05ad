package httpadapter

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// deadlineWriter takes a stream's events as net/http does, and notes the last deadline.
type deadlineWriter struct {
	discard
	mu       sync.Mutex
	deadline time.Time
	written  []time.Time // the deadline of each write
}

func (w *deadlineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written = append(w.written, w.deadline)
	return len(b), nil
}

func (w *deadlineWriter) FlushError() error { return nil }

func (w *deadlineWriter) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	return nil
}

// seen returns the last deadline, and the deadline of each write.
func (w *deadlineWriter) seen() (deadline time.Time, written []time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.deadline, slices.Clone(w.written)
}

// TestIdleStreamDeadline: a write has a deadline, and an idle stream has none, unless
// its connection is known to be a plain one of HTTP/1.
func TestIdleStreamDeadline(t *testing.T) {
	for name, tt := range map[string]struct {
		conn  net.Conn // nil: a host's own server
		tls   bool
		major int
		kept  bool
	}{
		"TCP":                          {conn: new(net.TCPConn), major: 1, kept: true},
		"Unix":                         {conn: new(net.UnixConn), major: 1, kept: true},
		"HTTP/2":                       {conn: new(net.TCPConn), major: 2},
		"TLS":                          {conn: new(tls.Conn), major: 1, tls: true},
		"TLS, wrapped":                 {conn: struct{ net.Conn }{new(tls.Conn)}, major: 1},
		"TCP, wrapped":                 {conn: struct{ net.Conn }{new(net.TCPConn)}, major: 1},
		"a host's server":              {major: 1},
		"a host's server, with TLS":    {major: 1, tls: true},
		"a host's server, with HTTP/2": {major: 2, tls: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHandler(newCatalog(t, 0))
				ctx := t.Context()
				if tt.conn != nil {
					ctx = notePlainConn(ctx, tt.conn)
				}
				r := httptest.NewRequestWithContext(ctx, http.MethodGet, DefaultPrefix+streamPath, nil)
				r.ProtoMajor = tt.major
				if tt.tls {
					r.TLS = new(tls.ConnectionState)
				}
				w := &deadlineWriter{discard: discard{make(http.Header)}}
				begin := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					Recorded{h}.ServeHTTP(w, r)
				}()
				for beats := range 3 {
					synctest.Wait()
					now := begin.Add(time.Duration(beats) * h.heartbeat)
					deadline, written := w.seen()
					require.Len(t, written, 2+beats, "the header, ready, and the heartbeats")
					require.Equal(t, now.Add(h.writeTimeout), written[1+beats])
					require.Equal(t, tt.kept, deadline.Equal(now.Add(h.writeTimeout)))
					require.Equal(t, !tt.kept, deadline.IsZero())
					time.Sleep(h.heartbeat)
				}
				h.EndStreams()
				<-done
				deadline, _ := w.seen()
				require.False(t, deadline.IsZero(), "the end of the body has no deadline")
			})
		})
	}
}

// TestServeKnowsPlainConns: Serve knows its plain connections, and takes no other for
// plain.
func TestServeKnowsPlainConns(t *testing.T) {
	for name, wrapped := range map[string]bool{"plain": false, "wrapped": true} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			addr := listener.Addr().String()
			if wrapped {
				listener = wrappingListener{listener}
			}
			plain := make(chan bool, 1)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			h := newHandler(newCatalog(t, 0))
			go func() {
				ended <- h.Serve(ctx, listener, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					plain <- onPlainConn(r)
				}))
			}()
			res, err := http.Get("http://" + addr)
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, !wrapped, <-plain)
			cancel()
			require.NoError(t, <-ended)
		})
	}
}

// wrappingListener hides what its connections are, as one that counts them does.
type wrappingListener struct{ net.Listener }

func (l wrappingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return struct{ net.Conn }{conn}, err
}
