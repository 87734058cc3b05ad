package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/loginlimit"
)

// service is a running server.
type service struct {
	config *serveConfig
	log    *slog.Logger
	db     *localDatabase
	reload func() error
	admin  *admin

	requests  requests
	endPublic context.CancelFunc
	public    chan struct{} // closed when the public server has ended
	publicErr error         // of the public server; set before public is closed

	control      *http.Server
	controlLn    *controlListener // nil without a control socket
	controlEnded chan error       // receives the error of a control server that fails
}

// start begins to serve on ln.
func start(config *serveConfig, log *slog.Logger, ln net.Listener, certs *certificate, db *localDatabase,
	control *controlListener, tokens *tokenFile, admin *admin,
) *service {
	s := &service{
		config:       config,
		log:          log,
		db:           db,
		admin:        admin,
		controlLn:    control,
		public:       make(chan struct{}),
		controlEnded: make(chan error, 1),
		reload:       func() error { return errors.Join(tokens.reload(), certs.reload()) },
	}
	sessions := openSessions(config.sessionsBeside(db), config.browsers.sessionTime, tokens, log)
	sessions.shared = db.shared != nil
	api := httpadapter.New(db.catalog, sessions.authenticator(), &httpadapter.Options{
		Prefix:          config.prefix,
		Logger:          log,
		Metadata:        config.metadata,
		ShutdownTimeout: max(config.shutdownTimeout, 1), // 0 is a default there
		TrustedOrigins:  config.browsers.origins,
		OnWrite:         noteStatus,
	})
	tokens.onChange(api.RecheckLogins)
	sessions.onEnd(api.RecheckLogins)
	limit := func(h http.Handler) http.Handler {
		return loginlimit.New(h, &loginlimit.Options{Failures: config.failedLogins(), ClientAddr: config.clientAddr, Logger: log})
	}
	public := config.withConsole(allowOrigins(config.browsers.origins, sessions.handler(api, limit, config.browsers.origins)))
	health := newHealth(db, tokens.problem)
	admin.show(health)
	handler := admin.measure(logRequests(log, config.clientAddr, s.requests.begin, health.wrap(public)))
	tcp, isTCP := ln.Addr().(*net.TCPAddr)
	if certs != nil {
		ln = certs.listen(ln)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.endPublic = cancel
	go func() {
		defer close(s.public)
		s.publicErr = api.Serve(ctx, ln, handler)
	}()
	s.startControl()
	if certs == nil && isTCP && !tcp.IP.IsLoopback() {
		log.Warn("listening beyond this machine without TLS: tokens can be read on the way", "addr", tcp.String())
	}
	return s
}

// startControl begins to serve on the control socket. It sets no timeouts for
// answers, because an import may take long and only the owner can connect.
func (s *service) startControl() {
	if s.controlLn == nil {
		return
	}
	s.control = &http.Server{
		Handler:           controlHandler(s.db, s.reload, s.log),
		ReadHeaderTimeout: controlTimeout,
		IdleTimeout:       controlTimeout,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	go func() { s.controlEnded <- s.control.Serve(s.controlLn) }()
}

// controlTimeout bounds the wait for the header of a request on the control socket.
const controlTimeout = 10 * time.Second

// wait returns when the service is to end or can't go on. It returns the error of
// the control server; stop returns that of the public server.
func (s *service) wait(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case <-s.public:
			return nil
		case err := <-s.controlEnded:
			return err
		case <-ctx.Done():
			return nil
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return nil
			}
			if err := s.reload(); err != nil {
				s.log.Error("reload failed: what could not be read stays as it was", "error", err)
			} else {
				s.log.Info("reloaded")
			}
		}
	}
}

// stop waits for the running requests, at most as long as the configuration says,
// and closes the catalog.
func (s *service) stop() error {
	timeout := s.config.shutdownTimeout
	s.log.Info("shutting down", "timeout", timeout.String())
	s.admin.ends()
	s.requests.endBy(time.Now().Add(timeout))
	s.endPublic()
	all := s.stopControl(timeout)
	<-s.public
	all = errors.Join(s.publicErr, all)
	if s.requests.late() {
		all = errors.Join(all, errCut(timeout))
	}
	// The socket goes before the file is closed: from then on the next server may
	// put its own socket there.
	all = errors.Join(all, s.controlLn.remove(), s.db.close())
	if all == nil {
		s.log.Info("stopped")
	}
	return all
}

func (s *service) stopControl(timeout time.Duration) error {
	if s.control == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := s.control.Shutdown(ctx); err != nil {
		return errors.Join(errCut(timeout), s.control.Close())
	}
	return nil
}

func errCut(timeout time.Duration) error {
	return fmt.Errorf("requests were still running after %v and were cut off", timeout)
}

// requests counts the requests of users that a server answers, and finds out whether
// the end of the server cut some off. Requests without a login don't count: a client
// that nobody knows must not make the end look like a failure.
type requests struct {
	running atomic.Int64
	ended   atomic.Int64 // requests that ended too late
	end     atomic.Pointer[time.Time]
}

// begin counts a request until the returned function is called.
func (q *requests) begin() (done func()) {
	q.running.Add(1)
	return func() {
		if end := q.end.Load(); end != nil && !time.Now().Before(*end) {
			q.ended.Add(1)
		}
		q.running.Add(-1)
	}
}

// endBy sets the time by which requests must end.
func (q *requests) endBy(end time.Time) { q.end.Store(&end) }

// late reports whether requests did not end in time. It is called when the server
// has ended.
func (q *requests) late() bool { return q.running.Load() > 0 || q.ended.Load() > 0 }
