package bolt

import (
	"fmt"
	"slices"
	"strings"

	"github.com/customstatus/customstatus/internal/boltfile"
	"github.com/customstatus/customstatus/internal/sentinel"
	"go.etcd.io/bbolt"
)

// Kind says what a change does.
type Kind uint8

// The kinds of changes.
const (
	Created Kind = 1 + iota
	Updated
	Deleted
)

// Change is what a commit does to one record.
type Change struct {
	Kind Kind
	// BeforeID and Before are the id and the revision of the record to update
	// or delete. They are zero for a creation.
	BeforeID string
	Before   uint64
	// After is the new record of a creation or an update. Its revision is
	// ignored. After is zero for a deletion.
	After Record
}

// ID returns the id of the changed record.
func (c *Change) ID() string {
	if c.Kind == Deleted {
		return c.BeforeID
	}
	return c.After.ID
}

// Changes is the list of changes that a commit makes, in order. At is called
// more than once for each index and must return the same change.
type Changes interface {
	Len() int
	At(i int) Change
}

// The limits of a commit: the number of changes, and the bytes of the records.
// They keep a commit near one second, because commits wait for each other. On a
// fast disk, 50,000 creates take half a second. 50,000 updates spread over a
// million records rewrite most pages of the file and take a second.
const (
	MaxChanges     = 50_000
	MaxCommitBytes = 32 << 20
)

// LimitError is the error for a commit beyond the limits. It matches
// [sentinel.ErrTooLarge] in errors.Is.
type LimitError struct {
	// MaxChanges is the number of changes of such records that fit in one
	// commit. 0 means that a record is too large for any commit.
	MaxChanges int
	Reason     string
}

func (e *LimitError) Error() string { return e.Reason }

// Is reports whether target is [sentinel.ErrTooLarge].
func (e *LimitError) Is(target error) bool { return target == sentinel.ErrTooLarge }

// plan is a commit after the checks that need no database.
type plan struct {
	changes Changes
	ids     []string // of the changes
	kinds   []Kind
	byID    []int // indexes of the changes, in order of ids
	bytes   int   // size of all records
}

// newPlan checks the form of a commit, then the size.
func newPlan(changes Changes) (*plan, error) {
	n := changes.Len()
	if n == 0 {
		return nil, fmt.Errorf("a commit without changes")
	}
	p := &plan{changes: changes, ids: make([]string, n), kinds: make([]Kind, n), byID: make([]int, n)}
	var large error
	largest := 0
	for i := range n {
		c := changes.At(i)
		if err := c.check(); err != nil {
			return nil, err
		}
		if large == nil {
			large = c.After.storable()
		}
		p.ids[i], p.kinds[i], p.byID[i] = c.ID(), c.Kind, i
		if c.Kind != Deleted {
			size := RecordBytes(&c.After)
			p.bytes += size
			largest = max(largest, size)
		}
	}
	// For unsorted keys, bbolt takes quadratic time.
	slices.SortFunc(p.byID, func(a, b int) int { return strings.Compare(p.ids[a], p.ids[b]) })
	for k := 1; k < n; k++ {
		if id := p.ids[p.byID[k]]; id == p.ids[p.byID[k-1]] {
			return nil, fmt.Errorf("the commit changes status %q twice", id)
		}
	}
	switch {
	case large != nil:
	case n > MaxChanges:
		large = &LimitError{
			MaxChanges: min(MaxChanges, MaxCommitBytes/max(largest, 1)),
			Reason:     fmt.Sprintf("the commit has %d changes, at most %d are allowed", n, MaxChanges),
		}
	case p.bytes > MaxCommitBytes:
		large = &LimitError{
			MaxChanges: MaxCommitBytes / largest,
			Reason:     fmt.Sprintf("the commit has %d bytes, at most %d are allowed", p.bytes, MaxCommitBytes),
		}
	}
	return p, large
}

// check returns an error if the change has no meaning.
func (c *Change) check() error {
	wrong := func(what string) error { return fmt.Errorf("the change of status %q %s", c.ID(), what) }
	switch c.Kind {
	case Created:
		if c.BeforeID != "" || c.Before != 0 {
			return wrong("is a creation, but has a status before")
		}
	case Updated:
		if c.BeforeID != c.After.ID {
			return wrong("is an update, but has another id before")
		}
	case Deleted:
		if c.BeforeID == "" || c.After != (Record{}) {
			return wrong("is a deletion, but has no status before, or has one after")
		}
		return nil
	default:
		return wrong(fmt.Sprintf("has the unknown kind %d", c.Kind))
	}
	switch {
	case c.After.ID == "":
		return wrong("has no id")
	case c.After.Name == "":
		return wrong("has no name")
	}
	return nil
}

// storable returns an error if the record is too large for the file format.
func (r *Record) storable() error {
	var what string
	var size int
	switch {
	case len(r.ID) > MaxIDBytes:
		return &LimitError{Reason: fmt.Sprintf("an id has %d bytes, at most %d are allowed", len(r.ID), MaxIDBytes)}
	case len(r.Name) > MaxStringBytes:
		what, size = "name", len(r.Name)
	case len(r.Type) > MaxStringBytes:
		what, size = "type", len(r.Type)
	case len(r.Metadata) > MaxStringBytes:
		what, size = "metadata", len(r.Metadata)
	default:
		return nil
	}
	return &LimitError{Reason: fmt.Sprintf("status %q: the %s has %d bytes, at most %d are allowed", r.ID, what, size, MaxStringBytes)}
}

