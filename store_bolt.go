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

// BoltStore is a [Store] in a bbolt file.
//
// # Durability
//
// A commit is one bbolt transaction: when it returns nil, what it wrote has been
// synced and survives the end of the process, of the system and of the power,
// as far as the disk keeps what it has acknowledged, and as far as a disk sector
// of 512 bytes is written whole or not at all.
//
// A commit that fails has written nothing, and the store goes on working when
// the reason was a lack of room (a full disk, a quota, a limit on file sizes).
// After any other failure of the disk, later commits are [ErrNeedsReopen]. If
// the very last sync of a commit fails, that commit is [ErrOutcomeUnknown], and
// from then on everything but Close is ErrNeedsReopen, for what can be read may
// not be what lasts.
//
// # Damage
//
// OpenBolt verifies the structure of the whole file before bbolt maps it, for
// bbolt trusts what it reads and can end the process over it. Load verifies the
// checksum of every record, that no two have one name, and that no record is
// missing or an old one. Damage is [ErrDamaged] and says where it is; package
// salvage gets out what is intact.
//
// A file can also be damaged while it is open. Before each commit the store looks
// at the pages that bbolt is about to follow, and before each Load but the first
// at all pages of the catalog. What it finds is ErrDamaged, and [ErrNeedsReopen]
// for the commits from then on. The look is not the use: damage that happens
// between the two can still end the process. So can damage to what the store does
// not look at: a list of more than 2,000 free pages, of which only the length is
// checked and which bbolt reads again when a commit fails; and other buckets of a
// host's file, which only the host follows.
//
// A file that is cut short under a running process is an error too. A panic of
// bbolt is ErrDamaged; any other panic under a call of bbolt is an error without a
// sentinel. Both are ErrNeedsReopen for the commits that follow, and have a method
// Stack() []byte that [errors.As] finds.
//
// A file that has been deleted, moved away or replaced while it was open would
// take writes that nobody finds again: commits are refused for as long as the
// open file is not the one at its path. (A process that loses sight of its path,
// by a chroot or a change of mounts, can therefore not commit.)
//
// # Limits
//
// A commit has at most 50,000 changes and 32 MiB of records, so that those who
// wait for it do not wait much longer than a second. An id has up to 32,768 bytes,
// and name, status type and metadata up to 65,535 each.
//
// # Concurrency
//
// A BoltStore may be used by several goroutines at once. Its file is locked: a
// second OpenBolt of it, by any process, is [ErrLocked]. It belongs on a local
// file system, for bbolt maps it into memory and relies on the lock. It keeps the
// names of all statuses in memory, some 30 bytes for each beside the text.
type BoltStore struct {
	engine *bolt.Store
}

// BoltOptions configure [OpenBolt] and [NewBoltStore]. A nil *BoltOptions and the
// zero value are the defaults.
type BoltOptions struct {
	// Name is that of the catalog, any text of at most 255 bytes. One file can
	// hold several catalogs, each under its name, and one without a name. Their
	// ids and names are independent of each other.
	//
	// OpenBolt makes a catalog only together with a new file. More of them are
	// made by NewBoltStore, in a file that the host opens.
	Name string

	// The rest is for OpenBolt alone.

	// LockTimeout is how long to wait for the lock of a file that another
	// process holds. 0 is Bolt.Timeout, and if that is 0 too, half a second.
	LockTimeout time.Duration
	// FileMode is the mode of a new file, before the umask. 0 is 0600.
	FileMode os.FileMode
	// Bolt are bbolt's own options, or nil. They are copied. OpenFile is also
	// called for the temporary file in which a new file is made, never with
	// os.O_CREATE for the file itself. With ReadOnly, the file must exist, and
	// every commit fails. NoSync and NoGrowSync give up the durability, and
	// NoFreelistSync makes bbolt read the whole file after a failed commit, in a
	// way that ends the process if it has been cut short or damaged.
	Bolt *bbolt.Options
}

func (o *BoltOptions) engine() *bolt.Options {
	if o == nil {
		return nil
	}
	return &bolt.Options{Name: o.Name, LockTimeout: o.LockTimeout, FileMode: o.FileMode, Bolt: o.Bolt}
}

