package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/customstatus/customstatus"
)

// SharedMemory is a place in memory that several stores share, as the servers
// of a cluster share a database: what one commits, the others load and watch.
// With it, one process can test what a cluster does. Closing the stores does
// not clear the place.
//
// As on a cluster, revisions leave numbers out and old commits are forgotten. A
// watcher that needs a forgotten commit gets [customstatus.ErrCompacted].
// Several goroutines may call all methods at once.
type SharedMemory struct {
	mu       sync.Mutex
	revision customstatus.Revision
	byID     map[string]customstatus.CustomUserStatus
	byName   map[string]string // to ids

	history   []customstatus.Commit // oldest first
	compacted customstatus.Revision // the last commit that was dropped from history
	changes   int                   // number of changes in history
	limit     int                   // of changes
	news      chan struct{}         // closed and replaced at every commit
}

// sharedStep is the distance between two revisions of a SharedMemory. It is
// more than one, so that a test fails if the code under test relies on
// consecutive numbers.
const sharedStep = 2

// NewSharedMemory returns an empty place. It keeps
// [customstatus.DefaultHistoryChanges] changes for watchers.
func NewSharedMemory() *SharedMemory {
	return &SharedMemory{
		byID:   make(map[string]customstatus.CustomUserStatus),
		byName: make(map[string]string),
		limit:  customstatus.DefaultHistoryChanges,
		news:   make(chan struct{}),
	}
}

// Open returns a new store on the place.
func (m *SharedMemory) Open() *SharedMemoryStore {
	return &SharedMemoryStore{place: m, closed: make(chan struct{})}
}

// SetHistory limits the number of changes that the place keeps for watchers.
// The place forgets the oldest commits beyond the limit, now and after each
// commit. It always keeps the last commit, unless [SharedMemory.Compact] drops
// it.
func (m *SharedMemory) SetHistory(changes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = changes
	m.trim()
}

// Compact forgets the commits up to and including the given revision. A watch
// that still needs one of them ends with [customstatus.ErrCompacted].
func (m *SharedMemory) Compact(upTo customstatus.Revision) {
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

// apply makes all changes at a revision, or none.
func (m *SharedMemory) apply(changes []customstatus.Change, revision customstatus.Revision) error {
	replaced := make([]customstatus.CustomUserStatus, 0, len(changes))
	for _, c := range changes {
		old, err := m.applyOne(c, revision)
		if err != nil {
			for i, old := range slices.Backward(replaced) {
				m.replace(m.byID[changes[i].ID()], old)
			}
			return err
		}
		replaced = append(replaced, old)
	}
	return nil
}

// applyOne makes one change and returns the status that it replaces, or the zero
// value.
func (m *SharedMemory) applyOne(c customstatus.Change, revision customstatus.Revision) (customstatus.CustomUserStatus, error) {
	id := c.ID()
	old, there := m.byID[id]
	none := customstatus.CustomUserStatus{}
	switch {
	case c.Kind == customstatus.Created && there:
		return none, fmt.Errorf("%w: status %q exists already", customstatus.ErrConflict, id)
	case c.Kind != customstatus.Created && !there:
		return none, fmt.Errorf("%w: there is no status %q", customstatus.ErrConflict, id)
	case there && old.Revision != c.Before.Revision:
		return none, fmt.Errorf("%w: status %q is at revision %d, not %d", customstatus.ErrConflict, id, old.Revision, c.Before.Revision)
	}
	if owner, taken := m.byName[c.After.Name]; taken && owner != id && c.Kind != customstatus.Deleted {
		return none, fmt.Errorf("%w: the name %q belongs to status %q", customstatus.ErrConflict, c.After.Name, owner)
	}
	s := c.After
	if c.Kind != customstatus.Deleted {
		s.Revision = revision
	}
	m.replace(old, s)
	return old, nil
}

// replace replaces the status old by s. A zero value stands for no status.
func (m *SharedMemory) replace(old, s customstatus.CustomUserStatus) {
	if old.Revision > 0 {
		delete(m.byID, old.ID)
		delete(m.byName, old.Name)
	}
	if s.Revision > 0 {
		m.byID[s.ID] = s
		m.byName[s.Name] = s.ID
	}
}

// checkChanges returns an error if the commit is the caller's fault.
func checkChanges(changes []customstatus.Change) error {
	if len(changes) == 0 {
		return errors.New("the commit has no changes")
	}
	seen := make(map[string]bool, len(changes))
	for _, c := range changes {
		id := c.ID()
		switch {
		case c.Kind < customstatus.Created || c.Kind > customstatus.Deleted:
			return fmt.Errorf("a change has the unknown kind %d", c.Kind)
		case c.Kind == customstatus.Updated && c.Before.ID != id:
			return fmt.Errorf("an update turns status %[2]q into status %[1]q", id, c.Before.ID)
		case seen[id]:
			return fmt.Errorf("the commit changes status %q twice", id)
		}
		seen[id] = true
	}
	return nil
}

// next returns a copy of the first commit after a revision or, if there is none
// yet, a channel that is closed at the next commit.
func (m *SharedMemory) next(after customstatus.Revision) (customstatus.Commit, <-chan struct{}, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if after < m.compacted {
		return customstatus.Commit{}, nil, fmt.Errorf("shared memory: watch after revision %d: commits up to revision %d are forgotten: %w",
			after, m.compacted, customstatus.ErrCompacted)
	}
	if after > m.revision {
		return customstatus.Commit{}, nil, fmt.Errorf("shared memory: watch after revision %d: the last commit has revision %d: %w",
			after, m.revision, customstatus.ErrCompacted)
	}
	i := sort.Search(len(m.history), func(i int) bool { return m.history[i].Revision > after })
	if i == len(m.history) {
		return customstatus.Commit{}, m.news, nil
	}
	c := m.history[i]
	c.Changes = slices.Clone(c.Changes)
	return c, nil, nil
}

// SharedMemoryStore is a [customstatus.SharedStore] on a [SharedMemory]. Close
// closes only this store and does not change the place.
type SharedMemoryStore struct {
	place  *SharedMemory
	closed chan struct{} // closed by Close, under place.mu
}

// Load implements [customstatus.Store].
func (s *SharedMemoryStore) Load(ctx context.Context) (customstatus.Contents, error) {
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return customstatus.Contents{}, err
	}
	all := slices.Collect(maps.Values(s.place.byID))
	return customstatus.Contents{Statuses: all, Revision: s.place.revision, Shared: true}, nil
}

