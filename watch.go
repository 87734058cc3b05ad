package customstatus

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Watch yields the commits after a position, each once, in order and none
// missing, and waits for those to come: list, then watch from the page's
// position. The caller may keep the changes, but must not change them: all
// watchers are given the same, so that the largest commit costs none of them
// memory.
//
// A position that holds just what the catalog holds now is current, whatever its
// revision.
//
// The sequence ends with one error. [ErrCompacted] is returned when the commits
// after the position are no longer kept (the watcher is slower than
// [Options.HistoryChanges] and [Options.HistoryBytes] allow, or the catalog was
// opened again and has changed), or when the position is none of this catalog's.
// Else it is the error of ctx, or [ErrClosed]. A slow watcher holds nobody up; it
// keeps at most 64 commits in memory that it has yet to yield.
func (c *Catalog) Watch(ctx context.Context, after Position) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		c.feed.watchers.Add(1)
		defer c.feed.watchers.Add(-1)
		seen, synced := after, c.shared == nil
		for {
			if err := ctx.Err(); err != nil {
				yield(Commit{}, err)
				return
			}
			commits, more, err := c.feed.since(&seen, c.Revision)
			if errors.Is(err, ErrCompacted) && !synced && seen.Revision > c.Revision() {
				// Another server has shown the position, and this one will soon.
				synced = true
				if err = c.Sync(ctx); err == nil {
					continue
				}
			}
			if err != nil {
				yield(Commit{}, err)
				return
			}
			for _, commit := range commits {
				seen = commit.Position()
				if ctx.Err() != nil {
					break
				}
				if !yield(commit, nil) {
					return
				}
			}
			if more != nil {
				select {
				case <-more:
				case <-ctx.Done():
				}
			}
		}
	}
}

// Update is what [Catalog.Follow] yields.
type Update struct {
	// Reset says that Statuses are the whole catalog, by name, in place of all
	// that was known before.
	Reset    bool
	Statuses []CustomUserStatus
	// Changes are those of one commit, if Reset is not set. They must not be
	// changed.
	Changes []Change
	// Position is that of the catalog after the update.
	Position Position
}

// Follow is the simplest way to keep a copy of the catalog up to date. It yields
// the changes of every commit after a position as [Catalog.Watch] does, and the
// whole catalog where the changes since are no longer kept or the position is
// none of this catalog's. After the zero Position it begins with the whole
// catalog. The sequence ends with one error: that of ctx, or [ErrClosed].
func (c *Catalog) Follow(ctx context.Context, after Position) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		for after := after; ; {
			if after == (Position{}) {
				page, err := c.List(Query{})
				if err != nil {
					yield(Update{}, err)
					return
				}
				if !yield(Update{Reset: true, Statuses: page.Statuses, Position: page.Position}, nil) {
					return
				}
				after = page.Position
			}
			for commit, err := range c.Watch(ctx, after) {
				if errors.Is(err, ErrCompacted) {
					after = Position{}
					break
				}
				if err != nil {
					yield(Update{}, err)
					return
				}
				after = commit.Position()
				if !yield(Update{Changes: commit.Changes, Position: after}, nil) {
					return
				}
			}
		}
	}
}

// feed keeps the last commits for watchers to read at their own pace. Watchers
// come to it and it knows none of them; a slow one holds no more than the batch
// that it has taken.
type feed struct {
	maxChanges, maxBytes int
	watchers             atomic.Int64

	mu       sync.Mutex
	base     Position // every commit after it is kept
	reached  Revision // the last of which it is known that no commit is missing
	commits  []Commit
	sizes    []int         // of the commits, in bytes
	changes  int           // in commits
	bytes    int           // in commits
	next     chan struct{} // closed at the next event; nil while nobody waits
	isClosed bool
}

// What a watcher takes at a time: at most so many commits, and no more once they
// have so many bytes.
const (
	batchCommits = 64
	batchBytes   = 256 << 10
)

// since returns the first commits after a position, or none and a channel that
// is closed when it is worth asking again. It sets the position to the one of
// this feed's that it found, by which it will find it again. A position that
// readers are shown already may not have come to the feed yet; shown says what
// revision they are shown.
func (f *feed) since(after *Position, shown func() Revision) ([]Commit, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isClosed {
		return nil, nil, ErrClosed
	}
	first, ok := f.find(*after)
	switch {
	case (!ok || after.Revision > f.reached) && shown() != f.reached:
		return nil, f.waiting(), nil
	case !ok:
		return nil, nil, ErrCompacted
	}
	*after = f.before(first)
	last, bytes := first, 0
	for last < len(f.commits) && last < first+batchCommits && bytes < batchBytes {
		bytes += f.sizes[last]
		last++
	}
	if last > first {
		return slices.Clone(f.commits[first:last]), nil, nil
	}
	return nil, f.waiting(), nil
}

// find returns the index of the first commit after a position, and false if it
// can't tell.
func (f *feed) find(p Position) (int, bool) {
	if f.base.Revision <= p.Revision && p.Revision <= f.reached {
		i := sort.Search(len(f.commits), func(i int) bool { return f.commits[i].Revision > p.Revision })
		if f.before(i).Fingerprint == p.Fingerprint {
			return i, true
		}
	}
	return len(f.commits), f.before(len(f.commits)).Fingerprint == p.Fingerprint
}

// before is the position before the commit with the index.
func (f *feed) before(i int) Position {
	if i == 0 {
		return f.base
	}
	return f.commits[i-1].Position()
}

// wait returns a channel that is closed at the next event.
func (f *feed) wait() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.isClosed {
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

// append adds a commit. One without changes only says what has been reached.
func (f *feed) append(c Commit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.event()
	f.reached = c.Revision
	if len(c.Changes) == 0 {
		return
	}
	size := c.size()
	f.commits, f.sizes = append(f.commits, c), append(f.sizes, size)
	f.changes += len(c.Changes)
	f.bytes += size
	for (f.changes > f.maxChanges || f.bytes > f.maxBytes) && len(f.commits) > 1 {
		f.base = f.commits[0].Position()
		f.changes -= len(f.commits[0].Changes)
		f.bytes -= f.sizes[0]
		f.commits[0] = Commit{} // for the garbage collector
		f.commits, f.sizes = f.commits[1:], f.sizes[1:]
	}
}

// size is about the memory that the commit keeps from being freed.
func (c *Commit) size() int {
	size := int(unsafe.Sizeof(*c)) + len(c.Changes)*int(unsafe.Sizeof(Change{}))
	for i := range c.Changes {
		for _, s := range [...]*CustomUserStatus{&c.Changes[i].Before, &c.Changes[i].After} {
			size += len(s.ID) + len(s.Name) + len(s.Metadata)
		}
	}
	return size
}

// reset forgets all commits: how the catalog came to be at the position is not
// known.
func (f *feed) reset(base Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.base, f.reached, f.commits, f.sizes, f.changes, f.bytes = base, base.Revision, nil, nil, 0, 0
	f.event()
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isClosed = true
	f.event()
}

// kept returns the number of changes that are kept and about their size in bytes.
func (f *feed) kept() (changes, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changes, f.bytes
}
