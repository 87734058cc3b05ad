package customstatus

import (
	"context"
	"iter"

	"github.com/customstatus/customstatus/internal/pairs"
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
// opening its place a second time, in this process or another, returns
// [ErrLocked] until the first store is closed. A shared store may be open any
// number of times, and is a [SharedStore].
//
// # Revisions
//
// A new store is at revision 0. Each commit gets a revision greater than all
// earlier ones. The n-th commit of an exclusive store is revision n; a shared
// store may leave numbers out. No revision is used twice, neither after a
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
// A store accepts every commit of up to [MinCommitChanges] changes. A
// [*TooLargeError], which says how many changes would pass, is returned when a
// commit is beyond the store's limits, or when a status is beyond the values
// above and the store can't keep it.
//
// # Errors
//
// If ctx is done before a call, the call returns the error of ctx. When several
// errors apply, a call returns the first of these: [ErrClosed], the error of ctx,
// an error for changes that no commit may have, [ErrTooLarge], [ErrConflict].
//
// Every error but [ErrOutcomeUnknown] means that nothing was written. After
// ErrOutcomeUnknown, the whole commit was made or nothing of the commit. The store
// decides which before the next Load or Commit returns, and the decision is final.
//
// If a store can write again after a failure, it does so by itself at the next
// commit. If a store can't, every later commit returns [ErrNeedsReopen] and the
// reason. Errors wrap the sentinels of this package and may also wrap their cause.
type Store interface {
	// Load returns everything in the store at one instant between call and return.
	// Each status has the Revision of the commit that wrote the status last. The
	// instant is after every commit that had returned before the call.
	//
	// [ErrDamaged] is returned when statuses are not as they were committed;
	// Load never returns a wrong status and never omits one.
	Load(ctx context.Context) (Contents, error)

	// Commit makes all changes or none, and returns the revision at which they were
	// made. When it returns nil, the changes are durable: they survive whatever the
	// store promises to survive. No Load sees a part of them.
	//
	// Changes are made in order. Each has one of three kinds:
	//   - [Created]: After is added. Before is the zero value.
	//   - [Updated]: After replaces Before and has the same ID.
	//   - [Deleted]: Before is removed. After is the zero value.
	//
	// The store gives After the revision of this commit, whatever
	// After.Revision says. Before is the whole status as the store returned it. A
	// store that can lose commits compares all of Before: a revision may come again.
	//
	// [ErrConflict] is returned when the id of a created status exists, when an
	// updated or deleted status is not at Before.Revision, or when another
	// status has the name of After at the time of the change. So the store
	// itself keeps names unique, and a change can take a name that an earlier
	// change of the commit has given up.
	//
	// A commit is the caller's fault if it has no changes, two changes of one
	// id, a change of another kind, or an update to another id. The error is
	// then none of the sentinels.
	//
	// If ctx is done before the commit begins, Commit returns the error of ctx.
	// After that, the commit is made or fails as a whole, whatever happens to ctx.
	Commit(ctx context.Context, changes []Change) (Revision, error)

	// Revision returns the store's revision at an instant between call and return.
	Revision(ctx context.Context) (Revision, error)

	// Close waits for running methods and releases all resources. A second Close
	// returns nil. Every other method called after it returns [ErrClosed].
	Close() error
}

// A SharedStore is a [Store] that has other writers too, such as a store on a
// cluster. [OpenShared] opens a catalog over a SharedStore; Watch alone feeds
// the catalog.
type SharedStore interface {
	Store

	// Watch yields every commit after a revision, of this store and of all
	// other writers: each one once, whole, and in order of revisions. Then
	// Watch waits for new commits.
	//
	// A [Commit] with no changes says that every commit up to its revision has been
	// yielded. Watch begins with such a commit at the revision after, as soon as it
	// follows the store; more may come at any time. If Load or Revision returns r >
	// after, Watch eventually yields a commit at or beyond r.
	//
	// The changes of a commit are in the order in which they were made.
	// After.Revision is the commit's revision. Of Before, only the ID and the
	// Revision count.
	//
	// A slow watcher holds up neither commits nor other watchers. A watcher may
	// call the other methods of the store. Close does not wait for watchers.
	//
	// Watch ends with exactly one error: the error of ctx when ctx is done,
	// [ErrClosed] when the store is closed, [ErrCompacted] when the store no
	// longer keeps the commits after the revision or has never reached the
	// revision, or an error of its own. Several goroutines may call Watch, and
	// iterate one sequence, at once.
	Watch(ctx context.Context, after Revision) iter.Seq2[Commit, error]
}

// MinCommitChanges is the number of changes that every [Store] takes in one commit.
const MinCommitChanges = 32

// Contents are what a [Store] holds at one instant.
type Contents struct {
	// Statuses are all statuses, in any order.
	Statuses []CustomUserStatus
	// Revision is the store's revision.
	Revision Revision
	// Shared says that the store is a [SharedStore], which others may write too.
	Shared bool
	// Rewound says that the store holds another history than the one it has told of.
	Rewound bool
	// Fingerprint is the sum of the statuses' fingerprints, if FingerprintKnown is
	// set. A store that keeps the fingerprint saves its catalog the computation.
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

// String returns created, updated or deleted.
func (k ChangeKind) String() string { return pairs.Kind(k).String() }

// Change is what a commit does to one status.
type Change struct {
	Kind ChangeKind
	// Before is the status before the change: the zero value if Kind is [Created].
	Before CustomUserStatus
	// After is the status after the change: the zero value if Kind is [Deleted].
	After CustomUserStatus
}

// ID returns the id of the status.
func (c *Change) ID() string {
	if c.Kind == Deleted {
		return c.Before.ID
	}
	return c.After.ID
}

// Status returns the status after the change or, if it was deleted, before the
// change.
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

	// Fingerprint is the sum of all statuses' fingerprints after the commit, if
	// FingerprintKnown is set. A [Catalog] always sets it; a [SharedStore] may
	// leave it out.
	Fingerprint      Fingerprint
	FingerprintKnown bool
}

// Position returns the catalog's position after the commit, from which a watcher
// can continue. If the fingerprint is unknown, no catalog has the position.
func (c Commit) Position() Position { return Position{c.Revision, c.Fingerprint} }
