package linear

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/internal/harness"
)

// TestPlanted shows that the checker finds the races that it is there for: it
// rejects catalogs that have them, and nothing but them.
func TestPlanted(t *testing.T) {
	catalogs := map[string]func(t *testing.T) ([]catalog, func()){
		"a store denies what it wrote": func(t *testing.T) ([]catalog, func()) {
			c := open(t, &denyingStore{Store: customstatus.NewMemoryStore()})
			return []catalog{c}, func() { closeAll(t, c) }
		},
		"a shared store is read without Sync": func(t *testing.T) ([]catalog, func()) {
			place := customstatus.NewSharedMemory()
			a, b := open(t, place.Open()), open(t, place.Open())
			return []catalog{unsynced{a}, unsynced{b}}, func() { closeAll(t, a, b) }
		},
		"two catalogs have a store that is for one": func(t *testing.T) ([]catalog, func()) {
			store := customstatus.NewMemoryStore()
			a, b := open(t, store), open(t, keptOpen{store})
			return []catalog{a, b}, func() { closeAll(t, b, a) }
		},
	}
	for _, f := range flaws {
		catalogs[string(f)] = func(*testing.T) ([]catalog, func()) { return []catalog{newToy(f)}, func() {} }
	}
	var rejected, slowest int
	for name, make := range catalogs {
		t.Run(name, func(t *testing.T) {
			const most = 3000 // each is found within some sixty
			for n := range most {
				c, done := make(t)
				h := collide.run(t, uint64(n), c...)
				done()
				if h.check(customstatus.Page{}) != "" {
					t.Logf("history %d is rejected", n+1)
					rejected, slowest = rejected+1, max(slowest, n+1)
					return
				}
			}
			t.Errorf("no history of %d is rejected", most)
		})
	}
	harness.Report(t, "planted", "%d of %d flawed catalogs rejected, each within %d histories", rejected, len(catalogs), slowest)
	t.Run("no flaw", func(t *testing.T) {
		for n := range uint64(500) {
			c := newToy("")
			if why := collide.run(t, n, c).check(customstatus.Page{}); why != "" {
				t.Fatal(why)
			}
		}
	})
}

// flaw is a mistake that somebody could make who writes such a catalog.
type flaw string

const (
	checkThenCreate  flaw = "create checks the name and inserts later"
	checkThenRename  flaw = "update checks the name and renames later"
	checkThenUpdate  flaw = "the condition of an update is checked before its turn"
	twoWrites        flaw = "update writes name and type one after the other"
	lostUpdate       flaw = "update writes back an old copy of everything"
	halfImport       flaw = "an import can be seen in part"
	notDurable       flaw = "a write is shown before it is durable, and taken back when that fails"
	failedButMade    flaw = "a write that fails has been made"
	cancelledButMade flaw = "a cancelled write has been made"
	staleReads       flaw = "reads come from the snapshot before the last write"
	nameKept         flaw = "delete leaves the name taken"
	revisionTwice    flaw = "two commits have the same revision"
)

var flaws = []flaw{
	checkThenCreate, checkThenRename, checkThenUpdate, twoWrites, lostUpdate, halfImport,
	notDurable, failedButMade, cancelledButMade, staleReads, nameKept, revisionTwice,
}

// toy is a catalog behind one lock, with a flaw or with none. Every fifth of its
// writes fails.
type toy struct {
	flaw flaw

	mu       sync.Mutex
	revision customstatus.Revision
	writes   int
	ids      int
	statuses map[string]customstatus.CustomUserStatus // by id
	kept     map[string]bool                          // names, by nameKept
	old      customstatus.Page                        // by staleReads
}

func newToy(f flaw) *toy {
	return &toy{flaw: f, statuses: make(map[string]customstatus.CustomUserStatus), kept: make(map[string]bool)}
}

// race lets others in if the toy has the flaw.
func (c *toy) race(f flaw) {
	if c.flaw != f {
		return
	}
	c.mu.Unlock()
	for range 4 {
		runtime.Gosched()
	}
	c.mu.Lock()
}

