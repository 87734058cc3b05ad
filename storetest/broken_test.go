package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/customstatus/customstatus"
)

// simple is a store that keeps the contract, unless its place has a flaw. The
// flaws are named by what they do; each is one condition in the code below.
type simple struct {
	place  *simplePlace
	closed bool
	cache  []customstatus.CustomUserStatus
}

// simplePlace outlives the stores on it.
type simplePlace struct {
	flaw     string
	mu       sync.Mutex
	now      state
	before   state // the commit before
	latest   []customstatus.Change
	tombs    map[string]bool
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

// simply returns an Opener of a place with a flaw, or with none if it is empty.
func simply(flaw string) Opener {
	p := &simplePlace{flaw: flaw, tombs: make(map[string]bool)}
	p.now = state{0, make(map[string]*customstatus.CustomUserStatus), make(map[string]string)}
	if flaw == "begins at revision 1" {
		p.now.revision = 1
	}
	return p.open
}

func (p *simplePlace) open() (customstatus.Store, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened++; p.opened > 1 {
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
				if old := p.before.statuses[c.Status.ID]; c.Deleted {
					p.now.statuses[c.Status.ID] = old
				}
			}
		case "forgets the last renames when reopened":
			for _, c := range p.latest {
				if old := p.before.statuses[c.Status.ID]; old != nil && !c.Deleted {
					p.now.statuses[c.Status.ID] = old
				}
			}
		case "forgets the names when reopened":
			clear(p.now.names)
		case "takes the revision from the statuses when reopened":
			p.now.revision = 0
			for _, s := range p.now.statuses {
				p.now.revision = max(p.now.revision, s.Revision)
			}
		}
	}
	return &simple{place: p}, nil
}

func (s *simple) is(flaw string) bool { return s.place.flaw == flaw }

func (s *simple) Load(ctx context.Context) ([]customstatus.CustomUserStatus, customstatus.Revision, error) {
	p := s.place
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.closed && !s.is("loads after Close") {
		return nil, 0, customstatus.ErrClosed
	}
	if err := ctx.Err(); err != nil && !s.is("loads with a done ctx") {
		return nil, 0, err
	}
	now := p.now
	if s.is("loads what was there before the last commit") && p.before.statuses != nil {
		now = p.before
	}
	all := make([]customstatus.CustomUserStatus, 0, len(now.statuses))
	for _, status := range now.statuses {
		all = append(all, *status)
	}
	switch p.flaw {
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
			all = all[1:]
		}
	}
	return all, now.revision, nil
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

	if s.closed && !s.is("commits after Close") {
		if s.is("has an error of its own after Close") {
			return 0, errors.New("simple: database not open")
		}
		return 0, customstatus.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		switch p.flaw {
		case "commits with a done ctx":
		case "commits with a done ctx and returns its error":
			if next, err := s.apply(p.now.clone(), changes, true); err == nil {
				p.now = next
			}
			return 0, err
		default:
			return 0, err
		}
	}
	if len(changes) == 0 {
		if s.is("counts a commit without changes") {
			p.now.revision++
		}
		return p.now.revision, nil
	}
	if s.is("refuses more than 1,000 changes") && len(changes) > 1000 {
		return 0, errors.New("simple: transaction too large")
	}
	switch byID := func(a, b customstatus.Change) int { return strings.Compare(a.Status.ID, b.Status.ID) }; p.flaw {
	case "sorts the slice that it is given":
		slices.SortFunc(changes, byID)
	case "sets revisions in the slice that it is given":
		for i := range changes {
			changes[i].Status.Revision = p.now.revision + 1
		}
	case "clears deletes in the slice that it is given":
		for i, c := range changes {
			if c.Deleted {
				changes[i].Status = customstatus.CustomUserStatus{ID: c.Status.ID}
			}
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
	if s.is("gives up after the commit when ctx is done") {
		letOthersIn(ctx)
		if ctx.Err() != nil {
			p.now = next
			return 0, ctx.Err()
		}
	}
	if s.is("says that it committed when ctx was done") {
		letOthersIn(ctx)
		if ctx.Err() != nil {
			p.now.revision++
			return p.now.revision, nil
		}
	}
	if s.is("can't know what came of a commit when ctx is done") { // this is none
		letOthersIn(ctx)
		if ctx.Err() != nil {
			if next.revision%2 == 0 {
				p.now = next
			}
			return 0, fmt.Errorf("simple: %w: %w", customstatus.ErrOutcomeUnknown, ctx.Err())
		}
	}
	p.before, p.now, p.latest = p.now, next, slices.Clone(changes)
	s.cache = nil
	return p.now.revision, nil
}

// letOthersIn gives goroutines that are ready the time to run, if need be until
// one of them has cancelled ctx. It blocks: a goroutine that only yields may be
// run again at once while the others wait for a processor that is busy.
func letOthersIn(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Millisecond):
	}
}

