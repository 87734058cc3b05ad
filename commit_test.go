package customstatus

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// loopback is a shared store whose feed has the commits of the store itself.
// Package storetest, which has a better one, can't be imported here.
type loopback struct {
	*MemoryStore
	made chan Commit
}

func (l *loopback) Load(ctx context.Context) (Contents, error) {
	contents, err := l.MemoryStore.Load(ctx)
	contents.Shared = true
	return contents, err
}

func (l *loopback) Commit(ctx context.Context, changes []Change) (Revision, error) {
	revision, err := l.MemoryStore.Commit(ctx, changes)
	if err == nil {
		made := slices.Clone(changes)
		for i := range made {
			made[i].After.Revision = revision
		}
		l.made <- Commit{Revision: revision, Changes: made}
	}
	return revision, err
}

func (l *loopback) Watch(ctx context.Context, _ Revision) iter.Seq2[Commit, error] {
	return func(yield func(Commit, error) bool) {
		for {
			select {
			case commit := <-l.made:
				if !yield(commit, nil) {
					return
				}
			case <-ctx.Done():
				yield(Commit{}, ctx.Err())
				return
			}
		}
	}
}

// TestLeaderThatIsLeftForTheNextCommitGivesUp is about a leader whose status an
// earlier write of its group has touched. Which of several writers leads is for
// the scheduler to say, so the group is made by hand.
func TestLeaderThatIsLeftForTheNextCommitGivesUp(t *testing.T) {
	ctx := context.Background()
	c, err := OpenShared(ctx, &loopback{MemoryStore: NewMemoryStore(), made: make(chan Commit, 10)}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	s, err := c.Create(ctx, Fields{Name: "a", StatusType: Busy})
	require.NoError(t, err)

	done, cancel := context.WithCancel(ctx)
	cancel()
	prepare := func(ctx context.Context, plan func(*edit) error) *write {
		return &write{ctx: ctx, plan: plan, size: 1, done: make(chan struct{})}
	}
	update := func(e *edit) error {
		old, err := e.lookUp(s.ID, nil)
		if err == nil {
			changed := *old
			changed.StatusType, changed.Revision = Away, 0
			e.Put(old, &changed)
		}
		return err
	}
	first := prepare(ctx, update)
	refused := prepare(ctx, func(e *edit) error { return errNameInUse("a", &s) }) // to be verified with the store
	leader := prepare(done, update)

	c.turn <- struct{}{}
	c.commit(leader, []*write{refused, first, leader})
	require.True(t, leader.finished())
	require.ErrorIs(t, leader.err, context.Canceled)
	require.Equal(t, []*write{refused, first}, c.pending, "the others wait for another leader")
	require.False(t, first.finished())

	other := prepare(ctx, update)
	other.waiting = true
	c.pending = append(c.pending, other)
	c.lead(other)
	require.NoError(t, first.err)
	require.ErrorIs(t, refused.err, ErrNameInUse)
	require.NoError(t, other.err)
	require.Empty(t, c.pending)
}

// TestCommitIsReadableBeforeItIsWatched holds the feed up, so that a commit is
// between the two.
func TestCommitIsReadableBeforeItIsWatched(t *testing.T) {
	c, err := Open(context.Background(), NewMemoryStore(), nil)
	require.NoError(t, err)
	done := make(chan error, 1)
	release := c.view.History.Hold()
	go func() {
		_, err := c.Create(context.Background(), Fields{Name: "a", StatusType: Busy})
		done <- err
	}()
	for c.Revision() != 1 { // for ever, if the feed comes first
		runtime.Gosched()
	}
	release()
	require.NoError(t, <-done)
	require.NoError(t, c.Close())
}

// TestFeedKeepsNoRoom is about a commit that one of many writers makes, when the
// others are refused: the feed keeps it for long.
func TestFeedKeepsNoRoom(t *testing.T) {
	c, err := Open(context.Background(), NewMemoryStore(), nil)
	require.NoError(t, err)
	e := c.edit(1000)
	e.Put(nil, &CustomUserStatus{ID: "a", Name: "a"})
	_, commit := e.commit(1, e.changes())
	require.Len(t, commit.Changes, 1)
	require.LessOrEqual(t, cap(commit.Changes), 2)
	require.NoError(t, c.Close())
}

// TestWhoHasListedMayWatch: the position of a page is one that a watcher can begin
// at, also while the commit that the page shows is being published.
func TestWhoHasListedMayWatch(t *testing.T) {
	c, err := Open(t.Context(), NewMemoryStore(), &Options{HistoryChanges: 1 << 30, HistoryBytes: 1 << 30})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	var writing sync.WaitGroup
	defer writing.Wait()
	done := make(chan struct{})
	writing.Go(func() {
		defer close(done)
		for i := range 20_000 {
			_, err := c.Create(context.Background(), Fields{Name: fmt.Sprint(i), StatusType: Busy})
			assert.NoError(t, err)
		}
	})
	for {
		select {
		case <-done:
			return
		default:
		}
		for range 100 {
			position := c.Position().inHistory()
			_, _, err := c.view.History.Since(&position, c.view.Revision, nil)
			require.NoError(t, err)
		}
		runtime.Gosched() // with one processor, the writer would wait a time slice for each create
	}
}
