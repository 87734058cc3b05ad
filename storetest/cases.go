package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/customstatus/customstatus"
)

// cases are the sentences of the contract that can be checked, in its order.
func cases() []testCase {
	return slices.Concat(concurrencyCases(), revisionCases(), memoryCases(), valueCases(),
		loadCases(), commitCases(), closeCases(), reopenCases(), watchCases())
}

func revisionCases() []testCase {
	return []testCase{
		{"revision-new", "A new store is at revision 0.", func(t *tester) {
			t.holds(t.start(), "from a new place (is it fresh and empty?)")
		}},
		{"revision-grows", "A commit with at least one change takes the store to a revision greater than every one before.", func(t *tester) {
			s := t.start()
			last := customstatus.Revision(0)
			for i, c := range []func() customstatus.Change{
				func() customstatus.Change { return create("a", "x") },
				func() customstatus.Change { return write("a", last, "y") },
				func() customstatus.Change { return write("a", last, "y") }, // writes what is there
				func() customstatus.Change { return remove("a", last) },
				func() customstatus.Change { return create("a", "x") },
			} {
				revision := t.commit(s, c())
				if revision <= last {
					t.Errorf("Commit %d returned revision %d, the one before %d; want a greater one", i+1, revision, last)
				}
				last = revision
				t.holds(s, fmt.Sprintf("after commit %d", i+1))
			}
		}},
		{"revision-counts", "A store that only one process writes takes the next number, so that its n-th commit is revision n;", func(t *tester) {
			s := t.exclusive()
			n := customstatus.Revision(0)
			next := func(changes ...customstatus.Change) {
				t.Helper()
				n++
				if got := t.commit(s, changes...); got != n {
					t.Fatalf("Commit number %d returned revision %d", n, got)
				}
			}
			next(create("a", "x"), create("b", "y"))
			next(write("a", 1, "z"))
			t.conflicts(s, "it comes too late", write("a", 1, "late"))
			next(remove("a", 2), write("b", 1, "z"))
			if _, err := s.Commit(t.ctx, nil); err != nil {
				t.Fatalf("Commit without changes: %v", err)
			}
			next(remove("b", 3))
			next(create("c", "x"))
		}},
		{"revision-after-refusal", "Revisions are never given twice, not after a refused commit either,", func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"))
			given := map[customstatus.Revision]bool{first: true}
			for i := range 4 {
				t.conflicts(s, "the status is there", create(fmt.Sprint("b", i), fmt.Sprint("y", i)), create("a", "z"))
				revision := t.commit(s, create(fmt.Sprint("c", i), fmt.Sprint("c", i)))
				if given[revision] {
					t.Fatalf("Commit returned revision %d a second time, after a refused commit", revision)
				}
				given[revision] = true
			}
		}},
	}
}

