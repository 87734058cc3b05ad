package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

var ctx = context.Background()

// start is the time of the clock that open injects; each call is a second later.
var start = time.Date(2023, 11, 4, 11, 51, 28, 353e6, time.UTC)

func open(t testing.TB, store customstatus.Store, opts *customstatus.Options) *customstatus.Catalog {
	t.Helper()
	c, err := customstatus.Open(ctx, store, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func ticking() func() time.Time {
	var n atomic.Int64
	return func() time.Time { return start.Add(time.Duration(n.Add(1)-1) * time.Second) }
}

func create(t testing.TB, c *customstatus.Catalog, name string, statusType customstatus.StatusType) customstatus.CustomUserStatus {
	t.Helper()
	s, err := c.Create(ctx, customstatus.Fields{Name: name, StatusType: statusType})
	require.NoError(t, err)
	return s
}

func remove(t testing.TB, c *customstatus.Catalog, id string, opts *customstatus.WriteOptions) customstatus.Revision {
	t.Helper()
	revision, err := c.Delete(ctx, id, opts)
	require.NoError(t, err)
	return revision
}

// faultyStore is a store in which a test puts itself between the catalog and a
// real one.
type faultyStore struct {
	customstatus.Store
	commit func(context.Context, []customstatus.Change) (customstatus.Revision, error)
	load   func(context.Context) (customstatus.Contents, error)
}

func (f *faultyStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if f.commit != nil {
		return f.commit(ctx, changes)
	}
	return f.Store.Commit(ctx, changes)
}

func (f *faultyStore) Load(ctx context.Context) (customstatus.Contents, error) {
	if f.load != nil {
		return f.load(ctx)
	}
	return f.Store.Load(ctx)
}

func TestCatalogCreate(t *testing.T) {
	n := 0
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{
		Now:   ticking(),
		NewID: func() string { n++; return fmt.Sprint("id", n) },
	})
	s := create(t, c, "In a meeting", customstatus.Busy)
	require.Equal(t, customstatus.CustomUserStatus{ID: "id1", Name: "In a meeting", StatusType: customstatus.Busy, UpdatedAt: start, Revision: 1}, s)
	for _, get := range []func() (customstatus.CustomUserStatus, error){
		func() (customstatus.CustomUserStatus, error) { return c.Get("id1") },
		func() (customstatus.CustomUserStatus, error) { return c.GetByName("In a meeting") },
	} {
		got, err := get()
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
	require.Equal(t, customstatus.Revision(1), c.Revision())

	for name, tt := range map[string]struct {
		fields customstatus.Fields
		want   error
	}{
		"ErrRequired":  {customstatus.Fields{Name: " ", StatusType: customstatus.Busy}, customstatus.ErrRequired},
		"ErrInvalid":   {customstatus.Fields{Name: "x", StatusType: "Busy"}, customstatus.ErrInvalid},
		"ErrNameInUse": {customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Away}, customstatus.ErrNameInUse},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.Create(ctx, tt.fields)
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, customstatus.Revision(1), c.Revision())
		})
	}
	// Compared exactly, so these are other names.
	create(t, c, "In a Meeting", customstatus.Busy)
	create(t, c, " In a meeting", customstatus.Busy)

	_, err := c.Create(ctx, customstatus.Fields{Name: "In a meeting", StatusType: customstatus.Away})
	var e *customstatus.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, &customstatus.Error{Code: customstatus.CodeNameInUse, Field: "name", Input: "In a meeting", ID: "id1"}, e)
}

func TestCatalogDefaults(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	before := time.Now().Truncate(time.Millisecond)
	a := create(t, c, "a", customstatus.Online)
	b := create(t, c, "b", customstatus.Online)
	require.Len(t, a.ID, 36)
	require.Equal(t, byte('7'), a.ID[14], "a UUID of version 7")
	require.Less(t, a.ID, b.ID, "ids are ordered by time")
	require.False(t, a.UpdatedAt.Before(before))
	require.Equal(t, time.UTC, a.UpdatedAt.Location())
	require.Equal(t, a.UpdatedAt.Truncate(time.Millisecond), a.UpdatedAt)
}

