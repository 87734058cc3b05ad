package linear

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/anishathalye/porcupine"

	"github.com/customstatus/customstatus"
)

// LastName is the name of the status that ends the watchers.
const LastName = "the last one"

// Watcher has a page of a catalog and the commits after it.
type Watcher struct {
	follows bool // by Follow, not by List and Watch
	Start   customstatus.Page
	Commits []customstatus.Commit
	// gaps are the pages from which the watcher continued after missing
	// commits, by the number of commits before each page.
	Gaps map[int]customstatus.Page
	// back says that the catalog may turn out to hold another history, of a
	// lower revision, after a gap.
	Back bool
	// Moves says that the watcher may go on at another catalog after a gap. That may
	// have an older position for the same statuses.
	Moves bool
	Err   error
}

// Source has the methods of a catalog that watchers use.
type Source interface {
	List(customstatus.Query) (customstatus.Page, error)
	Watch(context.Context, customstatus.Position) iter.Seq2[customstatus.Commit, error]
	Follow(context.Context, customstatus.Position) iter.Seq2[customstatus.Update, error]
}

// Watch lists and then watches, until it has seen a status with the name. A
// goroutine of all does it.
func Watch(all *sync.WaitGroup, c Source, until string) *Watcher {
	w := &Watcher{Gaps: make(map[int]customstatus.Page)}
	if w.Start, w.Err = c.List(customstatus.Query{}); w.Err == nil {
		all.Go(func() { w.Err = w.watch(c, until) })
	}
	return w
}

// Follow is [Watch] by Follow.
func Follow(all *sync.WaitGroup, c Source, until string) *Watcher {
	w := &Watcher{follows: true, Gaps: make(map[int]customstatus.Page)}
	next, stop := iter.Pull2(c.Follow(context.Background(), customstatus.Position{}))
	u, err, _ := next()
	if w.Start, w.Err = pageOf(u), err; err == nil && !u.Reset {
		w.Err = errors.New("it does not begin with the whole catalog")
	}
	if w.Err != nil {
		stop()
		return w
	}
	all.Go(func() {
		defer stop()
		w.Err = w.follow(next, until)
	})
	return w
}

func (w *Watcher) watch(c Source, until string) error {
	after := w.Start.Position
	for {
		var ended error
		for commit, err := range c.Watch(context.Background(), after) {
			if err != nil {
				ended = err
				break
			}
			after = commit.Position()
			if w.take(commit, until) {
				return nil
			}
		}
		if !errors.Is(ended, customstatus.ErrCompacted) {
			return fmt.Errorf("watch ended: %w", ended)
		}
		page, err := c.List(customstatus.Query{})
		if err != nil {
			return err
		}
		after = page.Position
		if w.skip(page, until) {
			return nil
		}
	}
}

func (w *Watcher) follow(next func() (customstatus.Update, error, bool), until string) error {
	for {
		u, err, _ := next()
		if err != nil {
			return fmt.Errorf("follow ended: %w", err)
		}
		done := false
		if u.Reset {
			done = w.skip(pageOf(u), until)
		} else {
			done = w.take(customstatus.Commit{
				Revision: u.Position.Revision, Changes: u.Changes,
				Fingerprint: u.Position.Fingerprint, FingerprintKnown: true,
			}, until)
		}
		if done {
			return nil
		}
	}
}

func pageOf(u customstatus.Update) customstatus.Page {
	return customstatus.Page{Statuses: u.Statuses, Total: len(u.Statuses), Position: u.Position}
}

// take records a commit and reports whether the commit has a status with the
// name.
func (w *Watcher) take(commit customstatus.Commit, until string) bool {
	w.Commits = append(w.Commits, commit)
	return slices.ContainsFunc(commit.Changes, func(c customstatus.Change) bool { return c.Status().Name == until })
}

// skip records a page after a gap, and reports whether the page has a status
// with the name.
func (w *Watcher) skip(page customstatus.Page, until string) bool {
	w.Gaps[len(w.Commits)] = page
	return slices.ContainsFunc(page.Statuses, func(s customstatus.CustomUserStatus) bool { return s.Name == until })
}

// Replay returns the catalog's statuses at each revision that the watcher
// knows. The error says why the watcher's commits can't be the catalog's
// commits in order. If positions may stay, the watcher may miss commits that
// rewrote a status unchanged.
func (w *Watcher) Replay(stays bool) (at map[customstatus.Revision]customstatus.Page, err error) {
	at = map[customstatus.Revision]customstatus.Page{w.Start.Position.Revision: w.Start}
	now := w.Start
	for i := 0; ; i++ {
		if page, gap := w.Gaps[i]; gap {
			if page.Position.Revision < now.Position.Revision && !w.Back && !w.Moves {
				return nil, fmt.Errorf("after a gap, revision %d follows %d", page.Position.Revision, now.Position.Revision)
			}
			now = page
			at[now.Position.Revision] = now
		}
		if got := fingerprint(now.Statuses); got != now.Position.Fingerprint {
			return nil, fmt.Errorf("the fingerprint of revision %d is %x, that of its statuses %x", now.Position.Revision, now.Position.Fingerprint, got)
		}
		if i == len(w.Commits) {
			return at, nil
		}
		if now, err = apply(now, w.Commits[i], stays, w.Back); err != nil {
			return nil, err
		}
		at[now.Position.Revision] = now
	}
}

