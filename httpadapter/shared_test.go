package httpadapter_test

import (
	"context"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/customstatus/customstatus"
)

// sharedPlace is a store in memory that several nodes share.
type sharedPlace struct {
	*customstatus.MemoryStore

	mu      sync.Mutex
	commits []customstatus.Commit
	more    chan struct{} // closed at the next commit
}

func newSharedPlace() *sharedPlace {
	return &sharedPlace{MemoryStore: customstatus.NewMemoryStore(), more: make(chan struct{})}
}

func (p *sharedPlace) Load(ctx context.Context) (customstatus.Contents, error) {
	contents, err := p.MemoryStore.Load(ctx)
	contents.Shared = true
	return contents, err
}

func (p *sharedPlace) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	revision, err := p.MemoryStore.Commit(ctx, changes)
	if err != nil {
		return 0, err
	}
	changes = slices.Clone(changes)
	for i := range changes {
		if changes[i].Kind != customstatus.Deleted {
			changes[i].After.Revision = revision
		}
	}
	p.commits = append(p.commits, customstatus.Commit{Revision: revision, Changes: changes})
	close(p.more)
	p.more = make(chan struct{})
	return revision, nil
}

// node is one server's view of a place.
type node struct {
	*sharedPlace
	held  atomic.Pointer[chan struct{}] // no commit is yielded before it is closed
	asked chan struct{}                 // receives a value at each call of Revision, if there is room
}

func (p *sharedPlace) node() *node { return &node{sharedPlace: p, asked: make(chan struct{}, 1)} }

func (n *node) Revision(ctx context.Context) (customstatus.Revision, error) {
	select {
	case n.asked <- struct{}{}:
	default:
	}
	return n.sharedPlace.Revision(ctx)
}

func (n *node) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		for next := int(after); ; {
			n.mu.Lock()
			commits, more := n.commits[next:], n.more
			n.mu.Unlock()
			next += len(commits)
			for _, commit := range commits {
				if held := n.held.Load(); held != nil {
					<-*held
				}
				if !yield(commit, nil) {
					return
				}
			}
			select {
			case <-more:
			case <-ctx.Done():
				yield(customstatus.Commit{}, ctx.Err())
				return
			}
		}
	}
}

// hold makes the node's feed wait before the next commit until the returned function is
// called.
func (n *node) hold() (release func()) {
	held := make(chan struct{})
	n.held.Store(&held)
	return func() { close(held) }
}

// Close leaves the place open for the other nodes.
func (n *node) Close() error { return nil }
