// Package source loads the store behind a view, and replaces a store that must be
// opened again.
package source

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/customstatus/customstatus/internal/host"
	"github.com/customstatus/customstatus/internal/sentinel"
	"github.com/customstatus/customstatus/internal/view"
)

// Store is what a [Source] needs of a store.
type Store[T any] interface {
	Load(ctx context.Context) (view.Contents[T], error)
	Revision(ctx context.Context) (uint64, error)
	Close() error
}

// Options configure a [Source].
type Options[S any] struct {
	// Shared says that others write the store too.
	Shared bool
	// Reopen opens an exclusive store again. It may be nil.
	Reopen func(ctx context.Context) (S, error)
	// Loaded is called after each [Source.Reload], and Reopened after each call
	// of Reopen, but not when the caller's context has ended it.
	Loaded   func(rewound bool, err error)
	Reopened func(cause, err error)
}

// Source is the store S behind a view. [Source.Store] and [Source.Revision] may be
// called by several goroutines at once. The other methods are for the one goroutine
// whose turn it is to commit; over a shared store, [Source.Load] and [Source.Reload]
// are for the one that follows the store.
type Source[S Store[T], T, C any] struct {
	opts    Options[S]
	host    *host.Host
	view    *view.View[T, C]
	closing context.Context

	store atomic.Pointer[S]             // replaced by Replace
	load  atomic.Pointer[chan struct{}] // closed at the end of the load under way, or nil
	stale bool                          // the store may hold what readers don't see; never of a shared one
	lost  error                         // why there is no open store, after Replace failed
}

// New returns a source that has loaded nothing. Its loads and reopenings end when
// closing is done.
func New[S Store[T], T, C any](closing context.Context, h *host.Host, v *view.View[T, C], store S, opts Options[S]) *Source[S, T, C] {
	s := &Source[S, T, C]{opts: opts, host: h, view: v, closing: closing}
	s.store.Store(&store)
	return s
}

// Store returns the store, which may be closed.
func (s *Source[S, T, C]) Store() S { return *s.store.Load() }

// Doubt says that an exclusive store may hold a commit that readers don't see. Those
// of a shared store come by its feed.
func (s *Source[S, T, C]) Doubt() {
	if !s.opts.Shared {
		s.stale = true
	}
}

// Revision returns the revision of the store. If the store is being loaded, Revision
// waits for the end: the store may have told of another history already, which readers
// don't see yet. The same number would mean something else to them.
func (s *Source[S, T, C]) Revision(ctx context.Context) (revision uint64, err error) {
	err = s.host.Try("the store panicked in Revision", func() (err error) {
		revision, err = s.Store().Revision(ctx)
		return err
	})
	if load := s.load.Load(); err == nil && load != nil {
		select {
		case <-*load:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return revision, err
}

// Load shows what the store holds. It reports whether that is another history than
// the one that was shown before.
func (s *Source[S, T, C]) Load(ctx context.Context) (rewound bool, err error) {
	load := make(chan struct{})
	s.load.Store(&load)
	defer func() {
		s.load.Store(nil)
		close(load)
	}()
	var contents view.Contents[T]
	err = s.host.Try("the store panicked in Load", func() (err error) {
		contents, err = s.Store().Load(ctx)
		return err
	})
	switch {
	case err != nil:
		return false, err
	case contents.Shared && !s.opts.Shared:
		return false, errors.New("customstatus: the store is shared: open its catalog with OpenShared")
	case !contents.Shared && s.opts.Shared:
		return false, errors.New("customstatus: the store is exclusive: open its catalog with Open")
	}
	var unseen uint64 // nobody else writes the store
	switch {
	case s.opts.Shared:
		unseen = math.MaxUint64
	case s.stale:
		unseen = 1 // the commit whose outcome was unknown
	}
	return s.view.Load(contents, unseen)
}

// Reload calls Load and reports the outcome to the option Loaded. It reports neither a
// failure after ctx is done nor anything while the source is closing.
func (s *Source[S, T, C]) Reload(ctx context.Context) error {
	rewound, err := s.Load(ctx)
	if s.closing.Err() == nil && (err == nil || ctx.Err() == nil) {
		s.opts.Loaded(rewound, err)
	}
	return err
}

// Ready loads or replaces the store if it must, so that a commit can begin. If ctx
// ends that, the next call does it.
func (s *Source[S, T, C]) Ready(ctx context.Context) error {
	if s.lost == nil && !s.stale {
		return nil
	}
	ctx, cancel := s.untilClosing(ctx)
	defer cancel()
	err := s.lost
	if err == nil && s.stale {
		err = s.Reload(ctx)
		if s.closing.Err() != nil {
			return sentinel.ErrClosed
		}
		s.stale = err != nil
	}
	if s.MayReplace(err) {
		return s.Replace(ctx, err)
	}
	return err
}

// untilClosing returns a context that is also done when the source is closing.
func (s *Source[S, T, C]) untilClosing(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// Check is Ready for a caller who doesn't commit. It replaces the store too if the
// next commit would have to. Any other error of the store doesn't matter: readers
// see every commit all the same.
func (s *Source[S, T, C]) Check(ctx context.Context) error {
	ctx, cancel := s.untilClosing(ctx)
	defer cancel()
	if err := s.Ready(ctx); err != nil || s.opts.Reopen == nil {
		return err
	}
	if _, err := s.Revision(ctx); s.MayReplace(err) {
		return s.Replace(ctx, err)
	}
	return nil
}

// MayReplace reports whether an error of the store says that it must be reopened,
// and it can be.
func (s *Source[S, T, C]) MayReplace(err error) bool {
	return errors.Is(err, sentinel.ErrNeedsReopen) && s.opts.Reopen != nil
}

// Replace closes the store, opens it again, and loads it. If ctx ends that, there is
// no open store until [Source.Ready] has one.
func (s *Source[S, T, C]) Replace(ctx context.Context, cause error) error {
	ctx, cancel := s.untilClosing(ctx)
	defer cancel()
	// The store is broken, so that nobody needs the error of Close.
	_ = s.Close()
	var store S
	err := s.host.Try("Options.Reopen panicked", func() (err error) {
		store, err = s.opts.Reopen(ctx)
		return err
	})
	if err == nil {
		s.store.Store(&store)
		err = s.Reload(ctx)
	}
	if s.closing.Err() != nil {
		s.lost = sentinel.ErrClosed
		return sentinel.ErrClosed
	}
	if err == nil || ctx.Err() == nil {
		s.opts.Reopened(cause, err)
	}
	if err != nil {
		s.lost = fmt.Errorf("%w: %w", sentinel.ErrNeedsReopen, err)
		return s.lost
	}
	s.lost, s.stale = nil, false
	return nil
}

// Close closes the store.
func (s *Source[S, T, C]) Close() error {
	return s.host.Try("the store panicked in Close", func() error { return s.Store().Close() })
}
