package customstatus_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestListByTimesBefore1970(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	_, err := c.Import(ctx, []customstatus.CustomUserStatus{
		{ID: "a", Name: "a", StatusType: "busy", UpdatedAt: time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)},
		{ID: "b", Name: "b", StatusType: "busy", UpdatedAt: time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)},
		{ID: "c", Name: "c", StatusType: "busy", UpdatedAt: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)},
		{ID: "d", Name: "d", StatusType: "busy", UpdatedAt: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
	})
	require.NoError(t, err)
	page, err := c.List(customstatus.Query{Sort: []customstatus.SortKey{{Field: customstatus.SortByUpdatedAt}}})
	require.NoError(t, err)
	var ids strings.Builder
	for _, s := range page.Statuses {
		ids.WriteString(s.ID)
	}
	require.Equal(t, "cabd", ids.String())
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
	away := func(s customstatus.CustomUserStatus) bool { return s.StatusType == customstatus.Away }
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
		"name":                    {customstatus.Query{NameContains: "LUNCH"}, "54", 2},
		"name, descending":        {customstatus.Query{NameContains: "lunch", Sort: []customstatus.SortKey{desc("name")}}, "45", 2},
		"name, a page":            {customstatus.Query{NameContains: "un", Offset: 1, Limit: 1}, "4", 2},
		"name, not a pattern":     {customstatus.Query{NameContains: "."}, "1", 1},
		"name, not a pattern *":   {customstatus.Query{NameContains: ".C*"}, "1", 1},
		"name, any script":        {customstatus.Query{NameContains: "été"}, "2", 1},
		"name, folded like Go":    {customstatus.Query{NameContains: "kel"}, "0", 1},
		"name, nothing":           {customstatus.Query{NameContains: "zzz"}, "", 0},
		"id":                      {customstatus.Query{ID: "4"}, "4", 1},
		"id and name":             {customstatus.Query{ID: "4", NameContains: "break"}, "4", 1},
		"id, other name":          {customstatus.Query{ID: "4", NameContains: "meeting"}, "", 0},
		"id, unknown":             {customstatus.Query{ID: "44"}, "", 0},
		"id, is no substring":     {customstatus.Query{ID: ""}, "351420", 6},
		"id, past the end":        {customstatus.Query{ID: "4", Offset: 1}, "", 1},
		"exact name":              {customstatus.Query{Name: "Lunch"}, "5", 1},
		"exact name, other case":  {customstatus.Query{Name: "LUNCH"}, "", 0},
		"exact name and id":       {customstatus.Query{Name: "Lunch", ID: "5"}, "5", 1},
		"exact name, other id":    {customstatus.Query{Name: "Lunch", ID: "4"}, "", 0},
		"exact name and part":     {customstatus.Query{Name: "Lunch", NameContains: "brk"}, "", 0},
		"filter":                  {customstatus.Query{Filter: away}, "54", 2},
		"filter and part":         {customstatus.Query{Filter: away, NameContains: "BREAK"}, "4", 1},
		"filter and id":           {customstatus.Query{Filter: away, ID: "3"}, "", 0},
		"filter, a page":          {customstatus.Query{Filter: away, Offset: 1, Sort: []customstatus.SortKey{desc("name")}}, "5", 2},
		"white space is a search": {customstatus.Query{NameContains: " "}, "34", 2},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := c.List(tt.query)
			require.NoError(t, err)
			var ids strings.Builder
			for _, s := range page.Statuses {
				ids.WriteString(s.ID)
			}
			require.Equal(t, tt.ids, ids.String())
			require.Equal(t, tt.total, page.Total)
			require.Equal(t, c.Position(), page.Position)
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

func TestCatalogAll(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	for _, name := range []string{"b", "c", "a"} {
		create(t, c, name, customstatus.Busy)
	}
	require.Equal(t, 3, c.Len())
	var names string
	for s, err := range c.All() {
		require.NoError(t, err)
		if names == "" {
			create(t, c, "aa", customstatus.Busy) // not in the loop: it has begun
		}
		names += s.Name
	}
	require.Equal(t, "abc", names)
	for s := range c.All() {
		require.Equal(t, "a", s.Name)
		break
	}
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
			path := boltPath(t)
			c := open(t, openBolt(t, path, nil), nil)
			fill(t, c)
			shows(t, c, want)
			require.NoError(t, c.Close())
			c = open(t, openBolt(t, path, nil), nil)
			shows(t, c, want)
			gone, err := c.GetByName("In a meeting 1")
			require.NoError(t, err)
			remove(t, c, gone.ID, nil)
			shows(t, c, slices.DeleteFunc(slices.Clone(want), func(name string) bool { return name == "In a meeting 1" }))
		})
	}
}
