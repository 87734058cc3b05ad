// Package health counts the commits, loads, reopenings and feeds of a catalog,
// and logs when one begins to fail or works again.
package health

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/customstatus/customstatus/internal/host"
	"github.com/customstatus/customstatus/internal/sentinel"
)

// Figures are the counts of an [Account].
type Figures struct {
	Commits, Changes, FailedCommits uint64
	Loads, Reopens, Rewinds         uint64
	Commit, Feed                    Outage    // of commits, and of the feed
	Committing                      time.Time // when the commit under way began, or zero
}

// Outage is a failure that still lasts. The zero value is no failure.
type Outage struct {
	Err   error
	Since time.Time
}

// note records the outcome of an attempt, and reports whether the outage begins
// or ends with it.
func (o *Outage) note(err error, now time.Time) (changed bool) {
	changed = (o.Err == nil) != (err == nil)
	if changed {
		o.Since = now
	}
	o.Err = err
	return changed
}

// Account keeps the counts. Several goroutines may use it at once.
type Account struct {
	host *host.Host

	mu      sync.Mutex
	figures Figures
	unready bool      // the last error of commits is that of a check
	told    time.Time // when the log last told why there is no feed
	why     string    // what it told
}

// tellAgain is the least time between two causes of one outage of the feed in the log.
const tellAgain = 30 * time.Second

// New returns an account whose counts are zero.
func New(h *host.Host) *Account { return &Account{host: h} }

// Figures returns the current counts.
func (a *Account) Figures() Figures {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.figures
}

// since returns the start time of an outage with the error. It must be called
// without the lock, because it calls the host's clock.
func (a *Account) since(err error) (now time.Time) {
	if err != nil {
		now = a.host.Now()
	}
	return now
}

// Committing records that a commit is under way, until done is called.
func (a *Account) Committing() (done func()) {
	a.setCommitting(time.Now()) // its monotonic part survives a clock that is set
	return func() { a.setCommitting(time.Time{}) }
}

func (a *Account) setCommitting(since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.figures.Committing = since
}

// Commit counts an attempt to commit.
func (a *Account) Commit(revision uint64, changes int, err error) {
	now := a.since(err)
	a.mu.Lock()
	changed := a.figures.Commit.note(err, now)
	a.unready = false
	if err == nil {
		a.figures.Commits++
		a.figures.Changes += uint64(changes)
	} else {
		a.figures.FailedCommits++
	}
	a.mu.Unlock()
	switch {
	case !changed:
	case err == nil:
		a.host.Log.Info("customstatus: commits succeed again", "revision", revision)
	default:
		a.logFailing(err)
	}
}

func (a *Account) logFailing(err error) {
	attrs := []any{"error", err}
	var panicked interface{ Stack() []byte } // the bbolt store's errors have it
	if errors.As(err, &panicked) {
		attrs = append(attrs, "stack", string(panicked.Stack()))
	}
	a.host.Log.Error("customstatus: commits fail", attrs...)
}

// Check records whether a commit could begin, and counts nothing. A check that
// succeeds ends an outage of failed checks, and one of a commit whose outcome was
// unknown. It doesn't end one of other commits: a disk that is full can still be read.
func (a *Account) Check(err error) {
	now := a.since(err)
	a.mu.Lock()
	changed := false
	switch {
	case err != nil:
		changed = a.figures.Commit.note(err, now)
		a.unready = true
	case a.unready, errors.Is(a.figures.Commit.Err, sentinel.ErrOutcomeUnknown):
		a.figures.Commit, a.unready = Outage{}, false
		changed = true
	}
	a.mu.Unlock()
	switch {
	case !changed:
	case err == nil:
		a.host.Log.Info("customstatus: commits can begin again")
	default:
		a.logFailing(err)
	}
}

// Load counts an attempt to load the store. The position is the catalog's
// position after the load.
func (a *Account) Load(rewound bool, position fmt.Stringer, err error) {
	a.mu.Lock()
	a.figures.Loads++
	if rewound {
		a.figures.Rewinds++
	}
	a.mu.Unlock()
	switch {
	case err != nil:
		a.host.Log.Error("customstatus: the store can't be loaded", "error", err)
	case rewound:
		a.host.Log.Error("customstatus: the store holds another history, statuses that were read may be gone",
			"position", position.String())
	}
}

// Reopen counts an attempt to open the store again.
func (a *Account) Reopen(cause, err error) {
	if err != nil {
		a.host.Log.Error("customstatus: the store can't be reopened", "cause", cause, "error", err)
		return
	}
	a.mu.Lock()
	a.figures.Reopens++
	a.figures.Commit, a.unready = Outage{}, false
	a.mu.Unlock()
	a.host.Log.Warn("customstatus: the store was reopened", "cause", cause)
}

// Feed records the error at the end of the feed, or nil for a working feed. It
// reports whether an outage begins or ends with that.
func (a *Account) Feed(err error) (changed bool) {
	now := a.since(err)
	a.mu.Lock()
	changed = a.figures.Feed.note(err, now)
	again := false
	if err != nil && (changed || err.Error() != a.why && now.Sub(a.told) >= tellAgain) {
		again, a.told, a.why = !changed, now, err.Error()
	}
	a.mu.Unlock()
	switch {
	case again: // the cause may be another than that of the end
		a.host.Log.Warn("customstatus: the feed of the store is still away", "error", err)
	case !changed:
	case err != nil:
		a.host.Log.Warn("customstatus: the feed of the store has ended, reads are late until it is back", "error", err)
	default:
		a.host.Log.Info("customstatus: the feed of the store is back")
	}
	return changed
}
