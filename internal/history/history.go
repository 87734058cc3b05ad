// Package history keeps the last entries of a log for readers that take them at
// their own pace. The log keeps no list of its readers, so a slow reader holds
// no more memory than the batch that it has taken.
package history

import (
	"context"
	"errors"
	"iter"
	"sort"
	"sync"
	"time"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// Position is a point in a log's history. The revision orders positions. The
// fingerprint stands for the whole content at the revision, and so tells one
// history from another.
type Position struct {
	Revision, Fingerprint uint64
}

// Entry is one entry of a [Log].
type Entry[T any] struct {
	Value T
	// After is the position after the entry.
	After Position
	// Changes and Bytes count towards the log's limits.
	Changes, Bytes int
}

// Log keeps the last entries, up to its limits. Several goroutines may use it
// at once.
type Log[T any] struct {
	maxChanges, maxBytes int

	mu       sync.Mutex
	base     Position // every entry after base is kept
	reached  uint64   // no entry up to this revision is missing
	entries  []Entry[T]
	changes  int           // in entries
	bytes    int           // in entries
	next     chan struct{} // closed at the next event; nil while nobody waits
	isClosed bool
}

// New returns an empty log. The log drops its oldest entries while the limits
// are exceeded, but always keeps the last entry.
func New[T any](maxChanges, maxBytes int) *Log[T] {
	return &Log[T]{maxChanges: maxChanges, maxBytes: maxBytes}
}

// A reader takes at most batchEntries entries at a time, and stops early once
// the entries have batchBytes bytes.
const (
	batchEntries = 64
	batchBytes   = 256 << 10
)

// Since returns the first entries after a position. If the log has no more than
// these, it also returns a channel that is closed when asking again is worthwhile.
// [sentinel.ErrClosed] is returned when the log is closed. [sentinel.ErrCompacted]
// is returned when the log no longer keeps the entries after the position, or when
// the position is not part of the log's history.
//
// A position with the fingerprint of the log's last position is that last
// position, whatever its revision. Since replaces *after by the log's own
// position, so that the next call finds the same place.
//
// Since appends the entries to batch, which thousands of readers bring so that none
// allocates while the log is locked.
//
// Readers may see a revision before the log has its entry. The function shown
// returns the revision that readers see.
func (l *Log[T]) Since(after *Position, shown func() uint64, batch []Entry[T]) ([]Entry[T], <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return nil, nil, sentinel.ErrClosed
	}
	first, ok := l.find(*after)
	switch {
	case (!ok || after.Revision > l.reached) && shown() != l.reached:
		return nil, l.waiting(), nil
	case !ok:
		return nil, nil, sentinel.ErrCompacted
	}
	*after = l.before(first)
	for bytes := 0; first < len(l.entries) && len(batch) < batchEntries && bytes < batchBytes; first++ {
		batch = append(batch, l.entries[first])
		bytes += l.entries[first].Bytes
	}
	if first < len(l.entries) {
		return batch, nil, nil
	}
	return batch, l.waiting(), nil
}

// retry is the time between calls of the function sync of [Log.Follow] that fail.
const retry = time.Second

// Follow yields the values after a position and then waits for more. It ends with
// one error: that of ctx, or one of [Log.Since], which gets shown.
//
// Another log may have shown the reader a position that this log will reach soon.
// So if the position is beyond what this log's readers see, Follow first calls sync,
// which may be nil, until it succeeds or returns [sentinel.ErrClosed]. That the
// fingerprint is the log's last one doesn't matter then: the entries up to the position
// may lead back to what there was before them.
func (l *Log[T]) Follow(ctx context.Context, after Position, shown func() uint64, sync func(context.Context) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		one := make([]Entry[T], 1) // most batches have one entry
		for seen, sync := after, sync; ; {
			if err := ctx.Err(); err != nil {
				yield(none, err)
				return
			}
			next := seen
			batch, more, err := l.Since(&next, shown, one[:0])
			var again <-chan time.Time
			if sync != nil && seen.Revision > shown() && !errors.Is(err, sentinel.ErrClosed) {
				if err = sync(ctx); err == nil {
					sync = nil
					continue
				}
				if ctx.Err() == nil && !errors.Is(err, sentinel.ErrClosed) {
					batch, more, again, err = nil, l.Wait(), time.After(retry), nil // sync can't tell now
				}
			} else {
				seen = next
			}
			if err != nil {
				yield(none, err)
				return
			}
			for _, entry := range batch {
				seen = entry.After
				if ctx.Err() != nil {
					break
				}
				if !yield(entry.Value, nil) {
					return
				}
			}
			clear(one) // for the garbage collector
			if more != nil {
				select {
				case <-more:
				case <-again:
				case <-ctx.Done():
				}
			}
		}
	}
}

// find returns the index of the first entry after a position. It reports false
// if the log does not know the position.
func (l *Log[T]) find(p Position) (int, bool) {
	if l.base.Revision <= p.Revision && p.Revision <= l.reached {
		i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].After.Revision > p.Revision })
		if l.before(i).Fingerprint == p.Fingerprint {
			return i, true
		}
	}
	return len(l.entries), l.before(len(l.entries)).Fingerprint == p.Fingerprint
}

// before returns the position before the entry with index i.
func (l *Log[T]) before(i int) Position {
	if i == 0 {
		return l.base
	}
	return l.entries[i-1].After
}

// Append adds an entry and drops the oldest entries beyond the limits.
func (l *Log[T]) Append(e Entry[T]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.event()
	l.reached = e.After.Revision
	l.entries = append(l.entries, e)
	l.changes += e.Changes
	l.bytes += e.Bytes
	drop := 0
	for (l.changes > l.maxChanges || l.bytes > l.maxBytes) && drop < len(l.entries)-1 {
		l.base = l.entries[drop].After
		l.changes -= l.entries[drop].Changes
		l.bytes -= l.entries[drop].Bytes
		drop++
	}
	clear(l.entries[:drop]) // for the garbage collector
	l.entries = l.entries[drop:]
}

// Reach records that no entry up to a revision is missing.
func (l *Log[T]) Reach(revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reached = revision
	l.event()
}

// Reset drops all entries and moves the log to a position. The entries that led
// to the position are unknown.
func (l *Log[T]) Reset(base Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.base, l.reached, l.entries, l.changes, l.bytes = base, base.Revision, nil, 0, 0
	l.event()
}

// Close ends the log. Later calls of Since return [sentinel.ErrClosed].
func (l *Log[T]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isClosed = true
	l.event()
}

// Wait returns a channel that is closed at the next Append, Reach, Reset or
// Close. If the log is closed, so is the channel.
func (l *Log[T]) Wait() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting()
}

func (l *Log[T]) waiting() <-chan struct{} {
	if l.isClosed {
		done := make(chan struct{})
		close(done)
		return done
	}
	if l.next == nil {
		l.next = make(chan struct{})
	}
	return l.next
}

func (l *Log[T]) event() {
	if l.next != nil {
		close(l.next)
		l.next = nil
	}
}

// Kept returns the sums of Changes and Bytes over the kept entries.
func (l *Log[T]) Kept() (changes, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changes, l.bytes
}

// Hold blocks all other calls until release is called. Tests use it to look at
// what happens before an entry is added.
func (l *Log[T]) Hold() (release func()) {
	l.mu.Lock()
	return l.mu.Unlock
}
