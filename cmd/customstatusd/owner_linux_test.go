package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// nobody is a user who is not root.
const nobody = 65534

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("files of other users can only be made by root: owners are NOT tested")
	}
}

// directoryOf returns a new directory that belongs to the user.
func directoryOf(t *testing.T, uid int, mode os.FileMode) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chown(dir, uid, uid))
	require.NoError(t, os.Chmod(dir, mode))
	return dir
}

func requireOwner(t *testing.T, path string, uid int, mode os.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	owner, group, ok := ownerOf(info)
	require.True(t, ok)
	require.Equal(t, []int{uid, uid}, []int{owner, group}, path)
	require.Equal(t, mode, info.Mode().Perm(), path)
}

// What root writes for the service of another user belongs to that user.
func TestRootKeepsOwners(t *testing.T) {
	needRoot(t)
	dir := directoryOf(t, nobody, 0o700)
	db := filepath.Join(dir, "x.db")
	cli(t, "import", "--db", db, line(t, "a"))
	requireOwner(t, db, nobody, 0o600)
	tokens := filepath.Join(dir, "x.tokens")
	cli(t, "token", "add", "--db", db, "--user", "alice")
	requireOwner(t, tokens, nobody, 0o600)
	requireOwner(t, tokens+".lock", nobody, 0o600)

	// So does a file that root replaces, with its mode.
	require.NoError(t, os.Chown(tokens, 7, 7))
	require.NoError(t, os.Chmod(tokens, 0o640))
	cli(t, "token", "revoke", "--db", db, "--user", "alice")
	requireOwner(t, tokens, 7, 0o640)
	out := filepath.Join(dir, "out.jsonl")
	require.NoError(t, os.WriteFile(out, nil, 0o644))
	require.NoError(t, os.Chown(out, nobody, nobody))
	cli(t, "export", "--force", "--db", db, out)
	requireOwner(t, out, nobody, 0o644)
	saved := filepath.Join(dir, "saved.db")
	cli(t, "salvage", "--db", db, saved)
	requireOwner(t, saved, nobody, 0o600)

	whileServing(t, db, func() { requireOwner(t, controlPath(db), nobody, 0o600) })

	// A new file that is not the service's stays root's.
	backup := filepath.Join(dir, "backup.db")
	cli(t, "backup", "--db", db, backup)
	requireOwner(t, backup, 0, 0o600)
}

// A user who can't keep the owner of a file does not replace it.
func TestOwnerThatCannotBeKept(t *testing.T) {
	needRoot(t)
	dir := directoryOf(t, nobody, 0o777)
	path := filepath.Join(dir, "x")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o666))
	asUser(t, nobody, func() {
		require.ErrorContains(t, writeFile(path, true, text("new")), "x belongs to user 0 and group 0, which its replacement can't keep")
	})
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(kept))
	require.Equal(t, []string{"x"}, names(t, dir))
}

// asUser calls do with the rights of a user. Do must not start goroutines.
func asUser(t *testing.T, uid int, do func()) {
	t.Helper()
	runtime.LockOSThread() // and never unlocked if the user can't be changed back
	become := func(uid int) {
		_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0))
		require.Zero(t, errno)
	}
	become(uid)
	defer func() {
		become(0)
		runtime.UnlockOSThread()
	}()
	do()
}

