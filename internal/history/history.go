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
	"sync/atomic"
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

	mu  sync.Mutex // held to change the log
	now atomic.Pointer[moment[T]]
}

// moment is a log between two events. It doesn't change, so thousands of readers read
// it without a lock.
type moment[T any] struct {
	contents[T]
	next atomic.Pointer[chan struct{}] // closed at the next event; nil while nobody waits
}

type contents[T any] struct {
	base     Position // every entry after base is kept
	reached  uint64   // no entry up to this revision is missing
	entries  []Entry[T]
	changes  int // in entries
	bytes    int // in entries
	isClosed bool

	// The array of entries also has those that were dropped last, with these sums.
	oldChanges, oldBytes int
}

// New returns an empty log. The log drops its oldest entries while the limits
// are exceeded, but always keeps the last entry.
func New[T any](maxChanges, maxBytes int) *Log[T] {
	l := &Log[T]{maxChanges: maxChanges, maxBytes: maxBytes}
	l.now.Store(new(moment[T]))
	return l
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
// Since appends the entries to batch, so that a reader can use its memory again.
//
// Readers may see a revision before the log has its entry. The function shown
// returns the revision that readers see.
func (l *Log[T]) Since(after *Position, shown func() uint64, batch []Entry[T]) ([]Entry[T], <-chan struct{}, error) {
	now := l.now.Load()
	if now.isClosed {
		return nil, nil, sentinel.ErrClosed
	}
	first, ok := now.find(*after)
	switch {
	case (!ok || after.Revision > now.reached) && shown() != now.reached:
		return nil, now.end(), nil
	case !ok:
		return nil, nil, sentinel.ErrCompacted
	}
	*after = now.before(first)
	for bytes := 0; first < len(now.entries) && len(batch) < batchEntries && bytes < batchBytes; first++ {
		batch = append(batch, now.entries[first])
		bytes += now.entries[first].Bytes
	}
	if first < len(now.entries) {
		return batch, nil, nil
	}
	return batch, now.end(), nil
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
		done := ctx.Done()         // to ask the channel is cheaper for thousands of readers than to ask ctx
		for seen, sync := after, sync; ; {
			select {
			case <-done:
				yield(none, ctx.Err())
				return
			default:
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
			for i, entry := range batch {
				if i > 0 && ctx.Err() != nil {
					break
				}
				seen = entry.After
				if !yield(entry.Value, nil) {
					return
				}
			}
			clear(one) // for the garbage collector
			switch {
			case again != nil:
				select {
				case <-more:
				case <-again:
				case <-done:
				}
			case more != nil:
				select {
				case <-more:
				case <-done:
				}
			}
		}
	}
}

// find returns the index of the first entry after a position. It reports false
// if the log does not know the position.
func (c *contents[T]) find(p Position) (int, bool) {
	if c.base.Revision <= p.Revision && p.Revision <= c.reached {
		i := len(c.entries)
		// Almost all readers have seen all entries but the last.
		for near := max(0, i-2); i > near && c.entries[i-1].After.Revision > p.Revision; {
			i--
		}
		if i > 0 && c.entries[i-1].After.Revision > p.Revision {
			i = sort.Search(i, func(i int) bool { return c.entries[i].After.Revision > p.Revision })
		}
		if c.before(i).Fingerprint == p.Fingerprint {
			return i, true
		}
	}
	return len(c.entries), c.before(len(c.entries)).Fingerprint == p.Fingerprint
}

// before returns the position before the entry with index i.
func (c *contents[T]) before(i int) Position {
	if i == 0 {
		return c.base
	}
	return c.entries[i-1].After
}

// change makes the log's next moment, and ends the wait of whoever waits for it.
func (l *Log[T]) change(change func(*contents[T])) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, now := l.now.Load(), new(moment[T])
	now.contents = last.contents
	change(&now.contents)
	l.now.Store(now)
	if waited := last.next.Swap(&over); waited != nil {
		close(*waited)
	}
}

// over is the channel of every moment that is over.
var over = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// end returns a channel that is closed when the moment is over, or the log closed.
func (m *moment[T]) end() <-chan struct{} {
	if m.isClosed {
		return over
	}
	if m.next.Load() == nil {
		next := make(chan struct{})
		m.next.CompareAndSwap(nil, &next)
	}
	return *m.next.Load()
}

// Append adds an entry and drops the oldest entries beyond the limits.
func (l *Log[T]) Append(e Entry[T]) {
	l.change(func(c *contents[T]) {
		c.reached = e.After.Revision
		c.entries = append(c.entries, e) // into an array that other moments have, but none as far as this
		c.changes += e.Changes
		c.bytes += e.Bytes
		drop := 0
		for (c.changes > l.maxChanges || c.bytes > l.maxBytes) && drop < len(c.entries)-1 {
			old := &c.entries[drop]
			c.base = old.After
			c.changes, c.oldChanges = c.changes-old.Changes, c.oldChanges+old.Changes
			c.bytes, c.oldBytes = c.bytes-old.Bytes, c.oldBytes+old.Bytes
			drop++
		}
		c.entries = c.entries[drop:]
		if c.oldChanges > l.maxChanges/oldPart || c.oldBytes > l.maxBytes/oldPart {
			c.entries = append(make([]Entry[T], 0, len(c.entries)*5/4+1), c.entries...)
			c.oldChanges, c.oldBytes = 0, 0
		}
	})
}

// oldPart says how much of what is dropped stays in memory: this part of the limits.
// To drop it at once, every Append would copy all entries.
const oldPart = 8

// Reach records that no entry up to a revision is missing.
func (l *Log[T]) Reach(revision uint64) {
	l.change(func(c *contents[T]) { c.reached = revision })
}

// Reset drops all entries and moves the log to a position. The entries that led
// to the position are unknown.
func (l *Log[T]) Reset(base Position) {
	l.change(func(c *contents[T]) { *c = contents[T]{base: base, reached: base.Revision, isClosed: c.isClosed} })
}

// Close ends the log. Later calls of Since return [sentinel.ErrClosed].
func (l *Log[T]) Close() {
	l.change(func(c *contents[T]) { c.isClosed = true })
}

// Wait returns a channel that is closed at the next Append, Reach, Reset or
// Close. If the log is closed, so is the channel.
func (l *Log[T]) Wait() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.Load().end()
}

// Kept returns the sums of Changes and Bytes over the kept entries.
func (l *Log[T]) Kept() (changes, bytes int) {
	now := l.now.Load()
	return now.changes, now.bytes
}

// Hold blocks all other calls but Since and Kept until release is called. Tests use
// it to look at what happens before an entry is added.
func (l *Log[T]) Hold() (release func()) {
	l.mu.Lock()
	return l.mu.Unlock
}
