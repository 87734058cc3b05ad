package customstatus_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestCatalogImport(t *testing.T) {
	old := customstatus.CustomUserStatus{ID: "65462e97a2f73c7460e18f84", Name: "old", StatusType: "busy", UpdatedAt: time.Date(1969, 7, 20, 20, 17, 40, 5e6, time.UTC)}
	meteor := customstatus.CustomUserStatus{ID: "EscbQinc8jmeXbpt7", Name: "In a meeting", StatusType: "away", UpdatedAt: start}

	t.Run("OK", func(t *testing.T) {
		c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Now: ticking()})
		result, err := c.Import(ctx, []customstatus.CustomUserStatus{old, meteor, {Name: "no id", StatusType: "online"}})
		require.NoError(t, err)
		require.Equal(t, customstatus.ImportResult{Added: 3, Revision: 1}, result)
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
		result, err = c.Import(ctx, []customstatus.CustomUserStatus{old, other, meteor})
		require.NoError(t, err)
		require.Equal(t, customstatus.ImportResult{Added: 1, Unchanged: 2, Revision: 2}, result)
		result, err = c.Import(ctx, []customstatus.CustomUserStatus{old, meteor})
		require.NoError(t, err)
		require.Equal(t, customstatus.ImportResult{Unchanged: 2, Revision: 2}, result, "nothing to write")
		require.Len(t, list(t, c), 4)
		result, err = c.Import(ctx, nil)
		require.NoError(t, err)
		require.Equal(t, customstatus.ImportResult{Revision: 2}, result)
	})
	t.Run("OK metadata", func(t *testing.T) {
		c := open(t, customstatus.NewMemoryStore(), nil)
		with := old
		with.Metadata = "{}"
		result, err := c.Import(ctx, []customstatus.CustomUserStatus{with})
		require.NoError(t, err)
		require.Equal(t, 1, result.Added)
		result, err = c.Import(ctx, []customstatus.CustomUserStatus{old})
		require.NoError(t, err, "an import that doesn't speak of metadata fits any")
		require.Equal(t, customstatus.ImportResult{Unchanged: 1, Revision: 1}, result)
		got, err := c.Get(old.ID)
		require.NoError(t, err)
		require.Equal(t, "{}", got.Metadata)
		with.Metadata = "other"
		_, err = c.Import(ctx, []customstatus.CustomUserStatus{with})
		requireRefused(t, err, map[int]error{0: customstatus.ErrIDInUse})
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
		requireRefused(t, err, map[int]error{1: customstatus.ErrRequired, 2: customstatus.ErrInvalid, 3: customstatus.ErrInvalid, 4: customstatus.ErrInvalid})
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
		requireRefused(t, err, map[int]error{1: customstatus.ErrNameInUse, 2: customstatus.ErrIDInUse, 4: customstatus.ErrNameInUse, 5: customstatus.ErrIDInUse, 6: customstatus.ErrInvalid})
		require.Equal(t, []customstatus.CustomUserStatus{s}, list(t, c))
		require.EqualError(t, err, `customstatus: import: status 1: the name "taken" belongs to status "`+s.ID+`" (and 4 more)`)
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

func requireRefused(t *testing.T, err error, want map[int]error) {
	t.Helper()
	var bad *customstatus.ImportError
	require.ErrorAs(t, err, &bad)
	require.Len(t, bad.Refused, len(want), "%v", bad.Refused)
	for _, r := range bad.Refused {
		require.ErrorIs(t, r.Err, want[r.Index], "status %d", r.Index)
	}
}

// What an import brings in keeps nothing else of the import in memory.
func TestImportKeepsOnlyWhatIsNew(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{HistoryChanges: 1})
	all := make([]customstatus.CustomUserStatus, 5000)
	for i := range all {
		all[i] = customstatus.CustomUserStatus{ID: fmt.Sprint(i), Name: fmt.Sprint("status ", i), StatusType: "busy", UpdatedAt: start}
	}
	_, err := c.Import(ctx, all)
	require.NoError(t, err)
	held := func() int64 {
		var m runtime.MemStats
		for range 2 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := held()
	const rounds = 30
	for i := range rounds {
		result, err := c.Import(ctx, append(all[:len(all):len(all)], customstatus.CustomUserStatus{Name: fmt.Sprint("new ", i), StatusType: "busy"}))
		require.NoError(t, err)
		require.Equal(t, 1, result.Added)
	}
	// The struct of a status has 96 bytes.
	require.Less(t, held()-before, int64(rounds*len(all)*96/10))
	runtime.KeepAlive(all)
	runtime.KeepAlive(c)
}
