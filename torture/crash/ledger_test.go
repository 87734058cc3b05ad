//go:build linux

package crash

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/customstatus/customstatus"
)

// write is something that a writer is about to do. Each writer does one thing at
// a time, and no two of them ever write to the same status.
type write struct {
	Kind   string // create, update, delete or import
	Status record // what is to be; of a delete, the ID alone
	Keeps  bool   // an update leaves the metadata as it is
	Batch  []record
}

// record is a status. Of what the writer doesn't know, the ID and Revision are
// zero.
type record struct {
	ID, Name   string
	StatusType customstatus.StatusType
	Metadata   string `json:",omitempty"`
	UpdatedAt  int64  // in milliseconds since 1970
	Revision   customstatus.Revision
}

func recordOf(s customstatus.CustomUserStatus) record {
	return record{s.ID, s.Name, s.StatusType, s.Metadata, s.UpdatedAt.UnixMilli(), s.Revision}
}

// ledger is what is known of a file from those who write to it: what has been
// acknowledged, and what has begun and may have been done.
type ledger struct {
	mu       sync.Mutex
	statuses map[string]record // by id
	begun    map[int]write     // by writer
	revision customstatus.Revision
	commits  customstatus.Revision // the most that can have been made since verify
	acks     int
	acked    func(acks int) // called for each; may be nil

	// Of all rounds.
	acknowledged, refused, open, done int
}

func newLedger() *ledger {
	return &ledger{statuses: make(map[string]record), begun: make(map[int]write)}
}

// begin notes what a writer is about to do.
func (l *ledger) begin(writer int, w write) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun[writer] = w
	l.commits++
}

// acknowledge notes that what the writer has begun is done, and at which
// revision at the latest, if that is known.
func (l *ledger) acknowledge(writer int, made record, revision customstatus.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.begun[writer]
	delete(l.begun, writer)
	switch w.Kind {
	case "create", "update":
		l.statuses[made.ID] = made
	case "delete":
		delete(l.statuses, w.Status.ID)
	case "import":
		for _, r := range w.Batch {
			r.Revision = revision
			l.statuses[r.ID] = r
		}
	}
	l.revision = max(l.revision, revision)
	l.acknowledged++
	l.acks++
	if l.acked != nil {
		l.acked(l.acks)
	}
}

// refuse notes that what the writer has begun was refused.
func (l *ledger) refuse(writer int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.begun, writer)
	l.refused++
}

// sees notes a revision that somebody has read.
func (l *ledger) sees(r customstatus.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revision = max(l.revision, r)
}

// round forgets what the last round has left open, which verify has settled.
func (l *ledger) round(acked func(acks int)) {
	l.acked, l.acks = acked, 0
}

// verify says why the page can't be what the file has to hold: all that was
// acknowledged, all or nothing of each write that was not, and nothing else.
// since is when the first of those can have begun. After verify, the ledger knows
// what the page shows.
func (l *ledger) verify(page customstatus.Page, since time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var wrong []error
	fault := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }

	got := make(map[string]record)
	names := make(map[string]string)
	var sum customstatus.Fingerprint
	for _, s := range page.Statuses {
		sum += s.Fingerprint()
		r := recordOf(s)
		if other, twice := names[r.Name]; twice {
			fault("%q and %q have the name %q", other, r.ID, r.Name)
		}
		names[r.Name] = r.ID
		got[r.ID] = r
		if r.Revision > page.Position.Revision {
			fault("%+v is newer than revision %d", r, page.Position.Revision)
		}
		told := r
		told.Revision = 0
		if l.statuses[r.ID] == told { // whoever wrote it was not told the revision
			l.statuses[r.ID] = r
		}
	}
	if sum != page.Position.Fingerprint {
		fault("the fingerprint is %x, that of the statuses %x", page.Position.Fingerprint, sum)
	}
	l.open += len(l.begun)
	// Imports first, which know their ids: what one has made must not be taken
	// for a create that had begun with the same name.
	for _, imports := range []bool{true, false} {
		for _, w := range l.begun {
			if (w.Kind == "import") == imports && l.settle(w, got, since, fault) {
				l.done++
			}
		}
	}
	clear(l.begun)

	for id, want := range l.statuses {
		if r, there := got[id]; !there {
			fault("%+v is missing", want)
		} else if r != want {
			fault("it has %+v, not %+v", r, want)
		}
	}
	for id, r := range got {
		if _, known := l.statuses[id]; !known {
			fault("nobody has written %+v", r)
		}
	}
	if page.Position.Revision < l.revision {
		fault("it is at revision %d, %d was acknowledged", page.Position.Revision, l.revision)
	}
	if most := l.revision + l.commits; page.Position.Revision > most {
		fault("it is at revision %d, more than %d can't be", page.Position.Revision, most)
	}
	l.statuses, l.revision, l.commits = maps.Clone(got), page.Position.Revision, 0
	return errors.Join(wrong...)
}

// settle finds out whether a write that was not acknowledged is in got, and takes
// it into the ledger if it is. If got has a part of it, or something else, that is
// for verify to see.
func (l *ledger) settle(w write, got map[string]record, since time.Time, fault func(string, ...any)) bool {
	sane := func(r record, earliest int64) {
		if r.UpdatedAt < earliest || r.UpdatedAt > time.Now().UnixMilli() {
			fault("%+v was updated at a time when it wasn't", r)
		}
	}
	switch w.Kind {
	case "create":
		for id, r := range got {
			if _, known := l.statuses[id]; !known && r.Name == w.Status.Name && r.StatusType == w.Status.StatusType && r.Metadata == w.Status.Metadata {
				sane(r, since.UnixMilli())
				l.statuses[id] = r
				return true
			}
		}
	case "update":
		old, r := l.statuses[w.Status.ID], got[w.Status.ID]
		metadata := w.Status.Metadata
		if w.Keeps {
			metadata = old.Metadata
		}
		if r != old && r.Name == w.Status.Name && r.StatusType == w.Status.StatusType && r.Metadata == metadata && r.Revision > old.Revision {
			sane(r, max(old.UpdatedAt, since.UnixMilli()))
			l.statuses[r.ID] = r
			return true
		}
	case "delete":
		if _, there := got[w.Status.ID]; !there {
			delete(l.statuses, w.Status.ID)
			return true
		}
	case "import":
		if _, there := got[w.Batch[0].ID]; !there {
			return false
		}
		for _, want := range w.Batch {
			want.Revision = got[w.Batch[0].ID].Revision
			l.statuses[want.ID] = want
		}
		return true
	}
	return false
}