// commit makes a change, unless the context is done or the store fails.
func (c *toy) commit(ctx context.Context, change func(customstatus.Revision)) error {
	c.writes++
	err := ctx.Err()
	made := err == nil || c.flaw == cancelledButMade
	if err == nil && c.writes%5 == 0 {
		err, made = errInjected, c.flaw == failedButMade
	}
	if !made && c.flaw != notDurable {
		return err
	}
	before, revision := maps.Clone(c.statuses), c.revision
	c.old = c.page()
	if c.flaw != revisionTwice || c.writes%2 == 0 {
		c.revision++
	}
	change(c.revision)
	if !made {
		c.race(notDurable)
		c.statuses, c.revision = before, revision
	}
	return err
}

func (c *toy) taken(name, id string) bool {
	for _, s := range c.statuses {
		if s.Name == name && s.ID != id {
			return true
		}
	}
	return c.kept[name]
}

// lookUp returns the status that a write is about.
func (c *toy) lookUp(id string, opts *customstatus.WriteOptions) (customstatus.CustomUserStatus, error) {
	s, ok := c.statuses[id]
	switch {
	case !ok:
		return s, customstatus.ErrNotFound
	case opts.IfRevision != 0 && opts.IfRevision != s.Revision:
		return s, customstatus.ErrConflict
	}
	return s, nil
}

func (c *toy) Create(ctx context.Context, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taken(f.Name, "") {
		return customstatus.CustomUserStatus{}, customstatus.ErrNameInUse
	}
	c.race(checkThenCreate)
	c.ids++
	s := customstatus.CustomUserStatus{ID: fmt.Sprint(c.ids), Name: f.Name, StatusType: f.StatusType}
	err := c.commit(ctx, func(r customstatus.Revision) {
		s.Revision = r
		c.statuses[s.ID] = s
	})
	return s, err
}

func (c *toy) Update(ctx context.Context, id string, f customstatus.Fields, opts *customstatus.WriteOptions) (customstatus.CustomUserStatus, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.lookUp(id, opts)
	if err != nil {
		return s, err
	}
	if c.flaw == checkThenUpdate && opts.IfRevision != 0 {
		c.race(checkThenUpdate)
		if s, err = c.lookUp(id, &customstatus.WriteOptions{}); err != nil {
			return s, err
		}
	}
	if c.taken(f.Name, id) {
		return s, customstatus.ErrNameInUse
	}
	c.race(checkThenRename)
	if _, there := c.statuses[id]; !there {
		return s, customstatus.ErrNotFound
	}
	err = c.commit(ctx, func(r customstatus.Revision) {
		s.Name, s.Revision = f.Name, r
		statuses := c.statuses
		switch c.flaw {
		case lostUpdate:
			statuses = maps.Clone(c.statuses)
			c.race(lostUpdate)
		case twoWrites:
			statuses[id] = s
			c.race(twoWrites)
		}
		s.StatusType = f.StatusType
		statuses[id] = s
		c.statuses = statuses
	})
	return s, err
}

func (c *toy) Delete(ctx context.Context, id string, opts *customstatus.WriteOptions) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.lookUp(id, opts)
	if err != nil {
		return err
	}
	return c.commit(ctx, func(customstatus.Revision) {
		delete(c.statuses, id)
		c.kept[s.Name] = c.flaw == nameKept
	})
}

func (c *toy) Import(ctx context.Context, statuses []customstatus.CustomUserStatus) (customstatus.Revision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var bad customstatus.ImportError
	var fresh []customstatus.CustomUserStatus
	for i, s := range statuses {
		if have, there := c.statuses[s.ID]; there {
			if have.Name != s.Name || have.StatusType != s.StatusType || have.UpdatedAt != s.UpdatedAt {
				bad.Records = append(bad.Records, customstatus.RecordError{Index: i, Err: customstatus.ErrIDInUse})
			}
			continue
		}
		if c.taken(s.Name, "") {
			bad.Records = append(bad.Records, customstatus.RecordError{Index: i, Err: customstatus.ErrNameInUse})
		}
		fresh = append(fresh, s)
	}
	if bad.Records != nil {
		return 0, &bad
	}
	if fresh == nil {
		return c.revision, nil
	}
	var revision customstatus.Revision
	err := c.commit(ctx, func(r customstatus.Revision) {
		revision = r
		for _, s := range fresh {
			s.Revision = r
			c.statuses[s.ID] = s
			c.race(halfImport)
		}
	})
	return revision, err
}

