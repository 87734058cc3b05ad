package linear

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
	"github.com/customstatus/customstatus/torture/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// faults are what a store does now and then instead of a commit.
type faults struct {
	mu   sync.Mutex
	rand *rand.Rand
	off  bool
	// fails and unknown are the shares of commits that fail, with nothing
	// written, and of those that say they don't know, with or without.
	fails, unknown float64
}

// commit is inner with faults.
func (f *faults) commit(ctx context.Context, changes []customstatus.Change, inner customstatus.Store) (customstatus.Revision, error) {
	f.mu.Lock()
	n, write, before, after := f.rand.Float64(), f.rand.IntN(2) == 0, f.rand.IntN(4), f.rand.IntN(4)
	if f.off {
		n = 1
	}
	f.mu.Unlock()
	pause(before)
	defer pause(after)
	switch {
	case n < f.fails:
		return 0, fmt.Errorf("nothing was written: %w", ErrInjected)
	case n < f.fails+f.unknown:
		if write {
			if _, err := inner.Commit(ctx, changes); err != nil {
				return 0, err
			}
		}
		return 0, fmt.Errorf("%w: %w", customstatus.ErrOutcomeUnknown, ErrInjected)
	}
	return inner.Commit(ctx, changes)
}

// stop ends the faults.
func (f *faults) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = true
}

// pause lets other goroutines run, so that a commit takes its time.
func pause(n int) {
	for range n {
		runtime.Gosched()
	}
}

// faultyStore is a store with faults.
type faultyStore struct {
	customstatus.Store
	*faults
}

func (s faultyStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	return s.commit(ctx, changes, s.Store)
}

// faultyShared is a shared store with faults. Now and then its feed ends, or
// says that it has forgotten what comes next.
type faultyShared struct {
	*storetest.SharedMemoryStore
	*faults
}

func (s faultyShared) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	return s.commit(ctx, changes, s.SharedMemoryStore)
}

// Revision is what Sync asks, and fails now and then.
func (s faultyShared) Revision(ctx context.Context) (customstatus.Revision, error) {
	s.mu.Lock()
	failing := !s.off && s.rand.Float64() < s.fails
	s.mu.Unlock()
	if failing {
		return 0, ErrInjected
	}
	return s.SharedMemoryStore.Revision(ctx)
}

func (s faultyShared) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		for commit, err := range s.SharedMemoryStore.Watch(ctx, after) {
			s.mu.Lock()
			forgets := s.unknown > 0 && !s.off && s.rand.IntN(40) == 0
			late := s.rand.IntN(4)
			s.mu.Unlock()
			pause(late)
			if forgets {
				yield(customstatus.Commit{}, customstatus.ErrCompacted)
				return
			}
			if !yield(commit, err) {
				return
			}
		}
	}
}

// setting is what histories are recorded against.
type setting struct {
	name string
	// open returns the catalogs of a new place with the faults, and opens it
	// again; nil if what it held is gone.
	open  func(t *testing.T, f *faults) (catalogs []*customstatus.Catalog, reopen func() *customstatus.Catalog)
	many  int // histories in the long run; a tenth of it else
	load  Workload
	fails float64
	// unknown is the share of commits with an unknown outcome, after which
	// watchers have to list again.
	unknown float64
}

func onMemory(t *testing.T, f *faults) ([]*customstatus.Catalog, func() *customstatus.Catalog) {
	return []*customstatus.Catalog{open(t, faultyStore{customstatus.NewMemoryStore(), f})}, nil
}

func onBolt(t *testing.T, f *faults) ([]*customstatus.Catalog, func() *customstatus.Catalog) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := open(t, faultyStore{openUnsynced(t, path), f})
	return []*customstatus.Catalog{c}, func() *customstatus.Catalog { return open(t, openUnsynced(t, path)) }
}

func onShared(t *testing.T, f *faults) ([]*customstatus.Catalog, func() *customstatus.Catalog) {
	place := storetest.NewSharedMemory()
	var catalogs []*customstatus.Catalog
	for range 3 {
		catalogs = append(catalogs, openShared(t, faultyShared{place.Open(), f}))
	}
	return catalogs, func() *customstatus.Catalog { return openShared(t, place.Open()) }
}

