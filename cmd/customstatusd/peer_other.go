//go:build !linux

package main

import (
	"net"
	"os"
)

// peerUser does not know how this system names the user at the other end.
func peerUser(net.Conn) (uid int, ok bool) { return 0, false }

// openSocket returns a short name for the socket at path.
func openSocket(path string) (short string, info os.FileInfo, done func(), err error) {
	info, err = os.Lstat(path)
	if err != nil {
		return "", nil, nil, err
	}
	short, done, err = shortSocketPath(path)
	return short, info, done, err
}
