package sim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/internal/harness"
	"github.com/customstatus/customstatus/torture/linear"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// errStuck says that a run did not come to an end.
var errStuck = errors.New("the run is stuck")

// outcome is what a run has left.
type outcome struct {
	w        *world
	history  *linear.History
	watchers []*linear.Watcher
	end      []customstatus.Page // of each place
	reached  []customstatus.Revision
	errs     []error
	stats    customstatus.Stats // sums
	took     time.Duration
	stuck    bool
}

// longest is how long a run may take in simulated time.
const longest = 10 * time.Minute

// run runs the seed in a bubble of its own.
func run(t *testing.T, seed uint64, f flaw, ops int) *outcome {
	var o *outcome
	synctest.Test(t, func(*testing.T) { o = simulate(seed, f, ops) })
	return o
}

func simulate(seed uint64, f flaw, ops int) *outcome {
	w := &world{seed: seed, flaw: f, epoch: time.Now(), always: context.Background(), stuck: make(chan struct{})}
	w.plan = newPlan(w, ops)
	w.server = newServer(w)
	o := &outcome{w: w}
	for i := range w.places {
		w.places[i] = &place{w: w, index: i}
		w.places[i].start(w.actor("starter %d", i))
	}
	watchdog := time.AfterFunc(longest, func() {
		close(w.stuck)
		for _, p := range w.places {
			if n := p.now(); n != nil {
				_ = n.store.Close()
				_ = n.Close()
			}
		}
	})
	var watching, faults sync.WaitGroup
	join := func(name string, index int, begin func(*sync.WaitGroup, linear.Source, string) *linear.Watcher) {
		s := &spectator{w: w, a: w.actor("%s", name), place: w.places[index]}
		watcher := begin(&watching, s, linear.LastName)
		watcher.Back, watcher.Moves = len(w.plan.failovers) > 0, true
		w.mu.Lock()
		defer w.mu.Unlock()
		o.watchers = append(o.watchers, watcher)
	}
	for i := range nodes {
		join(fmt.Sprintf("watcher %d", i), i, linear.Watch)
		join(fmt.Sprintf("follower %d", i), i, linear.Follow)
	}
	w.wreak(&faults, func() { join("latecomer", 1, linear.Follow) })

	load := linear.Workload{
		Clients: w.plan.clients, Ops: w.plan.ops, Names: []string{"a", "b", "c", "d", "e", "f"}[:w.plan.names],
		Cancels: w.plan.cancels, Shared: true, Stays: true, Clock: &w.clock,
	}
	var users []linear.Catalog
	for i := range load.Clients {
		users = append(users, &user{place: w.places[i%nodes], a: w.actor("client %d", i)})
	}
	load.Pause = func(client int) { users[client].(*user).pause() }
	load.Cancel = func(client int) (context.Context, context.CancelFunc) {
		a := users[client].(*user).a
		return context.WithTimeout(context.Background(), a.wake(a.between(0, 50*time.Millisecond)))
	}
	o.history = load.Run(seed, users...)
	faults.Wait()
	w.actor("calm").step() // the last fault, a node that starts say, is of another moment
	w.calm.Store(true)
	o.finish()
	watching.Wait()
	watchdog.Stop()
	for _, p := range w.places {
		n := p.now()
		stats := n.Stats()
		o.stats.Loads += stats.Loads
		o.stats.Rewinds += stats.Rewinds
		if err := n.Close(); err != nil {
			o.errs = append(o.errs, err)
		}
	}
	w.flight.Wait()
	o.took, o.stuck = w.now(), w.isStuck()
	return o
}

// wreak begins what happens to the server and the nodes at times of the plan.
func (w *world) wreak(all *sync.WaitGroup, join func()) {
	at := func(name string, when time.Duration, what func(*actor)) {
		a := w.actor("%s", name)
		all.Go(func() {
			if _ = a.until(w.always, when); !w.isStuck() {
				what(a)
			}
		})
	}
	for i, r := range w.plan.restarts {
		at(fmt.Sprint("restart ", i), r.from, func(a *actor) { w.server.restart(a, r.to-r.from) })
	}
	for i, when := range w.plan.failovers {
		at(fmt.Sprint("failover ", i), when, func(a *actor) {
			lost := a.below(4)
			if !w.plan.lossy {
				lost = 0
			}
			w.server.fail(a, lost)
		})
	}
	for i, p := range w.places {
		all.Go(func() {
			a := w.actor("fate of place %d", i)
			for _, c := range w.plan.crashes[i] {
				if _ = a.until(w.always, c.from); w.isStuck() {
					return
				}
				p.kill(a)
				_ = a.until(w.always, c.to)
				p.start(a)
			}
		})
	}
	at("latecomer's host", 300*time.Millisecond, func(*actor) { join() })
}

