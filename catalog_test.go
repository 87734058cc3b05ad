package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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

// faultyStore is a store in which a test puts itself between the catalog and a
// real one.
type faultyStore struct {
	customstatus.Store
	commit func(context.Context, []customstatus.Change) (customstatus.Revision, error)
	load   func(context.Context) ([]customstatus.CustomUserStatus, customstatus.Revision, error)
}

func (f *faultyStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if f.commit != nil {
		return f.commit(ctx, changes)
	}
	return f.Store.Commit(ctx, changes)
}

func (f *faultyStore) Load(ctx context.Context) ([]customstatus.CustomUserStatus, customstatus.Revision, error) {
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
	require.Equal(t, &customstatus.Error{Code: customstatus.CodeNameInUse, Field: "Name", Input: "In a meeting", Reason: "The custom user status name is already in use"}, e)
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
	create(t, c, "b", customstatus.Busy)

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
		"ErrRequired id":    {"", customstatus.Fields{Name: "x", StatusType: "busy"}, nil, &customstatus.Error{Code: customstatus.CodeRequired, Field: "_id", Reason: "The field _id is required"}, customstatus.ErrRequired},
		"ErrRequired name":  {a.ID, customstatus.Fields{StatusType: "busy"}, nil, &customstatus.Error{Code: customstatus.CodeRequired, Field: "Name", Reason: "The field Name is required"}, customstatus.ErrRequired},
		"ErrRequired type":  {a.ID, customstatus.Fields{Name: "x"}, nil, &customstatus.Error{Code: customstatus.CodeRequired, Field: "StatusType", Reason: "The field StatusType is required"}, customstatus.ErrRequired},
		"ErrNotFound":       {"nobody", customstatus.Fields{Name: "b", StatusType: "busy"}, nil, &customstatus.Error{Code: customstatus.CodeNotFound, Input: "nobody", Reason: "Invalid user status"}, customstatus.ErrNotFound},
		"ErrNameInUse":      {a.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, nil, &customstatus.Error{Code: customstatus.CodeNameInUse, Field: "Name", Input: "b", Reason: "The custom user status name is already in use"}, customstatus.ErrNameInUse},
		"ErrConflict":       {a.ID, customstatus.Fields{Name: "x", StatusType: "busy"}, &customstatus.WriteOptions{IfRevision: 1}, &customstatus.Error{Code: customstatus.CodeConflict, Field: "_id", Input: a.ID, Reason: "The custom user status has changed since it was read"}, customstatus.ErrConflict},
		"ErrConflict first": {a.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, &customstatus.WriteOptions{IfRevision: 1}, &customstatus.Error{Code: customstatus.CodeConflict, Field: "_id", Input: a.ID, Reason: "The custom user status has changed since it was read"}, customstatus.ErrConflict},
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
		require.ErrorIs(t, c.Delete(ctx, a.ID, &customstatus.WriteOptions{IfRevision: now.Revision}), customstatus.ErrConflict)
		require.NoError(t, c.Delete(ctx, a.ID, &customstatus.WriteOptions{IfRevision: got.Revision}))
	})
}

func TestCatalogStatusTypeOptional(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Rules: customstatus.Rules{StatusTypeOptional: true}})
	s := create(t, c, "a", "")
	require.Equal(t, customstatus.StatusType(""), s.StatusType)
	s, err := c.Update(ctx, s.ID, customstatus.Fields{Name: "a", StatusType: customstatus.Away}, nil)
	require.NoError(t, err)
	require.Equal(t, customstatus.Away, s.StatusType)
	s, err = c.Update(ctx, s.ID, customstatus.Fields{Name: "b"}, nil)
	require.NoError(t, err)
	require.Equal(t, customstatus.Away, s.StatusType, "unchanged")
	require.Equal(t, "b", s.Name)
}

