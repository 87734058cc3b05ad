package linear

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/customstatus/customstatus"
)

// operation is what a client asks of a catalog.
type operation struct {
	kind       kind
	id, name   string
	statusType customstatus.StatusType
	metadata   *string // of a create or update
	keepType   bool    // of an update
	ifRevision customstatus.Revision
	query      customstatus.Query
	statuses   []customstatus.CustomUserStatus // to be imported
}

type kind string

const (
	create    kind = "create"
	update    kind = "update"
	remove    kind = "delete"
	bulk      kind = "import"
	get       kind = "get"
	getByName kind = "get by name"
	list      kind = "list"
	revision  kind = "revision"
)

// result is what the catalog answers. It is recorded only if it says something:
// a write that failed and left nothing behind is no part of a history.
type result struct {
	unknown  bool                          // whether the write was made
	refused  error                         // one of the sentinels, or nil
	refusals []refusal                     // of an import
	status   customstatus.CustomUserStatus // of a create, update or get
	page     customstatus.Page             // of a list
	revision customstatus.Revision         // of a delete, an import or the catalog
}

type refusal struct {
	index int
	err   error
}

// state is what the model has of a catalog: its uniquely named statuses, and
// what is known of its revision. It is never changed, only replaced.
type state struct {
	// statuses are in the order of their names. What a write with an unknown
	// outcome has put has no Revision and no UpdatedAt, and if it is new no
	// ID, until somebody reads them.
	statuses []customstatus.CustomUserStatus
	// revision is the least that the catalog can be at.
	revision customstatus.Revision
	// shown says that all of revision has been read, so that whatever is
	// written next has a later one. (Writes that share a commit share its
	// revision.)
	shown bool
	// gone are the ids of deleted statuses, in order. Only an import brings one back.
	gone []string
	// least are the revisions that statuses had before a write with an unknown outcome.
	least map[string]customstatus.Revision
	// stays says that a page's position may have an older revision than the
	// Catalog has reached: see [Workload].
	stays bool
}

// model is the specification that histories are checked against. It begins with
// what the page shows.
func model(start customstatus.Page, stays bool) porcupine.Model {
	return porcupine.Model{
		Init: func() any {
			return state{statuses: start.Statuses, revision: start.Position.Revision, shown: true, stays: stays}
		},
		Step: func(s, op, out any) (bool, any) {
			next, ok := s.(state).step(op.(operation), out.(result))
			return ok, next
		},
		Equal: func(a, b any) bool { return a.(state).equal(b.(state)) },
		DescribeOperation: func(op, out any) string {
			return fmt.Sprintf("%v → %v", op.(operation), out.(result))
		},
	}
}

func (s state) equal(t state) bool {
	return s.revision == t.revision && s.shown == t.shown && slices.Equal(s.statuses, t.statuses) &&
		slices.Equal(s.gone, t.gone) && maps.Equal(s.least, t.least)
}

// byID returns the index of the status, or -1.
func (s state) byID(id string) int {
	return slices.IndexFunc(s.statuses, func(t customstatus.CustomUserStatus) bool { return t.ID == id })
}

func (s state) byName(name string) int {
	return slices.IndexFunc(s.statuses, func(t customstatus.CustomUserStatus) bool { return t.Name == name })
}

// with returns the state in which t is in the place of the status at an index,
// or is new if the index is -1.
func (s state) with(at int, t customstatus.CustomUserStatus) state {
	statuses := slices.Clone(s.statuses)
	if at >= 0 {
		statuses = slices.Delete(statuses, at, at+1)
	}
	to, _ := slices.BinarySearchFunc(statuses, t.Name, func(t customstatus.CustomUserStatus, name string) int {
		return strings.Compare(t.Name, name)
	})
	s.statuses = slices.Insert(statuses, to, t)
	return s
}

func (s state) without(at int) state {
	id := s.statuses[at].ID
	if i, there := slices.BinarySearch(s.gone, id); !there && id != "" {
		s.gone = slices.Insert(slices.Clone(s.gone), i, id)
	}
	s.statuses = slices.Delete(slices.Clone(s.statuses), at, at+1)
	return s
}

// unread returns the state after a write with an unknown outcome has put t in the place of
// the status at an index.
func (s state) unread(at int, t customstatus.CustomUserStatus) state {
	if at >= 0 && s.statuses[at].Revision > 0 {
		s.least = maps.Clone(s.least)
		if s.least == nil {
			s.least = make(map[string]customstatus.Revision)
		}
		s.least[t.ID] = s.statuses[at].Revision
	}
	return s.with(at, t)
}

