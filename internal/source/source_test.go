package source_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/history"
	"github.com/customstatus/customstatus/internal/host"
	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/sentinel"
	"github.com/customstatus/customstatus/internal/source"
	"github.com/customstatus/customstatus/internal/table"
	"github.com/customstatus/customstatus/internal/view"
)

type value struct {
	id, name string
	revision uint64
}

var valueType = pairs.Type[value]{
	Keys: table.Keys[value]{
		ID:   func(v *value) string { return v.id },
		Name: func(v *value) string { return v.name },
	},
	Revision:    func(v *value) *uint64 { return &v.revision },
	Fingerprint: func(v *value) uint64 { return uint64(v.name[0]) },
}

// store is a store of one value.
type store struct {
	revision uint64
	name     string
	err      error // of Load and Revision
	shared   bool
	closed   bool
	hangs    bool // Load and Revision wait for their context
}

func (s *store) Load(ctx context.Context) (view.Contents[value], error) {
	if s.hangs {
		<-ctx.Done()
		return view.Contents[value]{}, context.Cause(ctx)
	}
	if s.name == "" {
		panic("no value")
	}
	return view.Contents[value]{Values: []value{{"1", s.name, s.revision}}, Revision: s.revision, Shared: s.shared}, s.err
}

func (s *store) Revision(ctx context.Context) (uint64, error) {
	if s.hangs {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}
	return s.revision, s.err
}

func (s *store) Close() error {
	s.closed = true
	return nil
}

// rig is a source over a store, and what the source tells.
type rig struct {
	*source.Source[*store, value, string]
	view   *view.View[value, string]
	store  *store // the first one
	next   *store // what Reopen returns; without one it waits for its context
	err    error  // the error of Reopen
	cancel context.CancelFunc
	told   []string
}

func open(t *testing.T, shared, reopen bool) *rig {
	t.Helper()
	r := &rig{store: &store{revision: 5, name: "a", shared: shared}}
	closing, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r.cancel = cancel
	r.view = new(view.View[value, string])
	r.view.Init(closing, valueType, history.New[string](100, 1000))
	opts := source.Options[*store]{
		Shared:   shared,
		Loaded:   func(rewound bool, err error) { r.told = append(r.told, fmt.Sprint("load ", rewound, " ", err)) },
		Reopened: func(cause, err error) { r.told = append(r.told, fmt.Sprint("reopen ", cause, ": ", err)) },
	}
	if reopen {
		opts.Reopen = func(ctx context.Context) (*store, error) {
			if r.next == nil && r.err == nil {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}
			return r.next, r.err
		}
	}
	h := &host.Host{Log: slog.New(slog.DiscardHandler), Clock: time.Now}
	r.Source = source.New(closing, h, r.view, r.store, opts)
	_, err := r.Load(t.Context())
	require.NoError(t, err)
	return r
}

func TestReadyLoadsWhatIsInDoubt(t *testing.T) {
	r := open(t, false, false)
	r.store.revision, r.store.name = 6, "b"
	require.NoError(t, r.Ready(t.Context()))
	require.EqualValues(t, 5, r.view.Revision(), "nothing is in doubt")

	r.Doubt()
	failed := errors.New("failed")
	r.store.err = failed
	require.ErrorIs(t, r.Ready(t.Context()), failed)
	require.EqualValues(t, 5, r.view.Revision())
	r.store.err = nil
	require.NoError(t, r.Ready(t.Context()), "it is still in doubt")
	require.EqualValues(t, 6, r.view.Revision())
	require.NoError(t, r.Ready(t.Context()))
	require.Equal(t, []string{"load false failed", "load false <nil>"}, r.told)

	// One commit may have been made, and no more.
	r.Doubt()
	r.store.revision, r.store.name = 8, "c"
	require.NoError(t, r.Ready(t.Context()))
	require.Equal(t, "load true <nil>", r.told[2])

	r.Doubt()
	r.cancel()
	require.ErrorIs(t, r.Ready(t.Context()), sentinel.ErrClosed)
	require.Len(t, r.told, 3)
}

func TestNothingIsInDoubtOverASharedStore(t *testing.T) {
	r := open(t, true, false)
	r.Doubt()
	require.NoError(t, r.Ready(t.Context()))
	require.Empty(t, r.told)
	r.store.revision, r.store.name = 50, "b"
	require.NoError(t, r.Reload(t.Context()))
	require.Equal(t, []string{"load false <nil>"}, r.told, "commits of others are no other history")
}

func TestReplace(t *testing.T) {
	r := open(t, false, true)
	needs := fmt.Errorf("%w: why", sentinel.ErrNeedsReopen)
	require.False(t, r.MayReplace(errors.New("another")))
	require.True(t, r.MayReplace(needs))

	r.err = errors.New("no file")
	err := r.Replace(t.Context(), needs)
	require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
	require.ErrorIs(t, err, r.err)
	require.True(t, r.store.closed)
	require.Same(t, r.store, r.Store())

	r.next = &store{revision: 6, name: "b", err: errors.New("damaged")}
	r.err = nil
	require.ErrorIs(t, r.Ready(t.Context()), r.next.err, "it is tried again")
	require.Same(t, r.next, r.Store())
	r.next = &store{revision: 6, name: "b"}
	require.NoError(t, r.Ready(t.Context()))
	require.Same(t, r.next, r.Store())
	require.EqualValues(t, 6, r.view.Revision())
	require.NoError(t, r.Ready(t.Context()))
	require.Equal(t, []string{
		"reopen must be reopened: why: no file",
		"load false damaged", "reopen must be reopened: no file: damaged",
		"load true <nil>", "reopen must be reopened: damaged: <nil>",
	}, r.told)

	r.cancel()
	require.ErrorIs(t, r.Replace(t.Context(), needs), sentinel.ErrClosed)
	require.ErrorIs(t, r.Ready(t.Context()), sentinel.ErrClosed)
}

