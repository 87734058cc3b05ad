package storetest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/customstatus/customstatus"
	"github.com/stretchr/testify/require"
)

// recorder is the reporter of a case that is expected to fail.
type recorder struct {
	mu       sync.Mutex
	failures []string
	skipped  string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// outcome runs a case on a place and returns what it reports.
func outcome(c testCase, open Opener, patience time.Duration) *recorder {
	r := new(recorder)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.check(r, open, patience)
	}()
	<-done
	return r
}

func caseNamed(t *testing.T, name string) testCase {
	for _, c := range cases() {
		if c.name == name {
			return c
		}
	}
	require.FailNow(t, "no such case", name)
	return testCase{}
}

// The stores that get flaws have none of their own, and what the contract
// leaves open is no failure.
func TestStoresWithoutFlawPass(t *testing.T) {
	tests := []struct {
		name string
		open func() Opener
		// skips are the cases that are not for this store.
		skips string
	}{
		{"exclusive", func() Opener { return simply("") }, "^(shared|watch)-"},
		{"exclusive that can't always know", func() Opener { return simply("can't know what came of a commit when ctx is done") }, "^(shared|watch)-"},
		{"shared", func() Opener { return sharedly("") }, "^revision-counts$"},
		{"shared that reports progress", func() Opener { return sharedly("says often that all were yielded") }, "^revision-counts$"},
		{"shared that tells more", func() Opener { return sharedly("tells deletes in full") }, "^revision-counts$"},
		{"shared of which there can be one", func() Opener { return sharedly("can't be opened twice") }, "^revision-counts$|^shared-|-others"},
		{"volatile", volatile, "^(shared|watch|reopen)-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range cases() {
				r := outcome(c, tt.open(), patience)
				require.Empty(t, r.failures, c.name)
				require.Equal(t, regexp.MustCompile(tt.skips).MatchString(c.name), r.skipped != "", "%s: %s", c.name, r.skipped)
			}
		})
	}
}

func TestRun(t *testing.T) {
	Run(t, func(t *testing.T) Opener { return simply("") })
}

func volatile() Opener {
	opened := false
	return func() (customstatus.Store, error) {
		if opened {
			return nil, fmt.Errorf("memory: %w", ErrVolatile)
		}
		opened = true
		return customstatus.NewMemoryStore(), nil
	}
}

