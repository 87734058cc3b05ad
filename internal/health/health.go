// Package health counts what a catalog does behind its host's back, and logs what is
// new about it.
package health

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/customstatus/customstatus/internal/host"
)

// Figures are what an [Account] has counted.
type Figures struct {
	Commits, Changes, FailedCommits uint64
	Loads, Reopens, Rewinds         uint64
	Commit, Feed                    Outage // of commits, and of the feed
}

// Outage is a failure that goes on. The zero value is none.
type Outage struct {
	Err   error
	Since time.Time
}

// note takes the outcome of an attempt, and reports whether it differs from the
// one before.
func (o *Outage) note(err error, now time.Time) (changed bool) {
	changed = (o.Err == nil) != (err == nil)
	if changed {
		o.Since = now
	}
	o.Err = err
	return changed
}

// Account counts. Several goroutines may use it at once.
type Account struct {
	host *host.Host

	mu      sync.Mutex
	figures Figures
}

// New returns an account with nothing in it.
func New(h *host.Host) *Account { return &Account{host: h} }

// Figures returns what has been counted.
func (a *Account) Figures() Figures {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.figures
}

// since returns the time at which an outage with the error begins. The clock is the
// host's, so it is not asked under the lock.
func (a *Account) since(err error) (now time.Time) {
	if err != nil {
		now = a.host.Now()
	}
	return now
}

// Commit counts a commit that was tried.
func (a *Account) Commit(revision uint64, changes int, err error) {
	now := a.since(err)
	a.mu.Lock()
	changed := a.figures.Commit.note(err, now)
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
		attrs := []any{"error", err}
		var panicked interface{ Stack() []byte } // the bbolt store's errors have it
		if errors.As(err, &panicked) {
			attrs = append(attrs, "stack", string(panicked.Stack()))
		}
		a.host.Log.Error("customstatus: commits fail", attrs...)
	}
}

// Load counts a load of the store. The position is the one that it led to.
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
	a.figures.Commit = Outage{}
	a.mu.Unlock()
	a.host.Log.Warn("customstatus: the store was reopened", "cause", cause)
}

// Feed notes that the feed has ended with an error, or that there is one, and
// reports whether that is new.
func (a *Account) Feed(err error) (changed bool) {
	now := a.since(err)
	a.mu.Lock()
	changed = a.figures.Feed.note(err, now)
	a.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		a.host.Log.Warn("customstatus: the feed of the store has ended, reads are late until it is back", "error", err)
	default:
		a.host.Log.Info("customstatus: the feed of the store is back")
	}
	return changed
}