// TestHistories checks what concurrent clients are told, and what watchers see
// meanwhile, on each store. Writes collide on purpose, contexts are cancelled and
// commits fail.
func TestHistories(t *testing.T) {
	shared := collide
	shared.Clients, shared.Shared = 6, true
	unknown, sharedUnknown := collide, shared
	unknown.Stays, sharedUnknown.Stays = true, true
	for _, s := range []setting{
		{name: "memory", open: onMemory, many: 20000, load: collide, fails: 0.05},
		{name: "memory, unknown outcomes", open: onMemory, many: 10000, load: unknown, fails: 0.05, unknown: 0.1},
		{name: "bbolt", open: onBolt, many: 6000, load: collide, fails: 0.05},
		{name: "bbolt, unknown outcomes", open: onBolt, many: 3000, load: unknown, fails: 0.05, unknown: 0.1},
		{name: "three catalogs on one place", open: onShared, many: 10000, load: shared, fails: 0.05},
		{name: "three catalogs on one place, unknown outcomes", open: onShared, many: 5000, load: sharedUnknown, fails: 0.05, unknown: 0.1},
	} {
		t.Run(s.name, func(t *testing.T) {
			total := &totals{refused: make(map[error]int)}
			const perPlace = 25
			for n := 0; n < harness.Rounds(s.many/10, s.many); n += perPlace {
				s.record(t, uint64(n), perPlace, total)
				if t.Failed() {
					return
				}
			}
			total.report(t, s)
		})
	}
}

