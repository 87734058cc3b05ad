package storetest

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/customstatus/customstatus"
)

// sharedly returns an Opener of a SharedMemory with the given flaw. An empty
// flaw is none.
func sharedly(flaw string) Opener {
	p := &sharedPlace{SharedMemory: NewSharedMemory(), flaw: flaw}
	return SharedOpener(func() (customstatus.SharedStore, error) {
		s := &sharedStore{SharedMemoryStore: p.Open(), place: p, second: p.opened > 0}
		if p.open.Load() > 0 && s.is("can't be opened twice") {
			return nil, customstatus.ErrLocked
		}
		p.opened++
		p.open.Add(1)
		if s.second {
			var err error
			if s.cache, err = s.SharedMemoryStore.Load(context.Background()); err != nil {
				return nil, err
			}
		}
		return s, nil
	}).opener()
}

// sharedPlace is the state that the stores of one Opener share.
type sharedPlace struct {
	*SharedMemory
	flaw   string
	opened int          // number of stores ever opened
	open   atomic.Int32 // number of stores open now

	mu      sync.Mutex
	ghosts  []customstatus.Commit                           // refused, but for the feed
	handed  map[customstatus.Revision][]customstatus.Change // slices that were given away
	oldest  customstatus.Revision                           // forgotten
	running sync.WaitGroup                                  // loops over feeds
	bodies  sync.RWMutex                                    // held for reading while the body of a loop runs
	turn    sync.Mutex                                      // to run the body of a loop
}

type sharedStore struct {
	*SharedMemoryStore
	place  *sharedPlace
	second bool
	once   sync.Once

	cache customstatus.Contents // when the store was opened

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

func (s *sharedStore) Load(ctx context.Context) (customstatus.Contents, error) {
	if s.second && s.is("loads what was there when it was opened") {
		return s.cache, nil
	}
	if s.is("waits at Load for the bodies of loops") {
		s.place.waitForBodies()
	}
	all, err := s.SharedMemoryStore.Load(ctx)
	switch s.place.flaw {
	case "says that it is not shared":
		all.Shared = false
	case "counts what its feed doesn't tell", "loads a revision that its feed doesn't tell":
		all.Revision++
	}
	return all, err
}

func (s *sharedStore) Revision(ctx context.Context) (customstatus.Revision, error) {
	if s.second && s.is("has a revision of its own") {
		return s.cache.Revision, nil
	}
	if s.is("waits at Revision for the bodies of loops") {
		s.place.waitForBodies()
	}
	revision, err := s.SharedMemoryStore.Revision(ctx)
	if s.is("counts what its feed doesn't tell") {
		revision++
	}
	return revision, err
}

func (s *sharedStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if s.second && s.is("commits for itself alone") {
		return s.SharedMemoryStore.Revision(ctx)
	}
	revision, err := s.SharedMemoryStore.Commit(ctx, changes)
	if s.is("waits at Commit for the bodies of loops") {
		s.place.waitForBodies()
	}
	switch {
	case err != nil && s.second && s.is("says that it committed when it lost"):
		return s.SharedMemoryStore.Revision(ctx)
	case err != nil && s.is("yields refused commits"):
		now, _ := s.SharedMemoryStore.Revision(context.Background())
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

// now returns the revision of the place.
func (s *sharedStore) now() customstatus.Revision {
	now, _ := s.place.Open().Revision(context.Background())
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

// onwards returns a feed whose loops share one position.
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
		case "begins without a word":
			if len(c.Changes) == 0 {
				continue
			}
		case "begins where the store is":
			if len(c.Changes) == 0 {
				out[0].Revision = s.now()
			}
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
			if len(c.Changes) == 0 {
				break
			}
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
			slices.SortFunc(c.Changes, func(a, b customstatus.Change) int { return strings.Compare(a.ID(), b.ID()) })
		case "yields deletes after all other changes":
			slices.SortStableFunc(c.Changes, func(a, b customstatus.Change) int {
				switch {
				case (a.Kind == customstatus.Deleted) == (b.Kind == customstatus.Deleted):
					return 0
				case a.Kind == customstatus.Deleted:
					return 1
				}
				return -1
			})
		case "doesn't know what a change replaces":
			for i := range c.Changes {
				c.Changes[i].Before.Revision = 0
			}
		case "doesn't tell whose the change is":
			for i := range c.Changes {
				c.Changes[i].Before.ID = ""
			}
		case "tells updates for creates":
			for i := range c.Changes {
				if c.Changes[i].Kind == customstatus.Created {
					c.Changes[i].Kind = customstatus.Updated
				}
			}
		case "tells of a delete what was there as After":
			for i := range c.Changes {
				if c.Changes[i].Kind == customstatus.Deleted {
					c.Changes[i].After = c.Changes[i].Before
				}
			}
		case "makes metadata valid UTF-8 in the feed":
			for i := range c.Changes {
				c.Changes[i].After.Metadata = strings.ToValidUTF8(c.Changes[i].After.Metadata, "?")
			}
		case "has a fingerprint of the changes alone":
			c.FingerprintKnown = true
			for _, change := range c.Changes {
				c.Fingerprint += change.After.Fingerprint()
			}
			out[0] = c
		case "tells a fingerprint that is none with progress":
			out = append(out, customstatus.Commit{Revision: c.Revision, FingerprintKnown: true})
		case "trims names in the feed":
			for i := range c.Changes {
				c.Changes[i].After.Name = strings.TrimSpace(c.Changes[i].After.Name)
			}
		case "doesn't tell the revision in the feed":
			for i := range c.Changes {
				c.Changes[i].After.Revision = 0
			}
		case "says too early that all were yielded":
			out = []customstatus.Commit{{Revision: c.Revision}, c}
		case "says often that all were yielded": // this is none
			if len(c.Changes) > 0 {
				out = []customstatus.Commit{{Revision: c.Revision - 1}, {}, c, {Revision: c.Revision}, {Revision: c.Revision + 1}}
			}
		case "tells Before in full": // nor is this
			for i := range c.Changes {
				if b := &c.Changes[i].Before; b.ID != "" {
					revision := b.Revision
					*b = status(b.ID, "what it was")
					b.Revision = revision
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
		caughtUp := c.Revision == s.now() // before the watcher goes on
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
