package httpadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// The limits of a server. An honest client needs far less; a dishonest client can hold
// no more.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	serverTimeout     = time.Minute // for an answer; event streams have a timeout for each write
	idleTimeout       = 2 * time.Minute
	writeByteTimeout  = 10 * time.Second // for a client of HTTP/2 to read anything
	maxHeaderBytes    = 64 << 10
)

// ListenAndServe listens on a TCP address, such as "127.0.0.1:3000", and calls
// [Handler.Serve] with the listener. It returns an error if it can't listen, and else
// what Serve returns.
func (h *Handler) ListenAndServe(ctx context.Context, addr string, handler http.Handler) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("httpadapter: %w", err)
	}
	return h.Serve(ctx, listener, handler)
}

// Serve answers requests on the listener until ctx is done, and then shuts down in
// order. It closes the listener, ends the event streams, waits up to
// [Options.ShutdownTimeout] for requests in flight, closes all connections, and
// returns nil. If the listener fails earlier, Serve returns the error.
//
// Serve passes the requests to handler, such as an [http.ServeMux] that h is mounted
// in. If handler is nil, Serve passes them to h. Headers, bodies, answers and idle
// connections are limited in time, and headers also in size. A host that needs other
// limits uses an [http.Server] of its own: see [Handler.EndStreams].
//
// After Serve returns, the Handler still answers lists and writes, but opens no
// streams.
func (h *Handler) Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	if handler == nil {
		handler = h
	}
	var fresh freshConns
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      serverTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelWarn),
		ConnState:         fresh.note,
		ConnContext:       notePlainConn,
		// A stream's own limit can't end a connection that its client doesn't read.
		HTTP2: &http.HTTP2Config{WriteByteTimeout: writeByteTimeout},

		DisableGeneralOptionsHandler: true, // which doesn't answer in JSON
	}
	defer server.Close()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		h.EndStreams()
		return fmt.Errorf("httpadapter: %w", err)
	case <-ctx.Done():
	}
	h.EndStreams()
	shutdown, cancel := context.WithCancel(context.WithoutCancel(ctx))
	if h.shutdownTimeout > 0 {
		shutdown, cancel = context.WithTimeout(shutdown, h.shutdownTimeout)
	}
	defer cancel()
	fresh.close()
	err := server.Shutdown(shutdown)
	if errors.Is(err, context.DeadlineExceeded) {
		h.log.Warn("httpadapter: the shutdown timeout cut off requests")
		return nil
	}
	if err != nil {
		return fmt.Errorf("httpadapter: %w", err)
	}
	return nil
}

// plainConn is the key of what notePlainConn notes.
type plainConn struct{}

// notePlainConn makes onPlainConn true for the requests of a connection that nothing
// wraps.
func notePlainConn(ctx context.Context, conn net.Conn) context.Context {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return context.WithValue(ctx, plainConn{}, true)
	}
	return ctx
}

// onPlainConn reports whether the request is known to have come without TLS. On a
// host's own [http.Server], nothing is known.
func onPlainConn(r *http.Request) bool { return r.Context().Value(plainConn{}) != nil }

// freshConns are the connections on which no request has come yet. Shutdown would
// wait seconds for them.
type freshConns struct {
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

func (f *freshConns) note(conn net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(f.conns, conn)
	case f.closed:
		conn.Close()
	default:
		if f.conns == nil {
			f.conns = make(map[net.Conn]struct{})
		}
		f.conns[conn] = struct{}{}
	}
}

func (f *freshConns) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for conn := range f.conns {
		conn.Close()
	}
}
