// Package pipenet is a network of pipes in memory. Unlike sockets, pipes let the
// clock of a testing/synctest bubble move on while their readers wait.
package pipenet

import (
	"context"
	"net"
	"sync"
)

// Listener is a [net.Listener] for connections of its own Dial. Several
// goroutines may use it at once.
type Listener struct {
	dialled chan net.Conn
	closed  chan struct{}
	close   func()
}

// Listen returns a new Listener.
func Listen() *Listener {
	closed := make(chan struct{})
	return &Listener{make(chan net.Conn), closed, sync.OnceFunc(func() { close(closed) })}
}

// Accept waits for a call of Dial. [net.ErrClosed] is returned after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialled:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial. It does not close connections.
func (l *Listener) Close() error {
	l.close()
	return nil
}

// Addr returns an address of the form of a TCP address.
func (l *Listener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
}

// Dial connects to the listener, whatever the network and the address. It fits
// the field DialContext of [net/http.Transport]. [net.ErrClosed] is returned
// after Close.
func (l *Listener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.dialled <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
