package customstatus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/customstatus/customstatus/internal/boltfile"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
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
// missing or an old one. Damage is [ErrDamaged] and says where it is;
// [SalvageBolt] gets out what is intact. A file that is cut short under a running
// process is an error too, as is any panic of bbolt; both are [ErrNeedsReopen]
// for the commits that follow.
//
// A file that has been deleted, moved away or replaced while it was open would
// take writes that nobody finds again: commits are refused for as long as the
// open file is not the one at its path. (A process that loses sight of its path,
// by a chroot or a change of mounts, can therefore not commit.)
//
// # Concurrency
//
// A BoltStore may be used by several goroutines at once. Its file is locked: a
// second OpenBolt of it, by any process, is [ErrLocked]. It belongs on a local
// file system, for bbolt maps it into memory and relies on the lock. It keeps the
// names of all statuses in memory, some 30 bytes for each beside the text.
type BoltStore struct {
	db   *bbolt.DB
	path string

	// Of a file that OpenBolt opened; nil if the db is the host's.
	file *os.File
	info os.FileInfo

	life   sync.RWMutex // read-locked by methods that run, locked by Close
	closed bool

	failures sync.Mutex
	noCommit error // why no commit can be made any more
	noRead   error // why nothing can be read any more either
	leaked   bool  // a panic left locks of bbolt held for ever

	turn  chan struct{}       // held by the commit that runs; guards the rest
	last  storedState         // the state that names belong to; an own file must be in it
	names map[string]struct{} // of all statuses; nil: not yet read

	size atomic.Int64 // which an own file has reached
}

// BoltOptions configure [OpenBolt]. A nil *BoltOptions and the zero value are
// the defaults.
type BoltOptions struct {
	// Timeout is how long to wait for the lock of a file that another
	// process holds. 0 is Bolt.Timeout, and if that is 0 too, half a second.
	Timeout time.Duration
	// FileMode is the mode of a new file, before the umask. 0 is 0600.
	FileMode os.FileMode
	// Bolt are bbolt's own options, or nil. They are copied. OpenFile is also
	// called for the temporary file in which a new file is made, never with
	// os.O_CREATE for the file itself. With ReadOnly, the file must exist, and
	// every commit fails. NoSync and NoGrowSync give up the durability, and
	// NoFreelistSync makes bbolt read the file after a failed commit in a way
	// that ends the process if it has been cut short.
	Bolt *bbolt.Options
}

const (
	defaultLockTimeout = 500 * time.Millisecond
	defaultFileMode    = 0o600
)

// boltFill is how full pages of records get before they are split. The ids that
// a catalog makes are in order of time, so that records are appended and the
// room would stay unused.
const boltFill = 0.9

// OpenBolt opens the bbolt file at path, or makes a new one if there is none. A
// new file is complete before it appears under its name. The folder must exist.
//
// The errors: [ErrLocked] if another process (or another store of this one)
// holds the file, after the timeout; [ErrDamaged] if the file is not a sound
// one, is empty, or is some other program's; without a sentinel, if a newer
// version of this package wrote it; what the system says if it can't be opened.
func OpenBolt(path string, opts *BoltOptions) (*BoltStore, error) {
	s, err := openBolt(path, opts)
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, err)
	}
	return s, nil
}

// NewBoltStore returns a store in buckets of its own in a bbolt file that the
// caller has open: "customstatus.meta" and "customstatus.records" at the top
// level. It makes them if there are none, which fails if db is read-only. Close
// leaves db open; close the store before it.
//
// All else that [OpenBolt] does for a file is the caller's to do or not: it opens
// the file with a timeout, and bbolt may panic on a damaged one while opening
// it. A commit is as durable as db makes it (NoSync, NoGrowSync). It waits for
// write transactions of the caller, so that a call of Commit within one never
// returns, and a read transaction that stays open can hold up a commit that
// must grow the file. Two stores in one db are safe, but each reads all records
// again to commit after the other. The store does not look whether the file
// stays in its place, and when it says [ErrNeedsReopen], it is db that must be
// reopened.
func NewBoltStore(db *bbolt.DB) (*BoltStore, error) {
	if db == nil {
		return nil, errors.New("bolt: no database")
	}
	s := newBoltStore(db, db.Path())
	err := s.transaction(false, func(tx *bbolt.Tx) error {
		_, err := readState(tx)
		return err
	})
	if errors.Is(err, errNoBuckets) {
		err = s.transaction(true, func(tx *bbolt.Tx) error {
			if err := createBuckets(tx); err != nil {
				return err
			}
			return tx.Commit()
		})
	}
	if err != nil {
		return nil, fmt.Errorf("bolt: %s: %w", s.path, err)
	}
	return s, nil
}

