package linear

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/customstatus/customstatus"
)

// recorded is what a watcher of a catalog saw, and what its clients did.
func recorded(t *testing.T, seed uint64) (*Watcher, *History) {
	t.Helper()
	c := open(t, customstatus.NewMemoryStore())
	defer closeAll(t, c)
	var watching sync.WaitGroup
	w := Watch(&watching, c, LastName)
	h := &History{refused: make(map[error]int)}
	for n := range uint64(5) { // of one, few writes may come through
		h.add(run(t, collide, 5*seed+n, c))
	}
	if _, err := c.Create(context.Background(), customstatus.Fields{Name: LastName, StatusType: customstatus.Busy}); err != nil {
		t.Fatal(err)
	}
	watching.Wait()
	if w.Err != nil {
		t.Fatal(w.Err)
	}
	return w, h
}

// TestPlantedFeeds shows that what a watcher saw is rejected when it is not the
// commits in their order, whether or not their fingerprints say so.
func TestPlantedFeeds(t *testing.T) {
	w, h := recorded(t, 0)
	other, _ := recorded(t, 1)
	n := len(w.Commits)
	if n < 8 || len(other.Commits) < 8 {
		t.Fatalf("only %d and %d commits", n, len(other.Commits))
	}
	verdict := func(commits []customstatus.Commit) error {
		damaged := &Watcher{Start: w.Start, Commits: commits}
		_, err := damaged.Replay(false)
		return errors.Join(err, Account(h.Ops, damaged, false))
	}
	if err := errors.Join(verdict(w.Commits), verdict(w.refingerprinted(w.Commits))); err != nil {
		t.Fatal(err)
	}
	// with returns the commits with a change made to a copy of one of them.
	with := func(commit, change int, edit func(*customstatus.Change)) []customstatus.Commit {
		out := slices.Clone(w.Commits)
		out[commit].Changes = slices.Clone(out[commit].Changes)
		edit(&out[commit].Changes[change])
		return out
	}
	// find returns the place of the first change that is so.
	find := func(what string, is func(customstatus.Change) bool) (commit, change int) {
		for i, c := range w.Commits {
			if j := slices.IndexFunc(c.Changes, is); j >= 0 {
				return i, j
			}
		}
		t.Fatalf("no commit has %s", what)
		return 0, 0
	}
	swapped := slices.Clone(w.Commits)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	invented := slices.Clone(w.Commits)
	invented[n-1].Changes = append(slices.Clone(invented[n-1].Changes), customstatus.Change{
		Kind:  customstatus.Created,
		After: customstatus.CustomUserStatus{ID: "invented", Name: "invented", Revision: invented[n-1].Revision},
	})
	keptAt, kept := find("an update that keeps metadata", func(c customstatus.Change) bool {
		return c.Kind == customstatus.Updated && c.Before.Metadata != "" && c.After.Metadata == c.Before.Metadata
	})
	updatedAt, updated := find("an update", func(c customstatus.Change) bool { return c.Kind == customstatus.Updated })
	deletedAt, deleted := find("a delete", func(c customstatus.Change) bool { return c.Kind == customstatus.Deleted })
	for name, commits := range map[string][]customstatus.Commit{
		"a commit missing":          slices.Concat(w.Commits[:1], w.Commits[2:]),
		"the first commit missing":  w.Commits[1:],
		"a commit twice":            slices.Concat(w.Commits[:2], w.Commits[1:]),
		"two commits swapped":       swapped,
		"a change that nobody made": invented,
		"a change that differs": with(0, 0, func(c *customstatus.Change) {
			c.After.StatusType = customstatus.Offline + "?"
		}),
		"metadata dropped by an update": with(keptAt, kept, func(c *customstatus.Change) { c.After.Metadata = "" }),
		"an update as a create": with(updatedAt, updated, func(c *customstatus.Change) {
			c.Kind, c.Before = customstatus.Created, customstatus.CustomUserStatus{}
		}),
		"a delete that knows but the id": with(deletedAt, deleted, func(c *customstatus.Change) {
			c.Before = customstatus.CustomUserStatus{ID: c.Before.ID, Revision: c.Before.Revision}
		}),
		"the rest of another history":            slices.Concat(w.Commits[:4], after(other.Commits, w.Commits[3].Revision)),
		"back to an older state, and on from it": slices.Concat(w.Commits[:6], w.Commits[3:]),
	} {
		if verdict(commits) == nil {
			t.Errorf("%s: accepted", name)
		}
		if verdict(w.refingerprinted(commits)) == nil {
			t.Errorf("%s, with fingerprints to match: accepted", name)
		}
	}
	wrong := slices.Clone(w.Commits)
	wrong[n/2].Fingerprint++
	if verdict(wrong) == nil {
		t.Error("a wrong fingerprint: accepted")
	}
}

// after returns the commits after a revision.
func after(commits []customstatus.Commit, revision customstatus.Revision) []customstatus.Commit {
	i := slices.IndexFunc(commits, func(c customstatus.Commit) bool { return c.Revision > revision })
	return commits[max(i, 0):]
}

// refingerprinted returns the commits with the fingerprints to which their changes
// lead.
func (w *Watcher) refingerprinted(commits []customstatus.Commit) []customstatus.Commit {
	commits = slices.Clone(commits)
	now := w.Start.Position.Fingerprint
	for i, commit := range commits {
		for _, c := range commit.Changes {
			if c.Kind != customstatus.Created {
				now -= c.Before.Fingerprint()
			}
			if c.Kind != customstatus.Deleted {
				now += c.After.Fingerprint()
			}
		}
		commits[i].Fingerprint = now
	}
	return commits
}
