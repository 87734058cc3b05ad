package customstatus

import (
	"context"
	"fmt"
	"iter"
)

// A Store keeps a catalog's statuses durably. This comment is the whole contract:
// a [Catalog] relies on nothing else, and package storetest checks it sentence by
// sentence.
//
// # Concurrency
//
// All methods may be called by several goroutines at once. Conflicting calls
// wait; commits are serialized. Load and Revision do not wait for a watcher.
//
// # Exclusive and shared stores
//
// A store is exclusive or shared. Only one process has an exclusive store open:
// to open its place a second time, in this process or another, is [ErrLocked]
// until the first store is closed. A shared store may be open any number of
// times, and is a [SharedStore].
//
// # Revisions
//
// A new store is at revision 0. A commit takes the store to a revision greater
// than every one before. The n-th commit of an exclusive store is revision n; a
// shared store may leave numbers out. No revision is given twice, neither after a
// refused commit nor after reopening.
//
// # Memory
//
// The caller owns the slices that it passes and receives, and may change them
// after the call has returned; a store keeps none of them and does not change
// them. Strings are immutable and may be shared.
//
// # Values
//
// A store keeps every string to the byte and compares ids and names byte by
// byte. A [Catalog] passes ids of 1 to [MaxIDBytes] bytes, names of 1 to
// [MaxNameCharacters] characters, and status types, all valid UTF-8; the status
// type may be empty. Metadata has up to [MaxMetadataBytes] bytes of any value.
// Times are in UTC with a resolution of one millisecond and a year from 0 to
// 9999, and come back as the same instant, in UTC.
//
// # Limits
//
// A store takes every commit of up to [MinCommitChanges] changes. A commit beyond
// the store's limits, or with a status beyond the values above that it can't
// keep, is a [*TooLargeError] that says how many changes would pass.
//
// # Errors
//
// A ctx that is done before a call is the call's error. When several errors
// apply, a call returns the first of these: [ErrClosed], the error of ctx, an
// error for changes that no commit may have, [ErrTooLarge], [ErrConflict].
//
// Every error but [ErrOutcomeUnknown] means that nothing was written. After
// ErrOutcomeUnknown the commit is there as a whole or not at all, and the store
// decides which before the next Load or Commit returns: what that one finds is
// final.
//
// A store that can write again after a failure does so by itself at the next
// commit. One that can't answers every commit from then on with [ErrNeedsReopen]
// and the reason. Errors wrap the sentinels of this package and may wrap their
// own cause beside.
type Store interface {
	// Load returns all there is at one instant between call and return. Each
	// status has the Revision of the commit that wrote it last, and the
	// instant includes every commit that had returned before the call.
	//
	// Statuses that are not what was committed are [ErrDamaged]; Load never
	// returns a wrong status and never leaves one out.
	Load(ctx context.Context) (Contents, error)

	// Commit makes all changes or none, and returns the revision at which
	// they were made. When it returns nil, the changes are durable: they
	// survive whatever the store promises to survive. No Load sees a part of
	// them.
	//
	// Changes are made in their order. Each has one of three kinds:
	//   - [Created]: After becomes a status. Before is the zero value.
	//   - [Updated]: After takes the place of Before and has the same ID.
	//   - [Deleted]: Before goes. After is the zero value.
	//
	// The store gives After the revision of this commit, whatever
	// After.Revision says. Before is the whole status as the store gave it
	// out.
	//
	// A commit is refused with [ErrConflict] if a status to be created is
	// there, if one to be updated or deleted is not at the revision
	// Before.Revision, or if the name that a change takes belongs, in its
	// turn, to another id. So names are unique in the store itself, and a
	// later change can take the name that an earlier one gives up.
	//
	// A commit without changes, one in which an id stands twice, and one with
	// a change of another kind or an update from one id to another is an error
	// that is none of the sentinels: the caller is at fault.
	//
	// A ctx that is done before the commit has begun is its error. After that
	// the commit is made or fails whatever becomes of ctx.
	Commit(ctx context.Context, changes []Change) (Revision, error)

	// Revision returns the revision of the store at an instant between call
	// and return.
	Revision(ctx context.Context) (Revision, error)

	// Close waits for running methods and frees all resources. A second Close
	// returns nil. Every other method called after it returns [ErrClosed].
	Close() error
}

