package customstatus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// write is one caller's part of a commit.
type write struct {
	ctx      context.Context
	plan     func(*edit) error // checks everything before it changes anything
	err      error
	idle     bool          // the plan has changed nothing
	revision Revision      // of its commit; if idle, the one it was planned at
	done     chan struct{} // closed when err says what came of it
}

func (w *write) finish(err error) {
	w.err = err
	close(w.done)
}

func (w *write) finished() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// write has plan made part of a commit. Whoever gets the turn commits for all
// that wait; so writes that arrive during a commit share the next one, and no
// goroutine is needed to wait for them.
func (c *Catalog) write(ctx context.Context, plan func(*edit) error) (Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	w := &write{ctx: ctx, plan: plan, done: make(chan struct{})}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, ErrClosed
	}
	c.pending = append(c.pending, w)
	c.mu.Unlock()

	select {
	case c.turn <- struct{}{}:
		c.lead(w)
	case <-ctx.Done():
		if c.withdraw(w) {
			return 0, ctx.Err()
		}
		// It is part of a commit under way, which may still leave it for the
		// next one. Nobody else may come for that.
		select {
		case c.turn <- struct{}{}:
			waits := c.withdraw(w)
			<-c.turn
			if waits {
				return 0, ctx.Err()
			}
		case <-w.done:
		}
	case <-w.done:
	}
	<-w.done
	if w.err == nil && c.shared != nil {
		// It is done whatever comes of the wait, which is only for the
		// caller to see it.
		_ = c.await(ctx, w.revision)
	}
	return w.revision, w.err
}

// withdraw reports whether w was still waiting and now never will be committed.
func (c *Catalog) withdraw(w *write) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.pending, w)
	if i < 0 {
		return false
	}
	c.pending = slices.Delete(c.pending, i, i+1)
	return true
}

// putBack lets writes wait for the next commit, before those that came later.
func (c *Catalog) putBack(writes []*write) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		finish(writes, ErrClosed)
		return
	}
	c.pending = slices.Concat(writes, c.pending)
}

// lead commits for all that wait until w is finished, and gives up the turn.
func (c *Catalog) lead(w *write) {
	defer func() { <-c.turn }()
	for !w.finished() {
		if c.shared != nil {
			if err := c.await(w.ctx, c.last); err != nil {
				if c.withdraw(w) {
					w.finish(err)
				}
				return
			}
		}
		c.commit(w, c.gather())
	}
}

// gather returns the writes that wait, once no more of them come. The last
// commit has just woken its writers, who may want to write again; letting them
// run first costs a lone writer next to nothing.
func (c *Catalog) gather() []*write {
	for waiting := 0; ; {
		runtime.Gosched()
		c.mu.Lock()
		if len(c.pending) <= waiting {
			group := c.pending
			c.pending = nil
			c.mu.Unlock()
			return group
		}
		waiting = len(c.pending)
		c.mu.Unlock()
	}
}

// commit makes one commit of the group and finishes its writes or puts them back.
func (c *Catalog) commit(leader *write, group []*write) {
	began := false
	defer func() {
		// Only a panic, of the store or of an injected clock or id source,
		// leaves writes unfinished. It is for the leader's caller to see,
		// but the others must not wait for ever.
		for _, w := range group {
			if w.finished() {
				continue
			}
			c.stale = c.shared == nil
			if began {
				w.finish(fmt.Errorf("%w: the store panicked", ErrOutcomeUnknown))
			} else {
				w.finish(errors.New("customstatus: a write of the same commit panicked"))
			}
		}
	}()
	synced := c.shared == nil // what current shows is all there is
	for conflicts := 0; ; {
		if err := c.refresh(); err != nil {
			finish(group, err)
			return
		}
		e := c.edit(len(group))
		var later []*write
		group, later = c.plan(e, group)
		c.putBack(later)
		if len(group) == 0 {
			return
		}
		if e.relied && !synced {
			if group = c.catchUp(leader, group); group == nil {
				return
			}
			synced = true
			continue
		}
		if len(e.changes) == 0 {
			settle(group, e.base.revision, e.base.revision)
			return
		}
		began = true
		revision, err := c.store.Commit(c.commits, e.changes)
		switch {
		case err == nil:
			next, commit := e.commit(revision)
			if c.shared == nil {
				c.publish(next, commit)
			}
			c.last = revision
			settle(group, e.base.revision, revision)
			return
		case errors.Is(err, ErrConflict):
			began = false
			conflicts++
			if c.shared != nil {
				backOff(conflicts)
				if group = c.catchUp(leader, group); group == nil {
					return
				}
				synced = true
				continue
			}
			if conflicts < 3 {
				c.stale = true
				continue
			}
			err = fmt.Errorf("customstatus: somebody else writes the store: %w", err)
		case errors.Is(err, ErrOutcomeUnknown):
			c.stale = c.shared == nil
		}
		finish(group, err) // the refused too: that may rest on what wasn't written
		return
	}
}

// edit begins an edit of what is published now, with room for so many changes.
func (c *Catalog) edit(changes int) *edit {
	c.editing.Lock()
	defer c.editing.Unlock()
	c.edits++
	return c.current.Load().edit(c.edits, changes)
}

