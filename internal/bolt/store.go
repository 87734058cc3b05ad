package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/customstatus/customstatus/internal/sentinel"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Store is a catalog in a bbolt file. Several goroutines may use it at once.
type Store struct {
	db   *bbolt.DB
	path string

	name                      string // the catalog's name
	tag                       Tag
	stateBucket, recordBucket string

	// The file that Open opened. Both are nil if db is the host's.
	file *os.File
	info os.FileInfo

	life   sync.RWMutex // read-locked by running methods, locked by Close
	closed bool

	failures sync.Mutex
	noCommit error // why every further commit is refused
	noRead   error // why every further read is refused too
	leaked   bool  // a panic left locks of bbolt held for ever

	turn  chan struct{}       // held by the running commit; guards last and names
	last  State               // the state that the file must be in; names belongs to it
	names map[string]struct{} // the names of all statuses; nil: not yet read

	verified atomic.Bool   // the whole file was verified at opening, and nothing was loaded since
	size     atomic.Int64  // the greatest known size of a file that Open opened
	reached  atomic.Uint64 // the revision of the last commit
}

func newStore(db *bbolt.DB, path, name string) *Store {
	return &Store{
		db:           db,
		path:         path,
		name:         name,
		tag:          TagOf(name),
		stateBucket:  StateBucket(name),
		recordBucket: RecordBucket(name),
		turn:         make(chan struct{}, 1),
	}
}

// Path returns the path of the file.
func (s *Store) Path() string { return s.path }

// Load reads and verifies all records and returns the state. It calls yield
// with each record, in order of ids; count is an estimate of the number of all
// records. If Load returns an error, discard what was yielded.
//
// [sentinel.ErrDamaged] is returned when the file or a record is damaged,
// [sentinel.ErrNeedsReopen] when an earlier failure allows no more reads, and
// [sentinel.ErrClosed] after Close.
func (s *Store) Load(ctx context.Context, yield func(count int, r *Record)) (State, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	state, err := s.loadNow(ctx, yield)
	if err != nil {
		return State{}, fmt.Errorf("bolt: load %s: %w", s.path, err)
	}
	return state, nil
}

func (s *Store) loadNow(ctx context.Context, yield func(count int, r *Record)) (State, error) {
	if err := s.ready(ctx); err != nil {
		return State{}, err
	}
	var (
		names map[string]struct{}
		state State
	)
	reached := s.reached.Load()
	err := s.transaction(false, func(tx *bbolt.Tx) error {
		v, err := s.view(tx)
		if err != nil {
			return err
		}
		if state = v.now; state.Revision < reached {
			return s.changed()
		}
		names, err = s.loadAll(ctx, tx, v, yield)
		return err
	})
	if err != nil {
		return State{}, err
	}
	select {
	case s.turn <- struct{}{}:
		if s.last == state {
			s.names = names
		}
		<-s.turn
	default: // the running commit reads the names itself, or has read them
	}
	return state, nil
}

// loadAll checks all pages of the records, unless Open has just done so, and
// loads the records.
func (s *Store) loadAll(ctx context.Context, tx *bbolt.Tx, v view, yield func(int, *Record)) (map[string]struct{}, error) {
	if !s.verified.Swap(false) {
		if err := v.way.All(s.recordBucket); err != nil {
			return nil, structure(err)
		}
	}
	return s.load(ctx, v, tx.Size(), yield)
}

// Commit makes all changes or none, in one transaction of bbolt, and returns
// their revision. When several errors apply, Commit returns the first of these:
// [sentinel.ErrClosed], the error of ctx, an error for invalid changes (none at
// all, two changes of one id, an unknown kind), a [*LimitError],
// [sentinel.ErrNeedsReopen] or an error for a file that is not at its path,
// [sentinel.ErrConflict].
//
// [sentinel.ErrOutcomeUnknown] is returned when the commit may or may not have
// been made. Every other error means that nothing was written.
func (s *Store) Commit(ctx context.Context, changes Changes) (uint64, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	revision, err := s.commit(ctx, changes)
	if err != nil {
		return 0, fmt.Errorf("bolt: commit to %s: %w", s.path, err)
	}
	return revision, nil
}