func memoryCases() []testCase {
	const says = "A store keeps nothing of what it is given and gives away nothing it keeps: " +
		"the caller may change the slices it passed or received when the call has returned."
	return []testCase{
		{"memory-given", says, func(t *tester) {
			s := t.start()
			changes := []customstatus.Change{create("a", "x"), create("b", "y")}
			revision, err := s.Commit(t.ctx, changes)
			if err != nil {
				t.Fatalf("Commit: %v", err)
			}
			t.made([]customstatus.Change{create("a", "x"), create("b", "y")}, revision)
			for i := range changes {
				changes[i] = customstatus.Change{Replaces: 99, Deleted: true, Status: status("overwritten", "overwritten")}
			}
			t.holds(s, "after the caller has overwritten the changes that it had committed")
			t.conflicts(s, "the name is still taken", create("c", "x"))
		}},
		{"memory-received", says, func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"), create("b", "y"))
			all, _ := t.load(s)
			for i := range all {
				all[i] = status("overwritten", "overwritten")
			}
			t.holds(s, "after the caller has overwritten the statuses that it had loaded")
			t.conflicts(s, "the name is still taken", create("c", "x"))
		}},
		{"memory-unchanged", "A store does not change the slices that it is given.", func(t *tester) {
			s := t.start()
			unchanged := func(ctx context.Context, changes ...customstatus.Change) (customstatus.Revision, error) {
				t.Helper()
				given := slices.Clone(changes)
				revision, err := s.Commit(ctx, given)
				for i, c := range changes {
					if given[i] != c {
						t.Errorf("After Commit(%s) = %v, change number %d of the caller's slice is %+v, it was %+v",
							describeChanges(changes), err, i+1, given[i], c)
					}
				}
				return revision, err
			}
			// Not in the order of anything, and with fields that do not count.
			changes := []customstatus.Change{create("c", "x"), create("a", "z"), create("b", "y")}
			for i := range changes {
				changes[i].Status.Revision = 99
			}
			r, err := unchanged(t.ctx, changes...)
			if err != nil {
				t.Fatalf("Commit: %v", err)
			}
			full := customstatus.Change{Replaces: r, Deleted: true, Status: status("c", "what it was")}
			if _, err := unchanged(t.ctx, write("b", r, "w"), full, write("a", r, "x"), create("d", "z")); err != nil {
				t.Fatalf("Commit: %v", err)
			}
			for _, changes := range [][]customstatus.Change{
				{create("f", "f"), create("e", "e"), create("d", "taken")},
				{create("f", "f"), create("e", "e"), create("f", "f again")},
			} {
				if _, err := unchanged(t.ctx, changes...); err == nil {
					t.Fatalf("Commit(%s) = nil, want an error", describeChanges(changes))
				}
			}
			if _, err := unchanged(doneContexts()[0], create("f", "f"), create("e", "e")); err == nil {
				t.Fatalf("Commit with a done ctx = nil, want an error")
			}
		}},
	}
}

func loadCases() []testCase {
	return []testCase{
		{"load-all", "Load returns all statuses and the store's revision as they are at one instant between call and return, in any order.", func(t *tester) {
			s := t.start()
			revision := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.holds(s, "after creating three statuses")
			t.commit(s, create("d", "w"))
			t.commit(s, write("b", revision, "renamed"))
			t.commit(s, remove("a", revision))
			t.holds(s, "after creating, renaming and deleting one more")
			t.holds(s, "for the second time")
		}},
		{"load-revisions", "Each status has the Revision of the commit that wrote it last,", func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			second := t.commit(s, write("a", first, "x")) // writes what is there
			t.holds(s, "after rewriting a status as it was")
			t.commit(s, write("b", first, "new"), create("d", "w"))
			t.commit(s, write("a", second, "newer"))
			t.holds(s, "after rewriting some of the statuses")
		}},
		{"load-done-ctx", "A done ctx is its error;", func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			for _, ctx := range doneContexts() {
				if _, _, err := s.Load(ctx); !errors.Is(err, ctx.Err()) {
					t.Errorf("Load(ctx) = %v, want %v", err, ctx.Err())
				}
			}
			t.holds(s, "after a Load with a done ctx")
		}},
	}
}

// doneContexts returns a context that was cancelled and one whose deadline has
// passed.
func doneContexts() []context.Context {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	late, cancel := context.WithDeadline(context.Background(), time.Unix(0, 0))
	cancel()
	return []context.Context{cancelled, late}
}

