// Command chatserver is a small chat server that embeds the catalog of custom
// user statuses, to show what embedding looks like.
//
// The server has what every chat server has: accounts with passwords, login sessions,
// messages, and a page for the browser, whose login is a cookie. The file catalog.go does
// everything with the library: it opens the catalog, gives the adapter the server's
// logins, mounts the endpoints, and passes changes on to the clients.
//
// Start it and open the address that it prints:
//
//	go run ./examples/chatserver
//
// The directory chatserver-data holds the catalog and the accounts. Messages, logins
// and the picked statuses are in memory only.
//
// Several servers share a catalog if -store names a PostgreSQL database or an etcd
// cluster. Each has people and messages of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts := options{listen: net.Listen, rounds: passwordRounds}
	flag.StringVar(&opts.addr, "addr", "127.0.0.1:3001", "`address` to listen on; port 0 takes a free one")
	flag.StringVar(&opts.data, "data", "chatserver-data", "`directory` of the accounts, for one server; made if it does not exist")
	flag.StringVar(&opts.store, "store", "", "`store` of the catalog: bolt:PATH, postgres://USER@HOST:PORT/DATABASE or etcd://HOST:PORT,HOST:PORT\n"+
		"(default $"+storeVariable+", or else statuses.db in the directory of the accounts)")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "chatserver: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if hasPassword(opts.store) {
		fmt.Fprintln(os.Stderr, "chatserver: every user of this machine could read the password in -store; put it into $PGPASSWORD, or the store into $"+storeVariable)
		os.Exit(2)
	}
	if opts.store == "" {
		opts.store = os.Getenv(storeVariable)
	}
	if err := run(ctx, opts, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chatserver:", err)
		os.Exit(1)
	}
}

// storeVariable is the environment variable with the store, which may have a password.
const storeVariable = "CUSTOMSTATUS_STORE"

// hasPassword reports whether the address of a store has a password.
func hasPassword(address string) bool {
	_, rest, _ := strings.Cut(address, "://")
	authority, _, _ := strings.Cut(rest, "/")
	end := strings.LastIndexByte(authority, '@')
	return end >= 0 && strings.Contains(authority[:end], ":") || strings.Contains(rest, "password=")
}

type options struct {
	addr, data string
	store      string // empty: a file in the directory data
	listen     func(network, address string) (net.Listener, error)
	rounds     int // see passwordRounds
}

// run serves until ctx is done. It returns when everything that it
// started has ended.
func run(ctx context.Context, opts options, out io.Writer) (err error) {
	if err := os.MkdirAll(opts.data, 0o700); err != nil {
		return err
	}

	// Each session's context is below this one, and each stream's is below its
	// session's: the end of this context ends them all.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	s, err := newServer(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.firstStart(ctx, out, filepath.Join(opts.data, accountsFile)); err != nil {
		return err
	}

	listener, err := opts.listen("tcp", opts.addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "chatserver: open http://%s\n", listener.Addr())
	// Serve sets timeouts for what clients do, and shuts down in order when ctx is
	// done.
	if err := s.endpoints.Serve(ctx, listener, s.handler()); err != nil {
		return err
	}
	fmt.Fprintln(out, "chatserver: stopped")
	return nil
}