func (c *toy) page() customstatus.Page {
	statuses := slices.SortedFunc(maps.Values(c.statuses), func(a, b customstatus.CustomUserStatus) int {
		return strings.Compare(a.Name, b.Name)
	})
	return customstatus.Page{Statuses: statuses, Revision: c.revision}
}

// read returns what readers see.
func (c *toy) read() customstatus.Page {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flaw == staleReads {
		return c.old
	}
	return c.page()
}

func (c *toy) Get(id string) (customstatus.CustomUserStatus, error) {
	return find(c.read(), func(s customstatus.CustomUserStatus) bool { return s.ID == id })
}

func (c *toy) GetByName(name string) (customstatus.CustomUserStatus, error) {
	return find(c.read(), func(s customstatus.CustomUserStatus) bool { return s.Name == name })
}

func find(p customstatus.Page, is func(customstatus.CustomUserStatus) bool) (customstatus.CustomUserStatus, error) {
	if i := slices.IndexFunc(p.Statuses, is); i >= 0 {
		return p.Statuses[i], nil
	}
	return customstatus.CustomUserStatus{}, customstatus.ErrNotFound
}

func (c *toy) List(q customstatus.Query) (customstatus.Page, error) { return query(c.read(), q), nil }

func (c *toy) Revision() customstatus.Revision { return c.read().Revision }

func (c *toy) Sync(context.Context) error { return nil }

// unsynced reads from a shared store what happens to be there.
type unsynced struct{ *customstatus.Catalog }

func (unsynced) Sync(context.Context) error { return nil }

// keptOpen is a store that somebody else closes.
type keptOpen struct{ customstatus.Store }

func (keptOpen) Close() error { return nil }

// denyingStore says of every fifth commit that nothing was written.
type denyingStore struct {
	customstatus.Store
	mu      sync.Mutex
	commits int
}

func (s *denyingStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	revision, err := s.Store.Commit(ctx, changes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.commits++; s.commits%5 == 0 && err == nil {
		return 0, errInjected
	}
	return revision, err
}

func open(t *testing.T, store customstatus.Store) *customstatus.Catalog {
	t.Helper()
	c, err := customstatus.Open(context.Background(), store, nil)
	if err != nil {
		t.Fatal(errors.Join(err, store.Close()))
	}
	return c
}

func closeAll(t *testing.T, catalogs ...*customstatus.Catalog) {
	t.Helper()
	for _, c := range catalogs {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPlantedFeeds shows that what a watcher saw is rejected when it is not the
// commits in their order.
func TestPlantedFeeds(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore())
	defer closeAll(t, c)
	var watching sync.WaitGroup
	w := watch(&watching, c, lastName)
	h := &history{refused: make(map[error]int)}
	for seed := range uint64(3) { // of one, few writes may come through
		h.add(collide.run(t, seed, c))
	}
	if _, err := c.Create(context.Background(), customstatus.Fields{Name: lastName, StatusType: customstatus.Busy}); err != nil {
		t.Fatal(err)
	}
	watching.Wait()
	n := len(w.commits)
	if n < 4 {
		t.Fatalf("only %d commits", n)
	}
	verdict := func(commits []customstatus.Commit) error {
		damaged := &watcher{start: w.start, commits: commits}
		_, err := damaged.replay()
		return errors.Join(err, account(h.ops, damaged))
	}
	if err := verdict(w.commits); err != nil {
		t.Fatal(err)
	}
	swapped := slices.Clone(w.commits)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	invented := slices.Clone(w.commits)
	invented[n-1].Changes = append(slices.Clone(invented[n-1].Changes), customstatus.Change{
		Status: customstatus.CustomUserStatus{ID: "invented", Name: "invented", Revision: invented[n-1].Revision},
	})
	changed := slices.Clone(w.commits)
	changed[0].Changes = slices.Clone(changed[0].Changes)
	changed[0].Changes[0].Status.StatusType = customstatus.Offline + "?"
	for name, commits := range map[string][]customstatus.Commit{
		"a commit missing":          slices.Concat(w.commits[:1], w.commits[2:]),
		"the first commit missing":  w.commits[1:],
		"a commit twice":            slices.Concat(w.commits[:2], w.commits[1:]),
		"two commits swapped":       swapped,
		"a change that nobody made": invented,
		"a change that differs":     changed,
	} {
		if verdict(commits) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
