package customstatus

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// mapSize is the address space in which bbolt maps a file from the start.
	// A map that gets too small has to be made anew, which waits for all
	// readers and copies all that the commit has touched: a third of the
	// time of a large import. Address space costs nothing; where it is
	// scarce, and on Windows, where the file would get as long as the map,
	// bbolt starts small.
	mapSize = 256 << 20
	// growStep is by how much the file grows beyond what is needed, which
	// bbolt makes 16 MiB once the map is as large as that.
	growStep = 256 << 10
)

func openBolt(path string, opts *BoltOptions) (*BoltStore, error) {
	if opts == nil {
		opts = &BoltOptions{}
	}
	var bolt bbolt.Options
	if opts.Bolt != nil {
		bolt = *opts.Bolt
	}
	if opts.Timeout != 0 {
		bolt.Timeout = opts.Timeout
	}
	if bolt.Timeout == 0 {
		bolt.Timeout = defaultLockTimeout
	}
	if bolt.OpenFile == nil {
		bolt.OpenFile = os.OpenFile
	}
	mode := opts.FileMode
	if mode == 0 {
		mode = defaultFileMode
	}
	// The path must stay right when the process changes its folder.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}

	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !bolt.ReadOnly:
		if err := createBolt(path, mode, bolt); err != nil {
			return nil, fmt.Errorf("make a new file: %w", err)
		}
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("it is no regular file but %v", info.Mode().Type())
	}

	roomy := bolt.InitialMmapSize == 0 && bolt.MaxSize == 0 && runtime.GOOS != "windows" && bits.UintSize == 64
	if roomy {
		bolt.InitialMmapSize = mapSize
	}
	var file *os.File
	db, err := guardedOpen(path, mode, bolt, func(f *os.File) error {
		file = f
		return inspect(f, bolt)
	})
	if err != nil {
		if file != nil {
			_ = file.Close() // bbolt has closed it, unless it panicked
		}
		if errors.Is(err, bolterrors.ErrTimeout) {
			err = fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return nil, err
	}

	if roomy {
		db.AllocSize = growStep
	}

	s := newBoltStore(db, path)
	s.file = file
	err = s.transaction(false, func(tx *bbolt.Tx) (err error) {
		s.last, err = readState(tx)
		return err
	})
	if err == nil {
		s.info, err = file.Stat()
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.size.Store(s.info.Size())
	return s, nil
}

// guardedOpen opens a database with options that name an OpenFile. It calls
// inspect with the file before bbolt sees it.
func guardedOpen(path string, mode os.FileMode, bolt bbolt.Options, inspect func(*os.File) error) (db *bbolt.DB, err error) {
	open := bolt.OpenFile
	bolt.OpenFile = func(path string, flag int, mode os.FileMode) (*os.File, error) {
		file, err := open(path, flag&^os.O_CREATE, mode)
		if err != nil {
			return nil, err
		}
		if err := inspect(file); err != nil {
			_ = file.Close()
			return nil, err
		}
		return file, nil
	}
	err = guard(func() (err error) {
		db, err = bbolt.Open(path, mode, &bolt)
		return err
	})
	return db, err
}

// inspect locks and verifies a file before bbolt gets it.
func inspect(file *os.File, bolt bbolt.Options) error {
	if err := lockFile(file, !bolt.ReadOnly, bolt.Timeout); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if err := verify(file, info.Size()); err != nil {
		return err
	}
	if bolt.ReadOnly || bolt.NoSync {
		return nil
	}
	// What can be read may not be durable yet: whoever wrote it, or put the
	// file here, may have been killed before the last sync.
	if err := file.Sync(); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(file.Name()))
}

// createBolt makes a new file with an empty store, unless there is one. It is
// made under another name and then linked, so that it is never seen in parts,
// and never takes the place of one that another process has made meanwhile.
func createBolt(path string, mode os.FileMode, bolt bbolt.Options) (err error) {
	temporary := path + ".new-" + rand.Text()
	open := bolt.OpenFile
	bolt.OpenFile = func(path string, flag int, mode os.FileMode) (*os.File, error) {
		return open(path, flag|os.O_CREATE|os.O_EXCL, mode)
	}
	bolt.NoSync, bolt.NoGrowSync, bolt.Mlock, bolt.InitialMmapSize = false, false, false, 0
	defer func() {
		if e := os.Remove(temporary); e != nil && !errors.Is(e, fs.ErrNotExist) && err == nil {
			err = e
		}
	}()
	var db *bbolt.DB
	err = guard(func() (err error) {
		if db, err = bbolt.Open(temporary, mode, &bolt); err != nil {
			return err
		}
		return errors.Join(db.Update(createBuckets), db.Close())
	})
	if err != nil {
		return err
	}
	if err := os.Link(temporary, path); err != nil {
		if _, e := os.Lstat(path); e == nil {
			return nil // made by another process
		}
		// A file system without links. What is lost is the certainty that
		// no other process makes one in this very moment.
		if err := os.Rename(temporary, path); err != nil {
			return err
		}
	}
	return syncFolder(filepath.Dir(path))
}

// guard runs fn, which calls bbolt, and makes an error of a panic, also of one
// because the mapped file cannot be read: it was cut short, or the disk fails.
// Such a fault would otherwise end the process.
func guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p}
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return fn()
}

// panicError is a panic of bbolt, which means that the file does not hold what
// it should.
type panicError struct {
	value any
}

func (e *panicError) Error() string {
	if fault, ok := e.value.(interface{ Addr() uintptr }); ok {
		return fmt.Sprintf("%v: a part of the file cannot be read: %v", ErrDamaged, fault)
	}
	return fmt.Sprintf("%v: bbolt panicked: %v", ErrDamaged, e.value)
}

func (e *panicError) Unwrap() error { return ErrDamaged }

func isPanic(err error) bool {
	var p *panicError
	return errors.As(err, &p)
}

// transaction runs fn in a transaction, which it rolls back afterwards unless fn
// has committed it. Nothing that bbolt returns in it may leave fn uncopied.
func (s *BoltStore) transaction(writable bool, fn func(*bbolt.Tx) error) error {
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
func (s *BoltStore) leak(cause error) {
	s.refuse(cause, true)
	s.failures.Lock()
	defer s.failures.Unlock()
	s.leaked = true
}

// syncFolder makes the names in a folder durable, where the process may and the
// system can.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	err = folder.Sync()
	if runtime.GOOS == "windows" || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // it has no such thing
	}
	return err
}
