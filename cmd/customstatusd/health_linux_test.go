package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// writeUntilItFails makes statuses until one can't be made.
func (c *checkup) writeUntilItFails() {
	c.t.Helper()
	for i := range 100_000 {
		if err := c.write(strconv.Itoa(c.db.catalog.Len()) + " " + strconv.Itoa(i)); err != nil {
			require.NotErrorIs(c.t, err, customstatus.ErrNeedsReopen)
			return
		}
	}
	require.Fail(c.t, "the disk is never full")
}

// recovers requires that the check finds out, while nobody writes, that writes can
// succeed again.
func (c *checkup) recovers(mend func()) {
	c.t.Helper()
	position := c.db.catalog.Position()
	c.says(writesFail)
	c.pass(time.Hour)
	c.says(writesFail) // a probe was made, and failed
	mend()
	c.says(writesFail) // the next is not due
	c.pass(probeEvery)
	c.says("ok")
	c.says("ok")
	require.Equal(c.t, position, c.db.catalog.Position(), "nothing was written")
	require.NoError(c.t, c.write("room again"))
	c.says("ok")
}

// A full disk: a file system of four megabytes.
func TestHealthOnAFullDisk(t *testing.T) {
	directory := t.TempDir()
	if err := syscall.Mount("tmpfs", directory, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no tmpfs can be mounted (%v), as root only: a full disk is NOT tested", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(directory, syscall.MNT_DETACH)) })
	ballast := filepath.Join(directory, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 2<<20), 0o600))
	db, err := openLocal(t.Context(), at(filepath.Join(directory, "x.db")), true, customstatus.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.close()) })
	c := newCheckup(t, db)
	c.says("ok")
	c.writeUntilItFails()
	require.ErrorIs(t, db.catalog.Stats().CommitError, syscall.ENOSPC)
	c.recovers(func() { require.NoError(t, os.Remove(ballast)) })
	require.Equal(t, []string{"x.db"}, names(t, directory), "probes leave nothing")

	c.writeUntilItFails()
	c.pass(time.Hour)
	c.says(writesFail)
}

// Export, backup and check need not write beside the database.
func TestReadOnlyDisk(t *testing.T) {
	directory := t.TempDir()
	if err := syscall.Mount("tmpfs", directory, "tmpfs", 0, ""); err != nil {
		t.Skipf("no tmpfs can be mounted (%v), as root only: a read-only disk is NOT tested", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(directory, syscall.MNT_DETACH)) })
	path := filepath.Join(directory, "x.db")
	cli(t, "import", "--db", path, line(t, "a"))
	require.NoError(t, syscall.Mount("", directory, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	require.Contains(t, cli(t, "export", "--db", path), `"name":"a"`)
	require.Contains(t, cli(t, "check", "--db", path), ": ok, statuses 1, ")
	backup := filepath.Join(t.TempDir(), "backup.db")
	cli(t, "backup", "--db", path, backup)
	require.Equal(t, map[string]bool{"a": true}, stored(t, backup))
	saved := filepath.Join(t.TempDir(), "saved.db")
	require.Contains(t, cli(t, "salvage", "--db", path, saved), "saved all 1")
}

// A limit on the size of files: there is room on the disk, but not for this file.
// The limit is one of a whole process, and go test writes files in this one.
func TestHealthAtALimitOfFileSize(t *testing.T) {
	const limited = "CUSTOMSTATUS_TEST_LIMITED"
	if os.Getenv(limited) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), limited+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: "+t.Name())
		return
	}
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	lift := func() { require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)) }
	t.Cleanup(lift)
	db := openTemp(t)
	info, err := os.Stat(db.path)
	require.NoError(t, err)
	tight := limit
	tight.Cur = uint64(info.Size()) + 2*probeBytes // less than the file grows by at once
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &tight))
	c := newCheckup(t, db)
	c.writeUntilItFails()
	require.ErrorContains(t, db.catalog.Stats().CommitError, "file too large")
	c.recovers(lift)
}
