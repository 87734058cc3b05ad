package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// writeFile writes a file, whole or not at all: another process sees the old file or
// the new one, and so does the next start after a power cut. A file that exists is left
// alone unless replace is set; a new file then keeps the owner, group and mode. Only
// its owner can read a file that is new. If the path leads to a pipe or a device, that
// is written to directly.
func writeFile(path string, replace bool, write func(io.Writer) error) error {
	return writeFileLike(path, replace, nil, write)
}

// writeFileLike is writeFile for a file that belongs to a service. A new file that
// root makes gets the owner and group that like has.
func writeFileLike(path string, replace bool, like os.FileInfo, write func(io.Writer) error) error {
	at, err := findPlace(path)
	if err != nil {
		return err
	}
	old, err := os.Stat(at.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil:
		return err
	case old.IsDir():
		return fmt.Errorf("%s is a directory", at.given)
	case !old.Mode().IsRegular():
		return writeTo(at.path, write)
	case !replace:
		return fmt.Errorf("%s: %w", at.given, fs.ErrExist)
	}
	return writeAt(at, replace, old, like, write)
}

// writeAt writes a file at its very path. A new file that takes the place of old, unless
// old is nil, keeps its owner, group and mode.
func writeAt(at place, replace bool, old, like os.FileInfo, write func(io.Writer) error) (err error) {
	path := at.path
	sweep(path)
	temp, err := createTemporary(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = temp.discard()
		}
	}()
	if err := write(temp); err != nil {
		return err
	}
	switch {
	case old != nil:
		err = keepOwner(temp.File, old)
	case like != nil:
		err = giveOwner(temp.File, like)
	}
	if err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	err = temp.publish(path, replace)
	if errors.Is(err, fs.ErrExist) { // it appeared meanwhile
		return fmt.Errorf("%s: %w", at.given, fs.ErrExist)
	}
	if err != nil {
		return err
	}
	return errors.Join(temp.Close(), syncDirectory(filepath.Dir(path)))
}

// maxRecords is the greatest length in bytes of a file with tokens or sessions that is
// read or written: some 100,000 of them.
const maxRecords = 32 << 20

// readTrusted reads a file with tokens or sessions that belongs to a database. It returns
// the file's information from before the read.
func readTrusted(path, database string) ([]byte, os.FileInfo, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if err := trusted(path, database, info); err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxRecords+1))
	if err == nil && len(text) > maxRecords {
		err = fmt.Errorf("%s: longer than %d bytes", path, maxRecords)
	}
	return text, info, err
}

// maxNamed is the greatest length in bytes of a file with a secret or a certificate.
const maxNamed = 1 << 20

// readNamed reads a file with a secret or a certificate that the operator has named. It
// may be a pipe, and even a device that never ends.
func readNamed(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNamed+1))
	if err == nil && len(text) > maxNamed {
		err = fmt.Errorf("%s: longer than %d bytes", path, maxNamed)
	}
	return text, err
}

// unchanged reports whether info is of the file that before is of, as it was then. The
// inode alone does not tell: a new file can get that of a removed one. A nil before is
// of no file.
func unchanged(info, before os.FileInfo) bool {
	return before != nil && os.SameFile(info, before) && info.Size() == before.Size() && info.ModTime().Equal(before.ModTime())
}

// openRegular opens a regular file to read it. It follows no link, and waits for no
// writer of a pipe.
func openRegular(path string) (*os.File, os.FileInfo, error) {
	errOther := fmt.Errorf("%s: not a regular file", path)
	// Look first: opening a device can do something.
	if info, err := os.Lstat(path); err != nil {
		return nil, nil, err
	} else if !info.Mode().IsRegular() {
		return nil, nil, errOther
	}
	f, err := os.OpenFile(path, os.O_RDONLY|noFollow|noWait, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errOther // it was replaced meanwhile
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func writeTo(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// syncDirectory makes a rename in the directory durable.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil // it has no such call
	}
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}
