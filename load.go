package customstatus

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/customstatus/customstatus/internal/view"
)

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
	var unseen uint64 // nobody else writes the store
	switch {
	case c.shared != nil:
		unseen = math.MaxUint64
	case c.stale:
		unseen = 1 // the commit whose outcome was unknown
	}
	return c.view.Load(view.Contents[CustomUserStatus]{
		Values: contents.Statuses, Revision: uint64(contents.Revision),
		Fingerprint: uint64(contents.Fingerprint), FingerprintKnown: contents.FingerprintKnown,
	}, unseen)
}
