package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/customstatus/customstatus"
)

const (
	saysConflict = "[ErrConflict] is returned when the id of a created status exists, " +
		"when an updated or deleted status is not at Before.Revision,"
	saysTaken  = "[ErrConflict] is returned … or when another status has the name of After at the time of the change."
	saysUnique = "So the store itself keeps names unique,"
)

func commitCases() []testCase {
	const (
		turn  = "Changes are made in order."
		freed = "a change can take a name that an earlier change of the commit has given up."
	)
	return []testCase{
		{name: "commit-kinds", says: "Each has one of three kinds:", run: func(t *tester) {
			s := t.start()
			// Only the kind counts: an update may change nothing, and a delete
			// may follow an update at once.
			r := t.commit(s, create("a", "x"), create("b", "y"))
			r = t.commit(s, customstatus.Change{Kind: customstatus.Updated, Before: t.before("a", r), After: t.before("a", r)})
			t.holds(s, "after an update that changes nothing")
			t.commit(s, t.remove("a", r))
			t.holds(s, "after a delete")
			t.conflicts(s, "there is no such status any more", t.write("a", r, "x"))
			t.commit(s, create("a", "x"))
			t.holds(s, "after a create of the deleted status")
		}},
		{name: "commit-or-none", says: "Commit makes all changes or none, … " +
			"Every error but [ErrOutcomeUnknown] means that nothing was written.", run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			good := []customstatus.Change{create("d", "w"), t.write("a", r, "renamed"), t.remove("b", r)}
			bad := []struct {
				why    string
				change customstatus.Change
			}{
				{"the status is there", create("c", "free")},
				{"the status is not at this revision", t.write("c", r+1000, "free")},
				{"there is no such status", t.write("none", r, "free")},
				{"there is no such status", t.remove("none", r)},
				{"the name belongs to another status", create("e", "z")},
			}
			for _, bad := range bad {
				for i := range len(good) + 1 {
					t.conflicts(s, bad.why, slices.Insert(slices.Clone(good), i, bad.change)...)
				}
			}
			t.commit(s, good...)
			t.holds(s, "after the same commit without the bad change")
		}},
		{name: "commit-after-refusal", says: "If a store can write again after a failure, it does so by itself at the next commit.", run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"))
			t.conflicts(s, "the name belongs to another status", create("b", "x"))
			t.commit(s, create("b", "y"))
			// Another case checks that this commit is refused.
			c := create("c", "z")
			_, _ = t.try(doneContexts()[0], s, c)
			t.doubt([]customstatus.Change{c})
			t.commit(s, create("d", "w"), t.remove("a", r))
			t.holds(s, "after commits that follow refused ones")
		}},
		{name: "commit-sets-revision", says: "The store gives After the revision of this commit, whatever After.Revision says.", run: func(t *tester) {
			s := t.start()
			c := create("a", "x")
			c.After.Revision = 99
			r := t.commit(s, c)
			t.holds(s, "after a create with an After.Revision of 99")
			c = t.write("a", r, "x")
			c.After.Revision = r + 99
			r = t.commit(s, c)
			t.holds(s, "after an update with an After.Revision of its own")
			t.commit(s, t.write("a", r, "y"))
		}},
		{name: "commit-name-given-up", says: freed, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.commit(s, t.remove("a", r), create("d", "x"))
			t.holds(s, "after a commit that deletes a status and gives its name to a new one")
			t.commit(s, t.write("b", r, "free"), t.write("c", r, "y"), create("e", "z"))
			t.holds(s, "after a commit that hands two names on")
			for _, name := range []string{"x", "free", "y", "z"} {
				t.conflicts(s, "the name belongs to another status", create("f", name))
			}
		}},
		{name: "commit-name-given-up-later", says: turn, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			const why = "the name is given up only after it is taken"
			t.conflicts(s, why, create("c", "x"), t.remove("a", r))
			t.conflicts(s, why, t.write("b", r, "x"), t.write("a", r, "free"))
		}},
		{name: "commit-names-swapped", says: turn, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			t.conflicts(s, "when the first change takes the name, the other status still has it", t.write("a", r, "y"), t.write("b", r, "x"))
		}},
		{name: "commit-name-taken-twice", says: saysTaken, run: func(t *tester) {
			s := t.start()
			const why = "an earlier change of the commit has taken the name"
			t.conflicts(s, why, create("a", "x"), create("b", "x"))
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.conflicts(s, why, t.write("a", r, "free"), t.write("b", r, "free"))
			t.conflicts(s, why, t.remove("a", r), create("d", "x"), t.write("b", r, "x"))
		}},
		{name: "commit-random", says: turn, run: func(t *tester) {
			s := t.start()
			random := newRandom(3)
			for i := range 150 {
				t.commitRandom(s, random)
				if i%10 == 0 {
					t.holds(s, fmt.Sprintf("after %d random commits", i+1))
				}
			}
			t.holds(s, "after 150 random commits")
		}},
	}
}