// plan has the group's writes make their changes to e, and returns those that
// did or were refused, and those that have to wait for the next commit.
func (c *Catalog) plan(e *edit, group []*write) (now, later []*write) {
	for _, w := range group {
		changes := len(e.changes)
		w.err = w.plan(e)
		w.idle = len(e.changes) == changes
		if w.err == errTouched || w.err != nil && c.shared != nil && len(e.changes) > 0 {
			// Over a shared store a refusal may rest on the changes of this
			// commit and on what base shows, which need not be true at one
			// instant. In the next commit it is the first.
			later = append(later, w)
			continue
		}
		if w.err != nil {
			e.relied = true
		}
		now = append(now, w)
	}
	return now, later
}

// finish ends writes with the error err.
func finish(writes []*write, err error) {
	for _, w := range writes {
		w.finish(err)
	}
}

// settle ends writes with what plan said of each. What is true at base need not
// be at the revision of the commit, if others write the store too.
func settle(writes []*write, base, revision Revision) {
	for _, w := range writes {
		w.revision = revision
		if w.idle {
			w.revision = base
		}
		w.finish(w.err)
	}
}

// publish shows a commit to readers and then to watchers, who may read at once.
// One without changes, by which a shared store reports its progress, is only for
// those who wait for a revision.
func (c *Catalog) publish(next *snapshot, commit Commit) {
	c.current.Store(next)
	c.feed.append(commit)
}

// refresh loads what the store holds if current may not show it. The caller has
// the turn.
func (c *Catalog) refresh() error {
	if !c.stale {
		return nil
	}
	if err := c.load(c.commits); err != nil {
		return fmt.Errorf("customstatus: reload: %w", err)
	}
	c.stale = false
	return nil
}

// load brings the catalog to what the store holds.
func (c *Catalog) load(ctx context.Context) error {
	statuses, revision, err := c.store.Load(ctx)
	if err != nil {
		return err
	}
	if s := c.current.Load(); s != nil {
		if revision < s.revision {
			return fmt.Errorf("%w: the store has gone back from revision %d to %d", ErrDamaged, s.revision, revision)
		}
		if revision == s.revision {
			return nil
		}
	}
	s, err := newSnapshot(statuses, revision)
	if err != nil {
		return err
	}
	c.current.Store(s)
	c.feed.reset(revision)
	return nil
}

// catchUp waits until current shows all that the shared store holds now, and
// returns the group. If that fails, the group is finished or put back, and
// catchUp returns nil.
func (c *Catalog) catchUp(leader *write, group []*write) []*write {
	err := c.sync(leader.ctx)
	if err == nil {
		return group
	}
	if leader.ctx.Err() == nil {
		finish(group, err)
		return nil
	}
	// It is the leader who gives up; the others have contexts of their own.
	i := slices.Index(group, leader)
	if i >= 0 {
		group = slices.Delete(group, i, i+1)
	}
	if i >= 0 || c.withdraw(leader) { // else it was left for the next commit
		leader.finish(leader.ctx.Err())
	}
	c.putBack(group)
	return nil
}

// sync waits until current shows all that the shared store holds now. Close ends
// it, which may wait for a leader who waits here.
func (c *Catalog) sync(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	revision, err := c.store.Commit(ctx, nil)
	if err == nil {
		err = c.await(ctx, revision)
	}
	if err != nil && c.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// backOff keeps catalogs that write to the same statuses from running into each
// other again and again.
func backOff(conflicts int) {
	time.Sleep(rand.N(time.Millisecond << min(conflicts, 6)))
}

// follow shows the commits of a shared store, our own among them, as its feed
// brings them.
func (c *Catalog) follow() {
	defer close(c.followed)
	for failures := 0; ; {
		before := c.current.Load().revision
		err := c.followFeed()
		if c.ctx.Err() != nil {
			return
		}
		if errors.Is(err, ErrCompacted) || errors.Is(err, errFeed) {
			_ = c.load(c.ctx) // if it fails, the feed says the same again
		}
		if c.current.Load().revision > before {
			failures = 0
			continue
		}
		failures++
		wait := time.NewTimer(10 * time.Millisecond << min(failures, 8))
		select {
		case <-wait.C:
		case <-c.ctx.Done():
			wait.Stop()
			return
		}
	}
}

// errFeed: the feed doesn't go with what the catalog has.
var errFeed = errors.New("customstatus: the store's feed has a gap")

func (c *Catalog) followFeed() error {
	for commit, err := range c.shared.Watch(c.ctx, c.current.Load().revision) {
		if err != nil {
			return err
		}
		e := c.edit(len(commit.Changes))
		if commit.Revision <= e.base.revision {
			continue
		}
		for _, change := range commit.Changes {
			old := e.ids.get(change.Status.ID)
			var had Revision
			if old != nil {
				had = old.Revision
			}
			if had != change.Replaces || had == 0 && change.Deleted {
				return errFeed
			}
			if change.Deleted {
				e.delete(old)
				continue
			}
			status := change.Status
			if other := e.names.get(status.Name); other != nil && other.ID != status.ID {
				return errFeed
			}
			e.put(old, &status)
		}
		c.publish(e.commit(commit.Revision))
	}
	return errors.New("customstatus: the store's feed has ended")
}