// In a directory where all users can make files, those of other users are refused and
// named.
func TestFilesOfOthersAreNotTrusted(t *testing.T) {
	needRoot(t)
	fails := func(t *testing.T, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		require.Equal(t, exitFailure, run(t.Context(), args, strings.NewReader(""), &out, &errs, noEnv), "%q: %s", args, out.String())
		require.Empty(t, out.String())
		return errs.String()
	}
	const theirs = "is not trusted: it belongs to user 65534, and its directory is open to all users"
	for name, tt := range map[string]struct {
		uid    int
		mode   os.FileMode
		reason string
	}{
		"owner": {nobody, 0o600, theirs},
		"mode":  {0, 0o666, "is not trusted: other users may write it (mode -rw-rw-rw-), and its directory is open to all users"},
	} {
		for _, ending := range []string{".tokens", ".tokens.lock"} {
			t.Run(name+" of x"+ending, func(t *testing.T) {
				dir := directoryOf(t, 0, 0o1777)
				db, path := filepath.Join(dir, "x.db"), filepath.Join(dir, "x"+ending)
				if ending == ".tokens" {
					cli(t, "token", "add", "--db", db)
				} else {
					require.NoError(t, os.WriteFile(path, nil, 0o600))
				}
				require.NoError(t, os.Chown(path, tt.uid, tt.uid))
				require.NoError(t, os.Chmod(path, tt.mode))
				require.Contains(t, fails(t, "token", "add", "--db", db), "x"+ending+" "+tt.reason)
				require.Contains(t, fails(t, "serve", "--db", db, "--addr", "127.0.0.1:0"), "x"+ending+" "+tt.reason)

				require.NoError(t, os.Chmod(dir, 0o755))
				cli(t, "token", "add", "--db", db)
			})
		}
	}
	t.Run("root beside the service of a user, in a directory that is open to all", func(t *testing.T) {
		dir := directoryOf(t, 0, 0o777)
		db := filepath.Join(dir, "x.db")
		cli(t, "import", "--db", db, line(t, "a"))
		cli(t, "token", "add", "--db", db)
		for _, name := range names(t, dir) {
			require.NoError(t, os.Chown(filepath.Join(dir, name), nobody, nobody))
		}
		cli(t, "token", "add", "--db", db)
		requireOwner(t, filepath.Join(dir, "x.tokens"), nobody, 0o600)
		require.NoError(t, os.Chown(db, 7, 7))
		require.Contains(t, fails(t, "token", "add", "--db", db), "x.tokens.lock "+theirs)
	})
	t.Run("a lock that is a link", func(t *testing.T) {
		dir := t.TempDir()
		require.NoError(t, os.Symlink(filepath.Join(dir, "target"), filepath.Join(dir, "x.tokens.lock")))
		require.Contains(t, fails(t, "token", "add", "--db", filepath.Join(dir, "x.db")), "x.tokens.lock is in the way: it is not a regular file")
		require.NoFileExists(t, filepath.Join(dir, "target"))
	})
	t.Run("links", func(t *testing.T) {
		const link = "is not trusted: it belongs to user 65534, and its directory is open to all users"
		dir, evil := directoryOf(t, 0, 0o1777), directoryOf(t, nobody, 0o755)
		planted := func(name, target string) string {
			path := filepath.Join(dir, name)
			require.NoError(t, os.Symlink(target, path))
			require.NoError(t, os.Lchown(path, nobody, nobody))
			return path
		}
		theirs := filepath.Join(evil, "e.tokens")
		made := add(t, theirs, "mallory")
		require.NoError(t, os.Chown(theirs, nobody, nobody))
		require.NoError(t, os.Remove(theirs+".lock"))

		db := filepath.Join(dir, "x.db")
		tokens := planted("x.tokens", theirs)
		for _, args := range [][]string{{"serve", "--addr", "127.0.0.1:0"}, {"token", "add"}, {"token", "list"}, {"token", "revoke", "--user", "mallory"}} {
			require.Contains(t, fails(t, append(args, "--db", db)...), "the link "+tokens+" "+link, args)
		}

		// A link that is planted later, too.
		require.NoError(t, os.Remove(tokens))
		cli(t, "token", "add", "--db", db)
		place, err := tokensPlace("", fileAt(db))
		require.NoError(t, err)
		f, err := openTokens(place, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.NoError(t, os.Remove(tokens))
		planted("x.tokens", theirs)
		require.ErrorContains(t, f.reload(), "the link "+tokens+" "+link)
		_, err = f.Login(t.Context(), made.userID, made.token)
		require.Error(t, err)

		// A database, behind a link and behind a link to its directory.
		for _, db := range []string{planted("y.db", filepath.Join(evil, "y.db")), filepath.Join(planted("z", evil), "z.db")} {
			for _, args := range [][]string{
				{"serve", "--addr", "127.0.0.1:0"}, {"import", line(t, "a")}, {"export"}, {"backup", "-"}, {"check"}, {"token", "add"},
				{"salvage", filepath.Join(t.TempDir(), "saved.db")},
			} {
				require.Contains(t, fails(t, append(args, "--db", db)...), link, "%q", args)
			}
		}

		// What a command writes.
		other := filepath.Join(t.TempDir(), "other.db")
		cli(t, "import", "--db", other, line(t, "a"))
		out := planted("out", filepath.Join(evil, "out"))
		for _, args := range [][]string{{"export", "--force"}, {"backup"}, {"salvage"}} {
			require.Contains(t, fails(t, append(args, "--db", other, out)...), "the link "+out+" "+link, args)
		}
		require.Equal(t, []string{"e.tokens"}, names(t, evil))

		// Links of this user, of root and of the directory's owner are followed.
		require.NoError(t, os.Lchown(out, 0, 0))
		cli(t, "export", "--force", "--db", other, out)
		require.NoError(t, os.Chown(dir, nobody, nobody))
		require.NoError(t, os.Lchown(out, nobody, nobody))
		cli(t, "export", "--force", "--db", other, out)
		asUser(t, nobody, func() {
			_, err := findPlace(out)
			require.NoError(t, err)
		})
	})
	t.Run("a database with its tokens", func(t *testing.T) {
		dir := directoryOf(t, 0, 0o1777)
		db := filepath.Join(dir, "x.db")
		cli(t, "import", "--db", db, line(t, "a"))
		cli(t, "token", "add", "--db", db)
		for _, name := range names(t, dir) {
			require.NoError(t, os.Chown(filepath.Join(dir, name), nobody, nobody))
		}
		require.Contains(t, fails(t, "serve", "--db", db, "--addr", "127.0.0.1:0"), "x.db "+theirs)
		cli(t, "check", "--db", db)
		require.NoError(t, os.Chmod(dir, 0o755))
		require.NoError(t, ownDatabase(db))
	})
	t.Run("sessions", func(t *testing.T) {
		dir := directoryOf(t, 0, 0o1777)
		db, path := filepath.Join(dir, "x.db"), filepath.Join(dir, "x.sessions")
		cli(t, "token", "add", "--db", db)
		place, err := tokensPlace("", fileAt(db))
		require.NoError(t, err)
		tokens, err := openTokens(place, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, []byte(`{"version":1}`), 0o644))
		require.NoError(t, os.Chown(path, nobody, nobody))
		var log bytes.Buffer
		s := openSessions(place.database, time.Hour, tokens, slog.New(slog.NewTextHandler(&log, nil)))
		require.Contains(t, log.String(), "x.sessions "+theirs)
		require.NoError(t, s.save())
		requireOwner(t, path, 0, 0o600)
	})
	// commands fails every command that would use the socket.
	commands := func(t *testing.T, db, reason string) {
		t.Helper()
		for _, args := range [][]string{{"export"}, {"backup", "-"}, {"import", line(t, "b")}} {
			require.Contains(t, fails(t, append(args, "--db", db)...), reason, args[0])
		}
	}
	t.Run("owner of a socket", func(t *testing.T) {
		dir := directoryOf(t, 0, 0o1777)
		db := filepath.Join(dir, "x.db")
		cli(t, "import", "--db", db, line(t, "a"))
		ln, err := listenControl(t.Context(), controlPath(db))
		require.NoError(t, err)
		defer ln.Close()
		require.NoError(t, os.Chown(controlPath(db), nobody, nobody))
		commands(t, db, "x.db.sock "+theirs)
		_, err = listenControl(t.Context(), controlPath(db))
		require.ErrorContains(t, err, "x.db.sock "+theirs)
	})
	t.Run("who listens on a socket", func(t *testing.T) {
		dir := directoryOf(t, 0, 0o1777)
		db := filepath.Join(dir, "x.db")
		cli(t, "import", "--db", db, line(t, "a"))
		var ln net.Listener
		asUser(t, nobody, func() {
			var err error
			ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: controlPath(db), Net: "unix"})
			require.NoError(t, err)
		})
		defer ln.Close()
		go func() {
			for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
				conn.Close()
			}
		}()
		require.NoError(t, os.Chown(controlPath(db), 0, 0))
		require.NoError(t, os.Chmod(controlPath(db), 0o600))
		commands(t, db, "x.db.sock "+theirs)
	})
}

// A server answers no other user on its socket, also where the mode does not keep the
// user out.
func TestControlRefusesOtherUsers(t *testing.T) {
	needRoot(t)
	dir := directoryOf(t, 0, 0o755)
	path := filepath.Join(dir, "x.db.sock")
	ln, err := listenControl(t.Context(), path)
	require.NoError(t, err)
	defer ln.Close()
	require.NoError(t, os.Chmod(path, 0o777))
	go func() {
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			io.WriteString(conn, "x")
			conn.Close()
		}
	}()
	var theirs net.Conn
	asUser(t, nobody, func() {
		theirs, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
		require.NoError(t, err)
	})
	defer theirs.Close()
	_, err = theirs.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	ours, err := connect(t.Context(), path)
	require.NoError(t, err)
	defer ours.Close()
	_, err = ours.Read(make([]byte, 1))
	require.NoError(t, err)
}
