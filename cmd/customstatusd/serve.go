package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter/loginlimit"
)

func (p *process) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   serveName,
		Short: "Serve the catalog over HTTP (the default)",
		Long: `Serves the custom-user-status endpoints of Rocket.Chat's REST API from the database.
If the database does not exist, serve makes it. With --store, several servers can
share a catalog; see "customstatusd help stores".

GET /healthz/live answers 200 while the process answers at all, for a supervisor that
restarts it. GET /healthz is for a load balancer. It answers 200 while writes can
succeed, and 503 otherwise. The body of a 503 says why: "writes fail" if the last write
failed or the file is not in its place, "restart needed" if the file must be opened again
and the server could not do so.
After a write that failed, the health check tries at most every 5 seconds whether
the disk has room again. It makes a sparse file beside the database, a little longer
than the database, writes 64 KiB to it, and removes it. So 200 then says that a write
should succeed, not that a write has succeeded. Over a shared store, the check
writes nothing: it only asks whether the store can be reached. If the store itself has
refused the last write, because its disk is full or because a newer version has written
there, the check answers 503 until a write succeeds, or 5 minutes have passed since the
check saw a write fail, so that writes are tried again. A 503 can then also say "reads are
late", and has a "since". Lists are answered from memory all the same.

If there is no tokens file, the first start makes one with one user and prints the
credentials once. With --credentials-file it writes them to a file of mode 0600 instead,
as the two headers that a client sends. A file of earlier credentials is replaced, and
no other file. Only a hash of the token is kept. "token add" makes more tokens. If
the tokens file vanishes or can't be read while the server runs, the tokens that were
read last stay valid until the file can be read again or the server ends. The log says
so, and the answer of /healthz has a "warning".

The page at / is for admins: it shows the statuses, and creates, edits, deletes, imports
and exports them. People sign in there with a user id and a token. With --console
read-only the page changes nothing, but a token that may write still can.

A browser can exchange its token for a session. POST /session with the JSON object
{"userId":"...","authToken":"..."} sets a cookie that scripts can't read; GET /session
tells whose it is; DELETE /session ends it. A session also ends with its token, and
after --session-time. A file beside the database, whose name ends in .sessions, keeps
hashes of the sessions, so that they survive a restart.

Only one process can hold the database. The other commands reach the server that
holds it by a socket beside the database, whose name ends in .sock. Only its owner
can use the socket. If the database is replaced while the server runs, a second server
does not start there before the first has ended.

The log has a line for each request. It names the user, and the status that a write
was about. It never has queries, headers or bodies. A part of a path that is longer
than 20 bytes and no endpoint's name could be a token, so the log leaves it out.

When more logins from an address fail than --max-failed-logins allows, further failures
are answered after a second. If too many wait, their connections are cut. Valid
credentials are never delayed, also from that address.

--admin-addr HOST:PORT opens a listener for the operator, without a login, that is for
this machine only unless HOST says otherwise. GET /metrics is for Prometheus. GET /readyz
answers as /healthz does, and also 503 while the server starts or ends, and while a shared
store can't be reached. --admin-pprof adds Go's profiles under /debug/pprof/.

SIGTERM and SIGINT end the server after it has answered the running requests. A
second signal ends it at once. A signal within a second of the first counts as the
first. SIGHUP makes the server read the tokens and the TLS certificate again.

Exit codes: 0 after SIGTERM or SIGINT; 1 if the server can't start, if requests of
users did not end in time, or after the second signal; 2 for a bad command line.`,
		Args: arguments(0, 0),
	}
	config := addServeConfig(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := config.check(); err != nil {
			return err
		}
		return p.serve(cmd.Context(), config)
	}
	return cmd
}

type serveConfig struct {
	addr, prefix     string
	store            address
	tokens           string
	rules            *customstatus.Rules
	metadata         bool
	tlsCert, tlsKey  string
	clientAddrHeader string
	maxFailedLogins  int
	credentials      string
	lockTimeout      time.Duration
	storeTimeout     time.Duration
	browsers         browserConfig
	admin            adminConfig
	console          string // one of the modes
	shutdownTimeout  time.Duration
	logFormat        string
	logLevel         slog.Level
}

