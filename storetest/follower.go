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
	entered chan struct{} // closed when the body of the loop has a commit
	commits chan customstatus.Commit
	left    chan struct{} // closed to leave the loop
	ended   chan []error  // all errors, when the sequence has ended
	caught  []customstatus.Commit
	said    customstatus.Revision // all commits up to it have been yielded, says the feed
}

// follow begins to iterate a feed, up to the end of the case. The body of the
// loop runs until next or ended takes its commit.
func (t *tester) follow(feed iter.Seq2[customstatus.Commit, error]) *follower {
	return t.followSome(feed, -1)
}

// followSome is follow for a loop that is left after so many commits.
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
				errs = append(errs, fmt.Errorf("commit %d, which follows the error", c.Revision))
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

// enters waits until the body of the loop has a commit, and leaves it there.
func (t *tester) enters(f *follower) {
	t.Helper()
	clock := newClock(t.patience)
	defer clock.Stop()
	for {
		select {
		case <-f.entered:
			return
		case errs := <-f.ended:
			t.Fatalf("Watch ended with %v, want commit %d first", errs, t.log[0].Revision)
		case <-clock.C:
			if clock.out() {
				t.hangs("Watch does not yield commit %d", t.log[0].Revision)
			}
		}
	}
}

// next waits for the commit with this index in the log, which has to come next.
func (t *tester) next(f *follower, index int) {
	t.Helper()
	want := t.log[index]
	clock := newClock(t.patienceFor(len(want.Changes)))
	defer clock.Stop()
	for {
		select {
		case c := <-f.commits:
			if t.takes(f, c, index) {
				t.matches(c, want, index)
				return
			}
		case errs := <-f.ended:
			t.Fatalf("Watch ended with %v, want commit %d first", errs, want.Revision)
		case <-clock.C:
			if clock.out() {
				t.hangs("Watch does not yield commit %d", want.Revision)
			}
		}
	}
}

// reaches waits until a feed is at or beyond a revision.
func (t *tester) reaches(f *follower, revision customstatus.Revision) {
	t.Helper()
	clock := newClock(t.patience)
	defer clock.Stop()
	for {
		select {
		case c := <-f.commits:
			if c.Revision >= revision {
				return
			}
		case errs := <-f.ended:
			t.Fatalf("Watch ended with %v before it had reached revision %d, which Load or Revision has returned", errs, revision)
		case <-clock.C:
			if clock.out() {
				t.hangs("Watch does not reach revision %d, which Load or Revision has returned", revision)
			}
		}
	}
}

// begins checks what a feed after a revision yields first.
func (t *tester) begins(s *handle, after customstatus.Revision) {
	t.Helper()
	f := t.follow(s.Watch(t.ctx, after))
	defer close(f.left)
	clock := newClock(t.patience)
	defer clock.Stop()
	for {
		select {
		case c := <-f.commits:
			if len(c.Changes) > 0 || c.Revision != after {
				t.Errorf("Watch after %d begins with commit %d of %d changes, want a commit with no changes at revision %d",
					after, c.Revision, len(c.Changes), after)
			}
			return
		case errs := <-f.ended:
			t.Fatalf("Watch after %d ended with %v before it had yielded anything", after, errs)
		case <-clock.C:
			if clock.out() {
				t.hangs("Watch after %d yields nothing at its beginning", after)
			}
		}
	}
}

// takes checks a commit against what the feed has said before, and reports
// whether it has changes. The commit with this index in the log is due.
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

// ended checks that a feed yields nothing more that is wrong, and ends with this
// error alone.
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
				t.Errorf("Watch yields commit %d where it has to end: by %s", c.Revision, by)
			}
		case errs := <-f.ended:
			if len(errs) != 1 || !errors.Is(errs[0], want) {
				t.Errorf("Watch ended with the errors %v, want exactly one that is %v: by %s", errs, want, by)
			}
			return
		case <-clock.C:
			if clock.out() {
				t.hangs("Watch does not end by %s, want %v", by, want)
			}
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
