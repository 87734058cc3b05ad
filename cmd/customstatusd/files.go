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

// writeFile writes a file that only its owner can read, whole or not at all:
// another process sees the old file or the new one, and so does the next start
// after a power cut. A file that is there is left alone unless replace is set.
// What is not a regular file (a pipe, a device) is written to directly.
func writeFile(path string, replace bool, write func(io.Writer) error) (err error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case !info.Mode().IsRegular():
		return writeTo(path, write)
	case !replace:
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			temp.Close()
			os.Remove(temp.Name())
		}
	}()
	if err := write(temp); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	if err := publish(temp.Name(), path, replace); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// publish gives a file its name, which another one may have taken meanwhile.
func publish(temp, path string, replace bool) error {
	if replace {
		return os.Rename(temp, path)
	}
	switch err := os.Link(temp, path); {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
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
