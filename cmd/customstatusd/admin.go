package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/customstatus/customstatus"
)

// adminConfig says where the operator's listener is and what it serves.
type adminConfig struct {
	addr  string // empty: there is none
	pprof bool
}

func (c *adminConfig) declare(flags *pflag.FlagSet) {
	flags.StringVar(&c.addr, "admin-addr", "", "the `HOST:PORT` for an operator's listener, which serves /metrics and\n/readyz without a login; without HOST it is 127.0.0.1; empty is no listener")
	flags.BoolVar(&c.pprof, "admin-pprof", false, "serve Go's profiles on the operator's listener, too, under /debug/pprof/")
}

func (c *adminConfig) check() error {
	if c.addr == "" {
		if c.pprof {
			return usagef("--admin-pprof needs --admin-addr")
		}
		return nil
	}
	if _, _, err := net.SplitHostPort(c.onThisMachine()); err != nil {
		return usagef("--admin-addr: %v", err)
	}
	return nil
}

// onThisMachine returns the address with 127.0.0.1 where it names no host. What asks for
// no login must not be open to everybody by an oversight.
func (c *adminConfig) onThisMachine() string {
	if strings.Trim(c.addr, "0123456789") == "" { // only a port
		return "127.0.0.1:" + c.addr
	}
	if strings.LastIndexByte(c.addr, ':') == 0 { // no host
		return "127.0.0.1" + c.addr
	}
	return c.addr
}

// The limits of the operator's listener.
const (
	adminTimeout    = 10 * time.Second // for headers and bodies
	profileTimeout  = 2 * time.Minute  // for answers
	profileMost     = 5 * time.Minute  // that a profile may last
	adminRequests   = 8                // at once
	adminProfiles   = 4                // at once, besides
	adminHeaders    = 16 << 10         // bytes
	adminLastAnswer = 250 * time.Millisecond
)

// admin is the operator's listener. All methods of a nil *admin do nothing.
type admin struct {
	exporter  *exporter
	server    *http.Server
	loopback  bool
	running   chan struct{} // has a value for each readiness check
	scraping  chan struct{} // has one for each scrape, so that none holds up a readiness check
	profiling chan struct{} // has one for each profile
	health    atomic.Pointer[health]
	ending    atomic.Bool
}

// listenAdmin begins to serve for the operator, before there is a catalog: a server may
// have to wait for its database. It returns nil if there is no such listener.
func listenAdmin(ctx context.Context, config *serveConfig, replaced replacing) (*admin, error) {
	if config.admin.addr == "" {
		return nil, nil
	}
	ln, err := replaced.listen(ctx, "--admin-addr", config.admin.onThisMachine())
	if err != nil {
		return nil, err
	}
	log := replaced.log
	a := &admin{running: make(chan struct{}, adminRequests), scraping: make(chan struct{}, adminRequests), profiling: make(chan struct{}, adminProfiles)}
	var revision func(context.Context) (customstatus.Revision, error)
	if config.store.shared() {
		revision = a.storeRevision
	}
	a.exporter = newExporter(revision, log)
	if tcp, ok := ln.Addr().(*net.TCPAddr); ok {
		a.loopback = tcp.IP.IsLoopback()
	}
	if !a.loopback {
		log.Warn("the operator's listener is open beyond this machine, and asks for no login", "addr", ln.Addr().String())
	}
	a.server = &http.Server{
		Handler:           a.handler(config.admin.pprof),
		ReadHeaderTimeout: adminTimeout,
		ReadTimeout:       adminTimeout,
		WriteTimeout:      profileTimeout,
		IdleTimeout:       profileTimeout,
		MaxHeaderBytes:    adminHeaders,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() {
		// The server goes on without its operator's listener.
		if err := a.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the operator's listener failed", "error", err)
		}
	}()
	log.Info("serving metrics", "addr", ln.Addr().String(), "pprof", config.admin.pprof)
	return a, nil
}

var errStarting = errors.New("the server is starting")

func (a *admin) storeRevision(ctx context.Context) (customstatus.Revision, error) {
	h := a.health.Load()
	if h == nil {
		return 0, errStarting
	}
	return h.db.shared.Revision(ctx)
}

// observer returns what the catalog is to be opened with.
func (a *admin) observer() *customstatus.Observer {
	if a == nil {
		return nil
	}
	return a.exporter.observer()
}

// measure returns a handler that counts and measures the requests to h.
func (a *admin) measure(h http.Handler) http.Handler {
	if a == nil {
		return h
	}
	return a.exporter.measure(h)
}

// show shows the catalog of a health check from now on.
func (a *admin) show(h *health) {
	if a != nil {
		a.exporter.show(h.db.catalog)
		a.health.Store(h)
	}
}

// ends makes the readiness check say that the server ends, so that no new clients come.
func (a *admin) ends() {
	if a != nil {
		a.ending.Store(true)
	}
}

// close ends the listener. Answers under way get a moment; a profile is cut.
func (a *admin) close() {
	if a == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), adminLastAnswer)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		_ = a.server.Close() // only the connections are left
	}
}

func (a *admin) handler(profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", atMost(a.scraping, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(adminTimeout)) // a client that doesn't read
		a.exporter.page.ServeHTTP(w, r)
	}))
	mux.Handle("GET /readyz", atMost(a.running, a.ready))
	if profiles {
		// Not pprof.Cmdline: the address of a store may have a password.
		mux.Handle("/debug/pprof/", atMost(a.profiling, notForEver(pprof.Index)))
		mux.Handle("/debug/pprof/profile", atMost(a.profiling, notForEver(pprof.Profile)))
		mux.Handle("/debug/pprof/trace", atMost(a.profiling, notForEver(pprof.Trace)))
		mux.Handle("/debug/pprof/symbol", atMost(a.profiling, pprof.Symbol))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.loopback && !isLocal(r.Host) {
			// A page whose host's name leads to this machine could read the answer.
			http.Error(w, "this listener is only for this machine, by its address or localhost", http.StatusForbidden)
			return
		}
		if r.ContentLength != 0 {
			// Otherwise net/http waits for a body that nobody wants, in the midst of an answer.
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}

// atMost refuses requests when places is full.
func atMost(places chan struct{}, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
			next(w, r)
		default:
			http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
		}
	})
}

// notForEver refuses profiles that last too long. The server's timeout doesn't end them:
// package pprof puts off the deadline by what is asked for.
func notForEver(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if text := r.FormValue("seconds"); text != "" {
			seconds, err := strconv.ParseFloat(text, 64)
			if err != nil || !(seconds <= profileMost.Seconds()) { // NaN is not, either
				http.Error(w, fmt.Sprintf("seconds is a number up to %v", profileMost.Seconds()), http.StatusBadRequest)
				return
			}
		}
		next(w, r)
	}
}

// isLocal reports whether the host of a request is localhost or an IP address.
func isLocal(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}

// What the readiness check says beyond what the health check does.
const (
	stillStarting    = "starting"
	shuttingDown     = "shutting down"
	storeUnreachable = "store unreachable"
)

// ready answers the readiness check: whether clients should come here. It is the health
// check, and it asks a shared store each time.
func (a *admin) ready(w http.ResponseWriter, r *http.Request) {
	h := a.health.Load()
	body := healthAnswer{Status: stillStarting}
	switch {
	case a.ending.Load():
		body.Status = shuttingDown
	case h != nil:
		body = h.answer()
		if body.Status == statusOK && h.db.shared != nil && h.probe(r.Context()) != nil {
			body.Status = storeUnreachable
		}
	}
	body.write(w)
}
