package customstatus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/customstatus/customstatus/internal/backoff"
	"github.com/customstatus/customstatus/internal/host"
)

// maxGroup is the greatest number of changes with which writes share a commit,
// so that none waits long for those before it. An import has as many as it has.
const maxGroup = 1024

// maxConflicts is how often in a row a commit to a shared store may be in conflict
// with those of others.
const maxConflicts = 100

// write is one caller's part of a commit.
type write struct {
	ctx      context.Context
	plan     func(*edit) error // checks everything before it changes anything
	size     int               // the greatest number of changes that plan makes
	err      error
	idle     bool          // the plan has changed nothing
	revision Revision      // of its commit; if idle, the one it was planned at
	rewinds  uint64        // of the history that the revision is of
	waiting  bool          // for the next commit, in Catalog.pending; guarded by Catalog.mu
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
func (c *Catalog) write(ctx context.Context, size int, plan func(*edit) error) (Revision, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	w := &write{ctx: ctx, plan: plan, size: size, waiting: true, done: make(chan struct{})}
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
		_ = c.await(ctx, w.revision, w.rewinds)
	}
	return w.revision, w.err
}

// withdraw reports whether w was still waiting and now never will be committed.
// It leaves w among the pending: to take each of many out at once would be
// quadratic.
func (c *Catalog) withdraw(w *write) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !w.waiting {
		return false
	}
	w.waiting = false
	w.plan = nil // it may hold on to an import
	c.withdrawn++
	if c.withdrawn > len(c.pending)/2 {
		c.pending = slices.DeleteFunc(c.pending, func(w *write) bool { return !w.waiting })
		c.withdrawn = 0
	}
	return true
}

// putBack lets writes wait for the next commit, before those that came later.
func (c *Catalog) putBack(writes []*write) {
	c.wait(writes, func() { c.pending = slices.Concat(writes, c.pending) })
}

// putLast lets writes wait behind those that came later: many writes of one
// status, of which each commit can have one, must not hold up all others.
func (c *Catalog) putLast(writes []*write) {
	c.wait(writes, func() { c.pending = append(c.pending, writes...) })
}

// wait has writes wait again, in the place where put puts them.
func (c *Catalog) wait(writes []*write, put func()) {
	if len(writes) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		finish(writes, ErrClosed)
		return
	}
	for _, w := range writes {
		w.waiting = true
	}
	put()
}

// lead commits for all that wait until w is finished, and gives up the turn.
func (c *Catalog) lead(w *write) {
	defer func() { <-c.turn }()
	for !w.finished() {
		if c.shared != nil && c.lastRewinds == c.current.Load().rewinds {
			if err := c.await(w.ctx, c.last, c.lastRewinds); err != nil {
				if c.withdraw(w) {
					w.finish(err)
				}
				return
			}
		}
		c.commit(w, c.gather())
	}
}

// gather returns the writes that wait, once no more of them come, and of many as
// many as share a commit. The last commit has just woken its writers, who may
// want to write again; letting them run first costs a lone writer next to
// nothing.
func (c *Catalog) gather() []*write {
	for before := 0; ; {
		runtime.Gosched()
		c.mu.Lock()
		if n := len(c.pending); n <= before || n >= c.maxChanges {
			group := c.takePending()
			c.mu.Unlock()
			return group
		}
		before = len(c.pending)
		c.mu.Unlock()
	}
}

// takePending takes from the pending what may share a commit: at least one write.
func (c *Catalog) takePending() []*write {
	var group []*write
	taken, size := 0, 0
	for _, w := range c.pending {
		if w.waiting {
			if len(group) > 0 && size+w.size > c.maxChanges {
				break
			}
			w.waiting = false
			size += w.size
			group = append(group, w)
		} else {
			c.withdrawn--
		}
		taken++
	}
	clear(c.pending[:taken]) // for the garbage collector: they may hold on to imports
	c.pending = c.pending[taken:]
	if len(c.pending) == 0 {
		c.pending = nil
	}
	return group
}

