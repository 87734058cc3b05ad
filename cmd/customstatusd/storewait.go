package main

import (
	"context"
	"fmt"
	"time"

	"github.com/customstatus/customstatus"
)

// The pauses between two attempts to reach a shared store.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
)

// openReachable opens the shared store for a server. If the store can't be reached, it
// tries again as long as the configuration says: after a power cut, everything starts at
// once. Any other error is returned at once.
func openReachable(ctx context.Context, config *serveConfig, opts customstatus.Options) (*localDatabase, error) {
	begun := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		db, err := openShared(ctx, config.store, true, opts)
		if err == nil || ctx.Err() != nil || !isAway(err) {
			return db, err
		}
		if waited := time.Since(begun); waited+pause > config.storeTimeout {
			if pause > firstPause {
				err = fmt.Errorf("gave up after %v: %w", waited.Round(time.Second), err)
			}
			return nil, err
		}
		opts.Logger.Warn("the store can't be reached, trying again", "timeout", config.storeTimeout.String(), "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
