package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus/internal/sentinel"
)

func TestStoreDoesWhatTheModelDoes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		path := tempPath(t)
		s, m := openStore(t, path), newModel()
		h := newHistory(seed)
		want := h.run(t, 60, 12, m, s)
		require.NotEmpty(t, want.statuses)
		require.NoError(t, s.Close())

		again := openStore(t, path)
		require.Equal(t, want, load(t, again))
		h.run(t, 20, 300, m, again)
	}
}

func TestStoreHandsNamesOnWithinACommit(t *testing.T) {
	s := openStore(t, tempPath(t))
	commit(t, s, put("a", "x", 0), put("b", "y", 0), put("c", "z", 0))
	commit(t, s, put("a", "free", 1), put("b", "x", 1), gone("c", 1), put("d", "y", 0), put("e", "z", 0))
	names := make(map[string]string)
	for id, status := range load(t, s).statuses {
		names[id] = status.Name
	}
	require.Equal(t, map[string]string{"a": "free", "b": "x", "d": "y", "e": "z"}, names)
}

func TestStoreRefuses(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, tempPath(t))
	commit(t, s, put("a", "x", 0), put("b", "y", 0))
	before := load(t, s)
	long, longer := strings.Repeat("n", MaxIDBytes+1), strings.Repeat("n", MaxStringBytes+1)
	named := func(c Change, change func(*Change)) Change {
		change(&c)
		return c
	}
	const (
		malformed = iota
		tooLarge
		conflict
	)
	for _, c := range []struct {
		what    string
		kind    int
		changes list
	}{
		{"an id that exists", conflict, list{put("a", "z", 0)}},
		{"an old revision", conflict, list{put("new", "new", 0), put("a", "z", 2)}},
		{"an id that does not exist", conflict, list{put("c", "z", 1)}},
		{"a delete of an id that does not exist", conflict, list{gone("c", 1)}},
		{"a delete of an id that can't exist", conflict, list{gone(long, 1)}},
		{"a name of another", conflict, list{put("a", "y", 1)}},
		{"a name taken before", conflict, list{put("c", "z", 0), put("a", "z", 1)}},
		{"a name given up later", conflict, list{put("c", "x", 0), gone("a", 1)}},
		{"two names at once", conflict, list{put("a", "y", 1), put("b", "x", 1)}},
		{"no change", malformed, nil},
		{"an id twice", malformed, list{put("a", "z", 1), put("a", "z", 1)}},
		{"an id twice, apart", malformed, list{put("a", "z", 1), put("c", "c", 0), gone("a", 1)}},
		{"a delete at no revision", conflict, list{gone("a", 0)}},
		{"a delete of nothing", conflict, list{gone("c", 0)}},
		{"a delete of no id", malformed, list{gone("", 1)}},
		{"a delete that leaves something", malformed, list{named(gone("a", 1), func(c *Change) { c.After.ID = "a" })}},
		{"a create that replaces", malformed, list{named(put("c", "z", 0), func(c *Change) { c.Before = 1 })}},
		{"a create of another", malformed, list{named(put("c", "z", 0), func(c *Change) { c.BeforeID = "c" })}},
		{"an update at no revision", conflict, list{named(put("a", "z", 1), func(c *Change) { c.Before = 0 })}},
		{"an update of nothing", conflict, list{named(put("c", "z", 1), func(c *Change) { c.Before = 0 })}},
		{"an update of another", malformed, list{named(put("a", "z", 1), func(c *Change) { c.BeforeID = "b" })}},
		{"no kind", malformed, list{named(put("c", "z", 0), func(c *Change) { c.Kind = 0 })}},
		{"an unknown kind", malformed, list{named(put("c", "z", 0), func(c *Change) { c.Kind = 4 })}},
		{"no id", malformed, list{put("", "z", 0)}},
		{"no name", malformed, list{put("c", "", 0)}},
		{"a long id", tooLarge, list{put(long, "z", 0)}},
		{"a long name", tooLarge, list{put("c", longer, 0)}},
		{"a long type", tooLarge, list{named(put("c", "z", 0), func(c *Change) { c.After.Type = longer })}},
		{"long metadata", tooLarge, list{named(put("c", "z", 0), func(c *Change) { c.After.Metadata = longer })}},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := s.Commit(ctx, c.changes)
			require.Error(t, err)
			require.Equal(t, c.kind == conflict, errors.Is(err, sentinel.ErrConflict), "%v", err)
			require.Equal(t, c.kind == tooLarge, errors.Is(err, sentinel.ErrTooLarge), "%v", err)
			if limit := (*LimitError)(nil); errors.As(err, &limit) {
				require.Zero(t, limit.MaxChanges)
			}
			require.Equal(t, before, load(t, s))
		})
	}
	require.Equal(t, uint64(2), commit(t, s, put("c", "z", 0)))
}

