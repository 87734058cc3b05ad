package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// controlPath returns the path of the control socket for the database at path.
func controlPath(path string) string { return path + controlEnding }

// databasePath returns the path of the database for the control socket at path.
func databasePath(path string) string { return strings.TrimSuffix(path, controlEnding) }

const (
	controlEnding = ".sock"
	socketName    = "s" // of a socket that is not in its place yet
)

// maxSocketPath is the greatest length in bytes of a socket's path that every
// system accepts (macOS: 104 with the terminating zero).
const maxSocketPath = 103

// shortSocketPath returns a name for path that fits into a socket's address. The
// name may go through an open directory, which done closes.
func shortSocketPath(path string) (short string, done func(), err error) {
	done = func() {}
	if strings.HasPrefix(path, "@") {
		path = "./" + path // an @ in front would mean an abstract socket
	}
	if len(path) <= maxSocketPath {
		return path, done, nil
	}
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", done, err
	}
	short = fmt.Sprintf("/proc/self/fd/%d/%s", directory.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(short)); err != nil || len(short) > maxSocketPath {
		directory.Close()
		return "", done, fmt.Errorf("the path of the control socket is longer than %d bytes: %s", maxSocketPath, path)
	}
	return short, func() { directory.Close() }, nil
}

// controlListener listens on a control socket.
type controlListener struct {
	net.Listener
	path string
	made os.FileInfo // the socket
}

// errOtherServer is returned when another server listens where this one would.
var errOtherServer = errors.New("another server is running here")

// listenControl listens on the control socket at path. The caller holds the file that
// the socket belongs to. So a server that answers there has opened another file, which
// was in the place before: that is errOtherServer. A socket without a server is left
// from a crash, and is replaced. A file that is not a socket, or not trusted, is left
// alone. The socket gets its name when only the owner can use it.
func listenControl(ctx context.Context, path string) (*controlListener, error) {
	if there, err := os.Lstat(path); err == nil {
		if there.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("%s is in the way: it is not a socket", path)
		}
		if err := trusted(path, databasePath(path), there); err != nil {
			return nil, err
		}
	}
	if err := noServer(ctx, path); err != nil {
		return nil, err
	}
	sweepSockets(path)
	temp := temporaryPath(path)
	if err := os.Mkdir(temp, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	born := filepath.Join(temp, socketName)
	short, done, err := shortSocketPath(born)
	if err != nil {
		return nil, err
	}
	defer done()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	made, err := prepareSocket(born, filepath.Dir(path))
	if err == nil {
		err = os.Rename(born, path)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return &controlListener{ln, path, made}, nil
}

// prepareSocket gives a new socket its mode and, if this process is root's, the owner
// of the directory that it is for.
func prepareSocket(path, directory string) (os.FileInfo, error) {
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, err
	}
	info, err := os.Stat(directory)
	if err != nil {
		return nil, err
	}
	if uid, gid, ok := ownerOf(info); ok && os.Geteuid() == 0 && uid != 0 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return nil, err
		}
	}
	return os.Lstat(path)
}

// Accept returns the next connection of a user who may use the socket: who owns it,
// who runs the server, and root. Not all systems heed the mode of a socket.
func (l *controlListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		owner, _, known := ownerOf(l.made)
		if user, ok := peerUser(conn); !ok || !known || user == owner || user == os.Geteuid() || user == 0 {
			return conn, nil
		}
		conn.Close()
	}
}

// noServer returns errOtherServer if a server listens on the control socket at path.
func noServer(ctx context.Context, path string) error {
	conn, err := connect(ctx, path)
	if err == nil {
		conn.Close()
	}
	if err == nil || errors.Is(err, syscall.EAGAIN) { // many wait for it
		return fmt.Errorf("%w: it answers on %s, but has opened another file than the one at %s; stop that server first",
			errOtherServer, path, databasePath(path))
	}
	return nil
}

// untrusted is the error of a control socket that may be another user's.
type untrusted struct{ error }

func (e *untrusted) Unwrap() error { return e.error }

// connect connects to the control socket at path, if the socket and the process that
// listens are trusted.
func connect(ctx context.Context, path string) (net.Conn, error) {
	short, info, done, err := openSocket(path)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := trusted(path, databasePath(path), info); err != nil {
		return nil, &untrusted{err}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", short)
	if err != nil {
		return nil, err
	}
	if user, ok := peerUser(conn); ok {
		if err := trustedUser(path, databasePath(path), user); err != nil {
			conn.Close()
			return nil, &untrusted{err}
		}
	}
	return conn, nil
}

// remove closes the socket and removes it, unless something else has taken its place.
// Without a socket it does nothing.
func (l *controlListener) remove() error {
	if l == nil {
		return nil
	}
	_ = l.Close() // often it is closed already
	there, err := os.Lstat(l.path)
	if err == nil && unchanged(there, l.made) {
		err = os.Remove(l.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
