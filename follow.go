package customstatus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/customstatus/customstatus/internal/backoff"
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
	if stop := c.stopFeed.Load(); stop != nil && c.current.Load().rewinds == before.rewinds {
		(*stop)()
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

// The waits between attempts to get a feed that fails, and between loads.
const (
	firstFeedWait = 10 * time.Millisecond
	lastFeedWait  = 2560 * time.Millisecond
)

// follow shows the commits of a shared store, our own among them, as its feed
// brings them.
func (c *Catalog) follow() {
	defer close(c.followed)
	failing := backoff.Delay{First: firstFeedWait, Last: lastFeedWait}
	loading := failing
	var loaded time.Time
	for {
		from := c.current.Load().revision
		err := c.followFeed()
		if c.ctx.Err() != nil {
			return
		}
		c.noteFeed(err)
		var wait time.Duration
		switch {
		case errors.Is(err, ErrCompacted) || errors.Is(err, errFeed):
			// A store that forgets commits faster than they are read must not
			// be loaded without end. Only time shows that it isn't one.
			if time.Since(loaded) > 4*lastFeedWait {
				loading.Reset()
			}
			rewound, err := c.load(c.ctx)
			if c.ctx.Err() != nil {
				return
			}
			c.noteLoad(rewound, err)               // if it failed, the feed says the same again
			loaded, wait = time.Now(), loading.Now // the first is none
			loading.Next()
		case c.current.Load().revision > from:
			failing.Reset() // as long as the feed brings something new, it is taken up again at once
		default:
			wait = failing.Next()
		}
		if backoff.Sleep(c.ctx, wait) != nil {
			return
		}
	}
}

// errFeed is returned when the feed doesn't fit what the catalog has.
var errFeed = errors.New("the store's feed has a gap or a change that doesn't fit")

// followFeed shows the commits of one feed and returns why the feed ended.
func (c *Catalog) followFeed() error {
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	stop := func() { cancel(errFeed) }
	c.stopFeed.Store(&stop)
	first := true
	err := c.host.Try("the store panicked in Watch", func() error {
		for commit, err := range c.shared.Watch(ctx, c.current.Load().revision) {
			if err != nil {
				return err
			}
			if first {
				first = false
				c.noteFeed(nil)
			}
			if err := c.take(commit); err != nil {
				return err
			}
		}
		return errors.New("the store's feed has ended without an error")
	})
	if cause := context.Cause(ctx); cause != nil && c.ctx.Err() == nil {
		return cause
	}
	return err
}

// take shows a commit of the feed.
func (c *Catalog) take(commit Commit) error {
	e := c.edit(len(commit.Changes))
	if commit.Revision <= e.base.revision {
		return nil
	}
	for i := range commit.Changes {
		change := &commit.Changes[i]
		old := e.table.ByID(change.ID())
		if !change.Kind.known() || change.conflict(old, e.table.ByName(change.After.Name)) != nil {
			return errFeed
		}
		if change.Kind == Deleted {
			e.delete(old)
			continue
		}
		status := change.After
		e.put(old, &status)
	}
	if commit.FingerprintKnown && commit.Fingerprint != e.position.Fingerprint {
		return fmt.Errorf("%w: the fingerprint at revision %d differs", errFeed, commit.Revision)
	}
	c.publish(e.commit(commit.Revision))
	return nil
}