// commit makes one commit of the group and finishes its writes or puts them back.
func (c *Catalog) commit(leader *write, group []*write) {
	// Nothing is known to panic from here on. But the other writers of the group,
	// who have nobody else to finish them, must not wait for ever.
	defer func() {
		if p := recover(); p != nil {
			c.opts.Logger.Error("customstatus: a commit panicked", "panic", p, "stack", string(debug.Stack()))
			c.stale = c.shared == nil
			for _, w := range group {
				if !w.finished() {
					w.finish(fmt.Errorf("%w: the commit panicked: %v", ErrOutcomeUnknown, p))
				}
			}
		}
	}()
	synced := c.shared == nil // what current shows is all there is
	reopened := false
	for conflicts := 0; ; {
		if c.ctx.Err() != nil {
			finish(group, ErrClosed)
			return
		}
		if err := c.ready(); err != nil {
			c.noteCommit(CommitInfo{Writes: len(group), Err: err})
			finish(group, err)
			return
		}
		e := c.edit(len(group))
		planned, later, ok := c.plan(e, group)
		c.putLast(later)
		group = planned
		switch {
		case len(group) == 0:
			return
		case !ok:
			continue
		case e.relied && !synced:
			if group = c.catchUp(leader, group); group == nil {
				return
			}
			synced = true
			continue
		case len(e.changes) == 0:
			settle(group, e.base, e.base.revision)
			return
		}
		err := c.makeDurable(e, group)
		switch tooLarge := (*TooLargeError)(nil); {
		case err == nil:
			return
		case errors.Is(err, ErrOutcomeUnknown): // whatever else it is, it must not be tried again
			c.stale = c.shared == nil
		case errors.As(err, &tooLarge) && len(group) > 1:
			group = c.split(group, tooLarge.MaxChanges)
			continue
		case errors.Is(err, ErrConflict) && c.shared != nil:
			if conflicts++; conflicts > maxConflicts {
				// What it is in conflict with can't be seen: the store is at fault.
				err = fmt.Errorf("customstatus: gave up after %d conflicts with other servers: %v", maxConflicts, err)
				c.noteCommit(CommitInfo{Writes: len(group), Changes: len(e.changes), Err: err})
				break
			}
			_ = backoff.Sleep(c.ctx, backoff.Jitter(conflicts, c.host.Draw()))
			if group = c.catchUp(leader, group); group == nil {
				return
			}
			synced = true
			continue
		case errors.Is(err, ErrConflict):
			if conflicts++; conflicts < 3 {
				c.stale = true
				continue
			}
			// The cause is not wrapped: ErrConflict is for a caller's own condition.
			err = fmt.Errorf("%w: %v", ErrNotExclusive, err)
		case errors.Is(err, ErrNeedsReopen) && c.opts.Reopen != nil && !reopened:
			reopened = true
			if err = c.reopen(err); err == nil {
				continue
			}
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
// did or were refused, and those that have to wait for the next commit. If one
// panics, which may be the clock or the source of ids, it is finished and e is of no use.
func (c *Catalog) plan(e *edit, group []*write) (now, later []*write, ok bool) {
	for i, w := range group {
		changes := len(e.changes)
		panicked := c.host.Try("the write panicked", func() error {
			w.err = w.plan(e)
			return nil
		})
		if panicked != nil {
			w.finish(fmt.Errorf("customstatus: %w", panicked))
			return slices.Concat(now, group[i+1:]), later, false
		}
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
	return now, later, true
}

// makeDurable commits the changes of e to the store and, if that succeeds, shows
// them and finishes the group.
func (c *Catalog) makeDurable(e *edit, group []*write) error {
	info := CommitInfo{Writes: len(group), Changes: len(e.changes)}
	start := time.Now()
	info.Err = c.host.Try("the store panicked in Commit", func() (err error) {
		info.Revision, err = c.store.Commit(context.Background(), e.changes)
		return err
	})
	info.Duration = time.Since(start)
	switch panicked := (*host.Panic)(nil); {
	case info.Err == nil:
		next, commit := e.commit(info.Revision)
		if c.shared == nil {
			c.publish(next, commit)
		}
		c.last, c.lastRewinds = info.Revision, e.base.rewinds
		c.noteCommit(info)
		settle(group, e.base, info.Revision)
		return nil
	case errors.As(info.Err, &panicked):
		info.Err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, info.Err)
	case errors.Is(info.Err, ErrConflict), errors.Is(info.Err, ErrTooLarge):
		return info.Err // no failure of the store
	}
	info.Revision = 0
	c.noteCommit(info)
	return info.Err
}

// split returns the first writes of a group that was too large for the store, and
// puts the others back. The store takes maxChanges, if that isn't 0.
func (c *Catalog) split(group []*write, maxChanges int) []*write {
	if maxChanges > 0 {
		c.maxChanges = min(c.maxChanges, max(maxChanges, MinCommitChanges))
	}
	n, size := 1, group[0].size
	for n < len(group) && size+group[n].size <= c.maxChanges {
		size += group[n].size
		n++
	}
	if n == len(group) || maxChanges == 0 {
		n = (len(group) + 1) / 2 // until what is too large stands alone
	}
	c.putBack(group[n:])
	return group[:n]
}

// finish ends writes with the error err.
func finish(writes []*write, err error) {
	for _, w := range writes {
		w.finish(err)
	}
}

// settle ends writes with what plan said of each. What is true at base need not
// be at the revision of the commit, if others write the store too.
func settle(writes []*write, base *snapshot, revision Revision) {
	for _, w := range writes {
		w.revision, w.rewinds = revision, base.rewinds
		if w.idle {
			w.revision = base.revision
		}
		w.finish(w.err)
	}
}

// publish shows a commit to readers and then to watchers, who may read at once.
// One without changes, by which a shared store reports its progress, is only for
// those who wait for a revision.
func (c *Catalog) publish(next *snapshot, commit Commit) {
	c.current.Store(next)
	c.remember(commit)
}

// catchUp waits until current shows all that the shared store holds now, and
// returns those of the group that have waited so long. If that fails, the group is
// finished or put back, and catchUp returns nil.
func (c *Catalog) catchUp(leader *write, group []*write) []*write {
	for {
		err := c.syncFor(leader, group)
		if err == nil {
			return group
		}
		// Whose time is up gives up alone.
		var patient []*write
		for _, w := range group {
			// Asked once: it may be up between two looks.
			if late := w.ctx.Err(); late != nil {
				w.finish(late)
			} else {
				patient = append(patient, w)
			}
		}
		switch {
		case leader.ctx.Err() != nil:
			if !leader.finished() && c.withdraw(leader) { // it was left for the next commit
				leader.finish(leader.ctx.Err())
			}
			c.putBack(patient)
			return nil
		case len(patient) == len(group):
			finish(group, err)
			return nil
		case len(patient) == 0:
			return nil
		}
		group = patient
	}
}

// syncFor is sync for as long as all of the writes have time.
func (c *Catalog) syncFor(leader *write, group []*write) error {
	ctx, cancel := context.WithCancel(leader.ctx)
	defer cancel()
	for _, w := range group {
		defer context.AfterFunc(w.ctx, cancel)()
	}
	return c.sync(ctx)
}
