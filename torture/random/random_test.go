package random

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/internal/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestCatalog performs random operations on a catalog over each store, and the
// same on the model.
func TestCatalog(t *testing.T) {
	for _, p := range []struct {
		name    string
		open    func(t *rapid.T, m *machine) place
		checks  int // in the long run; a twentieth of it else
		shared  bool
		writers int
	}{
		{"memory", memoryPlace, 30000, false, 1},
		{"bbolt", boltPlace, 5000, false, 1},
		{"shared memory, two catalogs", sharedPlace, 20000, true, 2},
	} {
		t.Run(p.name, func(t *testing.T) {
			checks := harness.Rounds(p.checks/20, p.checks)
			for name, value := range map[string]string{
				"rapid.checks":     fmt.Sprint(checks),
				"rapid.steps":      "60",
				"rapid.nofailfile": "true", // a failure prints what reproduces it
			} {
				if err := flag.Set(name, value); err != nil {
					t.Fatal(err)
				}
			}
			var operations atomic.Int64
			rapid.Check(t, func(t *rapid.T) {
				m := newMachine(t, p.shared, &operations)
				m.place = p.open(t, m)
				t.Cleanup(func() { m.closeAll(t) })
				for range p.writers {
					m.catalogs = append(m.catalogs, m.open(t))
				}
				t.Repeat(rapid.StateMachineActions(m))
			})
			harness.Report(t, "random", "%d operations in %d runs, as the model says", operations.Load(), checks)
		})
	}
}

// place is where catalogs are opened, and opened again.
type place struct {
	store func(t *rapid.T) customstatus.Store
	// backup opens a copy of what is stored; nil if there is no such thing.
	backup func(t *rapid.T) customstatus.Store
}

func memoryPlace(_ *rapid.T, m *machine) place {
	store := customstatus.NewMemoryStore()
	return place{store: func(*rapid.T) customstatus.Store { return faulty{keptOpen{store}, m} }}
}

// keptOpen is a store that outlives its catalogs.
type keptOpen struct{ customstatus.Store }

func (keptOpen) Close() error { return nil }

func boltPlace(t *rapid.T, m *machine) place {
	directory, err := os.MkdirTemp("", "customstatus-random")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(directory); err != nil {
			t.Error(err)
		}
	})
	openBolt := func(t *rapid.T, path string) *customstatus.BoltStore {
		store, err := customstatus.OpenBolt(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	var current *customstatus.BoltStore
	return place{
		store: func(t *rapid.T) customstatus.Store {
			current = openBolt(t, filepath.Join(directory, "catalog.db"))
			return faulty{current, m}
		},
		backup: func(t *rapid.T) customstatus.Store {
			var b bytes.Buffer
			if err := current.Backup(&b); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(directory, "backup.db")
			if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			return openBolt(t, path)
		},
	}
}

func sharedPlace(_ *rapid.T, m *machine) place {
	shared := customstatus.NewSharedMemory()
	return place{store: func(*rapid.T) customstatus.Store { return faultyShared{shared.Open(), m} }}
}

// fault is what a store does instead of the next commit.
type fault int

const (
	works fault = iota
	fails
	unknownWritten
	unknownNotWritten
)

var errInjected = errors.New("injected fault")

// faulty is a store that has the machine's next fault.
type faulty struct {
	customstatus.Store
	m *machine
}

func (s faulty) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	return s.m.commit(ctx, changes, s.Store)
}

type faultyShared struct {
	*customstatus.SharedMemoryStore
	m *machine
}

func (s faultyShared) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	return s.m.commit(ctx, changes, s.SharedMemoryStore)
}

// machine is the catalogs and their model. Its exported methods are the actions
// that rapid chooses from.
type machine struct {
	place    place
	shared   bool
	rules    customstatus.Rules
	history  int
	catalogs []*customstatus.Catalog

	stored naive // what the store holds
	shown  naive // what the catalogs show
	stale  bool  // an unknown outcome: the next write shows what is stored
	log    log
	fault  fault

	now        time.Time
	ids        []string // what the source of ids gives next
	made       int      // ids that it has made up after those
	operations *atomic.Int64
}

