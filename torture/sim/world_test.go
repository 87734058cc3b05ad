package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customstatus/customstatus"
)

// world is one run of the simulation.
type world struct {
	seed   uint64
	flaw   flaw
	plan   *plan
	epoch  time.Time
	server *server
	places [nodes]*place
	always context.Context // is never done
	clock  atomic.Int64    // counts the calls and returns of the clients
	calm   atomic.Bool     // the faults are over
	stuck  chan struct{}   // closed when the run has taken too long
	flight sync.WaitGroup  // messages that are on their way

	mu       sync.Mutex
	lines    []line
	failures []failover
	misfits  []string // what the catalogs say of a feed
	wrong    []string // for whatever reason
}

// failover is a change of the server to a replica.
type failover struct {
	at   int64 // of the clock
	left *state
	lost []entry
	// What has a revision up to common was made before, and beyond that other one after.
	common, beyond customstatus.Revision
}

// misfit notes what is wrong.
func (w *world) misfit(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *world) now() time.Duration { return time.Since(w.epoch) }

// wentBack notes that the server holds only what was left.
func (w *world) wentBack(f failover) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f.at = w.clock.Add(1)
	w.failures = append(w.failures, f)
}

// lossy draws whether a fault happens.
func (w *world) lossy(a *actor, share float64) bool { return a.chance(share) && !w.calm.Load() }

// latency draws how long a message takes in one direction.
func (w *world) latency(a *actor) time.Duration {
	d := a.between(100*time.Microsecond, 3*time.Millisecond)
	if w.lossy(a, w.plan.slow) {
		d += a.between(time.Millisecond, w.plan.timeout)
	}
	return d
}

// window is a span of time.
type window struct{ from, to time.Duration }

// plan says which faults a run has.
type plan struct {
	database bool // not a cluster
	clients  int
	ops      int
	names    int
	history  int // changes that the catalogs keep
	keeps    int // commits in the server's feed
	think    time.Duration
	timeout  time.Duration
	poll     time.Duration
	markers  time.Duration // how long a marker or lease lasts
	cancels  float64

	lost, deaf, refused, late, twice, slow, wakeLost, breaks, stops float64

	restarts  []window
	failovers []time.Duration
	lossy     bool // failovers lose commits
	links     [nodes][]window
	members   [members][]window
	crashes   [nodes][]window
}

// nodes is the number of nodes, each with a catalog.
const nodes = 3

// newPlan draws a plan. Half of the runs have some kinds of faults, a few have none,
// and the others have all.
func newPlan(w *world, ops int) *plan {
	a := w.actor("plan")
	p := &plan{
		database: a.below(2) == 0, clients: 6, ops: ops, names: 3 + a.below(3),
		history: []int{8, 30, 4096}[a.below(3)], keeps: []int{3, 10, 40, 1000}[a.below(4)],
		think: []time.Duration{30, 100, 400}[a.below(3)] * time.Millisecond, timeout: 300 * time.Millisecond,
		poll: a.between(100*time.Millisecond, time.Second), markers: a.between(time.Second, 4*time.Second),
		cancels: 0.1,
	}
	wild := a.below(4)
	share := func(most float64) float64 {
		draw := float64(a.below(1000)) / 1000 * most
		if on := a.below(2) == 0; wild == 0 || wild < 3 && !on {
			return 0
		}
		return draw
	}
	p.lost, p.deaf, p.refused = share(0.1), share(0.15), share(0.1)
	p.late, p.twice, p.slow = share(0.1), share(0.2), share(0.1)
	p.wakeLost, p.breaks, p.stops = share(0.5), share(0.1), share(0.02)
	length := time.Duration(ops) * (p.think/2 + 20*time.Millisecond)
	windows := func(most int, longest time.Duration) (all []window) {
		if wild == 0 || a.below(2) == 0 {
			return nil
		}
		at := time.Duration(0)
		for range 1 + a.below(most) {
			from := at + a.between(time.Millisecond, length)
			at = from + a.between(10*time.Millisecond, longest)
			all = append(all, window{from, at})
		}
		return all
	}
	p.restarts = windows(2, 500*time.Millisecond)
	p.lossy = a.below(2) == 0
	failovers := 2
	if p.lossy && p.database {
		// With few statuses, one often has the same revision in two histories.
		failovers, p.names = 5, 2+a.below(2)
	}
	for again := true; again; again = p.lossy && p.database && wild != 0 && len(p.failovers) == 0 {
		for _, w := range windows(failovers, time.Second) {
			p.failovers = append(p.failovers, w.from)
		}
	}
	for i := range nodes {
		p.links[i], p.crashes[i] = windows(2, time.Second), windows(2, 500*time.Millisecond)
	}
	for i := range members {
		p.members[i] = windows(2, 2*time.Second)
	}
	if i := a.below(members); len(p.members[i]) > 0 {
		p.members[i][len(p.members[i])-1].to = never // it stays frozen
	}
	return p
}