// written returns the state after a write that has the revision.
func (s state) written(r customstatus.Revision) (state, bool) {
	if r < s.revision || r == s.revision && s.shown {
		return s, false
	}
	s.revision, s.shown = r, false
	return s, true
}

// seen returns the state of which t has been read, which must be in it.
func (s state) seen(t customstatus.CustomUserStatus) (state, bool) {
	at := s.byName(t.Name)
	if at < 0 {
		return s, false
	}
	have := s.statuses[at]
	if have.ID == "" && s.byID(t.ID) < 0 {
		have.ID = t.ID
	}
	if have.Revision == 0 {
		have.Revision = t.Revision
		if have.UpdatedAt.IsZero() {
			have.UpdatedAt = t.UpdatedAt
		}
	}
	if have != t {
		return s, false
	}
	if t.Revision > s.revision {
		s.revision, s.shown = t.Revision, false
	}
	return s.with(at, have), true
}

// step returns the state that an operation leads to, and whether the operation
// can have the result.
func (s state) step(op operation, out result) (state, bool) {
	if out.unknown {
		return s.maybe(op, out), true
	}
	switch op.kind {
	case create, update, remove:
		at, refused := s.check(op, out.refused)
		if out.refused != nil || refused != nil {
			return s, out.refused == refused
		}
		if op.kind == remove {
			s, ok := s.written(out.revision)
			return s.without(at), ok
		}
		return s.put(op, at, out.status)
	case bulk:
		return s.bulk(op, out)
	case get, getByName:
		if out.refused != nil {
			return s, out.refused == customstatus.ErrNotFound &&
				(op.kind == get && s.byID(op.id) < 0 || op.kind == getByName && s.byName(op.name) < 0)
		}
		if op.kind == get && out.status.ID != op.id || op.kind == getByName && out.status.Name != op.name {
			return s, false
		}
		return s.seen(out.status)
	case list:
		return s.list(op.query, out.page)
	case revision:
		return s.at(out.revision)
	}
	return s, false
}

// check returns the index of the status that a write is about, or the sentinel
// with which it has to be refused. If nobody has read the status since its id or its
// revision became unknown, what the caller was told says whether it named them.
func (s state) check(op operation, told error) (at int, refused error) {
	at = -1
	if op.kind != create {
		at = s.byID(op.id)
		if _, gone := slices.BinarySearch(s.gone, op.id); at < 0 && !gone && told != customstatus.ErrNotFound {
			at = s.byID("")
		}
		if at < 0 {
			return at, customstatus.ErrNotFound
		}
		have := s.statuses[at].Revision
		if have == 0 && told != customstatus.ErrConflict && op.ifRevision > s.least[op.id] {
			have = op.ifRevision
		}
		if op.ifRevision != 0 && op.ifRevision != have {
			return at, customstatus.ErrConflict
		}
	}
	if op.kind != remove {
		if other := s.byName(op.name); other >= 0 && other != at {
			return at, customstatus.ErrNameInUse
		}
	}
	return at, nil
}

// put is a create or update, of the status at an index, that has made t.
func (s state) put(op operation, at int, t customstatus.CustomUserStatus) (state, bool) {
	want := s.made(op, at)
	if t.Name != want.Name || t.StatusType != want.StatusType || t.Metadata != want.Metadata {
		return s, false
	}
	if at < 0 && s.byID(t.ID) >= 0 {
		return s, false
	}
	if at >= 0 {
		if old := s.statuses[at]; t.ID != cmp.Or(old.ID, op.id) || t.UpdatedAt.Before(old.UpdatedAt) {
			return s, false
		}
	}
	s, ok := s.written(t.Revision)
	return s.with(at, t), ok
}

// made returns what a create or update makes of the status at an index, as far as
// its caller says it.
func (s state) made(op operation, at int) customstatus.CustomUserStatus {
	t := customstatus.CustomUserStatus{ID: op.id, Name: op.name, StatusType: op.statusType}
	if at >= 0 {
		t.Metadata = s.statuses[at].Metadata
		if op.keepType {
			t.StatusType = s.statuses[at].StatusType
		}
	}
	if op.metadata != nil {
		t.Metadata = *op.metadata
	}
	return t
}

