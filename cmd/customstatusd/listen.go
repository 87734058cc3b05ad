package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path"
	"syscall"
	"time"

	"github.com/customstatus/customstatus"
)

// replacing is how long a start waits for the server that it replaces.
type replacing struct {
	until   time.Time
	timeout time.Duration
	log     *slog.Logger
}

const listenAgain = 50 * time.Millisecond

// listen listens on the address that a flag names, and waits while another process does.
func (r replacing) listen(ctx context.Context, flag, addr string) (net.Listener, error) {
	for waits := 0; ; waits++ {
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			return ln, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || !time.Now().Before(r.until) {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		if waits == 0 {
			r.log.Info("waiting for the process that holds the address", "addr", addr, "timeout", r.timeout.String())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(listenAgain):
		}
	}
}

// open opens the database for a server, and waits while another process holds it.
func (r replacing) open(ctx context.Context, pl place, opts customstatus.Options) (*localDatabase, error) {
	for waits := 0; ; waits++ {
		// Each try waits for half a second.
		db, err := openLocal(ctx, pl, true, opts)
		if !errors.Is(err, customstatus.ErrLocked) || !time.Now().Before(r.until) {
			return db, err
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if waits == 0 {
			r.log.Info("waiting for the process that holds the database", "db", pl.path, "timeout", r.timeout.String())
		}
	}
}

// url returns the URL at which clients reach the server that listens at addr.
func (c *serveConfig) url(addr net.Addr) string {
	scheme := "http"
	if c.tlsCert != "" {
		scheme = "https"
	}
	host, port, _ := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	// A certificate is for the name, if the configuration has one.
	if name, _, _ := net.SplitHostPort(c.addr); name != "" && net.ParseIP(name) == nil {
		host = name
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// welcome prints the credentials of the first start, and a command that uses them.
func (c *serveConfig) welcome(w io.Writer, addr net.Addr, tokens string, t newToken) error {
	next, trust := "Create a status with them:", ""
	if c.hasConsole() {
		next = "Sign in with them at " + c.url(addr) + " or create a status:"
	}
	if c.tlsCert != "" {
		trust = "  --cacert " + shellQuote(c.tlsCert) + " \\\n"
	}
	_, err := fmt.Fprintf(w, `This is the first start. The credentials are shown only this once, because only a
hash of the token is kept, in %s:

  X-User-Id: %s
  X-Auth-Token: %s

%[6]s

curl --location %[4]s \
%[5]s  --header 'X-User-Id: %[2]s' \
  --header 'X-Auth-Token: %[3]s' \
  --header 'Content-Type: application/json' \
  --data '{"name":"In a meeting","statusType":"busy"}'

`, tokens, t.userID, t.token, shellQuote(c.url(addr)+path.Join("/", c.prefix, "custom-user-status.create")), trust, next)
	return err
}
