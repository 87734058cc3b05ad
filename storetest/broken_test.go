package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// brokenStore breaks the contract in one way.
type brokenStore struct {
	by   string // the case that catches it
	flaw string
	says string // part of a failure
	hang bool   // the case fails by waiting
}

// brokenExclusive are flaws of an exclusive store.
var brokenExclusive = []brokenStore{
	{by: "revision-new", flaw: "begins at revision 1", says: "the revision is 1, want 0"},
	{by: "revision-new", flaw: "hangs at Load", says: "Load does not return", hang: true},
	{by: "revision-new", flaw: "panics at Load", says: "Load panics: a nil map, say"},
	{by: "commit-all", flaw: "loses the last change", says: "a status is missing"},
	{by: "commit-all", flaw: "keeps what is deleted", says: "should not exist"},
	{by: "commit-all", flaw: "hangs at the third commit", says: "does not return", hang: true},
	{by: "revision-now", flaw: "tells the revision before the last commit", says: "Revision after a commit = 0, <nil>, want 1"},
	{by: "revision-now", flaw: "counts refused commits in Revision", says: "Revision after a refused commit = 2, <nil>, want 1"},
	{by: "close", flaw: "hangs at Close", says: "Close does not return", hang: true},
	{by: "close", flaw: "fails to close", says: "bad file descriptor"},
	{by: "contents-shared", flaw: "says that it is shared", says: "Shared true, want false"},

	{by: "revision-grows", flaw: "doesn't commit what is there already", says: "want a greater one"},
	{by: "revision-after-refusal", flaw: "takes back a revision when it refuses", says: "a second time"},
	{by: "revision-counts", flaw: "skips a revision", says: "Commit number 1 returned revision 2"},
	{by: "revision-counts", flaw: "counts a commit without changes", says: "want an error"},

	{by: "load-all", flaw: "loads one status short", says: "a status is missing"},
	{by: "load-all", flaw: "loads what was there before the last commit", says: "the revision is"},
	{by: "load-revisions", flaw: "keeps the revision of the create", says: "Revision is 1, want 2"},
	{by: "load-fingerprint", flaw: "has a fingerprint with the revisions in it", says: "but the sum over the statuses is"},

	{by: "memory-given", flaw: "keeps the slice it is given", says: "overwritten"},
	{by: "memory-received", flaw: "gives away the slice it keeps", says: "overwritten"},
	{by: "memory-unchanged", flaw: "sorts the slice that it is given", says: "changed element 0 of the caller's slice"},
	{by: "memory-unchanged", flaw: "sets revisions in the slice that it is given", says: "changed element 0 of the caller's slice"},
	{by: "memory-unchanged", flaw: "clears Before in the slice that it is given", says: "changed element 0 of the caller's slice"},
	{by: "memory-unchanged", flaw: "empties the slice that it refuses", says: "conflict changed element 0 of the caller's slice"},

	{by: "commit-kinds", flaw: "updates only what changes", says: "conflict, want success"},
	{by: "commit-kinds", flaw: "keeps what is deleted", says: "should not exist"},
	{by: "commit-or-none", flaw: "keeps the changes before a bad one", says: "should not exist"},
	{by: "commit-after-refusal", flaw: "never commits again after a refusal", says: "must be reopened"},
	{by: "commit-sets-revision", flaw: "keeps the revision it is given", says: "Revision is 99, want 1"},
	{by: "commit-name-given-up", flaw: "checks names against the start of the commit", says: "conflict, want success"},
	{by: "commit-name-given-up", flaw: "never frees the name of what is renamed", says: "conflict, want success"},
	{by: "commit-name-given-up-later", flaw: "checks names at the end of the commit", says: "given up only after"},
	{by: "commit-names-swapped", flaw: "checks names at the end of the commit", says: "still has it"},
	{by: "commit-name-taken-twice", flaw: "checks names against the start of the commit", says: "an earlier change"},
	{by: "commit-random", flaw: "doesn't check the name of the fourth change", says: "want ErrConflict"},

	{by: "conflict-create", flaw: "creates over what is there", says: "there is a status with this id"},
	{by: "conflict-update", flaw: "updates whatever the revision", says: "has been written since"},
	{by: "conflict-update", flaw: "updates what isn't there", says: "no such status"},
	{by: "conflict-update", flaw: "takes the store's revision for the status's", says: "not that of the status"},
	{by: "conflict-update", flaw: "takes revision 0 for no guard", says: "no status is at revision 0"},
	{by: "conflict-update", flaw: "takes an update of nothing at revision 0 for a create", says: "at revision 0 either"},
	{by: "conflict-delete", flaw: "deletes whatever the revision", says: "has been written since"},
	{by: "conflict-delete", flaw: "deletes what isn't there", says: "no such status"},
	{by: "conflict-delete", flaw: "takes revision 0 for no guard", says: "no status is at revision 0"},
	{by: "conflict-delete", flaw: "takes a delete of nothing at revision 0 for done", says: "at revision 0 either"},
	{by: "conflict-created-again", flaw: "never lets an id come back", says: "conflict, want success"},
	{by: "conflict-created-again", flaw: "takes a revision of an earlier life", says: "before the status was deleted"},
	{by: "conflict-name", flaw: "doesn't know of names", says: "belongs to another status"},
	{by: "conflict-name", flaw: "doesn't check the name of an update", says: "belongs to another status"},
	{by: "conflict-name", flaw: "lets no status keep its name", says: "conflict, want success"},
	{by: "conflict-deleted-name", flaw: "never frees the name of what is deleted", says: "conflict, want success"},

	{by: "value-ids", flaw: "folds ids", says: `create "a" as`},
	{by: "value-names", flaw: "trims names", says: `Name is "a", want "a "`},
	{by: "value-names", flaw: "looks names up by their first 100 bytes", says: "conflict"},
	{by: "value-names-unique", flaw: "folds names", says: "conflict"},
	{by: "value-names-unique", flaw: "takes long names for different", says: "want ErrConflict"},
	{by: "value-status-types", flaw: "takes no status type for offline", says: `StatusType is "offline", want ""`},
	{by: "value-times", flaw: "cuts times to seconds", says: "UpdatedAt is"},
	{by: "value-times", flaw: "keeps times in nanoseconds since 1970", says: "UpdatedAt is"},
	{by: "value-times", flaw: "loads times in the local zone", says: `in location "local", want time.UTC`},
	{by: "value-metadata", flaw: "makes metadata valid UTF-8", says: `Metadata is "\ufffd", want "\xff"`},
	{by: "value-metadata", flaw: "ends metadata at a NUL", says: `Metadata is "", want "\x00"`},
	{by: "value-metadata", flaw: "keeps 255 bytes of metadata", says: "(4096 bytes)"},
	{by: "value-metadata", flaw: "forgets metadata", says: `Metadata is "", want "`},
	{by: "value-metadata", flaw: "keeps the metadata of the create", says: "after changing nothing but the metadata"},

	{by: "load-done-ctx", flaw: "loads with a done ctx", says: "want context canceled"},
	{by: "revision-done-ctx", flaw: "tells with a done ctx", says: "want context canceled"},
	{by: "commit-done-ctx", flaw: "commits with a done ctx", says: "Commit(ctx, …) = <nil>, want context canceled"},
	{by: "commit-done-ctx", flaw: "commits with a done ctx and returns its error", says: "should not exist"},
	{by: "fault-empty", flaw: "takes a commit without changes", says: "it has no changes"},
	{by: "fault-empty", flaw: "says conflict when the caller is at fault", says: "none of the sentinels"},
	{by: "fault-id-twice", flaw: "takes an id twice", says: "= nil, want an error"},
	{by: "fault-id-twice", flaw: "says conflict when an id is there twice", says: "none of the sentinels"},
	{by: "fault-kind", flaw: "takes other kinds for updates", says: "a change has kind 0"},
	{by: "fault-kind", flaw: "says conflict when the caller is at fault", says: "none of the sentinels"},
	{by: "fault-two-ids", flaw: "turns one status into another", says: "from one id to another"},
	{by: "order-ctx", flaw: "looks for conflicts before ctx", says: "there is a conflict, too"},
	{by: "order-fault", flaw: "looks for duplicate ids last", says: "two changes have the same id, and there is a conflict"},
	{by: "order-closed", flaw: "asks ctx before whether it is closed", says: "want ErrClosed"},
	{by: "outcome-unknown", flaw: "finds a commit of unknown outcome later", says: "should not exist"},
	{by: "outcome-unknown", flaw: "loses a commit of unknown outcome later", says: "a status is missing"},
	{by: "outcome-unknown", flaw: "finds a commit of unknown outcome when reopened", says: "is there after reopening, and was not before"},
	{by: "outcome-unknown", flaw: "loses a commit of unknown outcome when reopened", says: "is missing after reopening, and was there before"},
	{by: "outcome-unknown", flaw: "makes a half of a commit of unknown outcome", says: "has 1 of its 2 statuses"},

	{by: "close-twice", flaw: "can't be closed twice", says: "want nil"},
	{by: "close-at-once", flaw: "can't be closed twice", says: "want nil"},
	{by: "close-then-load", flaw: "loads after Close", says: "want ErrClosed"},
	{by: "close-then-revision", flaw: "tells after Close", says: "want ErrClosed"},
	{by: "close-then-commit", flaw: "commits after Close", says: "want ErrClosed"},
	{by: "close-waits-for-commit", flaw: "doesn't wait at Close", says: "Close returned while Commit was running, which then succeeded"},
	{by: "close-waits-for-load", flaw: "doesn't wait at Close", says: "Close returned while Load was running"},
	{by: "close-waits-for-revision", flaw: "doesn't wait at Close", says: "Close returned while Revision was running"},

	{by: "reopen-new", flaw: "counts an opening as a commit", says: "the revision is 1, want 0"},
	{by: "reopen-statuses", flaw: "forgets everything when reopened", says: "a status is missing"},
	{by: "reopen-statuses", flaw: "forgets the milliseconds when reopened", says: "UpdatedAt is"},
	{by: "reopen-changes", flaw: "forgets the last deletes when reopened", says: "should not exist"},
	{by: "reopen-changes", flaw: "forgets the last renames when reopened", says: `Name is "x", want "renamed"`},
	{by: "reopen-names", flaw: "forgets the names when reopened", says: "belongs to another status"},
	{by: "reopen-revision", flaw: "takes the revision from the statuses when reopened", says: "want a greater one"},
	{by: "reopen-random", flaw: "forgets the last renames when reopened", says: "Name is"},
	{by: "reopen-after-busy-close", flaw: "loses the last commit at Close", says: "a status is missing"},
	{by: "exclusive-open", flaw: "can be opened twice", says: "while the store is open, = nil, want ErrLocked"},
	{by: "exclusive-open", flaw: "has an error of its own when it is open already", says: "timeout, want ErrLocked"},
	{by: "exclusive-open", flaw: "waits until it can be opened", says: "The Opener, called while the store is open, does not return", hang: true},
	{by: "exclusive-open", flaw: "is harmed by a second opening", says: "want success"},
	{by: "exclusive-open", flaw: "stays locked after Close", says: "can't open the place again after Close"},

	{by: "limit-least", flaw: "refuses more than 20 changes", says: "want success"},
	{by: "limit-large", flaw: "refuses more than 20 changes", says: "MaxChanges 20, want at least 32"},
	{by: "limit-large", flaw: "says 32 when it refuses more than 20 changes", says: "want success"},
	{by: "limit-large", flaw: "refuses more than 1,000 changes without a number", says: "want success or a *TooLargeError"},
	{by: "limit-large", flaw: "refuses more than 1,000 changes and says that more would pass", says: "want success"},
	{by: "limit-large", flaw: "makes the first 1,000 of too many changes", says: "should not exist"},
	{by: "limit-order", flaw: "looks for conflicts before it counts", says: "want that error first"},
	{by: "limit-order", flaw: "looks for duplicate ids last", says: "none of the sentinels"},

	{by: "at-once-methods", flaw: "loads what was there before the last commit", says: "after this goroutine's commit"},
	{by: "at-once-methods", flaw: "is busy while another commits", says: "busy"},
	{by: "at-once-commits", flaw: "is busy while another commits", says: "nothing conflicts"},
	{by: "at-once-commits", flaw: "hangs at the third commit", says: "do not return: Commit(", hang: true},
	{by: "at-once-names", flaw: "checks, lets others in, and writes", says: "were accepted"},
	{by: "at-once-names", flaw: "doesn't know of names", says: "6 were accepted"},
	{by: "at-once-renames", flaw: "doesn't know of names", says: "6 were accepted"},
	{by: "at-once-creates", flaw: "creates over what is there", says: "6 were accepted"},
	{by: "at-once-updates", flaw: "updates whatever the revision", says: "6 were accepted"},
	{by: "at-once-loads", flaw: "shows a commit change by change", says: "every commit writes all statuses"},
	{by: "load-includes-returned", flaw: "loads what was there before the last commit", says: "had returned before the call"},
	{by: "commit-cancelled", flaw: "gives up after the commit when ctx is done", says: "should not exist"},
	{by: "commit-cancelled", flaw: "says that it committed when ctx was done", says: "a status is missing"},
	{by: "close-while-busy", flaw: "has an error of its own after Close", says: "want success or ErrClosed"},
	{by: "close-while-busy", flaw: "commits after Close", says: "want success or ErrClosed"},
}

