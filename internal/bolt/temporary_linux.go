package bolt

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// unnamed makes a file without a name in a directory. The system removes the
// file when it is closed, however the process ends. Not every file system has
// such files.
func unnamed(directory string, mode os.FileMode) (*os.File, error) {
	return os.OpenFile(directory, unix.O_TMPFILE|os.O_RDWR, mode)
}

// giveName gives a path to a file without a name. It fails if the path exists.
func giveName(file *os.File, path string) error {
	// Linking without /proc needs a capability.
	link := fmt.Sprintf("/proc/self/fd/%d", file.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, link, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "linkat", Old: link, New: path, Err: err}
	}
	return nil
}
