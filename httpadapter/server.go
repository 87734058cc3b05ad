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

// The limits of a server. They are far beyond what an honest client needs, and
// what a dishonest one can hold.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	serverTimeout     = time.Minute // to answer; event streams have a time for each write
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// ListenAndServe listens on a TCP address and calls [Handler.Serve].
func (h *Handler) ListenAndServe(ctx context.Context, addr string, handler http.Handler) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("httpadapter: %w", err)
	}
	return h.Serve(ctx, listener, handler)
}

// Serve answers requests until ctx is done, and ends in order: it closes the
// listener, ends the event streams, waits for the requests that are being answered
// for as long as [Options.ShutdownTimeout], closes all connections, and returns
// nil. Any other end is an error.
//
// The requests are for handler, such as an [http.ServeMux] that h is mounted in.
// If handler is nil, they are for h. Headers, bodies, answers and idle
// connections are limited in time, headers also in size. A host that needs other
// limits serves with an [http.Server] of its own: see [Handler.EndStreams].
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

		DisableGeneralOptionsHandler: true, // its answer is no JSON
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
		h.log.Warn("httpadapter: requests were cut off at the end of the server")
		return nil
	}
	if err != nil {
		return fmt.Errorf("httpadapter: %w", err)
	}
	return nil
}

// freshConns are the connections on which no request has come yet. A server that
// ends waits seconds for them.
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
