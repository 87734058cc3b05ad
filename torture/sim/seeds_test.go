package sim

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/customstatus/customstatus/torture/internal/harness"
)

// workers is how many seeds run at once.
const workers = 2

// TestSimulation runs seeds of a store without a flaw, and finds nothing wrong.
func TestSimulation(t *testing.T) {
	first, end := chosen(t, harness.Rounds(seeds, 15000))
	if raced && end > first+300 {
		end = first + 300 // the race detector takes its time
	}
	var (
		mu     sync.Mutex
		totals totals
	)
	each(t, first, end, func(t *testing.T, seed uint64) bool {
		o := run(t, seed, none, operations)
		if err := o.check(); err != nil {
			fail(t, o, err)
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		totals.add(o)
		return true
	})
	totals.report(t)
}

// operations is how many operations a client does in a run.
const operations = 15

// each calls what with the seeds, on several goroutines, until it returns false.
func each(t *testing.T, first, end uint64, what func(*testing.T, uint64) bool) {
	var next atomic.Uint64
	next.Store(first)
	t.Run("seeds", func(t *testing.T) {
		for i := range workers {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for {
					seed := next.Add(1) - 1
					if seed >= end || !what(t, seed) {
						next.Store(end)
						return
					}
				}
			})
		}
	})
}

// fail reports the seed of a run that was wrong, the command that runs it again, and
// where its trace and picture are.
func fail(t *testing.T, o *outcome, err error) {
	t.Helper()
	directory, failed := os.MkdirTemp("", "customstatus-sim-")
	if failed != nil {
		t.Fatal(failed)
	}
	t.Errorf("seed %d: %v\n%srun it again: %s", o.w.seed, err, o.report(directory), command(o))
}

// command returns the command that runs a seed again.
func command(o *outcome) string {
	return fmt.Sprintf("%s=%d go test ./torture/sim -run TestSimulation", environment, o.w.seed)
}

// totals are the figures of many runs.
type totals struct {
	runs, operations, local, refused, unknown, left, watchers, commits, gaps int
	crashes, failovers, losing, restarts                                     int
	loads, rewinds                                                           uint64
	simulated                                                                float64
}

func (n *totals) add(o *outcome) {
	f := o.history.Figures()
	n.runs++
	n.operations += f.Operations
	n.local += f.Local
	n.refused += f.Refused
	n.unknown += f.Unknown
	n.left += f.Failed
	for _, watcher := range o.watchers {
		n.watchers++
		n.commits += len(watcher.Commits)
		n.gaps += len(watcher.Gaps)
	}
	for _, p := range o.w.places {
		n.crashes += len(p.dead)
	}
	n.failovers += len(o.w.failures)
	if o.w.plan.lossy {
		n.losing += len(o.w.failures)
	}
	n.restarts += len(o.w.plan.restarts)
	n.loads += o.stats.Loads
	n.rewinds += o.stats.Rewinds
	n.simulated += o.took.Hours()
}

func (n *totals) report(t *testing.T) {
	harness.Report(t, "simulation", "%d seeds, %.1f simulated hours: %d operations checked, %d local reads, %d refusals, %d failed and %d unknown writes",
		n.runs, n.simulated, n.operations, n.local, n.refused, n.left, n.unknown)
	harness.Report(t, "simulated-watchers", "%d saw %d commits, and %d times the whole again", n.watchers, n.commits, n.gaps)
	harness.Report(t, "simulated-faults", "%d nodes killed, %d restarts, %d failovers, %d of them allowed to lose commits; nodes loaded %d times and went back %d times",
		n.crashes, n.restarts, n.failovers, n.losing, n.loads, n.rewinds)
}

// seeds is the number of seeds of a short run.
const seeds = 1000
