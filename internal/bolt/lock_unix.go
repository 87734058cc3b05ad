//go:build darwin || dragonfly || freebsd || (linux && !android) || netbsd || openbsd

package bolt

import (
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/customstatus/customstatus/internal/sentinel"
)

// LockFile takes the lock that bbolt takes too, so that the file holds still
// while it is verified. The lock belongs to the open file: bbolt gets it at
// once when it asks for it through the same one, and it goes when the file is
// closed. A lock held by another is [sentinel.ErrLocked] after the timeout.
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

// locks says that LockFile keeps others out.
const locks = true

// lockPoll is the time between two attempts to get a lock.
const lockPoll = 10 * time.Millisecond

// unlockFile gives up the lock.
func unlockFile(file *os.File) error {
	return os.NewSyscallError("flock", syscall.Flock(int(file.Fd()), syscall.LOCK_UN))
}
