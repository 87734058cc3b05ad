package bolt

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// atPath returns the size of the file at path, and reports whether it is the
// file that info describes.
//
// It does not use os.Stat, which also asks for the file's times. Since version
// 6.13, Linux updates a file's times at the next write after somebody has read
// them. So a stat before each commit made the commit's syncs a tenth slower.
func atPath(path string, info os.FileInfo) (size int64, same bool, err error) {
	var at unix.Statx_t
	for {
		err = unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_SIZE, &at)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return statPath(path, info) // an old kernel, or a sandbox without the call
	}
	if err != nil {
		return 0, false, &fs.PathError{Op: "statx", Path: path, Err: err}
	}
	want, ok := info.Sys().(*syscall.Stat_t)
	same = ok && at.Ino == want.Ino && unix.Mkdev(at.Dev_major, at.Dev_minor) == uint64(want.Dev)
	return int64(at.Size), same, nil
}
