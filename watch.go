package customstatus

import (
	"context"
	"iter"

	"github.com/customstatus/customstatus/internal/history"
)

// Watch yields every commit after a position, each once, in order and none missing,
// and then waits for more. List a page and watch from its position. The caller may
// keep the changes but must not modify them: all watchers share them.
//
// A position with the fingerprint of the current catalog is current, whatever its
// revision. So the [CustomUserStatus.Revision] of a status may differ from the one
// that a watcher was told, after the status was deleted and imported again or read
// from a restored file.
//
// The sequence ends with one error: [ErrCompacted], [ErrClosed], or that of ctx.
// ErrCompacted is returned when the position is not part of this catalog's history,
// and when the commits after the position are no longer kept: the watcher is
// slower than [Options.HistoryChanges] and [Options.HistoryBytes] allow, the
// catalog was opened again and has changed, or the catalog had to load its store
// again. A slow watcher holds nobody up; up to 64 commits that it has yet to yield
// stay in memory for it.
func (c *Catalog) Watch(ctx context.Context, after Position) iter.Seq2[Commit, error] {
	var sync func(context.Context) error
	if c.shared != nil {
		sync = c.Sync
	}
	commits := c.view.History.Follow(ctx, after.inHistory(), c.view.Revision, sync)
	return func(yield func(Commit, error) bool) {
		c.watchers.Add(1)
		defer c.watchers.Add(-1)
		commits(yield)
	}
}

// Update is what [Catalog.Follow] yields.
type Update struct {
	// Reset says that Statuses, sorted by name, are the whole catalog and
	// replace all that was known before.
	Reset    bool
	Statuses []CustomUserStatus
	// Changes are those of one commit, if Reset is not set. The caller must not
	// modify them.
	Changes []Change
	// Position is the position of the catalog after the update.
	Position Position
}

// Follow keeps a copy of the catalog up to date. It yields the changes of every
// commit after a position as [Catalog.Watch] does. It yields the whole catalog
// first if the position is the zero value, and again wherever Watch would return
// [ErrCompacted]. The sequence ends with one error: that of ctx, or [ErrClosed].
func (c *Catalog) Follow(ctx context.Context, after Position) iter.Seq2[Update, error] {
	whole := func() (Update, Position, error) {
		page, err := c.List(Query{})
		return Update{Reset: true, Statuses: page.Statuses, Position: page.Position}, page.Position, err
	}
	step := func(commit Commit) (Update, Position) {
		return Update{Changes: commit.Changes, Position: commit.Position()}, commit.Position()
	}
	watch := func(after Position) iter.Seq2[Commit, error] { return c.Watch(ctx, after) }
	return history.Mirror(after, whole, watch, step)
}
