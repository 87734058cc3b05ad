//go:build !(darwin || dragonfly || freebsd || (linux && !android) || netbsd || openbsd)

package bolt

import (
	"os"
	"time"
)

// locks says whether LockFile excludes other processes.
const locks = false

// LockFile does nothing on this system. Either a lock belongs to the whole
// process (Solaris, AIX, Android), or one open file can't take it twice
// (Windows). So the file is verified before bbolt locks it, and a file that
// another process is writing may be reported as damaged instead of locked.
func LockFile(*os.File, bool, time.Duration) error { return nil }

func unlockFile(*os.File) error { return nil }
