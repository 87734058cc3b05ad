// Package storetest checks that a [customstatus.Store] keeps the contract in
// the documentation of Store, sentence by sentence.
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
// Every case is a subtest with its own place. A failure names the broken
// sentence of the contract. The simplest cases come first. The rest is skipped
// when a basic case fails or the store stops answering.
//
// Run the tests with the race detector too: half of the contract is about
// concurrent use.
//
// A store's author must test the promises that these cases can't check: that
// damage is found, what a commit survives other than Close, what happens when
// the disk or the network fails, and that another process can't open an
// exclusive store.
//
// [SharedMemory] is a shared place in memory. With it, one process can test
// what a cluster does.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
)

// Opener opens an exclusive store on one place, such as a file. The cases call
// it again after Close, to check what is durable. They also call it while the
// store is open; it must then return [customstatus.ErrLocked] within a second
// or two.
//
// If the place does not outlive Close, the Opener returns [ErrVolatile] from
// the second call on.
//
// Only one goroutine at a time calls an Opener, but not always the goroutine of
// the test. So an Opener must return its error and must not call t.FailNow or
// t.Fatal.
type Opener func() (customstatus.Store, error)

// SharedOpener is an [Opener] for a shared store. Several calls may open
// several stores on the place at once, as the servers of a cluster do.
type SharedOpener func() (customstatus.SharedStore, error)

// ErrVolatile is returned by an [Opener] that can't open its place again. The
// cases that need a second opening are then skipped.
var ErrVolatile = errors.New("the place can't be opened again")

// Compacter may be implemented by a [customstatus.SharedStore] that can forget
// old commits. A case then checks that Watch returns
// [customstatus.ErrCompacted]; for other stores the case is skipped. A test can
// add the method to a store in a type that embeds the store.
type Compacter interface {
	// Compact forgets the commits up to and including a revision. The revision
	// is always that of a commit, and never that of the last one.
	Compact(ctx context.Context, upTo customstatus.Revision) error
}

// Run runs all cases for an exclusive store, each as a subtest with its own
// place. The function newPlace makes a new, empty place and returns its Opener.
// It may call t.Skip, and t.Cleanup for what is to happen after the stores are
// closed.
//
// A store hangs if one step makes no progress for five seconds. A large commit
// has one more second for every two hundred changes.
func Run(t *testing.T, newPlace func(t *testing.T) Opener) {
	t.Helper()
	runAll(t, exclusiveCases(), newPlace)
}

// RunShared runs all cases for a shared store, as [Run] does for an exclusive
// one.
//
// A store that forgets old commits by itself must keep the last 100 commits, or,
// if that is more, as many as it needs to commit 10,000 changes. It must not end a
// watcher that still needs them.
func RunShared(t *testing.T, newPlace func(t *testing.T) SharedOpener) {
	t.Helper()
	runAll(t, sharedCases(), func(t *testing.T) Opener { return newPlace(t).opener() })
}

// opener returns an Opener for the same stores.
func (open SharedOpener) opener() Opener {
	return func() (customstatus.Store, error) {
		s, err := open()
		if err != nil {
			return nil, err
		}
		return s, nil
	}
}

// patience limits one step without progress, so that a store that never answers
// fails with the broken sentence. It is far longer than a slow store needs for
// a small commit. For large commits see patienceFor.
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

// testCase is the check of one sentence of the contract.
type testCase struct {
	name string
	// says is the exact sentence. " … " stands for omitted text.
	says string
	run  func(*tester)
	// basic says that the other cases are meaningless if this one fails.
	basic bool
}

// reporter has the methods of [testing.T] that a case needs.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// check runs the case on the place of an Opener. It sets hung if the store
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
