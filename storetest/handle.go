package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/customstatus/customstatus"
)

// handle wraps a store that a case has opened. Its methods call the store's,
// record that they run, and turn a panic into an error. Any goroutine may call
// them.
type handle struct {
	store customstatus.Store
	t     *tester
}

// errPanicked is returned by a method that has panicked.
var errPanicked = errors.New("the store panicked")

func (h *handle) Load(ctx context.Context) (all customstatus.Contents, err error) {
	defer h.enter("Load", &err)()
	return h.store.Load(ctx)
}

func (h *handle) Commit(ctx context.Context, changes []customstatus.Change) (revision customstatus.Revision, err error) {
	defer h.enter("Commit("+describeChanges(changes)+")", &err)()
	return h.store.Commit(ctx, changes)
}

func (h *handle) Revision(ctx context.Context) (revision customstatus.Revision, err error) {
	defer h.enter("Revision", &err)()
	return h.store.Revision(ctx)
}

func (h *handle) Close() (err error) {
	defer h.enter("Close", &err)()
	return h.store.Close()
}

// Watch calls the store's Watch. The store must be a shared one.
func (h *handle) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return h.store.(customstatus.SharedStore).Watch(ctx, after)
}

// enter records that a method begins. The caller defers the returned function.
func (h *handle) enter(what string, err *error) func() {
	calls := &h.t.calls
	id := calls.begin(what)
	return func() {
		calls.end(id)
		h.t.progress.Add(1)
		if r := recover(); r != nil {
			calls.panicked(fmt.Sprintf("%s panics: %v\n%s", what, r, debug.Stack()))
			*err = errPanicked
		}
	}
}

// calls records the running methods and the panics. Several goroutines may use
// it at once.
type calls struct {
	mu     sync.Mutex
	last   uint64
	names  map[uint64]string
	panics []string
}

func (c *calls) begin(name string) (id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = make(map[uint64]string)
	}
	c.last++
	c.names[c.last] = name
	return c.last
}

func (c *calls) end(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.names, id)
}

func (c *calls) panicked(p string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.panics = append(c.panics, p)
}

func (c *calls) allPanics() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.panics)
}

// running returns the names of the running methods, the oldest first.
func (c *calls) running() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, id := range slices.Sorted(maps.Keys(c.names)) {
		names = append(names, c.names[id])
	}
	const most = 4
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}
