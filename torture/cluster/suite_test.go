package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/faultproxy"
	"github.com/customstatus/customstatus/torture/internal/harness"
	"github.com/customstatus/customstatus/torture/linear"
)

// longest is how long a fault lasts at most. A client waits for it several times.
const longest = 1500 * time.Millisecond

// nodes is the number of catalogs that share a store.
const nodes = 3

// engine is a server or a cluster that keeps the statuses.
type engine interface {
	// place returns the tasks of the nodes of a new place.
	place(t *testing.T, name string) []task
	// proxies returns what stands between a node and the engine.
	proxies(node int) []*faultproxy.Proxy
	// faults are those of the engine itself.
	faults() []fault
	// inspect asks the engine what it holds in a place, by its own client.
	inspect(ctx context.Context, place string) (held, error)
}

// fault is something that goes wrong while clients are busy.
type fault struct {
	name string
	// do calls begin, which starts the clients and returns what is closed when they
	// are done or the fault has lasted long enough. When do returns, all is well again.
	do func(r *rand.Rand, begin func() <-chan struct{})
}

// held is what an engine holds of a place at one instant.
type held struct {
	ids   map[string]string // the names by id, from the records
	names map[string]string // the ids by name, from what keeps the names unique
	wrong error             // what else doesn't match
}

// check returns an error unless names and records match.
func (h held) check() error {
	if h.wrong != nil {
		return h.wrong
	}
	turned := make(map[string]string)
	for id, name := range h.ids {
		turned[name] = id
	}
	if len(turned) != len(h.ids) || !maps.Equal(turned, h.names) {
		return fmt.Errorf("names and records don't match: %v and %v", h.names, h.ids)
	}
	return nil
}

// shows returns an error unless the page has what the engine holds.
func (h held) shows(page customstatus.Page) error {
	ids := make(map[string]string)
	for _, s := range page.Statuses {
		ids[s.ID] = s.Name
	}
	if !maps.Equal(ids, h.ids) {
		return fmt.Errorf("the engine holds %v, the nodes show %v", h.ids, ids)
	}
	return nil
}

// during waits until the time has passed or the clients are done, and reports whether
// they are still busy.
func during(traffic <-chan struct{}, d time.Duration) bool {
	select {
	case <-traffic:
		return false
	case <-time.After(d):
		return true
	}
}

// connectionFaults are what can happen to the connections of a node, or of all.
func connectionFaults(e engine) []fault {
	one := func(r *rand.Rand) []*faultproxy.Proxy { return e.proxies(r.IntN(nodes)) }
	// rules sets rules now and then, and takes them away again.
	rules := func(name string, rule func(r *rand.Rand) (toServer, toClient faultproxy.Rule)) fault {
		return fault{name, func(r *rand.Rand, begin func() <-chan struct{}) {
			for traffic := begin(); during(traffic, 30*time.Millisecond); {
				all := one(r)
				for _, p := range all {
					toServer, toClient := rule(r)
					p.Set(faultproxy.ToServer, toServer)
					p.Set(faultproxy.ToClient, toClient)
				}
				during(traffic, time.Duration(100+r.IntN(600))*time.Millisecond)
				for _, p := range all {
					p.Set(faultproxy.ToServer, faultproxy.Rule{})
					p.Set(faultproxy.ToClient, faultproxy.Rule{})
				}
			}
		}}
	}
	return []fault{
		{"nothing", func(_ *rand.Rand, begin func() <-chan struct{}) { begin() }},
		{"connections cut", func(r *rand.Rand, begin func() <-chan struct{}) {
			for traffic := begin(); during(traffic, time.Duration(r.IntN(80))*time.Millisecond); {
				for _, p := range one(r) {
					p.CutAll()
				}
			}
		}},
		{"a node cut off", func(r *rand.Rand, begin func() <-chan struct{}) {
			for traffic := begin(); during(traffic, 30*time.Millisecond); {
				all := one(r)
				for _, p := range all {
					p.Refuse(true)
					p.CutAll()
				}
				during(traffic, time.Duration(200+r.IntN(600))*time.Millisecond)
				for _, p := range all {
					p.Refuse(false)
				}
			}
		}},
		rules("answers lost", func(r *rand.Rand) (toServer, toClient faultproxy.Rule) {
			return toServer, faultproxy.Rule{Action: faultproxy.Cut, After: r.IntN(2000)}
		}),
		rules("requests lost", func(r *rand.Rand) (toServer, toClient faultproxy.Rule) {
			return faultproxy.Rule{Action: faultproxy.Cut, After: r.IntN(4000)}, toClient
		}),
		rules("answers frozen", func(r *rand.Rand) (toServer, toClient faultproxy.Rule) {
			return toServer, faultproxy.Rule{Action: faultproxy.Freeze, After: r.IntN(2000)}
		}),
		rules("requests frozen", func(r *rand.Rand) (toServer, toClient faultproxy.Rule) {
			return faultproxy.Rule{Action: faultproxy.Freeze, After: r.IntN(4000)}, toClient
		}),
		rules("answers late", func(r *rand.Rand) (toServer, toClient faultproxy.Rule) {
			late := func() faultproxy.Rule {
				return faultproxy.Rule{Delay: time.Duration(r.IntN(150)) * time.Millisecond}
			}
			return late(), late()
		}),
	}
}

