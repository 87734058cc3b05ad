package customstatus

import (
	"slices"
	"sort"
	"sync"
)

// feed keeps the last commits for watchers to read at their own pace. Watchers
// come to it and it knows none of them; a slow one holds no more than the batch
// that it has taken.
type feed struct {
	limit int // changes to keep

	mu      sync.Mutex
	base    Revision // every commit after it is kept
	commits []Commit
	changes int           // in commits
	next    chan struct{} // closed at the next event; nil while nobody waits
	closed  bool
}

// batch is the greatest number of commits that a watcher takes at a time.
const batch = 64

// since returns the first commits after a revision, or none and a channel that
// is closed when it is worth asking again.
func (f *feed) since(after Revision) ([]Commit, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, nil, ErrClosed
	}
	if after < f.base {
		return nil, nil, ErrCompacted
	}
	first := sort.Search(len(f.commits), func(i int) bool { return f.commits[i].Revision > after })
	if rest := f.commits[first:]; len(rest) > 0 {
		return slices.Clone(rest[:min(batch, len(rest))]), nil, nil
	}
	return nil, f.waiting(), nil
}

// wait returns a channel that is closed at the next event.
func (f *feed) wait() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		done := make(chan struct{})
		close(done)
		return done
	}
	return f.waiting()
}

func (f *feed) waiting() <-chan struct{} {
	if f.next == nil {
		f.next = make(chan struct{})
	}
	return f.next
}

func (f *feed) event() {
	if f.next != nil {
		close(f.next)
		f.next = nil
	}
}

func (f *feed) append(c Commit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.event()
	if len(c.Changes) == 0 {
		return
	}
	f.commits = append(f.commits, c)
	f.changes += len(c.Changes)
	for f.changes > f.limit && len(f.commits) > 1 {
		f.base = f.commits[0].Revision
		f.changes -= len(f.commits[0].Changes)
		f.commits[0] = Commit{} // for the garbage collector
		f.commits = f.commits[1:]
	}
}

// reset forgets all commits: what happened up to the revision is not known.
func (f *feed) reset(base Revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.base, f.commits, f.changes = base, nil, 0
	f.event()
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.event()
}