func TestCatalogDelete(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	s := create(t, c, "a", customstatus.Busy)
	require.NoError(t, c.Delete(ctx, s.ID, nil))
	_, err := c.Get(s.ID)
	require.ErrorIs(t, err, customstatus.ErrNotFound)
	_, err = c.GetByName("a")
	require.ErrorIs(t, err, customstatus.ErrNotFound)
	require.Empty(t, list(t, c))
	require.ErrorIs(t, c.Delete(ctx, s.ID, nil), customstatus.ErrNotFound)
	require.ErrorIs(t, c.Delete(ctx, "", nil), customstatus.ErrRequired)
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

func TestCatalogImport(t *testing.T) {
	old := customstatus.CustomUserStatus{ID: "65462e97a2f73c7460e18f84", Name: "old", StatusType: "busy", UpdatedAt: time.Date(1969, 7, 20, 20, 17, 40, 5e6, time.UTC)}
	meteor := customstatus.CustomUserStatus{ID: "EscbQinc8jmeXbpt7", Name: "In a meeting", StatusType: "away", UpdatedAt: start}

	t.Run("OK", func(t *testing.T) {
		c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Now: ticking()})
		revision, err := c.Import(ctx, []customstatus.CustomUserStatus{old, meteor, {Name: "no id", StatusType: "online"}})
		require.NoError(t, err)
		require.Equal(t, customstatus.Revision(1), revision)
		got, err := c.Get(old.ID)
		require.NoError(t, err)
		want := old
		want.Revision = 1
		require.Equal(t, want, got)
		got, err = c.GetByName("no id")
		require.NoError(t, err)
		require.Len(t, got.ID, 36)
		require.Equal(t, start, got.UpdatedAt)
		for _, s := range list(t, c) {
			require.Equal(t, customstatus.Revision(1), s.Revision, s.Name)
		}

		// Again, together with one more: what is there is passed over.
		other := customstatus.CustomUserStatus{ID: "x", Name: "x", StatusType: "busy", UpdatedAt: start.Add(999 * time.Microsecond)}
		revision, err = c.Import(ctx, []customstatus.CustomUserStatus{old, other, meteor})
		require.NoError(t, err)
		require.Equal(t, customstatus.Revision(2), revision)
		revision, err = c.Import(ctx, []customstatus.CustomUserStatus{old, meteor})
		require.NoError(t, err)
		require.Equal(t, customstatus.Revision(2), revision, "nothing to write")
		require.Len(t, list(t, c), 4)
		revision, err = c.Import(ctx, nil)
		require.NoError(t, err)
		require.Equal(t, customstatus.Revision(2), revision)
	})
	t.Run("Err fields", func(t *testing.T) {
		c := open(t, customstatus.NewMemoryStore(), nil)
		_, err := c.Import(ctx, []customstatus.CustomUserStatus{
			old,
			{ID: "1", Name: "", StatusType: "busy"},
			{ID: "2", Name: "x", StatusType: "Busy"},
			{ID: "bad\x00", Name: "y", StatusType: "busy"},
			{ID: "4", Name: "z", StatusType: "busy", UpdatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
			meteor,
		})
		requireRecords(t, err, map[int]error{1: customstatus.ErrRequired, 2: customstatus.ErrInvalid, 3: customstatus.ErrInvalid, 4: customstatus.ErrInvalid})
		require.Empty(t, list(t, c))
		require.Zero(t, c.Revision())
	})
	t.Run("Err in use", func(t *testing.T) {
		c := open(t, customstatus.NewMemoryStore(), nil)
		s := create(t, c, "taken", customstatus.Busy)
		changed := s
		changed.Name = "other"
		_, err := c.Import(ctx, []customstatus.CustomUserStatus{
			old,
			{ID: "1", Name: "taken", StatusType: "busy"},
			changed,
			{ID: "3", Name: "twice", StatusType: "busy"},
			{ID: "4", Name: "twice", StatusType: "busy"},
			{ID: old.ID, Name: "again", StatusType: "busy"},
			{ID: "6", Name: "<", StatusType: "busy"},
		})
		requireRecords(t, err, map[int]error{1: customstatus.ErrNameInUse, 2: customstatus.ErrIDInUse, 4: customstatus.ErrNameInUse, 5: customstatus.ErrIDInUse, 6: customstatus.ErrInvalid})
		require.Equal(t, []customstatus.CustomUserStatus{s}, list(t, c))
	})
	t.Run("Err id source", func(t *testing.T) {
		c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{NewID: func() string { return "" }})
		_, err := c.Import(ctx, []customstatus.CustomUserStatus{{Name: "a", StatusType: "busy"}})
		require.ErrorContains(t, err, "source of ids")
	})
	t.Run("caller's slice", func(t *testing.T) {
		c := open(t, customstatus.NewMemoryStore(), nil)
		in := []customstatus.CustomUserStatus{{Name: "a", StatusType: "busy"}}
		_, err := c.Import(ctx, in)
		require.NoError(t, err)
		require.Equal(t, customstatus.CustomUserStatus{Name: "a", StatusType: "busy"}, in[0])
	})
	t.Run("made ids", func(t *testing.T) {
		n := 0
		ids := []string{"same", "same", "other"}
		c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{NewID: func() string { n++; return ids[n-1] }})
		_, err := c.Import(ctx, []customstatus.CustomUserStatus{{Name: "a", StatusType: "busy"}, {Name: "b", StatusType: "busy"}})
		require.NoError(t, err, "two made ids of one import differ")
		require.Len(t, list(t, c), 2)
	})
}

func requireRecords(t *testing.T, err error, want map[int]error) {
	t.Helper()
	var bad *customstatus.ImportError
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad.Records, len(want), "%v", bad.Records)
	for _, r := range bad.Records {
		require.ErrorIs(t, r.Err, want[r.Index], "record %d", r.Index)
	}
}

