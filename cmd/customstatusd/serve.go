package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// The limits on a connection. They bound what a client that is slow, or does
// not mean well, can hold on to.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

const healthPath = "/healthz"

func serveCommand() command {
	return command{
		name: "serve", summary: "serve the catalog over HTTP (the default)",
		about: `Serves the custom-user-status endpoints of Rocket.Chat's REST API from the
database, which it makes if there is none. GET /healthz answers 200 while it does.

If there is no tokens file, the first start makes one with a user and prints the
credentials once; only a hash of the token is kept. "token add" makes more.

Only one process can hold the database. The other commands reach the server that
does by the socket beside it (its path and .sock), which only the owner can use.

SIGTERM and SIGINT end it when the running requests are answered, a second one at
once. SIGHUP reads the tokens and the TLS certificate again.

Exit codes: 0 after SIGTERM or SIGINT; 1 if it can't start, if requests did not
end in time, or on the second signal; 2 for a bad command line.`,
		run: (*process).serve,
	}
}

type serveConfig struct {
	addr, prefix       string
	path, tokens       string
	statusTypeOptional bool
	tlsCert, tlsKey    string
	clientAddrHeader   string
	shutdownTimeout    time.Duration
	logFormat          string
	logLevel           slog.Level
}

func (cl *commandLine) serveConfig() (*serveConfig, error) {
	c := new(serveConfig)
	cl.StringVar(&c.addr, "addr", "127.0.0.1:3000", "the `HOST:PORT` to listen on; port 0 is any that is free")
	cl.StringVar(&c.prefix, "prefix", "/api/v1/", "the `PATH` that the endpoints are under")
	path, tokens := cl.file(), cl.tokensFile()
	cl.BoolVar(&c.statusTypeOptional, "status-type-optional", false, statusTypeOptionalUsage)
	cl.StringVar(&c.tlsCert, "tls-cert", "", "serve HTTPS with the certificate in the PEM `FILE`")
	cl.StringVar(&c.tlsKey, "tls-key", "", "the PEM `FILE` with the certificate's private key")
	cl.StringVar(&c.clientAddrHeader, "client-addr-header", "", "the `HEADER` in which a proxy in front names the client's address; without\n        it, the address is that of the connection")
	cl.DurationVar(&c.shutdownTimeout, "shutdown-timeout", 30*time.Second, "how long running requests may take to end, a `DURATION` like 30s")
	cl.StringVar(&c.logFormat, "log-format", "text", "the `FORMAT` of the log on standard error: text or json")
	cl.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "the least `LEVEL` to log: debug, info, warn or error")
	cl.Lookup("log-level").DefValue = "info" // as the flag's help spells the levels
	if err := cl.parse(0, 0); err != nil {
		return nil, err
	}
	c.path, c.tokens = *path, tokensPath(*tokens, *path)
	switch {
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return nil, usagef("serve: --tls-cert and --tls-key go together")
	case c.logFormat != "text" && c.logFormat != "json":
		return nil, usagef("serve: --log-format %q is neither text nor json", c.logFormat)
	case c.shutdownTimeout < 0:
		return nil, usagef("serve: --shutdown-timeout is negative")
	}
	if _, _, err := net.SplitHostPort(c.addr); err != nil {
		return nil, usagef("serve: --addr: %v", err)
	}
	return c, nil
}

func (c *serveConfig) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.logLevel}
	if c.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func (p *process) serve(ctx context.Context, cl *commandLine) error {
	config, err := cl.serveConfig()
	if err != nil {
		return err
	}
	// A reader of the log that goes away must not take the server with it.
	signal.Ignore(syscall.SIGPIPE)
	log := config.logger(p.stderr)
	err = p.serveWith(ctx, config, log)
	if err != nil && config.logFormat == "json" {
		log.Error("failed", "error", err)
		return errReported
	}
	return err
}

// errSecondSignal says that the server was told twice to end.
var errSecondSignal = errors.New("ended at once by a second signal")