// fingerprint returns the fingerprint of a catalog with the statuses.
func fingerprint(statuses []customstatus.CustomUserStatus) (sum customstatus.Fingerprint) {
	for _, s := range statuses {
		sum += s.Fingerprint()
	}
	return sum
}

// same reports whether the statuses are the same. If positions may stay, a
// status that was rewritten unchanged counts as the same.
func same(a, b []customstatus.CustomUserStatus, stays bool) bool {
	return slices.EqualFunc(a, b, func(s, t customstatus.CustomUserStatus) bool {
		if stays {
			s.Revision = t.Revision
		}
		return s == t
	})
}

// apply returns the page after a commit. If positions may stay, a status may have been
// rewritten unchanged meanwhile. If the catalog may go back, to what has the same statuses
// say, so may the status and the revision.
func apply(p customstatus.Page, c customstatus.Commit, stays, back bool) (customstatus.Page, error) {
	if c.Revision <= p.Position.Revision && !back {
		return p, fmt.Errorf("revision %d follows %d", c.Revision, p.Position.Revision)
	}
	if !c.FingerprintKnown {
		return p, fmt.Errorf("revision %d has no fingerprint", c.Revision)
	}
	if len(c.Changes) == 0 {
		return p, fmt.Errorf("revision %d changes nothing", c.Revision)
	}
	s := state{statuses: p.Statuses}
	for _, change := range c.Changes {
		t := change.Status()
		at := s.byID(t.ID)
		var old customstatus.CustomUserStatus
		if at >= 0 {
			old = s.statuses[at]
			if stays && (back || change.Before.Revision > old.Revision) {
				old.Revision = change.Before.Revision
			}
		}
		switch {
		case change.Before != old:
			return p, fmt.Errorf("revision %d replaces %+v, which is %+v", c.Revision, change.Before, old)
		case change.Kind == customstatus.Deleted && at >= 0:
			if change.After != (customstatus.CustomUserStatus{}) {
				return p, fmt.Errorf("revision %d deletes %q and leaves %+v", c.Revision, t.ID, change.After)
			}
			s = s.without(at)
			continue
		case (change.Kind == customstatus.Created) != (at < 0) || change.Kind == customstatus.Deleted:
			return p, fmt.Errorf("revision %d has %q %v, which was %+v", c.Revision, t.ID, change.Kind, old)
		case t.Revision != c.Revision:
			return p, fmt.Errorf("revision %d has %q of revision %d", c.Revision, t.ID, t.Revision)
		case t.UpdatedAt.Before(old.UpdatedAt):
			return p, fmt.Errorf("revision %d takes %q back from %v to %v", c.Revision, t.ID, old.UpdatedAt, t.UpdatedAt)
		}
		if other := s.byName(t.Name); other >= 0 && other != at {
			return p, fmt.Errorf("revision %d gives %q the name %q of %q", c.Revision, t.ID, t.Name, s.statuses[other].ID)
		}
		s = s.with(at, t)
	}
	return customstatus.Page{Statuses: s.statuses, Total: len(s.statuses), Position: c.Position()}, nil
}

// ofSeveral reports whether several writes share the commit. Every write except
// an import changes one status.
func ofSeveral(commit customstatus.Commit) bool {
	writes := make(map[string]bool)
	for _, c := range commit.Changes {
		write := c.ID()
		if c.Kind == customstatus.Created && strings.HasPrefix(write, importedID) {
			write = write[:strings.LastIndexByte(write, '-')]
		}
		writes[write] = true
	}
	return len(writes) > 1
}

