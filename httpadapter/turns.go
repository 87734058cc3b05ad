package httpadapter

import (
	"context"
	"sync"

	"github.com/customstatus/customstatus"
)

// turns lets each UserID have one search at a time. A search looks at every status,
// and a caller that asks for ever new ones at once would take all processors.
type turns struct {
	mu      sync.Mutex
	callers map[string]*callerTurn // of those who search or wait
}

type callerTurn struct {
	taken   chan struct{}
	callers int // requests that search or wait
}

// take waits for the caller's turn and returns the function that ends the turn. The
// error is that of ctx.
func (t *turns) take(ctx context.Context, caller string) (end func(), err error) {
	t.mu.Lock()
	turn := t.callers[caller]
	if turn == nil {
		turn = &callerTurn{taken: make(chan struct{}, 1)}
		if t.callers == nil {
			t.callers = make(map[string]*callerTurn)
		}
		t.callers[caller] = turn
	}
	turn.callers++
	t.mu.Unlock()

	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if turn.callers--; turn.callers == 0 {
			delete(t.callers, caller)
		}
	}
	select {
	case turn.taken <- struct{}{}:
		return func() { <-turn.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// isSearch reports whether a catalog looks at every status for the query.
func isSearch(q customstatus.Query) bool {
	if q.ID != "" || q.Name != "" {
		return false
	}
	byName := len(q.Sort) == 0 || q.Sort[0].Field == customstatus.SortByName
	return !byName || q.NameContains != "" || q.Filter != nil
}
