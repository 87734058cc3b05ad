// Package follower keeps a copy up to date with the feed of the original. It
// loads the copy again when the feed can't continue.
package follower

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/customstatus/customstatus/internal/backoff"
	"github.com/customstatus/customstatus/internal/host"
	"github.com/customstatus/customstatus/internal/sentinel"
)

// Copy is a copy of an original. The original's commits have the type C.
type Copy[C any] interface {
	// Revision returns the revision that the copy has reached.
	Revision() uint64
	// Feed yields the commits of the original after a revision, and at its end
	// one error.
	Feed(ctx context.Context, after uint64) iter.Seq2[C, error]
	// Take applies a commit. [ErrMisfit] is returned when the commit does not
	// fit the copy.
	Take(commit C) error
	// Load loads the copy again.
	Load(ctx context.Context) error
	// Note receives the error at the end of a feed, and nil when a feed has
	// begun.
	Note(err error)
}

// ErrMisfit is returned when a commit does not fit the copy.
var ErrMisfit = errors.New("the store's feed has a gap or a change that doesn't fit")

// The delays between attempts to get a feed, and between loads.
const (
	firstWait = 10 * time.Millisecond
	lastWait  = 2560 * time.Millisecond
)

// Follower follows an original. Several goroutines may use it at once.
type Follower[C any] struct {
	host   *host.Host
	copy   Copy[C]
	stop   atomic.Pointer[context.CancelCauseFunc] // of the feed
	wanted atomic.Bool                             // a load, since one last began that succeeded
	done   chan struct{}
}

// New returns a follower for the copy. The follower does nothing until
// [Follower.Run] is called.
func New[C any](h *host.Host, c Copy[C]) *Follower[C] {
	return &Follower[C]{host: h, copy: c, done: make(chan struct{})}
}

// Start returns a follower that runs until ctx is done.
func Start[C any](ctx context.Context, h *host.Host, c Copy[C]) *Follower[C] {
	f := New(h, c)
	go func() {
		defer close(f.done)
		f.Run(ctx)
	}()
	return f
}

// Wait waits for the end of a follower that [Start] has returned.
func (f *Follower[C]) Wait() { <-f.done }

// Reload ends the feed, so that the copy is loaded again. The request lasts until a
// load succeeds that began after it, even if there is no feed now.
func (f *Follower[C]) Reload() {
	f.wanted.Store(true) // before the look for a feed: one that begins later sees it
	if stop := f.stop.Load(); stop != nil {
		(*stop)(ErrMisfit)
	}
}

// Run follows the original until ctx is done. When a feed ends that has yielded
// something new, Run starts the next feed at once; otherwise it waits first,
// longer each time. Run loads the copy again after [ErrMisfit],
// [sentinel.ErrCompacted], and [Follower.Reload].
func (f *Follower[C]) Run(ctx context.Context) {
	failing := backoff.Delay{First: firstWait, Last: lastWait}
	loading := failing
	var loaded time.Time
	for {
		from := f.copy.Revision()
		err := f.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		f.copy.Note(err)
		var wait time.Duration
		switch {
		case errors.Is(err, sentinel.ErrCompacted) || errors.Is(err, ErrMisfit):
			// An original may forget commits faster than the feed is read. It
			// must not be loaded at full speed for ever, so the delay is reset
			// only after some time without a load.
			if time.Since(loaded) > 4*lastWait {
				loading.Reset()
			}
			// If Load fails, the next feed returns the same error. Only a request
			// must be kept. One that comes during the load asks for another load.
			wanted := f.wanted.Swap(false)
			if f.copy.Load(ctx) != nil && wanted {
				f.wanted.Store(true)
			}
			loaded, wait = time.Now(), loading.Now
			loading.Next()
		case f.copy.Revision() > from:
			failing.Reset()
		default:
			wait = failing.Next()
		}
		if backoff.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// follow applies the commits of one feed, and returns the error at the feed's
// end.
func (f *Follower[C]) follow(ctx context.Context) error {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.stop.Store(&cancel)
	if f.wanted.Load() {
		return ErrMisfit
	}
	first := true
	err := f.host.Try("the store panicked in Watch", func() error {
		for commit, err := range f.copy.Feed(running, f.copy.Revision()) {
			if err != nil {
				return err
			}
			if first {
				first = false
				f.copy.Note(nil)
			}
			if err := f.copy.Take(commit); err != nil {
				return err
			}
		}
		return errors.New("the store's feed has ended without an error")
	})
	if cause := context.Cause(running); cause != nil && ctx.Err() == nil {
		return cause
	}
	return err
}
