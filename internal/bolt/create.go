package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// create makes a new file with an empty catalog, unless there is a file. The
// new file is complete before it gets its name, so no process sees a part of
// it. It never replaces a file that another process has made meanwhile.
func create(path, catalog string, mode os.FileMode, bolt bbolt.Options) error {
	bolt.NoSync, bolt.NoGrowSync, bolt.Mlock, bolt.InitialMmapSize = false, false, false, 0
	if bolt.OpenFile == nil { // the host's OpenFile needs a file with a name
		if named, err := createUnnamed(path, catalog, mode, bolt); named || err != nil {
			return err
		}
	}
	// A process that opens the store at this moment may sweep the temporary
	// file before it is locked.
	for range 10 {
		if err := createNamed(path, catalog, mode, bolt); !errors.Is(err, errSwept) {
			return err
		}
	}
	return errSwept
}

// createUnnamed makes the new file without a name and then gives it the name.
// It reports false if the system or the file system has no files without a
// name.
func createUnnamed(path, catalog string, mode os.FileMode, bolt bbolt.Options) (named bool, err error) {
	file, err := unnamed(filepath.Dir(path), mode)
	if err != nil {
		return false, nil // createNamed will report the error
	}
	bolt.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return file, nil }
	err = fill(path, catalog, mode, bolt, func() {
		err := giveName(file, path)
		named = err == nil || errors.Is(err, fs.ErrExist) // made by another process
	})
	_ = file.Close() // bbolt has closed the file, unless bbolt failed
	if err != nil || !named {
		return false, err
	}
	return true, syncDirectory(filepath.Dir(path))
}

// createNamed makes the new file under a temporary name and then links it to
// its own. errSwept is returned when another process has removed the temporary
// file.
func createNamed(path, catalog string, mode os.FileMode, bolt bbolt.Options) (err error) {
	temporary := temporaryPath(path, newEnding)
	openFile := bolt.OpenFile
	if openFile == nil {
		openFile = os.OpenFile
	}
	bolt.OpenFile = func(path string, flag int, mode os.FileMode) (*os.File, error) {
		file, err := openFile(path, flag|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return nil, err
		}
		kept, err := lockTemporary(file)
		if err == nil && !kept {
			err = errSwept
		}
		if err != nil {
			_ = file.Close()
			return nil, err
		}
		return file, nil
	}
	defer func() {
		if e := os.Remove(temporary); e != nil && !errors.Is(e, fs.ErrNotExist) && err == nil {
			err = e
		}
	}()
	linked := false
	err = fill(temporary, catalog, mode, bolt, func() {
		linked = os.Link(temporary, path) == nil
	})
	if err != nil {
		return err
	}
	if !linked {
		if _, err := os.Lstat(path); err == nil {
			return nil // made by another process
		}
		// The file system has no links. Without them, a file that another
		// process makes at this very moment may be replaced.
		err := os.Rename(temporary, path)
		if errors.Is(err, fs.ErrNotExist) {
			return errSwept
		}
		if err != nil {
			return err
		}
	}
	return syncDirectory(filepath.Dir(path))
}

// fill makes a database with an empty catalog. It calls done after the sync,
// while the database is still locked.
func fill(path, catalog string, mode os.FileMode, bolt bbolt.Options, done func()) error {
	return guard(func() error {
		db, err := bbolt.Open(path, mode, &bolt)
		if err != nil {
			return err
		}
		err = db.Update(newStore(db, path, catalog).createBuckets)
		if err == nil {
			done()
		}
		return errors.Join(err, db.Close())
	})
}
