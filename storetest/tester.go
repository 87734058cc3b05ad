package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/customstatus/customstatus"
)

// tester runs one case on one place, and knows what the place has to hold.
type tester struct {
	reporter
	says     string          // the contract; told with the first failure
	ctx      context.Context // ends with the case, or when it takes too long
	over     chan struct{}   // closed at the end of the case
	patience time.Duration
	opener   Opener
	open     []*handle // to be closed at the end
	model
}

// handle is a store that was opened for a case, so that it can be told from
// others whatever its type.
type handle struct{ customstatus.Store }

// Errorf reports what is wrong, and the first time also the sentence that the
// case checks.
func (t *tester) Errorf(format string, args ...any) {
	t.Helper()
	t.reporter.Errorf("%s%s", fmt.Sprintf(format, args...), t.sentence())
}

// Fatalf is Errorf and ends the case.
func (t *tester) Fatalf(format string, args ...any) {
	t.Helper()
	t.reporter.Fatalf("%s%s", fmt.Sprintf(format, args...), t.sentence())
}

func (t *tester) sentence() string {
	if t.says == "" {
		return ""
	}
	says := t.says
	t.says = ""
	return "\n\tThe contract says: " + says
}

// start opens the place for the first time.
func (t *tester) start() *handle {
	t.Helper()
	s, err := t.opener()
	if err != nil {
		t.Fatalf("The Opener can't open its new place: %v", err)
	}
	return t.opened(s)
}

func (t *tester) opened(s customstatus.Store) *handle {
	h := &handle{s}
	t.open = append(t.open, h)
	return h
}

// exclusive starts a store that only one process writes, or skips the case.
func (t *tester) exclusive() *handle {
	t.Helper()
	s := t.start()
	if _, ok := s.Store.(customstatus.Watcher); ok {
		t.Skipf("Not for this store: it is a Watcher, which others write, too.")
	}
	return s
}

// shared starts a store that is a Watcher, or skips the case.
func (t *tester) shared() (*handle, customstatus.Watcher) {
	t.Helper()
	s := t.start()
	w, ok := s.Store.(customstatus.Watcher)
	if !ok {
		t.Skipf("Not for this store: it is no Watcher.")
	}
	return s, w
}

// another opens a store that is a Watcher beside the one that is open, or skips
// the case.
func (t *tester) another() (*handle, customstatus.Watcher) {
	t.Helper()
	s, err := t.opener()
	if errors.Is(err, ErrVolatile) || errors.Is(err, customstatus.ErrLocked) {
		t.Skipf("Not checked: a second store can't be opened beside the first: %v", err)
	}
	if err != nil {
		t.Fatalf("The Opener can't open a second store beside the first: %v", err)
	}
	h := t.opened(s)
	w, ok := s.(customstatus.Watcher)
	if !ok {
		t.Fatalf("The Opener's first store is a Watcher, its second is none.")
	}
	return h, w
}

// reopen closes a store and opens its place again, or skips the case.
func (t *tester) reopen(h *handle) *handle {
	t.Helper()
	t.close(h)
	s, err := t.opener()
	if errors.Is(err, ErrVolatile) {
		t.Skipf("Not checked: %v", err)
	}
	if err != nil {
		t.Fatalf("The Opener can't open the place again after Close: %v", err)
	}
	return t.opened(s)
}

