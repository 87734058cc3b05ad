// Package history keeps the last entries of a log for readers who take them at
// their own pace. Readers come to the log, and the log knows none of them; a slow
// one holds no more than the batch that it has taken.
package history

import (
	"errors"
	"sort"
	"sync"
)

// Position is where a log is: a number, and what stands for all that was there at
// it. The number orders, the fingerprint tells one history from another.
type Position struct {
	Revision, Fingerprint uint64
}

// Entry is what a log keeps.
type Entry[T any] struct {
	Value T
	// After is the position that the entry leads to.
	After Position
	// Changes and Bytes are what the entry counts for in the log's limits.
	Changes, Bytes int
}

// Log is the last entries. Several goroutines may use it at once.
type Log[T any] struct {
	maxChanges, maxBytes int

	mu       sync.Mutex
	base     Position // every entry after it is kept
	reached  uint64   // the last revision of which it is known that no entry is missing
	entries  []Entry[T]
	changes  int           // in entries
	bytes    int           // in entries
	next     chan struct{} // closed at the next event; nil while nobody waits
	isClosed bool
}

// New returns a log that keeps entries up to these limits, but always the last.
func New[T any](maxChanges, maxBytes int) *Log[T] {
	return &Log[T]{maxChanges: maxChanges, maxBytes: maxBytes}
}

// The errors of [Log.Since].
var (
	ErrClosed = errors.New("the log is closed")
	// ErrUnknown is returned when the log doesn't keep what came after a
	// position, or when the position is none of its history.
	ErrUnknown = errors.New("the position is unknown")
)

// What a reader takes at a time: at most so many entries, and no more once they
// have so many bytes.
const (
	batchEntries = 64
	batchBytes   = 256 << 10
)

// Since returns the first entries after a position, or none and a channel that is
// closed when it is worth asking again. It sets the position to the one of this
// log's that it found, by which it will find it again. A position that holds just
// what the log's last one does is that one, whatever its revision.
//
// A position that readers are shown already may not have come to the log yet;
// shown says what revision they are shown.
func (l *Log[T]) Since(after *Position, shown func() uint64) ([]T, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return nil, nil, ErrClosed
	}
	first, ok := l.find(*after)
	switch {
	case (!ok || after.Revision > l.reached) && shown() != l.reached:
		return nil, l.waiting(), nil
	case !ok:
		return nil, nil, ErrUnknown
	}
	*after = l.before(first)
	var values []T
	for bytes := 0; first < len(l.entries) && len(values) < batchEntries && bytes < batchBytes; first++ {
		values = append(values, l.entries[first].Value)
		bytes += l.entries[first].Bytes
	}
	if values != nil {
		return values, nil, nil
	}
	return nil, l.waiting(), nil
}

// find returns the index of the first entry after a position, and false if it
// can't tell.
func (l *Log[T]) find(p Position) (int, bool) {
	if l.base.Revision <= p.Revision && p.Revision <= l.reached {
		i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].After.Revision > p.Revision })
		if l.before(i).Fingerprint == p.Fingerprint {
			return i, true
		}
	}
	return len(l.entries), l.before(len(l.entries)).Fingerprint == p.Fingerprint
}

// before is the position before the entry with the index.
func (l *Log[T]) before(i int) Position {
	if i == 0 {
		return l.base
	}
	return l.entries[i-1].After
}

// Append adds an entry.
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

// Reach says that no entry is missing up to a revision.
func (l *Log[T]) Reach(revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reached = revision
	l.event()
}

// Reset forgets all entries: how the log came to be at the position is not known.
func (l *Log[T]) Reset(base Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.base, l.reached, l.entries, l.changes, l.bytes = base, base.Revision, nil, 0, 0
	l.event()
}

// Close ends the log. Every Since after it is [ErrClosed].
func (l *Log[T]) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isClosed = true
	l.event()
}

// Wait returns a channel that is closed at the next event, or when the log is
// closed.
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

// Kept returns the changes and bytes of the entries that are kept.
func (l *Log[T]) Kept() (changes, bytes int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changes, l.bytes
}

// Hold has everybody else wait who uses the log, until release is called. It is
// for tests of what comes before an entry.
func (l *Log[T]) Hold() (release func()) {
	l.mu.Lock()
	return l.mu.Unlock
}
