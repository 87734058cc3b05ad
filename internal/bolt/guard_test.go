package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus/internal/sentinel"
)

func panicOfOurOwn() { panic("a fault of ours") }

func TestGuardTellsDamageFromFaultsOfTheProgram(t *testing.T) {
	db := openHost(t, tempPath(t))
	var nothing *Store
	for _, c := range []struct {
		what    string
		fn      func() error
		damaged bool
		says    string
		stack   string
	}{
		{"our own", func() error { panicOfOurOwn(); return nil }, false, "internal error: panic: a fault of ours", "panicOfOurOwn"},
		{"a nil pointer", func() error { return errors.New(nothing.path) }, false, "nil pointer dereference", "TestGuardTellsDamage"},
		{"an index", func() error { return errors.New(list{}[len(c0)].BeforeID) }, false, "index out of range", "TestGuardTellsDamage"},
		{"our own, called by the library", func() error {
			slices.SortFunc([]int{1, 2}, func(int, int) int { panicOfOurOwn(); return 0 })
			return nil
		}, false, "a fault of ours", "panicOfOurOwn"},
		{"our own, called by bbolt", func() error {
			return db.View(func(*bbolt.Tx) error { panicOfOurOwn(); return nil })
		}, false, "a fault of ours", "panicOfOurOwn"},
		{"bbolt's", func() error {
			return db.View(func(tx *bbolt.Tx) error { return tx.Rollback() })
		}, true, "damaged: bbolt panicked: ", "bbolt.(*Tx).Rollback"},
	} {
		t.Run(c.what, func(t *testing.T) {
			err := fmt.Errorf("in the middle: %w", guard(c.fn))
			require.Equal(t, c.damaged, errors.Is(err, sentinel.ErrDamaged), "%v", err)
			require.ErrorContains(t, err, c.says)
			var p *PanicError
			require.ErrorAs(t, err, &p)
			require.Contains(t, string(p.Stack()), c.stack)
			require.NotContains(t, p.Error(), "goroutine")
			require.Equal(t, p.Error(), fmt.Sprintf("%v", p))
			require.Equal(t, fmt.Sprintf("%q", p.Error()), fmt.Sprintf("%q", p))
			require.Contains(t, fmt.Sprintf("%+v", p), c.stack)
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Error("x", "cause", p)
			require.Contains(t, log.String(), c.stack)
			require.Contains(t, log.String(), "cause.error=")
		})
	}
	require.NoError(t, guard(func() error { return nil }))
}

// c0 is empty, but the compiler does not know that.
var c0 = list{}

// trap is a list of changes that panics at the nth call of At.
type trap struct {
	list
	n *int
}

func (c trap) At(i int) Change {
	if *c.n--; *c.n == 0 {
		panicOfOurOwn()
	}
	return c.list[i]
}

// A panic of the program in the middle of a commit leaves the file unchanged
// and is not reported as damage.
func TestCommitThatPanicsIsNoDamage(t *testing.T) {
	path := tempPath(t)
	s := openStore(t, path)
	commit(t, s, put("a", "a", 0))
	want := load(t, s)
	n := 2 // the first is outside the transaction
	_, err := s.Commit(context.Background(), trap{list{put("b", "b", 0)}, &n})
	require.ErrorContains(t, err, "internal error: panic: a fault of ours")
	require.NotErrorIs(t, err, sentinel.ErrDamaged)
	err = refused(t, s, put("c", "c", 0))
	require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
	require.NotErrorIs(t, err, sentinel.ErrDamaged)
	require.True(t, want.equal(load(t, s)))
	require.NoError(t, s.Close())
	require.True(t, want.equal(load(t, openStore(t, path))))
}
