package bolt

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// atPath returns the size of the file at path, and whether it is the one that
// info describes.
//
// It does not use os.Stat, which also asks for the file's times. Since version
// 6.13, Linux gives a file whose times have been seen a new time at the next
// write, and so a stat before each commit made the commit's syncs a tenth
// slower.
func atPath(path string, info os.FileInfo) (size int64, same bool, err error) {
	var at unix.Statx_t
	for {
		err = unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_SIZE, &at)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return statPath(path, info) // an old kernel, or a sandbox that does not know the call
	}
	if err != nil {
		return 0, false, &fs.PathError{Op: "statx", Path: path, Err: err}
	}
	want, ok := info.Sys().(*syscall.Stat_t)
	same = ok && at.Ino == want.Ino && unix.Mkdev(at.Dev_major, at.Dev_minor) == uint64(want.Dev)
	return int64(at.Size), same, nil
}
