// Package view keeps what the readers of a catalog see: an immutable snapshot of
// all values in a store, and the history of the commits that led to the snapshot.
package view

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/customstatus/customstatus/internal/history"
	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/sentinel"
	"github.com/customstatus/customstatus/internal/table"
)

// Snapshot is all values at one revision. Neither a published snapshot nor the
// values that it points to ever change.
type Snapshot[T any] struct {
	// Revision is the revision that the store has reached. It moves beyond
	// Position when a shared store reports progress without changes.
	Revision uint64
	Position history.Position
	Loads    uint64 // counts the loads
	Rewinds  uint64 // counts the times that the store went back
	Closed   bool   // the view is closed, and the table is empty

	table.Table[T]
}

// Contents are what a store holds at one instant.
type Contents[T any] struct {
	Values   []T
	Revision uint64
	Shared   bool // others may write the store too
	Rewound  bool // the store holds another history than the one that was told, whatever the revision
	// Fingerprint is the sum of the values' fingerprints, if FingerprintKnown
	// is set.
	Fingerprint      uint64
	FingerprintKnown bool
}

// View is what the readers see. The commits that watchers get have the type C.
// [View.Load] and [View.Publish] must not be called at the same time as each other
// or themselves. Otherwise several goroutines may use a view at once.
type View[T, C any] struct {
	// History has the commits for watchers.
	History *history.Log[C]

	typ     pairs.Type[T]
	closing context.Context
	current atomic.Pointer[Snapshot[T]]
	loads   atomic.Int64
	edits   atomic.Uint64 // begun, so that each has a number of its own
}

// Init prepares a new view, which then needs [View.Load]. All waits end when closing
// is done, for whoever closes the view may have to wait for them. There is no New, so
// that the view can be a part of what readers hold, and a read follows one pointer less.
func (v *View[T, C]) Init(closing context.Context, typ pairs.Type[T], h *history.Log[C]) {
	v.History, v.typ, v.closing = h, typ, closing
}

// Current returns the snapshot that readers see now.
func (v *View[T, C]) Current() *Snapshot[T] { return v.current.Load() }

// Revision returns the revision that readers have reached. It remains after Close.
func (v *View[T, C]) Revision() uint64 { return v.current.Load().Revision }

// Load shows what the store holds, and takes ownership of the contents' values. It
// reports whether that is another history than the one that was shown before. The
// store may have made up to unseen commits that readers don't see.
// [sentinel.ErrDamaged] is returned when two values share a key.
func (v *View[T, C]) Load(contents Contents[T], unseen uint64) (rewound bool, err error) {
	next, err := v.snapshot(contents)
	if err != nil {
		return false, err
	}
	if before := v.current.Load(); before != nil {
		same := next.Position.Fingerprint == before.Position.Fingerprint
		switch {
		case next.Revision < before.Revision:
			rewound = true
		case next.Revision == before.Revision:
			rewound = !same
		default:
			rewound = !same && next.Revision-before.Revision > unseen
		}
		rewound = rewound || contents.Rewound && !same
		next.Loads, next.Rewinds = before.Loads+1, before.Rewinds
		if rewound {
			next.Rewinds++
		} else if same {
			next.Position = before.Position
			v.current.Store(next)
			v.loads.Add(1) // before those who wait for it are told
			v.History.Reach(next.Revision)
			return false, nil
		}
	}
	v.current.Store(next)
	v.loads.Add(1)
	v.History.Reset(next.Position)
	return rewound, nil
}

func (v *View[T, C]) snapshot(contents Contents[T]) (*Snapshot[T], error) {
	s := &Snapshot[T]{Revision: contents.Revision, Position: history.Position{Revision: contents.Revision}}
	if contents.FingerprintKnown {
		s.Position.Fingerprint = contents.Fingerprint
	}
	all := make([]*T, len(contents.Values))
	for i := range contents.Values {
		all[i] = &contents.Values[i]
		if !contents.FingerprintKnown {
			s.Position.Fingerprint += v.typ.Fingerprint(all[i])
		}
	}
	var err error
	if s.Table, err = table.New(v.typ.Keys, all, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", sentinel.ErrDamaged, err)
	}
	return s, nil
}

// Edit is a snapshot in the making. Several writes share an edit; each sees what
// those before it did.
type Edit[T any] struct {
	table.Draft[T]
	Base *Snapshot[T] // what the edit began from
	typ  *pairs.Type[T]
}

// Edit begins an edit of the current snapshot, with room for so many changes.
func (v *View[T, C]) Edit(changes int) Edit[T] {
	base := v.current.Load()
	return Edit[T]{Draft: base.Draft(v.edits.Add(1), changes), Base: base, typ: &v.typ}
}

// Commit gives the changed values their revision and returns the snapshot to
// publish.
func (e *Edit[T]) Commit(revision uint64) *Snapshot[T] {
	next := *e.Base
	next.Revision, next.Table = revision, e.Table
	if len(e.Changes) > 0 {
		next.Position.Revision = revision // progress without changes leaves the position
	}
	for _, made := range e.Changes {
		if made.Before != nil {
			next.Position.Fingerprint -= e.typ.Fingerprint(made.Before)
		}
		if made.After != nil {
			*e.typ.Revision(made.After) = revision
			next.Position.Fingerprint += e.typ.Fingerprint(made.After)
		}
	}
	return &next
}

// Replay makes the changes of a commit that a feed has told of. It reports false if
// one doesn't fit.
func (e *Edit[T]) Replay(changes pairs.Changes[T]) bool {
	for i := range changes.Len() {
		old, made, err := e.typ.Fit(changes.At(i), e)
		if err != nil {
			return false
		}
		e.Put(old, made)
	}
	return true
}

// Publish shows a snapshot to readers, and then the commit that led to it to
// watchers, who may read at once. A commit without changes reports a shared store's
// progress to those who wait for it. The commit takes so many bytes of memory.
func (v *View[T, C]) Publish(next *Snapshot[T], commit C, changes, bytes int) {
	v.current.Store(next)
	if changes == 0 {
		v.History.Reach(next.Revision)
		return
	}
	v.History.Append(history.Entry[C]{Value: commit, After: next.Position, Changes: changes, Bytes: bytes})
}

// Close replaces the snapshot by an empty one, and ends the history.
func (v *View[T, C]) Close() {
	last := v.current.Load()
	v.current.Store(&Snapshot[T]{Revision: last.Revision, Position: last.Position, Loads: last.Loads, Rewinds: last.Rewinds, Closed: true})
	v.History.Close()
}
