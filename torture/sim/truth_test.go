package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/linear"
)

// pageOf returns the page of a state.
func pageOf(s *state) customstatus.Page {
	statuses := slices.Clone(s.statuses)
	slices.SortFunc(statuses, func(a, b customstatus.CustomUserStatus) int { return strings.Compare(a.Name, b.Name) })
	return customstatus.Page{Statuses: statuses, Total: len(statuses), Position: customstatus.Position{Revision: s.revision, Fingerprint: s.fingerprint}}
}

// sameStatuses compares statuses without their revisions: a catalog that loads the
// store and finds what it had goes on with what it had.
func sameStatuses(a, b []customstatus.CustomUserStatus) bool {
	return slices.EqualFunc(a, b, func(s, t customstatus.CustomUserStatus) bool {
		s.Revision = t.Revision
		return s == t
	})
}

// saw returns an error unless a watcher saw the commits of the store's log, whole and
// in order. It may miss commits that undo each other, and those of which it got the
// whole catalog instead.
func (w *world) saw(watcher *linear.Watcher, lost bool) error {
	made := make(map[customstatus.Position][]entry) // two histories can lead to the same
	revisions := make(map[customstatus.Revision]bool)
	held := map[customstatus.Fingerprint][]customstatus.CustomUserStatus{0: nil}
	for _, e := range w.server.truth {
		if revisions[e.commit.Revision] && !(w.plan.database && w.plan.lossy) {
			return fmt.Errorf("the store has revision %d twice", e.commit.Revision)
		}
		revisions[e.commit.Revision] = true
		made[e.commit.Position()] = append(made[e.commit.Position()], e)
		held[e.commit.Fingerprint] = pageOf(&state{statuses: e.after}).Statuses
	}
	now := watcher.Start
	for i := 0; ; i++ {
		if page, gap := watcher.Gaps[i]; gap {
			if !lost && !w.held(page.Position.Fingerprint, now.Position.Revision) {
				return fmt.Errorf("after a gap, %v follows %v, and the store did not go back", page.Position, now.Position)
			}
			now = page
		}
		if have, known := held[now.Position.Fingerprint]; !known || !sameStatuses(have, now.Statuses) && (i == 0 || watcher.Gaps[i].Position == now.Position) {
			return fmt.Errorf("the store never held what was seen at %v", now.Position)
		}
		if i == len(watcher.Commits) {
			return nil
		}
		seen := watcher.Commits[i]
		possible := made[seen.Position()]
		fits := slices.ContainsFunc(possible, func(e entry) bool {
			return e.before == now.Position.Fingerprint && slices.EqualFunc(e.commit.Changes, seen.Changes, sameChange)
		})
		switch {
		case len(possible) == 0:
			return fmt.Errorf("the store has no commit %v", seen.Position())
		case !fits:
			e := possible[0]
			return fmt.Errorf("commit %d was seen at %v with %s; the store made %s, and before it the fingerprint was %x",
				seen.Revision, now.Position, describe(seen.Changes), describe(e.commit.Changes), uint64(e.before))
		}
		now.Position = seen.Position()
	}
}

// held reports whether the store held what has the fingerprint at the revision or later.
func (w *world) held(f customstatus.Fingerprint, from customstatus.Revision) bool {
	return from == 0 || slices.ContainsFunc(w.server.truth, func(e entry) bool {
		return e.commit.Revision >= from && e.commit.Fingerprint == f
	})
}

func sameChange(a, b customstatus.Change) bool {
	return a.Kind == b.Kind && a.ID() == b.ID() && a.After == b.After
}
