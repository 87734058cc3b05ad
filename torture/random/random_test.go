package random

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/storetest"
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

// place opens catalogs, and opens them again.
type place struct {
	store func(t *rapid.T) customstatus.Store
	// backup opens a copy of the stored statuses, or is nil if the store has no
	// backups.
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
			if err := current.Backup(context.Background(), &b); err != nil {
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
	shared := storetest.NewSharedMemory()
	return place{store: func(*rapid.T) customstatus.Store { return faultyShared{shared.Open(), m} }}
}

// fault says what a store does instead of the next commit.
type fault int

const (
	works fault = iota
	fails
	unknownWritten
	unknownNotWritten
)

var errInjected = errors.New("injected fault")

// faulty is a store with the machine's next fault.
type faulty struct {
	customstatus.Store
	m *machine
}

func (s faulty) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	return s.m.commit(ctx, changes, s.Store)
}

type faultyShared struct {
	*storetest.SharedMemoryStore
	m *machine
}

func (s faultyShared) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	return s.m.commit(ctx, changes, s.SharedMemoryStore)
}

// machine has the catalogs and their model. Its exported methods are the
// actions from which rapid chooses.
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
	past   []customstatus.Position // all that the catalogs were at; the first is that of an empty one
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
	m.past = make([]customstatus.Position, 1)
	return m
}

