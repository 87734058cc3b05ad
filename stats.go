package customstatus

import (
	"errors"
	"sync"
	"time"
)

// Stats are figures of a catalog at one instant, for health checks and monitoring.
// The counts start at 0 when the catalog is opened.
type Stats struct {
	Statuses int
	Position Position
	// Revision is what reads have reached. Over a shared store it may be
	// beyond Position.Revision.
	Revision Revision

	Watchers       int // loops over [Catalog.Watch] and [Catalog.Follow]
	HistoryChanges int // kept for watchers
	HistoryBytes   int // of these, about

	PendingWrites int    // waiting for the next commit
	Commits       uint64 // that succeeded
	Changes       uint64 // that they made
	FailedCommits uint64 // for reasons of the store

	// CommitError is the error of the last commit, or that of a store that could
	// not be loaded or reopened for one. CommitErrorSince is the time since which
	// there was nothing else. They are zero while commits can be made, as far as
	// is known.
	CommitError      error
	CommitErrorSince time.Time

	// FeedError is the error with which the feed of a shared store ended, and
	// FeedErrorSince the time since which there was none. Reads are late for as
	// long. They are zero while there is a feed.
	FeedError      error
	FeedErrorSince time.Time

	Loads   uint64 // of the whole store, the one of Open included
	Reopens uint64 // by [Options.Reopen]
	Rewinds uint64 // times that the store turned out to hold another history
}

// Observer has functions that a [Catalog] calls when something has happened
// behind its host's back. Each may be nil. They must be fast, may call the
// catalog's reads but not its writes, Sync or Close, and may be called by several
// goroutines at once. A panic of one is logged and goes no further.
type Observer struct {
	// Commit is called after each commit that was tried.
	Commit func(CommitInfo)
	// Load is called when the catalog has loaded its store again, or could not.
	Load func(LoadInfo)
	// Reopen is called after each call of [Options.Reopen].
	Reopen func(ReopenInfo)
	// Feed is called when the feed of a shared store has ended, and when it is
	// there again.
	Feed func(FeedInfo)
}

// CommitInfo describes a commit that was tried.
type CommitInfo struct {
	Revision Revision // 0 if the commit failed
	Writes   int      // callers that share it
	Changes  int
	Duration time.Duration // of the store's Commit
	Err      error
}

// LoadInfo describes a load of the store.
type LoadInfo struct {
	// Rewound says that the store holds another history: what had been read
	// may be gone.
	Rewound bool
	Err     error
}

// ReopenInfo describes an attempt to open the store again.
type ReopenInfo struct {
	Cause error // for which the store had to be reopened
	Err   error
}

// FeedInfo says whether there is a feed.
type FeedInfo struct {
	Err error // with which it ended, or nil
}

// account is what a catalog knows of its own doings.
type account struct {
	mu sync.Mutex
	Stats
}

// update changes the figures.
func (a *account) update(change func(*Stats)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(&a.Stats)
}

// Stats returns figures of the catalog. It doesn't wait for the store.
func (c *Catalog) Stats() Stats {
	c.account.mu.Lock()
	stats := c.account.Stats
	c.account.mu.Unlock()
	s := c.current.Load()
	stats.Statuses, stats.Position, stats.Revision = s.table.Len(), s.position, s.revision
	stats.Watchers = int(c.watchers.Load())
	stats.HistoryChanges, stats.HistoryBytes = c.history.Kept()
	c.mu.Lock()
	stats.PendingWrites = len(c.pending) - c.withdrawn
	c.mu.Unlock()
	return stats
}

// observe calls a function of the host's observer.
func (c *Catalog) observe(call func(*Observer)) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("customstatus: an observer panicked", "panic", p)
		}
	}()
	call(&c.observer)
}

// noteCommit counts a commit that was tried.
func (c *Catalog) noteCommit(info CommitInfo) {
	failing := false
	var now time.Time
	if info.Err != nil {
		now = c.clock()
	}
	c.account.update(func(s *Stats) {
		if info.Err == nil {
			failing = s.CommitError != nil
			s.Commits++
			s.Changes += uint64(info.Changes)
			s.CommitError, s.CommitErrorSince = nil, time.Time{}
			return
		}
		s.FailedCommits++
		if s.CommitError == nil {
			failing = true
			s.CommitErrorSince = now
		}
		s.CommitError = info.Err
	})
	if failing && info.Err != nil {
		attrs := []any{"error", info.Err}
		var panicked interface{ Stack() []byte } // the bbolt store's errors have it
		if errors.As(info.Err, &panicked) {
			attrs = append(attrs, "stack", string(panicked.Stack()))
		}
		c.log.Error("customstatus: commits fail", attrs...)
	} else if failing {
		c.log.Info("customstatus: commits succeed again", "revision", uint64(info.Revision))
	}
	if c.observer.Commit != nil {
		c.observe(func(o *Observer) { o.Commit(info) })
	}
}

// noteLoad counts a load of the store that the catalog made by itself.
func (c *Catalog) noteLoad(rewound bool, err error) {
	c.account.update(func(s *Stats) {
		s.Loads++
		if rewound {
			s.Rewinds++
		}
	})
	switch {
	case err != nil:
		c.log.Error("customstatus: the store can't be loaded", "error", err)
	case rewound:
		c.log.Error("customstatus: the store holds another history, statuses that were read may be gone",
			"position", c.Position().String())
	}
	if c.observer.Load != nil {
		c.observe(func(o *Observer) { o.Load(LoadInfo{rewound, err}) })
	}
}

// noteReopen counts a store that was opened again.
func (c *Catalog) noteReopen(cause, err error) {
	c.account.update(func(s *Stats) {
		if err == nil {
			s.Reopens++
			s.CommitError, s.CommitErrorSince = nil, time.Time{}
		}
	})
	if err != nil {
		c.log.Error("customstatus: the store can't be reopened", "cause", cause, "error", err)
	} else {
		c.log.Warn("customstatus: the store was reopened", "cause", cause)
	}
	if c.observer.Reopen != nil {
		c.observe(func(o *Observer) { o.Reopen(ReopenInfo{cause, err}) })
	}
}

// noteFeed records whether there is a feed.
func (c *Catalog) noteFeed(err error) {
	changed := false
	var now time.Time
	if err != nil {
		now = c.clock() // not under the lock: it is the host's
	}
	c.account.update(func(s *Stats) {
		changed = (s.FeedError == nil) != (err == nil)
		switch {
		case err == nil:
			s.FeedErrorSince = time.Time{}
		case changed:
			s.FeedErrorSince = now
		}
		s.FeedError = err
	})
	if !changed && err == nil {
		return
	}
	switch {
	case !changed:
	case err != nil:
		c.log.Warn("customstatus: the feed of the store has ended, reads are late until it is back", "error", err)
	default:
		c.log.Info("customstatus: the feed of the store is back")
	}
	if c.observer.Feed != nil {
		c.observe(func(o *Observer) { o.Feed(FeedInfo{err}) })
	}
}