// serveWith serves until it is told to end, and then ends in order.
func (p *process) serveWith(ctx context.Context, config *serveConfig, log *slog.Logger) error {
	// Before anything is made: a signal from here on ends the start in order.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	starting, started := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer started()

	// A port that is in use must be found before a file is made.
	ln, err := net.Listen("tcp", config.addr)
	if err != nil {
		return err
	}
	defer ln.Close() // for the errors below; the server closes it, too
	certs, err := loadCertificate(config.tlsCert, config.tlsKey)
	if err != nil {
		return err
	}
	db, err := openLocal(starting, config.path, true, customstatus.Rules{StatusTypeOptional: config.statusTypeOptional})
	if err != nil {
		if starting.Err() != nil && errors.Is(err, context.Canceled) {
			log.Info("told to end before it listened")
			return nil
		}
		return err
	}
	log.Debug("opened", "db", config.path)
	first, err := makeFirstToken(config.tokens)
	if err != nil {
		return errors.Join(err, db.close())
	}
	// giveUp ends a start that nobody has got the first token of: the next one
	// must be the first again.
	giveUp := func(err error, stop func() error) error {
		if first != nil {
			err = errors.Join(err, os.Remove(config.tokens))
		}
		return errors.Join(err, stop())
	}
	tokens, err := openTokens(config.tokens, log)
	if err != nil {
		return giveUp(err, db.close)
	}
	if starting.Err() != nil {
		log.Info("told to end before it listened")
		return giveUp(nil, db.close)
	}
	started() // from here on, signals are for wait

	s := start(config, log, ln, certs, db, tokens)
	if first != nil {
		if err := config.welcome(p.stdout, ln.Addr(), first); err != nil {
			return giveUp(err, s.stop)
		}
	}
	log.Info("listening", "addr", ln.Addr().String(), "url", config.url(ln.Addr()),
		"db", config.path, "revision", uint64(db.catalog.Revision()))
	failed := s.wait(ctx, signals)

	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	for {
		select {
		case err := <-stopped:
			return errors.Join(failed, err)
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return errSecondSignal
			}
		}
	}
}

// service is a running server.
type service struct {
	config  *serveConfig
	log     *slog.Logger
	db      *localDatabase
	servers []*http.Server
	ended   chan error       // gets the error of a server that ends
	control *controlListener // nil if there is none
	reload  func() error
}

// start begins to serve on ln.
func start(config *serveConfig, log *slog.Logger, ln net.Listener, certs *certificate, db *localDatabase, tokens *tokenFile) *service {
	s := &service{
		config: config,
		log:    log,
		db:     db,
		ended:  make(chan error, 2),
		reload: func() error { return errors.Join(tokens.reload(), certs.reload()) },
	}
	adapter := httpadapter.New(db.catalog, &httpadapter.Options{
		Authenticator: tokens,
		Prefix:        config.prefix,
		Logger:        log,
		ClientAddr:    config.clientAddr,
	})
	public := newServer(logRequests(log, config.clientAddr, withHealth(db.store, adapter)), log)
	public.RegisterOnShutdown(adapter.EndStreams)
	s.servers = append(s.servers, public)
	if certs != nil {
		public.TLSConfig = &tls.Config{GetCertificate: certs.get}
		go func() { s.ended <- public.ServeTLS(ln, "", "") }()
	} else {
		go func() { s.ended <- public.Serve(ln) }()
	}

	if controlLn, err := listenControl(controlPath(config.path)); err != nil {
		log.Warn("no control socket: import, export and backup have to wait until the server ends", "error", err)
	} else {
		control := newServer(controlHandler(db, s.reload, log), log)
		control.ReadTimeout, control.WriteTimeout = 0, 0 // an import may take long
		s.control, s.servers = controlLn, append(s.servers, control)
		go func() { s.ended <- control.Serve(controlLn) }()
	}

	if tcp, ok := ln.Addr().(*net.TCPAddr); certs == nil && ok && !tcp.IP.IsLoopback() {
		log.Warn("listening beyond this machine without TLS: tokens can be read on the way", "addr", tcp.String())
	}
	return s
}

// newServer returns a server with all limits set.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            readHeaderTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeaderBytes,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		DisableGeneralOptionsHandler: true, // its answer is no JSON
	}
}

// wait returns nil when the service is told to end, or why it can't go on.
func (s *service) wait(ctx context.Context, signals <-chan os.Signal) error {
	for {
		select {
		case err := <-s.ended:
			return err
		case <-ctx.Done():
			return nil
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return nil
			}
			if err := s.reload(); err != nil {
				s.log.Error("reload: what could not be read stays as it was", "error", err)
			} else {
				s.log.Info("reloaded")
			}
		}
	}
}

