package customstatus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// MemoryStore is an exclusive [Store] in memory, for tests and for catalogs that need
// not last: what it holds is gone at Close. It is the reference for the contract
// of Store, with nothing in it that the contract does not ask for.
//
// A commit costs as much as its changes, however many statuses there are, and has
// no limit; Load copies all statuses.
type MemoryStore struct {
	mu       sync.RWMutex
	closed   bool
	revision Revision
	byID     map[string]*CustomUserStatus // statuses are never changed, only replaced
	byName   map[string]*CustomUserStatus
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{byID: make(map[string]*CustomUserStatus), byName: make(map[string]*CustomUserStatus)}
}

// Load implements [Store].
func (m *MemoryStore) Load(ctx context.Context) (Contents, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.ready(ctx); err != nil {
		return Contents{}, err
	}
	all := make([]CustomUserStatus, 0, len(m.byID))
	for _, s := range m.byID {
		all = append(all, *s)
	}
	return Contents{Statuses: all, Revision: m.revision}, nil
}

// Commit implements [Store].
func (m *MemoryStore) Commit(ctx context.Context, changes []Change) (Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return 0, err
	}
	if err := checkChanges(changes); err != nil {
		return 0, fmt.Errorf("memory: %w", err)
	}
	replaced := make([]*CustomUserStatus, 0, len(changes))
	for i := range changes {
		old, err := m.apply(&changes[i])
		if err != nil {
			for i, old := range slices.Backward(replaced) {
				m.replace(m.byID[changes[i].ID()], old)
			}
			return 0, fmt.Errorf("memory: %w", err)
		}
		replaced = append(replaced, old)
	}
	m.revision++
	return m.revision, nil
}

// Revision implements [Store].
func (m *MemoryStore) Revision(ctx context.Context) (Revision, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.revision, m.ready(ctx)
}

// Close implements [Store]. It drops all statuses.
func (m *MemoryStore) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.byID, m.byName = true, nil, nil
	return nil
}

// ready returns the error with which a method has to return before it begins,
// or nil.
func (m *MemoryStore) ready(ctx context.Context) error {
	if m.closed {
		return fmt.Errorf("memory: %w", ErrClosed)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	return nil
}

// apply makes one change at the next revision and returns the status that it
// replaces, or nil.
func (m *MemoryStore) apply(c *Change) (old *CustomUserStatus, err error) {
	id := c.ID()
	old = m.byID[id]
	switch {
	case c.Kind == Created && old != nil:
		return nil, fmt.Errorf("%w: status %q is there already", ErrConflict, id)
	case c.Kind != Created && old == nil:
		return nil, fmt.Errorf("%w: there is no status %q", ErrConflict, id)
	case old != nil && old.Revision != c.Before.Revision:
		return nil, fmt.Errorf("%w: status %q is at revision %d, not %d", ErrConflict, id, old.Revision, c.Before.Revision)
	case c.Kind == Deleted:
		m.replace(old, nil)
		return old, nil
	}
	if other := m.byName[c.After.Name]; other != nil && other.ID != id {
		return nil, fmt.Errorf("%w: the name %q belongs to status %q", ErrConflict, c.After.Name, other.ID)
	}
	s := c.After
	s.Revision = m.revision + 1
	m.replace(old, &s)
	return old, nil
}

// replace puts a status in the place of another; either may be nil.
func (m *MemoryStore) replace(old, s *CustomUserStatus) {
	if old != nil {
		delete(m.byID, old.ID)
		delete(m.byName, old.Name)
	}
	if s != nil {
		m.byID[s.ID] = s
		m.byName[s.Name] = s
	}
}

// checkChanges returns an error if no commit may have the changes.
func checkChanges(changes []Change) error {
	if len(changes) == 0 {
		return errors.New("a commit without changes")
	}
	var seen map[string]struct{}
	if len(changes) > 1 {
		seen = make(map[string]struct{}, len(changes))
	}
	for i := range changes {
		c := &changes[i]
		id := c.ID()
		switch {
		case c.Kind != Created && c.Kind != Updated && c.Kind != Deleted:
			return fmt.Errorf("a change of the unknown kind %d", c.Kind)
		case c.Kind == Updated && c.Before.ID != id:
			return fmt.Errorf("a change makes status %q of status %q", id, c.Before.ID)
		}
		if _, twice := seen[id]; twice {
			return fmt.Errorf("status %q stands twice in a commit", id)
		}
		if seen != nil {
			seen[id] = struct{}{}
		}
	}
	return nil
}
