package storetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/customstatus/customstatus"
)

func watchCases() []testCase {
	const (
		yields = "Watch yields every commit after a revision, of this store and of all other writers: each one once, whole, " +
			"and in order of revisions."
		waits  = "Then Watch waits for new commits."
		before = "After.Revision is the commit's revision. Of Before, only the ID and the Revision count."
		slow   = "A slow watcher holds up neither commits nor other watchers."
		reach  = "If Load or Revision returns r > after, Watch eventually yields a commit at or beyond r."
		ends   = "Watch ends with exactly one error: the error of ctx when ctx is done, [ErrClosed] when the store is closed, " +
			"[ErrCompacted] when the store no longer keeps the commits after the revision or has never reached the revision, or an error of its own."
		several = "Several goroutines may call Watch, and iterate one sequence, at once."
		memory  = "The caller owns the slices that it passes and receives,"
	)
	return []testCase{
		{name: "watch-past", says: yields, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			t.commit(s, create("c", "z"))
			t.commit(s, t.remove("b", r), t.write("a", r, "y"))
			t.yields(s, 0)
		}},
		{name: "watch-to-come", says: yields + " " + waits, run: func(t *tester) {
			s := t.start()
			f := t.follow(s.Watch(t.ctx, 0))
			for i := range 10 {
				t.commit(s, t.put("a", fmt.Sprint("name ", i)), create(fmt.Sprint("b", i), fmt.Sprint("b", i)))
				t.next(f, i)
			}
		}},
		{name: "watch-resumes", says: yields, run: func(t *tester) {
			s := t.start()
			random := newRandom(5)
			for range 60 {
				t.commitRandom(s, random)
			}
			t.yields(s, 0)
			for _, c := range t.log {
				t.yields(s, c.Revision)
			}
		}},
		{name: "watch-changes", says: before, run: func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"), create("b", "y"))
			second := t.commit(s, t.write("a", first, "z"))
			third := t.commit(s, t.write("a", second, "w"), t.remove("b", first))
			t.commit(s, t.remove("a", third), create("b", "y"))
			t.commit(s, create("a", "x"))
			t.yields(s, 0)
			t.yields(s, second)
		}},
		{name: "watch-order", says: "The changes of a commit are in the order in which they were made.", run: func(t *tester) {
			s := t.start()
			// Sorted neither by id nor by name nor by kind.
			r := t.commit(s, create("c", "x"), create("a", "z"), create("b", "y"), create("e", "v"))
			t.commit(s, t.write("e", r, "w"), t.remove("b", r), create("d", "y"), t.remove("a", r), t.write("c", r, "z"), create("a0", "x"))
			changes := make([]customstatus.Change, customstatus.MinCommitChanges)
			for i, k := range rand.New(rand.NewPCG(6, 7)).Perm(len(changes)) {
				changes[i] = create(fmt.Sprint("id ", k), fmt.Sprint("name ", (k+16)%len(changes)))
			}
			t.commit(s, changes...)
			t.yields(s, 0)
			t.yields(s, r)
		}},
		{name: "watch-values", says: "A store keeps every string to the byte", run: func(t *tester) {
			s := t.start()
			var changes []customstatus.Change
			for i, name := range awkwardNames() {
				c := create(fmt.Sprint("id ", i), name)
				c.After.UpdatedAt = awkwardTimes()[i%len(awkwardTimes())]
				changes = append(changes, c)
			}
			for i, id := range awkwardIDs() {
				c := create(id, fmt.Sprint("name ", i))
				c.After.Metadata = awkwardMetadata()[i%len(awkwardMetadata())]
				if i%2 == 0 {
					c.After.StatusType = ""
				}
				changes = append(changes, c)
			}
			t.commitAll(s, changes...)
			for i, c := range changes {
				changes[i] = t.removeNow(c.After.ID)
			}
			t.commitAll(s, changes...)
			t.yields(s, 0)
		}},
		{name: "watch-large", says: yields, run: func(t *tester) {
			s := t.start()
			changes := make([]customstatus.Change, largeCommit)
			for i := range changes {
				changes[i] = create(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
			}
			t.commitAll(s, changes...)
			t.yields(s, 0)
		}},
		{name: "watch-made-only", says: yields, run: func(t *tester) {
			s := t.start()
			f := t.follow(s.Watch(t.ctx, 0))
			r := t.commit(s, create("a", "x"))
			t.conflicts(s, "the name belongs to another status", create("c", "z"), create("b", "x"))
			t.faulty(s, "it has no changes")
			if _, err := t.try(doneContexts()[0], s, create("d", "z")); err == nil {
				t.Fatalf("Commit with a done ctx = nil, want an error")
			}
			t.commit(s, t.remove("a", r))
			t.next(f, 0)
			t.next(f, 1)
			t.yields(s, 0)
		}},
		{name: "watch-begins", says: "Watch begins with such a commit at the revision after, as soon as it follows the store; more may come at any time.", run: func(t *tester) {
			s := t.start()
			t.begins(s, 0)
			first := t.commit(s, create("a", "x"))
			t.commit(s, create("b", "y"))
			t.begins(s, 0)
			t.begins(s, first)
			t.begins(s, t.revision)
		}},
		{name: "watch-empty-commits", says: "A [Commit] with no changes says that every commit up to its revision has been yielded.", run: func(t *tester) {
			s := t.start()
			f := t.follow(s.Watch(t.ctx, 0))
			for i := range 20 {
				t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
				t.next(f, i)
			}
			t.yields(s, 0)
			t.yields(s, t.log[9].Revision)
		}},
		{name: "watch-reaches", says: reach, run: func(t *tester) {
			s := t.start()
			for i := range 5 {
				t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
				revision, err := t.tryRevision(t.ctx, s)
				if err != nil {
					t.Fatalf("Revision: %v", err)
				}
				f := t.follow(s.Watch(t.ctx, 0))
				t.reaches(f, max(revision, t.load(s).Revision))
				close(f.left)
			}
		}},
		{name: "watch-fingerprint", says: "Fingerprint is the sum of all statuses' fingerprints after the commit, if FingerprintKnown is set.", run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"), create("b", "y"))
			t.commit(s, t.put("a", "z"), t.removeNow("b"))
			t.commit(s, t.removeNow("a"))
			t.yields(s, 0)
			t.yields(s, t.log[0].Revision)
		}},
		{name: "watch-at-once", says: yields, run: func(t *tester) {
			s := t.start()
			watchesBesideCommits(t, s, s, s.Watch(t.ctx, 0))
		}},
		{name: "watch-others", says: yields, run: func(t *tester) {
			a := t.start()
			b := t.another()
			r := t.commit(a, create("a", "x"))
			f := t.follow(a.Watch(t.ctx, 0))
			t.next(f, 0)
			r = t.commit(b, t.write("a", r, "y"))
			t.next(f, 1)
			t.commit(a, t.remove("a", r))
			t.next(f, 2)
			t.yields(b, 0)
		}},
		{name: "watch-others-at-once", says: yields, run: func(t *tester) {
			a := t.start()
			b := t.another()
			watchesBesideCommits(t, a, b, a.Watch(t.ctx, 0), b.Watch(t.ctx, 0))
		}},
		{name: "watch-several", says: several, run: func(t *tester) {
			s := t.start()
			for i := range 5 {
				t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
			}
			seq := s.Watch(t.ctx, 0)
			followers := []*follower{t.follow(seq), t.follow(seq), t.follow(s.Watch(t.ctx, 0)), t.follow(seq)}
			for i := range 10 {
				if i >= 5 {
					t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
				}
				for _, f := range followers {
					t.next(f, i)
				}
			}
		}},
		{name: "watch-break", says: several, run: func(t *tester) {
			s := t.start()
			for i := range 3 {
				t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
			}
			seq := s.Watch(t.ctx, 0)
			for range 2 {
				t.next(t.followSome(seq, 1), 0)
			}
			t.yields(s, 0)
			t.commit(s, create("after", "the loop"))
			t.yields(s, 0)
			t.close(s)
		}},
		{name: "watch-slow", says: slow, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			stopped, brisk := t.follow(s.Watch(t.ctx, 0)), t.follow(s.Watch(t.ctx, 0))
			t.enters(stopped)
			t.next(brisk, 0)
			for i := range 60 {
				r := result{changes: []customstatus.Change{create(fmt.Sprint(i), fmt.Sprint(i))}}
				r.revision, r.err = t.try(t.ctx, s, r.changes...)
				if r.err != nil {
					t.Fatalf("Commit beside a slow watcher: %v", r.err)
				}
				t.made(r.changes, r.revision)
				t.next(brisk, i+1)
			}
			t.yields(s, 0)
			for i := range t.log {
				t.next(stopped, i)
			}
		}},
		{name: "watch-slow-reads", says: "Load and Revision do not wait for a watcher.", run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			t.enters(t.follow(s.Watch(t.ctx, 0)))
			t.holds(s, "beside a slow watcher")
			t.at(s, "beside a slow watcher")
		}},
		{name: "watch-calls", says: "A watcher may call the other methods of the store.", run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			const calls = 5
			var (
				caught  []customstatus.Commit
				results []result
				failure string
			)
			t.together(1, func(int) {
				for c, err := range s.Watch(t.ctx, 0) {
					if err != nil {
						failure = fmt.Sprintf("Watch: %v", err)
						return
					}
					if len(c.Changes) == 0 {
						continue
					}
					if caught = append(caught, c); len(caught) > calls {
						return
					}
					if _, err := s.Load(t.ctx); err != nil {
						failure = fmt.Sprintf("Load in a watcher's loop: %v", err)
						return
					}
					if _, err := s.Revision(t.ctx); err != nil {
						failure = fmt.Sprintf("Revision in a watcher's loop: %v", err)
						return
					}
					id := fmt.Sprint(len(caught))
					r := result{changes: []customstatus.Change{create(id, id)}}
					if r.revision, r.err = s.Commit(t.ctx, r.changes); r.err != nil {
						failure = fmt.Sprintf("Commit in a watcher's loop: %v", r.err)
						return
					}
					results = append(results, r)
				}
				failure = "Watch ended without an error"
			})
			if failure != "" {
				t.Fatalf("%s", failure)
			}
			t.settle(results)
			for i, c := range caught {
				t.matches(c, t.log[i], i)
			}
			t.holds(s, "after commits in a watcher's loop")
		}},
		{name: "watch-memory", says: memory, run: func(t *tester) {
			s := t.start()
			given := []customstatus.Change{create("a", "x"), create("b", "y")}
			made := slices.Clone(given)
			r, err := t.try(t.ctx, s, given...)
			if err != nil {
				t.Fatalf("Commit: %v", err)
			}
			t.made(made, r)
			overwrite := func(changes []customstatus.Change) {
				for i := range changes {
					changes[i] = customstatus.Change{Kind: customstatus.Deleted, Before: status("overwritten", "overwritten")}
				}
			}
			overwrite(given)
			t.commit(s, t.write("a", r, "z"))
			f := t.follow(s.Watch(t.ctx, 0))
			for i := range t.log {
				t.next(f, i)
			}
			for _, c := range f.caught {
				overwrite(c.Changes)
			}
			t.yields(s, 0)
			t.holds(s, "after the caller overwrote the changes of a feed")
		}},
		{name: "watch-done-ctx", says: ends, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			for _, ctx := range doneContexts() {
				f := t.follow(s.Watch(ctx, t.revision))
				t.ended(f, ctx.Err(), "a ctx that was done before")
			}
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			f := t.follow(s.Watch(ctx, 0))
			other := t.follow(s.Watch(t.ctx, 0))
			t.next(f, 0)
			cancel()
			t.ended(f, context.Canceled, "a cancellation of ctx during the wait")
			t.commit(s, create("b", "y"))
			t.next(other, 0)
			t.next(other, 1)
		}},
		{name: "watch-closed", says: ends, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			behind := s.Watch(t.ctx, 0)
			f, g := t.follow(s.Watch(t.ctx, 0)), t.follow(s.Watch(t.ctx, t.revision))
			t.next(f, 0)
			t.close(s)
			t.ended(f, customstatus.ErrClosed, "a Close while it waited")
			t.ended(g, customstatus.ErrClosed, "a Close while it waited")
			t.ended(t.follow(behind), customstatus.ErrClosed, "a Close between Watch and the loop")
			t.ended(t.follow(s.Watch(t.ctx, 0)), customstatus.ErrClosed, "a Close before Watch")
		}},
		{name: "watch-close-in-loop", says: "Close does not wait for watchers.", run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			t.commit(s, create("b", "y"))
			f := t.follow(s.Watch(t.ctx, 0))
			t.enters(f)
			t.close(s)
			t.ended(f, customstatus.ErrClosed, "a Close while the loop's body ran")
		}},
		{name: "watch-unreached", says: ends, run: func(t *tester) {
			s := t.start()
			unreached := func() {
				t.Helper()
				// Far away, because a shared store may leave the next numbers
				// out.
				for _, after := range []customstatus.Revision{t.revision + 1000, math.MaxUint64} {
					t.ended(t.follow(s.Watch(t.ctx, after)), customstatus.ErrCompacted,
						fmt.Sprintf("Watch after %d when the last commit is %d", after, t.revision))
				}
			}
			unreached()
			fromNew := t.follow(s.Watch(t.ctx, 0))
			t.commit(s, create("a", "x"))
			t.next(fromNew, 0)
			unreached()
			fromLast := t.follow(s.Watch(t.ctx, t.revision))
			t.commit(s, create("b", "y"))
			t.next(fromLast, 1)
			t.next(fromNew, 1)
		}},
		{name: "watch-unreached-others", says: ends, run: func(t *tester) {
			a := t.start()
			b := t.another()
			for i := range 10 {
				// A revision that one store has reached, the other has reached
				// too.
				last := t.commit([]*handle{a, b}[i%2], create(fmt.Sprint(i), fmt.Sprint(i)))
				f, g := t.follow(a.Watch(t.ctx, last)), t.follow(b.Watch(t.ctx, last))
				t.commit(b, create(fmt.Sprint("next ", i), fmt.Sprint("next ", i)))
				t.next(f, len(t.log)-1)
				t.next(g, len(t.log)-1)
			}
		}},
		{name: "watch-compacted", says: ends, run: func(t *tester) {
			s := t.start()
			compacter, ok := s.store.(Compacter)
			if !ok {
				t.Skipf("Not checked: the store is no storetest.Compacter.")
			}
			live := t.follow(s.Watch(t.ctx, 0))
			for i := range 5 {
				t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
				t.next(live, i)
			}
			forgotten := t.log[2].Revision
			if err := compacter.Compact(t.ctx, forgotten); err != nil {
				t.Fatalf("Compact: %v", err)
			}
			t.holds(s, "after Compact")
			for _, after := range []customstatus.Revision{0, t.log[0].Revision, t.log[1].Revision} {
				t.ended(t.follow(s.Watch(t.ctx, after)), customstatus.ErrCompacted,
					fmt.Sprintf("Watch after %d when commits up to %d are forgotten", after, forgotten))
			}
			t.yields(s, forgotten)
			t.yields(s, t.log[3].Revision)
			t.commit(s, create("new", "new"))
			t.next(live, 5)
			t.yields(s, forgotten)
		}},
	}
}
