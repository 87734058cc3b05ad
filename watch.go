package customstatus

import (
	"context"
	"errors"
	"iter"
	"time"
	"unsafe"

	"github.com/customstatus/customstatus/internal/history"
)

// Watch yields the commits after a position, each once, in order and none
// missing, and waits for those to come: list, then watch from the page's
// position. The caller may keep the changes, but must not change them: all
// watchers are given the same, so that the largest commit costs none of them
// memory.
//
// A position that holds just what the catalog holds now is current, whatever its
// revision. So a status that was deleted and imported again, or that was read from
// a restored file, may have another [CustomUserStatus.Revision] than a watcher was
// told.
//
// The sequence ends with one error. [ErrCompacted] is returned when the commits
// after the position are no longer kept (the watcher is slower than
// [Options.HistoryChanges] and [Options.HistoryBytes] allow, or the catalog was
// opened again and has changed), or when the position is none of this catalog's.
// Else it is the error of ctx, or [ErrClosed]. A slow watcher holds nobody up; it
// keeps at most 64 commits in memory that it has yet to yield.
func (c *Catalog) Watch(ctx context.Context, after Position) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		c.watchers.Add(1)
		defer c.watchers.Add(-1)
		seen, synced := after.inHistory(), c.shared == nil
		shown := func() uint64 { return uint64(c.Revision()) }
		for {
			if err := ctx.Err(); err != nil {
				yield(Commit{}, err)
				return
			}
			commits, more, err := c.history.Since(&seen, shown)
			var again <-chan time.Time
			switch {
			case err == nil:
			case errors.Is(err, history.ErrClosed):
				err = ErrClosed
			case !synced && seen.Revision > shown():
				// Another server has shown the position, and this one will soon.
				if err = c.Sync(ctx); err == nil {
					synced = true
					continue
				}
				if ctx.Err() == nil && !errors.Is(err, ErrClosed) {
					again, err = time.After(watchRetry), nil // the store can't tell now
				}
			default:
				err = ErrCompacted
			}
			if err != nil {
				yield(Commit{}, err)
				return
			}
			for _, commit := range commits {
				seen = commit.Position().inHistory()
				if ctx.Err() != nil {
					break
				}
				if !yield(commit, nil) {
					return
				}
			}
			if more != nil || again != nil {
				select {
				case <-more:
				case <-again:
				case <-ctx.Done():
				case <-c.ctx.Done():
				}
			}
		}
	}
}

// watchRetry is the time between questions to a shared store that fails.
const watchRetry = time.Second

// Update is what [Catalog.Follow] yields.
type Update struct {
	// Reset says that Statuses are the whole catalog, by name, in place of all
	// that was known before.
	Reset    bool
	Statuses []CustomUserStatus
	// Changes are those of one commit, if Reset is not set. They must not be
	// changed.
	Changes []Change
	// Position is that of the catalog after the update.
	Position Position
}

// Follow is the simplest way to keep a copy of the catalog up to date. It yields
// the changes of every commit after a position as [Catalog.Watch] does, and the
// whole catalog where the changes since are no longer kept or the position is
// none of this catalog's. After the zero Position it begins with the whole
// catalog. The sequence ends with one error: that of ctx, or [ErrClosed].
func (c *Catalog) Follow(ctx context.Context, after Position) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		for after := after; ; {
			if after == (Position{}) {
				page, err := c.List(Query{})
				if err != nil {
					yield(Update{}, err)
					return
				}
				if !yield(Update{Reset: true, Statuses: page.Statuses, Position: page.Position}, nil) {
					return
				}
				after = page.Position
			}
			for commit, err := range c.Watch(ctx, after) {
				if errors.Is(err, ErrCompacted) {
					after = Position{}
					break
				}
				if err != nil {
					yield(Update{}, err)
					return
				}
				after = commit.Position()
				if !yield(Update{Changes: commit.Changes, Position: after}, nil) {
					return
				}
			}
		}
	}
}

// remember adds a commit to what watchers are given. One without changes only says
// what has been reached.
func (c *Catalog) remember(commit Commit) {
	if len(commit.Changes) == 0 {
		c.history.Reach(uint64(commit.Revision))
		return
	}
	c.history.Append(history.Entry[Commit]{
		Value: commit, After: commit.Position().inHistory(),
		Changes: len(commit.Changes), Bytes: commit.size(),
	})
}

func (p Position) inHistory() history.Position {
	return history.Position{Revision: uint64(p.Revision), Fingerprint: uint64(p.Fingerprint)}
}

// size is about the memory that the commit keeps from being freed.
func (c *Commit) size() int {
	size := int(unsafe.Sizeof(*c)) + len(c.Changes)*int(unsafe.Sizeof(Change{}))
	for i := range c.Changes {
		for _, s := range [...]*CustomUserStatus{&c.Changes[i].Before, &c.Changes[i].After} {
			size += len(s.ID) + len(s.Name) + len(s.Metadata)
		}
	}
	return size
}
