package customstatus

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/customstatus/customstatus/internal/bolt"
	"go.etcd.io/bbolt"
)

// BoltStore is a [Store] in a bbolt file. Several goroutines may use it at once.
//
// # Durability
//
// A commit is one bbolt transaction. When it returns nil, its data has been synced:
// it survives a crash of the process, a crash of the system and a power loss, as
// far as the disk keeps what it has acknowledged and writes a sector of 512 bytes
// whole or not at all.
//
// A commit that fails has written nothing. After a lack of room (a full disk, a
// quota, a limit on file sizes) the store can go on. After any other failure of the
// disk, later commits return [ErrNeedsReopen]. If the last sync of a commit fails,
// that commit returns [ErrOutcomeUnknown], and from then on every method but Close
// returns ErrNeedsReopen: data read now may be lost at a crash.
//
// # Damage
//
// OpenBolt verifies the structure of the whole file before bbolt maps it, because
// bbolt trusts what it reads and can end the process. Load verifies the checksum of
// every record, that names are unique, and that no record is missing or outdated.
// Damage is [ErrDamaged] and says where it is. Package salvage recovers what is
// intact.
//
// While the file is open, the store checks the pages that bbolt is about to follow
// before each commit, and all pages of the catalog before each Load but the first.
// Damage is ErrDamaged, and [ErrNeedsReopen] for later commits. Damage can still end
// the process between the check and the use, in a list of more than 2,000 free pages
// (only its length is checked), and in other buckets of a host's file.
//
// A file that is cut short under a running process is an error too. A panic of
// bbolt is ErrDamaged; any other panic under a call of bbolt is an error without a
// sentinel. After either, commits return ErrNeedsReopen. Both errors have a method
// Stack() []byte that [errors.As] finds.
//
// Commits are refused while the open file is not the one at its path: nobody would
// find what is written to a file that was deleted, moved or replaced. So a process
// that loses sight of the path, by a chroot or a change of mounts, can't commit.
//
// # Limits
//
// A commit has at most 50,000 changes and 32 MiB of records, so that others wait
// for it about a second at most. An id has up to 32,768 bytes; name, status type and
// metadata have up to 65,535 bytes each. The store keeps the names of all statuses
// in memory, about 30 bytes each beside the text.
//
// # Files
//
// The file is locked: a second OpenBolt, by any process, returns [ErrLocked]. It
// belongs on a local file system: bbolt maps it into memory and relies on the lock.
type BoltStore struct{ engine *bolt.Store }

// BoltOptions configure [OpenBolt] and [NewBoltStore]. A nil *BoltOptions and the
// zero value are the defaults.
type BoltOptions struct {
	// Name is the name of the catalog, any text of at most 255 bytes. A file can
	// hold one catalog without a name and any number with names, independent of
	// each other. OpenBolt makes one only in a new file; NewBoltStore adds more.
	Name string

	// OpenBolt alone uses the other fields.

	// LockTimeout limits the wait for a file that another process holds. 0 is
	// Bolt.Timeout, or half a second if that is 0 too.
	LockTimeout time.Duration
	// FileMode is the mode of a new file, before the umask. 0 is 0600.
	FileMode os.FileMode
	// Bolt are bbolt's own options, or nil. They are copied. OpenFile is also
	// called for the temporary file in which a new file is made, never with
	// os.O_CREATE for the file itself. With ReadOnly, the file must exist, and
	// every commit fails. NoSync and NoGrowSync give up durability. With
	// NoFreelistSync, bbolt reads the whole file after a failed commit and ends
	// the process if the file has been cut short or damaged.
	Bolt *bbolt.Options
}

// newBoltStore returns the store of an engine that was opened, or the error.
func newBoltStore(engine *bolt.Store, err error) (*BoltStore, error) {
	if err != nil {
		return nil, err
	}
	return &BoltStore{engine}, nil
}

// OpenBolt opens the bbolt file at path, or creates it if there is none. A new file
// is complete before it appears under its name. The directory must exist. OpenBolt
// removes temporary files that a killed process left beside the file.
//
// [ErrLocked] is returned when another process, or another store of this process,
// still holds the file after the timeout. [ErrDamaged] is returned for a damaged
// bbolt file. Other errors have no sentinel: the file is not a bbolt file, has no
// catalog of this name, has a format that this version doesn't know, or can't be
// opened.
func OpenBolt(path string, opts *BoltOptions) (*BoltStore, error) {
	return newBoltStore(bolt.Open(path, (*bolt.Options)(opts)))
}