func TestCatalogUpdate(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Now: ticking()})
	a := create(t, c, "a", customstatus.Busy)
	b := create(t, c, "b", customstatus.Busy)

	got, err := c.Update(ctx, a.ID, customstatus.Fields{Name: "c", StatusType: customstatus.Away}, nil)
	require.NoError(t, err)
	want := customstatus.CustomUserStatus{ID: a.ID, Name: "c", StatusType: customstatus.Away, UpdatedAt: start.Add(2 * time.Second), Revision: 3}
	require.Equal(t, want, got)
	got, err = c.Get(a.ID)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = c.GetByName("a")
	require.ErrorIs(t, err, customstatus.ErrNotFound)
	require.Len(t, list(t, c), 2)
	require.Equal(t, want, list(t, c)[1], "in the place of its new name, and only there")
	create(t, c, "a", customstatus.Busy) // the old name is free

	t.Run("OK own name", func(t *testing.T) {
		got, err := c.Update(ctx, a.ID, customstatus.Fields{Name: "c", StatusType: customstatus.Busy}, nil)
		require.NoError(t, err)
		require.Equal(t, customstatus.Busy, got.StatusType)
	})
	for name, tt := range map[string]struct {
		id     string
		fields customstatus.Fields
		opts   *customstatus.WriteOptions
		want   *customstatus.Error
		is     error
	}{
		"ErrRequired id":    {"", customstatus.Fields{Name: "x", StatusType: "busy"}, nil, &customstatus.Error{Code: customstatus.CodeRequired, Field: "_id"}, customstatus.ErrRequired},
		"ErrRequired name":  {a.ID, customstatus.Fields{StatusType: "busy"}, nil, &customstatus.Error{Code: customstatus.CodeRequired, Field: "name"}, customstatus.ErrRequired},
		"ErrRequired type":  {a.ID, customstatus.Fields{Name: "x"}, nil, &customstatus.Error{Code: customstatus.CodeRequired, Field: "statusType"}, customstatus.ErrRequired},
		"ErrNotFound":       {"nobody", customstatus.Fields{Name: "b", StatusType: "busy"}, nil, &customstatus.Error{Code: customstatus.CodeNotFound, Field: "_id", Input: "nobody", ID: "nobody"}, customstatus.ErrNotFound},
		"ErrNameInUse":      {a.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, nil, &customstatus.Error{Code: customstatus.CodeNameInUse, Field: "name", Input: "b", ID: b.ID}, customstatus.ErrNameInUse},
		"ErrConflict":       {a.ID, customstatus.Fields{Name: "x", StatusType: "busy"}, &customstatus.WriteOptions{IfRevision: 1}, &customstatus.Error{Code: customstatus.CodeConflict, Field: "_id", Input: a.ID, ID: a.ID, Detail: `it is named "c" and is at revision 5, not 1`}, customstatus.ErrConflict},
		"ErrConflict first": {a.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, &customstatus.WriteOptions{IfRevision: 1}, &customstatus.Error{Code: customstatus.CodeConflict, Field: "_id", Input: a.ID, ID: a.ID, Detail: `it is named "c" and is at revision 5, not 1`}, customstatus.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			before, revision := list(t, c), c.Revision()
			_, err := c.Update(ctx, tt.id, tt.fields, tt.opts)
			require.ErrorIs(t, err, tt.is)
			var e *customstatus.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, tt.want, e)
			require.Equal(t, before, list(t, c))
			require.Equal(t, revision, c.Revision())
		})
	}
	t.Run("OK at its revision", func(t *testing.T) {
		now, err := c.Get(a.ID)
		require.NoError(t, err)
		got, err := c.Update(ctx, a.ID, customstatus.Fields{Name: "z", StatusType: "online"}, &customstatus.WriteOptions{IfRevision: now.Revision})
		require.NoError(t, err)
		require.Greater(t, got.Revision, now.Revision)
		_, err = c.Delete(ctx, a.ID, &customstatus.WriteOptions{IfRevision: now.Revision})
		require.ErrorIs(t, err, customstatus.ErrConflict)
		remove(t, c, a.ID, &customstatus.WriteOptions{IfRevision: got.Revision})
	})
}

func TestCatalogStatusTypeOptional(t *testing.T) {
	for name, stored := range map[string]customstatus.StatusType{"as given": "", "a default": customstatus.Online} {
		t.Run(name, func(t *testing.T) {
			c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{
				Rules: customstatus.Rules{StatusTypeOptional: true, StatusTypeDefault: stored},
			})
			s := create(t, c, "a", "")
			require.Equal(t, stored, s.StatusType)
			s, err := c.Update(ctx, s.ID, customstatus.Fields{Name: "a", StatusType: customstatus.Away}, nil)
			require.NoError(t, err)
			require.Equal(t, customstatus.Away, s.StatusType)
			s, err = c.Update(ctx, s.ID, customstatus.Fields{Name: "b"}, &customstatus.WriteOptions{KeepStatusType: true})
			require.NoError(t, err)
			require.Equal(t, customstatus.Away, s.StatusType, "unchanged")
			require.Equal(t, "b", s.Name)
			s, err = c.Update(ctx, s.ID, customstatus.Fields{Name: "b"}, nil)
			require.NoError(t, err)
			require.Equal(t, stored, s.StatusType)
		})
	}
}