func conflictCases() []testCase {
	return []testCase{
		{name: "conflict-create", says: saysConflict, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"))
			t.conflicts(s, "there is a status with this id", create("a", "y"))
			t.conflicts(s, "there is a status with this id", create("a", "x"))
			t.commit(s, t.write("a", r, "y"))
			t.conflicts(s, "there is a status with this id", create("a", "x"))
		}},
		{name: "conflict-update", says: saysConflict, run: func(t *tester) {
			t.conflictsOf(func(id string, at customstatus.Revision) customstatus.Change { return t.write(id, at, "w") })
		}},
		{name: "conflict-delete", says: saysConflict, run: func(t *tester) { t.conflictsOf(t.remove) }},
		{name: "conflict-created-again", says: saysConflict, run: func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"))
			t.commit(s, t.remove("a", first))
			second := t.commit(s, create("a", "x"))
			t.holds(s, "after an id was deleted and created again")
			t.conflicts(s, "this revision was before the status was deleted and created again", t.write("a", first, "y"))
			t.conflicts(s, "this revision was before the status was deleted and created again", t.remove("a", first))
			t.commit(s, t.write("a", second, "y"))
			t.holds(s, "after an update of what was created again")
		}},
		{name: "conflict-name", says: saysTaken, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			t.conflicts(s, "the name belongs to another status", create("c", "x"))
			t.conflicts(s, "the name belongs to another status", t.write("b", r, "x"))
			// To another id: its own name is free to every status.
			r = t.commit(s, t.write("b", r, "y"))
			t.commit(s, t.write("b", r, "z"))
			t.commit(s, create("c", "y"))
			t.conflicts(s, "the name belongs to another status", create("d", "z"))
			t.holds(s, "after names were kept, left and taken")
		}},
		{name: "conflict-deleted-name", says: saysUnique, run: func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.commit(s, t.remove("a", r))
			t.conflicts(s, "the name still belongs to its status", create("d", "y"))
			t.commit(s, create("d", "x"))
			t.commit(s, t.remove("c", r))
			t.commit(s, create("e", "z"))
			t.holds(s, "after the names of deleted statuses were taken again")
		}},
	}
}

// conflictsOf checks that a store refuses a change of a status at another
// revision, and of a status that does not exist.
func (t *tester) conflictsOf(change func(id string, at customstatus.Revision) customstatus.Change) {
	t.Helper()
	s := t.start()
	first := t.commit(s, create("a", "x"), create("b", "y"))
	second := t.commit(s, t.write("a", first, "z"))
	t.conflicts(s, "the status has been written since", change("a", first))
	t.conflicts(s, "the status is not yet there", change("a", second+1000))
	t.conflicts(s, "this is the store's revision, not that of the status", change("b", second))
	t.conflicts(s, "no status is at revision 0", change("a", 0))
	t.conflicts(s, "there is no such status", change("c", second))
	t.conflicts(s, "there is no such status, at revision 0 either", change("c", 0))
	t.commit(s, t.remove("a", second))
	t.conflicts(s, "the status has been deleted", change("a", second))
	t.conflicts(s, "the status has been deleted", change("a", 0))
}

