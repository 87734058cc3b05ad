package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A temporary file has no name where the system has files without names, so that a
// killed process leaves nothing. Otherwise, and for the moment before a file takes its
// place, it stands beside its target under the target's name with a random text. The
// process that works on it holds its lock, so the next process can remove what is left.

const (
	temporaryEnding = ".tmp"
	// maxName is the greatest length of a file's name in bytes on most systems.
	maxName = 255
)

// temporaryPath returns a path for a temporary file of the file at path.
func temporaryPath(path string) string {
	return filepath.Join(filepath.Dir(path), temporaryPrefix(filepath.Base(path))+rand.Text()+temporaryEnding)
}

// temporaryPrefix returns the beginning of the names of a file's temporary files.
func temporaryPrefix(name string) string {
	room := maxName - len(".") - len(rand.Text()) - len(temporaryEnding)
	return strings.ToValidUTF8(name[:min(len(name), room)], "") + "."
}

// isTemporary reports whether a name is that of a temporary file of the named file.
func isTemporary(name, of string) bool {
	random, ok := strings.CutPrefix(name, temporaryPrefix(of))
	if ok {
		random, ok = strings.CutSuffix(random, temporaryEnding)
	}
	return ok && len(random) == len(rand.Text()) && strings.Trim(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// leftovers returns the paths of the temporary files of the file at path.
func leftovers(path string) []string {
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil // a process can do without the sweep
	}
	defer directory.Close()
	names, _ := directory.Readdirnames(-1)
	var paths []string
	for _, name := range names {
		if isTemporary(name, filepath.Base(path)) {
			paths = append(paths, filepath.Join(filepath.Dir(path), name))
		}
	}
	return paths
}

// sweep removes the temporary files that killed processes have left of the file at
// path. What it can't remove stays.
func sweep(path string) {
	for _, left := range leftovers(path) {
		sweepFile(left)
	}
}

// sweepSockets removes the directories in which killed servers have made the control
// socket at path. The caller holds the database, so no other server makes one.
func sweepSockets(path string) {
	for _, left := range leftovers(path) {
		if info, err := os.Lstat(left); err == nil && info.IsDir() {
			_ = os.Remove(filepath.Join(left, socketName))
			_ = os.Remove(left) // fails if the directory holds anything else
		}
	}
}

// temporary is a temporary file.
type temporary struct {
	*os.File
	unnamed bool // it has no name yet
}

// createTemporary makes a temporary file of the file at path, without a name if it can.
func createTemporary(path string) (*temporary, error) {
	if file, err := createUnnamed(path); err == nil {
		return &temporary{file, true}, nil
	}
	return createNamed(path)
}

func createNamed(path string) (*temporary, error) {
	// The sweep of another process can come before the lock.
	for range 10 {
		file, err := os.OpenFile(temporaryPath(path), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		if lockTemporary(file) && hasName(file) {
			return &temporary{file, false}, nil
		}
		file.Close()
	}
	return nil, fmt.Errorf("the temporary file of %s was removed while it was made", path)
}

// discard closes the file and removes it. That bbolt has closed it is no error.
func (t *temporary) discard() error {
	err := t.Close()
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	if t.unnamed {
		return err
	}
	return errors.Join(err, os.Remove(t.Name()))
}

// publish gives the file its name. With replace it takes the place of another file;
// otherwise the error is fs.ErrExist if there is one.
func (t *temporary) publish(path string, replace bool) error {
	switch {
	case !t.unnamed && replace:
		return os.Rename(t.Name(), path)
	case !t.unnamed:
		return linkNew(t.Name(), path)
	case !replace:
		return giveName(t.File, path)
	}
	// No system call puts a file without a name in the place of another file.
	if !lockTemporary(t.File) {
		return fmt.Errorf("%s: the temporary file can't be locked", path)
	}
	named := temporaryPath(path)
	if err := giveName(t.File, named); err != nil {
		return err
	}
	if err := os.Rename(named, path); err != nil {
		return errors.Join(err, os.Remove(named))
	}
	return nil
}

// linkNew gives the file at temp another name, which no file has.
func linkNew(temp, path string) error {
	switch err := os.Link(temp, path); {
	case errors.Is(err, fs.ErrExist):
		return err
	case err != nil: // a file system without links: take the name first
		place, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		place.Close()
		if err := os.Rename(temp, path); err != nil {
			return errors.Join(err, os.Remove(path))
		}
		return nil
	}
	return os.Remove(temp)
}

// createScratch makes a file in the directory of path that is gone after discard, or
// when the process ends.
func createScratch(path string) (*temporary, error) {
	scratch, err := createTemporary(path)
	if err == nil && !scratch.unnamed {
		// Most systems let an open file go on without a name.
		scratch.unnamed = os.Remove(scratch.Name()) == nil
	}
	return scratch, err
}

// hasName reports whether an open file still has its name.
func hasName(file *os.File) bool {
	info, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(file.Name())
	return err == nil && os.SameFile(info, named)
}
