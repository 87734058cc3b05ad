// Package storetest checks that a [customstatus.Store] keeps the contract that
// its documentation states, sentence by sentence.
//
// A store's author calls [Run] in a test:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Opener {
//			path := filepath.Join(t.TempDir(), "statuses") // a fresh, empty place
//			return func() (customstatus.Store, error) { return mystore.Open(path) }
//		})
//	}
//
// Every case is a subtest of its own place, and says on failure which sentence
// of the contract is broken. Run the tests with the race detector, too: that a
// store may be used by several goroutines at once is half of the contract.
//
// Two promises need more than a Store to be checked, and are its author's to
// test: that what is damaged is found to be, and what a commit survives beside
// Close.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
)

// Opener opens a store on one place. It is called again when the store has been
// closed, to see what has lasted; a place that does not outlive Close answers
// [ErrVolatile] from the second call on.
//
// If the store is a [customstatus.Watcher], Opener is also called while another
// store is open on the place, as the servers of a cluster do. Where that can't
// be, it may answer ErrVolatile or [customstatus.ErrLocked].
//
// An Opener is called by one goroutine at a time.
type Opener func() (customstatus.Store, error)

// ErrVolatile is what an [Opener] returns if it can't open its place again. The
// cases that need it are then skipped, and say so.
var ErrVolatile = errors.New("storetest: the place can't be opened again")

// Compacter is implemented by a [customstatus.Watcher] that can be made to
// forget old commits, to check that Watch then says so. A store that has no
// such method of its own can be given one in its test, in a type that embeds
// it. The case is skipped without it.
type Compacter interface {
	// Compact forgets the commits up to and including a revision, which is
	// that of a commit but not of the last one.
	Compact(ctx context.Context, upTo customstatus.Revision) error
}

// Run runs all cases, each as a subtest on a place of its own. The function
// newStore makes a new and empty place and returns what opens it; it may use
// t.Cleanup, which runs after the stores have been closed, and t.Skip.
//
// A store that forgets old commits by itself must keep those of one case: up to
// a hundred commits with a thousand changes, or a single one with ten thousand.
// Nor may it give up a watcher that has them still to take.
func Run(t *testing.T, newStore func(t *testing.T) Opener) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			c.check(t, newStore(t), patience)
		})
	}
}

// patience is for a case as a whole, so that a store that never answers fails
// with the sentence that it breaks. It is far beyond what a slow store takes.
const patience = 2 * time.Minute

// testCase checks a sentence of the contract.
type testCase struct {
	name string
	// says is the sentence, to the letter. Where it leaves something out, it
	// has " … ".
	says string
	run  func(*tester)
}

// reporter is what a case needs of a [testing.T].
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// check runs the case on the place that open opens.
func (c testCase) check(r reporter, open Opener, patience time.Duration) {
	r.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t := &tester{reporter: r, says: c.says, ctx: ctx, over: make(chan struct{}), opener: open, patience: patience, model: newModel()}
	// Fatalf and Skipf leave by runtime.Goexit, hence defer.
	defer func() {
		cancel()
		close(t.over)
		t.closeAll()
	}()
	c.run(t)
}
