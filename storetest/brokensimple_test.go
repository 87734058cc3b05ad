package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/customstatus/customstatus"
)

// simple is an exclusive store that keeps the contract, unless its place has a
// flaw. The name of a flaw says what the store does wrong; each flaw is one
// condition in the code below.
type simple struct {
	place  *simplePlace
	closed atomic.Bool
	cache  []customstatus.CustomUserStatus
}

// simplePlace is the place of a simple store and outlives the store.
type simplePlace struct {
	flaw     string
	mu       sync.Mutex
	now      state
	before   state // the commit before
	latest   []customstatus.Change
	flips    *state // what the second Load from now finds
	tombs    map[string]bool
	doubtful []customstatus.Change // of commits with an unknown outcome
	open     bool
	opened   int
	failures int
}

type state struct {
	revision customstatus.Revision
	statuses map[string]*customstatus.CustomUserStatus
	names    map[string]string // to ids
}

func (s state) clone() state {
	return state{s.revision, maps.Clone(s.statuses), maps.Clone(s.names)}
}

// simply returns an Opener of a place with the given flaw. An empty flaw is
// none.
func simply(flaw string) Opener {
	p := &simplePlace{flaw: flaw, tombs: make(map[string]bool)}
	p.now = state{0, make(map[string]*customstatus.CustomUserStatus), make(map[string]string)}
	if flaw == "begins at revision 1" {
		p.now.revision = 1
	}
	return p.openStore
}

func (p *simplePlace) openStore() (customstatus.Store, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		switch p.flaw {
		case "can be opened twice":
		case "has an error of its own when it is open already":
			return nil, errors.New("simple: timeout")
		case "waits until it can be opened":
			select {}
		case "is harmed by a second opening":
			clear(p.now.statuses)
			return nil, customstatus.ErrLocked
		default:
			return nil, customstatus.ErrLocked
		}
	}
	p.open = true
	if p.opened++; p.opened > 1 {
		p.reopened()
	}
	return &simple{place: p}, nil
}

// reopened applies the flaws of a second or later opening.
func (p *simplePlace) reopened() {
	switch p.flaw {
	case "counts an opening as a commit":
		p.now.revision++
	case "forgets everything when reopened":
		clear(p.now.statuses)
	case "forgets the milliseconds when reopened":
		for id, s := range p.now.statuses {
			c := *s
			c.UpdatedAt = c.UpdatedAt.Truncate(time.Second)
			p.now.statuses[id] = &c
		}
	case "forgets the last deletes when reopened":
		for _, c := range p.latest {
			if c.Kind == customstatus.Deleted {
				p.now.statuses[c.ID()] = p.before.statuses[c.ID()]
			}
		}
	case "forgets the last renames when reopened":
		for _, c := range p.latest {
			if c.Kind == customstatus.Updated {
				p.now.statuses[c.ID()] = p.before.statuses[c.ID()]
			}
		}
	case "forgets the names when reopened":
		clear(p.now.names)
	case "finds a commit of unknown outcome when reopened":
		for _, c := range p.doubtful {
			p.now.statuses[c.ID()] = &c.After
		}
	case "loses a commit of unknown outcome when reopened":
		for _, c := range p.doubtful {
			delete(p.now.statuses, c.ID())
		}
	case "takes the revision from the statuses when reopened":
		p.now.revision = 0
		for _, s := range p.now.statuses {
			p.now.revision = max(p.now.revision, s.Revision)
		}
	}
}

func (s *simple) is(flaw string) bool { return s.place.flaw == flaw }

// ready returns nil if a method may begin, or else the error to return.
func (s *simple) ready(ctx context.Context, method string) error {
	if s.is("asks ctx before whether it is closed") && ctx.Err() != nil {
		return ctx.Err()
	}
	if s.closed.Load() && !s.is(method+"s after Close") {
		if s.is("has an error of its own after Close") {
			return errors.New("simple: database not open")
		}
		return customstatus.ErrClosed
	}
	if err := ctx.Err(); err != nil && !s.is(method+"s with a done ctx") {
		return err
	}
	return nil
}

