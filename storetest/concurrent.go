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

func concurrencyCases() []testCase {
	const (
		unique   = "A name is thus unique in the store itself,"
		conflict = "The commit is refused with [ErrConflict] if the status with this id is not at the revision Replaces"
		instant  = "the instant includes every commit that had returned before the call."
	)
	return []testCase{
		{"concurrent-methods", "All methods may be called by several goroutines at once.", func(t *tester) {
			methodsAtOnce(t, t.start())
		}},
		{"concurrent-commits", "A method that finds another one in its way waits for it; commits take effect one after the other.", func(t *tester) {
			s := t.start()
			commitsAtOnce(t, s, s)
		}},
		{"concurrent-names", unique, func(t *tester) {
			s := t.start()
			oneWinner(t, "creates of one name", []*handle{s}, sameName)
		}},
		{"concurrent-renames", unique, func(t *tester) {
			s := t.start()
			oneWinner(t, "renames to one name", []*handle{s}, renameToSame)
		}},
		{"concurrent-creates", conflict, func(t *tester) {
			s := t.start()
			oneWinner(t, "creates of one id", []*handle{s}, sameID)
		}},
		{"concurrent-updates", conflict, func(t *tester) {
			s := t.start()
			oneWinner(t, "updates of one status", []*handle{s}, sameUpdate)
		}},
		{"concurrent-loads", "No Load sees a part of them.", func(t *tester) {
			s := t.start()
			loadsBesideCommits(t, s, []*handle{s}, wholeCommit)
		}},
		{"load-includes-returned", instant, func(t *tester) {
			s := t.start()
			loadsBesideCommits(t, s, []*handle{s}, upToDate)
		}},
		{"commit-cancelled", "After that Commit tells the truth: nil, ErrOutcomeUnknown if it can't know, or else an error if nothing was written.", func(t *tester) {
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
						t.Errorf("Commit(%s) = %v, but nothing is in its way", describeChanges(r.changes), r.err)
					}
				}
			}
			t.settle(done)
			t.holds(s, "after commits whose ctx was cancelled: those that returned nil and no other")
		}},
		{"close-while-busy", "Close may be called while other methods run.", func(t *tester) {
			t.closeWhileBusy(t.start())
		}},

		{"shared-names", unique, func(t *tester) {
			a, _ := t.shared()
			b, _ := t.another()
			oneWinner(t, "creates of one name through two stores", []*handle{a, b}, sameName)
		}},
		{"shared-updates", conflict, func(t *tester) {
			a, _ := t.shared()
			b, _ := t.another()
			oneWinner(t, "updates of one status through two stores", []*handle{a, b}, sameUpdate)
		}},
		{"shared-commits", "commits take effect one after the other.", func(t *tester) {
			a, _ := t.shared()
			b, _ := t.another()
			commitsAtOnce(t, a, b)
			t.holds(b, "from the other store")
		}},
		{"shared-loads", instant, func(t *tester) {
			a, _ := t.shared()
			b, _ := t.another()
			loadsBesideCommits(t, a, []*handle{a, b}, upToDate)
			r := t.commit(b, create("other", "by the other store"))
			t.holds(a, "after a commit of the other store")
			t.commit(a, remove("other", r))
			t.holds(b, "after a commit of the other store")
		}},
		{"shared-empty-commit", "With no changes, Commit writes nothing and returns the revision of the store at an instant between call and return.", func(t *tester) {
			a, _ := t.shared()
			b, _ := t.another()
			for i := range 20 {
				t.commit(a, create(fmt.Sprint(i), fmt.Sprint(i)))
				if revision, err := b.Commit(t.ctx, nil); err != nil || revision != t.revision {
					t.Errorf("Commit without changes = %d, %v, want %d, nil: the revision of a commit of the other store that had returned before", revision, err, t.revision)
				}
			}
		}},
	}
}

