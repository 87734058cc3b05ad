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

// tester runs one case on one place and has a model of the place's contents.
// Only the goroutine of the case may call its methods, because they may end the
// case. Other goroutines leave their results for the case to read.
type tester struct {
	reporter
	says     string          // the sentence of the contract, for the first failure
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

// Errorf reports a failure. The first failure includes the sentence of the
// contract.
func (t *tester) Errorf(format string, args ...any) {
	t.Helper()
	t.reporter.Errorf("%s%s", fmt.Sprintf(format, args...), t.sentence())
}

// Fatalf is Errorf, then ends the case.
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

// clock runs out when a step makes no progress for too long. It counts ticks
// instead of time, so that a pause of the whole machine does not fail the
// store.
type clock struct {
	*time.Ticker
	left int
}

const clockTicks = 10

func newClock(patience time.Duration) *clock {
	return &clock{time.NewTicker(patience / clockTicks), clockTicks}
}

// out is called at every tick. It reports whether the time is up.
func (c *clock) out() bool {
	c.left--
	return c.left < 0
}

// patienceFor returns the patience for a step with the given number of changes.
func (t *tester) patienceFor(changes int) time.Duration {
	return t.patience * time.Duration(1000+changes) / 1000
}

// step runs f, which calls the store once, and ends the case if f does not
// return. It calls name only for a failure.
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

// try calls Commit and returns the results.
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

// tryClose calls Close and returns the error.
func (t *tester) tryClose(s *handle) (err error) {
	t.Helper()
	t.step(0, func() { err = s.Close() }, func() string { return "Close" })
	return err
}

// tryOpen calls the Opener and returns the store or the error. The store is
// closed at the end of the case.
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
		t.Fatalf("%s stops the test; it must return its error.", what)
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
	s, err := t.tryOpen("The first call of the Opener")
	if err != nil {
		t.Fatalf("The Opener can't open its new place: %v", err)
	}
	return s
}

// another opens a second shared store on the place, or skips the case.
func (t *tester) another() *handle {
	t.Helper()
	s, err := t.tryOpen("The Opener, called for a second store,")
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

// openAgain opens the place after its store was closed, or skips the case.
func (t *tester) openAgain() *handle {
	t.Helper()
	s, err := t.tryOpen("The Opener, called after Close,")
	if errors.Is(err, ErrVolatile) {
		t.Skipf("Not checked: %v", err)
	}
	if err != nil {
		t.Fatalf("The Opener can't open the place again after Close: %v", err)
	}
	return s
}

// close closes a store, which the end of the case then leaves alone.
func (t *tester) close(s *handle) {
	t.Helper()
	t.open = slices.DeleteFunc(t.open, func(o *handle) bool { return o == s })
	if err := t.tryClose(s); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// closeAll closes all open stores at the end of the case. It waits only briefly
// for a store that has stopped answering, so that the store can notice that ctx
// is done.
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

// together calls f(0) to f(n-1), each in its own goroutine, and waits for all.
func (t *tester) together(n int, f func(i int)) {
	t.Helper()
	t.wait(t.begin(n, f))
}

// begin is together without the wait: done is closed when all have returned.
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

// closedAfter returns a channel that is closed when the group is done.
func closedAfter(all *sync.WaitGroup) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	return done
}

// wait waits for the goroutines of begin as long as methods return.
func (t *tester) wait(done <-chan struct{}) {
	t.Helper()
	t.await(done, true)
}

// waitOnce waits for the first step of each goroutine. Fast goroutines go on
// meanwhile, so returning methods don't prolong the wait.
func (t *tester) waitOnce(point *sync.WaitGroup) {
	t.Helper()
	t.await(closedAfter(point), false)
}

// await waits for done. With renew, each returning method restarts the clock.
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
				t.hangs("Concurrent methods do not return: %s.", t.calls.running())
			}
		}
	}
}

// commit makes a commit that the store must accept.
func (t *tester) commit(s *handle, changes ...customstatus.Change) customstatus.Revision {
	t.Helper()
	revision, err := t.try(t.ctx, s, slices.Clone(changes)...)
	if err != nil {
		t.Fatalf("Commit(%s) = %v, want success", describeChanges(changes), err)
	}
	t.made(changes, revision)
	return revision
}

// commitAll makes one commit of many changes. If that is too large for the
// store, it makes several commits of the size that the error names.
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
// the error is not a valid *TooLargeError for the changes.
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

// conflicts makes a commit that the store must refuse with ErrConflict, and
// checks that nothing was written.
func (t *tester) conflicts(s *handle, why string, changes ...customstatus.Change) {
	t.Helper()
	_, err := t.try(t.ctx, s, slices.Clone(changes)...)
	if !errors.Is(err, customstatus.ErrConflict) {
		t.Errorf("Commit(%s) = %v, want ErrConflict: %s", describeChanges(changes), err, why)
	}
	t.holds(s, "after a refused commit")
}

// load calls Load, which must succeed.
func (t *tester) load(s *handle) customstatus.Contents {
	t.Helper()
	all, err := t.tryLoad(t.ctx, s)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return all
}

// holds checks that a store has the contents of the model.
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

// at checks that Revision returns the revision of the model.
func (t *tester) at(s *handle, when string) {
	t.Helper()
	revision, err := t.tryRevision(t.ctx, s)
	if err != nil || revision != t.revision {
		t.Errorf("Revision %s = %d, %v, want %d, nil", when, revision, err, t.revision)
	}
}

// result has the results of one of many commits.
type result struct {
	changes  []customstatus.Change
	revision customstatus.Revision
	err      error
}

// settle adds concurrent commits to the model, in order of revisions.
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

// doubt adds creates with an unknown outcome to the model.
func (t *tester) doubt(changes []customstatus.Change) {
	for _, c := range changes {
		t.unknown[c.ID()] = true
	}
}