func newMachine(t *rapid.T, shared bool, operations *atomic.Int64) *machine {
	m := &machine{
		shared:     shared,
		rules:      customstatus.Rules{StatusTypeOptional: rapid.Bool().Draw(t, "statusTypeOptional")},
		history:    rapid.IntRange(1, 12).Draw(t, "history"),
		stored:     naive{statuses: make(map[string]customstatus.CustomUserStatus)},
		shown:      naive{statuses: make(map[string]customstatus.CustomUserStatus)},
		now:        time.Date(2023, 11, 4, 11, 51, 28, 353e6, time.UTC),
		operations: operations,
	}
	m.log.limit = m.history
	return m
}

func (m *machine) commit(ctx context.Context, changes []customstatus.Change, inner customstatus.Store) (customstatus.Revision, error) {
	if len(changes) == 0 {
		return inner.Commit(ctx, changes)
	}
	switch m.fault {
	case fails:
		return 0, errInjected
	case unknownNotWritten:
		return 0, customstatus.ErrOutcomeUnknown
	case unknownWritten:
		if _, err := inner.Commit(ctx, changes); err != nil {
			return 0, err
		}
		return 0, customstatus.ErrOutcomeUnknown
	}
	return inner.Commit(ctx, changes)
}

func (m *machine) open(t *rapid.T) *customstatus.Catalog {
	store := m.place.store(t)
	c, err := customstatus.Open(context.Background(), store, &customstatus.Options{
		Rules:   m.rules,
		Now:     func() time.Time { return m.now },
		NewID:   m.newID,
		History: m.history,
	})
	if err != nil {
		t.Fatal(errors.Join(err, store.Close()))
	}
	return c
}

func (m *machine) closeAll(t *rapid.T) {
	for _, c := range m.catalogs {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := c.List(customstatus.Query{}); !errors.Is(err, customstatus.ErrClosed) {
			t.Errorf("closed, it answers %v", err)
		}
	}
	m.catalogs = nil
}

// newID is the source of ids. It gives some that are in use, and some that are
// none.
func (m *machine) newID() string {
	if len(m.ids) > 0 {
		id := m.ids[0]
		m.ids = m.ids[1:]
		return id
	}
	m.made++
	return fmt.Sprintf("made-%d", m.made)
}

// oddIDs puts before the good ids of the source some that a catalog must not use.
func (m *machine) oddIDs(t *rapid.T) {
	m.ids = nil
	if rapid.IntRange(0, 9).Draw(t, "oddIDs") > 0 {
		return
	}
	odd := append(m.shown.ids(), "", "\x00", strings.Repeat("x", customstatus.MaxIDLength+1))
	m.ids = rapid.SliceOfN(rapid.SampledFrom(odd), 1, 9).Draw(t, "ids")
}

// nextID is the id that the source gives after those.
func (m *machine) nextID() string { return fmt.Sprintf("made-%d", m.made+1) }

// catalog returns one of the catalogs, and counts an operation.
func (m *machine) catalog(t *rapid.T) *customstatus.Catalog {
	m.operations.Add(1)
	if len(m.catalogs) == 1 {
		return m.catalogs[0]
	}
	return rapid.SampledFrom(m.catalogs).Draw(t, "catalog")
}

// Names that collide, that fold to each other, that are as long as they may be;
// and in the end such as are none.
var names = []string{
	"a", "A", "ab", "B", "s", "S", "ſ", "k", "K", "\u212a", "ß", "ẞ", "ss", "i", "I", "ı", "İ", "i̇",
	"σ", "ς", "Σ", "Ǆ", "ǅ", "ǆ", "日本", "é", "e\u0301", "x y", " x", "\u00a0z", "\ufffd", "%_.*[", "🙂",
	strings.Repeat("界", customstatus.MaxNameLength),
}

var noNames = map[string]error{
	"":     customstatus.ErrRequired,
	" \t":  customstatus.ErrRequired,
	"a<b":  customstatus.ErrInvalid,
	"a\nb": customstatus.ErrInvalid,
	"\xff": customstatus.ErrInvalid,
	strings.Repeat("x", customstatus.MaxNameLength+1): customstatus.ErrInvalid,
}