// Account returns an error for a change that no client made, and for an
// acknowledged write that is in no commit. If the watcher has gaps, a write may
// be missing.
//
// A catalog that had to load a shared store may have left out commits that undo
// each other, because a position with the catalog's own fingerprint is current.
// So after a load, a write may be missing that other writes of the same status
// can have undone.
func Account(ops []porcupine.Operation, w *Watcher, loaded bool) error {
	var (
		puts    = make(map[customstatus.CustomUserStatus]bool) // acknowledged creates and updates
		deletes = make(map[string]int)                         // acknowledged, by id
		imports = make(map[customstatus.CustomUserStatus]bool) // whether they have been seen
		maybe   []operation
	)
	for _, o := range ops {
		op, out := o.Input.(operation), o.Output.(result)
		switch {
		case out.unknown:
			maybe = append(maybe, op)
		case out.refused != nil || out.refusals != nil:
		case op.kind == create, op.kind == update:
			puts[out.status] = true
		case op.kind == remove:
			deletes[op.id]++
		case op.kind == bulk:
			for _, s := range op.statuses {
				imports[s] = false
			}
		}
	}
	explained := func(c customstatus.Change) bool {
		s := c.Status()
		deleted := c.Kind == customstatus.Deleted
		if deleted && deletes[s.ID] > 0 {
			deletes[s.ID]--
			return true
		}
		if !deleted && puts[s] {
			delete(puts, s)
			return true
		}
		imported := s
		imported.Revision = 0
		if _, ok := imports[imported]; ok && c.Kind == customstatus.Created {
			imports[imported] = true
			return true
		}
		i := slices.IndexFunc(maybe, func(op operation) bool { return op.explains(c) })
		if i >= 0 && maybe[i].kind != bulk { // which may make several
			maybe = slices.Delete(maybe, i, i+1)
		}
		return i >= 0
	}
	for _, commit := range w.Commits {
		for _, change := range commit.Changes {
			if change.Status().Name != LastName && !explained(change) {
				return fmt.Errorf("nobody made the change %+v of revision %d", change, commit.Revision)
			}
		}
	}
	if len(w.Gaps) > 0 {
		return nil
	}
	for s := range puts {
		if loaded && undone(ops, s) {
			continue
		}
		return fmt.Errorf("no commit has %+v, which was acknowledged", s)
	}
	for id, n := range deletes {
		if n > 0 && !(loaded && undone(ops, customstatus.CustomUserStatus{ID: id})) {
			return fmt.Errorf("no commit deletes %q, which was acknowledged", id)
		}
	}
	for s, seen := range imports {
		if !seen && !(loaded && undone(ops, customstatus.CustomUserStatus{ID: s.ID})) {
			return fmt.Errorf("no commit has %+v, which was imported", s)
		}
	}
	return nil
}

// undone reports whether possible writes can have restored a status: a create
// or import and a delete, or several writes in one millisecond.
func undone(ops []porcupine.Operation, put customstatus.CustomUserStatus) bool {
	id, at := put.ID, put.UpdatedAt
	made, removed, sameTime := false, false, 0
	for _, o := range ops {
		op, out := o.Input.(operation), o.Output.(result)
		if !out.unknown && (out.refused != nil || out.refusals != nil) {
			continue
		}
		switch {
		case op.kind == remove:
			removed = removed || op.id == id
		case op.kind == bulk:
			for _, s := range op.statuses {
				made = made || s.ID == id
				if s.Revision = put.Revision; s == put { // an update may leave all as it is
					sameTime++
				}
			}
		case out.unknown && op.kind == create:
			made = true // it may be the one with the id
		case out.unknown:
			if op.id == id {
				sameTime++
			}
		case out.status.ID == id:
			made = made || op.kind == create
			if out.status.UpdatedAt.Equal(at) {
				sameTime++
			}
		}
	}
	return made && removed || sameTime > 1
}

// explains reports whether the operation may have made the change.
func (op operation) explains(c customstatus.Change) bool {
	s := c.Status()
	switch op.kind {
	case create, update:
		before := state{}
		at := -1
		kind := customstatus.Created
		if op.kind == update {
			before.statuses, at, kind = []customstatus.CustomUserStatus{c.Before}, 0, customstatus.Updated
		}
		made := before.made(op, at)
		return c.Kind == kind && (at < 0 || s.ID == op.id) &&
			s.Name == made.Name && s.StatusType == made.StatusType && s.Metadata == made.Metadata
	case remove:
		return c.Kind == customstatus.Deleted && s.ID == op.id
	case bulk:
		return c.Kind == customstatus.Created && slices.ContainsFunc(op.statuses, func(t customstatus.CustomUserStatus) bool {
			t.Revision = s.Revision
			return t == s
		})
	}
	return false
}

// Held has what a store has held at its revisions.
type Held map[customstatus.Revision][]customstatus.Page

// Add adds what a watcher knows.
func (h Held) Add(at map[customstatus.Revision]customstatus.Page) {
	for revision, page := range at {
		h[revision] = append(h[revision], page)
	}
}

// LocalReads returns an error for a page, read without Sync, that the catalog
// never had, or that has an older revision than a client of the catalog knew
// already. A revision has several pages if the store has used it again.
func (h *History) LocalReads(at Held) error {
	for _, l := range h.local {
		revision := l.page.Position.Revision
		shown := slices.ContainsFunc(at[revision], func(held customstatus.Page) bool {
			want := query(held, l.query)
			return want.Total == l.page.Total && same(want.Statuses, l.page.Statuses, h.stays) && l.page.Position.Fingerprint == held.Position.Fingerprint
		})
		if held := at[revision]; !shown && len(held) > 0 {
			return fmt.Errorf("a page of revision %d shows %v, the catalog held %v", revision, l.page, query(held[0], l.query))
		}
		least := customstatus.Revision(0)
		for _, k := range h.known {
			if k.catalog == l.catalog && k.at < l.call {
				least = max(least, k.revision)
			}
		}
		if l.reached < least || !h.stays && revision < least {
			return fmt.Errorf("catalog %d shows revision %d after %d", l.catalog, revision, least)
		}
	}
	return nil
}