func TestImportStoresTheDefaultStatusType(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{
		Rules: customstatus.Rules{StatusTypeOptional: true, StatusTypeDefault: customstatus.Online},
	})
	statuses := []customstatus.CustomUserStatus{{ID: "i", Name: "imported", UpdatedAt: start}}
	for added := range 2 {
		result, err := c.Import(ctx, statuses)
		require.NoError(t, err)
		require.Equal(t, 1-added, result.Added, "an import can be repeated")
	}
	s, err := c.Get("i")
	require.NoError(t, err)
	require.Equal(t, customstatus.Online, s.StatusType)

	_, err = customstatus.Open(ctx, customstatus.NewMemoryStore(), &customstatus.Options{
		Rules: customstatus.Rules{StatusTypeOptional: true, StatusTypeDefault: "Online"},
	})
	require.ErrorIs(t, err, customstatus.ErrInvalid)
}

// Open refuses negative numbers and options that contradict each other.
func TestOpenRefusesOptions(t *testing.T) {
	for _, opts := range []customstatus.Options{
		{MaxStatuses: -1}, {HistoryChanges: -1}, {HistoryBytes: -1},
		{Rules: customstatus.Rules{StatusTypeDefault: customstatus.Online}},
	} {
		_, err := customstatus.Open(ctx, customstatus.NewMemoryStore(), &opts)
		require.ErrorContains(t, err, "Options", "%+v", opts)
	}
	_, err := customstatus.Open(ctx, nil, nil)
	require.EqualError(t, err, "customstatus: no store")
}

func TestCatalogKeepStatusType(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	s := create(t, c, "a", customstatus.Away)
	for _, given := range []customstatus.StatusType{"", customstatus.Busy, "nonsense"} {
		s, err := c.Update(ctx, s.ID, customstatus.Fields{Name: "b", StatusType: given}, &customstatus.WriteOptions{KeepStatusType: true})
		require.NoError(t, err)
		require.Equal(t, customstatus.Away, s.StatusType)
	}
}

func TestCatalogMetadata(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	metadata := "\xff\x00" + strings.Repeat("x", customstatus.MaxMetadataBytes-2)
	s, err := c.Create(ctx, customstatus.Fields{Name: "a", StatusType: "busy", Metadata: &metadata})
	require.NoError(t, err)
	require.Equal(t, metadata, s.Metadata)
	require.Equal(t, s.Fingerprint(), c.Position().Fingerprint, "it counts")

	s, err = c.Update(ctx, s.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, nil)
	require.NoError(t, err)
	require.Equal(t, metadata, s.Metadata, "an update that doesn't speak of it leaves it")
	got, err := c.Get(s.ID)
	require.NoError(t, err)
	require.Equal(t, s, got)

	none := ""
	s, err = c.Update(ctx, s.ID, customstatus.Fields{Name: "b", StatusType: "busy", Metadata: &none}, nil)
	require.NoError(t, err)
	require.Empty(t, s.Metadata)

	tooLong := metadata + "y"
	_, err = c.Create(ctx, customstatus.Fields{Name: "c", StatusType: "busy", Metadata: &tooLong})
	var e *customstatus.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, customstatus.FieldMetadata, e.Field)
	require.ErrorIs(t, err, customstatus.ErrInvalid)
	_, err = c.Import(ctx, []customstatus.CustomUserStatus{{Name: "c", StatusType: "busy", Metadata: tooLong}})
	require.ErrorIs(t, err, customstatus.ErrInvalid)
}

func TestCatalogMaxStatuses(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{MaxStatuses: 2})
	a := create(t, c, "a", customstatus.Busy)
	create(t, c, "b", customstatus.Busy)
	_, err := c.Create(ctx, customstatus.Fields{Name: "c", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrFull)
	_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrNameInUse, "what the caller did wrong comes first")
	_, err = c.Update(ctx, a.ID, customstatus.Fields{Name: "aa", StatusType: "busy"}, nil)
	require.NoError(t, err, "a full catalog can still be changed")
	_, err = c.Import(ctx, []customstatus.CustomUserStatus{{Name: "c", StatusType: "busy"}})
	require.ErrorIs(t, err, customstatus.ErrFull)
	remove(t, c, a.ID, nil)
	_, err = c.Import(ctx, []customstatus.CustomUserStatus{{Name: "c", StatusType: "busy"}, {Name: "d", StatusType: "busy"}})
	require.ErrorIs(t, err, customstatus.ErrFull, "all or none")
	create(t, c, "c", customstatus.Busy)
	require.Equal(t, 2, c.Len())
}

