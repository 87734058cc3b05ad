package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/customstatus/customstatus/torture/internal/harness"
)

// TestPlanted shows that the simulation finds what it is there for: each flaw within
// the seeds of [TestSimulation].
func TestPlanted(t *testing.T) {
	var slowest atomic.Uint64
	t.Run("flaw", func(t *testing.T) {
		for _, f := range flaws {
			t.Run(string(f), func(t *testing.T) {
				t.Parallel()
				first, end := chosen(t, seeds)
				for seed := first; seed < end; seed++ {
					err := run(t, seed, f, operations).check()
					if err == nil {
						continue
					}
					for most := slowest.Load(); seed+1 > most && !slowest.CompareAndSwap(most, seed+1); {
						most = slowest.Load()
					}
					why, _, _ := strings.Cut(err.Error(), "\n")
					harness.Report(t, "found", "within %d seeds: %.120s", seed+1-first, why)
					return
				}
				t.Errorf("no seed of %d finds it", end-first)
			})
		}
	})
	harness.Report(t, "planted", "%d flaws, each found within %d seeds", len(flaws), slowest.Load())
}

// TestSameTrace shows that a seed is a whole run: it gives the same trace to the byte.
func TestSameTrace(t *testing.T) {
	const many = 40
	first, end := chosen(t, many)
	lines := 0
	for seed := first; seed < end; seed++ {
		a, b := run(t, seed, none, operations).w.trace(), run(t, seed, none, operations).w.trace()
		lines += strings.Count(a, "\n")
		if a == b {
			continue
		}
		theirs := strings.Split(b, "\n")
		for i, l := range strings.Split(a, "\n") {
			if i >= len(theirs) || l != theirs[i] {
				t.Fatalf("seed %d: line %d is %q and %q", seed, i+1, l, theirs[min(i, len(theirs)-1)])
			}
		}
	}
	harness.Report(t, "traces", "%d seeds gave the same trace twice, %d lines", end-first, lines)
}

// TestReport shows that a run that was wrong leaves its trace and its pictures.
func TestReport(t *testing.T) {
	for seed := range uint64(seeds) {
		o := run(t, seed, silenceIsFailure, operations)
		err := o.check()
		if err == nil || len(o.parts()) < 2 {
			continue
		}
		directory := t.TempDir()
		said := o.report(directory)
		for _, name := range []string{"trace.txt", "history-0.html", "history-1.html"} {
			path := filepath.Join(directory, name)
			info, err := os.Stat(path)
			if err != nil || info.Size() < 1000 || !strings.Contains(said, path) {
				t.Errorf("%s: %v %v", name, info, err)
			}
		}
		if command := command(o); !strings.Contains(command, fmt.Sprint(environment, "=", seed, " ")) {
			t.Error(command)
		}
		return
	}
	t.Error("no seed was wrong")
}
