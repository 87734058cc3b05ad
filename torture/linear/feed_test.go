package linear

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/anishathalye/porcupine"

	"github.com/customstatus/customstatus"
)

// watcher follows a catalog from a page on.
type watcher struct {
	start   customstatus.Page
	commits []customstatus.Commit
	// gaps are the pages from which the watcher went on after ErrCompacted,
	// by the number of commits before each.
	gaps map[int]customstatus.Page
	err  error
}

// watch lists and then watches, until it has seen a status with the name. A
// goroutine of all does it.
func watch(all *sync.WaitGroup, c *customstatus.Catalog, until string) *watcher {
	w := &watcher{gaps: make(map[int]customstatus.Page)}
	if w.start, w.err = c.List(customstatus.Query{}); w.err == nil {
		all.Go(func() { w.err = w.follow(c, until) })
	}
	return w
}

func (w *watcher) follow(c *customstatus.Catalog, until string) error {
	after := w.start.Revision
	for {
		var ended error
		for commit, err := range c.Watch(context.Background(), after) {
			if err != nil {
				ended = err
				break
			}
			after = commit.Revision
			w.commits = append(w.commits, commit)
			for _, change := range commit.Changes {
				if change.Status.Name == until {
					return nil
				}
			}
		}
		if !errors.Is(ended, customstatus.ErrCompacted) {
			return fmt.Errorf("watch ended: %w", ended)
		}
		page, err := c.List(customstatus.Query{})
		if err != nil {
			return err
		}
		w.gaps[len(w.commits)] = page
		after = page.Revision
		if slices.ContainsFunc(page.Statuses, func(s customstatus.CustomUserStatus) bool { return s.Name == until }) {
			return nil
		}
	}
}

// replay returns what the catalog held at each revision that the watcher knows
// of, or why what it saw cannot have been the commits in their order.
func (w *watcher) replay() (at map[customstatus.Revision]customstatus.Page, err error) {
	at = map[customstatus.Revision]customstatus.Page{w.start.Revision: w.start}
	now := w.start
	for i := 0; ; i++ {
		if page, gap := w.gaps[i]; gap {
			if page.Revision < now.Revision {
				return nil, fmt.Errorf("after a gap, revision %d follows %d", page.Revision, now.Revision)
			}
			now = page
			at[now.Revision] = now
		}
		if i == len(w.commits) {
			return at, nil
		}
		if now, err = apply(now, w.commits[i]); err != nil {
			return nil, err
		}
		at[now.Revision] = now
	}
}

// apply returns the page that a commit makes of one.
func apply(p customstatus.Page, c customstatus.Commit) (customstatus.Page, error) {
	if c.Revision <= p.Revision {
		return p, fmt.Errorf("revision %d follows %d", c.Revision, p.Revision)
	}
	if len(c.Changes) == 0 {
		return p, fmt.Errorf("revision %d changes nothing", c.Revision)
	}
	s := state{statuses: p.Statuses}
	for _, change := range c.Changes {
		t := change.Status
		at := s.byID(t.ID)
		var old customstatus.CustomUserStatus
		if at >= 0 {
			old = s.statuses[at]
		}
		switch {
		case change.Replaces != old.Revision:
			return p, fmt.Errorf("revision %d replaces %q of revision %d, which is of %d", c.Revision, t.ID, change.Replaces, old.Revision)
		case change.Deleted && t != old:
			return p, fmt.Errorf("revision %d deletes %v as %v", c.Revision, old, t)
		case change.Deleted:
			s = s.without(at)
			continue
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
	return customstatus.Page{Statuses: s.statuses, Total: len(s.statuses), Revision: c.Revision}, nil
}

// ofSeveral reports whether several writes share the commit. Each changes one
// status, but for imports.
func ofSeveral(commit customstatus.Commit) bool {
	writes := make(map[string]bool)
	for _, c := range commit.Changes {
		write := c.Status.ID
		if c.Created() && strings.HasPrefix(write, importedID) {
			write = write[:strings.LastIndexByte(write, '-')]
		}
		writes[write] = true
	}
	return len(writes) > 1
}

// account says which change nobody has made, and which write that was
// acknowledged is in no commit; where the watcher has gaps, it may be missing.
func account(ops []porcupine.Operation, w *watcher) error {
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
		s := c.Status
		if c.Deleted && deletes[s.ID] > 0 {
			deletes[s.ID]--
			return true
		}
		if !c.Deleted && puts[s] {
			delete(puts, s)
			return true
		}
		imported := s
		imported.Revision = 0
		if _, ok := imports[imported]; ok && c.Created() {
			imports[imported] = true
			return true
		}
		i := slices.IndexFunc(maybe, func(op operation) bool { return op.explains(c) })
		if i >= 0 && maybe[i].kind != bulk { // which may make several
			maybe = slices.Delete(maybe, i, i+1)
		}
		return i >= 0
	}
	for _, commit := range w.commits {
		for _, change := range commit.Changes {
			if change.Status.Name != lastName && !explained(change) {
				return fmt.Errorf("nobody made the change %+v of revision %d", change, commit.Revision)
			}
		}
	}
	if len(w.gaps) > 0 {
		return nil
	}
	for s := range puts {
		return fmt.Errorf("no commit has %+v, which was acknowledged", s)
	}
	for id, n := range deletes {
		if n > 0 {
			return fmt.Errorf("no commit deletes %q, which was acknowledged", id)
		}
	}
	for s, seen := range imports {
		if !seen {
			return fmt.Errorf("no commit has %+v, which was imported", s)
		}
	}
	return nil
}

// explains reports whether the operation can have made the change.
func (op operation) explains(c customstatus.Change) bool {
	s := c.Status
	switch op.kind {
	case create:
		return c.Created() && s.Name == op.name && s.StatusType == op.statusType
	case update:
		return c.Replaces != 0 && !c.Deleted && s.ID == op.id && s.Name == op.name && s.StatusType == op.statusType
	case remove:
		return c.Deleted && s.ID == op.id
	case bulk:
		return c.Created() && slices.ContainsFunc(op.statuses, func(t customstatus.CustomUserStatus) bool {
			t.Revision = s.Revision
			return t == s
		})
	}
	return false
}

// localReads says which page, of those that were read without Sync, shows what
// its catalog never held or an older revision than was known there already.
func (h *history) localReads(at map[customstatus.Revision]customstatus.Page) error {
	for _, l := range h.local {
		if held, known := at[l.page.Revision]; known {
			if want := query(held, l.query); want.Total != l.page.Total || !slices.Equal(want.Statuses, l.page.Statuses) {
				return fmt.Errorf("a page of revision %d shows %v, the catalog held %v", l.page.Revision, l.page, want)
			}
		}
		least := customstatus.Revision(0)
		for _, k := range h.known {
			if k.catalog == l.catalog && k.at < l.call {
				least = max(least, k.revision)
			}
		}
		if l.page.Revision < least {
			return fmt.Errorf("catalog %d shows revision %d after %d", l.catalog, l.page.Revision, least)
		}
	}
	return nil
}
