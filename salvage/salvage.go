// Package salvage saves intact statuses from a damaged bbolt file of a
// catalog.
//
// [File] reads the file without bbolt and never writes to it. It saves a
// status if the status's record is still anywhere in the file. To make a new
// file of the result, open a new catalog and pass the statuses to its Import.
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
	// Name is the catalog's name, as in [customstatus.BoltOptions].
	Name string
	// LockTimeout limits the wait for a file that another process has locked. 0
	// is half a second.
	LockTimeout time.Duration
}

const defaultLockTimeout = 500 * time.Millisecond

// Result is what [File] has saved.
type Result struct {
	// Statuses are the saved statuses, ordered by ID. No two have the same
	// id or the same name. Problems lists each doubtful one.
	Statuses []customstatus.CustomUserStatus
	// Revision is the revision of the last known commit.
	Revision customstatus.Revision
	// Complete says that Statuses are exactly the statuses of the last commit.
	// A checksum over all statuses proves that, whatever else is damaged.
	Complete bool
	// Problems are the damages, the statuses that are lost, doubtful or left
	// out, and the doubts that concern all statuses. A sound file has no
	// problems.
	Problems []Problem
}

// Problem is a damage or a doubt that [File] has found.
type Problem struct {
	// Kind says what kind of problem it is, and so what Status means.
	Kind Kind
	// Page is the number of the file's page at fault, or -1 if the problem
	// concerns no single page.
	Page int64
	// Status is what is known of the status concerned, possibly only the ID. It
	// is the zero value if the problem concerns no single status.
	Status customstatus.CustomUserStatus
	// Reason says what the problem is.
	Reason string
}

// Kind is the kind of a [Problem].
type Kind uint8

// The kinds of problems.
const (
	// Damage means that a part of the file is damaged or can't be read. If
	// Status is set, its record is concerned, and Status was saved
	// nevertheless.
	Damage Kind = iota + 1
	// Lost means that the last commit had Status, but no record of the status
	// was found.
	Lost
	// Doubtful means that Status was saved, but the last commit may have a
	// newer version or have deleted the status.
	Doubtful
	// LeftOut means that Status was found, but is not in the result.
	LeftOut
	// Uncertain means a doubt that concerns all statuses.
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

// String returns page, status, kind and reason as one line.
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

// File saves the intact statuses of a catalog from the bbolt file at path.
// The file may be damaged in any way.
//
// A record has a checksum, all fields of a status, and a mark of the catalog.
// So File can save a status if a record of the status is anywhere in the
// file:
//
//   - A record that the last commit leads to is saved and is not doubtful.
//     Exception: if a newer record of a status on the same page is found
//     elsewhere, the page may be outdated. A record whose damaged bytes are
//     known from elsewhere is restored.
//   - If an id's record, or the page that could hold it, is damaged, File saves
//     the newest copy found elsewhere. The copy is doubtful: the last commit may
//     have a newer version or have deleted the status.
//   - Every other id was not in the last commit. Its status was deleted, so its
//     old records are ignored and not listed.
//   - Of two statuses with the same name, the better proven or newer one is
//     saved, and the other is listed.
//   - One or two excess records are left out if the checksum over all statuses
//     shows which ones.
//
// If a meta page is damaged, or if pages contradict each other, the last
// commit's records are not known for certain. A problem says so, and the newest
// record of every id is saved. A record on an unused page counts only if
// there is no other.
//
// File can't know:
//
//   - Whether a page is outdated, if records are missing as well: then the
//     checksum over all statuses can't reveal it. The statuses of such a page
//     are not listed as doubtful unless something contradicts the page. So in a
//     result that is not Complete, any status may be outdated or deleted; a
//     problem says so.
//   - Whether the whole last commit is missing because the write of its meta
//     page was lost. Such a file looks like the file before that commit.
//   - Which catalog a record belongs to if no page leads to the record and the
//     names of two catalogs have the same 32-bit hash.
//
// [customstatus.ErrLocked] is returned when another process has the file open
// for writing. Other errors mean that the file can't be opened or is not a
// regular file. All else that is wrong is a problem in the result: parts that
// can't be read, a file that is not a bbolt file, and a missing catalog.
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

// openRegular opens a regular file and returns the size. Opening a pipe would
// wait for a writer, so openRegular refuses everything else. If a pipe replaces
// the file between the check and the open, the open does not wait either.
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

// status converts a record to a status.
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
