package random

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/customstatus/customstatus"
)

// The actions of the machine, from which rapid chooses.

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
	given, opts := m.condition(t, id)
	if opts != nil && rapid.IntRange(0, 3).Draw(t, "keep the type") == 0 {
		opts.KeepStatusType, given.KeepStatusType = true, true
		if f.StatusType == "Busy" || f.StatusType == "" {
			want = nil // it does not count
		}
	}
	c := m.catalog(t)
	m.drawFault(t)
	var changes []customstatus.Change
	if want == nil {
		m.refresh()
		changes, want = m.shown.update(id, f, given, m.now)
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
	given, opts := m.condition(t, id)
	c := m.catalog(t)
	m.drawFault(t)
	m.refresh()
	changes, want := m.shown.delete(id, given)
	revision, err := c.Delete(context.Background(), id, opts)
	m.settle(t, changes, want, err)
	if err == nil && revision != m.shown.revision {
		t.Fatalf("deleted at revision %d, the model is at %d", revision, m.shown.revision)
	}
}

// Import imports statuses of all kinds: new ones with and without an id,
// existing ones with and without a change, and invalid ones.
func (m *machine) Import(t *rapid.T) {
	c := m.catalog(t)
	m.drawFault(t)
	var batch []customstatus.CustomUserStatus
	invalid := make(map[int]error)
	for i := range rapid.IntRange(0, 5).Draw(t, "batch") {
		f, want := m.fields(t)
		s := customstatus.CustomUserStatus{Name: f.Name, StatusType: f.StatusType, Revision: 99}
		if f.Metadata != nil {
			s.Metadata = *f.Metadata
		}
		there, known := m.shown.statuses[m.id(t)]
		switch kind := rapid.IntRange(0, 7).Draw(t, "kind"); {
		case kind < 3 && known:
			s, want = there, nil
			if kind == 0 { // the same instant, said in another way
				s.UpdatedAt = s.UpdatedAt.Add(700 * time.Microsecond).In(time.FixedZone("", 3600))
			} else if kind == 1 {
				s.Metadata = ""
			}
		case kind == 3 && known:
			s.ID = there.ID
		case kind == 4:
			s.ID = strings.Repeat("x", customstatus.MaxIDBytes+1)
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
	imported, err := c.Import(context.Background(), batch)
	m.ids = nil
	if !slices.Equal(batch, given) {
		t.Fatal("Import has changed what it was given")
	}
	var refused *customstatus.ImportError
	if errors.As(err, &refused) {
		for i, r := range refused.Refused {
			if i > 0 && refused.Refused[i-1].Index >= r.Index {
				t.Fatalf("the records are in disorder: %v", refused.Refused)
			}
			if want := bad[r.Index]; want == nil || !errors.Is(r.Err, want) {
				t.Fatalf("record %d: got error %v, want %v", r.Index, r.Err, want)
			}
		}
		if len(refused.Refused) != len(bad) {
			t.Fatalf("got errors %v, want %v", refused.Refused, bad)
		}
		return
	}
	if len(bad) > 0 {
		t.Fatalf("got error %v, want %v", err, bad)
	}
	m.settle(t, changes, nil, err)
	want := customstatus.ImportResult{Added: len(changes), Unchanged: len(batch) - len(changes), Revision: m.shown.revision}
	if err == nil && imported != want {
		t.Fatalf("imported %+v, the model %+v", imported, want)
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
	if rapid.Bool().Draw(t, "by a part of the name") {
		part := []rune(rapid.SampledFrom(names).Draw(t, "of"))
		from := rapid.IntRange(0, len(part)-1).Draw(t, "from")
		q.NameContains = string(part[from:min(len(part), from+rapid.IntRange(1, 3).Draw(t, "runes"))])
	}
	if rapid.IntRange(0, 4).Draw(t, "by id") == 0 {
		q.ID = m.id(t)
	}
	if rapid.IntRange(0, 4).Draw(t, "by name") == 0 {
		q.Name = rapid.SampledFrom(names).Draw(t, "name")
	}
	if rapid.IntRange(0, 4).Draw(t, "by a function") == 0 {
		q.Filter = func(s customstatus.CustomUserStatus) bool { return s.StatusType != customstatus.Busy }
	}
	got, err := m.catalog(t).List(q)
	if err != nil {
		t.Fatal(err)
	}
	m.samePage(t, got, m.shown.list(q))
}

func (m *machine) samePage(t *rapid.T, got, want customstatus.Page) {
	t.Helper()
	if got.Position != want.Position || got.Total != want.Total || !slices.Equal(got.Statuses, want.Statuses) {
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

// from draws a position: one that the catalog had, or one that differs in the
// revision, the fingerprint or both.
func (m *machine) from(t *rapid.T) customstatus.Position {
	p := rapid.SampledFrom(m.past).Draw(t, "position")
	if n := rapid.IntRange(0, 9).Draw(t, "other"); n < 3 {
		p.Revision = customstatus.Revision(rapid.Uint64Range(0, uint64(m.shown.revision)+2).Draw(t, "revision"))
	} else if n < 5 {
		p.Fingerprint += customstatus.Fingerprint(rapid.IntRange(1, 2).Draw(t, "fingerprint"))
	}
	return p
}

// Watch watches from a past, the current, a future or another catalog's
// position.
func (m *machine) Watch(t *rapid.T) {
	after := m.from(t)
	c := m.catalog(t)
	var end error
	want, ok := m.log.since(after)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch {
	case !ok:
		end = customstatus.ErrCompacted
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
		t.Fatalf("watching after %v ended with %v, want %v", after, ended, end)
	}
	m.sameCommits(t, after, got, want)
}

func (m *machine) sameCommits(t *rapid.T, after customstatus.Position, got, want []customstatus.Commit) {
	t.Helper()
	same := slices.EqualFunc(got, want, func(a, b customstatus.Commit) bool {
		return a.FingerprintKnown && a.Position() == b.Position() && slices.Equal(byID(a.Changes), byID(b.Changes))
	})
	if !same {
		t.Fatalf("watching after %v got %+v\nwant %+v", after, got, want)
	}
}

// Follow follows from such a position. It begins with the whole catalog where
// Watch does not know the position.
func (m *machine) Follow(t *rapid.T) {
	after := m.from(t)
	want, ok := m.log.since(after)
	reset := !ok || after == customstatus.Position{}
	if !reset && len(want) == 0 {
		t.Skip("it would wait")
	}
	var got []customstatus.Commit
	for u, err := range m.catalog(t).Follow(context.Background(), after) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Reset != reset {
			t.Fatalf("following after %v got %+v", after, u)
		}
		if reset {
			m.samePage(t, customstatus.Page{Statuses: u.Statuses, Total: len(u.Statuses), Position: u.Position}, m.shown.list(customstatus.Query{}))
			return
		}
		got = append(got, customstatus.Commit{
			Revision: u.Position.Revision, Changes: u.Changes, Fingerprint: u.Position.Fingerprint, FingerprintKnown: true,
		})
		if len(got) == len(want) {
			break
		}
	}
	m.sameCommits(t, after, got, want)
}

// byID sorts changes, because their order within a commit does not matter.
func byID(changes []customstatus.Change) []customstatus.Change {
	return slices.SortedFunc(slices.Values(changes), func(a, b customstatus.Change) int {
		return strings.Compare(a.ID(), b.ID())
	})
}

// Clock sets the clock back or forward.
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
	m.log.reset(m.shown.position)
}

// Backup makes a backup and checks its contents.
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

// Check compares all that the catalogs show with the model.
func (m *machine) Check(t *rapid.T) {
	m.fault = works
	if m.past[len(m.past)-1] != m.shown.position {
		m.past = append(m.past, m.shown.position)
	}
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
		if p := c.Position(); p != m.shown.position {
			t.Fatalf("it is at %v, the model at %v", p, m.shown.position)
		}
		i := 0
		for s, err := range c.All() {
			if err != nil || i == len(page.Statuses) || s != page.Statuses[i] {
				t.Fatalf("status %d of all is %+v, %v", i, s, err)
			}
			i++
		}
		if n := len(m.shown.statuses); i != n || c.Len() != n || c.Stats().Statuses != n {
			t.Fatalf("it has %d statuses by All, %d by Len, the model %d", i, c.Len(), n)
		}
	}
}
