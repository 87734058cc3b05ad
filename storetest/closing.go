package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/customstatus/customstatus"
)

func closeCases() []testCase {
	const (
		waits  = "Close waits for running methods"
		again  = "A second Close returns nil."
		closed = "Every other method called after it returns [ErrClosed]."
	)
	return []testCase{
		{name: "close-twice", says: again, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			t.close(s)
			for range 2 {
				if err := t.tryClose(s); err != nil {
					t.Errorf("Close of a closed store = %v, want nil", err)
				}
			}
		}},
		{name: "close-then-load", says: closed, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			t.close(s)
			if _, err := t.tryLoad(t.ctx, s); !errors.Is(err, customstatus.ErrClosed) {
				t.Errorf("Load after Close = %v, want ErrClosed", err)
			}
		}},
		{name: "close-then-revision", says: closed, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			t.close(s)
			if _, err := t.tryRevision(t.ctx, s); !errors.Is(err, customstatus.ErrClosed) {
				t.Errorf("Revision after Close = %v, want ErrClosed", err)
			}
		}},
		{name: "close-then-commit", says: closed, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"))
			t.close(s)
			for _, c := range []customstatus.Change{create("b", "y"), t.write("a", r, "y"), t.remove("a", r)} {
				if _, err := t.try(t.ctx, s, c); !errors.Is(err, customstatus.ErrClosed) {
					t.Errorf("Commit(%s) after Close = %v, want ErrClosed", describeChanges([]customstatus.Change{c}), err)
				}
			}
		}},
		{name: "close-waits-for-commit", says: waits, run: func(t *tester) {
			t.closeWaits("Commit", func(ctx context.Context, s *handle) error {
				_, err := s.Commit(ctx, []customstatus.Change{create("b", "y")})
				return err
			})
		}},
		{name: "close-waits-for-load", says: waits, run: func(t *tester) {
			t.closeWaits("Load", func(ctx context.Context, s *handle) error {
				_, err := s.Load(ctx)
				return err
			})
		}},
		{name: "close-waits-for-revision", says: waits, run: func(t *tester) {
			t.closeWaits("Revision", func(ctx context.Context, s *handle) error {
				_, err := s.Revision(ctx)
				return err
			})
		}},
	}
}

// closeWaits closes a store while a method is running. The method blocks where
// it asks whether ctx is done, until Close was called.
func (t *tester) closeWaits(name string, method func(context.Context, *handle) error) {
	t.Helper()
	s := t.start()
	t.commit(s, create("a", "x"))
	ctx := &slowContext{Context: t.ctx, asked: make(chan struct{}), answered: make(chan struct{})}
	var err error
	running := t.begin(1, func(int) { err = method(ctx, s) })
	t.within(ctx.asked, running)

	var closeErr error
	closing := t.begin(1, func(int) { closeErr = s.Close() })
	t.open = slices.DeleteFunc(t.open, func(o *handle) bool { return o == s })
	early := t.within(closing, running)
	close(ctx.answered)
	t.wait(running)
	t.wait(closing)
	if closeErr != nil {
		t.Errorf("Close beside %s = %v, want nil", name, closeErr)
	}
	switch {
	case early && err == nil:
		t.Errorf("Close returned while %s was running, which then succeeded", name)
	case err != nil && !errors.Is(err, customstatus.ErrClosed):
		t.Errorf("%s beside Close = %v, want nil or ErrClosed", name, err)
	}
}

// within reports whether a channel is closed within a short time and before the
// other channel. A correct store passes whatever the answer, so a slow machine
// can't fail the test.
func (t *tester) within(closed, other <-chan struct{}) bool {
	select {
	case <-closed:
		return true
	case <-other:
	case <-time.After(t.patience / 50):
	}
	return false
}

// slowContext blocks all callers of Err and Done until answered is closed.
type slowContext struct {
	context.Context
	once     sync.Once
	asked    chan struct{} // closed at the first question
	answered chan struct{} // closed when the answers come
}

func (c *slowContext) wait() {
	c.once.Do(func() { close(c.asked) })
	<-c.answered
}

func (c *slowContext) Err() error {
	c.wait()
	return c.Context.Err()
}

func (c *slowContext) Done() <-chan struct{} {
	c.wait()
	return c.Context.Done()
}