func (s *Store) commit(ctx context.Context, changes Changes) (uint64, error) {
	if s.closed {
		return 0, sentinel.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p, err := newPlan(changes)
	if err != nil {
		return 0, err
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := s.refused(); err != nil {
		return 0, err
	}
	if err := s.inPlace(); err != nil {
		return 0, err
	}
	return s.apply(ctx, p)
}

// apply commits a plan. The caller holds the turn.
func (s *Store) apply(ctx context.Context, p *plan) (uint64, error) {
	var (
		e          *edit
		committing bool
	)
	err := s.transaction(true, func(tx *bbolt.Tx) error {
		v, err := s.view(tx)
		if err != nil {
			return s.refuseDamage(err)
		}
		if v.now != s.last {
			return s.changed()
		}
		e = s.newEdit(tx, v, p)
		if err := e.look(); err != nil {
			return s.refuseDamage(structure(err))
		}
		if e.names == nil {
			if e.names, err = s.loadAll(ctx, tx, v, nil); err != nil {
				return err
			}
			s.names = e.names
		}
		if err := e.make(); err != nil {
			return err
		}
		committing = true
		return tx.Commit()
	})
	switch {
	case err == nil:
		s.last = e.state
		s.reached.Store(e.state.Revision)
		for name, taken := range e.taken {
			if taken {
				s.names[name] = struct{}{}
			} else {
				delete(s.names, name)
			}
		}
		return e.state.Revision, nil
	case committing:
		return 0, s.failed(err, e.view.now)
	}
	if isPanic(err) {
		s.refuse(err, false)
	}
	return 0, err
}

// refuseDamage returns err. If err is damage, it refuses all further commits,
// and the returned error says so.
func (s *Store) refuseDamage(err error) error {
	if !errors.Is(err, sentinel.ErrDamaged) {
		return err
	}
	s.verified.Store(false)
	return s.refuse(err, false)
}

// changed returns the error for a file that is not in the state in which the
// store left it. A damaged meta page has the same effect, because bbolt then
// uses the older meta page.
func (s *Store) changed() error {
	if s.file == nil {
		return s.refuse(fmt.Errorf("%w: someone else wrote to the catalog's buckets while the store was open", sentinel.ErrNotExclusive), true)
	}
	err := fmt.Errorf("%w: the file was changed by someone else while it was open", sentinel.ErrDamaged)
	s.refuse(err, true)
	return err
}

// Revision returns the revision of the store. It does not wait for a running
// commit. If the store can't commit, Revision returns the error that a commit
// would return.
func (s *Store) Revision(ctx context.Context) (uint64, error) {
	s.life.RLock()
	defer s.life.RUnlock()
	revision, err := s.revision(ctx)
	if err != nil {
		return 0, fmt.Errorf("bolt: revision of %s: %w", s.path, err)
	}
	return revision, nil
}

func (s *Store) revision(ctx context.Context) (uint64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if err := s.refused(); err != nil {
		return 0, err
	}
	if err := s.inPlace(); err != nil {
		return 0, err
	}
	reached := s.reached.Load()
	state, err := s.current()
	if err != nil {
		return 0, s.refuseDamage(err)
	}
	if state.Revision < reached {
		return 0, s.changed()
	}
	return state.Revision, nil
}

// current reads the state from the file.
func (s *Store) current() (State, error) {
	var state State
	err := s.transaction(false, func(tx *bbolt.Tx) error {
		v, err := s.view(tx)
		state = v.now
		return err
	})
	return state, err
}

// failed returns the error for a commit that failed after the state was before.
// It reads the file to find out whether the commit was written.
func (s *Store) failed(cause error, before State) error {
	now, err := s.current()
	switch {
	case err == nil && now != before:
		cause = fmt.Errorf("the commit is written but may not be durable: %w", cause)
	case err == nil:
		if !lackOfRoom(cause) {
			s.refuse(cause, false)
		}
		return fmt.Errorf("nothing was written: %w", cause)
	case errors.Is(err, bolterrors.ErrInvalidMapping):
		// bbolt loses its mapping only while it grows the file, before it writes.
		s.refuse(cause, true)
		return fmt.Errorf("nothing was written: %w", cause)
	default:
		cause = fmt.Errorf("%w, and then: %w", cause, err)
	}
	s.refuse(cause, true)
	return fmt.Errorf("%w: %w", sentinel.ErrOutcomeUnknown, cause)
}

// lackOfRoom reports whether a commit failed for lack of space and left bbolt
// sound. Then bbolt had not yet written the meta page that makes the commit
// visible. No sync failed either; after a failed sync the system may drop
// unwritten data.
func lackOfRoom(err error) bool {
	if errors.Is(err, bolterrors.ErrMaxSizeReached) || strings.HasPrefix(err.Error(), "file resize error") {
		return true
	}
	var write *fs.PathError
	return errors.As(err, &write) && write.Op == "write" &&
		(errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG))
}

// Close waits for running methods, then closes the store and the file. It
// leaves the database of [New] open. A second Close returns nil.
func (s *Store) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.names = nil
	if s.file == nil {
		hosted.leave(s.db, s.name)
		return nil
	}
	err := guard(func() error {
		if s.leaked {
			// bbolt's own Close would wait for ever. The pages stay mapped, but
			// the lock and the descriptor are released.
			return errors.Join(unlockFile(s.file), s.file.Close())
		}
		return s.db.Close()
	})
	if err != nil {
		return fmt.Errorf("bolt: close %s: %w", s.path, err)
	}
	return nil
}

// ready returns nil if a method may read, or else the error to return.
func (s *Store) ready(ctx context.Context) error {
	if s.closed {
		return sentinel.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.failures.Lock()
	defer s.failures.Unlock()
	return s.noRead
}

// refused returns nil if commits are possible, or else the error to return.
func (s *Store) refused() error {
	s.failures.Lock()
	defer s.failures.Unlock()
	if s.noRead != nil {
		return s.noRead
	}
	return s.noCommit
}

// refuse makes every later commit fail with [sentinel.ErrNeedsReopen] and the
// cause. With all set, every method but Close fails. It returns that error.
func (s *Store) refuse(cause error, all bool) error {
	s.failures.Lock()
	defer s.failures.Unlock()
	err := fmt.Errorf("%w: %w", sentinel.ErrNeedsReopen, cause)
	if s.noCommit == nil {
		s.noCommit = err
	}
	if all && s.noRead == nil {
		s.noRead = err
	}
	return err
}

// transaction runs fn in a transaction and rolls it back afterwards, unless fn
// has committed it. A slice that bbolt returns is only valid within fn.
func (s *Store) transaction(writable bool, fn func(*bbolt.Tx) error) error {
	var tx *bbolt.Tx
	err := guard(func() (err error) {
		tx, err = s.db.Begin(writable)
		return err
	})
	if tx == nil {
		if isPanic(err) {
			s.leak(err)
		}
		return err
	}
	err = guard(func() error { return fn(tx) })
	if e := guard(tx.Rollback); isPanic(e) {
		s.leak(e)
	}
	return err
}

// leak records that a panic left locks of bbolt held. The next call of bbolt
// would wait for ever, so every method but Close fails from now on.
func (s *Store) leak(cause error) {
	s.refuse(cause, true)
	s.failures.Lock()
	defer s.failures.Unlock()
	s.leaked = true
}
