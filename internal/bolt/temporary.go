package bolt

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Temporary files stand beside the store's file and have its name, one of these
// endings, and a random text. Where the system has files without a name, these are
// used instead, so that nothing is left of a process that was killed.
const (
	newEnding    = ".new-"
	backupEnding = ".backup-"
)

// temporaryPath returns the path of a temporary file of the file at path.
func temporaryPath(path, ending string) string { return path + ending + rand.Text() }

// isTemporary reports whether a file's name is that of a temporary file of a file
// with the given name.
func isTemporary(name, of string) bool {
	rest, ok := strings.CutPrefix(name, of)
	if !ok {
		return false
	}
	random, ok := strings.CutPrefix(rest, newEnding)
	if !ok {
		random, ok = strings.CutPrefix(rest, backupEnding)
	}
	return ok && len(random) == len(rand.Text()) && strings.Trim(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// lockTemporary locks a temporary file that was just made, and reports whether it
// still has its name: sweep may have come between.
func lockTemporary(file *os.File) (kept bool, err error) {
	if err := LockFile(file, true, 0); err != nil {
		return false, err
	}
	return hasName(file), nil
}

func hasName(file *os.File) bool {
	info, err := file.Stat()
	if err != nil {
		return false
	}
	at, err := os.Lstat(file.Name())
	return err == nil && os.SameFile(info, at)
}

// sweep removes the temporary files that processes which were killed have left of
// the file at path. Those that a process is working on are locked. What can't be
// removed stays, for a store can do without.
func sweep(path string) {
	if !locks && runtime.GOOS != "windows" { // which keeps open files by itself
		return
	}
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return
	}
	names, _ := directory.Readdirnames(-1)
	_ = directory.Close()
	for _, name := range names {
		if isTemporary(name, filepath.Base(path)) {
			removeLeft(filepath.Join(filepath.Dir(path), name))
		}
	}
}

// removeLeft removes a temporary file that nobody works on.
func removeLeft(path string) {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return
	}
	if !locks {
		_ = os.Remove(path)
		return
	}
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer func() { _ = file.Close() }()
	if LockFile(file, true, 0) == nil && hasName(file) {
		_ = os.Remove(path)
	}
}

// newSpool makes a file for a backup of the file at path, in the same directory or
// else in that of the system. Close and then remove it with drop.
func newSpool(path string) (spool *os.File, drop func(), err error) {
	for _, path := range []string{path, filepath.Join(os.TempDir(), "customstatus")} {
		if spool, err = unnamed(filepath.Dir(path), defaultFileMode); err == nil {
			return spool, func() { _ = spool.Close() }, nil
		}
		spool, err = os.OpenFile(temporaryPath(path, backupEnding), os.O_CREATE|os.O_EXCL|os.O_RDWR, defaultFileMode)
		if err == nil {
			break
		}
	}
	if err != nil {
		return nil, nil, err
	}
	// Most systems let an open file go without a name.
	gone := os.Remove(spool.Name()) == nil
	return spool, func() {
		_ = spool.Close()
		if !gone {
			_ = os.Remove(spool.Name())
		}
	}, nil
}

// errSwept: a temporary file was removed by another process that took it for left.
var errSwept = errors.New("the temporary file was removed while it was made")