func (s *simple) Load(ctx context.Context) (customstatus.Contents, error) {
	p := s.place
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := s.ready(ctx, "load"); err != nil {
		return customstatus.Contents{}, err
	}
	now := p.now
	if s.is("loads what was there before the last commit") && p.before.statuses != nil {
		now = p.before
	}
	if p.flips != nil {
		p.now, p.flips = *p.flips, nil
	}
	all := make([]customstatus.CustomUserStatus, 0, len(now.statuses))
	var sum customstatus.Fingerprint
	for _, status := range now.statuses {
		all = append(all, *status)
		sum += status.Fingerprint()
	}
	contents := customstatus.Contents{Revision: now.revision, Fingerprint: sum, FingerprintKnown: true}
	switch p.flaw {
	case "hangs at Load":
		select {}
	case "panics at Load":
		panic("a nil map, say")
	case "gives away the slice it keeps":
		if s.cache == nil {
			s.cache = all
		}
		all = s.cache
	case "loads times in the local zone":
		for i := range all {
			all[i].UpdatedAt = all[i].UpdatedAt.In(time.FixedZone("local", 3600))
		}
	case "keeps times in nanoseconds since 1970":
		for i := range all {
			all[i].UpdatedAt = time.Unix(0, all[i].UpdatedAt.UnixNano()).UTC()
		}
	case "loads one status short":
		if len(all) > 2 {
			all, contents.FingerprintKnown = all[1:], false
		}
	case "says that it is shared":
		contents.Shared = true
	case "does not know the fingerprint": // this is none
		contents.Fingerprint, contents.FingerprintKnown = 0, false
	case "has a fingerprint with the revisions in it":
		contents.Fingerprint += customstatus.Fingerprint(now.revision)
	}
	contents.Statuses = all
	return contents, nil
}

func (s *simple) Revision(ctx context.Context) (customstatus.Revision, error) {
	p := s.place
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := s.ready(ctx, "tell"); err != nil {
		return 0, err
	}
	if s.is("tells the revision before the last commit") {
		return p.before.revision, nil
	}
	if s.is("counts refused commits in Revision") {
		return p.now.revision + customstatus.Revision(p.failures), nil
	}
	return p.now.revision, nil
}

func (s *simple) Close() error {
	if s.is("doesn't wait at Close") {
		s.closed.Store(true)
		s.place.open = false
		return nil
	}
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	switch s.place.flaw {
	case "hangs at Close":
		select {}
	case "stays locked after Close":
	default:
		s.place.open = s.place.open && s.closed.Load()
	}
	if s.closed.Swap(true) {
		if s.is("can't be closed twice") {
			return customstatus.ErrClosed
		}
		return nil
	}
	if s.is("fails to close") {
		return errors.New("simple: bad file descriptor")
	}
	if s.is("loses the last commit at Close") && s.place.before.statuses != nil {
		s.place.now = s.place.before
	}
	return nil
}

