package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// create makes a new file with an empty catalog, unless there is one. It is
// complete before it gets its name, so that it is never seen in parts, and it
// never takes the place of one that another process has made meanwhile.
func create(path, catalog string, mode os.FileMode, bolt bbolt.Options) error {
	bolt.NoSync, bolt.NoGrowSync, bolt.Mlock, bolt.InitialMmapSize = false, false, false, 0
	if bolt.OpenFile == nil { // else the host is to see the file by its name
		if named, err := createUnnamed(path, catalog, mode, bolt); named || err != nil {
			return err
		}
	}
	// Only a process that opens the store in this moment takes the file for left
	// by another, and then only before it is locked.
	for range 10 {
		if err := createNamed(path, catalog, mode, bolt); !errors.Is(err, errSwept) {
			return err
		}
	}
	return errSwept
}

// createUnnamed makes the new file without a name and then names it. It reports
// false if the system or the file system has no such files.
func createUnnamed(path, catalog string, mode os.FileMode, bolt bbolt.Options) (named bool, err error) {
	file, err := unnamed(filepath.Dir(path), mode)
	if err != nil {
		return false, nil // why, the other way will tell
	}
	bolt.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return file, nil }
	err = fill(path, catalog, mode, bolt, func() {
		err := giveName(file, path)
		named = err == nil || errors.Is(err, fs.ErrExist) // made by another process
	})
	_ = file.Close() // bbolt has closed it, unless it failed
	if err != nil || !named {
		return false, err
	}
	return true, syncDirectory(filepath.Dir(path))
}

// createNamed makes the new file under another name and then links it. It fails
// with errSwept if the name was lost.
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
		// A file system without links. What is lost is the certainty that
		// no other process makes one in this very moment.
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

// fill makes a database with an empty catalog and calls done when it is synced,
// while it is still locked.
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
