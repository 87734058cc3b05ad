//go:build linux

package crash

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/internal/harness"
)

// TestKill kills a process with SIGKILL while many of its goroutines write to a
// bbolt file, or while it opens or makes the file. Then all that was acknowledged
// is there, and of each write that was not, all or nothing. The next process goes
// on with what the last one has left.
func TestKill(t *testing.T) {
	rounds := harness.Rounds(20, 2000)
	const perFile = 40
	var total ledger
	early := 0
	for first := 0; first < rounds; first += perFile {
		l := newLedger()
		path := filepath.Join(t.TempDir(), "catalog.db")
		for n := first; n < min(rounds, first+perFile); n++ {
			if !killed(t, l, path, uint64(n)) {
				early++
			}
			if t.Failed() {
				t.Fatalf("in round %d", n)
			}
		}
		total.acknowledged += l.acknowledged
		total.refused += l.refused
		total.open += l.open
		total.done += l.done
	}
	harness.Report(t, "SIGKILL", "%d processes killed, %d of them before the file was open: %d acknowledged writes all there, %d refused; of %d not acknowledged, %d there as a whole and %d not at all",
		rounds, early, total.acknowledged, total.refused, total.open, total.done, total.open-total.done)
}

// killed is a round. It reports whether the process got as far as to have the
// file open.
func killed(t *testing.T, l *ledger, path string, seed uint64) (ready bool) {
	r := rand.New(rand.NewPCG(seed, 0))
	began := time.Now()
	cmd := child{Role: "write", Path: path, Writers: 1 + r.IntN(32), Seed: seed}.command(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	theirs, ours := mustPipe(t)
	defer theirs.Close()
	cmd.ExtraFiles = []*os.File{ours}

	// The moment: after some acknowledgements and a little more, or after a
	// while since the start.
	moment := make(chan struct{})
	reached := sync.OnceFunc(func() { close(moment) })
	after := 1 + r.IntN(200)
	l.round(func(acks int) {
		if acks == after {
			reached()
		}
	})
	wait := time.Duration(r.IntN(3000)) * time.Microsecond
	if r.IntN(5) == 0 {
		wait = time.Duration(r.IntN(12000)) * time.Microsecond
		reached()
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ours.Close()
	taken := make(chan error, 1)
	go func() {
		taken <- l.take(theirs, func() { ready = true })
		reached() // it has ended by itself
	}()
	<-moment
	time.Sleep(wait)
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.Exited() {
		t.Errorf("the process ended by itself: %v\n%s", err, &stderr)
	}
	if err := <-taken; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if ready || l.revision > 0 {
			t.Error("the file is gone")
		}
		return ready
	}
	checkFile(t, path)
	c := openFile(t, path)
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	page, err := c.List(customstatus.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.verify(page, began); err != nil {
		t.Error(err)
	}
	return ready
}

func mustPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// openFile opens the catalog in a file, which verifies all that is in it.
func openFile(t *testing.T, path string) *customstatus.Catalog {
	t.Helper()
	c, err := customstatus.OpenFile(context.Background(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkFile has bbolt say what it thinks of a file.
func checkFile(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		var all error
		for err := range tx.Check() {
			all = errors.Join(all, err)
		}
		return all
	})
	if err != nil {
		t.Errorf("bbolt finds: %v", err)
	}
}
