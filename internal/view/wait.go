package view

import (
	"context"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// Await waits until readers see the revision. It gives up when the store turns out
// to hold another history than that of the revision, which the number of rewinds
// tells: there, the revision may never come. The error is [sentinel.ErrClosed] or
// that of ctx.
func (v *View[T, C]) Await(ctx context.Context, revision, rewinds uint64) error {
	return v.until(ctx, func(s *Snapshot[T]) bool { return s.Revision >= revision || s.Rewinds != rewinds })
}

// CatchUp waits until readers see all that a shared store holds now. It gets the
// store's revision by ask. If that is before one that readers have reached, either
// the store holds another history, or its feed has reported progress that there was
// not: then CatchUp has the store loaded again by reload, waits for that, and asks
// again. It asks again too when the store turns out to hold another history. The load
// that showed it may have begun before the call, as may the first load that ends, so
// neither is enough. A store that is behind after two loads is taken as it is. The
// error is [sentinel.ErrClosed], or that of ctx or ask.
func (v *View[T, C]) CatchUp(ctx context.Context, ask func(context.Context) (uint64, error), reload func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(v.closing, cancel)()
	for loaded := 0; loaded < 2; {
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
			err = v.Await(ctx, revision, before.Rewinds)
		}
		switch {
		case err != nil && v.closing.Err() != nil:
			return sentinel.ErrClosed
		case err != nil:
			return err
		case v.current.Load().Rewinds != before.Rewinds:
			loaded = 0 // the revision was one of another history
		case !behind:
			return nil
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