// The first case that fails is the case of the broken sentence, because the
// other cases don't check more than their own sentence.
func TestFirstFailureSaysWhatIsBroken(t *testing.T) {
	for flaw, want := range map[string]string{
		"loads with a done ctx":                              "load-done-ctx",
		"tells with a done ctx":                              "revision-done-ctx",
		"commits with a done ctx":                            "commit-done-ctx",
		"commits with a done ctx and returns its error":      "commit-done-ctx",
		"takes an id twice":                                  "fault-id-twice",
		"forgets everything when reopened":                   "reopen-statuses",
		"forgets the milliseconds when reopened":             "reopen-statuses",
		"finds a commit of unknown outcome when reopened":    "outcome-unknown",
		"loses a commit of unknown outcome when reopened":    "outcome-unknown",
		"takes the revision from the statuses when reopened": "reopen-revision",
	} {
		t.Run(flaw, func(t *testing.T) {
			t.Parallel()
			for _, c := range exclusiveCases() {
				if r := outcome(c, simply(flaw), patience); len(r.failures) > 0 {
					require.Equal(t, want, c.name, "%q", r.failures)
					return
				}
			}
			require.Fail(t, "no case fails")
		})
	}
}

// brokenShared are flaws of a shared store, or of several on one place.
var brokenShared = []brokenStore{
	{by: "contents-shared", flaw: "says that it is not shared", says: "Shared false, want true"},
	{by: "shared-open", flaw: "can't be opened twice", says: "can't open a second store beside the first: locked"},
	{by: "shared-open", flaw: "loads what was there when it was opened", says: "a status is missing"},
	{by: "shared-names", flaw: "says that it committed when it lost", says: "were accepted"},
	{by: "shared-updates", flaw: "says that it committed when it lost", says: "were accepted"},
	{by: "shared-commits", flaw: "commits for itself alone", says: "a status is missing"},
	{by: "shared-loads", flaw: "loads what was there when it was opened", says: "had returned before the call"},
	{by: "shared-revision", flaw: "has a revision of its own", says: "had returned = 0, <nil>, want 2"},

	{by: "watch-begins", flaw: "begins without a word", says: "does not yield a first commit after revision 0", hang: true},
	{by: "watch-begins", flaw: "begins where the store is", says: "want a commit with no changes at revision 0"},
	{by: "watch-past", flaw: "resumes one commit too late", says: "its revision is 4, want 2"},
	{by: "watch-past", flaw: "loses every second commit", says: "its revision is 6, want 4"},
	{by: "watch-past", flaw: "swaps commits", says: "its revision is 4, want 2"},
	{by: "watch-past", flaw: "splits commits", says: "it has 1 changes, want 2"},
	{by: "watch-past", flaw: "has nothing to say", says: "Watch does not yield commit 2", hang: true},
	{by: "watch-to-come", flaw: "ends a feed when it has caught up", says: "Watch ended with []"},
	{by: "watch-to-come", flaw: "yields every commit twice", says: "its revision is 2, want 4"},
	{by: "watch-to-come", flaw: "has nothing to say", says: "does not yield commit 2", hang: true},
	{by: "watch-empty-commits", flaw: "says too early that all were yielded", says: "that all commits up to 2 were yielded"},
	{by: "watch-reaches", flaw: "counts what its feed doesn't tell", says: "does not reach revision 3", hang: true},
	{by: "watch-reaches", flaw: "loads a revision that its feed doesn't tell", says: "does not reach revision 3", hang: true},
	{by: "watch-fingerprint", flaw: "has a fingerprint of the changes alone", says: "but the sum over all statuses is"},
	{by: "watch-fingerprint", flaw: "tells a fingerprint that is none with progress", says: "with no changes and the fingerprint 0x0"},
	{by: "watch-resumes", flaw: "resumes with the commit it resumes after", says: "its revision is"},
	{by: "watch-changes", flaw: "doesn't know what a change replaces", says: "has Before.Revision 0, want 2"},
	{by: "watch-changes", flaw: "doesn't tell whose the change is", says: `has Before.ID "", want "a"`},
	{by: "watch-changes", flaw: "tells updates for creates", says: "is of kind updated, want created"},
	{by: "watch-changes", flaw: "tells of a delete what was there as After", says: "a deletion with an After"},
	{by: "watch-changes", flaw: "doesn't tell the revision in the feed", says: "Revision is 0, want 2"},
	{by: "watch-order", flaw: "sorts the changes of its feed", says: `is of status "a", want status "c"`},
	{by: "watch-order", flaw: "yields deletes after all other changes", says: `is of status "d", want status "b"`},
	{by: "watch-values", flaw: "trims names in the feed", says: `Name is "a", want "a "`},
	{by: "watch-values", flaw: "makes metadata valid UTF-8 in the feed", says: "Metadata is"},
	{by: "watch-large", flaw: "splits commits of more than 1,000 changes", says: "it has 1000 changes, want 10000"},
	{by: "watch-made-only", flaw: "yields refused commits", says: "its revision is 3, want 4"},
	{by: "watch-at-once", flaw: "swaps commits", says: "its revision is 4, want 2"},
	{by: "watch-at-once", flaw: "splits commits", says: "it has 1 changes, want 2"},
	{by: "watch-others", flaw: "yields only its own commits", says: "does not yield commit 4", hang: true},
	{by: "watch-others-at-once", flaw: "loses every second commit", says: "its revision is"},
	{by: "watch-several", flaw: "swaps commits", says: "its revision is 4, want 2"},
	{by: "watch-break", flaw: "goes on in a second loop where the first has left off", says: "its revision is 4, want 2"},
	{by: "watch-break", flaw: "waits at Close for loops that were left", says: "Close does not return", hang: true},
	{by: "watch-slow", flaw: "waits at Commit for the bodies of loops", says: "does not return", hang: true},
	{by: "watch-slow", flaw: "runs the body of one loop at a time", says: "does not yield commit 2", hang: true},
	{by: "watch-slow", flaw: "keeps no more than some commits for a slow watcher", says: "want 4"},
	{by: "watch-slow-reads", flaw: "waits at Load for the bodies of loops", says: "Load does not return", hang: true},
	{by: "watch-slow-reads", flaw: "waits at Revision for the bodies of loops", says: "Revision does not return", hang: true},
	{by: "watch-calls", flaw: "waits at Commit for the bodies of loops", says: "do not return: Commit(", hang: true},
	{by: "watch-calls", flaw: "waits at Load for the bodies of loops", says: "do not return: Load", hang: true},
	{by: "watch-memory", flaw: "gives away the changes of its feed", says: "it lacks the change"},
	{by: "watch-done-ctx", flaw: "ends a feed without an error", says: "with the errors [], want exactly one"},
	{by: "watch-done-ctx", flaw: "ends a feed with two errors", says: "want exactly one, context canceled"},
	{by: "watch-done-ctx", flaw: "doesn't heed ctx in Watch", says: "does not end, want context canceled: a ctx that was done before", hang: true},
	{by: "watch-closed", flaw: "ends a feed with an error of its own", says: "want exactly one, closed"},
	{by: "watch-close-in-loop", flaw: "waits at Close for the bodies of loops", says: "Close does not return", hang: true},
	{by: "watch-unreached", flaw: "waits for a revision that it has never reached", says: "want position compacted or unknown: Watch after 1000", hang: true},
	{by: "watch-unreached", flaw: "begins anywhere when it has never reached the revision", says: "want position compacted or unknown: Watch after 1000", hang: true},
	{by: "watch-unreached", flaw: "takes the last revision for one that it has never reached", says: "before commit 4"},
	{by: "watch-unreached-others", flaw: "has reached no revision but its own", says: "before commit"},
	{by: "watch-compacted", flaw: "yields what is left of forgotten commits", says: "but must end", hang: true},
}

