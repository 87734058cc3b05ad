package customstatus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// TestConcurrent has writers, readers and watchers at work at once on few names.
func TestConcurrent(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{HistoryChanges: 1 << 20, HistoryBytes: 1 << 30})
	const writers, rounds, names = 8, 200, 5
	var mu sync.Mutex
	made := map[customstatus.Revision][]customstatus.Change{}
	note := func(r customstatus.Revision, change customstatus.Change) {
		mu.Lock()
		defer mu.Unlock()
		made[r] = append(made[r], change)
	}
	stop := make(chan struct{})
	var readers, wg sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			var last customstatus.Revision
			for {
				select {
				case <-stop:
					return
				default:
				}
				page, err := c.List(customstatus.Query{})
				assert.NoError(t, err)
				assert.GreaterOrEqual(t, page.Position.Revision, last)
				last = page.Position.Revision
				var sum customstatus.Fingerprint
				for i, s := range page.Statuses {
					sum += s.Fingerprint()
					assert.LessOrEqual(t, s.Revision, last)
					if i > 0 {
						assert.Less(t, page.Statuses[i-1].Name, s.Name, "names are unique and in order")
					}
				}
				assert.Equal(t, sum, page.Position.Fingerprint)
			}
		})
	}
	watchers, stopWatching := context.WithCancel(ctx)
	for range 2 {
		readers.Go(func() {
			for commit, err := range c.Watch(watchers, customstatus.Position{}) {
				if err != nil {
					assert.ErrorIs(t, err, context.Canceled)
					return
				}
				assert.GreaterOrEqual(t, c.Revision(), commit.Revision, "who is told of a change can read it")
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(w)))
			for range rounds {
				name := fmt.Sprint("name", rng.IntN(names))
				s, err := c.GetByName(name)
				switch {
				case err != nil:
					if s, err := c.Create(ctx, customstatus.Fields{Name: name, StatusType: "busy"}); err == nil {
						note(s.Revision, customstatus.Change{Kind: customstatus.Created, After: s})
						got, err := c.Get(s.ID)
						if err == nil {
							assert.GreaterOrEqual(t, got.Revision, s.Revision, "a writer sees what it wrote")
						}
					} else {
						assert.ErrorIs(t, err, customstatus.ErrNameInUse)
					}
				case rng.IntN(3) == 0:
					if r, err := c.Delete(ctx, s.ID, &customstatus.WriteOptions{IfRevision: s.Revision}); err == nil {
						note(r, customstatus.Change{Kind: customstatus.Deleted, Before: s})
					}
				default:
					to := fmt.Sprint("name", rng.IntN(names))
					u, err := c.Update(ctx, s.ID, customstatus.Fields{Name: to, StatusType: "away"}, &customstatus.WriteOptions{IfRevision: s.Revision})
					if err == nil {
						note(u.Revision, customstatus.Change{Kind: customstatus.Updated, Before: s, After: u})
					}
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	stopWatching()
	readers.Wait()

	// The feed has exactly what the writers were told, and leads to what the
	// catalog shows.
	replayed := map[string]customstatus.CustomUserStatus{}
	for commit, err := range c.Watch(ctx, customstatus.Position{}) {
		require.NoError(t, err)
		for _, change := range commit.Changes {
			require.Equal(t, change.Before, replayed[change.ID()])
			require.Contains(t, made[commit.Revision], change)
			delete(replayed, change.ID())
			if change.Kind != customstatus.Deleted {
				replayed[change.ID()] = change.After
			}
		}
		if commit.Revision == c.Revision() {
			break
		}
	}
	now := list(t, c)
	require.Len(t, replayed, len(now))
	for _, s := range now {
		require.Equal(t, replayed[s.ID], s)
	}
}