// When several errors apply, a commit returns the first one in the contract's
// order.
func TestCommitRefusesInOrder(t *testing.T) {
	s := openStore(t, tempPath(t))
	commit(t, s, put("a", "a", 0))
	done, cancel := context.WithCancel(context.Background())
	cancel()
	conflict := put("a", "other", 0)
	large := put(strings.Repeat("i", MaxIDBytes+1), "large", 0)
	malformed := Change{After: Record{ID: "x", Name: "x"}}

	_, err := s.Commit(context.Background(), list{conflict})
	require.ErrorIs(t, err, sentinel.ErrConflict)
	_, err = s.Commit(context.Background(), list{conflict, large})
	require.ErrorIs(t, err, sentinel.ErrTooLarge)
	for _, changes := range []list{{conflict, large, malformed}, {conflict, large, large}} {
		_, err = s.Commit(context.Background(), changes)
		require.Error(t, err)
		require.NotErrorIs(t, err, sentinel.ErrTooLarge)
		require.NotErrorIs(t, err, sentinel.ErrConflict)
		_, err = s.Commit(done, changes)
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, s.Close())
	_, err = s.Commit(done, list{conflict, large, malformed})
	require.ErrorIs(t, err, sentinel.ErrClosed)
	require.NotErrorIs(t, err, context.Canceled)
}

func TestCommitHasAGreatestSize(t *testing.T) {
	s := openStore(t, tempPath(t))
	commit(t, s, put("a", "a", 0))
	_, err := s.Commit(t.Context(), created(MaxChanges+1))
	require.ErrorIs(t, err, sentinel.ErrTooLarge)
	var limit *LimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, MaxChanges, limit.MaxChanges)
	require.Len(t, load(t, s).statuses, 1)
	_, err = s.Commit(t.Context(), created(limit.MaxChanges))
	require.NoError(t, err)
	require.Len(t, load(t, s).statuses, MaxChanges+1)
}

// 32 records of any size fit in a commit, and so do as many as the error says.
func TestCommitHasAGreatestSizeInBytes(t *testing.T) {
	s := openStore(t, tempPath(t))
	text := strings.Repeat("x", MaxStringBytes-9)
	large := func(n int) list {
		changes := make(list, n)
		for i := range changes {
			name := text + strconv.Itoa(100_000_000+i)
			changes[i] = Change{Kind: Created, After: Record{ID: name[len(name)-MaxIDBytes:], Name: name, Type: text, Metadata: text}}
		}
		return changes
	}
	_, err := s.Commit(t.Context(), large(200))
	require.ErrorIs(t, err, sentinel.ErrTooLarge)
	var limit *LimitError
	require.ErrorAs(t, err, &limit)
	require.GreaterOrEqual(t, limit.MaxChanges, 32)
	require.ErrorContains(t, err, "33554432")
	commit(t, s, large(limit.MaxChanges)...)
	require.GreaterOrEqual(t, MaxCommitBytes/MaxRecordBytes, 32)
}

// created is a commit that creates the given number of statuses.
type created int

func (n created) Len() int { return int(n) }

func (n created) At(i int) Change {
	id := "id-" + strings.Repeat("0", 7-len(strconv.Itoa(i))) + strconv.Itoa(i)
	return put(id, "name of "+id, 0)
}