func newBoltStore(db *bbolt.DB, path string) *BoltStore {
	return &BoltStore{db: db, path: path, turn: make(chan struct{}, 1)}
}

// Load implements [Store]. It reads and verifies all there is.
func (s *BoltStore) Load(ctx context.Context) ([]CustomUserStatus, Revision, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	var (
		statuses []CustomUserStatus
		names    map[string]struct{}
		state    storedState
	)
	err := s.ready(ctx)
	if err == nil {
		err = s.transaction(false, func(tx *bbolt.Tx) (err error) {
			statuses, names, state, err = load(ctx, tx)
			return err
		})
	}
	if err != nil {
		return nil, 0, fmt.Errorf("bolt: load %s: %w", s.path, err)
	}
	select {
	case s.turn <- struct{}{}:
		if s.last == state || s.file == nil && state.transaction > s.last.transaction {
			s.last, s.names = state, names
		}
		<-s.turn
	default: // the commit that runs reads them itself, or has
	}
	return statuses, state.revision, nil
}

// Commit implements [Store]. It allows ids of 1 to 32,768 bytes, names of 1 to
// 65,535 and status types of up to as many; a commit beyond that is an error.
func (s *BoltStore) Commit(ctx context.Context, changes []Change) (Revision, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	revision, err := s.commit(ctx, changes)
	if err != nil {
		return 0, fmt.Errorf("bolt: commit to %s: %w", s.path, err)
	}
	return revision, nil
}

func (s *BoltStore) commit(ctx context.Context, changes []Change) (Revision, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if len(changes) == 0 {
		return s.current()
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if err := s.refused(); err != nil {
		return 0, err
	}
	if err := s.inPlace(); err != nil {
		return 0, err
	}

	var (
		before     storedState
		e          *boltEdit
		committing bool
	)
	err := s.transaction(true, func(tx *bbolt.Tx) error {
		state, err := readState(tx)
		if err != nil {
			return err
		}
		if s.file != nil && state != s.last {
			err := fmt.Errorf("%w: the file was changed by someone else while it was open", ErrDamaged)
			s.refuse(err, true)
			return err
		}
		if s.names == nil || state != s.last {
			_, names, _, err := load(ctx, tx)
			if err != nil {
				return err
			}
			s.names, s.last = names, state
		}
		e = newBoltEdit(tx, state, s.names, changes)
		if err := e.make(); err != nil {
			return err
		}
		before = state
		committing = true
		return tx.Commit()
	})
	switch {
	case err == nil:
		s.last = e.state
		for name, taken := range e.taken {
			if taken {
				s.names[name] = struct{}{}
			} else {
				delete(s.names, name)
			}
		}
		return e.state.revision, nil
	case committing:
		return 0, s.failed(err, before)
	}
	if isPanic(err) {
		s.refuse(err, false)
	}
	return 0, err
}

// current returns the revision of the store, or the error that a commit would
// meet before it begins. It doesn't wait for the commit that runs.
func (s *BoltStore) current() (Revision, error) {
	if err := s.refused(); err != nil {
		return 0, err
	}
	if err := s.inPlace(); err != nil {
		return 0, err
	}
	var state storedState
	err := s.transaction(false, func(tx *bbolt.Tx) (err error) {
		state, err = readState(tx)
		return err
	})
	return state.revision, err
}

// failed finds out whether a commit has changed the state that was there before,
// and returns the error to say so.
func (s *BoltStore) failed(cause error, before storedState) error {
	var now storedState
	err := s.transaction(false, func(tx *bbolt.Tx) (err error) {
		now, err = readState(tx)
		return err
	})
	switch {
	case err == nil && now != before:
		// Or another store of the same database has made a commit since.
		cause = fmt.Errorf("it is written but not known to be durable: %w", cause)
	case err == nil:
		if !lackOfRoom(cause) {
			s.refuse(cause, false)
		}
		return fmt.Errorf("nothing was written: %w", cause)
	case errors.Is(err, bolterrors.ErrInvalidMapping):
		// bbolt loses its mapping only while it makes room, before it writes.
		s.refuse(cause, true)
		return fmt.Errorf("nothing was written: %w", cause)
	default:
		cause = fmt.Errorf("%w, and then: %w", cause, err)
	}
	s.refuse(cause, true)
	return fmt.Errorf("%w: %w", ErrOutcomeUnknown, cause)
}

// lackOfRoom reports whether a commit failed in a way after which bbolt is known
// to be sound: it had not yet written the page that makes a commit visible, and
// none of the syncs failed, after which the system may forget what it should
// have written.
func lackOfRoom(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) || strings.HasPrefix(err.Error(), "file resize error") {
		return true
	}
	var write *fs.PathError
	return errors.As(err, &write) && write.Op == "write" &&
		(errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG))
}