// record opens a place, records histories one after the other, and checks them.
func (s setting) record(t *testing.T, seed uint64, histories int, total *totals) {
	f := &faults{rand: rand.New(rand.NewPCG(seed, 1)), fails: s.fails, unknown: s.unknown}
	opened, reopen := s.open(t, f)
	defer func() { closeAll(t, opened...) }()
	var catalogs []Catalog
	for _, c := range opened {
		catalogs = append(catalogs, c)
	}

	// Some watch from the beginning, two on each catalog, and some join.
	var watching sync.WaitGroup
	var watchers []*Watcher
	for _, c := range opened {
		watchers = append(watchers, Watch(&watching, c, LastName), Follow(&watching, c, LastName))
	}
	first := len(watchers)
	all := &History{refused: make(map[error]int)}
	var each []*History // whose clocks say nothing of one another
	for n := range histories {
		start := rest(t, opened, s.load.Stays)
		join := Watch
		if n%2 == 0 {
			join = Follow
		}
		var joined *Watcher
		var joining sync.WaitGroup
		joining.Go(func() {
			pause(n)
			joined = join(&watching, opened[n%len(opened)], LastName)
		})
		h := run(t, s.load, seed+uint64(n), catalogs...)
		joining.Wait()
		watchers = append(watchers, joined)
		if why := h.Check(start); why != "" {
			t.Fatalf("seed %d: %s", seed+uint64(n), why)
		}
		all.add(h)
		each = append(each, h)
	}
	f.stop()
	if _, err := opened[0].Create(context.Background(), customstatus.Fields{Name: LastName, StatusType: customstatus.Busy}); err != nil {
		t.Fatal(err)
	}
	end := rest(t, opened, s.load.Stays)
	reached := opened[0].Revision()
	watching.Wait()

	held := make(map[customstatus.Revision]customstatus.Page)
	for i, w := range watchers {
		if w.Err != nil {
			t.Fatalf("seed %d: watcher %d: %v", seed, i, w.Err)
		}
		at, err := w.Replay(s.load.Stays)
		if err != nil {
			t.Fatalf("seed %d: watcher %d: %v", seed, i, err)
		}
		for revision, page := range at {
			if other, known := held[revision]; known && !same(other.Statuses, page.Statuses, s.load.Stays) {
				t.Fatalf("seed %d: watcher %d has %v at revision %d, others %v", seed, i, page, revision, other)
			}
			held[revision] = page
		}
		if s.unknown == 0 && len(w.Gaps) > 0 {
			t.Fatalf("seed %d: watcher %d missed commits", seed, i)
		}
		total.commits += len(w.Commits)
		if w.follows {
			total.followers++
		}
		total.gaps += len(w.Gaps)
		for _, commit := range w.Commits {
			if ofSeveral(commit) {
				total.shared++
			}
		}
	}
	for i, w := range watchers[:first] {
		// There are two watchers of each catalog.
		loaded := len(opened) > 1 && opened[i/2].Stats().Loads > 1
		if err := Account(all.Ops, w, loaded); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	pages := make(Held)
	pages.Add(held)
	for n, h := range each {
		if err := h.LocalReads(pages); err != nil {
			t.Fatalf("seed %d: %v", seed+uint64(n), err)
		}
		total.local += len(h.local)
	}
	total.histories += histories
	total.watchers += len(watchers)
	total.ops += len(all.Ops)
	total.failed += len(all.left)
	total.unknown += all.unknown
	for err, n := range all.refused {
		total.refused[err] += n
	}

	if reopen != nil {
		closeAll(t, opened...)
		again := reopen()
		defer closeAll(t, again)
		page, err := again.List(customstatus.Query{})
		if err != nil || !slices.Equal(page.Statuses, end.Statuses) ||
			page.Position.Fingerprint != end.Position.Fingerprint || again.Revision() != reached {
			t.Fatalf("seed %d: reopened, it holds %v (%v), not %v", seed, page, err, end)
		}
	}
}

// collide makes short histories with few names: most writes collide with another one.
var collide = Workload{Clients: 5, Ops: 7, Names: []string{"a", "b", "c"}, Cancels: 0.1}

// run is Workload.Run for a test, which an unexpected error fails.
func run(t *testing.T, w Workload, seed uint64, catalogs ...Catalog) *History {
	t.Helper()
	h := w.Run(seed, catalogs...)
	if h.Err != nil {
		t.Error(h.Err)
	}
	return h
}

// rest waits until all catalogs show the same and nothing is under way any more,
// and returns that.
func rest(t *testing.T, catalogs []*customstatus.Catalog, stays bool) customstatus.Page {
	t.Helper()
	insist := func(what func() error, want error) {
		for {
			err := what()
			if errors.Is(err, ErrInjected) {
				continue
			}
			if !errors.Is(err, want) {
				t.Fatal(err)
			}
			return
		}
	}
	// After an unknown outcome, a catalog looks at what its store holds when
	// the next write comes, if only to be refused.
	insist(func() error {
		_, err := catalogs[0].Delete(context.Background(), "nobody", nil)
		return err
	}, customstatus.ErrNotFound)
	var first customstatus.Page
	for i, c := range catalogs {
		insist(func() error { return c.Sync(context.Background()) }, nil)
		page, err := c.List(customstatus.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = page
			continue
		}
		got, want := page.Position, first.Position
		if stays {
			got.Revision, want.Revision = c.Revision(), catalogs[0].Revision()
		}
		if got != want || !slices.Equal(page.Statuses, first.Statuses) {
			t.Fatalf("at rest, catalog %d shows %v, catalog 0 %v", i, page, first)
		}
	}
	return first
}

// add puts what other clients were told behind what h has.
func (h *History) add(other *History) {
	h.Ops = append(h.Ops, other.Ops...)
	h.left = append(h.left, other.left...)
	h.unknown += other.unknown
	for err, n := range other.refused {
		h.refused[err] += n
	}
}

// totals are the figures of a setting.
type totals struct {
	histories, ops, local, failed, unknown, watchers, followers, commits, shared, gaps int
	refused                                                                            map[error]int
}

// report hands out the figures, and fails if the histories had nothing in them of
// what they are for.
func (n *totals) report(t *testing.T, s setting) {
	t.Helper()
	inUse, notFound, conflict := n.refused[customstatus.ErrNameInUse], n.refused[customstatus.ErrNotFound], n.refused[customstatus.ErrConflict]
	harness.Report(t, "histories", "%d linearizable, of %d operations: %d names in use, %d not found, %d conflicts, %d failed or cancelled, %d unknown",
		n.histories, n.ops, inUse, notFound, conflict, n.failed, n.unknown)
	harness.Report(t, "watchers", "%d, %d of them by Follow, saw %d commits in order, %d of which several writes shared; %d times the whole again",
		n.watchers, n.followers, n.commits, n.shared, n.gaps)
	if inUse == 0 || notFound == 0 || conflict == 0 || n.failed == 0 || n.shared == 0 || (n.local == 0) == s.load.Shared || (n.unknown == 0) != (s.unknown == 0) {
		t.Error("the histories lack something")
	}
}
