package customstatus

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/view"
)

// snapshot is what reads see.
type snapshot = view.Snapshot[CustomUserStatus]

// edit is a snapshot in the making, for the writes of one commit.
type edit struct {
	view.Edit[CustomUserStatus]

	// relied says that the outcome of a write rests on what Base shows, without
	// a change that lets the store check it.
	relied bool
}

// edit begins an edit of the current snapshot, with room for so many changes.
func (c *Catalog) edit(changes int) *edit { return &edit{Edit: c.view.Edit(changes)} }

// errTouched is a plan's answer to an edit that has changed its status already. An
// id stands at most once in a commit, so the write waits for the next one.
var errTouched = errors.New("status changed earlier in this edit")

// lookUp returns the status that a write changes.
func (e *edit) lookUp(id string, opts *WriteOptions) (*CustomUserStatus, error) {
	if e.Touched(id) {
		return nil, errTouched
	}
	s := e.ByID(id)
	if s == nil {
		return nil, errIDNotFound(id)
	}
	if opts != nil && opts.IfRevision != 0 && opts.IfRevision != s.Revision {
		return nil, &Error{Code: CodeConflict, Field: FieldID, Input: s.ID, ID: s.ID,
			Detail: fmt.Sprintf("it is named %q and is at revision %d, not %d", s.Name, s.Revision, opts.IfRevision)}
	}
	return s, nil
}

// changes returns the changes in the form for the store.
func (e *edit) changes() []Change {
	changes := make([]Change, len(e.Changes))
	for i, made := range e.Changes {
		changes[i].Kind = ChangeKind(pairs.KindOf(made.Before, made.After))
		if made.Before != nil {
			changes[i].Before = *made.Before
		}
		if made.After != nil {
			changes[i].After = *made.After
		}
	}
	return changes
}

// commit gives the changes their revision and returns the snapshot to publish.
func (e *edit) commit(revision Revision, changes []Change) (*snapshot, Commit) {
	next := e.Commit(uint64(revision))
	for i := range changes {
		if changes[i].Kind != Deleted {
			changes[i].After.Revision = revision
		}
	}
	return next, Commit{revision, changes, Fingerprint(next.Position.Fingerprint), true}
}

// size is about the memory that the commit keeps from being freed.
func (c *Commit) size() int {
	size := int(unsafe.Sizeof(*c)) + len(c.Changes)*int(unsafe.Sizeof(Change{}))
	for i := range c.Changes {
		for _, s := range [...]*CustomUserStatus{&c.Changes[i].Before, &c.Changes[i].After} {
			size += len(s.ID) + len(s.Name) + len(s.Metadata)
		}
	}
	return size
}
