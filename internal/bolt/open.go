package bolt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/sentinel"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Options configure [Open] and [New]. A nil *Options and the zero value are the
// defaults.
type Options struct {
	// Name is the name of the catalog, at most [MaxCatalogBytes] bytes. A file
	// may hold several catalogs with different names, one of them with the
	// empty name.
	Name string
	// LockTimeout limits the wait for a file that another process has locked. 0
	// is Bolt.Timeout or, if that is 0 too, half a second.
	LockTimeout time.Duration
	// FileMode is the mode of a new file, before the umask. 0 is 0600.
	FileMode os.FileMode
	// Bolt are bbolt's own options, or nil. They are copied.
	Bolt *bbolt.Options
}

const (
	defaultLockTimeout = 500 * time.Millisecond
	defaultFileMode    = 0o600

	// mapSize is the initial size of bbolt's mapping. To enlarge a mapping,
	// bbolt waits for all readers and copies all pages that the commit has
	// touched, which takes a third of the time of a large import. Address space
	// costs nothing on 64-bit systems. On 32-bit systems, and on Windows, where
	// the file becomes as large as the mapping, bbolt starts small.
	mapSize = 256 << 20
	// growStep is how much the file grows beyond the need. bbolt's own value is
	// 16 MiB once the mapping is that large.
	growStep = 256 << 10
)

// checkName returns an error if the name is too long for a catalog.
func checkName(name string) error {
	if len(name) > MaxCatalogBytes {
		return fmt.Errorf("the catalog's name of %d bytes is too long, at most %d are allowed", len(name), MaxCatalogBytes)
	}
	return nil
}

// Open opens a catalog in the bbolt file at path. It makes a new file if there
// is none; the new file is complete before it appears under its name. The
// directory must exist.
//
// [sentinel.ErrLocked] is returned when another process, or another store of
// this process, still has the file open after the timeout.
// [sentinel.ErrDamaged] is returned when the bbolt file is damaged. An error
// without a sentinel is returned when the file is not a bbolt file, has no
// catalog of the name, or was written in another format, and when the system
// can't open the file.
func Open(path string, opts *Options) (*Store, error) {
	if opts == nil {
		opts = &Options{}
	}
	s, err := open(path, *opts)
	if err != nil {
		return nil, fmt.Errorf("bolt: open %s: %w", path, err)
	}
	return s, nil
}

// OpenExisting is [Open] for a file that was open before. One that has gone must not
// be replaced by an empty one.
func OpenExisting(path string, opts *Options) (*Store, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	return Open(path, opts)
}

// New returns a store for a catalog in a database that the caller has open. It
// makes the catalog's buckets if they are missing, which fails if db is
// read-only. Close leaves db open. [sentinel.ErrLocked] is returned when
// another store has the same catalog in db open.
func New(db *bbolt.DB, opts *Options) (*Store, error) {
	if db == nil {
		return nil, errors.New("bolt: no database")
	}
	if opts == nil {
		opts = &Options{}
	}
	s, err := newHosted(db, opts.Name)
	if err != nil {
		return nil, fmt.Errorf("bolt: %s: %w", db.Path(), err)
	}
	return s, nil
}

func newHosted(db *bbolt.DB, name string) (*Store, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := hosted.enter(db, name); err != nil {
		return nil, err
	}
	s := newStore(db, db.Path(), name)
	err := s.begin()
	if errors.Is(err, errNoCatalog) {
		err = s.transaction(true, func(tx *bbolt.Tx) error {
			if err := s.createBuckets(tx); err != nil {
				return err
			}
			return tx.Commit()
		})
		if err == nil {
			err = s.begin()
		}
	}
	if err != nil {
		hosted.leave(db, name)
		return nil, err
	}
	return s, nil
}

// begin reads the state that the first commit must find in the file.
func (s *Store) begin() (err error) {
	s.last, err = s.current()
	s.reached.Store(s.last.Revision)
	return err
}

