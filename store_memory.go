package customstatus

import (
	"context"
	"fmt"
	"sync"

	"github.com/customstatus/customstatus/internal/pairs"
)

// MemoryStore is an exclusive [Store] in memory, for tests and for catalogs that
// need not last: Close drops everything. It is the reference for the contract of
// Store and does nothing that the contract doesn't ask for. The time of a commit
// depends on its changes, not on the number of statuses. A commit has no limit.
type MemoryStore struct {
	mu       sync.RWMutex
	closed   bool
	revision Revision
	statuses pairs.Set[CustomUserStatus]
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return &MemoryStore{statuses: pairs.New(tableKeys, nil)} }

// Load implements [Store]. It copies all statuses.
func (m *MemoryStore) Load(ctx context.Context) (Contents, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.ready(ctx); err != nil {
		return Contents{}, err
	}
	return Contents{Statuses: m.statuses.Values(), Revision: m.revision}, nil
}

// Commit implements [Store].
func (m *MemoryStore) Commit(ctx context.Context, changes []Change) (Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.ready(ctx); err != nil {
		return 0, err
	}
	if err := apply(&m.statuses, changes, m.revision+1); err != nil {
		return 0, fmt.Errorf("memory: %w", err)
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
	m.closed, m.statuses = true, pairs.Set[CustomUserStatus]{}
	return nil
}

// ready returns the error with which a method ends before it begins, or nil.
func (m *MemoryStore) ready(ctx context.Context) error {
	err := ctx.Err()
	if m.closed {
		err = ErrClosed
	}
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	return nil
}
