package customstatus

import (
	"time"

	"github.com/customstatus/customstatus/internal/host"
)

// Stats are figures of a catalog at one instant, for health checks and monitoring.
// Counts start at 0 when the catalog is opened.
type Stats struct {
	Statuses int
	Position Position
	Revision Revision // that reads have reached; over a shared store it may be beyond Position's

	Watchers       int // loops over [Catalog.Watch] and [Catalog.Follow]
	HistoryChanges int // changes kept for watchers
	HistoryBytes   int // bytes that these changes take, about

	PendingWrites   int       // writes that wait for the next commit
	Commits         uint64    // commits that succeeded
	Changes         uint64    // changes that they made
	FailedCommits   uint64    // commits that failed because of the store
	CommittingSince time.Time // when the commit under way began, or zero

	// CommitError is the error of the last commit, or of the load or reopening
	// that a commit or [Catalog.Sync] needed first. Commits have failed since
	// CommitErrorSince. Both are zero while commits can be made, as far as is known.
	CommitError      error
	CommitErrorSince time.Time

	// FeedError is the error that ended the feed of a shared store. Reads have
	// been late since FeedErrorSince. Both are zero while there is a feed.
	FeedError      error
	FeedErrorSince time.Time

	Loads   uint64 // loads of the whole store, the one of Open included
	Reopens uint64 // successful calls of [Options.Reopen]
	Rewinds uint64 // times that the store turned out to hold another history
}

// Observer has functions that a [Catalog] calls when something has happened behind
// its host's back. Each may be nil. They must be fast, may be called by several
// goroutines at once, and may call the catalog's reads, but not its writes, Sync or
// Close. The catalog logs a panic of one and goes on.
type Observer struct {
	// Commit is called after each attempt to commit, if it could begin.
	Commit func(CommitInfo)
	// Load is called after each attempt to load the store again.
	Load func(LoadInfo)
	// Reopen is called after each call of [Options.Reopen].
	Reopen func(ReopenInfo)
	// Feed is called when the feed of a shared store ends, and when it is back.
	Feed func(FeedInfo)
}

// CommitInfo describes an attempt to commit.
type CommitInfo struct {
	Revision Revision      // 0 if the commit failed
	Writes   int           // callers that share the commit
	Changes  int           // changes in the commit
	Duration time.Duration // of the store's Commit
	Err      error
}

// LoadInfo describes an attempt to load the store again.
type LoadInfo struct {
	Rewound bool // the store holds another history: what was read may be gone
	Err     error
}

// ReopenInfo describes an attempt to open the store again.
type ReopenInfo struct {
	Cause error // why the store had to be reopened
	Err   error
}

// FeedInfo says whether there is a feed.
type FeedInfo struct {
	Err error // the error that ended the feed, or nil
}

// Stats returns figures of the catalog. It doesn't wait for the store.
func (c *Catalog) Stats() Stats {
	s, f := c.view.Current(), c.health.Figures()
	stats := Stats{
		Statuses: s.Len(), Position: positionOf(s.Position), Revision: Revision(s.Revision),
		Watchers: int(c.watchers.Load()),
		Commits:  f.Commits, Changes: f.Changes, FailedCommits: f.FailedCommits, CommittingSince: f.Committing,
		CommitError: f.Commit.Err, CommitErrorSince: f.Commit.Since,
		FeedError: f.Feed.Err, FeedErrorSince: f.Feed.Since,
		Loads: f.Loads, Reopens: f.Reopens, Rewinds: f.Rewinds,
	}
	stats.HistoryChanges, stats.HistoryBytes = c.view.History.Kept()
	c.mu.Lock()
	stats.PendingWrites = len(c.pending) - c.withdrawn
	c.mu.Unlock()
	return stats
}

func (c *Catalog) noteCommit(info CommitInfo) {
	c.health.Commit(uint64(info.Revision), info.Changes, info.Err)
	host.Tell(c.host, c.observer.Commit, info)
}

func (c *Catalog) noteLoad(rewound bool, err error) {
	c.health.Load(rewound, c.Position(), err)
	host.Tell(c.host, c.observer.Load, LoadInfo{rewound, err})
}

func (c *Catalog) noteReopen(cause, err error) {
	c.health.Reopen(cause, err)
	host.Tell(c.host, c.observer.Reopen, ReopenInfo{cause, err})
}

func (c *Catalog) noteFeed(err error) {
	if c.health.Feed(err) || err != nil {
		host.Tell(c.host, c.observer.Feed, FeedInfo{err})
	}
}