// addServeConfig declares the flags of serve, all of which have an environment
// variable. The configuration is complete when
// the flags have been read.
func addServeConfig(cmd *cobra.Command) *serveConfig {
	c := new(serveConfig)
	flags := cmd.Flags()
	addAddr(cmd, &c.addr)
	flags.StringVar(&c.prefix, "prefix", "/api/v1/", "the `PATH` under which the endpoints are")
	flags.BoolVar(&c.metadata, "metadata", false, "show the metadata of statuses on the wire, and let create and update\nchange it; Rocket.Chat's clients may not expect it")
	flags.StringVar(&c.tlsCert, "tls-cert", "", "serve HTTPS with the certificate in the PEM `FILE`")
	flags.StringVar(&c.tlsKey, "tls-key", "", "the PEM `FILE` with the certificate's private key")
	flags.StringVar(&c.clientAddrHeader, "client-addr-header", "", "the `HEADER` in which a proxy names the client's address; the default\nis the address of the connection")
	flags.IntVar(&c.maxFailedLogins, "max-failed-logins", loginlimit.DefaultFailures, "the `NUMBER` of logins from one address that may fail within one to two\nminutes before further failures are answered late; 0 is no limit")
	flags.StringVar(&c.credentials, "credentials-file", "", "the `FILE`, of mode 0600, that the first start writes its credentials to,\ninstead of printing them")
	flags.DurationVar(&c.lockTimeout, "lock-timeout", 0, "the `DURATION`, such as 1m, to wait for an address and a database that another process\nholds, such as the server that this one replaces")
	flags.DurationVar(&c.storeTimeout, "store-timeout", 30*time.Second, "the `DURATION` to try again at the start if a shared store can't be reached")
	c.browsers.declare(flags)
	c.admin.declare(flags)
	c.console = consoleOn
	addChoice(cmd, &c.console, "console", "the admin page at /, in a `MODE`: on, read-only or off; without sessions of\nbrowsers it is off", consoleOn, consoleReadOnly, consoleOff)
	flags.DurationVar(&c.shutdownTimeout, "shutdown-timeout", 30*time.Second, "the `DURATION`, such as 30s, that running requests get to end")
	c.logFormat = "text"
	addChoice(cmd, &c.logFormat, "log-format", "the `FORMAT` of the log on standard error: text or json", "text", "json")
	flags.TextVar(&c.logLevel, "log-level", slog.LevelInfo, "the lowest `LEVEL` to log: debug, info, warn or error")
	flags.Lookup("log-level").DefValue = "info" // as the flag's help spells the levels
	allow(cmd, "log-level", "debug", "info", "warn", "error")
	flags.VisitAll(fromEnvironment)
	addStore(cmd, &c.store)
	addTokensFile(cmd, &c.tokens)
	c.rules = addRules(cmd)
	return c
}

// check returns an error if the flags don't go together.
func (c *serveConfig) check() error {
	switch {
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return usagef("--tls-cert and --tls-key go together")
	case (&url.URL{Path: c.prefix}).EscapedPath() != c.prefix:
		// The address that the first start prints would be none.
		return usagef("--prefix %q has characters other than letters, digits and -._~/:@&=+$,;", c.prefix)
	case c.maxFailedLogins < 0:
		return usagef("--max-failed-logins is negative; 0 is no limit")
	case c.lockTimeout < 0:
		return usagef("--lock-timeout is negative")
	case c.storeTimeout < 0:
		return usagef("--store-timeout is negative")
	case c.shutdownTimeout < 0:
		return usagef("--shutdown-timeout is negative")
	case c.store.shared() && c.tokens == "":
		return usagef("a shared store needs --tokens FILE, with the same tokens for every server")
	}
	if err := checkRules(c.rules); err != nil {
		return err
	}
	if err := c.browsers.check(); err != nil {
		return err
	}
	if err := c.admin.check(); err != nil {
		return err
	}
	if _, _, err := net.SplitHostPort(c.addr); err != nil {
		return usagef("--addr: %v", err)
	}
	return nil
}

