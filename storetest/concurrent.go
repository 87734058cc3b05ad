package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/customstatus/customstatus"
)

// atOnceCases returns the cases in which several goroutines call one store.
func atOnceCases() []testCase {
	const (
		instant = "The instant is after every commit that had returned before the call."
		lasts   = "When it returns nil, the changes are durable: they survive whatever the store promises to survive."
		waits   = "Close waits for running methods and releases all resources."
	)
	return []testCase{
		{name: "at-once-methods", says: "All methods may be called by several goroutines at once.", run: func(t *tester) {
			methodsAtOnce(t, t.start())
		}},
		{name: "at-once-commits", says: "Conflicting calls wait; commits are serialized.", run: func(t *tester) {
			s := t.start()
			commitsAtOnce(t, s, s)
		}},
		{name: "at-once-names", says: saysUnique, run: func(t *tester) {
			s := t.start()
			oneWinner(t, "creates of one name", []*handle{s}, sameName)
		}},
		{name: "at-once-renames", says: saysUnique, run: func(t *tester) {
			s := t.start()
			oneWinner(t, "renames to one name", []*handle{s}, renameToSame)
		}},
		{name: "at-once-creates", says: saysConflict, run: func(t *tester) {
			s := t.start()
			oneWinner(t, "creates of one id", []*handle{s}, sameID)
		}},
		{name: "at-once-updates", says: saysConflict, run: func(t *tester) {
			s := t.start()
			oneWinner(t, "updates of one status", []*handle{s}, sameUpdate)
		}},
		{name: "at-once-loads", says: "No Load sees a part of them.", run: func(t *tester) {
			s := t.start()
			loadsBesideCommits(t, s, []*handle{s}, wholeCommit)
		}},
		{name: "load-includes-returned", says: instant, run: func(t *tester) {
			s := t.start()
			loadsBesideCommits(t, s, []*handle{s}, upToDate)
		}},
		{name: "commit-cancelled", says: "After that, the commit is made or fails as a whole, whatever happens to ctx.", run: func(t *tester) {
			s := t.start()
			const commits = 12
			var results [4][commits]result
			t.together(len(results), func(i int) {
				for n := range commits {
					id := fmt.Sprintf("%d-%d", i, n)
					r := &results[i][n]
					r.changes = []customstatus.Change{create(id, "name "+id), create("also "+id, "also name "+id)}
					ctx, cancel := context.WithCancel(t.ctx)
					go cancel() // before, in or after the commit
					r.revision, r.err = s.Commit(ctx, r.changes)
					cancel()
				}
			})
			var done []result
			for i := range results {
				for _, r := range results[i] {
					switch {
					case r.err == nil:
						done = append(done, r)
					case errors.Is(r.err, customstatus.ErrOutcomeUnknown):
						t.doubt(r.changes)
					case errors.Is(r.err, customstatus.ErrConflict):
						t.Errorf("Commit(%s) = %v, but nothing conflicts", describeChanges(r.changes), r.err)
					}
				}
			}
			t.settle(done)
			t.holds(s, "after commits whose ctx was cancelled: only those that returned nil count")
		}},
		{name: "close-at-once", says: "A second Close returns nil.", run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			errs := make([]error, 4)
			t.together(len(errs), func(i int) { errs[i] = s.Close() })
			for _, err := range errs {
				if err != nil {
					t.Errorf("Close beside other Closes = %v, want nil", err)
				}
			}
		}},
		{name: "close-while-busy", says: waits, run: func(t *tester) {
			t.closeWhileBusy(t.start(), func() {})
		}},
		{name: "reopen-after-busy-close", says: waits + " … " + lasts, run: func(t *tester) {
			var s *handle
			var found customstatus.Contents
			t.closeWhileBusy(t.start(), func() {
				s = t.openAgain()
				found = t.load(s)
			})
			for _, d := range t.differences(found) {
				t.Errorf("Load of a store that was opened right after Close: %s", d)
			}
			t.holds(s, "after a Close beside commits: only those that returned nil count")
		}},
	}
}