// finish lets the watchers see the last status, and reads what each node has.
func (o *outcome) finish() {
	w := o.w
	a := w.actor("finish")
	// What is late may still arrive.
	_ = a.sleep(w.always, 3*w.plan.markers+10*w.plan.timeout)
	last := customstatus.Fields{Name: linear.LastName, StatusType: customstatus.Busy}
	for {
		n := w.places[0].alive(a)
		if n == nil {
			break
		}
		_, err := n.Create(a.with(w.always), last)
		a.note("the last one: %v", err)
		if err == nil || errors.Is(err, customstatus.ErrNameInUse) {
			break
		}
		_ = a.sleep(w.always, 100*time.Millisecond)
	}
	for _, p := range w.places {
		for !w.isStuck() {
			n := p.alive(a)
			if n != nil && n.Sync(a.with(w.always)) == nil {
				break
			}
			_ = a.sleep(w.always, 100*time.Millisecond)
		}
		a.step()
		page, err := p.now().List(customstatus.Query{})
		if err != nil {
			o.errs = append(o.errs, err)
		}
		o.end, o.reached = append(o.end, page), append(o.reached, p.now().Catalog.Revision())
	}
}

// check returns an error that says what was wrong in the run, or nil.
func (o *outcome) check() error {
	w := o.w
	if o.stuck {
		return errStuck
	}
	if err := errors.Join(o.errs...); err != nil {
		return err
	}
	lost := false
	for _, p := range o.parts() {
		if why := p.history.Check(p.start); why != "" {
			return errors.New(why)
		}
	}
	for _, f := range w.failures {
		lost = lost || len(f.lost) > 0
	}
	if len(w.wrong) > 0 {
		return errors.New(w.wrong[0])
	}
	if !lost && len(w.misfits) > 0 {
		return fmt.Errorf("a catalog says: %s", w.misfits[0])
	}
	if !lost && o.stats.Rewinds > 0 {
		return errors.New("a catalog went back, the store did not")
	}
	if err := o.noticed(); w.plan.database && err != nil {
		return err
	}
	want := pageOf(w.server.now)
	for i, page := range o.end {
		if !sameStatuses(page.Statuses, want.Statuses) || page.Position.Fingerprint != want.Position.Fingerprint {
			return fmt.Errorf("at the end, node %d has %v, the store %v", i, page, want)
		}
		if o.reached[i] != want.Position.Revision {
			return fmt.Errorf("at the end, node %d is at %d, the store at %d", i, o.reached[i], want.Position.Revision)
		}
	}
	held := make(linear.Held)
	for _, e := range w.server.truth {
		r := e.commit.Revision
		held[r] = append(held[r], pageOf(&state{statuses: e.after, revision: r, fingerprint: e.commit.Fingerprint}))
	}
	for i, watcher := range o.watchers {
		if watcher.Err != nil {
			return fmt.Errorf("watcher %d: %w", i, watcher.Err)
		}
		at, err := watcher.Replay(true)
		if err != nil {
			return fmt.Errorf("watcher %d: %w", i, err)
		}
		held.Add(at)
		if err := w.saw(watcher, lost); err != nil {
			return fmt.Errorf("watcher %d: %w", i, err)
		}
		if !lost && i < 2*nodes { // they have watched from the beginning
			if err := linear.Account(o.history.Ops, watcher, true); err != nil {
				return fmt.Errorf("watcher %d: %w", i, err)
			}
		}
	}
	return o.history.LocalReads(held)
}

// noticed returns an error if a node still goes by a commit that the database has lost.
func (o *outcome) noticed() error {
	gone := make(map[string]bool)
	for _, f := range o.w.failures {
		for _, e := range f.lost {
			gone[e.token] = true
		}
	}
	for _, p := range o.w.places {
		n := p.now()
		for revision, token := range n.store.known.tokens {
			if gone[token] {
				return fmt.Errorf("node %d has not noticed that commit %d is lost", n.number, revision)
			}
		}
	}
	return nil
}

// part is the history from one loss to the next one.
type part struct {
	history *linear.History
	start   customstatus.Page
}

func (o *outcome) parts() (all []part) {
	last := failover{left: &state{}}
	for _, f := range append(slices.Clone(o.w.failures), failover{at: 1 << 62, lost: make([]entry, 1)}) {
		if len(f.lost) > 0 {
			all = append(all, part{o.history.Between(last.at, f.at, last.common, last.beyond), pageOf(last.left)})
			last = f
		}
	}
	return all
}

// report leaves the trace and a picture of the history in a directory, and returns
// what to print.
func (o *outcome) report(directory string) string {
	var b strings.Builder
	trace := filepath.Join(directory, "trace.txt")
	if err := os.WriteFile(trace, []byte(o.w.trace()), 0o600); err != nil {
		return err.Error()
	}
	fmt.Fprintf(&b, "trace: %s\n", trace)
	for i, p := range o.parts() {
		picture := filepath.Join(directory, fmt.Sprintf("history-%d.html", i))
		if err := p.history.Draw(p.start, picture); err != nil {
			return err.Error()
		}
		fmt.Fprintf(&b, "picture: %s\n", picture)
	}
	return b.String()
}

// environment is the variable with the seed to run again.
const environment = "CUSTOMSTATUS_SIM_SEED"

// chosen returns the seeds to run: one that the environment asks for, or all.
func chosen(t *testing.T, all int) (first, end uint64) {
	asked := os.Getenv(environment)
	if asked == "" {
		return 0, uint64(all)
	}
	seed, err := strconv.ParseUint(asked, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed, seed + 1
}
