package backoff_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/backoff"
)

func TestDelay(t *testing.T) {
	d := backoff.Delay{First: 10, Last: 45}
	var got []time.Duration
	for range 5 {
		got = append(got, d.Next())
	}
	require.Equal(t, []time.Duration{10, 20, 40, 45, 45}, got)
	require.EqualValues(t, 45, d.Now)
	d.Reset()
	require.Zero(t, d.Now)
	require.EqualValues(t, 10, d.Next())
}

func TestJitter(t *testing.T) {
	require.Zero(t, backoff.Jitter(1, 0))
	require.EqualValues(t, 2*time.Millisecond-1, backoff.Jitter(1, uint64(2*time.Millisecond-1)))
	require.Zero(t, backoff.Jitter(1, uint64(2*time.Millisecond)))
	for _, failures := range []int{1, 6, 7, 100} {
		wait := backoff.Jitter(failures, math.MaxUint64)
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.Less(t, wait, 64*time.Millisecond)
	}
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		require.NoError(t, backoff.Sleep(t.Context(), time.Hour))
		require.Equal(t, time.Hour, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.ErrorIs(t, backoff.Sleep(ctx, time.Hour), context.DeadlineExceeded)
		require.Equal(t, time.Hour+time.Minute, time.Since(start))
	})
}