func commitCases() []testCase {
	const (
		conflict = "The commit is refused with [ErrConflict] if the status with this id is not at the revision Replaces " +
			"(0: there must be none; a change that deletes never has 0), "
		nameTaken = "The commit is refused with [ErrConflict] … if the name that it takes belongs, in its turn, to another id."
		turn      = "A change is made in its turn, after those before it in the slice:"
		freed     = "A name is thus unique in the store itself, and a name that an earlier change of the commit gives up can be taken by a later one."
		twice     = "An id stands at most once in a commit; a second time is an error (other than ErrConflict, for the caller must not try again)."
	)
	return []testCase{
		{"commit-all", "Commit makes all changes or none, and returns the revision at which they were made. … " +
			"With Deleted false, the status with the id Status.ID becomes Status;", func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.commit(s, write("a", first, "renamed"), remove("b", first), create("d", "w"), write("c", first, "z"))
			t.holds(s, "after a commit that renames, deletes, creates and rewrites")
		}},
		{"commit-or-none", "Commit makes all changes or none, … " +
			"An error other than [ErrConflict] and [ErrOutcomeUnknown] means that nothing was written, and so does ErrConflict.", func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			good := []customstatus.Change{create("d", "w"), write("a", r, "renamed"), remove("b", r)}
			bad := []struct {
				why    string
				change customstatus.Change
			}{
				{"the status is there", create("c", "free")},
				{"the status is not at this revision", write("c", r+1000, "free")},
				{"there is no such status", write("none", r, "free")},
				{"there is no such status", remove("none", r)},
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
		{"commit-after-refusal", "A store that can write again after a failure does so by itself at the next commit;", func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"))
			t.conflicts(s, "the name belongs to another status", create("b", "x"))
			t.commit(s, create("b", "y"))
			if _, err := s.Commit(doneContexts()[0], []customstatus.Change{create("c", "z")}); err == nil {
				t.Fatalf("Commit with a done ctx = nil, want an error")
			}
			t.commit(s, create("c", "z"), remove("a", r))
			t.holds(s, "after commits that follow refused ones")
		}},
		{"commit-name-given-up", freed, func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.commit(s, remove("a", r), create("d", "x"))
			t.holds(s, "after a commit that deletes a status and gives its name to a new one")
			t.commit(s, write("b", r, "free"), write("c", r, "y"), create("e", "z"))
			t.holds(s, "after a commit that hands two names on")
			for _, name := range []string{"x", "free", "y", "z"} {
				t.conflicts(s, "the name belongs to another status", create("f", name))
			}
		}},
		{"commit-name-given-up-later", turn, func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			const why = "the name is given up only after it is taken"
			t.conflicts(s, why, create("c", "x"), remove("a", r))
			t.conflicts(s, why, write("b", r, "x"), write("a", r, "free"))
		}},
		{"commit-names-swapped", turn, func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			t.conflicts(s, "when the first change takes the name, the other status still has it", write("a", r, "y"), write("b", r, "x"))
		}},
		{"commit-name-taken-twice", nameTaken, func(t *tester) {
			s := t.start()
			const why = "an earlier change of the commit has taken the name"
			t.conflicts(s, why, create("a", "x"), create("b", "x"))
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.conflicts(s, why, write("a", r, "free"), write("b", r, "free"))
			t.conflicts(s, why, remove("a", r), create("d", "x"), write("b", r, "x"))
		}},
		{"commit-sets-revision", "the store gives it the revision of this commit, whatever Status.Revision says.", func(t *tester) {
			s := t.start()
			c := create("a", "x")
			c.Status.Revision = 99
			r := t.commit(s, c)
			t.holds(s, "after a create with a Status.Revision of 99")
			c = write("a", r, "x")
			c.Status.Revision = r + 99
			r = t.commit(s, c)
			t.holds(s, "after an update with a Status.Revision of its own")
			t.commit(s, write("a", r, "y"))
		}},
		{"delete-fields", "With Deleted true, the status with this id goes; no other field of Status counts.", func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.commit(s, customstatus.Change{Replaces: r, Deleted: true, Status: customstatus.CustomUserStatus{
				ID: "a", Name: "y", StatusType: "none", UpdatedAt: someTime.AddDate(-1, 0, 0), Revision: r + 99,
			}})
			t.holds(s, "after a delete whose Status has the name of another")
			t.conflicts(s, "the name still belongs to its status", create("d", "y"))
			t.commit(s, create("d", "x"))
			t.commit(s, remove("c", r))
			t.commit(s, create("e", "z"))
			t.holds(s, "after the names of deleted statuses were taken again")
		}},
		{"conflict-create", conflict, func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"))
			t.conflicts(s, "there is a status with this id", create("a", "y"))
			t.conflicts(s, "there is a status with this id", create("a", "x"))
			t.commit(s, write("a", r, "y"))
			t.conflicts(s, "there is a status with this id", create("a", "x"))
		}},
		{"conflict-update", conflict, func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"), create("b", "y"))
			second := t.commit(s, write("a", first, "z"))
			t.conflicts(s, "the status has been written since", write("a", first, "w"))
			t.conflicts(s, "the status is not yet there", write("a", second+1000, "w"))
			t.conflicts(s, "this is the store's revision, not that of the status", write("b", second, "w"))
			t.conflicts(s, "there is no such status", write("c", second, "w"))
			t.commit(s, remove("a", second))
			t.conflicts(s, "the status has been deleted", write("a", second, "w"))
		}},
		{"conflict-delete", conflict, func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"), create("b", "y"))
			second := t.commit(s, write("a", first, "z"))
			t.conflicts(s, "the status has been written since", remove("a", first))
			t.conflicts(s, "the status is not yet there", remove("a", second+1000))
			t.conflicts(s, "this is the store's revision, not that of the status", remove("b", second))
			t.conflicts(s, "there is no such status", remove("c", second))
			t.commit(s, remove("a", second))
			t.conflicts(s, "the status has been deleted", remove("a", second))
		}},
		{"conflict-created-again", conflict, func(t *tester) {
			s := t.start()
			first := t.commit(s, create("a", "x"))
			t.commit(s, remove("a", first))
			second := t.commit(s, create("a", "x"))
			t.holds(s, "after an id was deleted and created again")
			t.conflicts(s, "this revision was before the status was deleted and created again", write("a", first, "y"))
			t.conflicts(s, "this revision was before the status was deleted and created again", remove("a", first))
			t.commit(s, write("a", second, "y"))
			t.holds(s, "after an update of what was created again")
		}},
		{"conflict-name", nameTaken, func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			t.conflicts(s, "the name belongs to another status", create("c", "x"))
			t.conflicts(s, "the name belongs to another status", write("b", r, "x"))
			// To another id: its own name is free to every status.
			r = t.commit(s, write("b", r, "y"))
			t.commit(s, write("b", r, "z"))
			t.commit(s, create("c", "y"))
			t.conflicts(s, "the name belongs to another status", create("d", "z"))
			t.holds(s, "after names were kept, left and taken")
		}},
		{"id-twice", twice, func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			for _, changes := range [][]customstatus.Change{
				{create("c", "z"), create("c", "w")},
				{create("c", "z"), create("c", "z")},
				{write("a", r, "z"), write("a", r, "w")},
				{write("a", r, "x"), remove("a", r)},
				{remove("a", r), create("a", "z")},
				{remove("a", r), remove("a", r)},
				{remove("a", r), create("c", "x"), create("d", "z"), create("c", "w")},
			} {
				_, err := s.Commit(t.ctx, changes)
				if err == nil || errors.Is(err, customstatus.ErrConflict) {
					t.Errorf("Commit(%s) = %v, want an error that is not ErrConflict", describeChanges(changes), err)
				}
				t.holds(s, "after a commit in which an id stands twice")
			}
		}},
		{"commit-empty", "With no changes, Commit writes nothing and returns the revision of the store at an instant between call and return.", func(t *tester) {
			s := t.start()
			empty := func() {
				t.Helper()
				for _, changes := range [][]customstatus.Change{nil, {}} {
					revision, err := s.Commit(t.ctx, changes)
					if err != nil || revision != t.revision {
						t.Errorf("Commit without changes = %d, %v, want %d, nil", revision, err, t.revision)
					}
				}
				t.holds(s, "after a commit without changes")
			}
			empty()
			r := t.commit(s, create("a", "x"))
			empty()
			t.conflicts(s, "the status is there", create("a", "y"))
			empty()
			t.commit(s, remove("a", r))
			empty()
		}},
		{"commit-done-ctx", "A ctx that is done before the commit has begun is its error, and nothing is written.", func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"))
			for _, ctx := range doneContexts() {
				for _, c := range []customstatus.Change{create("b", "y"), write("a", r, "y"), remove("a", r)} {
					if _, err := s.Commit(ctx, []customstatus.Change{c}); !errors.Is(err, ctx.Err()) {
						t.Errorf("Commit(ctx, …) = %v, want %v", err, ctx.Err())
					}
					t.holds(s, "after a commit with a done ctx")
				}
			}
		}},
		{"commit-large", "Commit makes all changes or none,", func(t *tester) {
			s := t.start()
			const n = 10_000
			changes := make([]customstatus.Change, n)
			order := rand.New(rand.NewPCG(1, 2)).Perm(n)
			for i, k := range order {
				changes[i] = create(fmt.Sprintf("id-%d", k), fmt.Sprintf("Name %d", n-k))
			}
			t.conflicts(s, "the last name of 10,000 is taken", append(slices.Clone(changes[1:]), create("one too many", changes[1].Status.Name))...)
			r := t.commit(s, changes...)
			t.holds(s, "after a commit of 10,000 creates")
			for i, k := range order {
				changes[i] = write(fmt.Sprintf("id-%d", k), r, fmt.Sprintf("New name %d", k))
			}
			r = t.commit(s, changes...)
			t.holds(s, "after a commit of 10,000 renames")
			for i, k := range order {
				changes[i] = remove(fmt.Sprintf("id-%d", k), r)
			}
			t.commit(s, changes...)
			t.holds(s, "after a commit of 10,000 deletes")
		}},
		{"commit-random", turn, func(t *tester) {
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

// random makes commits over few ids and names, so that many are refused.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, seed))} }

// changes returns one to four changes of different ids.
func (r random) changes(m *model) []customstatus.Change {
	ids := r.Perm(7)[:1+r.IntN(4)]
	names := []string{"x", "X", "xx", "y", "y ", "é", "e\u0301", "z"}
	changes := make([]customstatus.Change, len(ids))
	for i, n := range ids {
		id := fmt.Sprint("id", n)
		replaces := m.statuses[id].Revision // 0 if there is none
		if r.IntN(12) == 0 {
			replaces = customstatus.Revision(r.Uint64N(uint64(m.revision) + 2))
		}
		if replaces > 0 && r.IntN(3) == 0 {
			changes[i] = remove(id, replaces)
			continue
		}
		changes[i] = write(id, replaces, names[r.IntN(len(names))])
		changes[i].Status.UpdatedAt = someTime.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
	}
	return changes
}

// commitRandom makes a random commit, which the store has to accept or refuse
// as the model does.
func (t *tester) commitRandom(s *handle, random random) {
	t.Helper()
	changes := random.changes(&t.model)
	why := t.conflict(changes)
	if why == "" {
		t.commit(s, changes...)
		return
	}
	if _, err := s.Commit(t.ctx, slices.Clone(changes)); !errors.Is(err, customstatus.ErrConflict) {
		t.Fatalf("Commit(%s) = %v, want ErrConflict: %s", describeChanges(changes), err, why)
	}
}

func closeCases() []testCase {
	const (
		again  = "It is idempotent: a second Close returns nil."
		closed = "Every other method called after it returns [ErrClosed]."
	)
	return []testCase{
		{"close-twice", again, func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			t.close(s)
			for range 2 {
				if err := t.closing(s); err != nil {
					t.Errorf("Close of a closed store = %v, want nil", err)
				}
			}
		}},
		{"close-at-once", again, func(t *tester) {
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
		{"close-then-load", closed + " … a closed store is [ErrClosed].", func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			t.close(s)
			if _, _, err := s.Load(t.ctx); !errors.Is(err, customstatus.ErrClosed) {
				t.Errorf("Load after Close = %v, want ErrClosed", err)
			}
		}},
		{"close-then-commit", closed + " … A closed store is [ErrClosed].", func(t *tester) {
			s := t.start()
			t.commit(s, create("a", "x"))
			t.close(s)
			for _, changes := range [][]customstatus.Change{{create("b", "y")}, {create("a", "x")}, nil} {
				if _, err := s.Commit(t.ctx, changes); !errors.Is(err, customstatus.ErrClosed) {
					t.Errorf("Commit(%s) after Close = %v, want ErrClosed", describeChanges(changes), err)
				}
			}
		}},
	}
}

func reopenCases() []testCase {
	const (
		lasts     = "When it returns nil, they are durable: they survive whatever the store promises to survive."
		revisions = "Revisions are never given twice, not after a refused commit either, nor after reopening."
	)
	return []testCase{
		{"reopen-new", "A new store is at revision 0.", func(t *tester) {
			s := t.start()
			s = t.reopen(s)
			t.holds(s, "after reopening a new place")
			t.commit(s, create("a", "x"))
			t.holds(s, "after the first commit")
		}},
		{"reopen-statuses", lasts, func(t *tester) {
			s := t.start()
			changes := make([]customstatus.Change, 0, 100)
			for i, id := range awkwardIDs() {
				changes = append(changes, create(id, fmt.Sprint("name ", i)))
			}
			for i, name := range awkwardNames() {
				c := create(fmt.Sprint("id ", i), name)
				c.Status.UpdatedAt = awkwardTimes()[i%len(awkwardTimes())]
				changes = append(changes, c)
			}
			t.commit(s, changes...)
			s = t.reopen(s)
			t.holds(s, "after reopening")
			t.commit(s, create("one", "more"))
			s = t.reopen(s)
			t.holds(s, "after reopening again")
		}},
		{"reopen-changes", lasts, func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.commit(s, write("a", r, "renamed"), remove("b", r))
			t.conflicts(s, "the status is there", create("d", "w"), create("a", "v"))
			s = t.reopen(s)
			t.holds(s, "after reopening, what was renamed, deleted and refused included")
			t.conflicts(s, "the status has been written since", write("a", r, "late"))
			t.commit(s, write("c", r, "written after reopening"))
			t.holds(s, "after a commit that followed reopening")
		}},
		{"reopen-names", lasts, func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"), create("c", "z"))
			t.commit(s, write("a", r, "renamed"), remove("b", r))
			s = t.reopen(s)
			t.conflicts(s, "the name belongs to another status", create("d", "renamed"))
			t.conflicts(s, "the name belongs to another status", create("d", "z"))
			t.commit(s, create("d", "x"), create("e", "y"))
			t.holds(s, "after names that were free at the reopening were taken")
		}},
		{"reopen-revision", revisions, func(t *tester) {
			s := t.start()
			r := t.commit(s, create("a", "x"), create("b", "y"))
			last := t.commit(s, remove("b", r)) // no status has this revision
			for range 2 {
				s = t.reopen(s)
				revision := t.commit(s, create("b", "y"))
				if revision <= last {
					t.Fatalf("The first commit after reopening returned revision %d, the last one before it was %d; want a greater one", revision, last)
				}
				last = t.commit(s, remove("b", revision))
			}
			last = t.commit(s, remove("a", r))
			s = t.reopen(s)
			t.holds(s, "after reopening without any status")
			if revision := t.commit(s, create("a", "x")); revision <= last {
				t.Fatalf("The first commit after reopening without any status returned revision %d, the last one before it was %d; want a greater one", revision, last)
			}
		}},
		{"reopen-random", lasts, func(t *tester) {
			s := t.start()
			random := newRandom(4)
			for range 10 {
				for range 10 {
					t.commitRandom(s, random)
				}
				s = t.reopen(s)
				t.holds(s, "after random commits and reopening")
			}
		}},
		{"reopen-after-busy-close", lasts + " … Close waits for the methods that run, and frees all resources.", func(t *tester) {
			s := t.start()
			t.closeWhileBusy(s)
			t.holds(t.reopen(s), "after a Close beside commits: those that returned nil and no other")
		}},
	}
}
