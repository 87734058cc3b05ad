package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/customstatus/customstatus"
)

func watchCases() []testCase {
	const (
		yields = "Watch yields the commits after a revision, its own and everybody else's: each once, whole, " +
			"in the order of their revisions and none missing, waiting for those to come."
		order    = "The changes of a commit come in the order in which they were made."
		replaces = "In a change of the feed, Replaces is the revision that the status had before (0: there was none), " +
			"and Status.Revision is that of the commit. If Deleted is set, only Status.ID counts."
		slow = "A watcher that is slow holds up neither a commit nor another watcher, " +
			"and may call the other methods of the store."
		ends = "Watch ends with exactly one error: that of ctx when it is done, [ErrClosed] when the store is closed, " +
			"[ErrCompacted] when commits after the revision are no longer kept or the store has never reached it, or one of its own."
		several = "It may be called, and its sequence iterated, by several goroutines at once."
		memory  = "A store keeps nothing of what it is given and gives away nothing it keeps:"
	)
	return []testCase{
		{"watch-past", yields, func(t *tester) {
			s, w := t.shared()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			t.commit(s, create("c", "z"))
			t.commit(s, remove("b", r), write("a", r, "y"))
			t.yields(w, 0)
		}},
		{"watch-to-come", yields + " Every commit is yielded sooner or later.", func(t *tester) {
			s, w := t.shared()
			f := t.follow(w.Watch(t.ctx, 0))
			var last customstatus.Revision
			for i := range 10 {
				last = t.commit(s, write("a", last, fmt.Sprint("name ", i)), create(fmt.Sprint("b", i), fmt.Sprint("b", i)))
				t.next(f, i)
			}
		}},
		{"watch-resumes", yields, func(t *tester) {
			s, w := t.shared()
			random := newRandom(5)
			for range 60 {
				t.commitRandom(s, random)
			}
			t.yields(w, 0)
			for _, c := range t.log {
				t.yields(w, c.Revision)
			}
		}},
		{"watch-changes", replaces, func(t *tester) {
			s, w := t.shared()
			first := t.commit(s, create("a", "x"), create("b", "y"))
			second := t.commit(s, write("a", first, "z"))
			third := t.commit(s, write("a", second, "w"), remove("b", first))
			t.commit(s, remove("a", third), create("b", "y"))
			t.commit(s, create("a", "x"))
			t.yields(w, 0)
			t.yields(w, second)
		}},
		{"watch-order", order, func(t *tester) {
			s, w := t.shared()
			// Neither by id nor by name, nor by what is done.
			r := t.commit(s, create("c", "x"), create("a", "z"), create("b", "y"), create("e", "v"))
			t.commit(s, write("e", r, "w"), remove("b", r), create("d", "y"), remove("a", r), write("c", r, "z"), create("a0", "x"))
			changes := make([]customstatus.Change, 100)
			for i, k := range rand.New(rand.NewPCG(6, 7)).Perm(len(changes)) {
				changes[i] = create(fmt.Sprint("id ", k), fmt.Sprint("name ", (k+50)%len(changes)))
			}
			t.commit(s, changes...)
			t.yields(w, 0)
			t.yields(w, r)
		}},
		{"watch-values", "A store keeps every string to the byte", func(t *tester) {
			s, w := t.shared()
			var changes []customstatus.Change
			for i, name := range awkwardNames() {
				c := create(fmt.Sprint("id ", i), name)
				c.Status.UpdatedAt = awkwardTimes()[i%len(awkwardTimes())]
				changes = append(changes, c)
			}
			for i, id := range awkwardIDs() {
				c := create(id, fmt.Sprint("name ", i))
				if i%2 == 0 {
					c.Status.StatusType = ""
				}
				changes = append(changes, c)
			}
			r := t.commit(s, changes...)
			for i, c := range changes {
				changes[i] = remove(c.Status.ID, r)
			}
			t.commit(s, changes...)
			t.yields(w, 0)
		}},
		{"watch-large", yields, func(t *tester) {
			s, w := t.shared()
			changes := make([]customstatus.Change, 10_000)
			for i := range changes {
				changes[i] = create(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
			}
			t.commit(s, changes...)
			t.yields(w, 0)
		}},
		{"watch-made-only", yields, func(t *tester) {
			s, w := t.shared()
			f := t.follow(w.Watch(t.ctx, 0))
			r := t.commit(s, create("a", "x"))
			t.conflicts(s, "the name belongs to another status", create("c", "z"), create("b", "x"))
			if _, err := s.Commit(t.ctx, nil); err != nil {
				t.Fatalf("Commit without changes: %v", err)
			}
			if _, err := s.Commit(doneContexts()[0], []customstatus.Change{create("d", "z")}); err == nil {
				t.Fatalf("Commit with a done ctx = nil, want an error")
			}
			t.commit(s, remove("a", r))
			t.next(f, 0)
			t.next(f, 1)
			t.yields(w, 0)
		}},
		{"watch-empty-commits", "A [Commit] with no changes may come at any time; it says that every commit up to its revision has been yielded, and that the store has reached that revision.", func(t *tester) {
			s, w := t.shared()
			for i := range 20 {
				t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
				if _, err := s.Commit(t.ctx, nil); err != nil {
					t.Fatalf("Commit without changes: %v", err)
				}
			}
			t.yields(w, 0)
			t.yields(w, t.log[9].Revision)
		}},
		{"watch-reaches", "Sooner or later Watch yields a commit, perhaps with no changes, at or after each revision beyond the one it began after that Load and Commit return.", func(t *tester) {
			s, w := t.shared()
			for i := range 5 {
				t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
				empty, err := s.Commit(t.ctx, nil)
				if err != nil {
					t.Fatalf("Commit without changes: %v", err)
				}
				_, loaded, err := s.Load(t.ctx)
				if err != nil {
					t.Fatalf("Load: %v", err)
				}
				t.reaches(w, max(empty, loaded))
			}
		}},
		{"watch-at-once", yields, func(t *tester) {
			s, w := t.shared()
			watchesBesideCommits(t, s, s, w.Watch(t.ctx, 0))
		}},
		{"watch-others", yields, func(t *tester) {
			a, w := t.shared()
			b, v := t.another()
			r := t.commit(a, create("a", "x"))
			f := t.follow(w.Watch(t.ctx, 0))
			t.next(f, 0)
			r = t.commit(b, write("a", r, "y"))
			t.next(f, 1)
			t.commit(a, remove("a", r))
			t.next(f, 2)
			t.yields(v, 0)
		}},
		{"watch-others-at-once", yields, func(t *tester) {
			a, w := t.shared()
			b, v := t.another()
			watchesBesideCommits(t, a, b, w.Watch(t.ctx, 0), v.Watch(t.ctx, 0))
		}},
		{"watch-several", several, func(t *tester) {
			s, w := t.shared()
			for i := range 5 {
				t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
			}
			seq := w.Watch(t.ctx, 0)
			followers := []*follower{t.follow(seq), t.follow(seq), t.follow(w.Watch(t.ctx, 0)), t.follow(seq)}
			for i := range 10 {
				if i >= 5 {
					t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
				}
				for _, f := range followers {
					t.next(f, i)
				}
			}
		}},
		{"watch-break", several, func(t *tester) {
			s, w := t.shared()
			for i := range 3 {
				t.commit(s, create(fmt.Sprint(i), fmt.Sprint(i)))
			}
			seq := w.Watch(t.ctx, 0)
			for range 2 {
				broken := false
				for c, err := range seq {
					if err != nil {
						t.Fatalf("Watch: %v", err)
					}
					if len(c.Changes) > 0 {
						t.matches(c, t.log[0], 0)
						broken = true
						break
					}
				}
				if !broken {
					t.Fatalf("The sequence of Watch ended without a commit or an error")
				}
			}
			t.yields(w, 0)
			t.commit(s, create("after", "the loop"))
			t.yields(w, 0)
			t.close(s)
		}},
		{"watch-slow", slow, func(t *tester) {
			s, w := t.shared()
			t.commit(s, create("a", "x"))
			stopped, brisk := t.follow(w.Watch(t.ctx, 0)), t.follow(w.Watch(t.ctx, 0))
			t.enters(stopped)
			t.next(brisk, 0)
			for i := range 60 {
				r := result{changes: []customstatus.Change{create(fmt.Sprint(i), fmt.Sprint(i))}}
				t.together(1, func(int) { r.revision, r.err = s.Commit(t.ctx, r.changes) })
				if r.err != nil {
					t.Fatalf("Commit beside a watcher that is slow: %v", r.err)
				}
				t.made(r.changes, r.revision)
				t.next(brisk, i+1)
			}
			t.yields(w, 0)
			for i := range t.log {
				t.next(stopped, i)
			}
		}},
		{"watch-calls", slow, func(t *tester) {
			s, w := t.shared()
			t.commit(s, create("a", "x"))
			const calls = 5
			var (
				caught  []customstatus.Commit
				results []result
				failure string
			)
			t.together(1, func(int) {
				for c, err := range w.Watch(t.ctx, 0) {
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
					if _, _, err := s.Load(t.ctx); err != nil {
						failure = fmt.Sprintf("Load in the body of a loop over a feed: %v", err)
						return
					}
					id := fmt.Sprint(len(caught))
					r := result{changes: []customstatus.Change{create(id, id)}}
					if r.revision, r.err = s.Commit(t.ctx, r.changes); r.err != nil {
						failure = fmt.Sprintf("Commit in the body of a loop over a feed: %v", r.err)
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
			t.holds(s, "after commits in the body of a loop over a feed")
		}},
		{"watch-memory", memory, func(t *tester) {
			s, w := t.shared()
			given := []customstatus.Change{create("a", "x"), create("b", "y")}
			r, err := s.Commit(t.ctx, given)
			if err != nil {
				t.Fatalf("Commit: %v", err)
			}
			t.made([]customstatus.Change{create("a", "x"), create("b", "y")}, r)
			overwrite := func(changes []customstatus.Change) {
				for i := range changes {
					changes[i] = customstatus.Change{Replaces: 99, Deleted: true, Status: status("overwritten", "overwritten")}
				}
			}
			overwrite(given)
			t.commit(s, write("a", r, "z"))
			n := 0
			for c, err := range w.Watch(t.ctx, 0) {
				if err != nil {
					t.Fatalf("Watch: %v", err)
				}
				if len(c.Changes) > 0 {
					overwrite(c.Changes)
					if n++; n == len(t.log) {
						break
					}
				}
			}
			t.yields(w, 0)
			t.holds(s, "after the caller has overwritten the changes of a feed")
		}},
		{"watch-done-ctx", ends, func(t *tester) {
			s, w := t.shared()
			t.commit(s, create("a", "x"))
			for _, ctx := range doneContexts() {
				f := t.follow(w.Watch(ctx, t.revision))
				t.ended(f, ctx.Err(), "a ctx that was done before")
			}
			ctx, cancel := context.WithCancel(t.ctx)
			defer cancel()
			f := t.follow(w.Watch(ctx, 0))
			other := t.follow(w.Watch(t.ctx, 0))
			t.next(f, 0)
			cancel()
			t.ended(f, context.Canceled, "a ctx that was cancelled while it waited")
			t.commit(s, create("b", "y"))
			t.next(other, 0)
			t.next(other, 1)
		}},
		{"watch-closed", ends, func(t *tester) {
			s, w := t.shared()
			t.commit(s, create("a", "x"))
			behind := w.Watch(t.ctx, 0)
			f, g := t.follow(w.Watch(t.ctx, 0)), t.follow(w.Watch(t.ctx, t.revision))
			t.next(f, 0)
			t.close(s)
			t.ended(f, customstatus.ErrClosed, "a Close while it waited")
			t.ended(g, customstatus.ErrClosed, "a Close while it waited")
			t.ended(t.follow(behind), customstatus.ErrClosed, "a Close between Watch and the loop")
			t.ended(t.follow(w.Watch(t.ctx, 0)), customstatus.ErrClosed, "a Close before Watch")
		}},
		{"watch-close-in-loop", "Close does not wait for it.", func(t *tester) {
			s, w := t.shared()
			t.commit(s, create("a", "x"))
			t.commit(s, create("b", "y"))
			f := t.follow(w.Watch(t.ctx, 0))
			t.enters(f)
			t.close(s)
			t.ended(f, customstatus.ErrClosed, "a Close while the body of its loop ran")
		}},
		{"watch-unreached", ends, func(t *tester) {
			s, w := t.shared()
			unreached := func() {
				t.Helper()
				// Far off, for a shared store may leave the next numbers out.
				for _, after := range []customstatus.Revision{t.revision + 1000, math.MaxUint64} {
					t.ended(t.follow(w.Watch(t.ctx, after)), customstatus.ErrCompacted,
						fmt.Sprintf("Watch after %d when the last commit is %d", after, t.revision))
				}
			}
			unreached()
			fromNew := t.follow(w.Watch(t.ctx, 0))
			t.commit(s, create("a", "x"))
			t.next(fromNew, 0)
			unreached()
			fromLast := t.follow(w.Watch(t.ctx, t.revision))
			t.commit(s, create("b", "y"))
			t.next(fromLast, 1)
			t.next(fromNew, 1)
		}},
		{"watch-unreached-others", ends, func(t *tester) {
			a, w := t.shared()
			b, v := t.another()
			for i := range 10 {
				// What one store has reached, so has the other.
				last := t.commit([]*handle{a, b}[i%2], create(fmt.Sprint(i), fmt.Sprint(i)))
				f, g := t.follow(w.Watch(t.ctx, last)), t.follow(v.Watch(t.ctx, last))
				t.commit(b, create(fmt.Sprint("next ", i), fmt.Sprint("next ", i)))
				t.next(f, len(t.log)-1)
				t.next(g, len(t.log)-1)
			}
		}},
		{"watch-compacted", ends, func(t *tester) {
			s, w := t.shared()
			compacter, ok := s.Store.(Compacter)
			if !ok {
				t.Skipf("Not checked: the store is no storetest.Compacter.")
			}
			live := t.follow(w.Watch(t.ctx, 0))
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
				t.ended(t.follow(w.Watch(t.ctx, after)), customstatus.ErrCompacted,
					fmt.Sprintf("Watch after %d when commits up to %d are forgotten", after, forgotten))
			}
			t.yields(w, forgotten)
			t.yields(w, t.log[3].Revision)
			t.commit(s, create("new", "new"))
			t.next(live, 5)
			t.yields(w, forgotten)
		}},
	}
}

// follower iterates a feed in its own goroutine.
type follower struct {
	entered chan struct{} // closed when the body of the loop has a commit
	commits chan customstatus.Commit
	ended   chan []error // all errors, when the sequence has ended
	caught  []customstatus.Commit
	said    customstatus.Revision // all commits up to it have been yielded, says the feed
}

// follow begins to iterate a feed, up to the end of the case. The body of the
// loop runs until next or ended takes its commit.
func (t *tester) follow(feed iter.Seq2[customstatus.Commit, error]) *follower {
	f := &follower{entered: make(chan struct{}), commits: make(chan customstatus.Commit), ended: make(chan []error, 1)}
	go func() {
		var errs []error
		var once sync.Once
		for c, err := range feed {
			if err != nil {
				if errs = append(errs, err); len(errs) > 1 {
					break
				}
				continue
			}
			if len(errs) > 0 {
				errs = append(errs, fmt.Errorf("commit %d, which follows the error", c.Revision))
				break
			}
			once.Do(func() { close(f.entered) })
			select {
			case f.commits <- c:
			case <-t.over:
				return
			}
		}
		f.ended <- errs
	}()
	return f
}

// enters waits until the body of the loop has a commit, and leaves it there.
func (t *tester) enters(f *follower) {
	t.Helper()
	select {
	case <-f.entered:
	case errs := <-f.ended:
		t.Fatalf("Watch ended with %v, want commit %d first", errs, t.log[0].Revision)
	case <-t.ctx.Done():
		t.Fatalf("Watch does not yield commit %d", t.log[0].Revision)
	}
}

// next waits for the commit with this index in the log, which has to come next.
func (t *tester) next(f *follower, index int) {
	t.Helper()
	for {
		select {
		case c := <-f.commits:
			if t.takes(f, c) {
				t.matches(f.caught[len(f.caught)-1], t.log[index], index)
				return
			}
		case errs := <-f.ended:
			t.Fatalf("Watch ended with %v, want commit %d first", errs, t.log[index].Revision)
		case <-t.ctx.Done():
			t.Fatalf("Watch does not yield commit %d", t.log[index].Revision)
		}
	}
}

// reaches waits until a feed from the start is at or after a revision.
func (t *tester) reaches(w customstatus.Watcher, revision customstatus.Revision) {
	t.Helper()
	for c, err := range w.Watch(t.ctx, 0) {
		if err != nil {
			t.Fatalf("Watch after 0 ended with %v before it had reached revision %d, which Load or Commit has returned", err, revision)
		}
		if c.Revision >= revision {
			return
		}
	}
	t.Fatalf("Watch after 0 ended without an error")
}

// takes checks a commit against what the feed has said before, and reports
// whether it has changes.
func (t *tester) takes(f *follower, c customstatus.Commit) bool {
	t.Helper()
	if len(c.Changes) == 0 {
		f.said = max(f.said, c.Revision)
		return false
	}
	if c.Revision <= f.said {
		t.Fatalf("Watch yields commit %d after it has said, by a commit with no changes, that all up to %d were yielded", c.Revision, f.said)
	}
	f.caught = append(f.caught, c)
	return true
}

// matches checks a commit of a feed.
func (t *tester) matches(got, want customstatus.Commit, index int) {
	t.Helper()
	if d := differenceOfCommits(got, want); d != "" {
		t.Fatalf("Watch yields a wrong commit for commit %d, %s, number %d in all: %s",
			want.Revision, describeChanges(want.Changes), index+1, d)
	}
}

// yields checks that a watch after a revision yields the commits made since.
func (t *tester) yields(w customstatus.Watcher, after customstatus.Revision) {
	t.Helper()
	first := len(t.log)
	for i, c := range t.log {
		if c.Revision > after {
			first = i
			break
		}
	}
	if first == len(t.log) {
		return
	}
	var f follower
	for c, err := range w.Watch(t.ctx, after) {
		index := first + len(f.caught)
		if t.ctx.Err() != nil {
			t.Fatalf("Watch after %d does not yield commit %d", after, t.log[index].Revision)
		}
		if err != nil {
			t.Fatalf("Watch after %d ended with %v, want commit %d first", after, err, t.log[index].Revision)
		}
		if t.takes(&f, c) {
			t.matches(c, t.log[index], index)
			if index+1 == len(t.log) {
				return
			}
		}
	}
	t.Fatalf("Watch after %d ended without an error", after)
}

// ended checks that a feed yields nothing more that is wrong, and ends with this
// error alone.
func (t *tester) ended(f *follower, want error, by string) {
	t.Helper()
	for {
		select {
		case c := <-f.commits:
			// It may have been on its way.
			if len(c.Changes) > 0 && !slices.ContainsFunc(t.log, func(made customstatus.Commit) bool { return differenceOfCommits(c, made) == "" }) {
				t.Errorf("Watch yields a commit %d that was never made", c.Revision)
			}
			if errors.Is(want, customstatus.ErrCompacted) && len(c.Changes) > 0 {
				t.Errorf("Watch yields commit %d where it has to end: by %s", c.Revision, by)
			}
		case errs := <-f.ended:
			if len(errs) != 1 || !errors.Is(errs[0], want) {
				t.Errorf("Watch ended with the errors %v, want exactly one that is %v: by %s", errs, want, by)
			}
			return
		case <-t.ctx.Done():
			t.Fatalf("Watch does not end by %s, want %v", by, want)
		}
	}
}

// watchesBesideCommits has several goroutines commit through two stores on one
// place while feeds are iterated from the start.
func watchesBesideCommits(t *tester, a, b *handle, feeds ...iter.Seq2[customstatus.Commit, error]) {
	t.Helper()
	var followers []*follower
	for _, feed := range feeds {
		followers = append(followers, t.follow(feed), t.follow(feed))
	}
	commitsAtOnce(t, a, b)
	for _, f := range followers {
		for i := range t.log {
			t.next(f, i)
		}
	}
}
