package storetest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
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

// recorder is the reporter of a case that should fail.
type recorder struct {
	mu       sync.Mutex
	failures []string
	skipped  string
	hung     bool
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

// outcome runs a case on a place and returns the reports.
func outcome(c testCase, open Opener, patience time.Duration) *recorder {
	r := new(recorder)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.check(r, open, patience, &r.hung)
	}()
	<-done
	return r
}

func caseNamed(t *testing.T, cases []testCase, name string) testCase {
	i := slices.IndexFunc(cases, func(c testCase) bool { return c.name == name })
	require.GreaterOrEqual(t, i, 0, "no such case: %s", name)
	return cases[i]
}

// The test stores without a flaw pass, and so do stores that use the freedom
// that the contract leaves.
func TestStoresWithoutFlawPass(t *testing.T) {
	tests := []struct {
		name  string
		cases []testCase
		open  func() Opener
		// skips matches the cases that do not apply to the store.
		skips string
	}{
		{"exclusive", exclusiveCases(), func() Opener { return simply("") }, "^$"},
		{"exclusive that can't always know", exclusiveCases(), func() Opener { return simply("can't know what came of a commit when ctx is done") }, "^$"},
		{"exclusive with a limit", exclusiveCases(), func() Opener { return simply("refuses more than 1,000 changes") }, "^$"},
		{"exclusive without fingerprint", exclusiveCases(), func() Opener { return simply("does not know the fingerprint") }, "^load-fingerprint$"},
		{"shared", sharedCases(), func() Opener { return sharedly("") }, "^load-fingerprint$"},
		{"shared that reports progress", sharedCases(), func() Opener { return sharedly("says often that all were yielded") }, "^load-fingerprint$"},
		{"shared that tells more", sharedCases(), func() Opener { return sharedly("tells Before in full") }, "^load-fingerprint$"},
		{"volatile", exclusiveCases(), volatile, "^reopen-|^exclusive-open$|^outcome-unknown$|^load-fingerprint$"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range tt.cases {
				r := outcome(c, tt.open(), patience)
				require.Empty(t, r.failures, c.name)
				require.Equal(t, regexp.MustCompile(tt.skips).MatchString(c.name), r.skipped != "", "%s: %s", c.name, r.skipped)
			}
		})
	}
}

// flawVariable names the flaw of the store in TestRun. TestRunStopsEarly sets
// it for a child process.
const flawVariable = "STORETEST_FLAW"

func TestRun(t *testing.T) {
	flaw := os.Getenv(flawVariable)
	Run(t, func(t *testing.T) Opener { return simply(flaw) })
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

// When a store hangs or fails a basic case, the suite says so and skips the
// rest. It ends by itself and without a goroutine dump.
func TestRunStopsEarly(t *testing.T) {
	tests := []struct {
		flaw, failed, says, skipped string
	}{
		{"hangs at Load", "revision-new", "Load does not return", "Not checked: the store stopped answering in case revision-new."},
		{"begins at revision 1", "revision-new", "the revision is 1, want 0", "Not checked: the basic case revision-new failed."},
		{"waits until it can be opened", "exclusive-open", "The Opener, called while the store is open, does not return", "Not checked: the store stopped answering in case exclusive-open."},
		{"trims names", "value-names", `Name is "a", want "a "`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.flaw, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestRun$", "-test.v", "-test.timeout=5m")
			cmd.Env = append(os.Environ(), flawVariable+"="+tt.flaw)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.True(t, errors.As(err, &exit), "%v\n%s", err, out)
			text := string(out)
			require.NotContains(t, text, "goroutine ", "a dump")
			require.Contains(t, text, "--- FAIL: TestRun/"+tt.failed)
			require.Contains(t, text, tt.says)
			require.Contains(t, text, caseNamed(t, exclusiveCases(), tt.failed).says)
			if tt.skipped == "" {
				require.NotContains(t, text, "--- SKIP: TestRun/")
				return
			}
			require.Contains(t, text, tt.skipped)
			require.Equal(t, 1, strings.Count(text, "--- FAIL: TestRun/"))
		})
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
		cases []testCase
		by    string
		open  Opener
		says  string
	}{
		{exclusiveCases(), "revision-new", failing(0, ErrVolatile, nil), "can't open its new place: " + ErrVolatile.Error()},
		{exclusiveCases(), "revision-new", func() (customstatus.Store, error) { runtime.Goexit(); return nil, nil }, "stops the test"},
		{exclusiveCases(), "reopen-new", failing(1, customstatus.ErrLocked, simply("")), "can't open the place again after Close: " + customstatus.ErrLocked.Error()},
		{sharedCases(), "watch-others", failing(1, customstatus.ErrDamaged, sharedly("")), "can't open a second store beside the first: " + customstatus.ErrDamaged.Error()},
	}
	for _, tt := range tests {
		r := outcome(caseNamed(t, tt.cases, tt.by), tt.open, patience)
		require.Len(t, r.failures, 1)
		require.Contains(t, r.failures[0], tt.says)
	}
}

// A catalog accepts all values that the cases write.
func TestAwkwardValuesAreAllowed(t *testing.T) {
	for _, name := range append(awkwardNames(), largestStatus("1 ").Name) {
		require.NoError(t, customstatus.Rules{}.Check(customstatus.Fields{Name: name, StatusType: customstatus.Busy}), "%+q", name)
	}
	for _, id := range append(awkwardIDs(), largestStatus("1 ").ID) {
		require.True(t, id != "" && len(id) <= customstatus.MaxIDBytes && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl), "%+q", id)
	}
	for _, at := range awkwardTimes() {
		require.Equal(t, time.UTC, at.Location())
		require.Equal(t, at, at.Truncate(time.Millisecond))
		require.True(t, at.Year() >= 0 && at.Year() <= 9999, "%v", at)
	}
	for _, metadata := range append(awkwardMetadata(), largestStatus("1 ").Metadata) {
		require.NoError(t, customstatus.Rules{}.Check(customstatus.Fields{Name: "x", StatusType: customstatus.Busy, Metadata: &metadata}))
	}
	for what, values := range map[string][]string{"names": awkwardNames(), "ids": awkwardIDs(), "metadata": awkwardMetadata()} {
		slices.Sort(values)
		require.Equal(t, slices.Clone(values), slices.Compact(values), what)
	}
	large := largestStatus("1 ")
	require.Len(t, large.ID, customstatus.MaxIDBytes)
	require.Equal(t, customstatus.MaxNameCharacters, utf8.RuneCountInString(large.Name))
	require.Len(t, large.Metadata, customstatus.MaxMetadataBytes)
	require.LessOrEqual(t, len(awkwardMetadata()), customstatus.MinCommitChanges, "they go in one commit")
}
