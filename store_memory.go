package customstatus

import (
	"context"
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
	old = m.byID[c.ID()]
	if err := c.conflict(old, m.byName[c.After.Name]); err != nil {
		return nil, err
	}
	if c.Kind == Deleted {
		m.replace(old, nil)
		return old, nil
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