// inPlace returns an error if the open file is not the one at its path, or is
// shorter than it was.
func (s *BoltStore) inPlace() error {
	if s.file == nil {
		return nil
	}
	reached := s.size.Load() // before the look at the file, which grows meanwhile
	size, err := s.locate()
	if errors.Is(err, fs.ErrPermission) {
		return nil // the process has given up the right to look
	}
	if err == nil && size < reached {
		err = fmt.Errorf("%w: the file was cut from %d bytes to %d while it was open", ErrDamaged, reached, size)
		s.refuse(err, true)
	}
	if err == nil {
		s.size.Store(size)
	}
	return err
}

// locate returns the size of the file at the path, or an error if that is not
// the open one.
func (s *BoltStore) locate() (int64, error) {
	size, same, err := atPath(s.path, s.info)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("the file is no longer in its place, what is written to it would be lost: %w", err)
	case err != nil:
		err = fmt.Errorf("it cannot be told whether the file is still in its place: %w", err)
	case !same:
		err = errors.New("another file has taken its place, what is written to the open one would be lost")
	}
	return size, err
}

func statPath(path string, info os.FileInfo) (size int64, same bool, err error) {
	at, err := os.Stat(path)
	if err != nil {
		return 0, false, err
	}
	return at.Size(), os.SameFile(at, info), nil
}

// Backup writes a copy of the store's bbolt file to w, as it is at one instant
// between call and return. [OpenBolt] opens the copy. The copy has everything
// that is in the file, also what the host of [NewBoltStore] keeps beside.
//
// The copy is first made in a temporary file, in the folder of the store or else
// in that of the system, and its structure is verified; so a slow w holds up no
// one. What is damaged is [ErrDamaged].
func (s *BoltStore) Backup(w io.Writer) error {
	if err := s.backup(w); err != nil {
		return fmt.Errorf("bolt: backup of %s: %w", s.path, err)
	}
	return nil
}

func (s *BoltStore) backup(w io.Writer) error {
	spool, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".backup*")
	if err != nil {
		if spool, err = os.CreateTemp("", "customstatus.backup*"); err != nil {
			return err
		}
	}
	defer func() {
		_ = spool.Close()
		_ = os.Remove(spool.Name())
	}()
	size, err := s.copyTo(spool)
	if err != nil {
		return err
	}
	if err := verify(spool, size); err != nil {
		return err
	}
	_, err = io.Copy(w, io.NewSectionReader(spool, 0, size))
	return err
}

// copyTo writes a copy of the file to spool. Only for this does the store have to
// be open.
func (s *BoltStore) copyTo(spool *os.File) (size int64, err error) {
	s.life.RLock()
	defer s.life.RUnlock()
	if err := s.ready(context.Background()); err != nil {
		return 0, err
	}
	err = s.transaction(false, func(tx *bbolt.Tx) (err error) {
		size, err = tx.WriteTo(spool)
		return err
	})
	return size, err
}

// Close implements [Store]. It closes the file, but not the database that was
// given to [NewBoltStore].
func (s *BoltStore) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.names = nil
	if s.file == nil {
		return nil
	}
	err := guard(func() error {
		if s.leaked {
			// bbolt's own Close would wait for ever. The file's pages stay
			// mapped, but the lock and the descriptor go.
			return errors.Join(unlockFile(s.file), s.file.Close())
		}
		return s.db.Close()
	})
	if err != nil {
		return fmt.Errorf("bolt: close %s: %w", s.path, err)
	}
	return nil
}

