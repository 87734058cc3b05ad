// Package salvage gets out what is intact in a damaged bbolt file of a catalog.
//
// It needs no sound file: [File] reads without bbolt, never writes, and saves a
// status if its record is still anywhere in the file. Make a new file of the
// result: open a store, and hand the statuses to the Import of its catalog.
package salvage

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/bolt"
)

// Options configure [File]. A nil *Options and the zero value are the defaults.
type Options struct {
	// Name is that of the catalog in the file, as it was given to the store.
	Name string
	// LockTimeout is how long to wait for the lock of a file that another
	// process has open. 0 is half a second.
	LockTimeout time.Duration
}

const defaultLockTimeout = 500 * time.Millisecond

// Result is what [File] has saved.
type Result struct {
	// Statuses are those that were saved, ordered by ID. No two have the same
	// id or the same name. For each that is doubtful there is a problem.
	Statuses []customstatus.CustomUserStatus
	// Revision is that of the last commit that is known of.
	Revision customstatus.Revision
	// Complete says that Statuses are exactly those of the last commit. It is
	// known from a checksum over all of them, whatever else is damaged.
	Complete bool
	// Problems are the damages found, the statuses that are lost, doubtful or
	// left out, and what can't be told of all of them. A sound file has none.
	Problems []Problem
}

// Problem is something that [File] could not make good.
type Problem struct {
	// Kind says what Status means here.
	Kind Kind
	// Page is the number of the page of the file at fault, or -1 if it is not
	// a page's.
	Page int64
	// Status is what is known of the status concerned, perhaps no more than the
	// ID. It is the zero value if the problem is not one status's.
	Status customstatus.CustomUserStatus
	// Reason says what the problem is.
	Reason string
}

// Kind is the kind of a [Problem].
type Kind uint8

// The kinds of problems.
const (
	// Damage: a part of the file is damaged or cannot be read. If Status is set,
	// it is the one whose record is concerned, and it was saved nevertheless.
	Damage Kind = iota + 1
	// Lost: the last commit had Status, and nothing of it was found.
	Lost
	// Doubtful: Status was saved, but may be older than the last commit, or
	// deleted by it.
	Doubtful
	// LeftOut: Status was found, but not saved.
	LeftOut
	// Uncertain: something can't be told of all statuses together.
	Uncertain
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Damage:
		return "damage"
	case Lost:
		return "lost"
	case Doubtful:
		return "doubtful"
	case LeftOut:
		return "left out"
	case Uncertain:
		return "uncertain"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// String returns page, status, kind and reason in one line.
func (p Problem) String() string {
	var b strings.Builder
	if p.Page >= 0 {
		fmt.Fprintf(&b, "page %d: ", p.Page)
	}
	switch {
	case p.Status.Name != "":
		fmt.Fprintf(&b, "status %q, named %q: ", p.Status.ID, p.Status.Name)
	case p.Status.ID != "":
		fmt.Fprintf(&b, "status %q: ", p.Status.ID)
	}
	switch p.Kind {
	case Lost, Doubtful, LeftOut:
		fmt.Fprintf(&b, "%v: ", p.Kind)
	case Damage, Uncertain:
	}
	b.WriteString(p.Reason)
	return b.String()
}

// File saves what is intact of a catalog in the bbolt file at path, which may be
// damaged in any way.
//
// Every record has a checksum and says all about its status and to which catalog
// it belongs, so that a status is saved if its record is still anywhere in the
// file:
//
//   - What the last commit leads to is saved, and is not doubtful, unless a newer
//     record of a status on the same page is found elsewhere: the page is an old one
//     then. A record that is damaged only where it is known what stood there is
//     restored.
//   - Of an id whose record is damaged otherwise, or that is among the keys of a
//     page that is, the newest record is saved that is found anywhere else. It is
//     doubtful: it may be older than the last commit, or deleted by it.
//   - Of every other id it is known that the last commit did not have it. It was
//     deleted, and what is found of it is left out without a word.
//   - Of two statuses with the same name, the better founded or newer one is
//     saved, and the other listed.
//   - One or two records too many are left out if the checksum over all tells
//     which.
//
// If a meta page is damaged, or if pages do not fit together, it is not certain
// what the last commit leads to. A problem says so, and of every id the newest
// record is saved; one on a page that is not in use only if there is no other.
//
// What can't be told:
//
//   - Whether an old page stands in the place of a newer one, if records are
//     missing as well: the checksum over all finds the one only where nothing
//     covers it up. Unless something contradicts what the page has, its statuses
//     are not listed as doubtful. So in a result that is not Complete, any status
//     may be an older one, or one that was deleted; a problem says so.
//   - Whether the last commit is missing as a whole, with the write of its meta
//     page: such a file looks like one whose last commit was never made.
//   - Which catalog of two a record belongs to whose names have the same hash of
//     32 bits, if nothing leads to it.
//
// The error is [customstatus.ErrLocked] if another process has the file open for
// writing, or what the system says if it can't be opened. What is no regular file
// is refused. Whatever can't be read otherwise is a problem in the result, as it is
// if the file is no bbolt file at all or has no such catalog.
func File(path string, opts *Options) (*Result, error) {
	if opts == nil {
		opts = &Options{}
	}
	result, err := salvageFile(path, opts)
	if err != nil {
		return nil, fmt.Errorf("salvage %s: %w", path, err)
	}
	return result, nil
}

func salvageFile(path string, opts *Options) (*Result, error) {
	file, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	timeout := opts.LockTimeout
	if timeout == 0 {
		timeout = defaultLockTimeout
	}
	if err := bolt.LockFile(file, false, timeout); err != nil {
		return nil, err
	}
	return salvage(file, size, opts.Name), nil
}

// openRegular opens a regular file and returns its size. To open a pipe would wait
// for somebody to write to it, so nothing else is opened; and if something else
// takes the place of the file meanwhile, opening it does not wait.
func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if err := regular(info); err != nil {
		return nil, 0, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	if info, err = file.Stat(); err == nil {
		err = regular(info)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

func regular(info os.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return fmt.Errorf("not a regular file: %v", info.Mode().Type())
}

// status returns what a record says.
func status(r *bolt.Record) customstatus.CustomUserStatus {
	return customstatus.CustomUserStatus{
		ID:         r.ID,
		Name:       r.Name,
		StatusType: customstatus.StatusType(r.Type),
		UpdatedAt:  time.UnixMilli(r.UpdatedAt).UTC(),
		Revision:   customstatus.Revision(r.Revision),
		Metadata:   r.Metadata,
	}
}