// figures are the counts of a run.
type figures struct {
	linear.Figures
	faults                      map[string]int
	commits, gaps, looks, loads int
}

func (f *figures) String() string {
	return fmt.Sprintf("%d linearizable, of %d operations: %d refused, %d failed, %d with an unknown outcome; %d other reads", sum(f.faults), f.Operations, f.Refused, f.Failed, f.Unknown, f.Local)
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// report hands out the counts.
func (f *figures) report(t *testing.T) {
	t.Helper()
	harness.Report(t, "histories", "%v", f)
	harness.Report(t, "watchers", "%d saw %d commits in order; %d times the whole again; the nodes loaded %d times", 2*nodes, f.commits, f.gaps, f.loads)
	harness.Report(t, "engine", "%d looks by its own client: names and records always matched", f.looks)
	for _, name := range slices.Sorted(maps.Keys(f.faults)) {
		t.Logf("%s: %d histories", name, f.faults[name])
	}
}

// suite is a run of histories on one place of an engine.
type suite struct {
	engine  engine
	place   string
	cluster *cluster
	figures figures

	histories []*linear.History
	ops       []porcupine.Operation
	back      bool // the store may go back

	cancels float64       // the share of writes with a limit
	limit   time.Duration // the greatest
}

// newSuite starts the nodes of a new place.
func newSuite(t *testing.T, e engine, place string, planted flaw) *suite {
	t.Helper()
	tasks := e.place(t, place)
	for i := range tasks {
		tasks[i].Flaw = planted
	}
	return &suite{engine: e, place: place, cluster: startCluster(t, tasks...), figures: figures{faults: make(map[string]int)}, cancels: 0.05, limit: 20 * time.Millisecond}
}

// history records what clients are told while a fault happens, and checks it.
func (s *suite) history(f fault, seed uint64) error {
	start, err := s.cluster.rest()
	if err != nil {
		return err
	}
	w := linear.Workload{
		Clients: 8, Ops: 12, Names: []string{"a", "b", "c", "d"}, Cancels: s.cancels, Shared: true, Stays: true,
		Pause: func(int) { time.Sleep(rand.N(100 * time.Millisecond)) },
		Cancel: func(int) (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 1+rand.N(s.limit))
		},
	}
	var catalogs []linear.Catalog
	for _, n := range s.cluster.nodes {
		catalogs = append(catalogs, n)
	}
	var (
		h       *linear.History
		running sync.WaitGroup
		looking error
		traffic = make(chan struct{})
		enough  = make(chan struct{})
	)
	f.do(rand.New(rand.NewPCG(seed, 7)), func() <-chan struct{} {
		running.Go(func() {
			defer close(traffic)
			h = w.Run(seed, catalogs...)
		})
		running.Go(func() { looking = s.look(traffic) })
		running.Go(func() {
			during(traffic, longest)
			close(enough)
		})
		return enough
	})
	running.Wait()
	end, err := s.cluster.rest()
	if err != nil {
		return err
	}
	h.End(end)
	if why := h.Check(start); why != "" {
		return errors.New(why)
	}
	now, err := s.engine.inspect(context.Background(), s.place)
	if err := errors.Join(looking, err, now.check(), now.shows(end)); err != nil {
		return err
	}
	n := h.Figures()
	s.figures.Operations += n.Operations
	s.figures.Local += n.Local
	s.figures.Refused += n.Refused
	s.figures.Failed += n.Failed
	s.figures.Unknown += n.Unknown
	s.figures.faults[f.name]++
	s.histories = append(s.histories, h)
	s.ops = append(s.ops, h.Ops...)
	return nil
}