// ready returns the error with which a method has to return before it begins,
// or nil.
func (s *BoltStore) ready(ctx context.Context) error {
	if s.closed {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.failures.Lock()
	defer s.failures.Unlock()
	return s.noRead
}

// refused returns the error with which every commit ends, or nil.
func (s *BoltStore) refused() error {
	s.failures.Lock()
	defer s.failures.Unlock()
	return s.noCommit
}

// refuse lets every commit from now on fail with [ErrNeedsReopen] and the cause,
// and if all is set, everything but Close.
func (s *BoltStore) refuse(cause error, all bool) {
	s.failures.Lock()
	defer s.failures.Unlock()
	err := fmt.Errorf("%w: %w", ErrNeedsReopen, cause)
	if s.noCommit == nil {
		s.noCommit = err
	}
	if all && s.noRead == nil {
		s.noRead = err
	}
}

// errNoBuckets: the database has none of the store's buckets.
var errNoBuckets = fmt.Errorf("%w: not a file of customstatus: no bucket %q", ErrDamaged, boltMeta)

// readState returns the state of the store in a database.
func readState(tx *bbolt.Tx) (storedState, error) {
	meta, records := tx.Bucket([]byte(boltMeta)), tx.Bucket([]byte(boltRecords))
	switch {
	case meta == nil && records == nil:
		return storedState{}, errNoBuckets
	case meta == nil:
		return storedState{}, fmt.Errorf("%w: no bucket %q", ErrDamaged, boltMeta)
	case records == nil:
		return storedState{}, fmt.Errorf("%w: no bucket %q", ErrDamaged, boltRecords)
	}
	state, err := decodeState(meta.Get([]byte(boltStateKey)))
	if err != nil {
		return storedState{}, fmt.Errorf("bucket %q: %w", boltMeta, err)
	}
	return state, nil
}

// createBuckets makes an empty store in a database that has none.
func createBuckets(tx *bbolt.Tx) error {
	for _, name := range []string{boltMeta, boltRecords} {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return fmt.Errorf("bucket %q: %w", name, err)
		}
	}
	state := storedState{transaction: uint64(tx.ID())}
	return tx.Bucket([]byte(boltMeta)).Put([]byte(boltStateKey), state.encode())
}

// damaged is the error for damage in a bucket, at a key if there is one.
func damaged(bucket string, key []byte, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if key != nil {
		return fmt.Errorf("%w: bucket %q, key %.200q: %s", ErrDamaged, bucket, key, what)
	}
	return fmt.Errorf("%w: bucket %q: %s", ErrDamaged, bucket, what)
}

// load reads and verifies everything in the store. It returns the names of the
// statuses, too.
func load(ctx context.Context, tx *bbolt.Tx) ([]CustomUserStatus, map[string]struct{}, storedState, error) {
	want, err := readState(tx)
	if err != nil {
		return nil, nil, want, err
	}
	var (
		got      = storedState{revision: want.revision, transaction: want.transaction}
		size     = min(want.count, uint64(tx.Size()/recordMin)) // for the count may be wrong
		statuses = make([]CustomUserStatus, 0, size)
		names    = make(map[string]struct{}, size)
		previous []byte
	)
	records := tx.Bucket([]byte(boltRecords)).Cursor()
	for key, value := records.First(); key != nil; key, value = records.Next() {
		if len(statuses)%1024 == 0 && ctx.Err() != nil {
			return nil, nil, want, ctx.Err()
		}
		s, sum, err := decodeRecord(value)
		if err != nil {
			return nil, nil, want, damaged(boltRecords, key, "%v", err)
		}
		names[s.Name] = struct{}{}
		switch {
		case s.ID != string(key):
			return nil, nil, want, damaged(boltRecords, key, "the record is that of %q", s.ID)
		case s.Revision == 0 || s.Revision > want.revision:
			return nil, nil, want, damaged(boltRecords, key, "the record is of revision %d, the store of %d", s.Revision, want.revision)
		case previous != nil && bytes.Compare(previous, key) >= 0:
			return nil, nil, want, damaged(boltRecords, key, "out of order")
		case len(names) == len(statuses):
			return nil, nil, want, damaged(boltRecords, key, "another status has the name %q, too", s.Name)
		}
		previous = key
		got.add(sum)
		statuses = append(statuses, s)
	}
	if got != want {
		return nil, nil, want, damaged(boltRecords, nil,
			"the records are not those of the last commit: there are %d of %d, with digest %016x instead of %016x",
			got.count, want.count, got.digest, want.digest)
	}
	return statuses, names, want, nil
}

// boltEdit is the making of one commit.
type boltEdit struct {
	meta, records *bbolt.Bucket
	state         storedState
	changes       []Change
	written       [][]byte            // the record that a change puts; nil: it deletes
	buffer        []byte              // in which the records are made
	greatest      string              // id that has a record; there is none beyond to look for
	names         map[string]struct{} // of all statuses, before the commit
	taken         map[string]bool     // whether a name that the commit touches belongs to a status after it
}

func newBoltEdit(tx *bbolt.Tx, state storedState, names map[string]struct{}, changes []Change) *boltEdit {
	state.revision++
	state.transaction = uint64(tx.ID())
	e := &boltEdit{
		meta:    tx.Bucket([]byte(boltMeta)),
		records: tx.Bucket([]byte(boltRecords)),
		state:   state,
		changes: changes,
		written: make([][]byte, len(changes)),
		names:   names,
		taken:   make(map[string]bool, len(changes)),
	}
	size := 0
	for i := range changes {
		size += recordSize(&changes[i].Status)
	}
	e.buffer = make([]byte, 0, size)
	greatest, _ := e.records.Cursor().Last()
	e.greatest = string(greatest)
	e.records.FillPercent = boltFill
	return e
}