func (s *simple) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	p := s.place
	if s.is("checks, lets others in, and writes") {
		p.mu.Lock()
		_, err := s.apply(p.now.clone(), changes, true)
		p.mu.Unlock()
		if err != nil {
			return 0, err
		}
		letOthersIn(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.now, err = s.apply(p.now, changes, false)
		return p.now.revision, err
	}
	if s.is("is busy while another commits") {
		if !p.mu.TryLock() {
			return 0, errors.New("busy")
		}
		defer p.mu.Unlock()
		letOthersIn(ctx)
	} else {
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	if s.is("hangs at the third commit") && p.now.revision == 2 {
		select {}
	}

	if s.is("looks for conflicts before ctx") {
		if _, err := s.apply(p.now.clone(), changes, true); errors.Is(err, customstatus.ErrConflict) && !s.closed.Load() {
			return 0, err
		}
	}
	if err := s.ready(ctx, "commit"); err != nil {
		if s.is("commits with a done ctx and returns its error") && !s.closed.Load() {
			if next, err := s.apply(p.now.clone(), changes, true); err == nil {
				p.now = next
			}
		}
		return 0, err
	}
	if err := s.refused(changes); err != nil {
		return 0, err
	}
	if len(changes) == 0 { // it has a flaw
		if s.is("counts a commit without changes") {
			p.now.revision++
		}
		return p.now.revision, nil
	}
	switch byID := func(a, b customstatus.Change) int { return strings.Compare(a.ID(), b.ID()) }; p.flaw {
	case "sorts the slice that it is given":
		slices.SortFunc(changes, byID)
	case "sets revisions in the slice that it is given":
		for i := range changes {
			changes[i].After.Revision = p.now.revision + 1
		}
	case "clears Before in the slice that it is given":
		for i := range changes {
			changes[i].Before.Name = ""
		}
	}
	if s.is("doesn't commit what is there already") && s.nothingNew(changes) {
		return p.now.revision, nil
	}
	if s.is("never commits again after a refusal") && p.failures > 0 {
		return 0, customstatus.ErrNeedsReopen
	}

	if s.is("shows a commit change by change") {
		for _, c := range changes {
			p.mu.Unlock()
			letOthersIn(ctx)
			p.mu.Lock()
			next, err := s.apply(p.now.clone(), []customstatus.Change{c}, true)
			if err != nil {
				return 0, err
			}
			next.revision = p.now.revision // until the last
			p.now = next
		}
		p.now.revision++
		return p.now.revision, nil
	}

	next, err := s.apply(p.now.clone(), changes, true)
	if err != nil {
		p.failures++
		switch p.flaw {
		case "keeps the changes before a bad one":
			next.revision = p.now.revision
			p.now = next
		case "empties the slice that it refuses":
			clear(changes)
		case "takes back a revision when it refuses":
			p.now.revision--
		}
		return 0, err
	}
	if revision, err, over := s.interrupted(ctx, changes, next); over {
		return revision, err
	}
	p.before, p.now, p.latest = p.now, next, slices.Clone(changes)
	s.cache = nil
	return p.now.revision, nil
}

// interrupted applies the flaws of a commit whose ctx is done during the
// commit.
func (s *simple) interrupted(ctx context.Context, changes []customstatus.Change, next state) (customstatus.Revision, error, bool) {
	p := s.place
	switch p.flaw {
	default:
		return 0, nil, false
	case "gives up after the commit when ctx is done",
		"says that it committed when ctx was done",
		"can't know what came of a commit when ctx is done", // this is none
		"finds a commit of unknown outcome later",
		"loses a commit of unknown outcome later",
		"finds a commit of unknown outcome when reopened",
		"loses a commit of unknown outcome when reopened",
		"makes a half of a commit of unknown outcome":
	}
	letOthersIn(ctx)
	if ctx.Err() == nil {
		return 0, nil, false
	}
	switch p.flaw {
	case "gives up after the commit when ctx is done":
		p.now = next
		return 0, ctx.Err(), true
	case "says that it committed when ctx was done":
		p.now.revision++
		return p.now.revision, nil, true
	case "can't know what came of a commit when ctx is done":
		if len(p.tombs)%2 == 0 {
			p.now = next
		}
		p.tombs[changes[0].ID()] = true
	case "finds a commit of unknown outcome later":
		p.flips = &next
	case "loses a commit of unknown outcome later":
		now := p.now
		p.flips, p.now = &now, next
	case "finds a commit of unknown outcome when reopened":
		p.doubtful = append(p.doubtful, changes...)
	case "loses a commit of unknown outcome when reopened":
		p.now, p.doubtful = next, append(p.doubtful, changes...)
	case "makes a half of a commit of unknown outcome":
		if half, err := s.apply(p.now.clone(), changes[:len(changes)/2], true); err == nil {
			p.now = half
		}
	}
	return 0, fmt.Errorf("simple: %w: %w", customstatus.ErrOutcomeUnknown, ctx.Err()), true
}

// letOthersIn lets other goroutines run, if necessary until one of them has
// cancelled ctx. It blocks, because a goroutine that only yields may run again
// at once while the others wait for a busy processor.
func letOthersIn(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Millisecond):
	}
}

func (s *simple) nothingNew(changes []customstatus.Change) bool {
	for _, c := range changes {
		old := s.place.now.statuses[c.ID()]
		if c.Kind == customstatus.Deleted || old == nil || old.Name != c.After.Name {
			return false
		}
	}
	return true
}

