package customstatus

import (
	"cmp"
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

const (
	// maxGroup is the greatest number of changes that writes share a commit with,
	// so that none waits long for the others. A single import may have more.
	maxGroup = 1024
	// maxConflicts is how many conflicts in a row with the commits of others a
	// commit to a shared store survives.
	maxConflicts = 100
)

// write is one caller's part of a commit.
type write struct {
	ctx      context.Context
	plan     func(*edit) error // checks everything before it changes anything
	size     int               // the greatest number of changes that plan makes
	err      error             // the outcome, once done is closed
	idle     bool              // the plan has changed nothing
	revision Revision          // of the commit or, if idle, of the plan
	loads    uint64            // before the commit
	waiting  bool              // in Catalog.pending for the next commit; guarded by Catalog.mu
	done     chan struct{}
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

// write makes plan part of a commit. The writer that gets the turn commits for all
// that wait. So writes that arrive during a commit share the next one, and the
// catalog needs no goroutine for them.
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
		// next one, for which no other writer may come.
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
		// The write is done. The wait is for the caller's reads to see it.
		_ = c.view.AwaitOwn(ctx, uint64(w.revision), w.loads, c.source.Revision, c.follower.Reload)
	}
	return w.revision, w.err
}

// withdraw reports whether w was still waiting; then it will never be committed.
// Mostly w stays among the pending: to remove many one by one would be quadratic.
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

// requeue lets writes wait for the next commit, before or after those that came
// later.
func (c *Catalog) requeue(writes []*write, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		finish(writes, ErrClosed)
		return
	}
	for _, w := range writes {
		w.waiting = true
	}
	if first {
		c.pending = slices.Concat(writes, c.pending)
	} else {
		c.pending = append(c.pending, writes...)
	}
}

// lead commits for all that wait until w is finished, and gives up the turn.
func (c *Catalog) lead(w *write) {
	defer func() { <-c.turn }()
	for !w.finished() {
		if c.shared != nil && c.lastLoads == c.view.Current().Loads {
			if err := c.view.Await(w.ctx, uint64(c.last), c.lastLoads, c.source.Revision, c.follower.Reload); err != nil {
				if c.withdraw(w) {
					w.finish(err)
				}
				return
			}
		}
		c.commit(w, c.gather())
	}
}

// gather returns the writes for one commit, once no more of them come. The last
// commit has just woken its writers, who may want to write again. To let them run
// first costs a lone writer next to nothing.
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

// takePending removes the writes that may share a commit, at least one, from the
// pending.
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

// commit commits the group and finishes its writes or requeues them.
func (c *Catalog) commit(leader *write, group []*write) {
	// Nothing is known to panic here, but a store may call [runtime.Goexit], as a
	// test's t.FailNow does. The other writers of the group must not wait for ever.
	defer func() {
		left := slices.DeleteFunc(group, (*write).finished)
		if p := recover(); p != nil || len(left) > 0 {
			err := fmt.Errorf("%w: the commit broke off: %v", ErrOutcomeUnknown, cmp.Or(p, any("its goroutine ended")))
			c.host.Log.Error("customstatus: a commit broke off", "error", err, "stack", string(debug.Stack()))
			c.source.Doubt()
			finish(left, err)
		}
	}()
	synced := c.shared == nil // what reads see is all there is
	reopened := false
	for conflicts := 0; ; {
		if c.ctx.Err() != nil {
			finish(group, ErrClosed)
			return
		}
		if err := c.source.Ready(c.ctx); err != nil {
			c.health.Check(err)
			finish(group, err)
			return
		}
		e := c.edit(len(group))
		planned, later, ok := c.plan(e, group)
		if later != nil {
			// They wait behind the others: many writes of one status, of which each
			// commit can have one, must not hold up everybody.
			c.requeue(later, false)
		}
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
		case len(e.Changes) == 0:
			settle(group, e.Base, Revision(e.Base.Revision))
			return
		}
		err := c.makeDurable(e, group)
		switch tooLarge := (*TooLargeError)(nil); {
		case err == nil:
			return
		case errors.Is(err, ErrOutcomeUnknown): // even if it is another error too, never try it again
			c.source.Doubt()
		case errors.As(err, &tooLarge) && len(group) > 1:
			group = c.split(group, tooLarge.MaxChanges)
			continue
		case errors.Is(err, ErrConflict) && c.shared != nil:
			if conflicts++; conflicts > maxConflicts {
				// Reads don't show the cause of the conflicts: the store is at fault.
				err = fmt.Errorf("customstatus: gave up after %d conflicts with other servers: %v", maxConflicts, err)
				c.noteCommit(CommitInfo{Writes: len(group), Changes: len(e.Changes), Err: err})
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
				c.source.Doubt()
				continue
			}
			// The cause is not wrapped: ErrConflict is for a caller's own condition.
			err = fmt.Errorf("%w: %v", ErrNotExclusive, err)
		case !reopened && c.source.MayReplace(err):
			reopened = true
			if err = c.source.Replace(c.ctx, err); err == nil {
				continue
			}
		}
		finish(group, err) // refused writes too: a refusal may rest on what wasn't written
		return
	}
}

