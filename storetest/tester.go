package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customstatus/customstatus"
)

// tester runs one case on one place, and knows what the place has to hold. Its
// methods are for the goroutine of the case, as they may end it. What others find
// they leave where the case finds it when they are done.
type tester struct {
	reporter
	says     string          // the contract; told with the first failure
	ctx      context.Context // ends with the case
	over     chan struct{}   // closed at the end of the case
	patience time.Duration
	hung     *bool // set when the store stops answering
	opener   Opener
	open     []*handle // to be closed at the end
	model

	progress atomic.Uint64 // grows with every method that returns
	calls    calls
}

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

// hangs is Fatalf for a store that has stopped answering.
func (t *tester) hangs(format string, args ...any) {
	t.Helper()
	*t.hung = true
	t.Fatalf(format, args...)
}

func (t *tester) sentence() string {
	if t.says == "" {
		return ""
	}
	says := t.says
	t.says = ""
	return "\n\tThe contract says: " + says
}

// clock runs out when a step has made no progress for too long. It counts ticks
// rather than time, so that a machine that stood still is no fault of the store.
type clock struct {
	*time.Ticker
	left int
}

const clockTicks = 10

func newClock(patience time.Duration) *clock {
	return &clock{time.NewTicker(patience / clockTicks), clockTicks}
}

// out is called at every tick, and reports whether there was one too many.
func (c *clock) out() bool {
	c.left--
	return c.left < 0
}

// patienceFor is for a step with so many changes.
func (t *tester) patienceFor(changes int) time.Duration {
	return t.patience * time.Duration(1000+changes) / 1000
}

// step runs f, which calls the store once, and ends the case if it does not
// return. The name of the call is made only if it is needed.
func (t *tester) step(changes int, f func(), name func() string) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	clock := newClock(t.patienceFor(changes))
	defer clock.Stop()
	for {
		select {
		case <-done:
			return
		case <-clock.C:
			if clock.out() {
				t.hangs("%s does not return.", name())
			}
		}
	}
}

// try makes a commit and returns what came of it.
func (t *tester) try(ctx context.Context, s *handle, changes ...customstatus.Change) (revision customstatus.Revision, err error) {
	t.Helper()
	t.step(len(changes), func() { revision, err = s.Commit(ctx, changes) },
		func() string { return "Commit(" + describeChanges(changes) + ")" })
	return revision, err
}

func (t *tester) tryLoad(ctx context.Context, s *handle) (all customstatus.Contents, err error) {
	t.Helper()
	t.step(len(t.statuses), func() { all, err = s.Load(ctx) }, func() string { return "Load" })
	return all, err
}

func (t *tester) tryRevision(ctx context.Context, s *handle) (revision customstatus.Revision, err error) {
	t.Helper()
	t.step(0, func() { revision, err = s.Revision(ctx) }, func() string { return "Revision" })
	return revision, err
}

// tryClose closes a store and returns what came of it.
func (t *tester) tryClose(s *handle) (err error) {
	t.Helper()
	t.step(0, func() { err = s.Close() }, func() string { return "Close" })
	return err
}

// tryOpen calls the Opener and returns what came of it. The store is closed at
// the end.
func (t *tester) tryOpen(what string) (h *handle, err error) {
	t.Helper()
	var s customstatus.Store
	returned := false
	t.step(len(t.statuses), func() {
		s, err = t.opener()
		returned = true
	}, func() string { return what })
	switch {
	case !returned:
		t.Fatalf("%s: the Opener stops the test; it has to return its error.", what)
	case err != nil:
		return nil, err
	}
	h = &handle{store: s, t: t}
	t.open = append(t.open, h)
	return h, nil
}

// start opens the place for the first time.
func (t *tester) start() *handle {
	t.Helper()
	s, err := t.tryOpen("To open the new place")
	if err != nil {
		t.Fatalf("The Opener can't open its new place: %v", err)
	}
	return s
}

// another opens a shared store beside the one that is open, or skips the case.
func (t *tester) another() *handle {
	t.Helper()
	s, err := t.tryOpen("To open a second store beside the first")
	if errors.Is(err, ErrVolatile) {
		t.Skipf("Not checked: a second store can't be opened beside the first: %v", err)
	}
	if err != nil {
		t.Fatalf("The Opener can't open a second store beside the first: %v", err)
	}
	return s
}

// reopen closes a store and opens its place again, or skips the case.
func (t *tester) reopen(h *handle) *handle {
	t.Helper()
	t.close(h)
	return t.openAgain()
}

// openAgain opens the place when its store has been closed, or skips the case.
func (t *tester) openAgain() *handle {
	t.Helper()
	s, err := t.tryOpen("To open the place again after Close")
	if errors.Is(err, ErrVolatile) {
		t.Skipf("Not checked: %v", err)
	}
	if err != nil {
		t.Fatalf("The Opener can't open the place again after Close: %v", err)
	}
	return s
}