// methodsAtOnce has several goroutines call all methods of which none has
// anything to do with those of another.
func methodsAtOnce(t *tester, s *handle) {
	t.Helper()
	var results [6][]result
	failures := make([]string, len(results))
	t.together(len(results), func(i int) {
		id, name := fmt.Sprint("id ", i), fmt.Sprint("name ", i)
		failures[i] = func() string {
			var last customstatus.Revision
			for n := range 4 {
				changes := []customstatus.Change{write(id, last, fmt.Sprint(name, n)), create(fmt.Sprint(id, n), fmt.Sprint("second ", name, n))}
				revision, err := s.Commit(t.ctx, changes)
				if err != nil {
					return fmt.Sprintf("Commit(%s): %v", describeChanges(changes), err)
				}
				last = revision
				results[i] = append(results[i], result{changes: changes, revision: revision})
				all, loaded, err := s.Load(t.ctx)
				if err != nil {
					return fmt.Sprintf("Load: %v", err)
				}
				if loaded < revision || len(all) < n+2 {
					return fmt.Sprintf("Load returned %d statuses at revision %d, but this goroutine's commit %d had returned", len(all), loaded, revision)
				}
				if now, err := s.Commit(t.ctx, nil); err != nil || now < revision {
					return fmt.Sprintf("Commit without changes = %d, %v, but this goroutine's commit %d had returned", now, err, revision)
				}
			}
			return ""
		}()
	})
	t.settleAll(results[:], failures)
	t.holds(s, "after methods that ran at the same time")
}

// commitsAtOnce has several goroutines commit through two stores on one place.
func commitsAtOnce(t *tester, a, b *handle) {
	t.Helper()
	stores := []*handle{a, b}
	var results [6][]result
	failures := make([]string, len(results))
	t.together(len(results), func(i int) {
		for n := range 8 {
			// Two changes each, so that a half of a commit can be told.
			id := fmt.Sprintf("%d-%d", i, n)
			changes := []customstatus.Change{create(id, "name "+id), create("also "+id, "also name "+id)}
			revision, err := stores[i%len(stores)].Commit(t.ctx, changes)
			if err != nil {
				failures[i] = fmt.Sprintf("Commit(%s): %v; want success, nothing is in its way", describeChanges(changes), err)
				return
			}
			results[i] = append(results[i], result{changes: changes, revision: revision})
		}
	})
	t.settleAll(results[:], failures)
	t.holds(a, "after commits that were made at the same time")
}

// settleAll takes in what several goroutines committed, each in turn.
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

// contest is a set of commits of which only one can be accepted.
type contest struct {
	prepare []customstatus.Change // is made before, unless it is empty
	entry   func(i int, prepared customstatus.Revision) customstatus.Change
}

const contenders = 6

func sameName(round int) contest {
	return contest{entry: func(i int, _ customstatus.Revision) customstatus.Change {
		return create(fmt.Sprintf("%d-%d", round, i), fmt.Sprint("name ", round))
	}}
}

func renameToSame(round int) contest {
	c := contest{entry: func(i int, prepared customstatus.Revision) customstatus.Change {
		return write(fmt.Sprintf("%d-%d", round, i), prepared, fmt.Sprint("name ", round))
	}}
	for i := range contenders {
		id := fmt.Sprintf("%d-%d", round, i)
		c.prepare = append(c.prepare, create(id, "own name "+id))
	}
	return c
}

func sameID(round int) contest {
	return contest{entry: func(i int, _ customstatus.Revision) customstatus.Change {
		return create(fmt.Sprint(round), fmt.Sprintf("name %d-%d", round, i))
	}}
}

func sameUpdate(round int) contest {
	return contest{
		prepare: []customstatus.Change{create(fmt.Sprint(round), fmt.Sprint("name ", round))},
		entry: func(i int, prepared customstatus.Revision) customstatus.Change {
			return write(fmt.Sprint(round), prepared, fmt.Sprintf("name %d-%d", round, i))
		},
	}
}

// oneWinner has contenders commit at once, over the stores in turn, and checks
// that exactly one wins and all others are told so.
func oneWinner(t *tester, what string, stores []*handle, contestOf func(round int) contest) {
	t.Helper()
	for round := range 12 {
		c := contestOf(round)
		var prepared customstatus.Revision
		if len(c.prepare) > 0 {
			prepared = t.commit(stores[0], c.prepare...)
		}
		results := make([]result, contenders)
		t.together(contenders, func(i int) {
			r := &results[i]
			r.changes = []customstatus.Change{c.entry(i, prepared)}
			r.revision, r.err = stores[i%len(stores)].Commit(t.ctx, r.changes)
		})
		var winners []result
		for _, r := range results {
			switch {
			case r.err == nil:
				winners = append(winners, r)
			case !errors.Is(r.err, customstatus.ErrConflict):
				t.Errorf("One of %d %s at once = %v, want nil or ErrConflict", contenders, what, r.err)
			}
		}
		if len(winners) != 1 {
			t.Fatalf("Of %d %s at once %d were accepted, want exactly one", contenders, what, len(winners))
		}
		t.settle(winners)
	}
	for _, s := range stores {
		t.holds(s, "after commits of which one in each round could be accepted")
	}
}