func TestCatalogDelete(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	s := create(t, c, "a", customstatus.Busy)
	require.Equal(t, customstatus.Revision(2), remove(t, c, s.ID, nil))
	_, err := c.Get(s.ID)
	require.ErrorIs(t, err, customstatus.ErrNotFound)
	_, err = c.GetByName("a")
	require.ErrorIs(t, err, customstatus.ErrNotFound)
	require.Empty(t, list(t, c))
	_, err = c.Delete(ctx, s.ID, nil)
	require.ErrorIs(t, err, customstatus.ErrNotFound)
	_, err = c.Delete(ctx, "", nil)
	require.ErrorIs(t, err, customstatus.ErrRequired)
	again := create(t, c, "a", customstatus.Busy)
	require.NotEqual(t, s.ID, again.ID)
}

func TestCatalogTimeNeverGoesBack(t *testing.T) {
	now := start
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Now: func() time.Time { return now }})
	s := create(t, c, "a", customstatus.Busy)
	now = start.Add(-time.Hour)
	s, err := c.Update(ctx, s.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, nil)
	require.NoError(t, err)
	require.Equal(t, start, s.UpdatedAt)
	now = start.Add(1234567 * time.Nanosecond).In(time.FixedZone("", 3600))
	s, err = c.Update(ctx, s.ID, customstatus.Fields{Name: "c", StatusType: "busy"}, nil)
	require.NoError(t, err)
	require.Equal(t, start.Add(time.Millisecond), s.UpdatedAt, "milliseconds, UTC")
}

func TestCatalogClockOutOfRange(t *testing.T) {
	now := start
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Now: func() time.Time { return now }})
	s := create(t, c, "a", customstatus.Busy)
	for _, now = range []time.Time{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)} {
		_, err := c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
		require.ErrorContains(t, err, "clock")
		_, err = c.Update(ctx, s.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, nil)
		require.ErrorContains(t, err, "clock")
		_, err = c.Import(ctx, []customstatus.CustomUserStatus{{Name: "b", StatusType: "busy"}})
		require.ErrorContains(t, err, "clock")
	}
	require.Equal(t, []customstatus.CustomUserStatus{s}, list(t, c))
}

func TestCatalogIDSource(t *testing.T) {
	ids := []string{"a", "a", "", strings.Repeat("x", 129), "bad\n", "b"}
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{NewID: func() string {
		id := ids[0]
		if len(ids) > 1 {
			ids = ids[1:]
		}
		return id
	}})
	require.Equal(t, "a", create(t, c, "one", customstatus.Busy).ID)
	require.Equal(t, "b", create(t, c, "two", customstatus.Busy).ID, "ids in use or not valid are passed over")
	_, err := c.Create(ctx, customstatus.Fields{Name: "three", StatusType: "busy"})
	require.ErrorContains(t, err, "source of ids")
}

func list(t testing.TB, c *customstatus.Catalog) []customstatus.CustomUserStatus {
	t.Helper()
	page, err := c.List(customstatus.Query{})
	require.NoError(t, err)
	require.Equal(t, len(page.Statuses), page.Total)
	return page.Statuses
}

func TestOpenFails(t *testing.T) {
	failure := errors.New("no disk")
	loads := func(statuses ...customstatus.CustomUserStatus) *faultyStore {
		return &faultyStore{load: func(context.Context) (customstatus.Contents, error) {
			return customstatus.Contents{Statuses: statuses, Revision: 1}, nil
		}}
	}
	for name, tt := range map[string]struct {
		store *faultyStore
		want  error
	}{
		"load": {&faultyStore{load: func(context.Context) (customstatus.Contents, error) {
			return customstatus.Contents{}, failure
		}}, failure},
		"one name twice": {loads(customstatus.CustomUserStatus{ID: "1", Name: "a"}, customstatus.CustomUserStatus{ID: "2", Name: "a"}), customstatus.ErrDamaged},
		"one id twice":   {loads(customstatus.CustomUserStatus{ID: "1", Name: "a"}, customstatus.CustomUserStatus{ID: "1", Name: "b"}), customstatus.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := customstatus.Open(ctx, tt.store, nil)
			require.ErrorIs(t, err, tt.want)
			require.Nil(t, c)
		})
	}
}