// refused returns the error for a commit that is the caller's fault or too
// large.
func (s *simple) refused(changes []customstatus.Change) error {
	large := func(most, told int) error {
		if len(changes) <= most {
			return nil
		}
		return &customstatus.TooLargeError{MaxChanges: told, Err: fmt.Errorf("%d changes", len(changes))}
	}
	if s.is("looks for duplicate ids last") {
		if err := large(1000, 1000); err != nil {
			return err
		}
		if _, err := s.apply(s.place.now.clone(), changes, true); err != nil {
			return err
		}
	}
	if s.is("looks for conflicts before it counts") {
		if _, err := s.apply(s.place.now.clone(), changes, true); errors.Is(err, customstatus.ErrConflict) && checkChanges(changes) == nil {
			return err
		}
	}
	if err := checkChanges(changes); err != nil && !s.lets(changes) {
		if s.is("says conflict when the caller is at fault") {
			return fmt.Errorf("%w: %w", customstatus.ErrConflict, err)
		}
		return err
	}
	switch s.place.flaw {
	case "refuses more than 1,000 changes": // this is none
		return large(1000, 1000)
	case "looks for conflicts before it counts":
		return large(1000, 1000)
	case "refuses more than 1,000 changes without a number":
		if large(1000, 1000) != nil {
			return customstatus.ErrTooLarge
		}
	case "refuses more than 20 changes":
		return large(20, 20)
	case "says 32 when it refuses more than 20 changes":
		return large(20, 32)
	case "refuses more than 1,000 changes and says that more would pass":
		return large(1000, 5000)
	case "makes the first 1,000 of too many changes":
		if err := large(1000, 1000); err != nil {
			if next, err := s.apply(s.place.now.clone(), changes[:1000], true); err == nil {
				s.place.now = next
			}
			return err
		}
	}
	return nil
}

// lets reports whether the flaw is to accept a commit that is the caller's
// fault.
func (s *simple) lets(changes []customstatus.Change) bool {
	switch s.place.flaw {
	case "takes an id twice", "says conflict when an id is there twice", "looks for duplicate ids last":
		return len(changes) > 0 && !slices.ContainsFunc(changes, func(c customstatus.Change) bool {
			return checkChanges([]customstatus.Change{c}) != nil
		})
	case "takes a commit without changes", "counts a commit without changes":
		return len(changes) == 0
	case "takes other kinds for updates", "turns one status into another":
		return len(changes) > 0
	}
	return false
}

// apply makes changes to st. If it refuses a change, the earlier changes are
// made. Without check, it refuses nothing.
func (s *simple) apply(st state, changes []customstatus.Change, check bool) (state, error) {
	p := s.place
	start := st.clone()
	st.revision++
	if s.is("skips a revision") {
		st.revision++
	}
	if s.is("loses the last change") && len(changes) > 1 {
		changes = changes[:len(changes)-1]
	}
	seen := make(map[string]bool)
	for i := range changes {
		c := changes[i]
		if c.Kind == customstatus.Updated && s.is("turns one status into another") {
			delete(st.statuses, c.Before.ID)
			c.Before = customstatus.CustomUserStatus{ID: c.After.ID}
		}
		id := c.ID()
		key := id
		if s.is("folds ids") {
			key = strings.ToLower(id)
		}
		old := st.statuses[key]
		if seen[key] {
			switch p.flaw {
			case "takes an id twice":
				check = false
			case "says conflict when an id is there twice":
				return st, customstatus.ErrConflict
			default:
				return st, errors.New("simple: id twice")
			}
		}
		seen[key] = true
		if check && !s.fits(c, old, start.revision) {
			return st, customstatus.ErrConflict
		}
		if c.Kind == customstatus.Deleted {
			if s.is("keeps what is deleted") {
				continue
			}
			if old != nil && !s.is("never frees the name of what is deleted") {
				delete(st.names, s.nameKey(old.Name))
			}
			delete(st.statuses, key)
			p.tombs[id] = true
			continue
		}

		name := s.nameKey(c.After.Name)
		owner, taken := st.names[name]
		switch p.flaw {
		case "doesn't know of names":
			taken = false
		case "checks names against the start of the commit":
			owner, taken = start.names[name]
		case "checks names at the end of the commit":
			taken = false
		case "doesn't check the name of the fourth change":
			taken = taken && i != 3
		case "lets no status keep its name":
			if taken && owner == id {
				owner = "another"
			}
		case "doesn't check the name of an update":
			taken = taken && c.Kind == customstatus.Created
		}
		if check && taken && owner != id {
			return st, customstatus.ErrConflict
		}
		if old != nil && s.nameKey(old.Name) != name && !s.is("never frees the name of what is renamed") {
			delete(st.names, s.nameKey(old.Name))
		}
		st.names[name] = id

		status := &c.After
		if s.is("keeps the slice it is given") {
			status = &changes[i].After
		}
		if !s.is("keeps the revision it is given") || status.Revision == 0 {
			status.Revision = st.revision
		}
		s.mangle(status, old)
		status.ID = key
		st.statuses[key] = status
	}
	if s.is("checks names at the end of the commit") {
		owners := make(map[string]bool)
		for _, status := range st.statuses {
			if owners[status.Name] {
				return st, customstatus.ErrConflict
			}
			owners[status.Name] = true
		}
	}
	return st, nil
}

