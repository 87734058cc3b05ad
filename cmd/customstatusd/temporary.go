package main

import (
	"crypto/rand"
	"fmt"
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

// createTemporary makes a temporary file of the file at path. Unnamed tells whether
// it has no name, which giveName can change.
func createTemporary(path string) (file *os.File, unnamed bool, err error) {
	if file, err := createUnnamed(path); err == nil {
		return file, true, nil
	}
	// The sweep of another process can come before the lock.
	for range 10 {
		file, err := os.OpenFile(temporaryPath(path), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, false, err
		}
		if lockTemporary(file) && hasName(file) {
			return file, false, nil
		}
		file.Close()
	}
	return nil, false, fmt.Errorf("the temporary file of %s was removed while it was made", path)
}

// createScratch makes a file in the directory of path that is gone when drop is
// called or the process ends.
func createScratch(path string) (file *os.File, drop func() error, err error) {
	file, unnamed, err := createTemporary(path)
	if err != nil {
		return nil, nil, err
	}
	// Most systems let an open file go on without a name.
	if unnamed || os.Remove(file.Name()) == nil {
		return file, file.Close, nil
	}
	return file, func() error {
		err := file.Close()
		if removed := os.Remove(file.Name()); err == nil {
			err = removed
		}
		return err
	}, nil
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
