// Package backoff computes and waits the growing delays between attempts.
package backoff

import (
	"context"
	"time"
)

// Delay is a delay that doubles from First up to Last. Only one goroutine at a
// time may use it.
type Delay struct {
	First, Last time.Duration
	Now         time.Duration // the last result of Next, or 0
}

// Next returns First at the first call, and then twice the previous delay, up
// to Last.
func (d *Delay) Next() time.Duration {
	d.Now = min(max(2*d.Now, d.First), d.Last)
	return d.Now
}

// Reset makes First the result of the next call of Next.
func (d *Delay) Reset() { d.Now = 0 }

// Jitter returns a random delay for the next attempt after a number of
// failures. It is less than 2^failures milliseconds, and less than 64
// milliseconds.
func Jitter(failures int, random uint64) time.Duration {
	limit := time.Millisecond << min(failures, 6)
	return time.Duration(random % uint64(limit))
}

// Sleep waits for d and returns nil. If ctx is done first, or before the call, it
// returns the error of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err // select would choose at random if d is 0
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