// errFrozen is the error of a member that does not answer.
var errFrozen = errors.New("the member is frozen")

// frozen returns the error of a frozen member, and when that ends.
func (p *plan) frozen(a *actor, member int) (time.Duration, error) {
	if a.w.calm.Load() {
		return 0, nil
	}
	now := a.w.now()
	for _, f := range p.members[member] {
		if f.from <= now && now < f.to {
			return f.to, errFrozen
		}
	}
	return 0, nil
}

// node is a process with a catalog over the shared store.
type node struct {
	w      *world
	index  int
	number int           // counts the nodes of a run
	dead   chan struct{} // closed when the process dies
	store  *store
	*customstatus.Catalog
}

// link waits until a message can pass the node's connection, which may be frozen.
func (n *node) link(a *actor) {
	for _, f := range n.w.plan.links[n.index] {
		if now := n.w.now(); f.from <= now && now < f.to && !n.w.calm.Load() {
			_ = a.until(n.w.always, f.to)
		}
	}
}

func (n *node) isDead() bool {
	select {
	case <-n.dead:
		return true
	case <-n.w.stuck:
		return true
	default:
		return false
	}
}

// place is where one node after another runs.
type place struct {
	w     *world
	index int

	mu     sync.Mutex
	node   *node
	starts int
	dead   []*node
}

// now returns the node, which may be dead.
func (p *place) now() *node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.node
}

// alive waits for a node that is not dead. It returns nil if the run is stuck.
func (p *place) alive(a *actor) *node {
	for {
		n := p.now()
		select {
		case <-p.w.stuck:
			return nil
		default:
		}
		if n != nil && !n.isDead() {
			return n
		}
		_ = a.sleep(p.w.always, 10*time.Millisecond)
	}
}

// start starts a node. It tries until the store answers.
func (p *place) start(a *actor) {
	for {
		p.mu.Lock()
		number := p.index + nodes*p.starts
		p.starts++
		p.mu.Unlock()
		n := p.w.newNode(p.index, number)
		catalog, err := customstatus.OpenShared(context.Background(), n.store, n.options())
		if n.Catalog = catalog; err == nil {
			a.note("starts node %d at %v", number, catalog.Position())
			p.mu.Lock()
			p.node = n
			p.mu.Unlock()
			return
		}
		a.note("can't start node %d: %v", number, err)
		_ = n.store.Close()
		if a.sleep(p.w.always, 50*time.Millisecond); p.w.isStuck() {
			return
		}
	}
}

// kill ends the node. Nothing that it has begun reaches anybody, except for messages
// that are on their way.
func (p *place) kill(a *actor) {
	n := p.now()
	a.note("kills node %d", n.number)
	close(n.dead)
	a.step() // so that what hears of both hears of the death first
	_ = n.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = append(p.dead, n)
}

func (w *world) isStuck() bool {
	select {
	case <-w.stuck:
		return true
	default:
		return false
	}
}
