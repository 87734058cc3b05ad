package customstatus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// Apply makes all changes at the revision after c.Revision, or none. The error is
// the one that [Store] demands: [ErrConflict], or one for changes that no commit may
// have. Apply is for stores that write everything at every commit, and takes time
// proportional to the number of statuses. It changes neither changes nor the old
// slice c.Statuses. A known fingerprint stays known.
func (c *Contents) Apply(changes []Change) error {
	held := pairs.New(tableKeys, c.Statuses)
	touched := func() (sum Fingerprint) {
		for i := range changes {
			if s := held.ByID(changes[i].ID()); s != nil {
				sum += s.Fingerprint()
			}
		}
		return sum
	}
	before := touched()
	if err := apply(&held, changes, c.Revision+1); err != nil {
		return err
	}
	if c.FingerprintKnown {
		c.Fingerprint += touched() - before
	}
	c.Statuses, c.Revision = held.Values(), c.Revision+1
	slices.SortFunc(c.Statuses, func(a, b CustomUserStatus) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

// apply makes all changes at the revision, or none.
func apply(to *pairs.Set[CustomUserStatus], changes []Change, revision Revision) error {
	if err := checkChanges(changes); err != nil {
		return err
	}
	return to.Change(len(changes), func(i int) (old, made *CustomUserStatus, err error) {
		c := &changes[i]
		old = to.ByID(c.ID())
		if err := c.conflict(old, to.ByName(c.After.Name)); err != nil || c.Kind == Deleted {
			return old, nil, err
		}
		made = new(CustomUserStatus)
		*made = c.After
		made.Revision = revision
		return old, made, nil
	})
}

// checkChanges returns an error if no commit may have the changes.
func checkChanges(changes []Change) error {
	if len(changes) == 0 {
		return errors.New("a commit without changes")
	}
	for i := range changes {
		switch c := &changes[i]; {
		case !c.Kind.known():
			return fmt.Errorf("a change has the unknown kind %d", c.Kind)
		case c.Kind == Updated && c.Before.ID != c.After.ID:
			return fmt.Errorf("an update turns status %q into status %q", c.Before.ID, c.After.ID)
		}
	}
	if id, twice := pairs.Repeated(len(changes), func(i int) string { return changes[i].ID() }); twice {
		return fmt.Errorf("the commit changes status %q twice", id)
	}
	return nil
}

// conflict returns an ErrConflict if the change does not fit what a store holds: old
// is the status with the id of the change, and owner the status with its name.
// Either may be nil.
func (c *Change) conflict(old, owner *CustomUserStatus) error {
	switch {
	case c.Kind == Created && old != nil:
		return fmt.Errorf("%w: status %q exists already", ErrConflict, old.ID)
	case c.Kind != Created && old == nil:
		return fmt.Errorf("%w: there is no status %q", ErrConflict, c.Before.ID)
	case old != nil && old.Revision != c.Before.Revision:
		return fmt.Errorf("%w: status %q is at revision %d, not %d", ErrConflict, old.ID, old.Revision, c.Before.Revision)
	case c.Kind != Deleted && owner != nil && owner.ID != c.After.ID:
		return fmt.Errorf("%w: the name %q belongs to status %q", ErrConflict, owner.Name, owner.ID)
	}
	return nil
}
