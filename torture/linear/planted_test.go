package linear

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
	"github.com/customstatus/customstatus/torture/internal/harness"
)

// TestPlanted shows that the checker finds the races that it is there for: it
// rejects catalogs that have them, and nothing but them.
func TestPlanted(t *testing.T) {
	catalogs := map[string]func(t *testing.T) ([]Catalog, func()){
		"a store denies what it wrote": func(t *testing.T) ([]Catalog, func()) {
			c := open(t, &denyingStore{Store: customstatus.NewMemoryStore()})
			return []Catalog{c}, func() { closeAll(t, c) }
		},
		"a shared store is read without Sync": func(t *testing.T) ([]Catalog, func()) {
			place := storetest.NewSharedMemory()
			a, b := openShared(t, place.Open()), openShared(t, place.Open())
			return []Catalog{unsynced{a}, unsynced{b}}, func() { closeAll(t, a, b) }
		},
		"two catalogs have a store that is for one": func(t *testing.T) ([]Catalog, func()) {
			store := customstatus.NewMemoryStore()
			a, b := open(t, store), open(t, keptOpen{store})
			return []Catalog{a, b}, func() { closeAll(t, b, a) }
		},
	}
	for _, f := range flaws {
		catalogs[string(f)] = func(*testing.T) ([]Catalog, func()) { return []Catalog{newToy(f)}, func() {} }
	}
	var rejected, slowest int
	for name, make := range catalogs {
		t.Run(name, func(t *testing.T) {
			const most = 3000 // each is found within some sixty
			for n := range most {
				c, done := make(t)
				h := run(t, collide, uint64(n), c...)
				done()
				if h.Check(customstatus.Page{}) != "" {
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
			if why := run(t, collide, n, c).Check(customstatus.Page{}); why != "" {
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
	metadataDropped  flaw = "an update that says nothing of the metadata drops it"
	goesBack         flaw = "the catalog goes back to an older state and tells nobody"
)

var flaws = []flaw{
	checkThenCreate, checkThenRename, checkThenUpdate, twoWrites, lostUpdate, halfImport,
	notDurable, failedButMade, cancelledButMade, staleReads, nameKept, revisionTwice,
	metadataDropped, goesBack,
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

	older   map[string]customstatus.CustomUserStatus // by goesBack
	olderAt customstatus.Revision
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
		err, made = ErrInjected, c.flaw == failedButMade
	}
	if !made && c.flaw != notDurable {
		return err
	}
	before, revision := maps.Clone(c.statuses), c.revision
	c.old = c.page()
	if c.flaw == goesBack && c.writes%4 == 0 && c.older != nil {
		c.statuses, c.revision = c.older, c.olderAt
	} else if c.writes%2 == 0 {
		c.older, c.olderAt = before, revision
	}
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
	if f.Metadata != nil {
		s.Metadata = *f.Metadata
	}
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
		if !opts.KeepStatusType {
			s.StatusType = f.StatusType
		}
		if f.Metadata != nil {
			s.Metadata = *f.Metadata
		} else if c.flaw == metadataDropped {
			s.Metadata = ""
		}
		statuses[id] = s
		c.statuses = statuses
	})
	return s, err
}

func (c *toy) Delete(ctx context.Context, id string, opts *customstatus.WriteOptions) (customstatus.Revision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, err := c.lookUp(id, opts)
	if err != nil {
		return 0, err
	}
	var revision customstatus.Revision
	err = c.commit(ctx, func(r customstatus.Revision) {
		revision = r
		delete(c.statuses, id)
		c.kept[s.Name] = c.flaw == nameKept
	})
	return revision, err
}

func (c *toy) Import(ctx context.Context, statuses []customstatus.CustomUserStatus) (customstatus.ImportResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var bad customstatus.ImportError
	var fresh []customstatus.CustomUserStatus
	for i, s := range statuses {
		if have, there := c.statuses[s.ID]; there {
			fits := s.Metadata == "" || have.Metadata == s.Metadata
			if have.Name != s.Name || have.StatusType != s.StatusType || have.UpdatedAt != s.UpdatedAt || !fits {
				bad.Refused = append(bad.Refused, customstatus.Refusal{Index: i, Err: customstatus.ErrIDInUse})
			}
			continue
		}
		if c.taken(s.Name, "") {
			bad.Refused = append(bad.Refused, customstatus.Refusal{Index: i, Err: customstatus.ErrNameInUse})
		}
		fresh = append(fresh, s)
	}
	if bad.Refused != nil {
		return customstatus.ImportResult{}, &bad
	}
	result := customstatus.ImportResult{Added: len(fresh), Unchanged: len(statuses) - len(fresh), Revision: c.revision}
	if fresh == nil {
		return result, nil
	}
	err := c.commit(ctx, func(r customstatus.Revision) {
		result.Revision = r
		for _, s := range fresh {
			s.Revision = r
			c.statuses[s.ID] = s
			c.race(halfImport)
		}
	})
	return result, err
}

func (c *toy) page() customstatus.Page {
	statuses := slices.SortedFunc(maps.Values(c.statuses), func(a, b customstatus.CustomUserStatus) int {
		return strings.Compare(a.Name, b.Name)
	})
	return customstatus.Page{Statuses: statuses, Position: customstatus.Position{Revision: c.revision}}
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

func (c *toy) Revision() customstatus.Revision { return c.read().Position.Revision }

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
		return 0, ErrInjected
	}
	return revision, err
}

// quiet are options for a store with faults, of which the log need not tell.
func quiet() *customstatus.Options {
	return &customstatus.Options{Logger: slog.New(slog.DiscardHandler)}
}

func open(t *testing.T, store customstatus.Store) *customstatus.Catalog {
	t.Helper()
	c, err := customstatus.Open(context.Background(), store, quiet())
	if err != nil {
		t.Fatal(errors.Join(err, store.Close()))
	}
	return c
}

func openShared(t *testing.T, store customstatus.SharedStore) *customstatus.Catalog {
	t.Helper()
	c, err := customstatus.OpenShared(context.Background(), store, quiet())
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
