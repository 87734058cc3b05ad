package bolt

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
)

// stopper is a logger and a writer. It tells the parent where the child is, and
// then waits to be killed.
type stopper struct{ *bbolt.DefaultLogger }

func (stopper) Debugf(format string, _ ...any) {
	if strings.HasPrefix(format, "Committing transaction") { // of the new file
		stop()
	}
}
func (stopper) Infof(string, ...any) {}

func (stopper) Write([]byte) (int, error) {
	stop()
	return 0, io.ErrClosedPipe
}

func stop() {
	fmt.Fprintln(os.Stderr, "here")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func childMaking(t *testing.T, path string, openFile func(string, int, os.FileMode) (*os.File, error)) {
	_, err := Open(path, &Options{Bolt: &bbolt.Options{Logger: stopper{}, OpenFile: openFile}})
	require.NoError(t, err)
}

func childBackingUp(t *testing.T, path string) {
	s := openStore(t, path)
	newHistory(1).run(t, 3, 30, s)
	require.NoError(t, s.Backup(context.Background(), stopper{}))
}

// killed runs a child until it reports its place, kills the child, and returns
// the names left in the directory of the path.
func killed(t *testing.T, child, path string) []string {
	t.Helper()
	cmd := childCommand(child, path)
	_, err := cmd.StdinPipe() // stays open
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "here\n", line)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	return names(t, path)
}

func names(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestAKilledProcessLeavesNoTemporaryFiles(t *testing.T) {
	t.Parallel()
	t.Run("of a new file", func(t *testing.T) {
		path := tempPath(t)
		require.Empty(t, killed(t, "making", path))
		openStore(t, path)
	})
	t.Run("of a new file that has a name", func(t *testing.T) {
		path := tempPath(t)
		left := killed(t, "making named", path)
		require.Len(t, left, 1)
		require.True(t, isTemporary(left[0], "statuses.db"), left[0])
		openStore(t, path)
		require.Equal(t, []string{"statuses.db"}, names(t, path))
	})
	t.Run("of a backup", func(t *testing.T) {
		path := tempPath(t)
		require.Equal(t, []string{"statuses.db"}, killed(t, "backing up", path))
		require.NotEmpty(t, load(t, openStore(t, path)).statuses)
	})
}

// Open removes only files that are certainly abandoned.
func TestOpenLeavesOtherFilesAlone(t *testing.T) {
	path := tempPath(t)
	directory := filepath.Dir(path)
	stay := []string{
		"statuses.db.backup1", "statuses.db.new-", "statuses.db.new-file", "statuses.db.new-" + strings.Repeat("a", 26),
		"other.db" + newEnding + strings.Repeat("A", 26), newEnding + strings.Repeat("A", 26),
	}
	for _, name := range stay {
		require.NoError(t, os.WriteFile(filepath.Join(directory, name), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(temporaryPath(path, newEnding), 0o700))
	require.NoError(t, os.Symlink(path, temporaryPath(path, newEnding)))
	// A temporary file in use is locked.
	busy, err := os.Create(temporaryPath(path, newEnding))
	require.NoError(t, err)
	defer busy.Close()
	kept, err := lockTemporary(busy)
	require.NoError(t, err)
	require.True(t, kept)
	left := temporaryPath(path, backupEnding)
	require.NoError(t, os.WriteFile(left, nil, 0o600))

	s := openStore(t, path)
	require.NoFileExists(t, left)
	require.Len(t, names(t, path), len(stay)+4)
	require.NoError(t, s.Close())
	require.NoError(t, os.WriteFile(left, nil, 0o600))
	s, err = Open(path, &Options{Bolt: &bbolt.Options{ReadOnly: true}})
	require.NoError(t, err)
	require.FileExists(t, left, "a read-only store removes nothing")
	require.NoError(t, s.Close())
}

// A process that makes a file notices that another process has removed it, and
// makes it again.
func TestCreateBearsThatItsFileIsTakenForLeft(t *testing.T) {
	path := tempPath(t)
	opened := 0
	bolt := &bbolt.Options{OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
		file, err := os.OpenFile(name, flag, mode)
		if opened++; opened <= 3 {
			removeLeft(name)
		}
		return file, err
	}}
	s, err := Open(path, &Options{Bolt: bolt})
	require.NoError(t, err)
	require.Equal(t, 5, opened)
	commit(t, s, put("a", "a", 0))
	require.NoError(t, s.Close())
	require.Equal(t, []string{"statuses.db"}, names(t, path))
}