// close closes a store, once and for all.
func (t *tester) close(s *handle) {
	t.Helper()
	t.open = slices.DeleteFunc(t.open, func(o *handle) bool { return o == s })
	if err := t.tryClose(s); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// closeAll closes what is open at the end. It waits for a store that has stopped
// answering only for a moment, in which the store may see that ctx is done.
func (t *tester) closeAll() {
	t.Helper()
	var failures []error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, s := range t.open {
			if err := s.Close(); err != nil {
				failures = append(failures, err)
			}
		}
	}()
	patience := t.patience
	if *t.hung {
		patience /= clockTicks
	}
	clock := newClock(patience)
	defer clock.Stop()
	for {
		select {
		case <-done:
			for _, err := range failures {
				if !*t.hung {
					t.Errorf("Close at the end: %v", err)
				}
			}
			return
		case <-clock.C:
			switch {
			case !clock.out():
			case *t.hung:
				return
			default:
				*t.hung = true
				t.Errorf("Close at the end does not return.")
				return
			}
		}
	}
}

func (t *tester) reportPanics() {
	t.Helper()
	for _, p := range t.calls.allPanics() {
		t.Errorf("%s", p)
	}
}

// together calls f(0) to f(n-1) at once, each in its own goroutine, and waits
// for them.
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
	return closedAfter(&all)
}

// closedAfter returns a channel that is closed when all are done.
func closedAfter(all *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	return done
}

// wait waits for what begin has begun, as long as methods return.
func (t *tester) wait(done <-chan struct{}) {
	t.Helper()
	t.await(done, true)
}

// waitOnce is wait for a first step of each goroutine, of which those that are
// quick go on.
func (t *tester) waitOnce(point *sync.WaitGroup) {
	t.Helper()
	t.await(closedAfter(point), false)
}

// await waits, and has new patience whenever a method has returned if renew says
// so.
func (t *tester) await(done <-chan struct{}, renew bool) {
	t.Helper()
	clock := newClock(t.patience)
	defer clock.Stop()
	last := t.progress.Load()
	for {
		select {
		case <-done:
			return
		case <-clock.C:
			if now := t.progress.Load(); renew && now != last {
				last, clock.left = now, clockTicks
			}
			if clock.out() {
				t.hangs("Methods that run at the same time do not return: %s.", t.calls.running())
			}
		}
	}
}

// commit makes a commit that the store has to accept.
func (t *tester) commit(s *handle, changes ...customstatus.Change) customstatus.Revision {
	t.Helper()
	revision, err := t.try(t.ctx, s, slices.Clone(changes)...)
	if err != nil {
		t.Fatalf("Commit(%s) = %v, want success", describeChanges(changes), err)
	}
	t.made(changes, revision)
	return revision
}

// commitAll makes one commit of many changes or, if that is too large for the
// store, several of the size that the store says.
func (t *tester) commitAll(s *handle, changes ...customstatus.Change) {
	t.Helper()
	revision, err := t.try(t.ctx, s, slices.Clone(changes)...)
	if err == nil {
		t.made(changes, revision)
		return
	}
	most := t.tooLarge(err, changes)
	t.holds(s, "after a commit that was too large")
	for part := range slices.Chunk(changes, most) {
		t.commit(s, part...)
	}
}

// tooLarge returns the number of changes that would pass. It ends the case if
// the error is no good reason to refuse the changes.
func (t *tester) tooLarge(err error, changes []customstatus.Change) int {
	t.Helper()
	var large *customstatus.TooLargeError
	switch {
	case !errors.As(err, &large) || !errors.Is(err, customstatus.ErrTooLarge):
		t.Fatalf("Commit(%s) = %v, want success or a *TooLargeError", describeChanges(changes), err)
	case large.MaxChanges < customstatus.MinCommitChanges:
		t.Fatalf("Commit(%s) = %v with MaxChanges %d, want at least %d", describeChanges(changes), err, large.MaxChanges, customstatus.MinCommitChanges)
	case large.MaxChanges >= len(changes):
		t.Fatalf("Commit(%s) = %v with MaxChanges %d, but the commit has %d changes", describeChanges(changes), err, large.MaxChanges, len(changes))
	}
	return large.MaxChanges
}

// conflicts makes a commit that has to be refused with ErrConflict, and checks
// that it leaves nothing behind.
func (t *tester) conflicts(s *handle, why string, changes ...customstatus.Change) {
	t.Helper()
	_, err := t.try(t.ctx, s, slices.Clone(changes)...)
	if !errors.Is(err, customstatus.ErrConflict) {
		t.Errorf("Commit(%s) = %v, want ErrConflict: %s", describeChanges(changes), err, why)
	}
	t.holds(s, "after a refused commit")
}

// load loads a store that has to be in order.
func (t *tester) load(s *handle) customstatus.Contents {
	t.Helper()
	all, err := t.tryLoad(t.ctx, s)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return all
}

// holds checks that a store holds what it has to hold.
func (t *tester) holds(s *handle, when string) {
	t.Helper()
	found := t.differences(t.load(s))
	const most = 5
	if len(found) > most {
		found = append(found[:most], "and more")
	}
	if len(found) > 0 {
		t.Errorf("Load %s:\n\t%s", when, strings.Join(found, "\n\t"))
	}
}

// at checks what Revision returns.
func (t *tester) at(s *handle, when string) {
	t.Helper()
	revision, err := t.tryRevision(t.ctx, s)
	if err != nil || revision != t.revision {
		t.Errorf("Revision %s = %d, %v, want %d, nil", when, revision, err, t.revision)
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

// doubt takes in creates of which it is not known whether they were made.
func (t *tester) doubt(changes []customstatus.Change) {
	for _, c := range changes {
		t.unknown[c.ID()] = true
	}
}