// A SharedStore is a [Store] that others write too, such as one on a cluster. Its
// catalog is opened by [OpenShared] and fed by Watch alone.
type SharedStore interface {
	Store

	// Watch yields the commits after a revision, those of this store and of
	// everybody else: each once, whole, in the order of their revisions, none
	// missing. Then it waits for those to come.
	//
	// A [Commit] with no changes says that every commit up to its revision
	// has been yielded. Watch begins with one at the revision after, as soon
	// as it follows the store; others may come at any time. If Load or
	// Revision returns r > after, Watch eventually yields a commit at or
	// beyond r.
	//
	// The changes of a commit come in the order in which they were made.
	// After.Revision is that of the commit. Of Before only the ID and the
	// Revision count.
	//
	// A slow watcher holds up neither a commit nor another watcher, and may
	// call the other methods of the store. Close does not wait for it.
	//
	// Watch ends with exactly one error: that of ctx when ctx is done,
	// [ErrClosed] when the store is closed, [ErrCompacted] when commits after
	// the revision are no longer kept or the store has never reached it, or
	// one of its own. Several goroutines may call it, and iterate one
	// sequence, at once.
	Watch(ctx context.Context, after Revision) iter.Seq2[Commit, error]
}

// MinCommitChanges is the number of changes that every [Store] takes in one
// commit.
const MinCommitChanges = 32

// Contents are what a [Store] holds at one instant.
type Contents struct {
	// Statuses are all statuses, in any order.
	Statuses []CustomUserStatus
	// Revision is the store's revision.
	Revision Revision
	// Shared says that others may write the store too: it is a [SharedStore].
	Shared bool

	// Fingerprint is the sum of the statuses' fingerprints, if
	// FingerprintKnown is set. A store that keeps it saves its catalog the
	// work of computing it.
	Fingerprint      Fingerprint
	FingerprintKnown bool
}

// ChangeKind says what a [Change] does.
type ChangeKind uint8

// The kinds of a change.
const (
	Created ChangeKind = iota + 1
	Updated
	Deleted
)

var kindNames = [...]string{Created: "created", Updated: "updated", Deleted: "deleted"}

func (k ChangeKind) known() bool { return Created <= k && k <= Deleted }

// String returns created, updated or deleted.
func (k ChangeKind) String() string {
	if !k.known() {
		return fmt.Sprintf("ChangeKind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Change is what a commit does to one status.
type Change struct {
	Kind ChangeKind
	// Before is what the status was: the zero value if Kind is [Created].
	Before CustomUserStatus
	// After is what it has become: the zero value if Kind is [Deleted].
	After CustomUserStatus
}

// ID returns the id of the status.
func (c *Change) ID() string {
	if c.Kind == Deleted {
		return c.Before.ID
	}
	return c.After.ID
}

// Status returns what the status has become or, if it was deleted, was last.
func (c *Change) Status() CustomUserStatus {
	if c.Kind == Deleted {
		return c.Before
	}
	return c.After
}

// Commit is a set of changes that were made together.
type Commit struct {
	Revision Revision
	Changes  []Change

	// Fingerprint is that of all statuses after the commit, if
	// FingerprintKnown is set. A [Catalog] always knows it, a [SharedStore]
	// need not.
	Fingerprint      Fingerprint
	FingerprintKnown bool
}

// Position returns the position of a catalog after the commit, from which a
// watcher goes on. Without a known fingerprint it is a position of no catalog.
func (c Commit) Position() Position { return Position{c.Revision, c.Fingerprint} }
