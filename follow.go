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
	if c.view.Current().Closed {
		return ErrClosed
	}
	if c.shared != nil {
		return c.view.CatchUp(ctx, c.source.Revision, c.follower.Reload)
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
		err := c.source.Check(ctx)
		if err == nil || ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			c.health.Check(err) // what the next commit would meet
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return ErrClosed
	}
}

// followed is a catalog as the follower of its shared store sees it.
type followed struct{ c *Catalog }

func (f followed) Revision() uint64 { return f.c.view.Revision() }

func (f followed) Note(err error) { f.c.noteFeed(err) }

func (f followed) Feed(ctx context.Context, after uint64) iter.Seq2[Commit, error] {
	return f.c.shared.Watch(ctx, Revision(after))
}

func (f followed) Load(ctx context.Context) error { return f.c.source.Reload(ctx) }

// Take shows a commit of the feed. One that changes nothing can prove what is shown.
func (f followed) Take(commit Commit) error {
	e := f.c.edit(len(commit.Changes))
	if r := uint64(commit.Revision); r < e.Base.Revision || r == e.Base.Revision && (len(commit.Changes) > 0 || !commit.FingerprintKnown) {
		return nil
	}
	if !e.Replay(changeList(commit.Changes)) {
		return follower.ErrMisfit
	}
	next, made := e.commit(commit.Revision, e.changes())
	if commit.FingerprintKnown && commit.Fingerprint != made.Fingerprint {
		return fmt.Errorf("%w: the fingerprint at revision %d differs", follower.ErrMisfit, commit.Revision)
	}
	f.c.view.Publish(next, made, len(made.Changes), made.size())
	return nil
}