// sessionsBeside returns what the file of the sessions is beside: the database, or for a
// shared store the tokens file.
func (c *serveConfig) sessionsBeside(db *localDatabase) string {
	if db.shared != nil {
		return strings.TrimSuffix(c.tokens, ".tokens")
	}
	return db.path
}

// failedLogins returns the limit as package loginlimit takes it.
func (c *serveConfig) failedLogins() int {
	if c.maxFailedLogins == 0 {
		return -1
	}
	return c.maxFailedLogins
}

func (c *serveConfig) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.logLevel}
	if c.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func (p *process) serve(ctx context.Context, config *serveConfig) error {
	// The server goes on when nobody reads its log any more.
	signal.Ignore(syscall.SIGPIPE)
	log := config.logger(p.stderr)
	err := p.serveWith(ctx, config, log)
	if err != nil && config.logFormat == "json" {
		log.Error("failed", "error", err)
		return errReported
	}
	return err
}

// errSecondSignal is returned when a second signal ends the server at once.
var errSecondSignal = errors.New("ended at once by a second signal")

// serveWith serves until a signal or ctx ends the server, and then shuts down in
// order.
func (p *process) serveWith(ctx context.Context, config *serveConfig, log *slog.Logger) error {
	// Before the first file is made, so that a signal ends the start in order.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	starting, started := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer started()

	certs, err := loadCertificate(config.tlsCert, config.tlsKey)
	if err != nil {
		return err
	}
	stopped := func(err error) error {
		if starting.Err() != nil && errors.Is(err, context.Canceled) {
			log.Info("stopped before listening")
			return nil
		}
		return err
	}
	// The port comes first: if it is in use, no file is made.
	replaced := replacing{until: time.Now().Add(config.lockTimeout), timeout: config.lockTimeout, log: log}
	ln, err := replaced.listen(starting, "--addr", config.addr)
	if err != nil {
		return stopped(err)
	}
	defer ln.Close() // for the errors below; the server closes it, too
	admin, err := listenAdmin(starting, config, replaced)
	if err != nil {
		return stopped(err)
	}
	defer admin.close()
	options := customstatus.Options{Rules: *config.rules, Logger: log, Observer: admin.observer()}
	db, control, err := openServed(starting, config, options, replaced)
	if err != nil {
		return stopped(err)
	}
	closeDB := func() error { return errors.Join(control.remove(), db.close()) }
	log.Debug("opened", "db", config.store.String())
	tokens, err := p.readyTokens(starting, config, ln.Addr(), log)
	if starting.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		log.Info("stopped before listening")
		return closeDB()
	}
	if err != nil {
		return errors.Join(err, closeDB())
	}
	started() // wait takes the signals from here on

	s := start(config, log, ln, certs, db, control, tokens, admin)
	log.Info("listening", "addr", ln.Addr().String(), "url", config.url(ln.Addr()),
		"db", config.store.String(), "revision", uint64(db.catalog.Revision()))
	failed := s.wait(ctx, signals)

	ended := make(chan error, 1)
	go func() { ended <- s.stop() }()
	return errors.Join(failed, awaitStop(ended, signals))
}

