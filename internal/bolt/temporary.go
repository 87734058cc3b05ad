package bolt

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A temporary file is in the directory of the store's file. Its name is the
// file's name, one of these endings, and a random text. Where the system has
// files without a name, those are used instead, so that a killed process leaves
// nothing behind.
const (
	newEnding    = ".new-"
	backupEnding = ".backup-"
)

// temporaryPath returns a new path for a temporary file beside the file at
// path.
func temporaryPath(path, ending string) string { return path + ending + rand.Text() }

// isTemporary reports whether name is the name of a temporary file for the file
// named of.
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

// lockTemporary locks a new temporary file. It reports false if a sweep has
// removed the file before the lock.
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

// sweep removes the temporary files that killed processes have left beside the
// file at path. A temporary file in use is locked and stays. A file that can't
// be removed stays too; it does no harm.
func sweep(path string) {
	if !locks && runtime.GOOS != "windows" { // Windows does not remove open files
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

// removeLeft removes a temporary file that no process uses.
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

// newSpool makes a temporary file for a backup of the file at path. The file is
// in the same directory or, if that fails, in the system's directory for
// temporary files. The function drop closes and removes the file.
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
	// Most systems can remove the name of an open file.
	gone := os.Remove(spool.Name()) == nil
	return spool, func() {
		_ = spool.Close()
		if !gone {
			_ = os.Remove(spool.Name())
		}
	}, nil
}

// errSwept is returned when another process has swept a temporary file that was
// still in use.
var errSwept = errors.New("another process removed the temporary file")
