//go:build !(darwin || dragonfly || freebsd || (linux && !android) || netbsd || openbsd)

package main

import (
	"os"
	"runtime"
)

// lockTemporary has no lock to take on this system.
func lockTemporary(*os.File) bool { return true }

// sweepFile removes a temporary file where the system itself keeps open files.
// Elsewhere nobody can tell whether a process still works on it.
func sweepFile(path string) {
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && runtime.GOOS == "windows" {
		_ = os.Remove(path)
	}
}