// Each store breaks the contract in one way. The case that is there for it
// fails, and says what is wrong.
func TestBrokenStoresAreCaught(t *testing.T) {
	const hang = 1500 * time.Millisecond // for those that never answer
	tests := []struct {
		by       string // the case
		open     func(flaw string) Opener
		flaw     string
		says     string // part of a failure
		patience time.Duration
	}{
		{"concurrent-methods", simply, "loads what was there before the last commit", "but this goroutine's commit", 0},
		{"concurrent-methods", simply, "is busy while another commits", "busy", 0},
		{"concurrent-commits", simply, "is busy while another commits", "nothing is in its way", 0},
		{"concurrent-names", simply, "checks, lets others in, and writes", "were accepted", 0},
		{"concurrent-names", simply, "doesn't know of names", "6 were accepted", 0},
		{"concurrent-renames", simply, "doesn't know of names", "6 were accepted", 0},
		{"concurrent-creates", simply, "creates over what is there", "6 were accepted", 0},
		{"concurrent-updates", simply, "updates whatever the revision", "6 were accepted", 0},
		{"concurrent-loads", simply, "shows a commit change by change", "every commit writes all statuses", 0},
		{"load-includes-returned", simply, "loads what was there before the last commit", "before the call commit", 0},
		{"commit-cancelled", simply, "gives up after the commit when ctx is done", "must not be there", 0},
		{"commit-cancelled", simply, "says that it committed when ctx was done", "a status is missing", 0},
		{"close-while-busy", simply, "has an error of its own after Close", "want success or ErrClosed", 0},

		{"shared-names", sharedly, "says that it committed when it lost", "were accepted", 0},
		{"shared-updates", sharedly, "says that it committed when it lost", "were accepted", 0},
		{"shared-commits", sharedly, "commits for itself alone", "a status is missing", 0},
		{"shared-loads", sharedly, "loads what was there when it was opened", "before the call commit", 0},
		{"shared-empty-commit", sharedly, "has a revision of its own for empty commits", "that had returned before", 0},

		{"revision-new", simply, "begins at revision 1", "the revision is 1, want 0", 0},
		{"revision-grows", simply, "doesn't commit what is there already", "want a greater one", 0},
		{"revision-counts", simply, "skips a revision", "Commit number 1 returned revision 2", 0},
		{"revision-counts", simply, "counts a commit without changes", "Commit number 4 returned revision 5", 0},
		{"revision-after-refusal", simply, "takes back a revision when it refuses", "a second time", 0},

		{"memory-given", simply, "keeps the slice it is given", "overwritten", 0},
		{"memory-received", simply, "gives away the slice it keeps", "overwritten", 0},

		{"memory-unchanged", simply, "sorts the slice that it is given", "change number 1 of the caller's slice", 0},
		{"memory-unchanged", simply, "sets revisions in the slice that it is given", "change number 1 of the caller's slice", 0},
		{"memory-unchanged", simply, "clears deletes in the slice that it is given", "change number 2 of the caller's slice", 0},
		{"memory-unchanged", simply, "empties the slice that it refuses", "customstatus: conflict, change number 1 of the caller's slice", 0},

		{"value-ids", simply, "folds ids", `create "a" as`, 0},
		{"value-names", simply, "trims names", `Name is "a", want "a "`, 0},
		{"value-names", simply, "looks names up by their first 100 bytes", "conflict", 0},
		{"value-names-unique", simply, "folds names", "conflict", 0},
		{"value-names-unique", simply, "takes long names for different", "want ErrConflict", 0},
		{"value-status-types", simply, "takes no status type for offline", `StatusType is "offline", want ""`, 0},
		{"value-times", simply, "cuts times to seconds", "UpdatedAt is", 0},
		{"value-times", simply, "keeps times in nanoseconds since 1970", "UpdatedAt is", 0},
		{"value-times", simply, "loads times in the local zone", "want time.UTC", 0},

		{"load-all", simply, "loads one status short", "a status is missing", 0},
		{"load-revisions", simply, "keeps the revision of the create", "Revision is", 0},
		{"load-done-ctx", simply, "loads with a done ctx", "Load(ctx) = <nil>, want context canceled", 0},

		{"commit-all", simply, "loses the last change", "a status is missing", 0},
		{"commit-or-none", simply, "keeps the changes before a bad one", "must not be there", 0},
		{"commit-after-refusal", simply, "never commits again after a refusal", "must be reopened", 0},
		{"commit-name-given-up", simply, "checks names against the start of the commit", "conflict, want success", 0},
		{"commit-name-given-up", simply, "never frees the name of what is renamed", "conflict, want success", 0},
		{"commit-name-given-up-later", simply, "checks names at the end of the commit", "given up only after", 0},
		{"commit-names-swapped", simply, "checks names at the end of the commit", "still has it", 0},
		{"commit-name-taken-twice", simply, "checks names against the start of the commit", "an earlier change", 0},
		{"commit-sets-revision", simply, "keeps the revision it is given", "Revision is 99, want 1", 0},
		{"delete-fields", simply, "frees the name that the change says", "the name still belongs to its status", 0},
		{"delete-fields", simply, "never frees the name of what is deleted", "conflict, want success", 0},
		{"conflict-create", simply, "creates over what is there", "there is a status with this id", 0},
		{"conflict-update", simply, "updates whatever the revision", "has been written since", 0},
		{"conflict-update", simply, "updates what isn't there", "no such status", 0},
		{"conflict-update", simply, "takes the store's revision for the status's", "not that of the status", 0},
		{"conflict-delete", simply, "deletes whatever the revision", "has been written since", 0},
		{"conflict-created-again", simply, "never lets an id come back", "conflict, want success", 0},
		{"conflict-created-again", simply, "takes a revision of an earlier life", "before the status was deleted", 0},
		{"conflict-name", simply, "doesn't know of names", "belongs to another status", 0},
		{"conflict-name", simply, "doesn't check the name of an update", "belongs to another status", 0},
		{"conflict-name", simply, "lets no status keep its name", "conflict, want success", 0},
		{"id-twice", simply, "takes an id twice", "not ErrConflict", 0},
		{"id-twice", simply, "says conflict when an id stands twice", "not ErrConflict", 0},
		{"commit-empty", simply, "counts a commit without changes", "Commit without changes = 1, <nil>, want 0, nil", 0},
		{"commit-done-ctx", simply, "commits with a done ctx", "Commit(ctx, …) = <nil>, want context canceled", 0},
		{"commit-done-ctx", simply, "commits with a done ctx and returns its error", "must not be there", 0},
		{"commit-large", simply, "refuses more than 1,000 changes", "too large", 0},
		{"commit-random", simply, "doesn't check the name of the fourth change", "want ErrConflict", 0},

		{"close-twice", simply, "can't be closed twice", "want nil", 0},
		{"close-at-once", simply, "can't be closed twice", "want nil", 0},
		{"close-then-load", simply, "loads after Close", "want ErrClosed", 0},
		{"close-then-commit", simply, "commits after Close", "want ErrClosed", 0},

		{"reopen-new", simply, "counts an opening as a commit", "the revision is 1, want 0", 0},
		{"reopen-statuses", simply, "forgets everything when reopened", "a status is missing", 0},
		{"reopen-statuses", simply, "forgets the milliseconds when reopened", "UpdatedAt is", 0},
		{"reopen-changes", simply, "forgets the last deletes when reopened", "must not be there", 0},
		{"reopen-changes", simply, "forgets the last renames when reopened", `Name is "x", want "renamed"`, 0},
		{"reopen-names", simply, "forgets the names when reopened", "belongs to another status", 0},
		{"reopen-revision", simply, "takes the revision from the statuses when reopened", "want a greater one", 0},
		{"reopen-random", simply, "forgets the last renames when reopened", "Name is", 0},
		{"reopen-after-busy-close", simply, "loses the last commit at Close", "a status is missing", 0},

		{"watch-past", sharedly, "resumes one commit too late", "its revision is 4, want 2", 0},
		{"watch-past", sharedly, "loses every second commit", "its revision is 6, want 4", 0},
		{"watch-past", sharedly, "swaps commits", "its revision is 4, want 2", 0},
		{"watch-past", sharedly, "splits commits", "it has 1 changes, want 2", 0},
		{"watch-past", sharedly, "has nothing to say", "Watch after 0 does not yield commit 2", hang},
		{"watch-to-come", sharedly, "ends a feed when it has caught up", "Watch ended with []", 0},
		{"watch-to-come", sharedly, "yields every commit twice", "its revision is 2, want 4", 0},
		{"watch-empty-commits", sharedly, "says too early that all were yielded", "that all up to 2 were yielded", 0},
		{"watch-reaches", sharedly, "counts what its feed doesn't tell", "before it had reached revision 3", hang},
		{"watch-to-come", sharedly, "has nothing to say", "does not yield commit 2", hang},
		{"watch-resumes", sharedly, "resumes with the commit it resumes after", "its revision is", 0},
		{"watch-changes", sharedly, "doesn't know what a change replaces", "has Replaces 0, want 2", 0},
		{"watch-changes", sharedly, "doesn't tell deletes", "has Deleted false, want true", 0},
		{"watch-changes", sharedly, "doesn't tell the revision in the feed", "Revision is 0, want 2", 0},
		{"watch-order", sharedly, "sorts the changes of its feed", `is that of status "a", want that of status "c"`, 0},
		{"watch-order", sharedly, "yields deletes after all other changes", `is that of status "d", want that of status "b"`, 0},
		{"watch-values", sharedly, "trims names in the feed", `Name is "a", want "a "`, 0},
		{"watch-large", sharedly, "splits commits of more than 1,000 changes", "it has 1000 changes, want 10000", 0},
		{"watch-made-only", sharedly, "yields refused commits", "its revision is 3, want 4", 0},
		{"watch-at-once", sharedly, "swaps commits", "its revision is 4, want 2", 0},
		{"watch-at-once", sharedly, "splits commits", "it has 1 changes, want 2", 0},
		{"watch-others", sharedly, "yields only its own commits", "does not yield commit 4", hang},
		{"watch-others-at-once", sharedly, "loses every second commit", "its revision is", 0},
		{"watch-several", sharedly, "swaps commits", "its revision is 4, want 2", 0},
		{"watch-break", sharedly, "goes on in a second loop where the first has left off", "its revision is 4, want 2", 0},
		{"watch-break", sharedly, "waits at Close for loops that were left", "does not return", hang},
		{"watch-slow", sharedly, "waits at Commit for the bodies of loops", "do not return", hang},
		{"watch-slow", sharedly, "runs the body of one loop at a time", "does not yield commit 2", hang},
		{"watch-slow", sharedly, "keeps no more than some commits for a slow watcher", "want 4", 0},
		{"watch-calls", sharedly, "waits at Commit for the bodies of loops", "do not return", hang},
		{"watch-calls", sharedly, "waits at Load for the bodies of loops", "do not return", hang},
		{"watch-memory", sharedly, "gives away the changes of its feed", "it lacks the change", 0},
		{"watch-done-ctx", sharedly, "ends a feed without an error", "with the errors [], want exactly one", 0},
		{"watch-done-ctx", sharedly, "ends a feed with two errors", "want exactly one that is context canceled", 0},
		{"watch-done-ctx", sharedly, "doesn't heed ctx in Watch", "does not end by a ctx that was done before", hang},
		{"watch-closed", sharedly, "ends a feed with an error of its own", "want exactly one that is customstatus: closed", 0},
		{"watch-close-in-loop", sharedly, "waits at Close for the bodies of loops", "Close: it does not return", hang},
		{"watch-unreached", sharedly, "waits for a revision that it has never reached", "Watch does not end by Watch after 1000", hang},
		{"watch-unreached", sharedly, "begins anywhere when it has never reached the revision", "Watch does not end by Watch after 1000", hang},
		{"watch-unreached", sharedly, "takes the last revision for one that it has never reached", "want commit 4 first", 0},
		{"watch-unreached-others", sharedly, "has reached no revision but its own", "want commit", 0},
		{"watch-compacted", sharedly, "yields what is left of forgotten commits", "where it has to end", hang},
	}
	caught := map[string]bool{}
	for _, tt := range tests {
		caught[tt.by] = true
		t.Run(tt.by+"/"+tt.flaw, func(t *testing.T) {
			t.Parallel()
			if tt.patience == 0 {
				tt.patience = patience
			}
			c := caseNamed(t, tt.by)
			says := func(f string) bool { return strings.Contains(f, tt.says) }
			r := outcome(c, tt.open(tt.flaw), tt.patience)
			if tt.patience == hang && !slices.ContainsFunc(r.failures, says) {
				r = outcome(c, tt.open(tt.flaw), 20*hang) // the machine was slow, too
			}
			require.NotEmpty(t, r.failures, "skipped: %s", r.skipped)
			require.True(t, slices.ContainsFunc(r.failures, says), "%q", r.failures)
			require.Contains(t, r.failures[0], "The contract says: "+c.says)
			require.Equal(t, 1, strings.Count(strings.Join(r.failures, ""), c.says))
		})
	}
	for _, c := range cases() {
		require.True(t, caught[c.name], "nothing shows that the case %q can fail", c.name)
	}
}

