//go:build !unix

package pgstore

import "net"

// ended reports false: whether the connection has ended shows when it is used.
func ended(net.Conn) bool { return false }