// fields draws fields and the error that the rules give for them.
func (m *machine) fields(t *rapid.T) (customstatus.Fields, error) {
	f := customstatus.Fields{
		Name:       rapid.SampledFrom(names).Draw(t, "name"),
		StatusType: rapid.SampledFrom([]customstatus.StatusType{"online", "away", "busy", "offline"}).Draw(t, "statusType"),
	}
	switch rapid.IntRange(0, 15).Draw(t, "odd") {
	case 0:
		var odd []string
		for name := range noNames {
			odd = append(odd, name)
		}
		slices.Sort(odd)
		f.Name = rapid.SampledFrom(odd).Draw(t, "no name")
		return f, noNames[f.Name]
	case 1:
		f.StatusType = "Busy"
		return f, customstatus.ErrInvalid
	case 2:
		f.StatusType = ""
		if !m.rules.StatusTypeOptional {
			return f, customstatus.ErrRequired
		}
	}
	return f, nil
}

// id draws the id of a status, or of none.
func (m *machine) id(t *rapid.T) string {
	return rapid.SampledFrom(append(m.shown.ids(), "nobody")).Draw(t, "id")
}

// condition draws a revision that a write is to be done at: none, the right one
// or a wrong one.
func (m *machine) condition(t *rapid.T, id string) (customstatus.Revision, *customstatus.WriteOptions) {
	switch rapid.IntRange(0, 3).Draw(t, "condition") {
	case 0:
		return 0, nil
	case 1:
		return 0, &customstatus.WriteOptions{}
	case 2:
		r := m.shown.statuses[id].Revision
		return r, &customstatus.WriteOptions{IfRevision: r}
	}
	r := customstatus.Revision(rapid.Uint64Range(1, uint64(m.shown.revision)+2).Draw(t, "ifRevision"))
	return r, &customstatus.WriteOptions{IfRevision: r}
}

// drawFault decides what becomes of the next commit.
func (m *machine) drawFault(t *rapid.T) {
	m.fault = works
	if rapid.IntRange(0, 9).Draw(t, "fault") == 0 {
		m.fault = rapid.SampledFrom([]fault{fails, unknownWritten, unknownNotWritten}).Draw(t, "which")
	}
}

// refresh is what a catalog does at a write after an unknown outcome.
func (m *machine) refresh() {
	if !m.stale {
		return
	}
	m.stale = false
	if m.stored.revision != m.shown.revision {
		m.log.reset(m.stored.revision)
	}
	m.shown = m.stored.clone()
}

// settle compares what came of a write with what should have, and makes the
// changes in the model.
func (m *machine) settle(t *rapid.T, changes []customstatus.Change, want, got error) {
	t.Helper()
	if want != nil {
		if !errors.Is(got, want) {
			t.Fatalf("got error %v, want %v", got, want)
		}
		return
	}
	if len(changes) == 0 {
		m.fault = works
	}
	switch m.fault {
	case works:
		if got != nil {
			t.Fatal(got)
		}
	case fails:
		if !errors.Is(got, errInjected) {
			t.Fatalf("got error %v of a commit that failed", got)
		}
		return
	default:
		if !errors.Is(got, customstatus.ErrOutcomeUnknown) {
			t.Fatalf("got error %v of a commit with an unknown outcome", got)
		}
		m.stale = !m.shared
		if m.fault == unknownNotWritten {
			return
		}
	}
	if len(changes) == 0 {
		return
	}
	revision := m.stored.revision + 1
	if m.shared {
		m.sync(t)
		revision = m.catalogs[0].Revision()
		if revision <= m.stored.revision {
			t.Fatalf("a commit took the catalog from revision %d to %d", m.stored.revision, revision)
		}
		m.adoptIDs(t, changes)
	}
	commit := m.stored.apply(changes, revision)
	if m.stale {
		return
	}
	m.shown = m.stored.clone()
	m.log.append(commit)
}

