//go:build !(darwin || dragonfly || freebsd || (linux && !android) || netbsd || openbsd)

package bolt

import (
	"os"
	"time"
)

// locks says that LockFile keeps others out.
const locks = false

// LockFile does nothing where a lock belongs to the process (Solaris, AIX,
// Android) or can't be taken twice through one open file (Windows): there the
// file is verified before bbolt locks it. If another process is writing it,
// it may then be taken for damaged instead of locked.
func LockFile(*os.File, bool, time.Duration) error { return nil }

func unlockFile(*os.File) error { return nil }
