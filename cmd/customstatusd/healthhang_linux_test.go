package main

import (
	"bufio"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// freezable returns a directory on a disk of its own, and a function that makes the disk
// hang: what writes there waits until thaw is called.
func freezable(t *testing.T) (directory string, freeze func() (thaw func())) {
	t.Helper()
	directory = t.TempDir()
	image := filepath.Join(t.TempDir(), "disk.img")
	for _, step := range [][]string{
		{"dd", "if=/dev/zero", "of=" + image, "bs=1M", "count=16"},
		{"mkfs.ext4", "-q", image},
		{"fsfreeze", "--version"},
		{"mount", "-o", "loop", image, directory},
	} {
		if out, err := exec.Command(step[0], step[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v: %s, as root with e2fsprogs only: a disk that hangs is NOT tested", step[0], err, out)
		}
	}
	t.Cleanup(func() { require.NoError(t, exec.Command("umount", directory).Run()) })
	return directory, func() func() {
		// When this process is killed, the pipe is closed, and the disk works again.
		cmd := exec.Command("sh", "-c", `fsfreeze -f "$1" && echo frozen && read line; fsfreeze -u "$1"`, "sh", directory)
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		thaw := sync.OnceFunc(func() {
			in.Close()
			require.NoError(t, cmd.Wait())
		})
		t.Cleanup(thaw)
		said, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.Equal(t, "frozen\n", said)
		return thaw
	}
}

// A commit that hangs fails no write. A check that hangs holds up nobody else's.
func TestHealthOnADiskThatHangs(t *testing.T) {
	directory, freeze := freezable(t)
	db, err := openLocal(t.Context(), at(filepath.Join(directory, "x.db")), true, customstatus.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.close()) })
	c := newCheckup(t, db)
	c.clock = time.Now()
	c.says("ok")

	thaw := freeze()
	written := make(chan error, 1)
	go func() { written <- c.write("a") }()
	require.Eventually(t, func() bool { return !db.catalog.Stats().CommittingSince.IsZero() }, patience, time.Millisecond)
	c.says("ok")
	c.pass(longCommit + patience)
	c.says(writesFail)
	thaw()
	require.NoError(t, <-written)
	c.says("ok")
	require.Zero(t, db.catalog.Stats().CommittingSince)

	require.NoError(t, exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(directory, "ballast"), "bs=1M", "count=12").Run())
	c.writeUntilItFails()
	c.pass(time.Hour)
	c.health.patience = 50 * time.Millisecond
	thaw = freeze()
	answers := make(chan string)
	for range 20 {
		go func() { answers <- c.ask(http.MethodGet).Body.String() }()
	}
	for range 20 {
		require.Equal(t, `{"status":"writes fail"}`, <-answers)
	}
	thaw()
	c.health.patience = patience
	c.says(writesFail) // the disk is still full
}