// adoptIDs puts the ids that a catalog has made into changes. Over a shared store
// it may have thought twice, and taken later ones from the source.
func (m *machine) adoptIDs(t *rapid.T, changes []customstatus.Change) {
	for i, c := range changes {
		s, err := m.catalogs[0].GetByName(c.Status.Name)
		if !c.Created() || !strings.HasPrefix(c.Status.ID, "made-") || err != nil {
			continue
		}
		if _, used := m.stored.statuses[s.ID]; used || !strings.HasPrefix(s.ID, "made-") {
			t.Fatalf("%+v has an id that is in use", s)
		}
		changes[i].Status.ID = s.ID
	}
}

// sync has all catalogs show what is stored.
func (m *machine) sync(t *rapid.T) {
	for _, c := range m.catalogs {
		if err := c.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// same fails unless a write has returned the status that the catalog has by now.
func (m *machine) same(t *rapid.T, s customstatus.CustomUserStatus, err error) {
	if err == nil && s != m.shown.statuses[s.ID] {
		t.Fatalf("the write returned %+v, the model has %+v", s, m.shown.statuses[s.ID])
	}
}

func (m *machine) Create(t *rapid.T) {
	f, want := m.fields(t)
	c := m.catalog(t)
	m.drawFault(t)
	var changes []customstatus.Change
	if want == nil {
		m.refresh()
		m.oddIDs(t)
		changes, want = m.shown.create(m.nextID(), f, m.now)
	}
	s, err := c.Create(context.Background(), f)
	m.ids = nil
	m.settle(t, changes, want, err)
	m.same(t, s, err)
}

func (m *machine) CreateWithoutIDs(t *rapid.T) {
	if len(m.shown.statuses) == 0 || m.stale {
		t.Skip("it is not known which ids are in use")
	}
	m.ids = nil
	for range 20 {
		m.ids = append(m.ids, m.shown.ids()...)
	}
	_, err := m.catalog(t).Create(context.Background(), customstatus.Fields{Name: "no id for it", StatusType: "busy"})
	if err == nil {
		t.Fatal("created with an id that is in use")
	}
	m.ids = nil
}

func (m *machine) Update(t *rapid.T) {
	id := m.id(t)
	f, want := m.fields(t)
	if rapid.IntRange(0, 3).Draw(t, "same name") == 0 && want == nil && m.shown.statuses[id].Name != "" {
		f.Name = m.shown.statuses[id].Name
	}
	ifRevision, opts := m.condition(t, id)
	c := m.catalog(t)
	m.drawFault(t)
	var changes []customstatus.Change
	if want == nil {
		m.refresh()
		changes, want = m.shown.update(id, f, ifRevision, m.now)
	}
	s, err := c.Update(context.Background(), id, f, opts)
	m.settle(t, changes, want, err)
	m.same(t, s, err)
}

func (m *machine) UpdateWithoutID(t *rapid.T) {
	f, _ := m.fields(t)
	if _, err := m.catalog(t).Update(context.Background(), "", f, nil); !errors.Is(err, customstatus.ErrRequired) {
		t.Fatalf("got error %v", err)
	}
}

func (m *machine) Delete(t *rapid.T) {
	id := m.id(t)
	ifRevision, opts := m.condition(t, id)
	c := m.catalog(t)
	m.drawFault(t)
	m.refresh()
	changes, want := m.shown.delete(id, ifRevision)
	m.settle(t, changes, want, c.Delete(context.Background(), id, opts))
}

// Import imports statuses of all kinds: new ones, with an id and without, some
// that are there already, changed or not, and some that are none.
func (m *machine) Import(t *rapid.T) {
	c := m.catalog(t)
	m.drawFault(t)
	var batch []customstatus.CustomUserStatus
	invalid := make(map[int]error)
	for i := range rapid.IntRange(0, 5).Draw(t, "batch") {
		f, want := m.fields(t)
		s := customstatus.CustomUserStatus{Name: f.Name, StatusType: f.StatusType, Revision: 99}
		there, known := m.shown.statuses[m.id(t)]
		switch kind := rapid.IntRange(0, 7).Draw(t, "kind"); {
		case kind < 3 && known:
			s, want = there, nil
			if kind == 0 { // the same instant, said in another way
				s.UpdatedAt = s.UpdatedAt.Add(700 * time.Microsecond).In(time.FixedZone("", 3600))
			}
		case kind == 3 && known:
			s.ID = there.ID
		case kind == 4:
			s.ID = strings.Repeat("x", customstatus.MaxIDLength+1)
			if want == nil {
				want = customstatus.ErrInvalid
			}
		case kind == 5:
			s.UpdatedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
			if want == nil {
				want = customstatus.ErrInvalid
			}
		case kind == 6:
			s.ID = fmt.Sprintf("theirs-%d", rapid.IntRange(0, 20).Draw(t, "theirs"))
			s.UpdatedAt = time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "updatedAt"))
		}
		if want != nil {
			invalid[i] = want
		}
		batch = append(batch, s)
	}
	m.refresh()
	m.oddIDs(t)
	next := m.made
	changes, bad := m.shown.add(batch, invalid, func() string {
		next++
		return fmt.Sprintf("made-%d", next)
	}, m.now)
	given := slices.Clone(batch)
	revision, err := c.Import(context.Background(), batch)
	m.ids = nil
	if !slices.Equal(batch, given) {
		t.Fatal("Import has changed what it was given")
	}
	var refused *customstatus.ImportError
	if errors.As(err, &refused) {
		for i, r := range refused.Records {
			if i > 0 && refused.Records[i-1].Index >= r.Index {
				t.Fatalf("the records are in disorder: %v", refused.Records)
			}
			if want := bad[r.Index]; want == nil || !errors.Is(r.Err, want) {
				t.Fatalf("record %d: got error %v, want %v", r.Index, r.Err, want)
			}
		}
		if len(refused.Records) != len(bad) {
			t.Fatalf("got errors %v, want %v", refused.Records, bad)
		}
		return
	}
	if len(bad) > 0 {
		t.Fatalf("got error %v, want %v", err, bad)
	}
	m.settle(t, changes, nil, err)
	if err == nil && revision != m.shown.revision {
		t.Fatalf("imported at revision %d, the model is at %d", revision, m.shown.revision)
	}
}

