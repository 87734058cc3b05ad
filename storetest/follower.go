package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/customstatus/customstatus"
)

// follower iterates a feed in its own goroutine.
type follower struct {
	entered chan struct{} // closed when the loop's body has a commit
	commits chan customstatus.Commit
	left    chan struct{} // closed to leave the loop
	ended   chan []error  // receives all errors at the end of the sequence
	caught  []customstatus.Commit
	said    customstatus.Revision // the feed says that all commits up to it were yielded
}

// follow starts to iterate a feed, until the end of the case. The loop's body
// blocks until next or ended takes the commit.
func (t *tester) follow(feed iter.Seq2[customstatus.Commit, error]) *follower {
	return t.followSome(feed, -1)
}

// followSome is follow for a loop that ends after the given number of commits.
func (t *tester) followSome(feed iter.Seq2[customstatus.Commit, error], most int) *follower {
	f := &follower{entered: make(chan struct{}), commits: make(chan customstatus.Commit), left: make(chan struct{}), ended: make(chan []error, 1)}
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
				errs = append(errs, fmt.Errorf("commit %d after the error", c.Revision))
				break
			}
			once.Do(func() { close(f.entered) })
			select {
			case f.commits <- c:
			case <-f.left:
				return
			case <-t.over:
				return
			}
			if len(c.Changes) > 0 {
				most--
			}
			if most == 0 {
				return
			}
		}
		f.ended <- errs
	}()
	return f
}

// enters waits until the loop's body has a commit, and does not take the
// commit.
func (t *tester) enters(f *follower) {
	t.Helper()
	clock := newClock(t.patience)
	defer clock.Stop()
	for {
		select {
		case <-f.entered:
			return
		case errs := <-f.ended:
			t.Fatalf("Watch ended with %v before commit %d", errs, t.log[0].Revision)
		case <-clock.C:
			if clock.out() {
				t.hangs("Watch does not yield commit %d", t.log[0].Revision)
			}
		}
	}
}

// receive waits for the next commit of a feed. If the feed ends or the clock runs
// out, it ends the case, with the first or the second of the texts.
func (t *tester) receive(f *follower, clock *clock, ended, hangs string) customstatus.Commit {
	t.Helper()
	for {
		select {
		case c := <-f.commits:
			return c
		case errs := <-f.ended:
			t.Fatalf("Watch ended with %v %s", errs, ended)
		case <-clock.C:
			if clock.out() {
				t.hangs("Watch does not %s", hangs)
			}
		}
	}
}

// next waits for the next commit, which must be the one at this index of the
// log.
func (t *tester) next(f *follower, index int) {
	t.Helper()
	want := t.log[index]
	clock := newClock(t.patienceFor(len(want.Changes)))
	defer clock.Stop()
	ended, hangs := fmt.Sprintf("before commit %d", want.Revision), fmt.Sprintf("yield commit %d", want.Revision)
	for {
		c := t.receive(f, clock, ended, hangs)
		if t.takes(f, c, index) {
			t.matches(c, want, index)
			return
		}
	}
}

// reaches waits until a feed is at or beyond a revision.
func (t *tester) reaches(f *follower, revision customstatus.Revision) {
	t.Helper()
	clock := newClock(t.patience)
	defer clock.Stop()
	reach := fmt.Sprintf("reach revision %d, which Load or Revision has returned", revision)
	for t.receive(f, clock, "and did not "+reach, reach).Revision < revision {
	}
}

// begins checks the first commit of a feed after a revision.
func (t *tester) begins(s *handle, after customstatus.Revision) {
	t.Helper()
	f := t.follow(s.Watch(t.ctx, after))
	defer close(f.left)
	clock := newClock(t.patience)
	defer clock.Stop()
	begin := fmt.Sprintf("yield a first commit after revision %d", after)
	c := t.receive(f, clock, "and did not "+begin, begin)
	if len(c.Changes) > 0 || c.Revision != after {
		t.Errorf("Watch after %d begins with commit %d of %d changes, want a commit with no changes at revision %d",
			after, c.Revision, len(c.Changes), after)
	}
}

// takes checks a commit against the feed's earlier commits, and reports whether
// it has changes. The commit at this index of the log is due.
func (t *tester) takes(f *follower, c customstatus.Commit, index int) bool {
	t.Helper()
	if len(c.Changes) == 0 {
		f.said = max(f.said, c.Revision)
		if c.FingerprintKnown && index > 0 && c.Fingerprint != t.log[index-1].Fingerprint {
			t.Fatalf("Watch yields a commit with no changes and the fingerprint %#x, but that of all statuses is %#x",
				uint64(c.Fingerprint), uint64(t.log[index-1].Fingerprint))
		}
		return false
	}
	if c.Revision <= f.said {
		t.Fatalf("Watch yields commit %d after a commit with no changes has said that all commits up to %d were yielded", c.Revision, f.said)
	}
	f.caught = append(f.caught, c)
	return true
}

// matches checks that a feed's commit is the wanted one.
func (t *tester) matches(got, want customstatus.Commit, index int) {
	t.Helper()
	if d := differenceOfCommits(got, want); d != "" {
		t.Fatalf("Watch yields a wrong commit for commit %d, %s, number %d in all: %s",
			want.Revision, describeChanges(want.Changes), index+1, d)
	}
}

// yields checks that Watch after a revision yields all later commits.
func (t *tester) yields(s *handle, after customstatus.Revision) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	f := t.follow(s.Watch(ctx, after))
	defer close(f.left)
	for index, c := range t.log {
		if c.Revision > after {
			t.next(f, index)
		}
	}
}

// ended checks that a feed ends with exactly this error and yields nothing
// wrong before.
func (t *tester) ended(f *follower, want error, by string) {
	t.Helper()
	clock := newClock(t.patience)
	defer clock.Stop()
	for {
		select {
		case c := <-f.commits:
			// It may have been on its way.
			if len(c.Changes) > 0 && !slices.ContainsFunc(t.log, func(made customstatus.Commit) bool { return differenceOfCommits(c, made) == "" }) {
				t.Errorf("Watch yields a commit %d that was never made", c.Revision)
			}
			if errors.Is(want, customstatus.ErrCompacted) && len(c.Changes) > 0 {
				t.Errorf("Watch yields commit %d, but must end: %s", c.Revision, by)
			}
		case errs := <-f.ended:
			if len(errs) != 1 || !errors.Is(errs[0], want) {
				t.Errorf("Watch ended with the errors %v, want exactly one, %v: %s", errs, want, by)
			}
			return
		case <-clock.C:
			if clock.out() {
				t.hangs("Watch does not end, want %v: %s", want, by)
			}
		}
	}
}

// watchesBesideCommits iterates feeds from the start while several goroutines
// commit through two stores on one place.
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