// sharedOnlyCases returns the cases with several open stores on one place.
func sharedOnlyCases() []testCase {
	const instant = "The instant is after every commit that had returned before the call."
	return []testCase{
		{name: "shared-open", says: "A shared store may be open any number of times, and is a [SharedStore].", run: func(t *tester) {
			stores := []*handle{t.start()}
			for i := range 4 {
				stores = append(stores, t.another())
				t.commit(stores[i%len(stores)], create(fmt.Sprint(i), fmt.Sprint(i)))
				for _, s := range stores {
					t.holds(s, fmt.Sprintf("from one of %d stores on a place", len(stores)))
					t.at(s, fmt.Sprintf("of one of %d stores on a place", len(stores)))
				}
			}
			for len(stores) > 1 {
				t.close(stores[0])
				stores = stores[1:]
				t.commit(stores[0], create(fmt.Sprint("with ", len(stores)), fmt.Sprint("with ", len(stores))))
				t.holds(stores[len(stores)-1], "after one store on the place was closed")
			}
		}},
		{name: "shared-names", says: saysUnique, run: func(t *tester) {
			a := t.start()
			b := t.another()
			oneWinner(t, "creates of one name through two stores", []*handle{a, b}, sameName)
		}},
		{name: "shared-updates", says: saysConflict, run: func(t *tester) {
			a := t.start()
			b := t.another()
			oneWinner(t, "updates of one status through two stores", []*handle{a, b}, sameUpdate)
		}},
		{name: "shared-commits", says: "commits are serialized.", run: func(t *tester) {
			a := t.start()
			b := t.another()
			commitsAtOnce(t, a, b)
			t.holds(b, "from the other store")
		}},
		{name: "shared-loads", says: instant, run: func(t *tester) {
			a := t.start()
			b := t.another()
			loadsBesideCommits(t, a, []*handle{a, b}, upToDate)
			r := t.commit(b, create("other", "by the other store"))
			t.holds(a, "after a commit of the other store")
			t.commit(a, t.remove("other", r))
			t.holds(b, "after a commit of the other store")
		}},
		{name: "shared-revision", says: "Revision returns the store's revision at an instant between call and return.", run: func(t *tester) {
			a := t.start()
			b := t.another()
			for i := range 20 {
				t.commit(a, create(fmt.Sprint(i), fmt.Sprint(i)))
				t.at(b, "after a commit of the other store had returned")
			}
		}},
	}
}

// methodsAtOnce calls all methods in several goroutines that use different ids
// and names.
func methodsAtOnce(t *tester, s *handle) {
	t.Helper()
	var results [6][]result
	failures := make([]string, len(results))
	t.together(len(results), func(i int) {
		id, name := fmt.Sprint("id ", i), fmt.Sprint("name ", i)
		failures[i] = func() string {
			first := create(id, name)
			for n := range 4 {
				changes := []customstatus.Change{first, create(fmt.Sprint(id, n), fmt.Sprint("second ", name, n))}
				revision, err := s.Commit(t.ctx, changes)
				if err != nil {
					return fmt.Sprintf("Commit(%s): %v", describeChanges(changes), err)
				}
				written := first.After
				written.Revision = revision
				first = update(written, fmt.Sprint(name, n))
				results[i] = append(results[i], result{changes: changes, revision: revision})
				all, err := s.Load(t.ctx)
				if err != nil {
					return fmt.Sprintf("Load: %v", err)
				}
				if all.Revision < revision || len(all.Statuses) < n+2 {
					return fmt.Sprintf("Load returned %d statuses at revision %d after this goroutine's commit %d had returned", len(all.Statuses), all.Revision, revision)
				}
				if now, err := s.Revision(t.ctx); err != nil || now < revision {
					return fmt.Sprintf("Revision = %d, %v after this goroutine's commit %d had returned", now, err, revision)
				}
			}
			return ""
		}()
	})
	t.settleAll(results[:], failures)
	t.holds(s, "after concurrent methods")
}

// commitsAtOnce commits in several goroutines, through two stores on one place.
func commitsAtOnce(t *tester, a, b *handle) {
	t.Helper()
	stores := []*handle{a, b}
	var results [6][]result
	failures := make([]string, len(results))
	t.together(len(results), func(i int) {
		for n := range 8 {
			// Two changes each, so that half a commit can be recognized.
			id := fmt.Sprintf("%d-%d", i, n)
			changes := []customstatus.Change{create(id, "name "+id), create("also "+id, "also name "+id)}
			revision, err := stores[i%len(stores)].Commit(t.ctx, changes)
			if err != nil {
				failures[i] = fmt.Sprintf("Commit(%s): %v; want success, because nothing conflicts", describeChanges(changes), err)
				return
			}
			results[i] = append(results[i], result{changes: changes, revision: revision})
		}
	})
	t.settleAll(results[:], failures)
	t.holds(a, "after concurrent commits")
}

// settleAll adds the commits of several goroutines to the model.
func (t *tester) settleAll(results [][]result, failures []string) {
	t.Helper()
	var all []result
	for i, of := range results {
		if failures[i] != "" {
			t.Errorf("%s", failures[i])
		}
		for n, r := range of {
			if n > 0 && r.revision <= of[n-1].revision {
				t.Errorf("A goroutine's commit returned revision %d after %d; want a greater one", r.revision, of[n-1].revision)
			}
			all = append(all, r)
		}
	}
	t.settle(all)
}

// contest is a set of commits of which the store can accept only one.
type contest struct {
	prepare []customstatus.Change // committed first, unless empty
	entry   func(m *model, i int, prepared customstatus.Revision) customstatus.Change
}

const contenders = 6

func sameName(round int) contest {
	return contest{entry: func(_ *model, i int, _ customstatus.Revision) customstatus.Change {
		return create(fmt.Sprintf("%d-%d", round, i), fmt.Sprint("name ", round))
	}}
}

func renameToSame(round int) contest {
	c := contest{entry: func(m *model, i int, prepared customstatus.Revision) customstatus.Change {
		return m.write(fmt.Sprintf("%d-%d", round, i), prepared, fmt.Sprint("name ", round))
	}}
	for i := range contenders {
		id := fmt.Sprintf("%d-%d", round, i)
		c.prepare = append(c.prepare, create(id, "own name "+id))
	}
	return c
}