func TestOpenerThatFails(t *testing.T) {
	failing := func(n int, err error, open Opener) Opener {
		return func() (customstatus.Store, error) {
			if n--; n < 0 {
				return nil, err
			}
			return open()
		}
	}
	tests := []struct {
		by   string
		open Opener
		says string
	}{
		{"revision-new", failing(0, ErrVolatile, nil), "can't open its new place: " + ErrVolatile.Error()},
		{"reopen-new", failing(1, customstatus.ErrLocked, simply("")), "can't open the place again after Close: " + customstatus.ErrLocked.Error()},
		{"watch-others", failing(1, customstatus.ErrDamaged, sharedly("")), "can't open a second store beside the first: " + customstatus.ErrDamaged.Error()},
		{"watch-others", sharedly("is another kind of store when opened twice"), "is a Watcher, its second is none"},
	}
	for _, tt := range tests {
		r := outcome(caseNamed(t, tt.by), tt.open, patience)
		require.Len(t, r.failures, 1)
		require.Contains(t, r.failures[0], tt.says)
	}
}

// What the cases write is what a catalog lets through.
func TestAwkwardValuesAreAllowed(t *testing.T) {
	for _, name := range awkwardNames() {
		require.NoError(t, customstatus.Rules{}.Check(customstatus.Fields{Name: name, StatusType: customstatus.Busy}), "%+q", name)
	}
	for _, id := range awkwardIDs() {
		require.True(t, id != "" && len(id) <= customstatus.MaxIDLength && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl), "%+q", id)
	}
	for _, at := range awkwardTimes() {
		require.Equal(t, time.UTC, at.Location())
		require.Equal(t, at, at.Truncate(time.Millisecond))
		require.True(t, at.Year() >= 0 && at.Year() <= 9999, "%v", at)
	}
	for what, values := range map[string][]string{"names": awkwardNames(), "ids": awkwardIDs()} {
		slices.Sort(values)
		require.Equal(t, slices.Clone(values), slices.Compact(values), what)
	}
}

