// Package storetest checks that a [customstatus.Store] keeps the contract that
// its documentation states, sentence by sentence.
//
// A store's author calls [Run] in a test, or [RunShared] for a
// [customstatus.SharedStore]:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Opener {
//			path := filepath.Join(t.TempDir(), "statuses") // a fresh, empty place
//			return func() (customstatus.Store, error) { return mystore.Open(path) }
//		})
//	}
//
// Every case is a subtest with its own place, and says on failure which sentence
// of the contract is broken. The simplest cases come first. The rest is skipped
// when one of the basic cases fails or when the store stops answering.
//
// Run the tests with the race detector, too: that several goroutines may use a
// store at once is half of the contract.
//
// Some promises need more than a Store to be checked, and are its author's to
// test: that damage is found, what a commit survives beside Close, what follows
// a failure of the disk or the network, and that another process can't open an
// exclusive store either.
//
// [SharedMemory] is a shared place in memory, to test in one process what a
// cluster does.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
)

// Opener opens an exclusive store on one place. It is called again when the
// store has been closed, to see what has lasted. It is also called while the
// store is open, which has to be [customstatus.ErrLocked] within a second or two.
//
// An Opener whose place does not outlive Close returns [ErrVolatile] from the
// second call on.
//
// One goroutine at a time calls an Opener, not always that of the test: it
// returns its error rather than stop the test.
type Opener func() (customstatus.Store, error)

// SharedOpener is an [Opener] for a shared store. Calls of it may open several
// stores on its place at once, as the servers of a cluster do.
type SharedOpener func() (customstatus.SharedStore, error)

// ErrVolatile is what an [Opener] returns if it can't open its place again. The
// cases that need it are then skipped, and say so.
var ErrVolatile = errors.New("the place can't be opened again")

// Compacter is implemented by a [customstatus.SharedStore] that can be made to
// forget old commits, to check that Watch then says so. Without it the case is
// skipped, and says so. A store that has no such method can be given one in its
// test, in a type that embeds the store.
type Compacter interface {
	// Compact forgets the commits up to and including a revision, which is
	// that of a commit but not of the last one.
	Compact(ctx context.Context, upTo customstatus.Revision) error
}

// Run runs all cases for an exclusive store, each as a subtest with its own
// place. The function newPlace makes a new and empty place and returns what opens
// it. It may use t.Cleanup, which runs after the stores have been closed, and
// t.Skip.
//
// A store that makes no progress in a step for five seconds is taken to hang. A
// large commit has a second more for every two hundred changes.
func Run(t *testing.T, newPlace func(t *testing.T) Opener) {
	t.Helper()
	runAll(t, exclusiveCases(), newPlace)
}

// RunShared is [Run] for a shared store.
//
// A store that forgets old commits by itself must keep those of one case: a
// hundred commits, or ten thousand changes in as few commits as the store takes
// them. Nor may it give up a watcher that still has to take them.
func RunShared(t *testing.T, newPlace func(t *testing.T) SharedOpener) {
	t.Helper()
	runAll(t, sharedCases(), func(t *testing.T) Opener { return newPlace(t).opener() })
}

// opener hides the type of the stores, which a handle finds again.
func (open SharedOpener) opener() Opener {
	return func() (customstatus.Store, error) {
		s, err := open()
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// patience is for one step that makes no progress, so that a store that never
// answers fails with the sentence that it breaks. It is far beyond what a slow
// store takes for a small commit; a large commit has more, see patienceFor.
const patience = 5 * time.Second

func runAll(t *testing.T, cases []testCase, newPlace func(t *testing.T) Opener) {
	t.Helper()
	stop := ""
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if stop != "" {
				t.Skipf("Not checked: %s.", stop)
			}
			// Fatalf leaves the subtest, hence defer.
			var hung bool
			defer func() {
				switch {
				case hung:
					stop = fmt.Sprintf("the store stopped answering in case %s", c.name)
				case t.Failed() && c.basic:
					stop = fmt.Sprintf("the basic case %s failed", c.name)
				}
			}()
			c.check(t, newPlace(t), patience, &hung)
		})
	}
}

// testCase checks a sentence of the contract.
type testCase struct {
	name string
	// says is the sentence, to the letter. Where it leaves something out, it
	// has " … ".
	says string
	run  func(*tester)
	// basic says that no other case means anything if this one fails.
	basic bool
}

// reporter is what a case needs of a [testing.T].
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// check runs the case on the place that open opens, and sets hung if the store
// stops answering.
func (c testCase) check(r reporter, open Opener, patience time.Duration, hung *bool) {
	r.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t := &tester{reporter: r, says: c.says, ctx: ctx, over: make(chan struct{}),
		opener: open, patience: patience, hung: hung, model: newModel()}
	// Fatalf and Skipf leave by runtime.Goexit, hence defer.
	defer func() {
		cancel()
		close(t.over)
		t.closeAll()
		t.reportPanics()
	}()
	c.run(t)
}
