//go:build unix

package pgstore

import (
	"net"
	"syscall"
)

// ended reports whether the server has already ended an idle connection. To know
// that before a commit is sent leaves fewer outcomes unknown.
func ended(c net.Conn) bool {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS
		c = wrapped.NetConn()
	}
	raw, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := raw.SyscallConn()
	if err != nil {
		return true
	}
	var (
		first [1]byte
		n     int
		got   error
	)
	// Not rc.Read: pgx may have left a reader behind, for which that would wait.
	err = rc.Control(func(fd uintptr) {
		n, _, got = syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	switch {
	case err != nil:
		return true
	case got == syscall.EAGAIN || got == syscall.EWOULDBLOCK || got == syscall.EINTR:
		return false
	}
	// The last message of a server is an error. Others are notifications.
	return got != nil || n == 0 || first[0] == 'E'
}