// A store says what it is, so that one whose Watch got lost on the way is found.
func TestOpenRefusesTheOtherKind(t *testing.T) {
	shared := &faultyStore{load: func(context.Context) (customstatus.Contents, error) {
		return customstatus.Contents{Shared: true}, nil
	}}
	_, err := customstatus.Open(ctx, shared, nil)
	require.ErrorContains(t, err, "OpenShared")
	_, err = customstatus.OpenShared(ctx, watching{customstatus.NewMemoryStore()}, nil)
	require.ErrorContains(t, err, "exclusive")
	_, err = customstatus.OpenShared(ctx, watching{shared}, &customstatus.Options{
		Reopen: func(context.Context) (customstatus.Store, error) { return shared, nil },
	})
	require.ErrorContains(t, err, "Reopen")
}

// watching gives a store a feed without commits.
type watching struct{ customstatus.Store }

func (w watching) Watch(ctx context.Context, _ customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		<-ctx.Done()
		yield(customstatus.Commit{}, ctx.Err())
	}
}

// The bubble fails the test if a goroutine of the catalog outlives it.
func TestCatalogClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("close failed")
		c := open(t, closeFails{customstatus.NewMemoryStore(), failure}, nil)
		s := create(t, c, "a", customstatus.Busy)
		position := c.Position()
		watched := make(chan error)
		go func() {
			for _, err := range c.Watch(ctx, position) {
				watched <- err
			}
			close(watched)
		}()
		require.ErrorIs(t, c.Close(), failure)
		require.ErrorIs(t, c.Close(), failure)
		require.ErrorIs(t, <-watched, customstatus.ErrClosed)
		_, open := <-watched
		require.False(t, open, "one error ends the watch")

		for name, do := range map[string]func() error{
			"Create": func() error { _, err := c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"}); return err },
			"Update": func() error {
				_, err := c.Update(ctx, s.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, nil)
				return err
			},
			"Delete": func() error { _, err := c.Delete(ctx, s.ID, nil); return err },
			"Import": func() error {
				_, err := c.Import(ctx, []customstatus.CustomUserStatus{{Name: "b", StatusType: "busy"}})
				return err
			},
			"Get":       func() error { _, err := c.Get(s.ID); return err },
			"GetByName": func() error { _, err := c.GetByName("a"); return err },
			"List":      func() error { _, err := c.List(customstatus.Query{}); return err },
			"Sync":      func() error { return c.Sync(ctx) },
			"Watch": func() error {
				for _, err := range c.Watch(ctx, customstatus.Position{}) {
					return err
				}
				return nil
			},
			"Follow": func() error {
				for _, err := range c.Follow(ctx, customstatus.Position{}) {
					return err
				}
				return nil
			},
			"All": func() error {
				for _, err := range c.All() {
					return err
				}
				return nil
			},
		} {
			require.ErrorIs(t, do(), customstatus.ErrClosed, name)
		}
		require.Equal(t, customstatus.Revision(1), c.Revision(), "it stays")
		require.Equal(t, position, c.Position())
	})
}

type closeFails struct {
	customstatus.Store
	err error
}

func (c closeFails) Close() error { return errors.Join(c.Store.Close(), c.err) }

func TestCatalogBackup(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	require.ErrorIs(t, c.Backup(ctx, io.Discard), errors.ErrUnsupported)

	c, err := customstatus.OpenFile(ctx, boltPath(t), nil)
	require.NoError(t, err)
	s := create(t, c, "a", customstatus.Busy)
	copied := boltPath(t)
	w, err := os.Create(copied)
	require.NoError(t, err)
	require.NoError(t, c.Backup(ctx, w))
	require.NoError(t, w.Close())
	done, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, c.Backup(done, io.Discard), context.Canceled)
	position := c.Position()
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Backup(ctx, io.Discard), customstatus.ErrClosed)

	_, err = customstatus.OpenFile(ctx, copied, &customstatus.Options{Bolt: &customstatus.BoltOptions{Name: "other"}})
	require.ErrorContains(t, err, "other")
	c, err = customstatus.OpenFile(ctx, copied, nil)
	require.NoError(t, err)
	require.Equal(t, []customstatus.CustomUserStatus{s}, list(t, c))
	require.Equal(t, position, c.Position(), "a copy proves to be the same")
	require.NoError(t, c.Close())
}

func TestCatalogRules(t *testing.T) {
	rules := customstatus.Rules{StatusTypeOptional: true}
	require.Equal(t, rules, open(t, customstatus.NewMemoryStore(), &customstatus.Options{Rules: rules}).Rules())
}