func TestCheck(t *testing.T) {
	r := open(t, false, true)
	r.next = &store{revision: 5, name: "a"}
	require.NoError(t, r.Check(t.Context()))
	r.store.err = errors.New("another")
	require.NoError(t, r.Check(t.Context()), "readers see every commit all the same")
	require.Empty(t, r.told)
	r.store.err = sentinel.ErrNeedsReopen
	require.NoError(t, r.Check(t.Context()))
	require.Same(t, r.next, r.Store())
	require.Equal(t, []string{"load false <nil>", "reopen must be reopened: <nil>"}, r.told)

	r = open(t, false, false)
	r.store.err = sentinel.ErrNeedsReopen
	require.NoError(t, r.Check(t.Context()), "nobody can reopen it")
}

// A caller who has no more time ends a load or reopening, and nobody is told of it as
// a failure of the store. The next caller does it.
func TestCallersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, false, true)
		late := errors.New("no more time")
		wait := func(call func(context.Context) error, want error) {
			t.Helper()
			ctx, leave := context.WithCancelCause(t.Context())
			done := make(chan error, 1)
			go func() { done <- call(ctx) }()
			synctest.Wait()
			require.Empty(t, done)
			leave(late)
			require.ErrorIs(t, <-done, want)
		}
		r.Doubt()
		r.store.hangs = true
		wait(r.Check, late)
		r.store.hangs = false
		require.Empty(t, r.told)
		require.NoError(t, r.Check(t.Context()))
		require.Equal(t, []string{"load false <nil>"}, r.told)

		// The question for the revision doesn't matter so much.
		r.store.hangs = true
		wait(r.Check, nil)
		r.store.hangs, r.store.err = false, sentinel.ErrNeedsReopen
		wait(r.Check, late)
		r.next = &store{revision: 5, name: "a", hangs: true}
		wait(r.Check, late)
		require.Len(t, r.told, 1)
		require.True(t, r.store.closed)
		r.next = &store{revision: 5, name: "a"}
		require.NoError(t, r.Check(t.Context()))
		require.Equal(t, "load false <nil>", r.told[1])
		require.Len(t, r.told, 3)

		// Closing ends it too.
		r.next.hangs = true
		r.Doubt()
		closed := make(chan error, 1)
		go func() { closed <- r.Check(t.Context()) }()
		synctest.Wait()
		r.cancel()
		require.ErrorIs(t, <-closed, sentinel.ErrClosed)
		require.Len(t, r.told, 3)
	})
}

func TestPanicsOfTheStoreAreErrors(t *testing.T) {
	r := open(t, false, false)
	r.store.name = ""
	require.ErrorContains(t, r.Reload(t.Context()), "the store panicked in Load: no value")
	require.EqualValues(t, 5, r.view.Revision())
}

func TestLoadRefusesTheOtherKindOfStore(t *testing.T) {
	r := open(t, false, false)
	r.store.shared = true
	require.ErrorContains(t, r.Reload(t.Context()), "the store is shared")
	r = open(t, true, false)
	r.store.shared = false
	require.ErrorContains(t, r.Reload(t.Context()), "the store is exclusive")
}

// gatedStore is a store that has answered a load, and returns from it only when the
// gate is closed.
type gatedStore struct {
	*store
	gate chan struct{}
}

func (s gatedStore) Load(ctx context.Context) (view.Contents[value], error) {
	contents, err := s.store.Load(ctx)
	<-s.gate
	return contents, err
}

// While the store is loaded, its revision may be of a history that readers don't see yet.
func TestRevisionWaitsForALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := new(view.View[value, string])
		v.Init(t.Context(), valueType, history.New[string](100, 1000))
		h := &host.Host{Log: slog.New(slog.DiscardHandler), Clock: time.Now}
		gate := make(chan struct{})
		s := source.New(t.Context(), h, v, gatedStore{&store{revision: 5, name: "a", shared: true}, gate}, source.Options[gatedStore]{Shared: true})
		loaded := make(chan error, 1)
		go func() {
			_, err := s.Load(t.Context())
			loaded <- err
		}()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Revision(short)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Empty(t, loaded)
		asked := make(chan uint64, 1)
		go func() {
			revision, _ := s.Revision(t.Context())
			asked <- revision
		}()
		synctest.Wait()
		require.Empty(t, asked)
		close(gate)
		require.EqualValues(t, 5, <-asked)
		require.EqualValues(t, 5, v.Revision(), "readers see it")
		require.NoError(t, <-loaded)
	})
}