// stop answers the requests that run, for as long as the configuration says,
// and closes the catalog.
func (s *service) stop() error {
	s.log.Info("shutting down", "timeout", s.config.shutdownTimeout.String())
	ctx, cancel := context.WithTimeout(context.Background(), s.config.shutdownTimeout)
	defer cancel()
	errs := make(chan error, len(s.servers))
	for _, server := range s.servers {
		go func() {
			err := server.Shutdown(ctx)
			if err != nil {
				err = errors.Join(fmt.Errorf("requests that still ran after %v were cut", s.config.shutdownTimeout), server.Close())
			}
			errs <- err
		}()
	}
	var all error
	for range s.servers {
		all = errors.Join(all, <-errs)
	}
	// The socket goes before the file is let go: the next server may put its
	// own there after that.
	if s.control != nil {
		all = errors.Join(all, s.control.remove())
	}
	all = errors.Join(all, s.db.close())
	if all == nil {
		s.log.Info("stopped")
	}
	return all
}

// withHealth answers the health check and leaves the rest to h. (A ServeMux
// would answer unclean paths by redirects in HTML.) A store that must be
// reopened is not healthy, for restarting the server is what helps, and neither is
// one whose file is gone.
func withHealth(store customstatus.Store, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != healthPath {
			h.ServeHTTP(w, r)
			return
		}
		status, body := http.StatusOK, `{"status":"ok"}`
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			status, body = http.StatusMethodNotAllowed, `{"success":false,"error":"Method not allowed"}`
		} else if _, err := store.Commit(r.Context(), nil); errors.Is(err, customstatus.ErrClosed) || errors.Is(err, customstatus.ErrNeedsReopen) {
			status, body = http.StatusServiceUnavailable, `{"status":"restart needed"}`
		} else if err != nil && r.Context().Err() == nil {
			status, body = http.StatusServiceUnavailable, `{"status":"writes fail"}`
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
}

// clientAddr returns the address of a client: the other end of the connection,
// or what the proxy there says if the configuration trusts it.
func (c *serveConfig) clientAddr(r *http.Request) string {
	if c.clientAddrHeader != "" {
		// A proxy adds the address it sees to what the client has sent.
		if values := r.Header.Values(c.clientAddrHeader); len(values) > 0 {
			last := values[len(values)-1]
			return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// url is where clients find the server that listens at addr.
func (c *serveConfig) url(addr net.Addr) string {
	scheme := "http"
	if c.tlsCert != "" {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	// A certificate is for a name, if there is one.
	if name, _, _ := net.SplitHostPort(c.addr); name != "" && net.ParseIP(name) == nil {
		host = name
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// welcome prints the credentials of the first start, and what to do with them.
func (c *serveConfig) welcome(w io.Writer, addr net.Addr, t *newToken) error {
	trust := ""
	if c.tlsCert != "" {
		trust = "  --cacert " + shellQuote(c.tlsCert) + " \\\n"
	}
	_, err := fmt.Fprintf(w, `This is the first start. These credentials are shown this once; only a hash of
the token is kept, in %s:

  X-User-Id: %s
  X-Auth-Token: %s

Make a status with them:

curl --location %s \
%s  --header 'X-User-Id: %[2]s' \
  --header 'X-Auth-Token: %[3]s' \
  --header 'Content-Type: application/json' \
  --data '{"name":"In a meeting","statusType":"busy"}'

`, c.tokens, t.userID, t.token, shellQuote(c.url(addr)+path.Join("/", c.prefix, "custom-user-status.create")), trust)
	return err
}

// shellQuote quotes s for a POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// certificate is a TLS certificate that can be replaced while it is in use.
type certificate struct {
	certFile, keyFile string
	current           atomic.Pointer[tls.Certificate]
}

// loadCertificate reads the files; without names it returns nil.
func loadCertificate(certFile, keyFile string) (*certificate, error) {
	if certFile == "" {
		return nil, nil
	}
	c := &certificate{certFile: certFile, keyFile: keyFile}
	return c, c.reload()
}

// reload reads the files again. If it can't, the certificate stays.
func (c *certificate) reload() error {
	if c == nil {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.current.Store(&cert)
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}
