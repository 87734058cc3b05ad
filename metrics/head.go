package metrics

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/customstatus/customstatus"
)

// head asks a shared store for its revision. Scrapes at the same time share a question,
// and a store that never answers costs one goroutine, however many scrapes there are.
type head struct {
	ask     func(context.Context) (customstatus.Revision, error)
	timeout time.Duration

	mu       sync.Mutex
	question *question // nil if none is open
}

type question struct {
	done     chan struct{}
	revision customstatus.Revision // once done is closed, as err
	err      error
}

// get returns the revision, or false if the store gives no answer in time.
func (h *head) get() (customstatus.Revision, bool) {
	h.mu.Lock()
	q := h.question
	if q == nil {
		q = &question{done: make(chan struct{})}
		h.question = q
		go h.answer(q)
	}
	h.mu.Unlock()
	timer := time.NewTimer(h.timeout)
	defer timer.Stop()
	select {
	case <-q.done:
		return q.revision, q.err == nil
	case <-timer.C:
		return 0, false
	}
}

func (h *head) answer(q *question) {
	defer close(q.done)
	defer func() {
		if p := recover(); p != nil {
			q.err = fmt.Errorf("metrics: StoreRevision panicked: %v", p)
		}
		h.mu.Lock()
		h.question = nil
		h.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(context.Background(), h.timeout)
	defer cancel()
	q.revision, q.err = h.ask(ctx)
}
