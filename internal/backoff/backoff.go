// Package backoff waits longer and longer between attempts.
package backoff

import (
	"context"
	"time"
)

// Delay is a wait that doubles from First to Last. It is for one goroutine.
type Delay struct {
	First, Last time.Duration
	Now         time.Duration // what Next returned last, or 0
}

// Next returns First, then twice as long each time, up to Last.
func (d *Delay) Next() time.Duration {
	d.Now = min(max(2*d.Now, d.First), d.Last)
	return d.Now
}

// Reset makes First the next delay.
func (d *Delay) Reset() { d.Now = 0 }

// Jitter returns a delay for an attempt after so many failures: a random one below
// 2^failures milliseconds, at most 64.
func Jitter(failures int, random uint64) time.Duration {
	limit := time.Millisecond << min(failures, 6)
	return time.Duration(random % uint64(limit))
}

// Sleep waits for so long, or until ctx is done, whose error it returns then.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
