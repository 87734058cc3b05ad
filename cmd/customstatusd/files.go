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
func writeFileLike(path string, replace bool, like os.FileInfo, write func(io.Writer) error) (err error) {
	at, err := findPlace(path)
	if err != nil {
		return err
	}
	path = at.path
	errExists := fmt.Errorf("%s: %w", at.given, fs.ErrExist)
	old, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case old.IsDir():
		return fmt.Errorf("%s is a directory", at.given)
	case !old.Mode().IsRegular():
		return writeTo(path, write)
	case !replace:
		return errExists
	}
	sweep(path)
	temp, unnamed, err := createTemporary(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			temp.Close()
			if !unnamed {
				os.Remove(temp.Name())
			}
		}
	}()
	if err := write(temp); err != nil {
		return err
	}
	switch {
	case old != nil:
		err = keepOwner(temp, old)
	case like != nil:
		err = giveOwner(temp, like)
	}
	if err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	if unnamed {
		err = publishUnnamed(temp, path, replace)
	} else {
		err = publish(temp.Name(), path, replace)
	}
	if errors.Is(err, fs.ErrExist) { // it appeared meanwhile
		return errExists
	}
	if err != nil {
		return err
	}
	return errors.Join(temp.Close(), syncDirectory(filepath.Dir(path)))
}

// publishUnnamed gives a file without a name its name.
func publishUnnamed(temp *os.File, path string, replace bool) error {
	if !replace {
		return giveName(temp, path)
	}
	// No system call puts a file without a name in the place of another file.
	if !lockTemporary(temp) {
		return fmt.Errorf("%s: the temporary file can't be locked", path)
	}
	named := temporaryPath(path)
	if err := giveName(temp, named); err != nil {
		return err
	}
	if err := os.Rename(named, path); err != nil {
		return errors.Join(err, os.Remove(named))
	}
	return nil
}

// publish gives a temporary file its name.
func publish(temp, path string, replace bool) error {
	if replace {
		return os.Rename(temp, path)
	}
	switch err := os.Link(temp, path); {
	case errors.Is(err, fs.ErrExist):
		return err
	case err != nil: // a file system without links: take the name first
		place, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		place.Close()
		if err := os.Rename(temp, path); err != nil {
			return errors.Join(err, os.Remove(path))
		}
		return nil
	}
	return os.Remove(temp)
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