func (s *simple) nothingNew(changes []customstatus.Change) bool {
	for _, c := range changes {
		old := s.place.now.statuses[c.Status.ID]
		if c.Deleted || old == nil || old.Name != c.Status.Name {
			return false
		}
	}
	return true
}

// apply makes changes to st. If it refuses them, those before the bad one are
// made. It refuses nothing if it is not to check.
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
		id := c.Status.ID
		key := id
		if s.is("folds ids") {
			key = strings.ToLower(id)
		}
		old := st.statuses[key]
		if seen[key] {
			if s.is("says conflict when an id stands twice") {
				return st, customstatus.ErrConflict
			}
			if !s.is("takes an id twice") {
				return st, errors.New("simple: id twice")
			}
		}
		seen[key] = true

		var at customstatus.Revision
		if old != nil {
			at = old.Revision
		}
		ok := c.Replaces == at
		switch p.flaw {
		case "creates over what is there":
			ok = ok || c.Replaces == 0
		case "updates whatever the revision":
			ok = ok || old != nil && c.Replaces > 0 && !c.Deleted
		case "updates what isn't there":
			ok = ok || old == nil && !c.Deleted
		case "deletes whatever the revision":
			ok = ok || c.Deleted
		case "takes the store's revision for the status's":
			ok = ok || old != nil && c.Replaces == start.revision
		case "takes an id twice":
			ok = ok || seen[key]
		case "never lets an id come back":
			ok = ok && !(c.Replaces == 0 && p.tombs[id])
		case "takes a revision of an earlier life":
			ok = ok || old != nil && p.tombs[id] && c.Replaces > 0 && c.Replaces < at
		}
		if check && !ok {
			return st, customstatus.ErrConflict
		}
		if c.Deleted {
			if old != nil {
				switch p.flaw {
				case "never frees the name of what is deleted":
				case "frees the name that the change says":
					delete(st.names, c.Status.Name)
				default:
					delete(st.names, s.nameKey(old.Name))
				}
			}
			delete(st.statuses, key)
			p.tombs[id] = true
			continue
		}

		name := s.nameKey(c.Status.Name)
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
			taken = taken && c.Replaces == 0
		}
		if check && taken && owner != id {
			return st, customstatus.ErrConflict
		}
		if old != nil && s.nameKey(old.Name) != name && !s.is("never frees the name of what is renamed") {
			delete(st.names, s.nameKey(old.Name))
		}
		st.names[name] = id

		status := &c.Status
		if s.is("keeps the slice it is given") {
			status = &changes[i].Status
		}
		status.UpdatedAt = status.UpdatedAt.UTC()
		if !s.is("keeps the revision it is given") || status.Revision == 0 {
			status.Revision = st.revision
		}
		switch p.flaw {
		case "keeps the revision of the create":
			if old != nil {
				status.Revision = old.Revision
			}
		case "cuts times to seconds":
			status.UpdatedAt = status.UpdatedAt.Truncate(time.Second)
		case "folds ids":
			status.ID = key
		case "trims names":
			status.Name = strings.TrimSpace(status.Name)
		case "takes no status type for offline":
			if status.StatusType == "" {
				status.StatusType = customstatus.Offline
			}
		}
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

