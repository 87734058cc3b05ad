// Command chatserver is a small chat server that embeds the catalog of custom
// user statuses, to show what embedding looks like.
//
// The server has everything of its own that a chat server has: accounts with
// passwords, login sessions, messages, a page for the browser. What it needs
// from the library is all in the file catalog.go: open the catalog, hand it the
// server's logins, mount its endpoints, and pass its changes on to the clients.
//
// Start it and open the address that it prints:
//
//	go run ./examples/chatserver
//
// The catalog and the accounts are kept in the directory chatserver-data; messages,
// logins and who has picked which status are kept in memory only.
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
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts := options{rounds: passwordRounds}
	flag.StringVar(&opts.addr, "addr", "127.0.0.1:3001", "`address` to listen on; port 0 takes a free one")
	flag.StringVar(&opts.data, "data", "chatserver-data", "`directory` of the catalog and the accounts; made if it does not exist")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "chatserver: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(ctx, opts, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chatserver:", err)
		os.Exit(1)
	}
}

type options struct {
	addr, data string
	rounds     int // see passwordRounds
}

// run serves until ctx is done, and returns when nothing runs any more.
func run(ctx context.Context, opts options, out io.Writer) (err error) {
	if err := os.MkdirAll(opts.data, 0o700); err != nil {
		return err
	}

	// Sessions live in this context, and every stream in that of its session:
	// ending it ends them all.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	s, err := newServer(ctx, opts.data, opts.rounds)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.firstStart(ctx, out, filepath.Join(opts.data, accountsFile)); err != nil {
		return err
	}

	listener, err := net.Listen("tcp", opts.addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "chatserver: open http://%s\n", listener.Addr())
	// Serve sets limits for all that a client can take its time for, and ends
	// in order when ctx is done.
	if err := s.endpoints.Serve(ctx, listener, s.handler()); err != nil {
		return err
	}
	fmt.Fprintln(out, "chatserver: stopped")
	return nil
}