// Every case quotes the contract to the letter, and every sentence of the
// contract has a case or a reason why it has none.
func TestCasesCoverTheContract(t *testing.T) {
	unchecked := map[string]string{
		"Store is where the statuses of a catalog last.": "says what it is",
		"Its contract is this comment:":                  "says what it is",
		"everything a [Catalog] relies on is here, and package storetest checks it sentence by sentence.": "says what it is",

		"Watcher is implemented by a [Store] that others write too, such as one on a cluster.": "says what it is",
		"A [Catalog] over such a store is fed by Watch alone.":                                 "binds the catalog",
		"the catalog has checked them.":                                                        "binds the catalog",

		"a shared store may leave numbers out.":                                          "allows, and forbids nothing",
		"(Strings are immutable and may be shared.)":                                     "allows, and forbids nothing",
		"Errors wrap the sentinels of this package and may wrap their own cause beside.": "every case uses errors.Is",

		"one that can't answers every commit from then on with [ErrNeedsReopen] and the reason.":         "takes a fault",
		"What Load finds to be not what was committed is [ErrDamaged], never a wrong or missing status.": "takes damage",
	}
	whole := contract(t, "../store.go", "Store", "Watcher")

	var quoted []string
	for _, c := range cases() {
		for part := range strings.SplitSeq(c.says, " … ") {
			require.Contains(t, whole, part, c.name)
			quoted = append(quoted, part)
		}
	}
	for _, s := range regexp.MustCompile(`.+?[.:;]\)?(?: |$)`).FindAllString(whole, -1) {
		s = strings.TrimSpace(s)
		covered := slices.ContainsFunc(quoted, func(q string) bool { return strings.Contains(q, s) || strings.Contains(s, q) })
		if unchecked[s] == "" && !covered {
			t.Errorf("no case checks %q", s)
		}
		delete(unchecked, s)
	}
	require.Empty(t, unchecked, "not in the contract any more")
}

// contract returns the comments of interfaces and their methods as one line.
func contract(t *testing.T, file string, interfaces ...string) string {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	require.NoError(t, err)
	var text strings.Builder
	for _, d := range f.Decls {
		d, ok := d.(*ast.GenDecl)
		if !ok || d.Tok != token.TYPE {
			continue
		}
		spec := d.Specs[0].(*ast.TypeSpec)
		if !slices.Contains(interfaces, spec.Name.Name) {
			continue
		}
		text.WriteString(d.Doc.Text())
		for _, method := range spec.Type.(*ast.InterfaceType).Methods.List {
			text.WriteString("\n\n" + method.Doc.Text())
		}
	}
	marks := regexp.MustCompile(`(?m)^#.*$|^ *- `) // of headings and lists
	return strings.Join(strings.Fields(marks.ReplaceAllString(text.String(), "")), " ")
}