// limitCases returns the cases with large commits.
func limitCases() []testCase {
	const most = "A [*TooLargeError], which says how many changes would pass, is returned when a commit is beyond the store's limits, " +
		"or when a status is beyond the values above and the store can't keep it."
	return []testCase{
		{name: "limit-least", says: "A store accepts every commit of up to [MinCommitChanges] changes.", run: func(t *tester) {
			s := t.start()
			largest := func(kind string, i int) customstatus.CustomUserStatus {
				return largestStatus(fmt.Sprintf("%s %d ", kind, i))
			}
			changes := make([]customstatus.Change, customstatus.MinCommitChanges)
			for i := range changes {
				changes[i] = customstatus.Change{Kind: customstatus.Created, After: largest("first", i)}
			}
			r := t.commit(s, changes...)
			t.holds(s, "after creates of as many of the largest statuses as every store accepts")
			for i := range changes {
				before := t.before(largest("first", i).ID, r)
				after := largest("second", i)
				after.ID = before.ID
				changes[i] = customstatus.Change{Kind: customstatus.Updated, Before: before, After: after}
			}
			r = t.commit(s, changes...)
			t.holds(s, "after as many updates")
			for i := range changes {
				changes[i] = t.remove(changes[i].ID(), r)
			}
			t.commit(s, changes...)
			t.holds(s, "after as many deletes")
		}},
		{name: "limit-large", says: most, run: func(t *tester) {
			s := t.start()
			ids := make([]string, largeCommit)
			changes := make([]customstatus.Change, largeCommit)
			for i, k := range rand.New(rand.NewPCG(1, 2)).Perm(largeCommit) {
				ids[i] = fmt.Sprintf("id-%d", k)
				changes[i] = create(ids[i], fmt.Sprintf("Name %d", largeCommit-k))
			}
			t.commitAll(s, changes...)
			t.holds(s, "after 10,000 creates")
			for i, id := range ids {
				changes[i] = t.put(id, "New "+changes[i].After.Name)
			}
			t.commitAll(s, changes...)
			t.holds(s, "after 10,000 renames")
			for i, id := range ids {
				changes[i] = t.removeNow(id)
			}
			t.commitAll(s, changes...)
			t.holds(s, "after 10,000 deletes")
		}},
		{name: "limit-order", says: saysOrder, run: func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			changes := make([]customstatus.Change, largeCommit)
			for i := range changes {
				changes[i] = create(fmt.Sprint("id ", i), fmt.Sprint("name ", i))
			}
			conflict := slices.Clone(changes)
			conflict[0] = create("a", "y")
			twice := slices.Clone(changes)
			twice[len(twice)-1] = twice[0]
			t.faulty(s, "two changes of a large commit have the same id", twice...)
			_, err := t.try(t.ctx, s, conflict...)
			if err == nil {
				t.Fatalf("A large commit that creates an existing status = nil, want an error")
			}
			if errors.Is(err, customstatus.ErrConflict) {
				// Then the commit must not be too large.
				if r, err := t.try(t.ctx, s, slices.Clone(changes)...); err != nil {
					t.Errorf("A commit with a conflict = ErrConflict, but without the conflict it = %v; want that error first", err)
				} else {
					t.made(changes, r)
				}
			} else {
				t.tooLarge(err, conflict)
			}
			t.holds(s, "after large commits with a fault")
		}},
	}
}

// largeCommit is more changes than most stores accept in one commit.
const largeCommit = 10_000

// random makes commits with few ids and names, so that many conflict.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, seed))} }

// changes returns one to four changes, each of another id.
func (r random) changes(m *model) []customstatus.Change {
	ids := r.Perm(7)[:1+r.IntN(4)]
	names := []string{"x", "X", "xx", "y", "y ", "é", "e\u0301", "z"}
	changes := make([]customstatus.Change, len(ids))
	for i, n := range ids {
		id, name := fmt.Sprint("id", n), names[r.IntN(len(names))]
		at := m.statuses[id].Revision // 0 if the status does not exist
		if r.IntN(12) == 0 {
			at = customstatus.Revision(r.Uint64N(uint64(m.revision) + 2))
		}
		switch {
		case at == 0:
			changes[i] = create(id, name)
		case r.IntN(3) == 0:
			changes[i] = m.remove(id, at)
			continue
		default:
			changes[i] = m.write(id, at, name)
		}
		changes[i].After.UpdatedAt = someTime.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
		if r.IntN(2) == 0 {
			changes[i].After.Metadata = awkwardMetadata()[r.IntN(len(awkwardMetadata()))]
		}
	}
	return changes
}

// commitRandom makes a random commit, which the store must accept or refuse as
// the model does.
func (t *tester) commitRandom(s *handle, random random) {
	t.Helper()
	changes := random.changes(&t.model)
	why := t.conflict(changes)
	if why == "" {
		t.commit(s, changes...)
		return
	}
	if _, err := t.try(t.ctx, s, slices.Clone(changes)...); !errors.Is(err, customstatus.ErrConflict) {
		t.Fatalf("Commit(%s) = %v, want ErrConflict: %s", describeChanges(changes), err, why)
	}
}