// fits reports whether a change matches the current status, which is nil if
// there is none.
func (s *simple) fits(c customstatus.Change, old *customstatus.CustomUserStatus, start customstatus.Revision) bool {
	created, updated, deleted := c.Kind == customstatus.Created, c.Kind == customstatus.Updated, c.Kind == customstatus.Deleted
	var at customstatus.Revision
	if old != nil {
		at = old.Revision
	}
	ok := created && old == nil || !created && old != nil && c.Before.Revision == at
	switch guard := c.Before.Revision; s.place.flaw {
	case "creates over what is there":
		return ok || created
	case "updates whatever the revision":
		return ok || old != nil && updated
	case "updates what isn't there", "turns one status into another":
		return ok || old == nil && updated
	case "deletes whatever the revision":
		return ok || deleted
	case "deletes what isn't there":
		return ok || deleted && old == nil
	case "takes revision 0 for no guard":
		return ok || !created && old != nil && guard == 0
	case "takes a delete of nothing at revision 0 for done":
		return ok || deleted && old == nil && guard == 0
	case "takes an update of nothing at revision 0 for a create":
		return ok || updated && old == nil && guard == 0
	case "takes the store's revision for the status's":
		return ok || old != nil && guard == start
	case "never lets an id come back":
		return ok && !(created && s.place.tombs[c.ID()])
	case "takes a revision of an earlier life":
		return ok || old != nil && s.place.tombs[c.ID()] && guard > 0 && guard < at
	case "updates only what changes":
		return ok && !(updated && c.After.Name == old.Name)
	}
	return ok
}

// mangle applies the flaws of how a status is kept.
func (s *simple) mangle(status, old *customstatus.CustomUserStatus) {
	switch s.place.flaw {
	case "keeps the revision of the create":
		if old != nil {
			status.Revision = old.Revision
		}
	case "cuts times to seconds":
		status.UpdatedAt = status.UpdatedAt.Truncate(time.Second)
	case "trims names":
		status.Name = strings.TrimSpace(status.Name)
	case "takes no status type for offline":
		if status.StatusType == "" {
			status.StatusType = customstatus.Offline
		}
	case "makes metadata valid UTF-8":
		status.Metadata = strings.ToValidUTF8(status.Metadata, string(utf8.RuneError))
	case "ends metadata at a NUL":
		status.Metadata, _, _ = strings.Cut(status.Metadata, "\x00")
	case "keeps 255 bytes of metadata":
		status.Metadata = status.Metadata[:min(255, len(status.Metadata))]
	case "forgets metadata":
		status.Metadata = ""
	case "keeps the metadata of the create":
		if old != nil {
			status.Metadata = old.Metadata
		}
	}
}

// nameKey returns the key of a name in the index.
func (s *simple) nameKey(name string) string {
	switch {
	case s.is("folds names"):
		return strings.ToLower(name)
	case s.is("looks names up by their first 100 bytes"):
		return name[:min(100, len(name))]
	case s.is("takes long names for different"):
		if len(name) > 255 {
			return fmt.Sprint(name, s.place.now.revision)
		}
	}
	return name
}
