package view

import (
	"context"
	"time"

	"github.com/customstatus/customstatus/internal/backoff"
	"github.com/customstatus/customstatus/internal/sentinel"
)

// How long a revision is awaited until the store is asked for it, and asked again.
const (
	firstDoubt = time.Second
	lastDoubt  = 16 * time.Second
)

// maxPassed is how often CatchUp asks again because readers were faster than the answer.
const maxPassed = 3

// Await waits until readers see the revision. It gives up when the store is loaded
// again, which the number of loads tells: the store may have lost the revision, so that
// it never comes, and nothing that readers have seen. The store's feed need not notice
// that. So now and then Await gets the store's revision by ask. If that is before the
// awaited one, Await has the store loaded again by reload. The error is
// [sentinel.ErrClosed] or that of ctx.
func (v *View[T, C]) Await(ctx context.Context, revision, loads uint64, ask func(context.Context) (uint64, error), reload func()) error {
	reached := func(s *Snapshot[T]) bool { return s.Revision >= revision || s.Loads != loads }
	between := backoff.Delay{First: firstDoubt, Last: lastDoubt}
	for lost := false; !lost; {
		patience, cancel := context.WithTimeout(ctx, between.Next())
		err := v.until(patience, reached)
		cancel()
		switch {
		case err == nil, err == sentinel.ErrClosed:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		lost = v.isBefore(ctx, revision, ask, reached)
	}
	reload()
	return v.until(ctx, reached)
}

// isBefore reports whether the store says that it is before the revision. It stops
// asking when readers have reached what they wait for.
func (v *View[T, C]) isBefore(ctx context.Context, revision uint64, ask func(context.Context) (uint64, error), reached func(*Snapshot[T]) bool) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		_ = v.until(ctx, reached)
	}()
	at, err := ask(ctx)
	// If ask has waited for a load, readers have reached it before ctx says so.
	return err == nil && at < revision && ctx.Err() == nil && !reached(v.current.Load())
}

// AwaitOwn waits until readers see a commit that has been made at the revision, by an
// edit of a snapshot with so many loads. If the store has been loaded since, it may hold
// another history, in which the commit is still to come, or is lost. Then AwaitOwn waits
// as [View.CatchUp] does, and again if ask fails. The error is [sentinel.ErrClosed] or
// that of ctx.
func (v *View[T, C]) AwaitOwn(ctx context.Context, revision, loads uint64, ask func(context.Context) (uint64, error), reload func()) error {
	err := v.Await(ctx, revision, loads, ask, reload)
	if err != nil || v.current.Load().Loads == loads {
		return err
	}
	between := backoff.Delay{First: 10 * time.Millisecond, Last: 640 * time.Millisecond}
	for {
		err = v.CatchUp(ctx, ask, reload)
		if err == nil || v.closing.Err() != nil {
			return err
		}
		if late := backoff.Sleep(ctx, between.Next()); late != nil {
			return late
		}
	}
}

// CatchUp waits until readers see all that a shared store holds now. It gets the
// store's revision by ask. If that is before one that readers have reached, either
// the store holds another history, or its feed has reported progress that there was
// not: then CatchUp has the store loaded again by reload, waits for that, and asks
// again. It asks again too when the store turns out to hold another history, and when
// it is loaded before the revision comes, which it may have lost. The load
// that showed it may have begun before the call, as may the first load that ends, so
// neither is enough. A store that is behind after two loads is taken as it is.
//
// Readers may have passed the revision meanwhile: by a later commit, or by one that the
// feed has brought late and the store has lost. So CatchUp asks again, up to maxPassed
// times, because with many commits that can go on. The error is
// [sentinel.ErrClosed], or that of ctx or ask.
func (v *View[T, C]) CatchUp(ctx context.Context, ask func(context.Context) (uint64, error), reload func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(v.closing, cancel)()
	for loaded, passed := 0, 0; loaded < 2; {
		before := v.current.Load()
		revision, err := ask(ctx)
		behind := err == nil && revision < before.Revision
		switch {
		case behind:
			loads := v.loads.Load()
			if v.current.Load().Rewinds == before.Rewinds {
				reload()
			}
			err = v.until(ctx, func(s *Snapshot[T]) bool { return s.Rewinds != before.Rewinds || v.loads.Load() != loads })
		case err == nil:
			err = v.Await(ctx, revision, before.Loads, ask, reload)
		}
		switch {
		case err != nil && v.closing.Err() != nil:
			return sentinel.ErrClosed
		case err != nil:
			return err
		case v.current.Load().Rewinds != before.Rewinds:
			loaded = 0 // the revision was one of another history
		case !behind && v.Revision() > revision && passed < maxPassed:
			passed++
		case !behind && v.Revision() >= revision:
			return nil
		case !behind: // a load has shown that the revision may be lost
		default:
			loaded++
		}
	}
	return nil
}

// until waits for what readers see.
func (v *View[T, C]) until(ctx context.Context, reached func(*Snapshot[T]) bool) error {
	for {
		more := v.History.Wait()
		s := v.current.Load()
		if s.Closed {
			return sentinel.ErrClosed
		}
		if reached(s) {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		case <-v.closing.Done(): // Close waits for the turn, and so for us
			return sentinel.ErrClosed
		}
	}
}
