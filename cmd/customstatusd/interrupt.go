package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// untilSignal returns a context that the first signal ends, so that a command can say
// what it has done. A second signal ends the process.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// interruptible is a reader that fails when its context ends. A pending read of r goes
// on after that: nothing else ends a read from a terminal.
type interruptible struct {
	ctx context.Context
	r   io.Reader
	own []byte // what r reads into, as the caller may use its buffer again
}

func (i *interruptible) Read(b []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	if len(i.own) < len(b) {
		i.own = make([]byte, len(b))
	}
	type result struct {
		n   int
		err error
	}
	done, own := make(chan result, 1), i.own[:len(b)]
	go func() {
		n, err := i.r.Read(own)
		done <- result{n, err}
	}()
	select {
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	case got := <-done:
		return copy(b, own[:got.n]), got.err
	}
}
