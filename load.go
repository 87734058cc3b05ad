package customstatus

import (
	"context"
	"errors"
	"fmt"
)

// ready brings the store and what reads see into a state from which a commit can
// begin. The caller has the turn.
func (c *Catalog) ready() error {
	err := c.refresh()
	if errors.Is(err, ErrNeedsReopen) && c.opts.Reopen != nil {
		return c.reopen(err)
	}
	return err
}

// refresh loads the store if current may not show all that it holds.
func (c *Catalog) refresh() error {
	switch {
	case c.lost != nil:
		return c.lost
	case !c.stale:
		return nil
	}
	rewound, err := c.load(c.ctx)
	if c.ctx.Err() != nil {
		return ErrClosed
	}
	if err == nil {
		c.stale = false
	}
	c.noteLoad(rewound, err)
	return err
}

// reopen replaces the store by a new one on the same place, and loads it.
func (c *Catalog) reopen(cause error) error {
	_ = c.host.Try("the store panicked in Close", func() error { return c.store.Close() }) // it is broken, and its error known
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

// load brings the catalog to what the store holds. It reports whether that is
// another history than the one that was read so far.
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
	before := c.current.Load()
	if before == nil {
		c.current.Store(next)
		c.history.Reset(next.position.inHistory())
		return false, nil
	}
	c.loads.Add(1) // before those who wait for it are told
	same := next.position.Fingerprint == before.position.Fingerprint
	rewound = next.revision < before.revision || next.revision == before.revision && !same
	if c.shared == nil && !same && next.revision > before.revision {
		// Nobody else writes the store. One commit, whose outcome was unknown, is
		// all that there can be.
		rewound = !c.stale || next.revision != before.revision+1
	}
	next.rewinds = before.rewinds
	if rewound {
		next.rewinds++
	}
	if same && !rewound {
		next.position = before.position
		c.publish(next, Commit{Revision: next.revision})
		return false, nil
	}
	c.current.Store(next)
	c.history.Reset(next.position.inHistory())
	return rewound, nil
}