func TestStoreKeepsWhatFitsABboltKey(t *testing.T) {
	path := tempPath(t)
	s := openStore(t, path)
	id, name := strings.Repeat("i", bbolt.MaxKeySize), strings.Repeat("n", MaxStringBytes)
	require.Equal(t, bbolt.MaxKeySize, MaxIDBytes)
	commit(t, s, put(id, name, 0))
	full := put("other", "\x00\xff", 0)
	full.After.Type, full.After.Metadata = strings.Repeat("t", MaxStringBytes), strings.Repeat("\xfe", MaxStringBytes)
	commit(t, s, put(id, name, 1), full)
	want := load(t, s)
	require.Equal(t, name, want.statuses[id].Name)
	require.Equal(t, full.After.Metadata, want.statuses["other"].Metadata)
	require.NoError(t, s.Close())
	require.Equal(t, want, load(t, openStore(t, path)))
}

func TestOpenMakesAFileWithModeAndWithoutLeftovers(t *testing.T) {
	for _, c := range []struct{ given, want os.FileMode }{{0, 0o600}, {0o640, 0o640}} {
		path := tempPath(t)
		s, err := Open(path, &Options{FileMode: c.given})
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, c.want, info.Mode())
		require.NoError(t, s.Close())
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		require.Len(t, entries, 1)
	}
}

func TestBackupIsACopyThatOpens(t *testing.T) {
	s := openStore(t, tempPath(t))
	want := newHistory(1).run(t, 50, 20, s)
	var backup bytes.Buffer
	require.NoError(t, s.Backup(context.Background(), &backup))
	path := tempPath(t)
	require.NoError(t, os.WriteFile(path, backup.Bytes(), 0o600))
	copied := openStore(t, path)
	require.Equal(t, want, load(t, copied))
	newHistory(2).run(t, 20, 20, copied, s) // and both go on
}

// The store keeps all names in memory. They must be right even before the first
// Load.
func TestStoreKnowsAllNames(t *testing.T) {
	t.Run("never loaded", func(t *testing.T) {
		path := tempPath(t)
		s := openStore(t, path)
		commit(t, s, put("a", "one", 0))
		require.NoError(t, s.Close())
		s = openStore(t, path)
		_, err := s.Commit(t.Context(), list{put("b", "one", 0)})
		require.ErrorIs(t, err, sentinel.ErrConflict)
		commit(t, s, put("b", "two", 0))
		commit(t, s, put("a", "three", 1), put("b", "one", 2))
	})
	t.Run("a done context", func(t *testing.T) {
		path := tempPath(t)
		s := openStore(t, path)
		require.NotEmpty(t, newHistory(1).run(t, 10, 50, s).statuses)
		require.NoError(t, s.Close())
		s = openStore(t, path)
		ctx := &doneLater{Context: context.Background(), looks: 2}
		_, err := s.Commit(ctx, list{put("b", "two", 0)})
		require.ErrorIs(t, err, context.Canceled)
		commit(t, s, put("b", "two", 0))
	})
}

// doneLater is a context that is done after a number of calls of Err.
type doneLater struct {
	context.Context
	looks int
}

func (c *doneLater) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

// Revision reports what a commit would report, for a health check.
func TestRevisionSaysThatTheFileWasCut(t *testing.T) {
	path := tempPath(t)
	s := openStore(t, path)
	want := newHistory(1).run(t, 5, 100, s)
	revision, err := s.Revision(t.Context())
	require.NoError(t, err)
	require.Equal(t, want.revision, revision)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()-4096))
	_, err = s.Revision(t.Context())
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	_, err = s.Revision(t.Context())
	require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
}

// TestFailedCommitBesideAnother has a commit that fails after the state was
// changed, so the outcome is unknown.
func TestFailedCommitBesideAnother(t *testing.T) {
	db := openHost(t, tempPath(t))
	s := newHostedStore(t, db, "")
	commit(t, s, put("a", "a", 0))
	before := s.last
	commit(t, s, put("b", "b", 0))
	errBadSector := errors.New("bad sector")
	require.ErrorIs(t, s.failed(errBadSector, before), sentinel.ErrOutcomeUnknown)
	require.ErrorIs(t, refused(t, s, put("c", "c", 0)), sentinel.ErrNeedsReopen)
	require.NoError(t, s.Close())
	commit(t, newHostedStore(t, db, ""), put("c", "c", 0))
}