// loaded is what a Load returned beside commits.
type loaded struct {
	before   customstatus.Revision // of the last commit that had returned before the call
	all      []customstatus.CustomUserStatus
	revision customstatus.Revision
}

// wholeCommit says how a Load shows a part of a commit, or "". All commits
// write all statuses.
func wholeCommit(l loaded) string {
	for _, s := range l.all {
		first := l.all[0]
		if s.Revision != l.revision || strings.TrimPrefix(s.Name, s.ID) != strings.TrimPrefix(first.Name, first.ID) {
			return fmt.Sprintf("A Load at revision %d has %s beside %s, but every commit writes all statuses",
				l.revision, describe(s), describe(first))
		}
	}
	if len(l.all) != len(loadedIDs) {
		return fmt.Sprintf("A Load at revision %d has %d statuses, but every commit writes all %d", l.revision, len(l.all), len(loadedIDs))
	}
	return ""
}

// upToDate says how a Load is behind, or "".
func upToDate(l loaded) string {
	if l.revision < l.before {
		return fmt.Sprintf("A Load returned revision %d, but before the call commit %d had returned", l.revision, l.before)
	}
	for _, s := range l.all {
		if s.Revision < l.before {
			return fmt.Sprintf("A Load returned %s, but before the call commit %d, which wrote all statuses, had returned", describe(s), l.before)
		}
	}
	return ""
}

// loadedIDs are the ids, of one letter each.
const loadedIDs = "abcde"

// loadsBesideCommits loads over and over while commits write all statuses, and
// checks what is loaded.
func loadsBesideCommits(t *tester, writer *handle, readers []*handle, wrong func(loaded) string) {
	t.Helper()
	var (
		returned atomic.Uint64 // revision of the last commit that has returned
		over     atomic.Bool
		failures [4]string
	)
	commit := func(n int) {
		t.Helper()
		changes := make([]customstatus.Change, len(loadedIDs))
		for i, letter := range loadedIDs {
			id := string(letter)
			changes[i] = write(id, t.statuses[id].Revision, fmt.Sprintf("%s of commit %d", id, n))
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
			all, revision, err := s.Load(t.ctx)
			if err != nil {
				failures[i] = fmt.Sprintf("Load beside commits: %v", err)
			} else {
				failures[i] = wrong(loaded{before, all, revision})
			}
			if n == 0 {
				once.Done()
			}
		}
	})
	defer over.Store(true) // also when a commit fails
	t.waitFor(&once)
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

// doubt takes in creates of which it is not known whether they were made.
func (t *tester) doubt(changes []customstatus.Change) {
	for _, c := range changes {
		t.unknown[c.Status.ID] = true
	}
}

// closeWhileBusy closes a store in the middle of commits and loads, and takes
// in the commits that were made.
func (t *tester) closeWhileBusy(s *handle) {
	t.Helper()
	var results [4][]result
	var failures [len(results)]error
	var busy sync.WaitGroup
	busy.Add(len(results))
	done := t.begin(len(results), func(i int) {
		var failure error
		for n := 0; failure == nil; n++ {
			id := fmt.Sprintf("%d-%d", i, n)
			r := result{changes: []customstatus.Change{create(id, "name "+id), create("also "+id, "also name "+id)}}
			r.revision, r.err = s.Commit(t.ctx, r.changes)
			results[i] = append(results[i], r)
			failure = r.err
			if i%2 == 0 && failure == nil {
				_, _, failure = s.Load(t.ctx)
			}
			if n == 0 {
				busy.Done()
			}
		}
		failures[i] = failure
	})
	t.waitFor(&busy)
	t.close(s)
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
