//go:build darwin || dragonfly || freebsd || (linux && !android) || netbsd || openbsd

package main

import (
	"os"
	"syscall"

	"github.com/customstatus/customstatus/internal/bolt"
)

// lockTemporary locks a temporary file against the sweep of other processes.
func lockTemporary(file *os.File) bool { return bolt.LockFile(file, true, 0) == nil }

// sweepFile removes a temporary file that no process works on.
func sweepFile(path string) {
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		return
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if lockTemporary(file) && hasName(file) {
		_ = os.Remove(path)
	}
}
