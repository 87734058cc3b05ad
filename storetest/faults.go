package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/customstatus/customstatus"
)

const (
	saysFault = "A commit is the caller's fault if it has no changes, two changes of one id, a change of another kind, " +
		"or an update to another id. The error is then none of the sentinels."
	saysOrder = "When several errors apply, a call returns the first of these: [ErrClosed], the error of ctx, " +
		"an error for changes that no commit may have, [ErrTooLarge], [ErrConflict]."
	saysUnknown = "After ErrOutcomeUnknown, the whole commit was made or nothing of the commit. The store decides which " +
		"before the next Load or Commit returns, and the decision is final."
)

// faultCases returns the cases with calls that can't succeed.
func faultCases() []testCase {
	const doneCtx = "If ctx is done before a call, the call returns the error of ctx."
	return []testCase{
		{name: "load-done-ctx", says: doneCtx, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			for _, ctx := range doneContexts() {
				if _, err := t.tryLoad(ctx, s); !errors.Is(err, ctx.Err()) {
					t.Errorf("Load(ctx) = %v, want %v", err, ctx.Err())
				}
			}
			t.holds(s, "after a Load with a done ctx")
		}},
		{name: "revision-done-ctx", says: doneCtx, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			for _, ctx := range doneContexts() {
				if _, err := t.tryRevision(ctx, s); !errors.Is(err, ctx.Err()) {
					t.Errorf("Revision(ctx) = %v, want %v", err, ctx.Err())
				}
			}
			t.at(s, "after a Revision with a done ctx")
		}},
		{name: "commit-done-ctx", says: "If ctx is done before the commit begins, Commit returns the error of ctx.", run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"))
			for _, ctx := range doneContexts() {
				for _, c := range []customstatus.Change{create("b", "y"), t.write("a", r, "y"), t.remove("a", r)} {
					if _, err := t.try(ctx, s, c); !errors.Is(err, ctx.Err()) {
						t.Errorf("Commit(ctx, …) = %v, want %v", err, ctx.Err())
					}
					t.holds(s, "after a commit with a done ctx")
				}
			}
		}},
		{name: "fault-empty", says: saysFault, run: func(t *tester) {
			s := t.start()
			t.faulty(s, "it has no changes")
			r := t.commit(s, create("a", "x"))
			t.faulty(s, "it has no changes")
			t.commit(s, t.remove("a", r))
			t.faulty(s, "it has no changes")
			t.at(s, "after commits without changes")
		}},
		{name: "fault-id-twice", says: saysFault, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			for _, changes := range [][]customstatus.Change{
				{create("c", "z"), create("c", "w")},
				{create("c", "z"), create("c", "z")},
				{t.write("a", r, "z"), t.write("a", r, "w")},
				{t.write("a", r, "x"), t.remove("a", r)},
				{t.remove("a", r), create("a", "z")},
				{t.remove("a", r), t.remove("a", r)},
				{t.remove("a", r), create("c", "x"), create("d", "z"), create("c", "w")},
			} {
				t.faulty(s, "two changes have the same id", changes...)
			}
		}},
		{name: "fault-kind", says: saysFault, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			for _, kind := range []customstatus.ChangeKind{0, customstatus.Deleted + 1, 255} {
				for _, c := range []customstatus.Change{create("c", "z"), t.write("a", r, "z"), t.remove("a", r)} {
					c.Kind = kind
					if c.After.ID == "" {
						c.After = c.Before
					}
					t.faulty(s, fmt.Sprintf("a change has kind %d", kind), c)
					t.faulty(s, fmt.Sprintf("a change has kind %d", kind), create("d", "w"), c)
				}
			}
		}},
		{name: "fault-two-ids", says: saysFault, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			for _, id := range []string{"b", "c", ""} {
				c := t.write("a", r, "z")
				c.After.ID = id
				t.faulty(s, "an update is from one id to another", c)
			}
		}},
		{name: "order-ctx", says: saysOrder, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			ctx := doneContexts()[0]
			for _, c := range faultyCommits(t) {
				if _, err := t.try(ctx, s, c.changes...); !errors.Is(err, context.Canceled) {
					t.Errorf("Commit(%s) with a cancelled ctx = %v, want %v: %s, too", describeChanges(c.changes), err, context.Canceled, c.why)
				}
			}
			t.holds(s, "after commits with a cancelled ctx")
		}},
		{name: "order-fault", says: saysOrder, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			conflict := create("a", "z")
			other := t.write("b", r, "w")
			other.After.ID = "d"
			for _, fault := range []faultyCommit{
				{"two changes have the same id", []customstatus.Change{create("c", "z"), create("c", "w")}},
				{"a change has kind 9", []customstatus.Change{{Kind: 9, Before: status("c", "z"), After: status("c", "z")}}},
				{"an update is from one id to another", []customstatus.Change{other}},
			} {
				why := fault.why + ", and there is a conflict"
				t.faulty(s, why, append([]customstatus.Change{conflict}, fault.changes...)...)
				t.faulty(s, why, append(slices.Clone(fault.changes), conflict)...)
			}
		}},
		{name: "order-closed", says: saysOrder, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			t.close(s)
			for _, ctx := range []context.Context{t.ctx, doneContexts()[0], doneContexts()[1]} {
				for _, c := range faultyCommits(t) {
					if _, err := t.try(ctx, s, c.changes...); !errors.Is(err, customstatus.ErrClosed) {
						t.Errorf("Commit(%s) after Close = %v, want ErrClosed: %s, too", describeChanges(c.changes), err, c.why)
					}
				}
				if _, err := t.tryLoad(ctx, s); !errors.Is(err, customstatus.ErrClosed) {
					t.Errorf("Load after Close = %v, want ErrClosed", err)
				}
				if _, err := t.tryRevision(ctx, s); !errors.Is(err, customstatus.ErrClosed) {
					t.Errorf("Revision after Close = %v, want ErrClosed", err)
				}
			}
		}},
		{name: "outcome-unknown", says: saysUnknown, run: func(t *tester) {
			s := t.start()
			var unknown []string
			for n := range 24 {
				// The ctx is done during the commit, if the store asks.
				ctx := &lateContext{Context: t.ctx, after: int32(1 + n%6), done: make(chan struct{})}
				changes := []customstatus.Change{create(fmt.Sprint("a", n), fmt.Sprint("x", n)), create(fmt.Sprint("b", n), fmt.Sprint("y", n))}
				revision, err := t.try(ctx, s, slices.Clone(changes)...)
				switch {
				case err == nil:
					t.made(changes, revision)
				case errors.Is(err, customstatus.ErrOutcomeUnknown):
					t.settles(s, changes, n%2 == 0)
					unknown = append(unknown, changes[0].ID(), changes[1].ID())
				}
				t.holds(s, "after a commit whose ctx was done in the middle")
			}
			t.commit(s, create("certain", "certain"))
			t.final(t.reopen(s), unknown)
		}},
	}
}

