//go:build darwin || dragonfly || freebsd || (linux && !android) || netbsd || openbsd

package bolt

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// LockFile takes the same lock as bbolt, so that the file does not change while
// it is verified. The lock belongs to the open file: bbolt gets it at once
// through the same file, and closing the file releases it. [sentinel.ErrLocked]
// is returned when another process, or another open file of this process, holds
// the lock for longer than the timeout.
func LockFile(file *os.File, exclusive bool, timeout time.Duration) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	deadline := time.Now().Add(timeout)
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return os.NewSyscallError("flock", err)
		case !time.Now().Before(deadline):
			return sentinel.ErrLocked
		}
		time.Sleep(min(lockPoll, time.Until(deadline)))
	}
}

// locks says whether LockFile excludes other processes.
const locks = true

// lockPoll is the time between two attempts to take the lock.
const lockPoll = 10 * time.Millisecond

// unlockFile releases the lock.
func unlockFile(file *os.File) error {
	return os.NewSyscallError("flock", syscall.Flock(int(file.Fd()), syscall.LOCK_UN))
}