func TestCatalogList(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	_, err := c.Import(ctx, []customstatus.CustomUserStatus{
		{ID: "5", Name: "Lunch", StatusType: "away", UpdatedAt: at(1)},
		{ID: "4", Name: "lunch break", StatusType: "away", UpdatedAt: at(3)},
		{ID: "3", Name: "In a meeting", StatusType: "busy", UpdatedAt: at(2)},
		{ID: "2", Name: "ÉTÉ", StatusType: "offline", UpdatedAt: at(1)},
		{ID: "1", Name: "a.c*", StatusType: "online", UpdatedAt: at(1)},
		{ID: "0", Name: "\u212Aelvin", StatusType: "online", UpdatedAt: at(1)},
	})
	require.NoError(t, err)
	asc := func(f customstatus.SortField) customstatus.SortKey { return customstatus.SortKey{Field: f} }
	desc := func(f customstatus.SortField) customstatus.SortKey {
		return customstatus.SortKey{Field: f, Descending: true}
	}
	for name, tt := range map[string]struct {
		query customstatus.Query
		ids   string
		total int
	}{
		"by name":                 {customstatus.Query{}, "351420", 6},
		"by name said":            {customstatus.Query{Sort: []customstatus.SortKey{asc("name"), desc("_id")}}, "351420", 6},
		"by name, descending":     {customstatus.Query{Sort: []customstatus.SortKey{desc("name")}}, "024153", 6},
		"by id":                   {customstatus.Query{Sort: []customstatus.SortKey{asc("_id")}}, "012345", 6},
		"by id, descending":       {customstatus.Query{Sort: []customstatus.SortKey{desc("_id")}}, "543210", 6},
		"by type, ties by id":     {customstatus.Query{Sort: []customstatus.SortKey{asc("statusType")}}, "453201", 6},
		"by type down, ties up":   {customstatus.Query{Sort: []customstatus.SortKey{desc("statusType")}}, "012345", 6},
		"by type, name":           {customstatus.Query{Sort: []customstatus.SortKey{asc("statusType"), asc("name")}}, "543210", 6},
		"by time, name down":      {customstatus.Query{Sort: []customstatus.SortKey{asc("_updatedAt"), desc("name")}}, "021534", 6},
		"by time down":            {customstatus.Query{Sort: []customstatus.SortKey{desc("_updatedAt")}}, "430125", 6},
		"first two":               {customstatus.Query{Limit: 2}, "35", 6},
		"middle":                  {customstatus.Query{Offset: 2, Limit: 2}, "14", 6},
		"last":                    {customstatus.Query{Offset: 4, Limit: 50}, "20", 6},
		"past the end":            {customstatus.Query{Offset: 6, Limit: 50}, "", 6},
		"far past the end":        {customstatus.Query{Offset: 1 << 60}, "", 6},
		"descending, middle":      {customstatus.Query{Sort: []customstatus.SortKey{desc("name")}, Offset: 1, Limit: 3}, "241", 6},
		"sorted, middle":          {customstatus.Query{Sort: []customstatus.SortKey{asc("_id")}, Offset: 1, Limit: 3}, "123", 6},
		"sorted, past the end":    {customstatus.Query{Sort: []customstatus.SortKey{asc("_id")}, Offset: 7}, "", 6},
		"name":                    {customstatus.Query{Name: "LUNCH"}, "54", 2},
		"name, descending":        {customstatus.Query{Name: "lunch", Sort: []customstatus.SortKey{desc("name")}}, "45", 2},
		"name, a page":            {customstatus.Query{Name: "un", Offset: 1, Limit: 1}, "4", 2},
		"name, not a pattern":     {customstatus.Query{Name: "."}, "1", 1},
		"name, not a pattern *":   {customstatus.Query{Name: ".C*"}, "1", 1},
		"name, any script":        {customstatus.Query{Name: "été"}, "2", 1},
		"name, folded like Go":    {customstatus.Query{Name: "kel"}, "0", 1},
		"name, nothing":           {customstatus.Query{Name: "zzz"}, "", 0},
		"id":                      {customstatus.Query{ID: "4"}, "4", 1},
		"id and name":             {customstatus.Query{ID: "4", Name: "break"}, "4", 1},
		"id, other name":          {customstatus.Query{ID: "4", Name: "meeting"}, "", 0},
		"id, unknown":             {customstatus.Query{ID: "44"}, "", 0},
		"id, is no substring":     {customstatus.Query{ID: ""}, "351420", 6},
		"id, past the end":        {customstatus.Query{ID: "4", Offset: 1}, "", 1},
		"white space is a search": {customstatus.Query{Name: " "}, "34", 2},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := c.List(tt.query)
			require.NoError(t, err)
			ids := ""
			for _, s := range page.Statuses {
				ids += s.ID
			}
			require.Equal(t, tt.ids, ids)
			require.Equal(t, tt.total, page.Total)
			require.Equal(t, customstatus.Revision(1), page.Revision)
			require.NotNil(t, page.Statuses)
		})
	}
	for name, q := range map[string]customstatus.Query{
		"offset": {Offset: -1},
		"limit":  {Limit: -1},
		"sort":   {Sort: []customstatus.SortKey{asc("name"), asc("Name")}},
	} {
		t.Run("ErrInvalid "+name, func(t *testing.T) {
			_, err := c.List(q)
			require.ErrorIs(t, err, customstatus.ErrInvalid)
		})
	}
	t.Run("the page is the caller's", func(t *testing.T) {
		before := list(t, c)
		page := list(t, c)
		for i := range page {
			page[i].Name = "changed"
		}
		require.Equal(t, before, list(t, c))
	})
}

func TestCatalogReadsDontAllocate(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	var statuses []customstatus.CustomUserStatus
	for i := range 1000 {
		statuses = append(statuses, customstatus.CustomUserStatus{ID: fmt.Sprint("id", i), Name: fmt.Sprint("name", i), StatusType: "busy"})
	}
	_, err := c.Import(ctx, statuses)
	require.NoError(t, err)
	allocs := func(f func() error) float64 {
		return testing.AllocsPerRun(100, func() {
			if err := f(); err != nil {
				t.Error(err)
			}
		})
	}
	require.Zero(t, allocs(func() error { _, err := c.Get("id500"); return err }))
	require.Zero(t, allocs(func() error { _, err := c.GetByName("name500"); return err }))
	require.LessOrEqual(t, allocs(func() error { _, err := c.List(customstatus.Query{Offset: 500, Limit: 50}); return err }), 2.0)
}