// boltFill is how full bbolt fills the pages of records. The ids that a catalog
// makes are ordered by time, so new records are appended, and space left in a
// page would stay unused.
const boltFill = 0.9

// edit is the making of one commit.
type edit struct {
	*plan
	store    *Store
	view     view
	state    State
	written  [][]byte            // for each change the new record; nil: a deletion
	buffer   []byte              // memory for the new records
	greatest string              // the greatest id in the file, so that no greater one is looked up
	names    map[string]struct{} // of all statuses, before the commit
	taken    map[string]bool     // for each name that the commit touches, whether a status has it afterwards
}

func (s *Store) newEdit(tx *bbolt.Tx, v view, p *plan) *edit {
	state := v.now
	state.Revision++
	state.Transaction = uint64(tx.ID())
	return &edit{
		plan:    p,
		store:   s,
		view:    v,
		state:   state,
		written: make([][]byte, len(p.ids)),
		buffer:  make([]byte, 0, p.bytes),
		names:   s.names,
		taken:   make(map[string]bool, len(p.ids)),
	}
}

// uses says what each kind of change does with its key. The creation of an
// existing key is a conflict, which writes nothing.
var uses = [...]boltfile.Use{Created: boltfile.Insert, Updated: boltfile.Replace, Deleted: boltfile.Remove}

// look checks the pages that bbolt will follow.
func (e *edit) look() error {
	way, bucket := e.view.way, e.store.recordBucket
	if err := way.Freelist(); err != nil {
		return err
	}
	if err := way.Last(bucket); err != nil {
		return err
	}
	greatest, _ := e.view.records.Cursor().Last()
	e.greatest = string(greatest)
	var key []byte
	for _, i := range e.byID {
		if e.ids[i] > e.greatest {
			break // it goes to the last page, as do those after it
		}
		key = append(key[:0], e.ids[i]...)
		if err := way.Key(bucket, key, uses[e.kinds[i]]); err != nil {
			return err
		}
	}
	return nil
}

// make checks the changes against the database, then makes them.
func (e *edit) make() error {
	records := e.view.records
	records.FillPercent = boltFill
	for i := range e.ids {
		c := e.changes.At(i)
		var err error
		if e.written[i], err = e.change(&c); err != nil {
			return err
		}
	}
	for _, i := range e.byID {
		if err := set(records, e.ids[i], e.written[i]); err != nil {
			return fmt.Errorf("bucket %q: %w", e.store.recordBucket, err)
		}
	}
	if err := e.view.state.Put([]byte(StateKey), e.state.Encode()); err != nil {
		return fmt.Errorf("bucket %q: %w", e.store.stateBucket, err)
	}
	return nil
}

// change checks a change against the database and the earlier changes. It
// returns the record to write, or nil for a deletion.
func (e *edit) change(c *Change) ([]byte, error) {
	id := c.ID()
	var old Record
	var value []byte
	if id <= e.greatest {
		value = e.view.records.Get([]byte(id))
	}
	if value != nil {
		var sum uint64
		var err error
		if old, sum, err = DecodeRecord(value, e.store.tag); err != nil {
			return nil, e.store.damaged([]byte(id), "%v", err)
		}
		if old.ID != id {
			return nil, e.store.damaged([]byte(id), "the record is that of %q", old.ID)
		}
		e.state.Remove(sum, old.Fingerprint())
	}
	switch {
	case old.Revision == c.Before && (c.Kind == Created) == (old.Revision == 0):
	case old.Revision == 0:
		return nil, fmt.Errorf("no status %q at revision %d: %w", id, c.Before, sentinel.ErrConflict)
	default:
		return nil, fmt.Errorf("status %q is at revision %d, not %d: %w", id, old.Revision, c.Before, sentinel.ErrConflict)
	}
	if old.Revision != 0 {
		e.taken[old.Name] = false
	}
	if c.Kind == Deleted {
		return nil, nil
	}
	r := c.After
	if e.isTaken(r.Name) {
		return nil, fmt.Errorf("status %q can't have the name %q, which belongs to another status: %w", id, r.Name, sentinel.ErrConflict)
	}
	e.taken[r.Name] = true
	r.Revision = e.state.Revision
	start := len(e.buffer)
	var sum uint64
	e.buffer, sum = AppendRecord(e.buffer, e.store.tag, &r)
	e.state.Add(sum, r.Fingerprint())
	return e.buffer[start:len(e.buffer):len(e.buffer)], nil
}

// isTaken reports whether a status has the name after the changes so far.
func (e *edit) isTaken(name string) bool {
	if taken, touched := e.taken[name]; touched {
		return taken
	}
	_, taken := e.names[name]
	return taken
}

func set(b *bbolt.Bucket, key string, value []byte) error {
	if value == nil {
		return b.Delete([]byte(key))
	}
	return b.Put([]byte(key), value)
}
