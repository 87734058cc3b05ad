package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/customstatus/customstatus"
)

// exclusiveCases returns the cases for an exclusive store, the simplest first.
func exclusiveCases() []testCase {
	return slices.Concat(basicCases(false), commonCases(), exclusiveOnlyCases(), atOnceCases())
}

// sharedCases returns the cases for a shared store, the simplest first.
func sharedCases() []testCase {
	return slices.Concat(basicCases(true), commonCases(), watchCases(), atOnceCases(), sharedOnlyCases())
}

// commonCases returns the cases in which one goroutine calls one store.
func commonCases() []testCase {
	return slices.Concat(revisionCases(), loadCases(), memoryCases(), commitCases(), conflictCases(),
		valueCases(), faultCases(), closeCases(), reopenCases(), limitCases())
}

// basicCases returns the cases that all others rely on.
func basicCases(shared bool) []testCase {
	basics := []testCase{
		{name: "revision-new", says: "A new store is at revision 0.", run: func(t *tester) {
			s := t.start()
			t.holds(s, "from a new place (is it fresh and empty?)")
			t.at(s, "of a new place")
		}},
		{name: "commit-all", says: "Commit makes all changes or none, and returns the revision at which they were made. … " +
			"[Created]: After is added. … [Updated]: After replaces Before and has the same ID. … [Deleted]: Before is removed.", run: func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"))
			t.holds(s, "after a commit that creates a status")
			t.commit(s, t.write("a", first, "y"))
			t.holds(s, "after a commit that renames it")
			first = t.commit(s, create("b", "x"), create("c", "z"))
			t.commit(s, t.write("b", first, "renamed"), t.removeNow("a"), create("d", "w"), t.write("c", first, "z"))
			t.holds(s, "after a commit that renames, deletes, creates and rewrites")
		}},
		{name: "revision-now", says: "Revision returns the store's revision at an instant between call and return.", run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"))
			t.at(s, "after a commit")
			t.conflicts(s, "the status is there", create("a", "y"))
			t.at(s, "after a refused commit")
			t.commit(s, t.remove("a", r))
			t.at(s, "after a delete")
			t.at(s, "for the second time")
		}},
		{name: "close", says: "Close waits for running methods and releases all resources.", run: func(t *tester) {
			t.close(t.start())
		}},
		{name: "contents-shared", says: "A store is exclusive or shared. … Shared says that the store is a [SharedStore], which others may write too.", run: func(t *tester) {
			s := t.start()
			for range 2 {
				if all := t.load(s); all.Shared != shared {
					t.Errorf("Load returns Contents with Shared %t, want %t", all.Shared, shared)
				}
				t.commit(s, t.put("a", "x"))
			}
		}},
	}
	for i := range basics {
		basics[i].basic = true
	}
	return basics
}

func revisionCases() []testCase {
	return []testCase{
		{name: "revision-grows", says: "Each commit gets a revision greater than all earlier ones.", run: func(t *tester) {
			s := t.start()
			last := customstatus.Revision(0)
			for i, c := range []func() customstatus.Change{
				func() customstatus.Change { return create("a", "x") },
				func() customstatus.Change { return t.write("a", last, "y") },
				func() customstatus.Change { return t.write("a", last, "y") }, // writes what is there
				func() customstatus.Change { return t.remove("a", last) },
				func() customstatus.Change { return create("a", "x") },
			} {
				revision := t.commit(s, c())
				if revision <= last {
					t.Errorf("Commit %d returned revision %d after %d; want a greater one", i+1, revision, last)
				}
				last = revision
				t.holds(s, fmt.Sprintf("after commit %d", i+1))
			}
		}},
		{name: "revision-after-refusal", says: "No revision is used twice, neither after a refused commit", run: func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"))
			given := map[customstatus.Revision]bool{first: true}
			for i := range 4 {
				t.conflicts(s, "the status is there", create(fmt.Sprint("b", i), fmt.Sprint("y", i)), create("a", "z"))
				revision := t.commit(s, create(fmt.Sprint("c", i), fmt.Sprint("c", i)))
				if given[revision] {
					t.Fatalf("Commit returned revision %d a second time, after a refused commit", revision)
				}
				given[revision] = true
			}
		}},
	}
}

func loadCases() []testCase {
	return []testCase{
		{name: "load-all", says: "Load returns everything in the store at one instant between call and return. … Statuses are all statuses, in any order. … Revision is the store's revision.", run: func(t *tester) {
			s := t.start()
			revision := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.holds(s, "after creating three statuses")
			t.commit(s, create("d", "w"))
			t.commit(s, t.write("b", revision, "renamed"))
			t.commit(s, t.remove("a", revision))
			t.holds(s, "after creating, renaming and deleting one more")
			t.holds(s, "for the second time")
		}},
		{name: "load-revisions", says: "Each status has the Revision of the commit that wrote the status last.", run: func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			second := t.commit(s, t.write("a", first, "x")) // writes what is there
			t.holds(s, "after rewriting a status as it was")
			t.commit(s, t.write("b", first, "new"), create("d", "w"))
			t.commit(s, t.write("a", second, "newer"))
			t.holds(s, "after rewriting some of the statuses")
		}},
		{name: "load-fingerprint", says: "Fingerprint is the sum of the statuses' fingerprints, if FingerprintKnown is set.", run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"), create("b", "y"))
			if !t.load(s).FingerprintKnown {
				t.Skipf("Not for this store: it does not keep the fingerprint.")
			}
			t.holds(s, "after creates")
			changed := t.put("a", "z")
			changed.After.Metadata = "new"
			t.commit(s, changed, t.removeNow("b"), create("c", "x"))
			t.holds(s, "after an update, a delete and a create")
			t.conflicts(s, "the status is there", create("d", "w"), create("a", "y"))
			t.commit(s, t.removeNow("a"), t.removeNow("c"))
			t.holds(s, "after everything was deleted")
		}},
	}
}