// Each store breaks the contract in one way. The case for the broken sentence
// fails and says what is wrong. Every case catches at least one store.
func TestBrokenStoresAreCaught(t *testing.T) {
	const short = 300 * time.Millisecond // patience for stores that never answer
	caught := map[string]bool{}
	check := func(t *testing.T, cases []testCase, open func(flaw string) Opener, tests []brokenStore) {
		for _, tt := range tests {
			caught[tt.by] = true
			c := caseNamed(t, cases, tt.by)
			t.Run(tt.by+"/"+tt.flaw, func(t *testing.T) {
				t.Parallel()
				patience := patience
				if tt.hang {
					patience = short
				}
				says := func(f string) bool { return strings.Contains(f, tt.says) }
				r := outcome(c, open(tt.flaw), patience)
				if tt.hang && !slices.ContainsFunc(r.failures, says) {
					r = outcome(c, open(tt.flaw), 20*short) // the machine may have been slow
				}
				require.NotEmpty(t, r.failures, "skipped: %s", r.skipped)
				require.True(t, slices.ContainsFunc(r.failures, says), "%q", r.failures)
				require.Contains(t, r.failures[0], "The contract says: "+c.says)
				require.Equal(t, 1, strings.Count(strings.Join(r.failures, ""), c.says))
				require.Equal(t, tt.hang, r.hung)
			})
		}
	}
	check(t, exclusiveCases(), simply, brokenExclusive)
	check(t, sharedCases(), sharedly, brokenShared)
	for _, c := range slices.Concat(exclusiveCases(), sharedCases()) {
		require.True(t, caught[c.name], "nothing shows that the case %q can fail", c.name)
	}
}
