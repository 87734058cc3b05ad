package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/bolt"
	"github.com/customstatus/customstatus/internal/boltfile"
)

// lockPatience is how long a command waits for a file that another process holds.
const lockPatience = 500 * time.Millisecond

// openToRead opens a file to read it. A server may start at any moment and must not find
// the file locked. So what is open is a copy, and the file is locked only for the moment
// in which the last commit is looked up. If there is no room for a copy, the file itself
// is open, and locked against servers until close. Nothing is written to the file, which
// may be on a disk that can only be read.
func openToRead(ctx context.Context, pl place, opts customstatus.Options) (*localDatabase, error) {
	read := bbolt.Options{ReadOnly: true}
	copied, err := copyFile(pl.path, copyAll)
	if errors.Is(err, customstatus.ErrLocked) {
		return nil, err
	}
	if err == nil {
		read.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return copied.File, nil }
	} // else openLocal says what is wrong with the file
	opts.Bolt = &customstatus.BoltOptions{Bolt: &read}
	db, err := openLocal(ctx, pl, false, opts)
	if err != nil && copied != nil {
		return nil, errors.Join(err, copied.discard())
	}
	if err == nil {
		db.copied = copied
	}
	return db, err
}

// fileCopy is a copy of a bbolt file that is gone after discard.
type fileCopy struct {
	*temporary
	size int64
}

// writeTo writes the whole copy.
func (c *fileCopy) writeTo(w io.Writer) error {
	_, err := io.Copy(w, io.NewSectionReader(c, 0, c.size))
	return err
}

// copyFile copies the bbolt file at path as it is after one commit. It calls copyAll when
// other processes can lock the file again. customstatus.ErrLocked is returned when
// another process holds the file, or commits to it during the copy.
func copyFile(path string, copyAll func(to, from *os.File, size int64) error) (copied *fileCopy, err error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, errors.Join(err, fmt.Errorf("%s: not a regular file", path))
	}
	locked, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer locked.Close()
	from, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	errHeld := fmt.Errorf("bolt: open %s: %w: another process holds the file", path, customstatus.ErrLocked)
	if err := bolt.LockFile(locked, false, lockPatience); errors.Is(err, customstatus.ErrLocked) {
		return nil, errHeld
	} else if err != nil {
		return nil, err
	}
	info, err := from.Stat()
	if err != nil {
		return nil, err
	}
	if same, err := locked.Stat(); err != nil || !os.SameFile(info, same) {
		return nil, errors.Join(err, errHeld) // it was replaced between the two opens
	}
	before, err := boltfile.Transactions(from, info.Size())
	if err != nil {
		return nil, err
	}
	if err := locked.Close(); err != nil { // which gives the lock back
		return nil, err
	}

	to, err := createScratch(path)
	if err != nil { // in a directory that can only be read
		to, err = createScratch(filepath.Join(os.TempDir(), filepath.Base(path)))
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = to.discard()
		}
	}()
	if err := copyAll(to.File, from, info.Size()); err != nil {
		return nil, err
	}
	after, err := boltfile.Transactions(from, info.Size())
	if err != nil || after != before {
		return nil, errHeld
	}
	return &fileCopy{to, info.Size()}, nil
}

func copyAll(to, from *os.File, size int64) error {
	_, err := io.CopyN(to, from, size)
	return err
}