func (m *machine) Cancelled(t *rapid.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := m.catalog(t).Create(ctx, customstatus.Fields{Name: "cancelled", StatusType: "busy"})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got error %v", err)
	}
}

func (m *machine) Get(t *rapid.T) {
	id := m.id(t)
	want, there := m.shown.statuses[id]
	got, err := m.catalog(t).Get(id)
	m.found(t, got, err, want, there)
}

func (m *machine) GetByName(t *rapid.T) {
	name := rapid.SampledFrom(names).Draw(t, "name")
	want, there := m.shown.byName(name)
	got, err := m.catalog(t).GetByName(name)
	m.found(t, got, err, want, there)
}

func (m *machine) found(t *rapid.T, got customstatus.CustomUserStatus, err error, want customstatus.CustomUserStatus, there bool) {
	t.Helper()
	if !there && errors.Is(err, customstatus.ErrNotFound) {
		return
	}
	if !there || err != nil || got != want {
		t.Fatalf("got %+v, %v, want %+v, %v", got, err, want, there)
	}
}

func (m *machine) List(t *rapid.T) {
	fields := []customstatus.SortField{customstatus.SortByID, customstatus.SortByName, customstatus.SortByStatusType, customstatus.SortByUpdatedAt}
	q := customstatus.Query{
		Offset: rapid.IntRange(0, len(m.shown.statuses)+1).Draw(t, "offset"),
		Limit:  rapid.IntRange(0, len(m.shown.statuses)+1).Draw(t, "limit"),
		Sort: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) customstatus.SortKey {
			return customstatus.SortKey{
				Field:      rapid.SampledFrom(fields).Draw(t, "field"),
				Descending: rapid.Bool().Draw(t, "descending"),
			}
		}), 0, 3).Draw(t, "sort"),
	}
	if rapid.Bool().Draw(t, "by name") {
		part := []rune(rapid.SampledFrom(names).Draw(t, "of"))
		from := rapid.IntRange(0, len(part)-1).Draw(t, "from")
		q.Name = string(part[from:min(len(part), from+rapid.IntRange(1, 3).Draw(t, "runes"))])
	}
	if rapid.IntRange(0, 4).Draw(t, "by id") == 0 {
		q.ID = m.id(t)
	}
	got, err := m.catalog(t).List(q)
	if err != nil {
		t.Fatal(err)
	}
	m.samePage(t, got, m.shown.list(q))
}