// readyTokens returns the tokens. The first start makes one, and prints it with the
// address at which it is valid.
func (p *process) readyTokens(ctx context.Context, config *serveConfig, addr net.Addr, log *slog.Logger) (*tokenFile, error) {
	at, err := tokensPlace(config.tokens, config.store)
	if err != nil {
		return nil, err
	}
	err = makeFirstToken(ctx, at, func(made newToken) error {
		if config.credentials != "" {
			if credentials, err := findPlace(config.credentials); err != nil {
				return fmt.Errorf("--credentials-file: %w", err)
			} else if credentials.path == at.path || credentials.path == at.path+lockEnding {
				return fmt.Errorf("--credentials-file: %s is the tokens file or its lock", config.credentials)
			}
			if err := writeCredentials(config.credentials, at.path, made); err != nil {
				return err
			}
			log.Info("this is the first start, so there are new credentials", "file", config.credentials)
			return nil
		}
		return config.welcome(p.stdout, addr, at.given, made)
	})
	if err != nil {
		return nil, err
	}
	return openTokens(at, log)
}

// writeCredentials writes the credentials of a first start to a file that only its owner
// can read. A kill before the tokens file exists leaves credentials that are not valid, so
// the next start replaces them. It replaces nothing else, whatever the path.
func writeCredentials(path, tokens string, made newToken) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("--credentials-file: %s is not a regular file", path)
	}
	old, err := readNamed(path)
	switch {
	case err == nil && len(headerLines.FindSubmatch(old)) == 0:
		return fmt.Errorf("--credentials-file: %s: %w, and has no credentials of an earlier start", path, fs.ErrExist)
	case err == nil:
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("--credentials-file: %w", err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--credentials-file: %w", err)
	}
	directory, err := os.Stat(filepath.Dir(tokens))
	if err == nil {
		err = writeFileLike(path, false, directory, func(w io.Writer) error {
			_, err := io.WriteString(w, made.headers())
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("--credentials-file: %w", err)
	}
	return nil
}

// headerLines matches the whole text of a newToken's headers.
var headerLines = regexp.MustCompile(`^X-User-Id: \S+\nX-Auth-Token: \S+\n$`)

// openServed opens the database for a server, and the control socket beside a file. The
// socket is nil, which the log says, if something else is in its place.
func openServed(ctx context.Context, config *serveConfig, opts customstatus.Options, replaced replacing) (*localDatabase, *controlListener, error) {
	if config.store.shared() {
		db, err := openReachable(ctx, config, opts)
		return db, nil, err
	}
	pl, err := findPlace(config.store.path)
	if err != nil {
		return nil, nil, err
	}
	if _, err := os.Stat(pl.path); errors.Is(err, fs.ErrNotExist) {
		// No new file in the place of one that another server holds.
		if err := noServer(ctx, controlPath(pl.path)); err != nil {
			return nil, nil, err
		}
	}
	if err := ownDatabase(pl.path); err != nil {
		return nil, nil, err
	}
	db, err := replaced.open(ctx, pl, opts)
	if err != nil {
		return nil, nil, err
	}
	// Another user may have been faster where there was no file.
	if err := ownDatabase(pl.path); err != nil {
		return nil, nil, errors.Join(err, db.close())
	}
	control, err := listenControl(ctx, controlPath(pl.path))
	if errors.Is(err, errOtherServer) || ctx.Err() != nil {
		return nil, nil, errors.Join(err, ctx.Err(), db.close())
	}
	if err != nil {
		replaced.log.Warn("no control socket: import, export and backup do not work while the server runs", "error", err)
	}
	return db, control, nil
}

// sameSignal is how long a further signal counts as the first one. A supervisor
// such as timeout signals the process and then its process group.
const sameSignal = time.Second

// awaitStop returns the result of stop, or errSecondSignal if a second signal comes
// first. It is called when the first signal has come.
func awaitStop(stopped <-chan error, signals <-chan os.Signal) error {
	first := time.Now()
	for {
		select {
		case err := <-stopped:
			return err
		case sig := <-signals:
			if sig != syscall.SIGHUP && time.Since(first) >= sameSignal {
				return errSecondSignal
			}
		}
	}
}

// clientAddr returns the address of a client: that of the connection, or that in
// the proxy's header if the configuration names one.
func (c *serveConfig) clientAddr(r *http.Request) string {
	if c.clientAddrHeader != "" {
		// A proxy appends the address that it sees to what the client sent.
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

// shellQuote quotes s for a POSIX shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