// look inspects the engine until the clients are done. That the engine doesn't answer
// is no error.
func (s *suite) look(traffic <-chan struct{}) error {
	for during(traffic, 50*time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		now, err := s.engine.inspect(ctx, s.place)
		cancel()
		if err != nil {
			continue
		}
		s.figures.looks++
		if err := now.check(); err != nil {
			return err
		}
	}
	return nil
}

// finish ends the watchers and checks what they have seen.
func (s *suite) finish() error {
	c := s.cluster
	if _, err := c.nodes[0].Create(context.Background(), customstatus.Fields{Name: linear.LastName, StatusType: customstatus.Busy}); err != nil {
		return err
	}
	end, err := c.rest()
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { c.watching.Wait(); close(ended) }()
	if during(ended, patience) {
		return errors.New("the watchers don't see the last commit")
	}
	known := make(map[customstatus.Revision]customstatus.Page)
	for i, w := range c.watchers {
		node := c.nodes[i/2]
		w.Back = s.back
		at, err := w.Replay(true)
		if err := errors.Join(w.Err, err); err != nil {
			return fmt.Errorf("watcher %d: %w", i, err)
		}
		last := w.Start
		if n := len(w.Commits); n > 0 {
			last = at[w.Commits[n-1].Revision]
		}
		if page, gap := w.Gaps[len(w.Commits)]; gap {
			last = page
		}
		if err := equal(last, end); err != nil {
			return fmt.Errorf("watcher %d at the end: %w", i, err)
		}
		stats, err := node.call(context.Background(), Request{Call: "stats"})
		if err != nil {
			return err
		}
		if err := linear.Account(s.ops, w, stats.Loads > 1); err != nil {
			return fmt.Errorf("watcher %d: %w", i, err)
		}
		if !s.back {
			for revision, page := range at {
				if other, seen := known[revision]; seen && other.Position.Fingerprint != page.Position.Fingerprint {
					return fmt.Errorf("watcher %d has %v at revision %d, others %v", i, page, revision, other)
				}
				known[revision] = page
			}
		}
		s.figures.commits += len(w.Commits)
		s.figures.gaps += len(w.Gaps)
		s.figures.loads += int(stats.Loads)
	}
	held := make(linear.Held)
	held.Add(known)
	for _, h := range s.histories {
		if err := h.LocalReads(held); err != nil && !s.back {
			return err
		}
	}
	return nil
}

// all runs each fault a number of times.
func (s *suite) all(times int, faults []fault) error {
	seed := uint64(0)
	for range times {
		for _, f := range faults {
			seed++
			if err := s.history(f, seed); err != nil {
				return fmt.Errorf("history %d, %s: %w", seed, f.name, err)
			}
		}
	}
	return s.finish()
}

// TestFaults runs the same histories on both engines.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		start func(t *testing.T) engine
	}{
		{"PostgreSQL", startPostgres},
		{"etcd", startEtcd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := tt.start(t)
			s := newSuite(t, e, "faults", "")
			if err := s.all(harness.Rounds(1, 12), append(connectionFaults(e), e.faults()...)); err != nil {
				t.Fatal(err)
			}
			s.figures.report(t)
		})
	}
}
