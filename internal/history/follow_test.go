package history

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// seen is what a follower is given.
type seen struct {
	value string
	err   error
}

// follow follows a log, whose readers are shown the revision.
func follow(ctx context.Context, l *Log[string], after Position, shown *atomic.Uint64, sync func(context.Context) error) <-chan seen {
	got := make(chan seen, 100)
	go func() {
		for value, err := range l.Follow(ctx, after, shown.Load, sync) {
			got <- seen{value, err}
		}
		close(got)
	}()
	return got
}

// shows returns the revision n, as what readers are shown.
func shows(n uint64) *atomic.Uint64 {
	shown := new(atomic.Uint64)
	shown.Store(n)
	return shown
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := filled(100, 1e6, 3)
		got := follow(t.Context(), l, at(1), shows(4), nil)
		require.Equal(t, seen{value: "2"}, <-got)
		require.Equal(t, seen{value: "3"}, <-got)
		synctest.Wait()
		require.Empty(t, got)
		l.Append(entry(4))
		require.Equal(t, seen{value: "4"}, <-got)
		l.Close()
		require.Equal(t, seen{err: sentinel.ErrClosed}, <-got)
		_, more := <-got
		require.False(t, more, "an error ends it")
	})
}

func TestFollowEnds(t *testing.T) {
	l := filled(100, 1e6, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	steps := 0
	for value, err := range l.Follow(ctx, at(0), shows(3).Load, nil) {
		if steps++; steps == 1 {
			require.Equal(t, "1", value)
			cancel() // between two of one batch
			continue
		}
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Equal(t, 2, steps)
	for value := range l.Follow(t.Context(), at(2), shows(3).Load, nil) {
		require.Equal(t, "3", value)
		break
	}
	for _, err := range l.Follow(t.Context(), Position{2, 7}, shows(3).Load, nil) {
		require.ErrorIs(t, err, sentinel.ErrCompacted)
	}
}

func TestFollowWhatSomebodyElseHasShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, shown, start := filled(100, 1e6, 3), shows(3), time.Now()
		failures := 0
		got := follow(t.Context(), l, at(4), shown, func(context.Context) error {
			if failures++; failures < 3 {
				return errors.New("connection lost")
			}
			l.Append(entry(4))
			l.Append(entry(5))
			shown.Store(5)
			return nil
		})
		require.Equal(t, seen{value: "5"}, <-got)
		require.Equal(t, 2*retry, time.Since(start), "asked again until it can tell")
		l.Close()
		require.ErrorIs(t, (<-got).err, sentinel.ErrClosed)
	})
}

// What another log has shown is what this log has, but only because the entries that
// are yet to come lead back to it. The reader has seen them.
func TestFollowWhatLeadsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, shown := filled(100, 1e6, 3), shows(3)
		back := at(3)
		back.Revision = 5
		reached := make(chan struct{})
		got := follow(t.Context(), l, back, shown, func(context.Context) error {
			<-reached
			return nil
		})
		synctest.Wait()
		l.Append(entry(4))
		l.Append(Entry[string]{Value: "5", After: back, Changes: 1, Bytes: 10})
		shown.Store(5)
		close(reached)
		synctest.Wait()
		require.Empty(t, got)
		l.Append(entry(6))
		require.Equal(t, seen{value: "6"}, <-got)
		l.Close()
		require.ErrorIs(t, (<-got).err, sentinel.ErrClosed)
	})
}

func TestFollowWhatNobodyHasShown(t *testing.T) {
	calls := 0
	sync := func(context.Context) error {
		calls++
		return nil
	}
	for _, err := range filled(100, 1e6, 3).Follow(t.Context(), at(4), shows(3).Load, sync) {
		require.ErrorIs(t, err, sentinel.ErrCompacted)
	}
	require.Equal(t, 1, calls)
	closed := func(context.Context) error { return sentinel.ErrClosed }
	for _, err := range filled(100, 1e6, 3).Follow(t.Context(), at(4), shows(3).Load, closed) {
		require.ErrorIs(t, err, sentinel.ErrClosed)
	}
}

// A log that is closed while sync fails doesn't wait for the next attempt.
func TestFollowEndsBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := filled(100, 1e6, 3), time.Now()
		got := follow(t.Context(), l, at(4), shows(3), func(context.Context) error { return errors.New("connection lost") })
		synctest.Wait()
		l.Close()
		require.ErrorIs(t, (<-got).err, sentinel.ErrClosed)
		require.Zero(t, time.Since(start))
	})
}