// plan applies the group's plans to e. It returns the writes that are planned or
// refused, and those that must wait for the next commit. If a plan panics, because
// of the host's clock or source of ids, plan finishes that write, and e is useless.
func (c *Catalog) plan(e *edit, group []*write) (now, later []*write, ok bool) {
	for i, w := range group {
		changes := len(e.Changes)
		panicked := c.host.Try("the write panicked", func() error {
			w.err = w.plan(e)
			return nil
		})
		if panicked != nil {
			w.finish(fmt.Errorf("customstatus: %w", panicked))
			return slices.Concat(now, group[i+1:]), later, false
		}
		w.idle = len(e.Changes) == changes
		if w.err == errTouched || w.err != nil && c.shared != nil && len(e.Changes) > 0 {
			// Over a shared store, the changes of this commit and what base
			// shows need not be true at one instant, and a refusal may rest on
			// both. In the next commit the write is the first.
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

// makeDurable commits the changes of e to the store. If that succeeds, it publishes
// them and finishes the group.
func (c *Catalog) makeDurable(e *edit, group []*write) error {
	changes := e.changes()
	info := CommitInfo{Writes: len(group), Changes: len(changes)}
	start := time.Now()
	info.Err = c.host.Try("the store panicked in Commit", func() (err error) {
		defer c.health.Committing()()
		info.Revision, err = c.source.Store().Commit(context.Background(), changes)
		return err
	})
	info.Duration = time.Since(start)
	switch panicked := (*host.Panic)(nil); {
	case info.Err == nil:
		next, commit := e.commit(info.Revision, changes)
		if c.shared == nil {
			c.view.Publish(next, commit, len(commit.Changes), commit.size())
		}
		c.last, c.lastLoads = info.Revision, e.Base.Loads
		c.noteCommit(info)
		settle(group, e.Base, info.Revision)
		return nil
	case errors.As(info.Err, &panicked):
		info.Err = fmt.Errorf("%w: %w", ErrOutcomeUnknown, info.Err)
	case errors.Is(info.Err, ErrConflict), errors.Is(info.Err, ErrTooLarge):
		return info.Err // not a failure of the store
	}
	info.Revision = 0
	c.noteCommit(info)
	return info.Err
}

// split returns the first writes of a group that is too large for the store, and
// requeues the others. The store takes maxChanges, if that isn't 0.
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
	c.requeue(group[n:], true)
	return group[:n]
}

// finish ends writes with an error.
func finish(writes []*write, err error) {
	for _, w := range writes {
		w.finish(err)
	}
}

// settle ends planned writes. What a refusal saw at base need not be true at the
// revision of the commit, if others write the store too.
func settle(writes []*write, base *snapshot, revision Revision) {
	for _, w := range writes {
		w.revision, w.loads = revision, base.Loads
		if w.idle {
			w.revision = Revision(base.Revision)
		}
		w.finish(w.err)
	}
}

// catchUp waits until reads see all that the shared store holds now. It finishes
// the writes that can't wait so long and returns the others. If it fails, it finishes
// or requeues all of them and returns nil.
func (c *Catalog) catchUp(leader *write, group []*write) []*write {
	for {
		err := c.syncFor(leader, group)
		if err == nil {
			return group
		}
		var patient []*write
		for _, w := range group {
			// Each is asked once: its time may be up between two looks.
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
			c.requeue(patient, true)
			return nil
		case len(patient) == 0 || len(patient) == len(group):
			finish(patient, err)
			return nil
		}
		group = patient
	}
}

// syncFor waits as [Catalog.Sync] does, until the time of one of the writes is up.
func (c *Catalog) syncFor(leader *write, group []*write) error {
	ctx, cancel := context.WithCancel(leader.ctx)
	defer cancel()
	for _, w := range group {
		defer context.AfterFunc(w.ctx, cancel)()
	}
	return c.view.CatchUp(ctx, c.source.Revision, c.follower.Reload)
}
