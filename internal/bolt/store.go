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

	name                      string // of the catalog
	tag                       Tag
	stateBucket, recordBucket string

	// Of a file that Open opened; nil if the db is the host's.
	file *os.File
	info os.FileInfo

	life   sync.RWMutex // read-locked by methods that run, locked by Close
	closed bool

	failures sync.Mutex
	noCommit error // why no commit can be made any more
	noRead   error // why nothing can be read any more either
	leaked   bool  // a panic left locks of bbolt held for ever

	turn  chan struct{}       // held by the commit that runs; guards the rest
	last  State               // the state that names belong to, and that the file must be in
	names map[string]struct{} // of all statuses; nil: not yet read

	verified atomic.Bool   // when it was opened, all of the file was, and nothing was loaded since
	size     atomic.Int64  // which an own file has reached
	reached  atomic.Uint64 // the revision that the last commit returned
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

// Load reads and verifies all there is. It calls yield with each record, in the
// order of ids, and with the number of all of them; the number is a hint, and what
// was yielded is worth nothing if Load returns an error.
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
	default: // the commit that runs reads them itself, or has
	}
	return state, nil
}

// loadAll looks at all pages, unless that was just done, and then loads.
func (s *Store) loadAll(ctx context.Context, tx *bbolt.Tx, v view, yield func(int, *Record)) (map[string]struct{}, error) {
	if !s.verified.Swap(false) {
		if err := v.way.All(s.recordBucket); err != nil {
			return nil, structure(err)
		}
	}
	return s.load(ctx, v, tx.Size(), yield)
}

// Commit makes all changes, or none, in one transaction of bbolt, and returns the
// revision that they have. When there is more than one reason to refuse a commit,
// the first of these is given: [sentinel.ErrClosed], the context's error, changes
// without a meaning (none at all, an id twice, an unknown kind), [LimitError], that
// the store must be reopened or is not in its place, [sentinel.ErrConflict].
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

// apply commits what was planned, in its turn.
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

// refuseDamage lets commits fail from now on if err is damage, and says so at
// once.
func (s *Store) refuseDamage(err error) error {
	if !errors.Is(err, sentinel.ErrDamaged) {
		return err
	}
	s.verified.Store(false)
	return s.refuse(err, false)
}

// changed is the error for a catalog that is not as the store left it. A damaged
// meta page has the same look: bbolt then goes by the one before.
func (s *Store) changed() error {
	if s.file == nil {
		return s.refuse(fmt.Errorf("%w: someone else wrote to the buckets while they were open", sentinel.ErrNotExclusive), true)
	}
	err := fmt.Errorf("%w: the file was changed by someone else while it was open", sentinel.ErrDamaged)
	s.refuse(err, true)
	return err
}

// Revision returns the revision of the store, or the error that a commit would
// meet before it begins. It doesn't wait for the commit that runs.
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

// current returns the state that the file is in.
func (s *Store) current() (State, error) {
	var state State
	err := s.transaction(false, func(tx *bbolt.Tx) error {
		v, err := s.view(tx)
		state = v.now
		return err
	})
	return state, err
}

// failed finds out whether a commit has changed the state that was there before,
// and returns the error to say so.
func (s *Store) failed(cause error, before State) error {
	now, err := s.current()
	switch {
	case err == nil && now != before:
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
	return fmt.Errorf("%w: %w", sentinel.ErrOutcomeUnknown, cause)
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

// Close closes the store and the file, but not the database that was given to
// [New].
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

// refused returns the error with which every commit ends, or nil.
func (s *Store) refused() error {
	s.failures.Lock()
	defer s.failures.Unlock()
	if s.noRead != nil {
		return s.noRead
	}
	return s.noCommit
}

// refuse lets every commit from now on fail with [sentinel.ErrNeedsReopen] and the
// cause, and if all is set, everything but Close. It returns that error.
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

// transaction runs fn in a transaction, which it rolls back afterwards unless fn
// has committed it. Nothing that bbolt returns in it may leave fn uncopied.
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

// leak notes that a panic left locks of bbolt held: the next call would wait for
// ever.
func (s *Store) leak(cause error) {
	s.refuse(cause, true)
	s.failures.Lock()
	defer s.failures.Unlock()
	s.leaked = true
}