// faulty makes a commit that is the caller's fault, and checks that the store
// refuses it and writes nothing.
func (t *tester) faulty(s *handle, why string, changes ...customstatus.Change) {
	t.Helper()
	_, err := t.try(t.ctx, s, slices.Clone(changes)...)
	switch {
	case err == nil:
		t.Errorf("Commit(%s) = nil, want an error: %s", describeChanges(changes), why)
	case isSentinel(err):
		t.Errorf("Commit(%s) = %v, want an error that is none of the sentinels: %s", describeChanges(changes), err, why)
	}
	t.holds(s, "after a commit that no store accepts")
}

// isSentinel reports whether an error is one of the sentinels, or that of a
// context.
func isSentinel(err error) bool {
	return slices.ContainsFunc([]error{
		customstatus.ErrClosed, customstatus.ErrConflict, customstatus.ErrTooLarge, customstatus.ErrOutcomeUnknown,
		customstatus.ErrCompacted, customstatus.ErrDamaged, customstatus.ErrLocked, customstatus.ErrNotExclusive,
		customstatus.ErrNeedsReopen, customstatus.ErrRequired, customstatus.ErrInvalid, customstatus.ErrNameInUse,
		customstatus.ErrIDInUse, customstatus.ErrNotFound, customstatus.ErrFull, context.Canceled, context.DeadlineExceeded,
	}, func(sentinel error) bool { return errors.Is(err, sentinel) })
}