// maybe is a write of which nobody knows whether it was made. If it wasn't, that
// is as if it had come after everything else, for it has no return that bounds
// it; so it is made here if it can be. If its result is known, then with this result.
func (s state) maybe(op operation, out result) state {
	if op.kind == bulk {
		fresh, refusals := s.checkBulk(op.statuses)
		if refusals == nil {
			for _, t := range fresh {
				s = s.with(-1, t)
			}
		}
		return s
	}
	at, refused := s.check(op, nil)
	switch {
	case refused != nil:
		return s
	case out.revision > 0:
		if next, ok := s.written(out.revision); ok {
			return next.without(at)
		}
		return s
	case out.status.ID != "":
		if next, ok := s.put(op, at, out.status); ok {
			return next
		}
		return s
	case op.kind == remove:
		return s.without(at)
	}
	return s.unread(at, s.made(op, at))
}

// checkBulk returns what an import has to add, or why it has to be refused.
func (s state) checkBulk(statuses []customstatus.CustomUserStatus) (fresh []customstatus.CustomUserStatus, refusals []refusal) {
	ids, names := make(map[string]bool), make(map[string]bool)
	for i, t := range statuses {
		if at := s.byID(t.ID); at >= 0 {
			have := s.statuses[at]
			have.Revision = t.Revision
			if t.Metadata == "" { // which says nothing
				have.Metadata = ""
			}
			if have == t {
				continue
			}
			refusals = append(refusals, refusal{i, customstatus.ErrIDInUse})
		} else if ids[t.ID] {
			refusals = append(refusals, refusal{i, customstatus.ErrIDInUse})
		} else if names[t.Name] || s.byName(t.Name) >= 0 {
			refusals = append(refusals, refusal{i, customstatus.ErrNameInUse})
		}
		ids[t.ID], names[t.Name] = true, true
		fresh = append(fresh, t)
	}
	return fresh, refusals
}

func (s state) bulk(op operation, out result) (state, bool) {
	fresh, refusals := s.checkBulk(op.statuses)
	if refusals != nil || out.refusals != nil {
		return s, slices.Equal(refusals, out.refusals)
	}
	if len(fresh) == 0 { // all was there, maybe of an earlier revision
		if out.revision < s.revision {
			return s, false
		}
		s.revision, s.shown = out.revision, s.shown && out.revision == s.revision
		return s, true
	}
	s, ok := s.written(out.revision)
	for _, t := range fresh {
		t.Revision = out.revision
		s = s.with(-1, t)
	}
	return s, ok
}

func (s state) list(q customstatus.Query, page customstatus.Page) (state, bool) {
	want := query(customstatus.Page{Statuses: s.statuses}, q)
	if page.Total != want.Total || len(page.Statuses) != len(want.Statuses) {
		return s, false
	}
	for i, t := range page.Statuses {
		var ok bool
		if s, ok = s.seen(t); !ok || t.Name != want.Statuses[i].Name {
			return s, false
		}
	}
	if s.stays && page.Position.Revision < s.revision {
		return s, true
	}
	return s.at(page.Position.Revision)
}

// query returns what of all statuses, which are by name, a query asks for. What
// its names contain must be in lower case, as all names are here.
func query(all customstatus.Page, q customstatus.Query) customstatus.Page {
	page := customstatus.Page{Position: all.Position}
	for _, t := range all.Statuses {
		if (q.ID == "" || t.ID == q.ID) && (q.Name == "" || t.Name == q.Name) && strings.Contains(t.Name, q.NameContains) {
			page.Statuses = append(page.Statuses, t)
		}
	}
	page.Total = len(page.Statuses)
	page.Statuses = page.Statuses[min(q.Offset, page.Total):]
	if q.Limit > 0 {
		page.Statuses = page.Statuses[:min(q.Limit, len(page.Statuses))]
	}
	return page
}

// at returns the state of which all of a revision has been read.
func (s state) at(r customstatus.Revision) (state, bool) {
	ok := r >= s.revision
	s.revision, s.shown = r, true
	return s, ok
}

// sentinel returns the sentinel that err is, or nil.
func sentinel(err error) error {
	for _, s := range []error{
		customstatus.ErrNotFound,
		customstatus.ErrConflict,
		customstatus.ErrNameInUse,
		customstatus.ErrIDInUse,
	} {
		if errors.Is(err, s) {
			return s
		}
	}
	return nil
}
