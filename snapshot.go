package customstatus

import (
	"context"
	"errors"
	"fmt"

	"github.com/customstatus/customstatus/internal/table"
)

// snapshot is all statuses at one revision. Neither a published snapshot nor the
// statuses that it points to ever change.
type snapshot struct {
	// revision is the revision that the store has reached. It moves beyond
	// position when a shared store reports progress without changes.
	revision Revision
	position Position
	rewinds  uint64 // counts the times that the store went back
	closed   bool   // the catalog is closed, and the table is empty

	table table.Table[CustomUserStatus]
}

// newSnapshot takes ownership of the statuses; duplicates are [ErrDamaged].
func newSnapshot(contents Contents) (*snapshot, error) {
	s := &snapshot{revision: contents.Revision, position: Position{contents.Revision, contents.Fingerprint}}
	all := make([]*CustomUserStatus, len(contents.Statuses))
	for i := range contents.Statuses {
		all[i] = &contents.Statuses[i]
		if !contents.FingerprintKnown {
			s.position.Fingerprint += all[i].Fingerprint()
		}
	}
	var err error
	if s.table, err = table.New(statusType.Keys, all, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}

// edit is a snapshot in the making. Several writes share an edit; each sees what
// those before it did.
type edit struct {
	table.Draft[CustomUserStatus]
	base *snapshot

	// relied says that the outcome of a write rests on what base shows, without
	// a change that lets the store check it.
	relied bool
}

// edit begins an edit of the current snapshot, with room for so many changes.
func (c *Catalog) edit(changes int) *edit {
	base := c.current.Load()
	return &edit{Draft: base.table.Draft(c.edits.Add(1), changes), base: base}
}

// changes returns the changes in the form for the store.
func (e *edit) changes() []Change {
	changes := make([]Change, len(e.Changes))
	for i, made := range e.Changes {
		c := &changes[i]
		c.Kind = Updated
		if made.Before != nil {
			c.Before = *made.Before
		} else {
			c.Kind = Created
		}
		if made.After != nil {
			c.After = *made.After
		} else {
			c.Kind = Deleted
		}
	}
	return changes
}

// commit gives the changes their revision and returns the snapshot to publish.
func (e *edit) commit(revision Revision, changes []Change) (*snapshot, Commit) {
	next := *e.base
	next.revision, next.table = revision, e.Table
	if len(changes) > 0 {
		next.position.Revision = revision // progress without changes leaves the position
	}
	for i, made := range e.Changes {
		if made.Before != nil {
			next.position.Fingerprint -= made.Before.Fingerprint()
		}
		if made.After != nil {
			made.After.Revision, changes[i].After.Revision = revision, revision
			next.position.Fingerprint += made.After.Fingerprint()
		}
	}
	return &next, Commit{Revision: revision, Changes: changes, Fingerprint: next.position.Fingerprint, FingerprintKnown: true}
}

// ready loads or reopens the store if it must, so that a commit can begin. The
// caller has the turn.
func (c *Catalog) ready() error {
	err := c.lost
	if err == nil && c.stale {
		var rewound bool
		rewound, err = c.load(c.ctx)
		if c.ctx.Err() != nil {
			return ErrClosed
		}
		c.stale = err != nil
		c.noteLoad(rewound, err)
	}
	if errors.Is(err, ErrNeedsReopen) && c.opts.Reopen != nil {
		return c.reopen(err)
	}
	return err
}

// reopen replaces the store by one that [Options.Reopen] opens, and loads that one.
// The caller has the turn.
func (c *Catalog) reopen(cause error) error {
	// The store is broken, so that nobody needs the error of Close.
	_ = c.host.Try("the store panicked in Close", func() error { return c.store.Close() })
	var store Store
	err := c.host.Try("Options.Reopen panicked", func() (err error) {
		if store, err = c.opts.Reopen(c.ctx); err == nil && store == nil {
			err = errors.New("Options.Reopen has returned no store")
		}
		return err
	})
	if err == nil {
		c.replacing.Lock()
		c.store = store
		c.replacing.Unlock()
		var rewound bool
		rewound, err = c.load(c.ctx)
		c.noteLoad(rewound, err)
	}
	if c.ctx.Err() != nil {
		c.lost = ErrClosed
		return ErrClosed
	}
	c.noteReopen(cause, err)
	if err != nil {
		c.lost = fmt.Errorf("%w: %w", ErrNeedsReopen, err)
		return c.lost
	}
	c.lost, c.stale = nil, false
	return nil
}

// load shows what the store holds. It reports whether that is another history than
// the one that was shown before.
func (c *Catalog) load(ctx context.Context) (rewound bool, err error) {
	var contents Contents
	err = c.host.Try("the store panicked in Load", func() (err error) {
		contents, err = c.store.Load(ctx)
		return err
	})
	switch {
	case err != nil:
		return false, err
	case contents.Shared && c.shared == nil:
		return false, errors.New("customstatus: the store is shared: open its catalog with OpenShared")
	case !contents.Shared && c.shared != nil:
		return false, errors.New("customstatus: the store is exclusive: open its catalog with Open")
	}
	next, err := newSnapshot(contents)
	if err != nil {
		return false, err
	}
	if before := c.current.Load(); before != nil {
		c.loads.Add(1) // before those who wait for it are told
		same := next.position.Fingerprint == before.position.Fingerprint
		rewound = next.revision < before.revision || next.revision == before.revision && !same
		if c.shared == nil && !same && next.revision > before.revision {
			// Nobody else writes the store. One commit, whose outcome was unknown,
			// is all that there can be.
			rewound = !c.stale || next.revision != before.revision+1
		}
		next.rewinds = before.rewinds
		if rewound {
			next.rewinds++
		} else if same {
			next.position = before.position
			c.publish(next, Commit{Revision: next.revision})
			return false, nil
		}
	}
	c.current.Store(next)
	c.history.Reset(next.position.inHistory())
	return rewound, nil
}
