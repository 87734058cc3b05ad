package cluster

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/customstatus/customstatus"
)

// flaw is a fault that is planted into the store of a node.
type flaw string

const (
	blindRetry       flaw = "repeats a commit whose answer it has lost"
	believesAbsence  flaw = "takes a commit for failed that it doesn't find yet"
	dropsCommit      flaw = "leaves a commit out of the feed"
	earlyAnswer      flaw = "acknowledges before the commit"
	lossTakenForDone flaw = "takes a lost answer for success"
)

func flaws() []flaw {
	return []flaw{blindRetry, believesAbsence, dropsCommit, earlyAnswer, lossTakenForDone}
}

// flawed is a store with a flaw.
type flawed struct {
	customstatus.SharedStore
	flaw    flaw
	yielded atomic.Int64
}

func (s *flawed) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	now := rand.IntN(4) == 0
	switch {
	case s.flaw == blindRetry && now:
		if _, err := s.SharedStore.Commit(ctx, changes); err != nil {
			return 0, err
		}
		return s.SharedStore.Commit(ctx, changes)
	case s.flaw == believesAbsence && now:
		go func() {
			time.Sleep(20 * time.Millisecond)
			_, _ = s.SharedStore.Commit(context.WithoutCancel(ctx), changes)
		}()
		return 0, errors.New("the commit is not there: nothing was written")
	case s.flaw == earlyAnswer && now:
		before, err := s.SharedStore.Revision(ctx)
		if err != nil {
			return 0, err
		}
		go func() {
			time.Sleep(20 * time.Millisecond) // as if the disk were slow; else nobody might see it
			_, _ = s.SharedStore.Commit(context.WithoutCancel(ctx), changes)
		}()
		return before + 1, nil
	case s.flaw == lossTakenForDone && now: // and nothing was written
		return s.SharedStore.Revision(ctx)
	}
	return s.SharedStore.Commit(ctx, changes)
}

func (s *flawed) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		for commit, err := range s.SharedStore.Watch(ctx, after) {
			if s.flaw == dropsCommit {
				if len(commit.Changes) > 0 && s.yielded.Add(1) == 5 {
					continue
				}
				commit.FingerprintKnown = false // or the catalog would notice
			}
			if !yield(commit, err) {
				return
			}
		}
	}
}