// NewBoltStore returns a store in buckets of its own in a bbolt file that the
// caller has open. The buckets are at the top level: "customstatus.meta" and
// "customstatus.records", followed by a slash and the catalog's name if it has one.
// NewBoltStore creates them if they are missing, which fails if db is read-only.
// [ErrLocked] is returned when a store has the same catalog in db open. Close leaves
// db open; close the store before db.
//
// NewBoltStore does none of [OpenBolt]'s file handling. The caller opens the file,
// with a timeout; bbolt may panic when it opens a damaged one. The store does not
// check that the file stays at its path.
//
// A commit is as durable as db makes it (NoSync, NoGrowSync). It waits for the
// caller's write transactions, so never call Commit within one. A read transaction
// that stays open can delay a commit that must grow the file. If the caller writes
// to the buckets, commits return [ErrNotExclusive] and [ErrNeedsReopen]. After
// ErrNeedsReopen, db itself must be reopened.
func NewBoltStore(db *bbolt.DB, opts *BoltOptions) (*BoltStore, error) {
	return newBoltStore(bolt.New(db, (*bolt.Options)(opts)))
}

// OpenFile opens the catalog in the bbolt file at path, or creates the file if there
// is none: [OpenBolt] and [Open] in one call. [Catalog.Close] closes the file. The
// catalog reopens the file by itself when the store demands it, unless
// [Options.Reopen] is set. The error is one of OpenBolt, [BoltStore.Load] or Open.
func OpenFile(ctx context.Context, path string, opts *Options) (*Catalog, error) {
	var own Options
	if opts != nil {
		own = *opts
	}
	// The path must stay right when the process changes its directory.
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if own.Reopen == nil {
		own.Reopen = func(context.Context) (Store, error) {
			return newBoltStore(bolt.OpenExisting(absolute, (*bolt.Options)(own.Bolt)))
		}
	}
	store, err := OpenBolt(path, own.Bolt)
	if err != nil {
		return nil, err
	}
	catalog, err := Open(ctx, store, &own)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return catalog, nil
}

// Load implements [Store]. It reads and verifies the whole catalog.
func (s *BoltStore) Load(ctx context.Context) (Contents, error) {
	var statuses []CustomUserStatus
	state, err := s.engine.Load(ctx, func(count int, r *bolt.Record) {
		if statuses == nil {
			statuses = make([]CustomUserStatus, 0, count)
		}
		statuses = append(statuses, CustomUserStatus{
			ID: r.ID, Name: r.Name, StatusType: StatusType(r.Type), Metadata: r.Metadata,
			UpdatedAt: time.UnixMilli(r.UpdatedAt).UTC(), Revision: Revision(r.Revision),
		})
	})
	if err != nil {
		return Contents{}, err
	}
	return Contents{
		Statuses: statuses, Revision: Revision(state.Revision),
		Fingerprint: Fingerprint(state.Fingerprint), FingerprintKnown: true,
	}, nil
}

// Commit implements [Store].
func (s *BoltStore) Commit(ctx context.Context, changes []Change) (Revision, error) {
	revision, err := s.engine.Commit(ctx, boltChanges(changes))
	if limit := (*bolt.LimitError)(nil); errors.As(err, &limit) {
		return 0, &TooLargeError{MaxChanges: limit.MaxChanges, Err: err}
	}
	return Revision(revision), err
}

// boltChanges converts changes for the engine one by one: all of a large commit at
// once would take as much memory again.
type boltChanges []Change

// Len implements bolt.Changes.
func (c boltChanges) Len() int { return len(c) }

// At implements bolt.Changes.
func (c boltChanges) At(i int) bolt.Change {
	change := &c[i]
	return bolt.Change{
		Kind:     bolt.Kind(change.Kind), // the same numbers
		BeforeID: change.Before.ID,
		Before:   uint64(change.Before.Revision),
		After:    boltRecord(&change.After),
	}
}

// boltRecord returns the record of a status, which is zero for the zero status.
func boltRecord(s *CustomUserStatus) bolt.Record {
	if *s == (CustomUserStatus{}) {
		return bolt.Record{}
	}
	return bolt.Record{
		ID: s.ID, Name: s.Name, Type: string(s.StatusType), Metadata: s.Metadata,
		UpdatedAt: s.UpdatedAt.UnixMilli(),
	}
}

// Revision implements [Store]. It doesn't wait for a commit. It returns the error
// with which the next commit would fail before it begins, for a health check say.
func (s *BoltStore) Revision(ctx context.Context) (Revision, error) {
	revision, err := s.engine.Revision(ctx)
	return Revision(revision), err
}

// Backup writes a copy of the store's bbolt file to w, as the file is at one
// instant during the call. [OpenBolt] opens the copy. The copy contains everything
// in the file, including other catalogs and the host's own buckets.
//
// Backup first makes the copy in a temporary file, in the store's directory or else
// in the system's, and verifies its structure, so a slow w delays nobody.
// [ErrDamaged] is returned for a damaged file. After any error, that of ctx
// included, what w has received is not a backup.
func (s *BoltStore) Backup(ctx context.Context, w io.Writer) error {
	return s.engine.Backup(ctx, w)
}

// Close implements [Store]. It closes the file, but not the database that was
// given to [NewBoltStore].
func (s *BoltStore) Close() error { return s.engine.Close() }
