package customstatus

import (
	"context"
	"slices"
	"strings"

	"github.com/customstatus/customstatus/internal/memory"
	"github.com/customstatus/customstatus/internal/pairs"
)

// MemoryStore is an exclusive [Store] in memory, for tests and for catalogs whose
// data may be lost: Close drops everything. It is the reference for the contract of
// Store and does nothing that the contract doesn't ask for. The time of a commit
// depends on its changes, not on the number of statuses. A commit has no limit.
type MemoryStore struct {
	engine memory.Store[CustomUserStatus]
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{memory.Store[CustomUserStatus]{Values: pairs.New(statusType, nil)}}
}

// Load implements [Store]. It copies all statuses.
func (m *MemoryStore) Load(ctx context.Context) (Contents, error) {
	statuses, revision, err := m.engine.Load(ctx)
	return Contents{Statuses: statuses, Revision: Revision(revision)}, err
}

// Commit implements [Store].
func (m *MemoryStore) Commit(ctx context.Context, changes []Change) (Revision, error) {
	revision, err := m.engine.Commit(ctx, changeList(changes))
	return Revision(revision), err
}

// Revision implements [Store].
func (m *MemoryStore) Revision(ctx context.Context) (Revision, error) {
	revision, err := m.engine.Revision(ctx)
	return Revision(revision), err
}

// Close implements [Store]. It drops all statuses.
func (m *MemoryStore) Close() error {
	m.engine.Close()
	return nil
}

// Apply makes all changes at the revision after c.Revision, or none. The error is
// the one that [Store] demands: [ErrConflict], or one for changes that no commit may
// have. Apply is for stores that write everything at every commit, and takes time
// proportional to the number of statuses. It changes neither changes nor the old
// slice c.Statuses. A known fingerprint stays known.
func (c *Contents) Apply(changes []Change) error {
	held := pairs.New(statusType, c.Statuses)
	before := held.Fingerprint(changeList(changes))
	if err := held.Commit(changeList(changes), uint64(c.Revision+1)); err != nil {
		return err
	}
	if c.FingerprintKnown {
		c.Fingerprint += Fingerprint(held.Fingerprint(changeList(changes)) - before)
	}
	c.Statuses, c.Revision = held.Values(), c.Revision+1
	slices.SortFunc(c.Statuses, func(a, b CustomUserStatus) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

// changeList implements pairs.Changes.
type changeList []Change

func (l changeList) Len() int { return len(l) }

func (l changeList) At(i int) pairs.Change[CustomUserStatus] {
	c := &l[i]
	return pairs.Change[CustomUserStatus]{Kind: pairs.Kind(c.Kind), Before: &c.Before, After: &c.After}
}