// close closes a store, once and for all.
func (t *tester) close(s *handle) {
	t.Helper()
	t.open = slices.DeleteFunc(t.open, func(o *handle) bool { return o == s })
	if err := t.closing(s); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func (t *tester) closeAll() {
	t.Helper()
	for _, s := range t.open {
		if err := t.closing(s); err != nil {
			t.Errorf("Close at the end: %v", err)
		}
	}
}

func (t *tester) closing(s *handle) error {
	done := make(chan error, 1)
	go func() { done <- s.Close() }()
	select {
	case err := <-done:
		return err
	case <-time.After(t.patience):
		return errors.New("it does not return")
	}
}

// together calls f(0) to f(n-1) at once, each in its own goroutine, and waits
// for them. They must not use t, but leave what they find where t finds it
// when they are done.
func (t *tester) together(n int, f func(i int)) {
	t.Helper()
	t.wait(t.begin(n, f))
}

// begin is together without the wait.
func (t *tester) begin(n int, f func(i int)) (done <-chan struct{}) {
	var ready, all sync.WaitGroup
	ready.Add(n)
	for i := range n {
		all.Go(func() {
			ready.Done()
			ready.Wait()
			f(i)
		})
	}
	ended := make(chan struct{})
	go func() {
		all.Wait()
		close(ended)
	}()
	return ended
}

// waitFor waits until the goroutines that begin has begun have come to a point.
func (t *tester) waitFor(point *sync.WaitGroup) {
	t.Helper()
	reached := make(chan struct{})
	go func() {
		point.Wait()
		close(reached)
	}()
	t.wait(reached)
}

// wait waits for what begin has begun.
func (t *tester) wait(done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(t.patience):
		t.Fatalf("Methods that run at the same time do not return.")
	}
}

// commit makes a commit that the store has to accept.
func (t *tester) commit(s *handle, changes ...customstatus.Change) customstatus.Revision {
	t.Helper()
	revision, err := s.Commit(t.ctx, slices.Clone(changes))
	if err != nil {
		t.Fatalf("Commit(%s) = %v, want success", describeChanges(changes), err)
	}
	t.made(changes, revision)
	return revision
}

// conflicts makes a commit that has to be refused with ErrConflict, and checks
// that it leaves nothing behind.
func (t *tester) conflicts(s *handle, why string, changes ...customstatus.Change) {
	t.Helper()
	_, err := s.Commit(t.ctx, slices.Clone(changes))
	if !errors.Is(err, customstatus.ErrConflict) {
		t.Errorf("Commit(%s) = %v, want ErrConflict: %s", describeChanges(changes), err, why)
	}
	t.holds(s, "after a refused commit")
}

// load loads a store that has to be in order.
func (t *tester) load(s *handle) ([]customstatus.CustomUserStatus, customstatus.Revision) {
	t.Helper()
	all, revision, err := s.Load(t.ctx)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return all, revision
}

// holds checks that a store holds what it has to hold.
func (t *tester) holds(s *handle, when string) {
	t.Helper()
	all, revision := t.load(s)
	found := t.differences(all, revision)
	const most = 5
	if len(found) > most {
		found = append(found[:most], "and more")
	}
	if len(found) > 0 {
		t.Errorf("Load %s:\n\t%s", when, strings.Join(found, "\n\t"))
	}
}

// result is what came of one of many commits.
type result struct {
	changes  []customstatus.Change
	revision customstatus.Revision
	err      error
}

// settle takes in commits that were made at the same time, in the order of
// their revisions.
func (t *tester) settle(results []result) {
	t.Helper()
	slices.SortFunc(results, func(a, b result) int {
		if a.revision < b.revision {
			return -1
		}
		return 1
	})
	for i, r := range results {
		if i > 0 && r.revision == results[i-1].revision {
			t.Errorf("Two commits got the revision %d: %s and %s",
				r.revision, describeChanges(results[i-1].changes), describeChanges(r.changes))
		}
		t.made(r.changes, r.revision)
	}
}

// someTime is when statuses are written whose time does not matter.
var someTime = time.Date(2023, time.November, 4, 11, 51, 28, 353_000_000, time.UTC)

func status(id, name string) customstatus.CustomUserStatus {
	return customstatus.CustomUserStatus{ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: someTime}
}

// create is a change that brings in a status.
func create(id, name string) customstatus.Change {
	return customstatus.Change{Status: status(id, name)}
}

// write is a change that replaces a status.
func write(id string, replaces customstatus.Revision, name string) customstatus.Change {
	return customstatus.Change{Replaces: replaces, Status: status(id, name)}
}

// remove is a change that deletes a status.
func remove(id string, replaces customstatus.Revision) customstatus.Change {
	return customstatus.Change{Replaces: replaces, Deleted: true, Status: customstatus.CustomUserStatus{ID: id}}
}
