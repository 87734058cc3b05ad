package customstatus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// Sync blocks until reads reflect every commit made before the call. Over a
// store that this catalog alone writes they do anyway, except after
// [ErrOutcomeUnknown]: then Sync finds out what came of the write. It also has
// [Options.Reopen] called if the store says [ErrNeedsReopen], as a write does.
// Errors: those of ctx and of the store, [ErrClosed].
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
		if err == nil && c.reopenStore != nil {
			err = c.reopenNeeded()
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

// reopenNeeded reopens the store if it says that it must be. Without a write,
// nobody else would. The caller has the turn.
func (c *Catalog) reopenNeeded() error {
	err := c.guard("Revision", func() error {
		_, err := c.store.Revision(c.commits)
		return err
	})
	if errors.Is(err, ErrNeedsReopen) {
		return c.reopen(err)
	}
	return nil // reads reflect every commit all the same
}

// sync waits until current shows all that the shared store holds now. Close ends
// it, which may wait for a leader who waits here.
func (c *Catalog) sync(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	before := c.current.Load()
	var revision Revision
	err := c.guard("Revision", func() (err error) {
		revision, err = c.store.Revision(ctx)
		return err
	})
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

// await waits until reads see the revision. It gives up when the store turns out
// to hold another history than the one that the revision is of, which is known by
// the number of rewinds: there, the revision may never come.
func (c *Catalog) await(ctx context.Context, revision Revision, rewinds uint64) error {
	for {
		more := c.history.Wait()
		s := c.current.Load()
		if s.closed {
			return ErrClosed
		}
		if s.revision >= revision || s.rewinds != rewinds {
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

// guard calls a method of the store and makes an error of a panic, which must
// not end the host's process.
func (c *Catalog) guard(method string, call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("customstatus: the store panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
			err = &storePanic{method, p}
		}
	}()
	return call()
}

// storePanic is a panic of a store. After one of Commit, nobody knows what the
// commit did.
type storePanic struct {
	method string
	value  any
}

func (e *storePanic) Error() string {
	return fmt.Sprintf("the store panicked in %s: %v", e.method, e.value)
}

// draw returns a random number, whatever the host's source does.
func (c *Catalog) draw() (n uint64) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("customstatus: the source of randomness panicked", "panic", p)
			n = rand.Uint64()
		}
	}()
	return c.random()
}

// backOff keeps catalogs that write to the same statuses from running into each
// other again and again.
func (c *Catalog) backOff(conflicts int) {
	limit := uint64(time.Millisecond << min(conflicts, 6))
	wait := time.NewTimer(time.Duration(c.draw() % limit))
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-c.ctx.Done():
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
	var failing, loading time.Duration // the last waits for these reasons
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
				loading = 0
			}
			rewound, err := c.load(c.ctx)
			if c.ctx.Err() != nil {
				return
			}
			c.noteLoad(rewound, err) // if it failed, the feed says the same again
			loaded = time.Now()
			wait, loading = loading, min(max(2*loading, firstFeedWait), lastFeedWait)
		case c.current.Load().revision > from:
			failing = 0 // as long as the feed brings something new, it is taken up again at once
		default:
			failing = min(max(2*failing, firstFeedWait), lastFeedWait)
			wait = failing
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
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
	err := c.guard("Watch", func() error {
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

// reloaded has the store loaded again and waits for that. The store says that it is
// at a revision before one that reads have reached: it holds another history, or
// its feed has reported progress that there was not.
func (c *Catalog) reloaded(ctx context.Context, before *snapshot) error {
	loads := c.loads.Load()
	if stop := c.stopFeed.Load(); stop != nil && c.current.Load().rewinds == before.rewinds {
		(*stop)()
	}
	for c.current.Load().rewinds == before.rewinds && c.loads.Load() == loads {
		more := c.history.Wait()
		if c.loads.Load() != loads {
			break
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return ErrClosed
		}
	}
	return nil
}

// take shows a commit of the feed.
func (c *Catalog) take(commit Commit) error {
	e := c.edit(len(commit.Changes))
	if commit.Revision <= e.base.revision {
		return nil
	}
	for _, change := range commit.Changes {
		old := e.table.ByID(change.ID())
		switch {
		case change.Kind == Created && old == nil:
		case (change.Kind == Updated || change.Kind == Deleted) && old != nil && old.Revision == change.Before.Revision:
		default:
			return errFeed
		}
		if change.Kind == Deleted {
			e.delete(old)
			continue
		}
		status := change.After
		if other := e.table.ByName(status.Name); other != nil && other.ID != status.ID {
			return errFeed
		}
		e.put(old, &status)
	}
	if commit.FingerprintKnown && commit.Fingerprint != e.position.Fingerprint {
		return fmt.Errorf("%w: the fingerprint at revision %d differs", errFeed, commit.Revision)
	}
	c.publish(e.commit(commit.Revision))
	return nil
}