func memoryCases() []testCase {
	const says = "The caller owns the slices that it passes and receives, and may change them after the call has returned; " +
		"a store keeps none of them"
	overwritten := customstatus.Change{Kind: customstatus.Deleted, Before: status("overwritten", "overwritten"), After: status("overwritten", "overwritten")}
	return []testCase{
		{name: "memory-given", says: says, run: func(t *tester) {
			s := t.start()
			changes := []customstatus.Change{create("a", "x"), create("b", "y")}
			made := slices.Clone(changes)
			revision, err := t.try(t.ctx, s, changes...)
			if err != nil {
				t.Fatalf("Commit: %v", err)
			}
			t.made(made, revision)
			for i := range changes {
				changes[i] = overwritten
			}
			t.holds(s, "after the caller overwrote the slice of a finished commit")
			t.conflicts(s, "the name is still taken", create("c", "x"))
		}},
		{name: "memory-received", says: says, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"), create("b", "y"))
			all := t.load(s)
			for i := range all.Statuses {
				all.Statuses[i] = status("overwritten", "overwritten")
			}
			t.holds(s, "after the caller overwrote the loaded statuses")
			t.conflicts(s, "the name is still taken", create("c", "x"))
		}},
		{name: "memory-unchanged", says: "a store keeps none of them and does not change them.", run: func(t *tester) {
			s := t.start()
			unchanged := func(ctx context.Context, changes ...customstatus.Change) (customstatus.Revision, error) {
				t.Helper()
				given := slices.Clone(changes)
				revision, err := t.try(ctx, s, given...)
				for i, c := range changes {
					if given[i] != c {
						t.Errorf("Commit(%s) = %v changed element %d of the caller's slice to %+v, was %+v",
							describeChanges(changes), err, i, given[i], c)
					}
				}
				return revision, err
			}
			// In no particular order, and with a revision that must be ignored.
			changes := []customstatus.Change{create("c", "x"), create("a", "z"), create("b", "y")}
			for i := range changes {
				changes[i].After.Revision = 99
			}
			r, err := unchanged(t.ctx, changes...)
			if err != nil {
				t.Fatalf("Commit: %v", err)
			}
			t.made(changes, r)
			if _, err := unchanged(t.ctx, t.write("b", r, "w"), t.remove("c", r), t.write("a", r, "x"), create("d", "z")); err != nil {
				t.Fatalf("Commit: %v", err)
			}
			// Other cases check that these commits are refused.
			_, _ = unchanged(t.ctx, create("f", "f"), create("e", "e"), create("d", "taken"))
			_, _ = unchanged(t.ctx, create("f", "f"), create("e", "e"), create("f", "f again"))
			_, _ = unchanged(doneContexts()[0], create("f", "f"), create("e", "e"))
		}},
	}
}

// doneContexts returns a cancelled context and a context with a past deadline.
func doneContexts() []context.Context {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	cancel()
	return []context.Context{cancelled, late}
}

// exclusiveOnlyCases returns the cases for exclusive stores only.
func exclusiveOnlyCases() []testCase {
	return []testCase{
		{name: "revision-counts", says: "The n-th commit of an exclusive store is revision n;", run: func(t *tester) {
			s := t.start()
			n := customstatus.Revision(0)
			next := func(changes ...customstatus.Change) {
				t.Helper()
				n++
				if got := t.commit(s, changes...); got != n {
					t.Fatalf("Commit number %d returned revision %d, want the same number", n, got)
				}
			}
			next(create("a", "x"), create("b", "y"))
			next(t.write("a", 1, "z"))
			t.conflicts(s, "it comes too late", t.write("a", 1, "late"))
			next(t.remove("a", 2), t.write("b", 1, "z"))
			if _, err := t.try(t.ctx, s); err == nil {
				t.Fatalf("Commit without changes = nil, want an error")
			}
			next(t.remove("b", 3))
			next(create("c", "x"))
		}},
		{name: "exclusive-open", says: "Only one process has an exclusive store open: opening its place a second time, " +
			"in this process or another, returns [ErrLocked] until the first store is closed.", run: func(t *tester) {
			s := t.start()
			for range 2 {
				for i := range 2 {
					second, err := t.tryOpen("The Opener, called while the store is open,")
					switch {
					case errors.Is(err, ErrVolatile):
						t.Skipf("Not checked: %v", err)
					case err == nil:
						t.close(second)
						t.Fatalf("The Opener, called while the store is open, = nil, want ErrLocked")
					case !errors.Is(err, customstatus.ErrLocked):
						t.Fatalf("The Opener, called while the store is open, = %v, want ErrLocked", err)
					}
					t.commit(s, t.put("a", fmt.Sprint("name ", i)))
				}
				t.holds(s, "after the place could not be opened a second time")
				s = t.reopen(s)
				t.holds(s, "after Close and opening again")
			}
		}},
	}
}
