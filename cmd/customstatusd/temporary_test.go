package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stuckWrite is a program that writes the file of its first argument, says so, and
// waits to be killed before the file is complete.
func stuckWrite() {
	err := writeFile(os.Args[1], true, func(w io.Writer) error {
		if _, err := io.WriteString(w, "half"); err != nil {
			return err
		}
		fmt.Println("here")
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	})
	fmt.Println(err)
}

// killWrite kills a program that writes the file at path.
func killWrite(t *testing.T, path string) {
	t.Helper()
	program, err := exec.LookPath("stuckwrite")
	require.NoError(t, err)
	cmd := exec.Command(program, path)
	_, err = cmd.StdinPipe() // stays open
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	said := make([]byte, len("here\n"))
	_, err = io.ReadFull(stdout, said)
	require.NoError(t, err)
	require.Equal(t, "here\n", string(said))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
}

// What a killed process has written of a file is gone, at the latest when the file is
// written again.
func TestAKilledWriteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	killWrite(t, path)
	if runtime.GOOS == "linux" {
		require.Equal(t, []string{"x"}, names(t, dir))
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "old", string(text))

	left := temporaryPath(path)
	require.NoError(t, os.WriteFile(left, []byte("half"), 0o600))
	require.NoError(t, writeFile(path, true, func(w io.Writer) error { return nil }))
	require.Equal(t, []string{"x"}, names(t, dir))
}

// Only what is certain to be left is removed.
func TestSweepLeavesOtherFilesAlone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.tokens")
	random := rand.Text()
	stay := []string{
		"x.tokens.tmp", "x.tokens.1.tmp", "x.tokens." + strings.ToLower(random) + ".tmp", "x.tokens." + random,
		"y.tokens." + random + ".tmp", "." + random + ".tmp",
	}
	for _, name := range stay {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(temporaryPath(path), 0o700))
	require.NoError(t, os.Symlink(filepath.Join(dir, stay[0]), temporaryPath(path)))
	// One that another process works on is locked.
	busy, err := os.Create(temporaryPath(path))
	require.NoError(t, err)
	defer busy.Close()
	require.True(t, lockTemporary(busy))
	left := temporaryPath(path)
	require.NoError(t, os.WriteFile(left, nil, 0o600))

	sweep(path)
	require.NoFileExists(t, left)
	require.Len(t, names(t, dir), len(stay)+3)
}

// The next server removes the directories in which killed ones made their sockets.
func TestSweepSockets(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db.sock")
	empty, full, other := temporaryPath(path), temporaryPath(path), temporaryPath(path)
	for _, left := range []string{empty, full, other} {
		require.NoError(t, os.Mkdir(left, 0o700))
	}
	short, done, err := shortSocketPath(filepath.Join(full, socketName))
	require.NoError(t, err)
	defer done()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	require.NoError(t, err)
	ln.SetUnlinkOnClose(false)
	require.NoError(t, ln.Close())
	require.NoError(t, os.WriteFile(filepath.Join(other, "mine"), nil, 0o600))

	control, err := listenControl(t.Context(), path)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"x.db.sock", filepath.Base(other)}, names(t, dir))
	require.NoError(t, control.remove())
	require.FileExists(t, filepath.Join(other, "mine"))
}

// While salvage builds the new database, and while a health check probes the disk, a
// kill would leave nothing.
func TestScratchFilesHaveNoName(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("open files keep their names on Windows")
	}
	dir := t.TempDir()
	catalog, done, err := scratchCatalog(t.Context(), filepath.Join(dir, "new.db"))
	require.NoError(t, err)
	require.Empty(t, names(t, dir))
	require.Zero(t, catalog.Len())
	require.NoError(t, done())
	scratch, err := createScratch(filepath.Join(dir, "x.db"))
	require.NoError(t, err)
	require.Empty(t, names(t, dir))
	require.NoError(t, scratch.discard())
}

// Where the system has no files without names, the same holds by other means.
func TestNamedTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	create := func(content string) *temporary {
		file, err := createNamed(path)
		require.NoError(t, err)
		_, err = io.WriteString(file, content)
		require.NoError(t, err)
		sweep(path)
		require.FileExists(t, file.Name(), "it is in use")
		return file
	}
	requireOnly := func(content string) {
		t.Helper()
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(text))
		require.Equal(t, []string{"x"}, names(t, dir))
	}
	file := create("one")
	require.NoError(t, file.publish(path, false))
	require.NoError(t, file.Close())
	requireOnly("one")
	file = create("two")
	require.ErrorIs(t, file.publish(path, false), fs.ErrExist)
	require.NoError(t, file.discard())
	requireOnly("one")
	file = create("three")
	require.NoError(t, file.publish(path, true))
	require.NoError(t, file.Close())
	requireOnly("three")
	require.NoError(t, create("four").Close()) // as a kill would
	sweep(path)
	requireOnly("three")
}

// Names as long as a file system allows leave room for those of temporary files.
func TestLongNames(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []int{230, maxName} {
		path := filepath.Join(dir, strings.Repeat("é", n/2)+strings.Repeat("x", n%2))
		require.NoError(t, writeFile(path, true, text("one")))
		require.NoError(t, writeFile(path, true, text("two")))
		require.True(t, isTemporary(filepath.Base(temporaryPath(path)), filepath.Base(path)))
		require.LessOrEqual(t, len(filepath.Base(temporaryPath(path))), maxName)
		require.NoError(t, os.WriteFile(temporaryPath(path), nil, 0o600))
	}
}