// closeWhileBusy closes a store during commits and loads, and adds the
// successful commits to the model. It calls closed right after Close, when
// methods still run if Close did not wait for them.
func (t *tester) closeWhileBusy(s *handle, closed func()) {
	t.Helper()
	var results [4][]result
	var failures [len(results)]error
	var busy sync.WaitGroup
	busy.Add(len(results))
	over := make(chan struct{})
	done := t.begin(len(results), func(i int) {
		var failure error
		for n := 0; failure == nil; n++ {
			isClosed := false
			select {
			case <-over:
				isClosed = true
			default:
			}
			id := fmt.Sprintf("%d-%d", i, n)
			r := result{changes: []customstatus.Change{create(id, "name "+id), create("also "+id, "also name "+id)}}
			r.revision, r.err = s.Commit(t.ctx, r.changes)
			results[i] = append(results[i], r)
			failure = r.err
			if i%2 == 0 && failure == nil {
				_, failure = s.Load(t.ctx)
			}
			if n == 0 {
				busy.Done()
			}
			if isClosed && failure == nil {
				failure = errNotClosed
			}
		}
		failures[i] = failure
	})
	t.waitOnce(&busy)
	t.close(s)
	close(over)
	closed()
	t.wait(done)
	var made []result
	for i, of := range results {
		if err := failures[i]; !errors.Is(err, customstatus.ErrClosed) && !errors.Is(err, customstatus.ErrOutcomeUnknown) {
			t.Errorf("A method beside Close = %v, want success or ErrClosed", err)
		}
		for _, r := range of {
			switch {
			case r.err == nil:
				made = append(made, r)
			case errors.Is(r.err, customstatus.ErrOutcomeUnknown):
				t.doubt(r.changes)
			}
		}
	}
	t.settle(made)
}

// errNotClosed stands for the success of a method after Close has returned.
var errNotClosed = errors.New("nil after Close")

func reopenCases() []testCase {
	const (
		lasts     = "When it returns nil, the changes are durable: they survive whatever the store promises to survive."
		revisions = "No revision is used twice, neither after a refused commit nor after reopening."
	)
	return []testCase{
		{name: "reopen-new", says: "A new store is at revision 0.", run: func(t *tester) {
			s := t.start()
			s = t.reopen(s)
			t.holds(s, "after reopening a new place")
			t.commit(s, create("a", "x"))
			t.holds(s, "after the first commit")
		}},
		{name: "reopen-statuses", says: lasts, run: func(t *tester) {
			s := t.start()
			changes := make([]customstatus.Change, 0, 200)
			for i, id := range awkwardIDs() {
				c := create(id, fmt.Sprint("name ", i))
				c.After.Metadata = awkwardMetadata()[i%len(awkwardMetadata())]
				changes = append(changes, c)
			}
			for i, name := range awkwardNames() {
				c := create(fmt.Sprint("id ", i), name)
				c.After.UpdatedAt = awkwardTimes()[i%len(awkwardTimes())]
				changes = append(changes, c)
			}
			t.commitAll(s, changes...)
			s = t.reopen(s)
			t.holds(s, "after reopening")
			t.commit(s, create("one", "more"))
			s = t.reopen(s)
			t.holds(s, "after reopening again")
		}},
		{name: "reopen-changes", says: lasts, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.commit(s, t.write("a", r, "renamed"), t.remove("b", r), create("d", "y"))
			t.conflicts(s, "the status is there", create("e", "w"), create("a", "v"))
			s = t.reopen(s)
			t.holds(s, "after renames, deletions, a refused commit and reopening")
			t.conflicts(s, "the status has been written since", t.write("a", r, "late"))
			t.commit(s, t.write("c", r, "written after reopening"))
			t.holds(s, "after a commit that followed reopening")
		}},
		{name: "reopen-names", says: lasts, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.commit(s, t.write("a", r, "renamed"), t.remove("b", r))
			s = t.reopen(s)
			t.conflicts(s, "the name belongs to another status", create("d", "renamed"))
			t.conflicts(s, "the name belongs to another status", create("d", "z"))
			t.commit(s, create("d", "x"), create("e", "y"))
			t.holds(s, "after creates with names that were free at reopening")
		}},
		{name: "reopen-revision", says: revisions, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			last := t.commit(s, t.remove("b", r)) // no status has this revision
			for range 2 {
				s = t.reopen(s)
				t.at(s, "after reopening")
				revision := t.commit(s, create("b", "y"))
				if revision <= last {
					t.Fatalf("The first commit after reopening returned revision %d, the last one before returned %d; want a greater one", revision, last)
				}
				last = t.commit(s, t.remove("b", revision))
			}
			last = t.commit(s, t.remove("a", r))
			s = t.reopen(s)
			t.holds(s, "after reopening without any status")
			if revision := t.commit(s, create("a", "x")); revision <= last {
				t.Fatalf("The first commit after reopening without any status returned revision %d, the last one before returned %d; want a greater one", revision, last)
			}
		}},
		{name: "reopen-random", says: lasts, run: func(t *tester) {
			s := t.start()
			random := newRandom(4)
			for range 10 {
				for range 10 {
					t.commitRandom(s, random)
				}
				s = t.reopen(s)
				t.holds(s, "after random commits and reopening")
			}
		}},
	}
}
