package main

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// peerUser returns the user of the process at the other end of a unix socket.
func peerUser(conn net.Conn) (uid int, ok bool) {
	unixConn, isUnix := conn.(*net.UnixConn)
	if !isUnix {
		return 0, false
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return 0, false
	}
	var peer *unix.Ucred
	if err := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || peer == nil {
		return 0, false
	}
	return int(peer.Uid), true
}

// openSocket returns a short name for the socket at path, which leads to the same
// socket until done is called, whatever is at the path then.
func openSocket(path string) (short string, info os.FileInfo, done func(), err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	file := os.NewFile(uintptr(fd), path)
	info, err = file.Stat()
	if err != nil {
		file.Close()
		return "", nil, nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), info, func() { file.Close() }, nil
}