func TestCatalogReopen(t *testing.T) {
	place := customstatus.NewSharedMemory()
	c := open(t, place.Open(), nil)
	a := create(t, c, "a", customstatus.Busy)
	b := create(t, c, "b", customstatus.Away)
	require.NoError(t, c.Delete(ctx, a.ID, nil))
	revision := c.Revision()
	require.NoError(t, c.Close())

	c = open(t, place.Open(), nil)
	require.Equal(t, []customstatus.CustomUserStatus{b}, list(t, c))
	require.Equal(t, revision, c.Revision())
}

func TestOpenFails(t *testing.T) {
	failure := errors.New("no disk")
	loads := func(statuses ...customstatus.CustomUserStatus) *faultyStore {
		return &faultyStore{load: func(context.Context) ([]customstatus.CustomUserStatus, customstatus.Revision, error) {
			return statuses, 1, nil
		}}
	}
	for name, tt := range map[string]struct {
		store *faultyStore
		want  error
	}{
		"load": {&faultyStore{load: func(context.Context) ([]customstatus.CustomUserStatus, customstatus.Revision, error) {
			return nil, 0, failure
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

func TestCatalogClose(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	failure := errors.New("close failed")
	c := open(t, closeFails{customstatus.NewMemoryStore(), failure}, nil)
	s := create(t, c, "a", customstatus.Busy)
	watched := make(chan error)
	go func() {
		for _, err := range c.Watch(ctx, 1) {
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
		"Delete": func() error { return c.Delete(ctx, s.ID, nil) },
		"Import": func() error {
			_, err := c.Import(ctx, []customstatus.CustomUserStatus{{Name: "b", StatusType: "busy"}})
			return err
		},
		"Get":       func() error { _, err := c.Get(s.ID); return err },
		"GetByName": func() error { _, err := c.GetByName("a"); return err },
		"List":      func() error { _, err := c.List(customstatus.Query{}); return err },
		"Sync":      func() error { return c.Sync(ctx) },
		"Watch": func() error {
			for _, err := range c.Watch(ctx, 0) {
				return err
			}
			return nil
		},
	} {
		require.ErrorIs(t, do(), customstatus.ErrClosed, name)
	}
	require.Zero(t, c.Revision())
	// Eventually has a goroutine of its own.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+1 }, 10*time.Second, time.Millisecond)
}

type closeFails struct {
	customstatus.Store
	err error
}

func (c closeFails) Close() error { return errors.Join(c.Store.Close(), c.err) }

// gate is a store whose commits wait for the test.
type gate struct {
	faultyStore
	arrived chan []customstatus.Change
	proceed chan error // nil: commit; else fail
}

func newGate() *gate {
	g := &gate{arrived: make(chan []customstatus.Change), proceed: make(chan error)}
	g.Store = customstatus.NewMemoryStore()
	g.commit = func(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
		g.arrived <- slices.Clone(changes)
		if err := <-g.proceed; err != nil {
			return 0, err
		}
		return g.Store.Commit(ctx, changes)
	}
	return g
}

// waitBehind returns when n writes wait behind the commit at the gate. The
// catalog shows no such thing to its users, so it is seen from the goroutines.
func waitBehind(t *testing.T, n int) {
	t.Helper()
	buf := make([]byte, 1<<20)
	require.Eventually(t, func() bool {
		stacks := string(buf[:runtime.Stack(buf, true)])
		waiting := 0
		for stack := range strings.SplitSeq(stacks, "\n\n") {
			if strings.Contains(stack, "[select") && strings.Contains(stack, "(*Catalog).write(") {
				waiting++
			}
		}
		return waiting == n
	}, 10*time.Second, time.Millisecond)
}

type result struct {
	status customstatus.CustomUserStatus
	err    error
}

func goCreate(ctx context.Context, c *customstatus.Catalog, name string) <-chan result {
	done := make(chan result, 1)
	go func() {
		s, err := c.Create(ctx, customstatus.Fields{Name: name, StatusType: "busy"})
		done <- result{s, err}
	}()
	return done
}

func TestCommitsAreGrouped(t *testing.T) {
	g := newGate()
	c := open(t, g, nil)
	first := goCreate(ctx, c, "first")
	require.Len(t, <-g.arrived, 1, "a lone writer waits for nobody")

	var later []<-chan result
	for i := range 64 {
		later = append(later, goCreate(ctx, c, fmt.Sprint("later", i%32))) // each name twice
	}
	waitBehind(t, 64)
	require.Empty(t, list(t, c), "what is not durable is not seen")
	g.proceed <- nil
	require.NoError(t, (<-first).err)

	require.Len(t, <-g.arrived, 32, "those that came meanwhile share the next commit")
	g.proceed <- nil
	refused := 0
	for _, done := range later {
		switch r := <-done; {
		case r.err == nil:
			require.Equal(t, customstatus.Revision(2), r.status.Revision)
		default:
			require.ErrorIs(t, r.err, customstatus.ErrNameInUse)
			refused++
		}
	}
	require.Equal(t, 32, refused)
	require.Len(t, list(t, c), 33)
}

func TestGroupOnOneStatus(t *testing.T) {
	g := newGate()
	c := open(t, g, nil)
	first := goCreate(ctx, c, "a")
	<-g.arrived
	g.proceed <- nil
	a := (<-first).status

	blocker := goCreate(ctx, c, "blocker")
	<-g.arrived
	errs := make(chan error, 3)
	for i := range 3 {
		go func() {
			_, err := c.Update(ctx, a.ID, customstatus.Fields{Name: fmt.Sprint("a", i), StatusType: "busy"}, nil)
			errs <- err
		}()
	}
	waitBehind(t, 3)
	g.proceed <- nil
	<-blocker
	// A status stands once in a commit, so each update has its own, and its own
	// revision.
	for range 3 {
		require.Len(t, <-g.arrived, 1)
		g.proceed <- nil
		require.NoError(t, <-errs)
	}
	require.Equal(t, customstatus.Revision(5), c.Revision())
}

func TestGroupSeesItsOwnChanges(t *testing.T) {
	g := newGate()
	c := open(t, g, nil)
	first := goCreate(ctx, c, "a")
	<-g.arrived
	g.proceed <- nil
	a := (<-first).status

	blocker := goCreate(ctx, c, "blocker")
	<-g.arrived
	deleted := make(chan error, 1)
	go func() { deleted <- c.Delete(ctx, a.ID, nil) }()
	waitBehind(t, 1)
	again := goCreate(ctx, c, "a") // the name is given up in the same commit
	waitBehind(t, 2)
	imported := make(chan error, 1)
	go func() {
		_, err := c.Import(ctx, []customstatus.CustomUserStatus{{ID: a.ID, Name: "imported", StatusType: "busy"}})
		imported <- err
	}()
	waitBehind(t, 3)
	g.proceed <- nil
	<-blocker
	require.Len(t, <-g.arrived, 2)
	g.proceed <- nil
	require.NoError(t, <-deleted)
	require.NoError(t, (<-again).err)
	require.Len(t, <-g.arrived, 1, "the id was touched, so the import waits for the next commit")
	g.proceed <- nil
	require.NoError(t, <-imported)
}

func TestCommitFails(t *testing.T) {
	g := newGate()
	c := open(t, g, nil)
	blocker := goCreate(ctx, c, "blocker")
	<-g.arrived
	one := goCreate(ctx, c, "same")
	two := goCreate(ctx, c, "same")
	waitBehind(t, 2)
	g.proceed <- nil
	<-blocker
	<-g.arrived
	failure := errors.New("disk full")
	g.proceed <- failure
	// Neither may be told that the name is in use, for it is not.
	require.ErrorIs(t, (<-one).err, failure)
	require.ErrorIs(t, (<-two).err, failure)
	require.Len(t, list(t, c), 1)
	require.Equal(t, customstatus.Revision(1), c.Revision())

	again := goCreate(ctx, c, "same")
	<-g.arrived
	g.proceed <- nil
	require.NoError(t, (<-again).err, "it works again when the cause is gone")
}

func TestWriteContext(t *testing.T) {
	g := newGate()
	c := open(t, g, nil)

	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err := c.Create(done, customstatus.Fields{Name: "a", StatusType: "busy"})
	require.ErrorIs(t, err, context.Canceled)

	// In the commit: the truth, not the context.
	inCommit, cancel := context.WithCancel(ctx)
	first := goCreate(inCommit, c, "first")
	<-g.arrived
	cancel()
	// Waiting: the context, and nothing is written.
	waiting, cancelWaiting := context.WithCancel(ctx)
	second := goCreate(waiting, c, "second")
	third := goCreate(ctx, c, "third")
	waitBehind(t, 2)
	cancelWaiting()
	require.ErrorIs(t, (<-second).err, context.Canceled)
	g.proceed <- nil
	require.NoError(t, (<-first).err)
	require.Len(t, <-g.arrived, 1)
	g.proceed <- nil
	require.NoError(t, (<-third).err)

	// In the commit of another: the truth, too.
	blocker := goCreate(ctx, c, "blocker")
	<-g.arrived
	taken, cancelTaken := context.WithCancel(ctx)
	fourth := goCreate(ctx, c, "fourth")
	fifth := goCreate(taken, c, "fifth")
	waitBehind(t, 2)
	g.proceed <- nil
	<-blocker
	require.Len(t, <-g.arrived, 2)
	cancelTaken()
	g.proceed <- nil
	require.NoError(t, (<-fourth).err)
	require.NoError(t, (<-fifth).err)
}

func TestCancelledWhileDeferred(t *testing.T) {
	g := newGate()
	var inPlan atomic.Pointer[func()]
	c := open(t, g, &customstatus.Options{Now: func() time.Time {
		if f := inPlan.Swap(nil); f != nil {
			(*f)()
		}
		return start
	}})
	first := goCreate(ctx, c, "a")
	<-g.arrived
	g.proceed <- nil
	a := (<-first).status
	blocker := goCreate(ctx, c, "blocker")
	<-g.arrived

	// Two writes of one status are in a group. The second is given up while
	// the first is planned, and is then left for a commit that nobody leads.
	updated := make(chan error, 1)
	go func() {
		_, err := c.Update(ctx, a.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, nil)
		updated <- err
	}()
	waitBehind(t, 1)
	cancelled, cancel := context.WithCancel(ctx)
	deleted := make(chan error, 1)
	go func() { deleted <- c.Delete(cancelled, a.ID, nil) }()
	waitBehind(t, 2)
	giveUp := func() {
		cancel()
		for !parked("(*Catalog).Delete(") {
			runtime.Gosched()
		}
	}
	inPlan.Store(&giveUp)
	g.proceed <- nil
	require.NoError(t, (<-blocker).err)
	require.Len(t, <-g.arrived, 1)
	g.proceed <- nil
	require.NoError(t, <-updated)
	select {
	case err := <-deleted:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(10 * time.Second):
		t.Fatal("the write waits for ever")
	}
	_, err := c.Get(a.ID)
	require.NoError(t, err)
}

// parked reports whether a goroutine that runs the function waits itself.
func parked(function string) bool {
	buf := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		state, _, _ := strings.Cut(stack, "\n")
		if strings.Contains(stack, function) && (strings.Contains(state, "[select") || strings.Contains(state, "[chan receive")) {
			return true
		}
	}
	return false
}

func TestCloseWhileWriting(t *testing.T) {
	g := newGate()
	c := open(t, g, nil)
	first := goCreate(ctx, c, "first")
	<-g.arrived
	second := goCreate(ctx, c, "second")
	waitBehind(t, 1)
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	require.ErrorIs(t, (<-second).err, customstatus.ErrClosed, "what waits is refused")
	g.proceed <- nil
	require.NoError(t, (<-first).err, "what is being committed is told the truth")
	require.NoError(t, <-closed)
}

func TestCloseWithDeferredWrites(t *testing.T) {
	g := newGate()
	c := open(t, g, nil)
	first := goCreate(ctx, c, "a")
	<-g.arrived
	g.proceed <- nil
	a := (<-first).status
	blocker := goCreate(ctx, c, "blocker")
	<-g.arrived
	errs := make(chan error, 8)
	for range 8 {
		go func() { errs <- c.Delete(ctx, a.ID, nil) }()
	}
	waitBehind(t, 8)
	g.proceed <- nil
	<-blocker
	<-g.arrived
	closed := make(chan error, 1)
	go func() { closed <- c.Close() }()
	for range 6 {
		require.ErrorIs(t, <-errs, customstatus.ErrClosed)
	}
	// Who leads the commit waits for it, whether it has the delete or not.
	g.proceed <- nil
	last := []error{<-errs, <-errs}
	if last[0] != nil {
		slices.Reverse(last)
	}
	require.NoError(t, last[0])
	require.ErrorIs(t, last[1], customstatus.ErrClosed)
	require.NoError(t, <-closed)
}

func TestOutcomeUnknown(t *testing.T) {
	for name, written := range map[string]bool{"written": true, "not written": false} {
		t.Run(name, func(t *testing.T) {
			store := &faultyStore{Store: customstatus.NewMemoryStore()}
			c := open(t, store, nil)
			a := create(t, c, "a", customstatus.Busy)
			store.commit = func(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
				if written {
					_, err := store.Store.Commit(ctx, changes)
					require.NoError(t, err)
				}
				return 0, fmt.Errorf("sync: %w", customstatus.ErrOutcomeUnknown)
			}
			_, err := c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
			require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			require.Equal(t, []customstatus.CustomUserStatus{a}, list(t, c), "only what is known to be durable is shown")

			// While the store can't be read either, nothing is written.
			commit := store.commit
			store.commit = nil
			failure := errors.New("no disk")
			store.load = func(context.Context) ([]customstatus.CustomUserStatus, customstatus.Revision, error) {
				return nil, 0, failure
			}
			_, err = c.Create(ctx, customstatus.Fields{Name: "c", StatusType: "busy"})
			require.ErrorIs(t, err, failure)
			require.ErrorIs(t, c.Sync(ctx), failure)

			// Who asks finds out.
			store.load = nil
			require.NoError(t, c.Sync(ctx))
			_, err = c.GetByName("b")
			require.Equal(t, written, err == nil)
			if written {
				require.NoError(t, c.Delete(ctx, list(t, c)[1].ID, nil))
			}

			// And so does the next write.
			store.commit = commit
			_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
			require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			store.commit = nil
			_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
			if written {
				require.ErrorIs(t, err, customstatus.ErrNameInUse)
				require.Len(t, list(t, c), 2)
				for _, err := range c.Watch(ctx, 1) {
					require.ErrorIs(t, err, customstatus.ErrCompacted, "the feed doesn't know that commit")
				}
			} else {
				require.NoError(t, err)
			}
		})
	}
}

func TestStoreGoesBack(t *testing.T) {
	store := &faultyStore{Store: customstatus.NewMemoryStore()}
	c := open(t, store, nil)
	create(t, c, "a", customstatus.Busy)
	store.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) {
		return 0, customstatus.ErrOutcomeUnknown
	}
	_, err := c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	store.load = func(context.Context) ([]customstatus.CustomUserStatus, customstatus.Revision, error) {
		return nil, 0, nil
	}
	_, err = c.Create(ctx, customstatus.Fields{Name: "c", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrDamaged)
	require.Len(t, list(t, c), 1)
}

// TestSomebodyElseWrites is about a store that should be the catalog's alone.
func TestSomebodyElseWrites(t *testing.T) {
	store := &faultyStore{Store: customstatus.NewMemoryStore()}
	c := open(t, store, nil)
	create(t, c, "a", customstatus.Busy)
	_, err := store.Store.Commit(ctx, []customstatus.Change{{Status: customstatus.CustomUserStatus{ID: "x", Name: "b"}}})
	require.NoError(t, err)
	_, err = c.Create(ctx, customstatus.Fields{Name: "b", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrNameInUse, "no name is given twice even so")

	store.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) {
		return 0, customstatus.ErrConflict
	}
	_, err = c.Create(ctx, customstatus.Fields{Name: "c", StatusType: "busy"})
	require.ErrorIs(t, err, customstatus.ErrConflict)
	require.ErrorContains(t, err, "somebody else")
}

func TestPanics(t *testing.T) {
	t.Run("store", func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		blocker := goCreate(ctx, c, "blocker")
		<-g.arrived
		panicked := make(chan any, 2)
		errs := make(chan error, 2)
		for i := range 2 {
			go func() {
				defer func() {
					if p := recover(); p != nil {
						panicked <- p
					}
				}()
				_, err := c.Create(ctx, customstatus.Fields{Name: fmt.Sprint(i), StatusType: "busy"})
				errs <- err
			}()
		}
		waitBehind(t, 2)
		commit := g.commit
		g.commit = func(context.Context, []customstatus.Change) (customstatus.Revision, error) { panic("broken store") }
		g.proceed <- nil
		<-blocker
		require.Equal(t, "broken store", <-panicked)
		require.ErrorIs(t, <-errs, customstatus.ErrOutcomeUnknown)
		g.commit = commit
		after := goCreate(ctx, c, "after")
		<-g.arrived
		g.proceed <- nil
		require.NoError(t, (<-after).err, "the turn was given up")
	})
	t.Run("clock", func(t *testing.T) {
		broken := false
		c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Now: func() time.Time {
			if broken {
				panic("broken clock")
			}
			return start
		}})
		broken = true
		require.PanicsWithValue(t, "broken clock", func() {
			_, _ = c.Create(ctx, customstatus.Fields{Name: "a", StatusType: "busy"})
		})
		broken = false
		create(t, c, "a", customstatus.Busy)
	})
}

func TestWatch(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Now: ticking()})
	a := create(t, c, "a", customstatus.Busy)
	page, err := c.List(customstatus.Query{})
	require.NoError(t, err)

	got := make(chan customstatus.Commit)
	watching, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		for commit, err := range c.Watch(watching, page.Revision) {
			if err != nil {
				ended <- err
				return
			}
			got <- commit
		}
	}()
	b := create(t, c, "b", customstatus.Away)
	commit := <-got
	require.Equal(t, customstatus.Commit{Revision: 2, Changes: []customstatus.Change{{Status: b}}}, commit)
	require.True(t, commit.Changes[0].Created())

	a2, err := c.Update(ctx, a.ID, customstatus.Fields{Name: "a2", StatusType: "online"}, nil)
	require.NoError(t, err)
	commit = <-got
	require.Equal(t, customstatus.Commit{Revision: 3, Changes: []customstatus.Change{{Replaces: 1, Status: a2}}}, commit)
	require.False(t, commit.Changes[0].Created())

	require.NoError(t, c.Delete(ctx, a.ID, nil))
	commit = <-got
	require.Equal(t, customstatus.Commit{Revision: 4, Changes: []customstatus.Change{{Replaces: 3, Deleted: true, Status: a2}}}, commit)

	_, err = c.Import(ctx, []customstatus.CustomUserStatus{{ID: "x", Name: "x", StatusType: "busy"}, {ID: "y", Name: "y", StatusType: "busy"}})
	require.NoError(t, err)
	commit = <-got
	require.Equal(t, customstatus.Revision(5), commit.Revision)
	require.Len(t, commit.Changes, 2, "what was committed together comes together")

	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)

	t.Run("resume", func(t *testing.T) {
		for after := range customstatus.Revision(5) {
			next := after
			for commit, err := range c.Watch(ctx, after) {
				require.NoError(t, err)
				next++
				require.Equal(t, next, commit.Revision)
				if next == 5 {
					break
				}
			}
		}
	})
	t.Run("ErrCompacted of the future", func(t *testing.T) {
		for _, err := range c.Watch(ctx, 6) {
			require.ErrorIs(t, err, customstatus.ErrCompacted)
		}
	})
	t.Run("context done", func(t *testing.T) {
		done, cancel := context.WithCancel(ctx)
		cancel()
		n := 0
		for _, err := range c.Watch(done, 0) {
			require.ErrorIs(t, err, context.Canceled)
			n++
		}
		require.Equal(t, 1, n)

		done, cancel = context.WithCancel(ctx)
		defer cancel()
		var last error
		n = 0
		for _, err := range c.Watch(done, 0) {
			n++
			last = err
			cancel() // in the middle of what is there to be yielded
		}
		require.ErrorIs(t, last, context.Canceled)
		require.Equal(t, 2, n)
	})
}