// OpenBolt opens the bbolt file at path, or makes a new one if there is none. A
// new file is complete before it appears under its name. The directory must exist.
// Temporary files that a killed process left beside the file are removed.
//
// The errors: [ErrLocked] if another process (or another store of this one)
// holds the file, after the timeout; [ErrDamaged] if it is a bbolt file that is
// damaged; without a sentinel, if it is no bbolt file, if it has no catalog of the
// name, or if another version of this package wrote it in a format that this one
// doesn't know; what the system says if it can't be opened.
func OpenBolt(path string, opts *BoltOptions) (*BoltStore, error) {
	engine, err := bolt.Open(path, opts.engine())
	if err != nil {
		return nil, err
	}
	return &BoltStore{engine}, nil
}

// OpenFile opens the catalog in the bbolt file at path, or makes a new file if there
// is none: [OpenBolt] and [Open] in one call. The file is closed with the catalog.
// When the store says that it must be reopened, the catalog does so itself, unless
// [Options.Reopen] says how. The errors are those of OpenBolt, Load and Open.
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
			// A file that has gone must not be replaced by an empty one.
			if _, err := os.Stat(absolute); err != nil {
				return nil, err
			}
			return OpenBolt(absolute, own.Bolt)
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

// NewBoltStore returns a store in buckets of its own in a bbolt file that the
// caller has open. At the top level these are "customstatus.meta" and
// "customstatus.records", with a slash and the catalog's name behind if it has
// one. NewBoltStore makes them if there are none, which fails if db is read-only.
// Close leaves db open; close the store before it. A catalog that is open in db
// already is [ErrLocked].
//
// NewBoltStore does none of [OpenBolt]'s file handling: the caller opens the
// file, with a timeout, and bbolt may panic on a damaged one while opening
// it. A commit is as durable as db makes it (NoSync, NoGrowSync). It waits for
// write transactions of the caller, so that a call of Commit within one never
// returns, and a read transaction that stays open can hold up a commit that
// must grow the file. The store does not look whether the file stays in its
// place. If the caller writes to the buckets, commits are [ErrNotExclusive] and
// [ErrNeedsReopen]. When the store says ErrNeedsReopen, it is db that must be
// reopened.
func NewBoltStore(db *bbolt.DB, opts *BoltOptions) (*BoltStore, error) {
	engine, err := bolt.New(db, opts.engine())
	if err != nil {
		return nil, err
	}
	return &BoltStore{engine}, nil
}

// Load implements [Store]. It reads and verifies all there is.
func (s *BoltStore) Load(ctx context.Context) (Contents, error) {
	var statuses []CustomUserStatus
	state, err := s.engine.Load(ctx, func(count int, r *bolt.Record) {
		if statuses == nil {
			statuses = make([]CustomUserStatus, 0, count)
		}
		statuses = append(statuses, CustomUserStatus{
			ID:         r.ID,
			Name:       r.Name,
			StatusType: StatusType(r.Type),
			UpdatedAt:  time.UnixMilli(r.UpdatedAt).UTC(),
			Revision:   Revision(r.Revision),
			Metadata:   r.Metadata,
		})
	})
	if err != nil {
		return Contents{}, err
	}
	return Contents{
		Statuses:         statuses,
		Revision:         Revision(state.Revision),
		Fingerprint:      Fingerprint(state.Fingerprint),
		FingerprintKnown: true,
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

// boltChanges are changes as the engine sees them, which are made one by one: all
// of a large commit would take as much memory again.
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
		ID:        s.ID,
		Name:      s.Name,
		Type:      string(s.StatusType),
		Metadata:  s.Metadata,
		UpdatedAt: s.UpdatedAt.UnixMilli(),
	}
}

// Revision implements [Store]. It returns the error that a commit would meet before
// it begins, to a health check say, and doesn't wait for one that runs.
func (s *BoltStore) Revision(ctx context.Context) (Revision, error) {
	revision, err := s.engine.Revision(ctx)
	return Revision(revision), err
}

// Backup writes a copy of the store's bbolt file to w, as it is at one instant
// between call and return. [OpenBolt] opens the copy. The copy has everything
// that is in the file, also other catalogs and what the host of [NewBoltStore]
// keeps beside.
//
// The copy is first made in a temporary file, in the directory of the store or
// else in that of the system, and its structure is verified; so a slow w holds up
// no one. What is damaged is [ErrDamaged]. A ctx that ends is its error, and what
// w has got until then is no backup.
func (s *BoltStore) Backup(ctx context.Context, w io.Writer) error {
	return s.engine.Backup(ctx, w)
}

// Close implements [Store]. It closes the file, but not the database that was
// given to [NewBoltStore].
func (s *BoltStore) Close() error { return s.engine.Close() }