// faultyCommit is a commit with a fault.
type faultyCommit struct {
	why     string // what is wrong
	changes []customstatus.Change
}

// faultyCommits returns a commit with each kind of fault, and one without.
func faultyCommits(t *tester) []faultyCommit {
	return []faultyCommit{
		{"nothing else is wrong", []customstatus.Change{create("c", "z")}},
		{"it has no changes", nil},
		{"two changes have the same id", []customstatus.Change{create("c", "z"), create("c", "w")}},
		{"a change has kind 0", []customstatus.Change{{After: status("c", "z")}}},
		{"there is a conflict", []customstatus.Change{create("a", "y")}},
		{"the name is taken", []customstatus.Change{create("c", "x")}},
		{"there is no such status", []customstatus.Change{t.remove("none", 1)}},
	}
}

// settles finds out whether creates with an unknown outcome were made: from
// Load, or first from another commit.
func (t *tester) settles(s *handle, changes []customstatus.Change, loadFirst bool) {
	t.Helper()
	if !loadFirst {
		// The commit conflicts if and only if the creates were made.
		again := []customstatus.Change{create(changes[0].ID()+" again", changes[0].After.Name)}
		revision, err := t.try(t.ctx, s, slices.Clone(again)...)
		switch {
		case err == nil:
			t.made(again, revision) // so the creates were not made
			return
		case !errors.Is(err, customstatus.ErrConflict):
			t.Fatalf("Commit(%s) after an unknown outcome = %v, want nil or ErrConflict", describeChanges(again), err)
		}
	}
	all := t.load(s)
	there := 0
	for _, c := range changes {
		if slices.ContainsFunc(all.Statuses, func(s customstatus.CustomUserStatus) bool { return s.ID == c.ID() }) {
			there++
		}
	}
	switch {
	case there == len(changes):
		t.made(changes, all.Revision)
	case there > 0:
		t.Fatalf("Load after Commit(%s) with an unknown outcome has %d of its %d statuses", describeChanges(changes), there, len(changes))
	case !loadFirst:
		t.Fatalf("A commit of a name was refused, but its owner, whose commit had an unknown outcome, is not there")
	}
}

// final checks after reopening that the decisions about unknown outcomes have
// not changed. Other cases check what else a store loses at reopening.
func (t *tester) final(s *handle, unknown []string) {
	t.Helper()
	there := make(map[string]bool)
	for _, got := range t.load(s).Statuses {
		there[got.ID] = true
	}
	loses := false // a status with a known outcome
	for id := range t.statuses {
		loses = loses || !there[id] && !slices.Contains(unknown, id)
	}
	for _, id := range unknown {
		switch _, before := t.statuses[id]; {
		case there[id] && !before:
			t.Errorf("Status %+q, whose outcome was unknown, is there after reopening, and was not before", id)
		case before && !there[id] && !loses:
			t.Errorf("Status %+q, whose outcome was unknown, is missing after reopening, and was there before", id)
		}
	}
}

// lateContext is done after a number of calls of Done and Err.
type lateContext struct {
	context.Context
	after int32
	asked atomic.Int32
	done  chan struct{}
}

func (c *lateContext) ask() bool {
	n := c.asked.Add(1)
	if n == c.after {
		close(c.done)
	}
	return n >= c.after
}

func (c *lateContext) Done() <-chan struct{} {
	c.ask()
	return c.done
}

func (c *lateContext) Err() error {
	if c.ask() {
		return context.Canceled
	}
	return nil
}

func (c *lateContext) Deadline() (time.Time, bool) { return time.Time{}, false }