func TestWatchCompacted(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{History: 10})
	for i := range 25 {
		create(t, c, fmt.Sprint(i), customstatus.Busy)
	}
	for _, err := range c.Watch(ctx, 14) {
		require.ErrorIs(t, err, customstatus.ErrCompacted)
	}
	n := 0
	for commit, err := range c.Watch(ctx, 15) {
		require.NoError(t, err)
		if n++; commit.Revision == 25 {
			break
		}
	}
	require.Equal(t, 10, n)

	// A commit larger than the history is kept until the next one.
	var many []customstatus.CustomUserStatus
	for i := range 50 {
		many = append(many, customstatus.CustomUserStatus{Name: fmt.Sprint("many", i), StatusType: "busy"})
	}
	_, err := c.Import(ctx, many)
	require.NoError(t, err)
	for commit, err := range c.Watch(ctx, 25) {
		require.NoError(t, err)
		require.Len(t, commit.Changes, 50)
		break
	}
	create(t, c, "one more", customstatus.Busy)
	for _, err := range c.Watch(ctx, 25) {
		require.ErrorIs(t, err, customstatus.ErrCompacted)
	}
}

// TestConcurrent has writers, readers and watchers at work at once on few names.
func TestConcurrent(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{History: 1 << 20})
	const writers, rounds, names = 8, 200, 5
	var mu sync.Mutex
	made := map[customstatus.Revision][]customstatus.Change{}
	note := func(r customstatus.Revision, change customstatus.Change) {
		mu.Lock()
		defer mu.Unlock()
		made[r] = append(made[r], change)
	}
	stop := make(chan struct{})
	var readers, wg sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var last customstatus.Revision
			for {
				select {
				case <-stop:
					return
				default:
				}
				page, err := c.List(customstatus.Query{})
				require.NoError(t, err)
				require.GreaterOrEqual(t, page.Revision, last)
				last = page.Revision
				for i, s := range page.Statuses {
					require.LessOrEqual(t, s.Revision, page.Revision)
					if i > 0 {
						require.Less(t, page.Statuses[i-1].Name, s.Name, "names are unique and in order")
					}
				}
			}
		})
	}
	watching, stopWatching := context.WithCancel(ctx)
	for range 2 {
		readers.Go(func() {
			for commit, err := range c.Watch(watching, 0) {
				if err != nil {
					require.ErrorIs(t, err, context.Canceled)
					return
				}
				require.GreaterOrEqual(t, c.Revision(), commit.Revision, "who is told of a change can read it")
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(w)))
			for range rounds {
				name := fmt.Sprint("name", rng.IntN(names))
				s, err := c.GetByName(name)
				switch {
				case err != nil:
					if s, err := c.Create(ctx, customstatus.Fields{Name: name, StatusType: "busy"}); err == nil {
						note(s.Revision, customstatus.Change{Status: s})
						got, err := c.Get(s.ID)
						if err == nil {
							require.GreaterOrEqual(t, got.Revision, s.Revision, "a writer sees what it wrote")
						}
					} else {
						require.ErrorIs(t, err, customstatus.ErrNameInUse)
					}
				case rng.IntN(3) == 0:
					if err := c.Delete(ctx, s.ID, &customstatus.WriteOptions{IfRevision: s.Revision}); err == nil {
						continue
					}
				default:
					to := fmt.Sprint("name", rng.IntN(names))
					u, err := c.Update(ctx, s.ID, customstatus.Fields{Name: to, StatusType: "away"}, &customstatus.WriteOptions{IfRevision: s.Revision})
					if err == nil {
						note(u.Revision, customstatus.Change{Replaces: s.Revision, Status: u})
					}
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	stopWatching()
	readers.Wait()

	// The feed has exactly what the writers were told, and leads to what the
	// catalog shows.
	replayed := map[string]customstatus.CustomUserStatus{}
	for commit, err := range c.Watch(ctx, 0) {
		require.NoError(t, err)
		for _, change := range commit.Changes {
			require.Equal(t, change.Replaces, replayed[change.Status.ID].Revision)
			if change.Deleted {
				require.Equal(t, replayed[change.Status.ID], change.Status)
				delete(replayed, change.Status.ID)
				continue
			}
			require.Contains(t, made[commit.Revision], change)
			replayed[change.Status.ID] = change.Status
		}
		if commit.Revision == c.Revision() {
			break
		}
	}
	now := list(t, c)
	require.Len(t, replayed, len(now))
	for _, s := range now {
		require.Equal(t, replayed[s.ID], s)
	}
}

// Names are in the order of their bytes, whatever they begin with, and none takes
// the place of another.
func TestNamesThatBeginAlike(t *testing.T) {
	names := []string{
		"In a me", "In a mee", "In a meet", "In a meeting", "In a meeting 1", "In a meeting 10", "In a meeting 2",
		"In a meé", "In a meeé", "I", "In a meet ", "日本語で話す", "日本語で書く", "日本",
	}
	want := slices.Sorted(slices.Values(names))
	shows := func(t *testing.T, c *customstatus.Catalog, want []string) {
		t.Helper()
		var got []string
		for _, s := range list(t, c) {
			got = append(got, s.Name)
		}
		require.Equal(t, want, got)
		for i, name := range want {
			page, err := c.List(customstatus.Query{Offset: i, Limit: 1})
			require.NoError(t, err)
			require.Equal(t, name, page.Statuses[0].Name)
		}
	}
	for how, fill := range map[string]func(t *testing.T, c *customstatus.Catalog){
		"created": func(t *testing.T, c *customstatus.Catalog) {
			for _, name := range names {
				create(t, c, name, customstatus.Busy)
			}
		},
		"imported": func(t *testing.T, c *customstatus.Catalog) {
			var all []customstatus.CustomUserStatus
			for _, name := range names {
				all = append(all, customstatus.CustomUserStatus{Name: name, StatusType: customstatus.Busy})
			}
			_, err := c.Import(ctx, all)
			require.NoError(t, err)
		},
	} {
		t.Run(how, func(t *testing.T) {
			path := tempPath(t)
			c := open(t, openBolt(t, path), nil)
			fill(t, c)
			shows(t, c, want)
			require.NoError(t, c.Close())
			c = open(t, openBolt(t, path), nil)
			shows(t, c, want)
			gone, err := c.GetByName("In a meeting 1")
			require.NoError(t, err)
			require.NoError(t, c.Delete(ctx, gone.ID, nil))
			shows(t, c, slices.DeleteFunc(slices.Clone(want), func(name string) bool { return name == "In a meeting 1" }))
		})
	}
}