func (m *machine) commit(ctx context.Context, changes []customstatus.Change, inner customstatus.Store) (customstatus.Revision, error) {
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
	opts := &customstatus.Options{
		Rules:          m.rules,
		Now:            func() time.Time { return m.now },
		NewID:          m.newID,
		HistoryChanges: m.history,
		Logger:         slog.New(slog.DiscardHandler),
	}
	var c *customstatus.Catalog
	var err error
	if m.shared {
		c, err = customstatus.OpenShared(context.Background(), store.(customstatus.SharedStore), opts)
	} else {
		c, err = customstatus.Open(context.Background(), store, opts)
	}
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

// newID is the source of ids. Some of its ids are in use, and some are invalid.
func (m *machine) newID() string {
	if len(m.ids) > 0 {
		id := m.ids[0]
		m.ids = m.ids[1:]
		return id
	}
	m.made++
	return fmt.Sprintf("made-%d", m.made)
}

// oddIDs adds ids that a catalog must not use in front of the source's good
// ids.
func (m *machine) oddIDs(t *rapid.T) {
	m.ids = nil
	if rapid.IntRange(0, 9).Draw(t, "oddIDs") > 0 {
		return
	}
	odd := append(m.shown.ids(), "", "\x00", strings.Repeat("x", customstatus.MaxIDBytes+1))
	m.ids = rapid.SliceOfN(rapid.SampledFrom(odd), 1, 9).Draw(t, "ids")
}

// nextID returns the first good id of the source.
func (m *machine) nextID() string { return fmt.Sprintf("made-%d", m.made+1) }

// catalog draws one of the catalogs and counts an operation.
func (m *machine) catalog(t *rapid.T) *customstatus.Catalog {
	m.operations.Add(1)
	if len(m.catalogs) == 1 {
		return m.catalogs[0]
	}
	return rapid.SampledFrom(m.catalogs).Draw(t, "catalog")
}

// Names that collide, that fold to each other, and that have the greatest
// length; the last ones are invalid.
var names = []string{
	"a", "A", "ab", "B", "s", "S", "ſ", "k", "K", "\u212a", "ß", "ẞ", "ss", "i", "I", "ı", "İ", "i̇",
	"σ", "ς", "Σ", "Ǆ", "ǅ", "ǆ", "日本", "é", "e\u0301", "x y", " x", "\u00a0z", "\ufffd", "%_.*[", "🙂",
	strings.Repeat("界", customstatus.MaxNameCharacters),
}

var noNames = map[string]error{
	"":     customstatus.ErrRequired,
	" \t":  customstatus.ErrRequired,
	"a<b":  customstatus.ErrInvalid,
	"a\nb": customstatus.ErrInvalid,
	"\xff": customstatus.ErrInvalid,
	strings.Repeat("x", customstatus.MaxNameCharacters+1): customstatus.ErrInvalid,
}

// Metadata: none, text, bytes that are not text, and the greatest length.
var metadata = []string{"", "🌴", "\xff\x00\n", strings.Repeat("m", customstatus.MaxMetadataBytes)}

// fields draws fields and the error that the rules give for them.
func (m *machine) fields(t *rapid.T) (customstatus.Fields, error) {
	f := customstatus.Fields{
		Name:       rapid.SampledFrom(names).Draw(t, "name"),
		StatusType: rapid.SampledFrom([]customstatus.StatusType{"online", "away", "busy", "offline"}).Draw(t, "statusType"),
	}
	if rapid.IntRange(0, 2).Draw(t, "says metadata") > 0 {
		metadata := rapid.SampledFrom(metadata).Draw(t, "metadata")
		f.Metadata = &metadata
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
	case 3:
		tooLong := strings.Repeat("m", customstatus.MaxMetadataBytes+1)
		f.Metadata = &tooLong
		return f, customstatus.ErrInvalid
	}
	return f, nil
}

// id draws an id that may or may not exist.
func (m *machine) id(t *rapid.T) string {
	return rapid.SampledFrom(append(m.shown.ids(), "nobody")).Draw(t, "id")
}

// condition draws the revision that a write requires: none, the right one or a
// wrong one. It returns the options as a value and as a pointer, which may be
// nil for zero options.
func (m *machine) condition(t *rapid.T, id string) (customstatus.WriteOptions, *customstatus.WriteOptions) {
	var opts customstatus.WriteOptions
	switch rapid.IntRange(0, 3).Draw(t, "condition") {
	case 0:
		return opts, nil
	case 1:
	case 2:
		opts.IfRevision = m.shown.statuses[id].Revision
	default:
		opts.IfRevision = customstatus.Revision(rapid.Uint64Range(1, uint64(m.shown.revision)+2).Draw(t, "ifRevision"))
	}
	return opts, &opts
}

// drawFault draws the fault of the next commit.
func (m *machine) drawFault(t *rapid.T) {
	m.fault = works
	if rapid.IntRange(0, 9).Draw(t, "fault") == 0 {
		m.fault = rapid.SampledFrom([]fault{fails, unknownWritten, unknownNotWritten}).Draw(t, "which")
	}
}

// refresh does what a catalog does at a write after an unknown outcome.
func (m *machine) refresh() {
	if !m.stale {
		return
	}
	m.stale = false
	position := m.shown.position
	m.shown = m.stored.clone()
	if position.Fingerprint == m.shown.fingerprint() {
		// It has what it had: the position is the same, and watchers go on.
		m.shown.position = position
		m.log.reached = m.shown.revision
		return
	}
	m.log.reset(m.shown.position)
}

// settle compares the result of a write with the wanted one, and makes the
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

// adoptIDs sets the ids in changes to those that the catalog made. Over a
// shared store, the catalog may have tried twice and taken later ids from the
// source.
func (m *machine) adoptIDs(t *rapid.T, changes []customstatus.Change) {
	for i, c := range changes {
		s, err := m.catalogs[0].GetByName(c.After.Name)
		if c.Kind != customstatus.Created || !strings.HasPrefix(c.After.ID, "made-") || err != nil {
			continue
		}
		if _, used := m.stored.statuses[s.ID]; used || !strings.HasPrefix(s.ID, "made-") {
			t.Fatalf("%+v has an id that is in use", s)
		}
		changes[i].After.ID = s.ID
	}
}

// sync makes all catalogs show the stored statuses.
func (m *machine) sync(t *rapid.T) {
	for _, c := range m.catalogs {
		if err := c.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}

// same fails unless a write returned the status that the catalog has now.
func (m *machine) same(t *rapid.T, s customstatus.CustomUserStatus, err error) {
	if err == nil && s != m.shown.statuses[s.ID] {
		t.Fatalf("the write returned %+v, the model has %+v", s, m.shown.statuses[s.ID])
	}
}
