package customstatus

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/customstatus/customstatus/internal/follower"
)

// Sync blocks until reads reflect every commit made before the call. Over an
// exclusive store they always do, except after [ErrOutcomeUnknown]: then Sync finds
// out the outcome of that write. If the store returns [ErrNeedsReopen], Sync calls
// [Options.Reopen], as a write does. The error is [ErrClosed], or that of ctx or of
// the store.
func (c *Catalog) Sync(ctx context.Context) error {
	if c.current.Load().closed {
		return ErrClosed
	}
	if c.shared != nil {
		return c.sync(ctx)
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
		err := c.ready()
		if err == nil && c.opts.Reopen != nil {
			// Without a write, nobody else would reopen the store. Any other error
			// doesn't matter: reads reflect every commit all the same.
			if _, now := c.storeRevision(context.Background()); errors.Is(now, ErrNeedsReopen) {
				err = c.reopen(now)
			}
		}
		if err != nil && !errors.Is(err, ErrClosed) {
			c.noteCommit(CommitInfo{Err: err}) // what the next commit would meet
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	}
}

// sync waits until current shows all that the shared store holds now. Close ends
// it, for Close may wait for a leader who waits here.
func (c *Catalog) sync(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	before := c.current.Load()
	revision, err := c.storeRevision(ctx)
	switch {
	case err != nil:
	case revision < before.revision:
		err = c.reloaded(ctx, before)
	default:
		err = c.await(ctx, revision, before.rewinds)
	}
	if err != nil && c.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

func (c *Catalog) storeRevision(ctx context.Context) (revision Revision, err error) {
	err = c.host.Try("the store panicked in Revision", func() (err error) {
		revision, err = c.store.Revision(ctx)
		return err
	})
	return revision, err
}

// await waits until reads see the revision. It gives up when the store turns out
// to hold another history than that of the revision, which the number of rewinds
// tells: there, the revision may never come.
func (c *Catalog) await(ctx context.Context, revision Revision, rewinds uint64) error {
	return c.until(ctx, func(s *snapshot) bool { return s.revision >= revision || s.rewinds != rewinds })
}

// reloaded has the store loaded again and waits for that. The store says that it is
// at a revision before one that reads have reached: either it holds another
// history, or its feed has reported progress that there was not.
func (c *Catalog) reloaded(ctx context.Context, before *snapshot) error {
	loads := c.loads.Load()
	if c.current.Load().rewinds == before.rewinds {
		c.follower.Reload()
	}
	return c.until(ctx, func(s *snapshot) bool { return s.rewinds != before.rewinds || c.loads.Load() != loads })
}

// until waits for what reads see.
func (c *Catalog) until(ctx context.Context, reached func(*snapshot) bool) error {
	for {
		more := c.history.Wait()
		s := c.current.Load()
		if s.closed {
			return ErrClosed
		}
		if reached(s) {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done(): // Close waits for the turn, and so for us
			return ErrClosed
		}
	}
}

// followed is a catalog as the follower of its shared store sees it.
type followed struct{ c *Catalog }

func (f followed) Revision() uint64 { return uint64(f.c.Revision()) }

func (f followed) Note(err error) { f.c.noteFeed(err) }

func (f followed) Feed(ctx context.Context, after uint64) iter.Seq2[Commit, error] {
	return f.c.shared.Watch(ctx, Revision(after))
}

func (f followed) Load(ctx context.Context) {
	if rewound, err := f.c.load(ctx); ctx.Err() == nil {
		f.c.noteLoad(rewound, err)
	}
}

// Take shows a commit of the feed.
func (f followed) Take(commit Commit) error {
	e := f.c.edit(len(commit.Changes))
	if commit.Revision <= e.base.revision {
		return nil
	}
	for i := range commit.Changes {
		old, made, err := statusType.Fit(changeList(commit.Changes).At(i), e)
		if err != nil {
			return follower.ErrMisfit
		}
		e.Put(old, made)
	}
	next, made := e.commit(commit.Revision, e.changes())
	if commit.FingerprintKnown && commit.Fingerprint != made.Fingerprint {
		return fmt.Errorf("%w: the fingerprint at revision %d differs", follower.ErrMisfit, commit.Revision)
	}
	f.c.publish(next, made)
	return nil
}