func open(path string, opts Options) (*Store, error) {
	if err := checkName(opts.Name); err != nil {
		return nil, err
	}
	// The path must stay valid when the process changes its directory.
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	bolt, mode := opts.resolve()
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !bolt.ReadOnly:
		if err := create(path, opts.Name, mode, bolt); err != nil {
			return nil, fmt.Errorf("make a new file: %w", err)
		}
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("not a regular file: %v", info.Mode().Type())
	}

	roomy := bolt.InitialMmapSize == 0 && bolt.MaxSize == 0 && runtime.GOOS != "windows" && bits.UintSize == 64
	if roomy {
		bolt.InitialMmapSize = mapSize
	}
	db, file, err := openVerified(path, mode, bolt)
	if err != nil {
		return nil, err
	}
	if roomy {
		db.AllocSize = growStep
	}
	s := newStore(db, path, opts.Name)
	s.file = file
	if err = s.begin(); err == nil {
		s.info, err = file.Stat()
	}
	if err != nil {
		if errors.Is(err, errNoCatalog) {
			err = withoutCatalog(opts.Name)
		}
		return nil, errors.Join(err, s.Close())
	}
	s.size.Store(s.info.Size())
	s.verified.Store(true)
	if !bolt.ReadOnly {
		sweep(path)
	}
	return s, nil
}

func withoutCatalog(name string) error {
	if name == "" {
		return errors.New("it is a bbolt file without a catalog of customstatus, or only with catalogs that have names")
	}
	return fmt.Errorf("it is a bbolt file without a catalog of customstatus named %q", name)
}

// resolve returns bbolt's options and the mode of a new file, with defaults
// filled in.
func (o *Options) resolve() (bolt bbolt.Options, mode os.FileMode) {
	if o.Bolt != nil {
		bolt = *o.Bolt
	}
	if o.LockTimeout != 0 {
		bolt.Timeout = o.LockTimeout
	}
	if bolt.Timeout == 0 {
		bolt.Timeout = defaultLockTimeout
	}
	mode = o.FileMode
	if mode == 0 {
		mode = defaultFileMode
	}
	return bolt, mode
}

// openVerified opens a database. It locks and verifies the file before bbolt
// reads it.
func openVerified(path string, mode os.FileMode, bolt bbolt.Options) (db *bbolt.DB, file *os.File, err error) {
	openFile := bolt.OpenFile
	if openFile == nil {
		openFile = os.OpenFile
	}
	bolt.OpenFile = func(path string, flag int, mode os.FileMode) (*os.File, error) {
		if file != nil { // bbolt makes a copy
			return openFile(path, flag, mode)
		}
		f, err := openFile(path, flag&^os.O_CREATE, mode)
		if err != nil {
			return nil, err
		}
		if err := inspect(f, bolt); err != nil {
			_ = f.Close()
			return nil, err
		}
		file = f
		return f, nil
	}
	err = guard(func() (err error) {
		db, err = bbolt.Open(path, mode, &bolt)
		return err
	})
	if err == nil {
		return db, file, nil
	}
	if file != nil {
		_ = file.Close() // bbolt has closed the file, unless bbolt panicked
	}
	if errors.Is(err, bolterrors.ErrTimeout) {
		err = fmt.Errorf("%w: %w", sentinel.ErrLocked, err)
	}
	return nil, nil, err
}

// inspect locks, verifies and syncs a file before bbolt gets it.
func inspect(file *os.File, bolt bbolt.Options) error {
	if err := LockFile(file, !bolt.ReadOnly, bolt.Timeout); err != nil {
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
	// The content may not be durable yet: the process that wrote or copied the
	// file may have been killed before the last sync.
	if err := file.Sync(); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(file.Name()))
}

// verify checks the structure of a bbolt file.
func verify(file io.ReaderAt, size int64) error {
	err := boltfile.Check(file, size)
	switch {
	case size == 0:
		return errors.New("it is not a bbolt file: it is empty")
	case errors.Is(err, boltfile.ErrNotBbolt):
		return errors.New("it is not a bbolt file, or the beginning of the file is lost")
	}
	return structure(err)
}

// syncDirectory makes the names in a directory durable. It does nothing if the
// process lacks the permission or the system has no such sync.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = directory.Close() }()
	err = directory.Sync()
	if runtime.GOOS == "windows" || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // the system or file system can't sync a directory
	}
	return err
}
