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
func recorded(t *testing.T, seed uint64) (*watcher, *history) {
	t.Helper()
	c := open(t, customstatus.NewMemoryStore())
	defer closeAll(t, c)
	var watching sync.WaitGroup
	w := watch(&watching, c, lastName)
	h := &history{refused: make(map[error]int)}
	for n := range uint64(5) { // of one, few writes may come through
		h.add(collide.run(t, 5*seed+n, c))
	}
	if _, err := c.Create(context.Background(), customstatus.Fields{Name: lastName, StatusType: customstatus.Busy}); err != nil {
		t.Fatal(err)
	}
	watching.Wait()
	if w.err != nil {
		t.Fatal(w.err)
	}
	return w, h
}

// TestPlantedFeeds shows that what a watcher saw is rejected when it is not the
// commits in their order, whether or not their fingerprints say so.
func TestPlantedFeeds(t *testing.T) {
	w, h := recorded(t, 0)
	other, _ := recorded(t, 1)
	n := len(w.commits)
	if n < 8 || len(other.commits) < 8 {
		t.Fatalf("only %d and %d commits", n, len(other.commits))
	}
	verdict := func(commits []customstatus.Commit) error {
		damaged := &watcher{start: w.start, commits: commits}
		_, err := damaged.replay(false)
		return errors.Join(err, account(h.ops, damaged, false))
	}
	if err := errors.Join(verdict(w.commits), verdict(w.refingerprinted(w.commits))); err != nil {
		t.Fatal(err)
	}
	// with returns the commits with a change made to a copy of one of them.
	with := func(commit, change int, edit func(*customstatus.Change)) []customstatus.Commit {
		out := slices.Clone(w.commits)
		out[commit].Changes = slices.Clone(out[commit].Changes)
		edit(&out[commit].Changes[change])
		return out
	}
	// find returns the place of the first change that is so.
	find := func(what string, is func(customstatus.Change) bool) (commit, change int) {
		for i, c := range w.commits {
			if j := slices.IndexFunc(c.Changes, is); j >= 0 {
				return i, j
			}
		}
		t.Fatalf("no commit has %s", what)
		return 0, 0
	}
	swapped := slices.Clone(w.commits)
	swapped[1], swapped[2] = swapped[2], swapped[1]
	invented := slices.Clone(w.commits)
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
		"a commit missing":          slices.Concat(w.commits[:1], w.commits[2:]),
		"the first commit missing":  w.commits[1:],
		"a commit twice":            slices.Concat(w.commits[:2], w.commits[1:]),
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
		"the rest of another history":            slices.Concat(w.commits[:4], after(other.commits, w.commits[3].Revision)),
		"back to an older state, and on from it": slices.Concat(w.commits[:6], w.commits[3:]),
	} {
		if verdict(commits) == nil {
			t.Errorf("%s: accepted", name)
		}
		if verdict(w.refingerprinted(commits)) == nil {
			t.Errorf("%s, with fingerprints to match: accepted", name)
		}
	}
	wrong := slices.Clone(w.commits)
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
func (w *watcher) refingerprinted(commits []customstatus.Commit) []customstatus.Commit {
	commits = slices.Clone(commits)
	now := w.start.Position.Fingerprint
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
