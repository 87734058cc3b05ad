package customstatus

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"
	"sync"
)

// MemoryStore is a [Store] in memory, for tests and for catalogs that need not
// last: what it holds is gone at Close. It is the reference for the contract of
// Store, with nothing in it that the contract does not ask for.
//
// A commit costs as much as its changes, however many statuses there are; Load
// copies them all.
type MemoryStore struct {
	mu       sync.RWMutex
	closed   bool
	revision Revision
	table    table
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{table: newTable()}
}

// Load implements [Store].
func (m *MemoryStore) Load(ctx context.Context) ([]CustomUserStatus, Revision, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := ready(ctx, m.closed); err != nil {
		return nil, 0, err
	}
	return m.table.all(), m.revision, nil
}

// Commit implements [Store].
func (m *MemoryStore) Commit(ctx context.Context, changes []Change) (Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ready(ctx, m.closed); err != nil {
		return 0, err
	}
	if len(changes) == 0 {
		return m.revision, nil
	}
	if err := m.table.apply(changes, m.revision+1); err != nil {
		return 0, err
	}
	m.revision++
	return m.revision, nil
}

// Close implements [Store]. It waits for the methods that run, and drops all
// statuses.
func (m *MemoryStore) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.table = table{}
	return nil
}

// SharedMemory is a place in memory that several stores share, as the servers
// of a cluster do: what one commits, the others load and watch. It is for
// testing, in one process, what a cluster does. The place lasts as long as
// it is referred to, whichever of its stores are open.
//
// As on a cluster, revisions leave numbers out and old commits are forgotten;
// a watcher that comes for them gets [ErrCompacted]. All methods may be called
// by several goroutines at once.
type SharedMemory struct {
	mu       sync.Mutex
	revision Revision
	table    table

	history   []Commit      // oldest first
	compacted Revision      // the last commit that is not in history any more
	changes   int           // in all of history
	limit     int           // on changes
	news      chan struct{} // closed and replaced at every commit
}

// sharedStep is the distance of two revisions of a SharedMemory: more than one,
// so that whoever counts on the next number finds out.
const sharedStep = 2

// NewSharedMemory returns an empty place. It keeps [DefaultHistory] changes for
// watchers.
func NewSharedMemory() *SharedMemory {
	return &SharedMemory{table: newTable(), limit: DefaultHistory, news: make(chan struct{})}
}

// Open returns a new store on the place.
func (m *SharedMemory) Open() *SharedMemoryStore {
	return &SharedMemoryStore{place: m, closed: make(chan struct{})}
}

// SetHistory limits the number of changes that are kept for watchers, now and
// from now on, by forgetting the oldest commits. The last commit is always
// kept, unless [SharedMemory.Compact] has dropped it.
func (m *SharedMemory) SetHistory(changes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = changes
	m.trim()
}

// Compact forgets the commits up to and including the given revision. A watch
// that still needs one of them ends with [ErrCompacted].
func (m *SharedMemory) Compact(upTo Revision) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.history) > 0 && m.history[0].Revision <= upTo {
		m.forget()
	}
}

func (m *SharedMemory) trim() {
	for len(m.history) > 1 && m.changes > m.limit {
		m.forget()
	}
}

// forget drops the oldest commit.
func (m *SharedMemory) forget() {
	m.compacted = m.history[0].Revision
	m.changes -= len(m.history[0].Changes)
	m.history = m.history[1:]
}

// next returns a copy of the first commit after a revision or, if there is none
// yet, a channel that is closed when one comes.
func (m *SharedMemory) next(after Revision) (Commit, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if after < m.compacted {
		return Commit{}, nil, fmt.Errorf("memory: commits up to revision %d are forgotten, watching after %d: %w",
			m.compacted, after, ErrCompacted)
	}
	if after > m.revision {
		return Commit{}, nil, fmt.Errorf("memory: at revision %d, watching after %d: %w",
			m.revision, after, ErrCompacted)
	}
	i := sort.Search(len(m.history), func(i int) bool { return m.history[i].Revision > after })
	if i == len(m.history) {
		return Commit{}, m.news, nil
	}
	c := m.history[i]
	c.Changes = slices.Clone(c.Changes)
	return c, nil, nil
}

// SharedMemoryStore is a [Store] and a [Watcher] on a [SharedMemory]. Close
// closes this store only and leaves the place as it is.
type SharedMemoryStore struct {
	place  *SharedMemory
	closed chan struct{} // closed by Close, under place.mu
}

// Load implements [Store].
func (s *SharedMemoryStore) Load(ctx context.Context) ([]CustomUserStatus, Revision, error) {
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	if err := ready(ctx, s.isClosed()); err != nil {
		return nil, 0, err
	}
	return s.place.table.all(), s.place.revision, nil
}

