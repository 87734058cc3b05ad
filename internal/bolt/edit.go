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
	// BeforeID and Before are the id and the revision of the record that is
	// updated or deleted, else zero.
	BeforeID string
	Before   uint64
	// After is the record that is created, or that an update makes; its revision
	// does not count. It is zero for a deletion.
	After Record
}

// ID returns the id of the record that changes.
func (c *Change) ID() string {
	if c.Kind == Deleted {
		return c.BeforeID
	}
	return c.After.ID
}

// Changes are what a commit is to do. At is called more than once for each.
type Changes interface {
	Len() int
	At(i int) Change
}

// The limits of a commit: the number of its changes, and the bytes of its records.
// Whoever commits waits for the commit before, and so they keep one near a second:
// 50,000 creates take half of that, as many updates all over a million records,
// which write most pages of the file anew, a second on a fast disk.
const (
	MaxChanges     = 50_000
	MaxCommitBytes = 32 << 20
)

// LimitError is a commit that the file can't take. It is [sentinel.ErrTooLarge].
type LimitError struct {
	// MaxChanges is the number of changes that one commit of such records can
	// have, or 0 if a record can't be kept at all.
	MaxChanges int
	Reason     string
}

func (e *LimitError) Error() string { return e.Reason }

// Is makes the error [sentinel.ErrTooLarge].
func (e *LimitError) Is(target error) bool { return target == sentinel.ErrTooLarge }

// plan is a commit that was checked as far as it can be without the database.
type plan struct {
	changes Changes
	ids     []string // of the changes
	kinds   []Kind
	byID    []int // indexes of the changes, in the order of ids
	bytes   int   // that the records need
}

// newPlan checks the form of a commit first, then its size.
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
	// bbolt takes quadratic time for keys in disorder.
	slices.SortFunc(p.byID, func(a, b int) int { return strings.Compare(p.ids[a], p.ids[b]) })
	for k := 1; k < n; k++ {
		if id := p.ids[p.byID[k]]; id == p.ids[p.byID[k-1]] {
			return nil, fmt.Errorf("status %q stands twice in the commit", id)
		}
	}
	switch {
	case large != nil:
	case n > MaxChanges:
		large = &LimitError{
			MaxChanges: min(MaxChanges, MaxCommitBytes/max(largest, 1)),
			Reason:     fmt.Sprintf("a commit of %d changes, of which it can have %d", n, MaxChanges),
		}
	case p.bytes > MaxCommitBytes:
		large = &LimitError{
			MaxChanges: MaxCommitBytes / largest,
			Reason:     fmt.Sprintf("a commit of %d bytes, of which it can have %d", p.bytes, MaxCommitBytes),
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
			return wrong("creates it, but also names one before it")
		}
	case Updated:
		if c.BeforeID != c.After.ID {
			return wrong("updates it, but does not name it as it was before")
		}
	case Deleted:
		if c.BeforeID == "" || c.After != (Record{}) {
			return wrong("deletes it, but does not name it as it was before, or names one after it")
		}
		return nil
	default:
		return wrong(fmt.Sprintf("is of the unknown kind %d", c.Kind))
	}
	switch {
	case c.After.ID == "":
		return wrong("has no id")
	case c.After.Name == "":
		return wrong("has no name")
	}
	return nil
}

// storable returns an error if the file has no way to keep the record.
func (r *Record) storable() error {
	var what string
	var size int
	switch {
	case len(r.ID) > MaxIDBytes:
		return &LimitError{Reason: fmt.Sprintf("an id of %d bytes, of which it can have %d", len(r.ID), MaxIDBytes)}
	case len(r.Name) > MaxStringBytes:
		what, size = "name", len(r.Name)
	case len(r.Type) > MaxStringBytes:
		what, size = "type", len(r.Type)
	case len(r.Metadata) > MaxStringBytes:
		what, size = "metadata", len(r.Metadata)
	default:
		return nil
	}
	return &LimitError{Reason: fmt.Sprintf("status %q: %s of %d bytes, of which there can be %d", r.ID, what, size, MaxStringBytes)}
}

// boltFill is how full pages of records get before they are split. The ids that
// a catalog makes are in order of time, so that records are appended and the
// room would stay unused.
const boltFill = 0.9

// edit is the making of one commit.
type edit struct {
	*plan
	store    *Store
	view     view
	state    State
	written  [][]byte            // the record that a change puts; nil: it deletes
	buffer   []byte              // in which the records are made
	greatest string              // id that has a record; there is none beyond to look for
	names    map[string]struct{} // of all statuses, before the commit
	taken    map[string]bool     // whether a name that the commit touches belongs to a status after it
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

// uses are what changes do with a key. One that is created and is there already is
// a conflict, and nothing is written.
var uses = [...]boltfile.Use{Created: boltfile.Insert, Updated: boltfile.Replace, Deleted: boltfile.Remove}

// look looks at the pages that bbolt will follow.
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

// make checks and then makes the changes.
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

// change checks a change against the database and the changes before it, and
// returns the record to put, or nil if it deletes one.
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
		return nil, fmt.Errorf("the name %q belongs to another status than %q: %w", r.Name, id, sentinel.ErrConflict)
	}
	e.taken[r.Name] = true
	r.Revision = e.state.Revision
	start := len(e.buffer)
	var sum uint64
	e.buffer, sum = AppendRecord(e.buffer, e.store.tag, &r)
	e.state.Add(sum, r.Fingerprint())
	return e.buffer[start:len(e.buffer):len(e.buffer)], nil
}

// isTaken reports whether a status has the name at this point of the commit.
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
