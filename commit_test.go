package customstatus

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLeaderThatIsLeftForTheNextCommitGivesUp is about a leader whose status an
// earlier write of its group has touched. Which of several writers leads is for
// the scheduler to say, so the group is made by hand.
func TestLeaderThatIsLeftForTheNextCommitGivesUp(t *testing.T) {
	ctx := context.Background()
	c, err := Open(ctx, NewSharedMemory().Open(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	s, err := c.Create(ctx, Fields{Name: "a", StatusType: Busy})
	require.NoError(t, err)

	done, cancel := context.WithCancel(ctx)
	cancel()
	prepare := func(ctx context.Context, plan func(*edit) error) *write {
		return &write{ctx: ctx, plan: plan, done: make(chan struct{})}
	}
	update := func(e *edit) error {
		old, err := e.lookUp(s.ID, nil)
		if err == nil {
			changed := *old
			changed.StatusType, changed.Revision = Away, 0
			e.put(old, &changed)
		}
		return err
	}
	first := prepare(ctx, update)
	refused := prepare(ctx, func(e *edit) error { return errNameInUse("a") }) // to be verified with the store
	leader := prepare(done, update)

	c.turn <- struct{}{}
	c.commit(leader, []*write{refused, first, leader})
	require.True(t, leader.finished())
	require.ErrorIs(t, leader.err, context.Canceled)
	require.Equal(t, []*write{refused, first}, c.pending, "the others wait for another leader")
	require.False(t, first.finished())

	other := prepare(ctx, update)
	c.pending = append(c.pending, other)
	c.lead(other)
	require.NoError(t, first.err)
	require.ErrorIs(t, refused.err, ErrNameInUse)
	require.NoError(t, other.err)
	require.Empty(t, c.pending)
}