func sameID(round int) contest {
	return contest{entry: func(_ *model, i int, _ customstatus.Revision) customstatus.Change {
		return create(fmt.Sprint(round), fmt.Sprintf("name %d-%d", round, i))
	}}
}

func sameUpdate(round int) contest {
	return contest{
		prepare: []customstatus.Change{create(fmt.Sprint(round), fmt.Sprint("name ", round))},
		entry: func(m *model, i int, prepared customstatus.Revision) customstatus.Change {
			return m.write(fmt.Sprint(round), prepared, fmt.Sprintf("name %d-%d", round, i))
		},
	}
}

// oneWinner commits the entries of a contest concurrently, spread over the
// stores. It checks that exactly one commit succeeds and all others return
// ErrConflict.
func oneWinner(t *tester, what string, stores []*handle, contestOf func(round int) contest) {
	t.Helper()
	for round := range 12 {
		c := contestOf(round)
		var prepared customstatus.Revision
		if len(c.prepare) > 0 {
			prepared = t.commit(stores[0], c.prepare...)
		}
		results := make([]result, contenders)
		for i := range results {
			results[i].changes = []customstatus.Change{c.entry(&t.model, i, prepared)}
		}
		t.together(contenders, func(i int) {
			r := &results[i]
			r.revision, r.err = stores[i%len(stores)].Commit(t.ctx, r.changes)
		})
		var winners []result
		for _, r := range results {
			switch {
			case r.err == nil:
				winners = append(winners, r)
			case !errors.Is(r.err, customstatus.ErrConflict):
				t.Errorf("One of %d concurrent %s = %v, want nil or ErrConflict", contenders, what, r.err)
			}
		}
		if len(winners) != 1 {
			t.Fatalf("Of %d concurrent %s, %d were accepted, want exactly one", contenders, what, len(winners))
		}
		t.settle(winners)
	}
	for _, s := range stores {
		t.holds(s, "after rounds of commits with one winner each")
	}
}

// loaded is the result of a Load during commits.
type loaded struct {
	before customstatus.Revision // of the last commit that returned before the call
	customstatus.Contents
}

// wholeCommit describes how a Load shows a part of a commit, or returns "".
// Every commit writes all statuses.
func wholeCommit(l loaded) string {
	for _, s := range l.Statuses {
		first := l.Statuses[0]
		if s.Revision != l.Revision || strings.TrimPrefix(s.Name, s.ID) != strings.TrimPrefix(first.Name, first.ID) {
			return fmt.Sprintf("A Load at revision %d has %s beside %s, but every commit writes all statuses",
				l.Revision, describe(s), describe(first))
		}
	}
	if len(l.Statuses) != len(loadedIDs) {
		return fmt.Sprintf("A Load at revision %d has %d statuses, but every commit writes all %d", l.Revision, len(l.Statuses), len(loadedIDs))
	}
	return ""
}

// upToDate describes how a Load is outdated, or returns "".
func upToDate(l loaded) string {
	if l.Revision < l.before {
		return fmt.Sprintf("A Load returned revision %d, but commit %d had returned before the call", l.Revision, l.before)
	}
	for _, s := range l.Statuses {
		if s.Revision < l.before {
			return fmt.Sprintf("A Load returned %s, but commit %d, which wrote all statuses, had returned before the call", describe(s), l.before)
		}
	}
	return ""
}

// loadedIDs are the ids of loadsBesideCommits, one letter each.
const loadedIDs = "abcde"

// loadsBesideCommits loads repeatedly while commits write all statuses, and
// checks each load with wrong.
func loadsBesideCommits(t *tester, writer *handle, readers []*handle, wrong func(loaded) string) {
	t.Helper()
	var (
		returned atomic.Uint64 // revision of the last finished commit
		over     atomic.Bool
		failures [4]string
	)
	commit := func(n int) {
		t.Helper()
		changes := make([]customstatus.Change, len(loadedIDs))
		for i, letter := range loadedIDs {
			id := string(letter)
			changes[i] = t.put(id, fmt.Sprintf("%s of commit %d", id, n))
		}
		returned.Store(uint64(t.commit(writer, changes...)))
	}
	commit(0)
	var once sync.WaitGroup // every reader has loaded once
	once.Add(len(failures))
	done := t.begin(len(failures), func(i int) {
		s := readers[i%len(readers)]
		for n := 0; failures[i] == "" && (n == 0 || !over.Load()); n++ {
			before := customstatus.Revision(returned.Load())
			all, err := s.Load(t.ctx)
			if err != nil {
				failures[i] = fmt.Sprintf("Load beside commits: %v", err)
			} else {
				failures[i] = wrong(loaded{before, all})
			}
			if n == 0 {
				once.Done()
			}
		}
	})
	defer over.Store(true) // also when a commit fails
	t.waitOnce(&once)
	for n := range 30 {
		commit(n + 1)
	}
	over.Store(true)
	t.wait(done)
	for _, failure := range failures {
		if failure != "" {
			t.Errorf("%s", failure)
		}
	}
	t.holds(writer, "after the last commit")
}