// nameKey is what a name is looked up by.
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

func (s *simple) Close() error {
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	if s.closed {
		if s.is("can't be closed twice") {
			return customstatus.ErrClosed
		}
		return nil
	}
	s.closed = true
	if s.is("loses the last commit at Close") && s.place.before.statuses != nil {
		s.place.now = s.place.before
	}
	return nil
}

// sharedly returns an Opener of a SharedMemory with a flaw, or with none if it
// is empty.
func sharedly(flaw string) Opener {
	p := &sharedPlace{SharedMemory: customstatus.NewSharedMemory(), flaw: flaw}
	return func() (customstatus.Store, error) {
		s := &sharedStore{SharedMemoryStore: p.Open(), place: p, second: p.opened > 0}
		if p.open.Load() > 0 && s.is("can't be opened twice") {
			return nil, customstatus.ErrLocked
		}
		p.opened++
		p.open.Add(1)
		if s.second && s.is("is another kind of store when opened twice") {
			return struct{ customstatus.Store }{s}, nil
		}
		if s.second {
			var err error
			if s.cache, s.cached, err = s.SharedMemoryStore.Load(context.Background()); err != nil {
				return nil, err
			}
		}
		return s, nil
	}
}

// sharedPlace is what the stores of one Opener have in common.
type sharedPlace struct {
	*customstatus.SharedMemory
	flaw   string
	opened int          // stores ever
	open   atomic.Int32 // stores now

	mu      sync.Mutex
	ghosts  []customstatus.Commit                           // refused, but for the feed
	handed  map[customstatus.Revision][]customstatus.Change // slices that were given away
	oldest  customstatus.Revision                           // forgotten
	running sync.WaitGroup                                  // loops over feeds
	bodies  sync.RWMutex                                    // held for reading while the body of a loop runs
	turn    sync.Mutex                                      // to run the body of a loop
}

type sharedStore struct {
	*customstatus.SharedMemoryStore
	place  *sharedPlace
	second bool
	once   sync.Once

	cache  []customstatus.CustomUserStatus // when the store was opened
	cached customstatus.Revision

	mu  sync.Mutex
	own map[customstatus.Revision]bool
}

func (s *sharedStore) is(flaw string) bool { return s.place.flaw == flaw }

func (s *sharedStore) Compact(_ context.Context, upTo customstatus.Revision) error {
	if s.is("yields what is left of forgotten commits") {
		s.place.mu.Lock()
		defer s.place.mu.Unlock()
		s.place.oldest = upTo
		return nil
	}
	s.place.SharedMemory.Compact(upTo)
	return nil
}

func (s *sharedStore) Load(ctx context.Context) ([]customstatus.CustomUserStatus, customstatus.Revision, error) {
	if s.second && s.is("loads what was there when it was opened") {
		return s.cache, s.cached, nil
	}
	if s.is("waits at Load for the bodies of loops") {
		s.place.waitForBodies()
	}
	return s.SharedMemoryStore.Load(ctx)
}

func (s *sharedStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if s.second && len(changes) == 0 && s.is("has a revision of its own for empty commits") {
		return s.cached, nil
	}
	if len(changes) == 0 && s.is("counts what its feed doesn't tell") {
		revision, err := s.SharedMemoryStore.Commit(ctx, nil)
		return revision + 1, err
	}
	if s.second && s.is("commits for itself alone") {
		return s.SharedMemoryStore.Commit(ctx, nil)
	}
	revision, err := s.SharedMemoryStore.Commit(ctx, changes)
	if s.is("waits at Commit for the bodies of loops") {
		s.place.waitForBodies()
	}
	switch {
	case err != nil && s.second && s.is("says that it committed when it lost"):
		return s.SharedMemoryStore.Commit(ctx, nil)
	case err != nil && s.is("yields refused commits"):
		now, _ := s.SharedMemoryStore.Commit(context.Background(), nil)
		s.place.mu.Lock()
		defer s.place.mu.Unlock()
		s.place.ghosts = append(s.place.ghosts, customstatus.Commit{Revision: now + 1, Changes: changes})
	case err == nil:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.own == nil {
			s.own = make(map[customstatus.Revision]bool)
		}
		s.own[revision] = true
	}
	return revision, err
}

