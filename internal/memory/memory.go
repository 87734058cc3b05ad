// Package memory keeps values in memory as a store keeps them: with a revision,
// commits of all changes or none, and an end.
package memory

import (
	"context"
	"fmt"
	"sync"

	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/sentinel"
)

// Store is a set of values with a revision. Several goroutines may use it at once.
// Its errors are [sentinel.ErrClosed], that of a context, and those of
// [pairs.Set.Commit].
type Store[T any] struct {
	// Values are the values at revision 0. Only the store may use them from then on.
	Values pairs.Set[T]

	mu       sync.RWMutex
	closed   bool
	revision uint64
}

// Load returns copies of all values and the revision.
func (s *Store[T]) Load(ctx context.Context) ([]T, uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.ready(ctx); err != nil {
		return nil, 0, err
	}
	return s.Values.Values(), s.revision, nil
}

// Commit makes all changes or none, and returns the new revision.
func (s *Store[T]) Commit(ctx context.Context, changes pairs.Changes[T]) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if err := s.Values.Commit(changes, s.revision+1); err != nil {
		return 0, fmt.Errorf("memory: %w", err)
	}
	s.revision++
	return s.revision, nil
}

// Revision returns the revision.
func (s *Store[T]) Revision(ctx context.Context) (uint64, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.revision, s.ready(ctx)
}

// Close drops all values.
func (s *Store[T]) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.Values = true, pairs.Set[T]{}
}

// ready returns the error with which a method ends before it begins, or nil.
func (s *Store[T]) ready(ctx context.Context) error {
	err := ctx.Err()
	if s.closed {
		err = sentinel.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	return nil
}