// Commit implements [customstatus.Store].
func (s *SharedMemoryStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	m := s.place
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if err := checkChanges(changes); err != nil {
		return 0, fmt.Errorf("shared memory: %w", err)
	}
	revision := m.revision + sharedStep
	if err := m.apply(changes, revision); err != nil {
		return 0, fmt.Errorf("shared memory: %w", err)
	}
	m.revision = revision

	// The feed has no more of Before than the contract requires, so that no
	// code relies on more.
	made := slices.Clone(changes)
	for i := range made {
		made[i].Before = customstatus.CustomUserStatus{ID: made[i].Before.ID, Revision: made[i].Before.Revision}
		if made[i].Kind != customstatus.Deleted {
			made[i].After.Revision = revision
		}
	}
	m.history = append(m.history, customstatus.Commit{Revision: revision, Changes: made})
	m.changes += len(made)
	m.trim()
	close(m.news)
	m.news = make(chan struct{})
	return revision, nil
}

// Revision implements [customstatus.Store].
func (s *SharedMemoryStore) Revision(ctx context.Context) (customstatus.Revision, error) {
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	return s.place.revision, s.ready(ctx)
}

// Watch implements [customstatus.SharedStore]. [customstatus.ErrCompacted] is
// returned when the place has not reached the revision. Close does not wait for
// the loops over the sequence. After Close, each loop ends with
// [customstatus.ErrClosed] when it asks for the next commit.
func (s *SharedMemoryStore) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		begun := false
		for after := after; ; {
			if err := s.ready(ctx); err != nil {
				yield(customstatus.Commit{}, err)
				return
			}
			next, news, err := s.place.next(after)
			if err != nil {
				yield(customstatus.Commit{}, err)
				return
			}
			if !begun {
				begun = true
				if !yield(customstatus.Commit{Revision: after}, nil) {
					return
				}
				continue
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

// Close implements [customstatus.Store].
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

// ready returns nil if a method may begin, or else the error to return.
func (s *SharedMemoryStore) ready(ctx context.Context) error {
	if s.isClosed() {
		return fmt.Errorf("shared memory: %w", customstatus.ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("shared memory: %w", err)
	}
	return nil
}