func (s *sharedStore) Close() error {
	err := s.SharedMemoryStore.Close()
	s.once.Do(func() { s.place.open.Add(-1) })
	if s.is("waits at Close for loops that were left") {
		s.place.running.Wait()
	}
	if s.is("waits at Close for the bodies of loops") {
		s.place.waitForBodies()
	}
	return err
}

func (p *sharedPlace) waitForBodies() {
	p.bodies.Lock()
	defer p.bodies.Unlock()
}

// now is the revision of the place.
func (s *sharedStore) now() customstatus.Revision {
	_, now, _ := s.place.Open().Load(context.Background())
	return now
}

func (s *sharedStore) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	if s.is("doesn't heed ctx in Watch") {
		ctx = context.Background()
	}
	inner := s.SharedMemoryStore.Watch(ctx, after)
	switch s.place.flaw {
	case "resumes with the commit it resumes after":
		inner = s.SharedMemoryStore.Watch(ctx, max(after, 2)-2)
	case "resumes one commit too late":
		inner = s.SharedMemoryStore.Watch(ctx, after+2)
	case "waits for a revision that it has never reached", "begins anywhere when it has never reached the revision":
		inner = s.SharedMemoryStore.Watch(ctx, min(after, s.now()))
	case "takes the last revision for one that it has never reached":
		if after > 0 && after == s.now() {
			inner = s.SharedMemoryStore.Watch(ctx, math.MaxUint64)
		}
	case "has reached no revision but its own":
		s.mu.Lock()
		if after > 0 && !s.own[after] {
			inner = s.SharedMemoryStore.Watch(ctx, math.MaxUint64)
		}
		s.mu.Unlock()
	case "goes on in a second loop where the first has left off":
		return s.onwards(ctx, after)
	}
	return func(yield func(customstatus.Commit, error) bool) {
		s.place.running.Add(1)
		s.watch(ctx, after, inner, yield)
		s.place.running.Done()
	}
}

// onwards is a feed with one position for all its loops.
func (s *sharedStore) onwards(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	var mu sync.Mutex
	return func(yield func(customstatus.Commit, error) bool) {
		mu.Lock()
		from := after
		mu.Unlock()
		for c, err := range s.SharedMemoryStore.Watch(ctx, from) {
			mu.Lock()
			after = max(after, c.Revision)
			mu.Unlock()
			if !yield(c, err) {
				return
			}
		}
	}
}