// Commit implements [Store].
func (s *SharedMemoryStore) Commit(ctx context.Context, changes []Change) (Revision, error) {
	m := s.place
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ready(ctx, s.isClosed()); err != nil {
		return 0, err
	}
	if len(changes) == 0 {
		return m.revision, nil
	}
	revision := m.revision + sharedStep
	if err := m.table.apply(changes, revision); err != nil {
		return 0, err
	}
	m.revision = revision

	made := slices.Clone(changes)
	for i, c := range made {
		if c.Deleted {
			made[i].Status = CustomUserStatus{ID: c.Status.ID}
		} else {
			made[i].Status.Revision = revision
		}
	}
	m.history = append(m.history, Commit{Revision: revision, Changes: made})
	m.changes += len(made)
	m.trim()
	close(m.news)
	m.news = make(chan struct{})
	return revision, nil
}

// Watch implements [Watcher]. A revision that the place has not reached is
// [ErrCompacted], for it is none of this place's. Close does not wait for the
// loops over the sequence; each of them ends with [ErrClosed] as soon as it is
// ready for the next commit.
func (s *SharedMemoryStore) Watch(ctx context.Context, after Revision) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		for after := after; ; {
			if err := ready(ctx, s.isClosed()); err != nil {
				yield(Commit{}, err)
				return
			}
			next, news, err := s.place.next(after)
			if err != nil {
				yield(Commit{}, err)
				return
			}
			if news != nil {
				select {
				case <-news:
				case <-ctx.Done():
				case <-s.closed:
				}
				continue
			}
			if !yield(next, nil) {
				return
			}
			after = next.Revision
		}
	}
}

// Close implements [Store].
func (s *SharedMemoryStore) Close() error {
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	if !s.isClosed() {
		close(s.closed)
	}
	return nil
}

func (s *SharedMemoryStore) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// ready returns the error with which a method has to return before it begins,
// or nil.
func ready(ctx context.Context, closed bool) error {
	if closed {
		return fmt.Errorf("memory: %w", ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	return nil
}

// table is the statuses of a memory store by id and by name. The statuses are
// never changed, only replaced.
type table struct {
	byID   map[string]*CustomUserStatus
	byName map[string]*CustomUserStatus
}

func newTable() table {
	return table{byID: make(map[string]*CustomUserStatus), byName: make(map[string]*CustomUserStatus)}
}

func (t table) all() []CustomUserStatus {
	all := make([]CustomUserStatus, 0, len(t.byID))
	for _, s := range t.byID {
		all = append(all, *s)
	}
	return all
}

// apply makes all changes at the given revision, or none.
func (t table) apply(changes []Change, revision Revision) error {
	if err := onceEach(changes); err != nil {
		return err
	}
	replaced := make([]*CustomUserStatus, 0, len(changes))
	for _, c := range changes {
		old, err := t.applyOne(c, revision)
		if err != nil {
			for i, old := range slices.Backward(replaced) {
				t.replace(t.byID[changes[i].Status.ID], old)
			}
			return err
		}
		replaced = append(replaced, old)
	}
	return nil
}

// applyOne makes one change and returns the status that it replaces, or nil.
func (t table) applyOne(c Change, revision Revision) (old *CustomUserStatus, err error) {
	old = t.byID[c.Status.ID]
	switch {
	case c.Deleted && c.Replaces == 0:
		return nil, fmt.Errorf("memory: the change that deletes status %q has no revision that it replaces", c.Status.ID)
	case old == nil && c.Replaces != 0:
		return nil, fmt.Errorf("memory: no status %q at revision %d: %w", c.Status.ID, c.Replaces, ErrConflict)
	case old != nil && old.Revision != c.Replaces:
		return nil, fmt.Errorf("memory: status %q is at revision %d, not %d: %w", c.Status.ID, old.Revision, c.Replaces, ErrConflict)
	case c.Deleted:
		t.replace(old, nil)
		return old, nil
	}
	if other := t.byName[c.Status.Name]; other != nil && other.ID != c.Status.ID {
		return nil, fmt.Errorf("memory: the name %q belongs to status %q: %w", c.Status.Name, other.ID, ErrConflict)
	}
	s := c.Status
	s.Revision = revision
	t.replace(old, &s)
	return old, nil
}

// replace puts a status in the place of another; either may be nil.
func (t table) replace(old, s *CustomUserStatus) {
	if old != nil {
		delete(t.byID, old.ID)
		delete(t.byName, old.Name)
	}
	if s != nil {
		t.byID[s.ID] = s
		t.byName[s.Name] = s
	}
}

// onceEach returns an error if an id stands twice in changes.
func onceEach(changes []Change) error {
	if len(changes) < 2 {
		return nil
	}
	seen := make(map[string]struct{}, len(changes))
	for _, c := range changes {
		if _, twice := seen[c.Status.ID]; twice {
			return fmt.Errorf("memory: status %q stands twice in a commit", c.Status.ID)
		}
		seen[c.Status.ID] = struct{}{}
	}
	return nil
}
