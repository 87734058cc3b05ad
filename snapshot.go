package customstatus

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

var tableKeys = table.Keys[CustomUserStatus]{
	ID:   func(s *CustomUserStatus) string { return s.ID },
	Name: func(s *CustomUserStatus) string { return s.Name },
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
	if s.table, err = table.New(tableKeys, all, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}

// edit is a snapshot in the making, and the changes that lead to it. Several writes
// share an edit; each sees what those before it did.
type edit struct {
	snapshot
	base    *snapshot
	number  uint64 // differs from that of every other edit of the catalog
	changes []Change
	made    []*CustomUserStatus // what the changes put, to be given their revision

	// relied says that the outcome of a write rests on what base shows, without
	// a change that lets the store check it.
	relied bool
}

func (s *snapshot) edit(number uint64, changes int) *edit {
	e := &edit{
		snapshot: *s, base: s, number: number,
		changes: make([]Change, 0, changes),
		made:    make([]*CustomUserStatus, 0, changes),
	}
	e.table = s.table.Edit()
	return e
}

// put replaces old, which has the same id, by status. A nil old is none.
func (e *edit) put(old, status *CustomUserStatus) {
	e.table.Put(e.number, old, status)
	e.changed(old, status)
}

// putNew adds statuses. If one of their ids or names is not new, it returns an error
// and leaves e as it was.
func (e *edit) putNew(statuses []*CustomUserStatus) error {
	if err := e.table.Add(e.number, statuses); err != nil {
		return err
	}
	e.changes, e.made = slices.Grow(e.changes, len(statuses)), slices.Grow(e.made, len(statuses))
	for _, s := range statuses {
		e.changed(nil, s)
	}
	return nil
}

func (e *edit) delete(old *CustomUserStatus) {
	e.table.Delete(e.number, old)
	e.changed(old, nil)
}

// changed notes that status, unless nil, has taken the place of old, unless nil.
func (e *edit) changed(old, status *CustomUserStatus) {
	e.changes = append(e.changes, Change{Kind: Updated})
	c := &e.changes[len(e.changes)-1]
	if old != nil {
		c.Before = *old
		e.position.Fingerprint -= old.Fingerprint()
	} else {
		c.Kind = Created
	}
	if status != nil {
		c.After = *status
		e.position.Fingerprint += status.Fingerprint()
		e.made = append(e.made, status)
	} else {
		c.Kind = Deleted
	}
}

// touched reports whether this edit has changed the status with the id.
func (e *edit) touched(id string) bool { return e.table.ByID(id) != e.base.table.ByID(id) }

// commit gives the changes their revision and returns the snapshot to publish.
func (e *edit) commit(revision Revision) (*snapshot, Commit) {
	for _, s := range e.made {
		s.Revision = revision
	}
	for i := range e.changes {
		if c := &e.changes[i]; c.Kind != Deleted {
			c.After.Revision = revision
		}
	}
	next := e.snapshot
	next.revision = revision
	changes := e.changes
	if len(changes) > 0 {
		next.position.Revision = revision // progress without changes leaves the position
	}
	if cap(changes) > 2*len(changes) {
		// The feed keeps the changes, but not the room for writes that were refused.
		changes = slices.Clone(changes)
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