func (s *sharedStore) watch(ctx context.Context, after customstatus.Revision, inner iter.Seq2[customstatus.Commit, error], yield func(customstatus.Commit, error) bool) {
	p := s.place
	var held *customstatus.Commit
	var dropped customstatus.Revision
	for c, err := range inner {
		if err != nil {
			switch p.flaw {
			case "ends a feed without an error":
			case "ends a feed with two errors":
				if yield(customstatus.Commit{}, err) {
					yield(customstatus.Commit{}, err)
				}
			case "ends a feed with an error of its own":
				yield(customstatus.Commit{}, errors.New("simple: watch cancelled"))
			default:
				yield(customstatus.Commit{}, err)
			}
			return
		}
		out := []customstatus.Commit{c}
		switch p.flaw {
		case "has nothing to say":
			continue
		case "loses every second commit":
			if c.Revision%4 == 0 {
				continue
			}
		case "yields every commit twice":
			out = append(out, c)
		case "yields only its own commits":
			s.mu.Lock()
			own := s.own[c.Revision]
			s.mu.Unlock()
			if !own {
				continue
			}
		case "swaps commits":
			if held == nil {
				held = &c
				continue
			}
			out, held = []customstatus.Commit{c, *held}, nil
		case "splits commits":
			if n := len(c.Changes) / 2; n > 0 {
				out = []customstatus.Commit{{Revision: c.Revision, Changes: c.Changes[:n]}, {Revision: c.Revision, Changes: c.Changes[n:]}}
			}
		case "splits commits of more than 1,000 changes":
			out = nil
			for part := range slices.Chunk(c.Changes, 1000) {
				out = append(out, customstatus.Commit{Revision: c.Revision, Changes: part})
			}
		case "waits for a revision that it has never reached":
			if c.Revision <= after {
				continue
			}
		case "keeps no more than some commits for a slow watcher":
			if c.Revision <= dropped {
				continue
			}
		case "sorts the changes of its feed":
			slices.SortFunc(c.Changes, func(a, b customstatus.Change) int { return strings.Compare(a.Status.ID, b.Status.ID) })
		case "yields deletes after all other changes":
			slices.SortStableFunc(c.Changes, func(a, b customstatus.Change) int {
				switch {
				case a.Deleted == b.Deleted:
					return 0
				case a.Deleted:
					return 1
				}
				return -1
			})
		case "doesn't know what a change replaces":
			for i := range c.Changes {
				c.Changes[i].Replaces = 0
			}
		case "doesn't tell deletes":
			for i := range c.Changes {
				c.Changes[i].Deleted = false
			}
		case "trims names in the feed":
			for i := range c.Changes {
				c.Changes[i].Status.Name = strings.TrimSpace(c.Changes[i].Status.Name)
			}
		case "doesn't tell the revision in the feed":
			for i := range c.Changes {
				c.Changes[i].Status.Revision = 0
			}
		case "says too early that all were yielded":
			out = []customstatus.Commit{{Revision: c.Revision}, c}
		case "says often that all were yielded": // this is none
			out = []customstatus.Commit{{Revision: c.Revision - 1}, {}, c, {Revision: c.Revision}, {Revision: c.Revision + 1}}
		case "tells deletes in full": // nor is this
			for i := range c.Changes {
				if c.Changes[i].Deleted {
					c.Changes[i].Status = status(c.Changes[i].Status.ID, "what it was")
				}
			}
		case "yields refused commits":
			p.mu.Lock()
			for _, g := range p.ghosts {
				if g.Revision < c.Revision {
					out = slices.Insert(out, 0, g)
				}
			}
			p.mu.Unlock()
		case "gives away the changes of its feed":
			p.mu.Lock()
			if p.handed == nil {
				p.handed = make(map[customstatus.Revision][]customstatus.Change)
			}
			if p.handed[c.Revision] == nil {
				p.handed[c.Revision] = c.Changes
			}
			out[0].Changes = p.handed[c.Revision]
			p.mu.Unlock()
		case "yields what is left of forgotten commits":
			p.mu.Lock()
			forgotten := c.Revision <= p.oldest
			p.mu.Unlock()
			if forgotten {
				continue
			}
		}
		caughtUp := c.Revision == s.now() // before whoever watches goes on
		for _, c := range out {
			if !s.body(yield, c) {
				if s.is("waits at Close for loops that were left") {
					p.running.Add(1)
				}
				return
			}
		}
		switch p.flaw {
		case "ends a feed when it has caught up":
			if caughtUp {
				return
			}
		case "keeps no more than some commits for a slow watcher":
			if now := s.now(); now > c.Revision+64 {
				dropped = now - 64
			}
		}
	}
}

// body runs the body of a loop over a feed.
func (s *sharedStore) body(yield func(customstatus.Commit, error) bool, c customstatus.Commit) bool {
	p := s.place
	p.bodies.RLock()
	defer p.bodies.RUnlock()
	if s.is("runs the body of one loop at a time") {
		p.turn.Lock()
		defer p.turn.Unlock()
	}
	return yield(c, nil)
}