// make checks and then makes the changes, in the order of their ids, for bbolt
// takes quadratic time for keys in disorder.
func (e *boltEdit) make() error {
	byID := make([]int, len(e.changes))
	for i := range byID {
		byID[i] = i
	}
	slices.SortFunc(byID, func(a, b int) int { return strings.Compare(e.changes[a].Status.ID, e.changes[b].Status.ID) })
	for k, i := range byID {
		if id := e.changes[i].Status.ID; k > 0 && id == e.changes[byID[k-1]].Status.ID {
			return fmt.Errorf("status %q stands twice in the commit", id)
		}
	}
	for i := range e.changes {
		var err error
		if e.written[i], err = e.change(&e.changes[i]); err != nil {
			return err
		}
	}
	for _, i := range byID {
		if err := set(e.records, e.changes[i].Status.ID, e.written[i]); err != nil {
			return fmt.Errorf("bucket %q: %w", boltRecords, err)
		}
	}
	if err := e.meta.Put([]byte(boltStateKey), e.state.encode()); err != nil {
		return fmt.Errorf("bucket %q: %w", boltMeta, err)
	}
	return nil
}

// change checks a change against the database and the changes before it, and
// returns the record to put, or nil if it deletes one.
func (e *boltEdit) change(c *Change) ([]byte, error) {
	s := c.Status
	if err := e.storable(c); err != nil {
		return nil, err
	}
	var old CustomUserStatus
	var value []byte
	if s.ID <= e.greatest {
		value = e.records.Get([]byte(s.ID))
	}
	if value != nil {
		var sum uint64
		var err error
		if old, sum, err = decodeRecord(value); err != nil {
			return nil, damaged(boltRecords, []byte(s.ID), "%v", err)
		}
		if old.ID != s.ID {
			return nil, damaged(boltRecords, []byte(s.ID), "the record is that of %q", old.ID)
		}
		e.state.remove(sum)
	}
	switch {
	case old.Revision == c.Replaces:
	case old.Revision == 0:
		return nil, fmt.Errorf("no status %q at revision %d: %w", s.ID, c.Replaces, ErrConflict)
	default:
		return nil, fmt.Errorf("status %q is at revision %d, not %d: %w", s.ID, old.Revision, c.Replaces, ErrConflict)
	}
	if old.Revision != 0 {
		e.taken[old.Name] = false
	}
	if c.Deleted {
		return nil, nil
	}
	if e.isTaken(s.Name) {
		return nil, fmt.Errorf("the name %q belongs to another status than %q: %w", s.Name, s.ID, ErrConflict)
	}
	e.taken[s.Name] = true
	s.Revision = e.state.revision
	start := len(e.buffer)
	var sum uint64
	e.buffer, sum = appendRecord(e.buffer, &s)
	e.state.add(sum)
	return e.buffer[start:len(e.buffer):len(e.buffer)], nil
}

// storable returns an error if the store has no way to keep what c says.
func (e *boltEdit) storable(c *Change) error {
	s := &c.Status
	switch {
	case s.ID == "" || len(s.ID) > bbolt.MaxKeySize:
		return fmt.Errorf("an id of %d bytes cannot be stored", len(s.ID))
	case c.Deleted && c.Replaces == 0:
		return fmt.Errorf("the change that deletes status %q has no revision that it replaces", s.ID)
	case c.Deleted:
		return nil
	case s.Name == "" || len(s.Name) >= 1<<16:
		return fmt.Errorf("status %q: a name of %d bytes cannot be stored", s.ID, len(s.Name))
	case len(s.StatusType) >= 1<<16:
		return fmt.Errorf("status %q: a status type of %d bytes cannot be stored", s.ID, len(s.StatusType))
	}
	return nil
}

// isTaken reports whether a status has the name at this point of the commit.
func (e *boltEdit) isTaken(name string) bool {
	if taken, touched := e.taken[name]; touched {
		return taken
	}
	_, taken := e.names[name]
	return taken
}

func set(b *bbolt.Bucket, key string, value []byte) error {
	if value == nil {
		return b.Delete([]byte(key))
	}
	return b.Put([]byte(key), value)
}

// verify checks the structure of a bbolt file.
func verify(file io.ReaderAt, size int64) error {
	err := boltfile.Check(file, size)
	if damage := (*boltfile.DamageError)(nil); errors.As(err, &damage) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
