package customstatus

import (
	"context"
	"iter"
)

// Store is where the statuses of a catalog last. Its contract is this comment:
// everything a [Catalog] relies on is here, and package storetest checks it
// sentence by sentence.
//
// # Concurrency
//
// All methods may be called by several goroutines at once. A method that finds
// another one in its way waits for it; commits take effect one after the other.
// Close may be called while other methods run.
//
// # Revisions
//
// A new store is at revision 0. A commit with at least one change takes the
// store to a revision greater than every one before. A store that only one
// process writes takes the next number, so that its n-th commit is revision n;
// a shared store may leave numbers out. Revisions are never given twice, not
// after a refused commit either, nor after reopening.
//
// # Memory
//
// A store keeps nothing of what it is given and gives away nothing it keeps:
// the caller may change the slices it passed or received when the call has
// returned. (Strings are immutable and may be shared.) A store does not change
// the slices that it is given.
//
// # Values
//
// A store keeps every string to the byte and compares ids and names byte by
// byte. Ids and names have up to [MaxIDLength] bytes and [MaxNameLength]
// characters; the catalog has checked them. Times are in UTC with a resolution
// of one millisecond and a year from 0 to 9999, and come back as the same
// instant, in UTC.
//
// # Errors
//
// An error other than [ErrConflict] and [ErrOutcomeUnknown] means that nothing
// was written, and so does ErrConflict. A store that can write again after a
// failure does so by itself at the next commit; one that can't answers every
// commit from then on with [ErrNeedsReopen] and the reason. Errors wrap the
// sentinels of this package and may wrap their own cause beside.
type Store interface {
	// Load returns all statuses and the store's revision as they are at one
	// instant between call and return, in any order. Each status has the
	// Revision of the commit that wrote it last, and the instant includes
	// every commit that had returned before the call.
	//
	// What Load finds to be not what was committed is [ErrDamaged], never a
	// wrong or missing status. A done ctx is its error; a closed store is
	// [ErrClosed].
	Load(ctx context.Context) ([]CustomUserStatus, Revision, error)

	// Commit makes all changes or none, and returns the revision at which
	// they were made. When it returns nil, they are durable: they survive
	// whatever the store promises to survive. No Load sees a part of them.
	//
	// A change is made in its turn, after those before it in the slice:
	//   - With Deleted false, the status with the id Status.ID becomes
	//     Status; the store gives it the revision of this commit, whatever
	//     Status.Revision says.
	//   - With Deleted true, the status with this id goes; no other field
	//     of Status counts.
	//
	// The commit is refused with [ErrConflict] if the status with this id
	// is not at the revision Replaces (0: there must be none; a change that
	// deletes never has 0), or if the name that it takes belongs, in its
	// turn, to another id. A name is thus unique in the store itself, and a
	// name that an earlier change of the commit gives up can be taken by a
	// later one.
	//
	// An id stands at most once in a commit; a second time is an error
	// (other than ErrConflict, for the caller must not try again).
	//
	// With no changes, Commit writes nothing and returns the revision of
	// the store at an instant between call and return.
	//
	// A ctx that is done before the commit has begun is its error, and
	// nothing is written. After that Commit tells the truth: nil,
	// ErrOutcomeUnknown if it can't know, or else an error if nothing was
	// written. A closed store is [ErrClosed].
	Commit(ctx context.Context, changes []Change) (Revision, error)

	// Close waits for the methods that run, and frees all resources. It is
	// idempotent: a second Close returns nil. Every other method called
	// after it returns [ErrClosed].
	Close() error
}

// Watcher is implemented by a [Store] that others write too, such as one on a
// cluster. A [Catalog] over such a store is fed by Watch alone.
type Watcher interface {
	// Watch yields the commits after a revision, its own and everybody
	// else's: each once, whole, in the order of their revisions and none
	// missing, waiting for those to come. Every commit is yielded sooner or
	// later. A [Commit] with no changes may come at any time; it says that
	// every commit up to its revision has been yielded, and that the store has
	// reached that revision. Sooner or later Watch yields a commit, perhaps with
	// no changes, at or after each revision beyond the one it began after that
	// Load and Commit return.
	//
	// The changes of a commit come in the order in which they were made. In a
	// change of the feed, Replaces is the revision that the status had before
	// (0: there was none), and Status.Revision is that of the commit. If
	// Deleted is set, only Status.ID counts.
	//
	// A watcher that is slow holds up neither a commit nor another watcher,
	// and may call the other methods of the store. Close does not wait for it.
	//
	// Watch ends with exactly one error: that of ctx when it is done,
	// [ErrClosed] when the store is closed, [ErrCompacted] when commits
	// after the revision are no longer kept or the store has never reached
	// it, or one of its own. It may be called, and its sequence iterated, by
	// several goroutines at once.
	Watch(ctx context.Context, after Revision) iter.Seq2[Commit, error]
}

// Change is what a commit does to one status.
type Change struct {
	// Replaces is the revision of the status that the change replaces; 0 if
	// the change creates it.
	Replaces Revision
	// Deleted says that the status goes.
	Deleted bool
	// Status is what the status becomes. In a change that deletes, only
	// Status.ID counts for a [Store]; from [Catalog.Watch], Status is then
	// what it was last.
	Status CustomUserStatus
}

// Created reports whether the change brings in a new status.
func (c Change) Created() bool { return c.Replaces == 0 && !c.Deleted }

// Commit is a set of changes that were made together.
type Commit struct {
	Revision Revision
	Changes  []Change
}