func (m *machine) samePage(t *rapid.T, got, want customstatus.Page) {
	t.Helper()
	if got.Revision != want.Revision || got.Total != want.Total || !slices.Equal(got.Statuses, want.Statuses) {
		t.Fatalf("got %+v\nwant %+v", got, want)
	}
}

func (m *machine) ListInvalid(t *rapid.T) {
	q := rapid.SampledFrom([]customstatus.Query{
		{Offset: -1}, {Limit: -1}, {Sort: []customstatus.SortKey{{Field: customstatus.SortByName}, {Field: "color"}}},
	}).Draw(t, "query")
	if _, err := m.catalog(t).List(q); !errors.Is(err, customstatus.ErrInvalid) {
		t.Fatalf("got error %v", err)
	}
}

// Watch watches from a random revision: one of the past, of now, of the future.
func (m *machine) Watch(t *rapid.T) {
	after := customstatus.Revision(rapid.Uint64Range(0, uint64(m.shown.revision)+2).Draw(t, "after"))
	c := m.catalog(t)
	var end error
	want := m.log.since(after)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch {
	case after > m.shown.revision || after < m.log.base:
		want, end = nil, customstatus.ErrCompacted
	case len(want) == 0:
		cancel() // it would wait
		end = context.Canceled
	}
	var got []customstatus.Commit
	var ended error
	for commit, err := range c.Watch(ctx, after) {
		if ended = err; err != nil {
			continue // the sequence must end by itself
		}
		got = append(got, commit)
		if len(got) == len(want) {
			cancel()
			end = context.Canceled
		}
	}
	if !errors.Is(ended, end) {
		t.Fatalf("watching after %d ended with %v, want %v", after, ended, end)
	}
	same := slices.EqualFunc(got, want, func(a, b customstatus.Commit) bool {
		return a.Revision == b.Revision && slices.Equal(byID(a.Changes), byID(b.Changes))
	})
	if !same {
		t.Fatalf("watching after %d got %+v\nwant %+v", after, got, want)
	}
}

// byID sorts changes, whose order within a commit says nothing.
func byID(changes []customstatus.Change) []customstatus.Change {
	return slices.SortedFunc(slices.Values(changes), func(a, b customstatus.Change) int {
		return strings.Compare(a.Status.ID, b.Status.ID)
	})
}

// Clock sets the clock, back as well as on.
func (m *machine) Clock(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.Int64Range(-5e9, 10e9).Draw(t, "clock")))
}

// Reopen closes the catalogs and opens them again.
func (m *machine) Reopen(t *rapid.T) {
	if rapid.IntRange(0, 2).Draw(t, "reopen") > 0 {
		t.Skip("not so often")
	}
	m.operations.Add(1)
	n := len(m.catalogs)
	m.closeAll(t)
	for range n {
		m.catalogs = append(m.catalogs, m.open(t))
	}
	m.stale = false
	m.shown = m.stored.clone()
	m.log.reset(m.shown.revision)
}

// Backup makes a backup and looks what is in it.
func (m *machine) Backup(t *rapid.T) {
	if m.place.backup == nil || rapid.IntRange(0, 4).Draw(t, "backup") > 0 {
		t.Skip("not so often")
	}
	m.operations.Add(1)
	store := m.place.backup(t)
	c, err := customstatus.Open(context.Background(), store, nil)
	if err != nil {
		t.Fatal(errors.Join(err, store.Close()))
	}
	page, err := c.List(customstatus.Query{})
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	m.samePage(t, page, m.stored.list(customstatus.Query{}))
}

// Check compares all that the catalogs show.
func (m *machine) Check(t *rapid.T) {
	m.fault = works
	if m.shared {
		m.sync(t)
	}
	for _, c := range m.catalogs {
		page, err := c.List(customstatus.Query{})
		if err != nil {
			t.Fatal(err)
		}
		m.samePage(t, page, m.shown.list(customstatus.Query{}))
		if r := c.Revision(); r != m.shown.revision {
			t.Fatalf("it is at revision %d, the model at %d", r, m.shown.revision)
		}
	}
}
