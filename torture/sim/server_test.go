package sim

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/customstatus/customstatus"
)

// state is what the server holds. It is never changed, only replaced.
type state struct {
	statuses    []customstatus.CustomUserStatus // by id
	revision    customstatus.Revision
	token       string // of the last commit
	fingerprint customstatus.Fingerprint
	markers     map[string]marker
}

// marker says what became of a commit.
type marker struct {
	revision customstatus.Revision // 0: the commit is never to be made
	expires  time.Duration
}

// entry is a commit in the server's log.
type entry struct {
	commit customstatus.Commit
	token  string // tells it from the commit of the same revision in another history
	before customstatus.Fingerprint
	after  []customstatus.CustomUserStatus
}

// request is a commit on its way.
type request struct {
	token   string
	changes []customstatus.Change
	known   position      // of a database: what the commit is planned from
	lease   int           // of a cluster
	until   time.Duration // of a database: when the commit is too late
	expires time.Duration // of the marker
}

// The server's answers to a request.
var (
	errHistory  = errors.New("the server has another history")
	errGone     = errors.New("the marker or lease may be gone")
	errAborted  = errors.New("the commit was given up")
	errRestart  = errors.New("the server has restarted")
	errNoServer = errors.New("nobody listens")
)

// server is the shared store. Its methods run at the time at which a message arrives,
// on the goroutine of the message.
type server struct {
	w    *world
	plan *plan

	mu       sync.Mutex
	now      *state
	past     []*state // that a replica may be left at
	log      []entry
	truth    []entry // the log, and what was lost of it
	kept     int     // the first entry of the log that is not compacted
	compact  customstatus.Revision
	timeline int
	floor    customstatus.Revision // of a cluster that was restored: where it goes on
	boots    int
	down     bool
	free     time.Duration // when the head row is unlocked
	drawn    customstatus.Revision
	leases   map[int]time.Duration // their ends
	leased   int
	news     chan struct{} // closed and replaced at each commit
	wakes    []*subscriber
}

// subscriber is whoever wants to be woken by commits. Wake-ups can be lost.
type subscriber struct {
	name string
	wake chan struct{}
}

func newServer(w *world) *server {
	return &server{w: w, plan: w.plan, now: &state{}, leases: make(map[int]time.Duration), news: make(chan struct{})}
}

// live returns the marker if it has not expired.
func (s *state) live(token string, now time.Duration) (marker, bool) {
	m, ok := s.markers[token]
	return m, ok && m.expires > now
}

// mark returns the state with a marker, and without those that have expired.
func (s *state) mark(token string, m marker, now time.Duration) *state {
	next := *s
	next.markers = maps.Clone(s.markers)
	if next.markers == nil {
		next.markers = make(map[string]marker)
	}
	maps.DeleteFunc(next.markers, func(_ string, m marker) bool { return m.expires <= now })
	next.markers[token] = m
	return &next
}

// commit makes the changes or refuses them.
func (s *server) commit(a *actor, r request) (customstatus.Revision, error) {
	s.mu.Lock()
	boots := s.boots
	begun := s.now
	drawn := customstatus.Revision(0)
	if s.w.flaw == sequence || s.w.flaw == gapSkipped {
		// The order of the numbers is not that of the commits.
		s.drawn = max(s.drawn, s.now.revision) + 1
		drawn = s.drawn
	}
	at := s.w.now()
	if s.plan.database && drawn == 0 && s.w.flaw != notSerialized {
		// Whoever has the lock on the head row may stop. Then the lock is taken
		// from him after a second, and his commit is lost.
		at = max(at, s.free)
		hold := a.between(100*time.Microsecond, 2*time.Millisecond)
		stops := a.chance(s.plan.stops)
		if stops {
			hold = time.Second
		}
		s.free = at + hold + 20*time.Microsecond
		s.mu.Unlock()
		_ = a.until(s.w.always, at+hold)
		if stops {
			return 0, errRestart
		}
	} else {
		s.mu.Unlock()
		_ = a.sleep(s.w.always, a.between(100*time.Microsecond, 5*time.Millisecond))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.boots != boots {
		return 0, errRestart
	}
	now := s.w.now()
	m, marked := s.now.live(r.token, now)
	if marked && s.w.flaw != guardsBeforeMarker && s.w.flaw != markerIgnored {
		if m.revision == 0 {
			return 0, errAborted
		}
		return m.revision, nil
	}
	if s.w.flaw != noLease {
		end, granted := s.leases[r.lease]
		if s.plan.database && now >= r.until || !s.plan.database && (!granted || now >= end) {
			return 0, errGone
		}
	}
	if known := r.known; s.plan.database && known.revision > 0 && s.tokenAt(known.revision) != known.token && s.w.flaw != failoverUnnoticed {
		return 0, errHistory
	}
	revision := drawn
	if revision == 0 {
		revision = s.now.revision + 1
		if !s.plan.database && a.chance(0.2) { // a number that isn't the catalog's
			revision += customstatus.Revision(1 + a.below(3))
		}
		revision = max(revision, s.floor)
	}
	from := s.now
	if s.w.flaw == notSerialized && len(begun.statuses) > 0 {
		from = begun // what the transaction saw when it began
	}
	expires := r.expires
	if !s.plan.database {
		expires = s.leases[r.lease]
	}
	next, err := s.w.apply(from, r.changes, revision)
	wrong := s.now.differsFrom(r.changes)
	if err != nil {
		if !marked {
			// The request may arrive again when nothing refuses it.
			s.now = s.now.mark(r.token, marker{expires: expires}, now)
			s.past = append(s.past, s.now)
		}
		return 0, err
	}
	if marked && s.w.flaw == guardsBeforeMarker {
		return m.revision, errAborted
	}
	next = next.mark(r.token, marker{revision, expires}, now)
	next.revision, next.token = max(revision, s.now.revision), r.token
	e := entry{
		token: r.token,
		commit: customstatus.Commit{
			Revision: revision, Changes: stamped(r.changes, revision),
			Fingerprint: next.fingerprint, FingerprintKnown: s.plan.database,
		},
		before: s.now.fingerprint, after: next.statuses,
	}
	s.log, s.truth = append(s.log, e), append(s.truth, e)
	s.past = append(s.past, s.now)
	s.now = next
	for len(s.log)-s.kept > s.plan.keeps {
		s.compact = s.log[s.kept].commit.Revision
		s.kept++
	}
	a.note("commits %d: %s", revision, describe(r.changes))
	if wrong != "" {
		s.w.misfit("commit %d replaces what its node has not seen of %s", revision, wrong)
	}
	s.tell()
	return revision, nil
}

// tokenAt returns the token of the commit of a revision.
func (s *server) tokenAt(revision customstatus.Revision) string {
	if revision == s.now.revision {
		return s.now.token
	}
	for _, e := range slices.Backward(s.log) {
		if e.commit.Revision == revision {
			return e.token
		}
	}
	return ""
}

// tell tells the watchers of a commit.
func (s *server) tell() {
	close(s.news)
	s.news = make(chan struct{})
	for _, sub := range s.wakes {
		a := s.w.actor("wake %s %d", sub.name, len(s.log))
		if s.w.lossy(a, s.plan.wakeLost) {
			continue
		}
		s.w.flight.Go(func() {
			_ = a.sleep(s.w.always, s.w.latency(a))
			select {
			case sub.wake <- struct{}{}:
			default:
			}
		})
	}
}

// subscribe returns whoever is woken by commits from now on, and a function that ends
// that.
func (s *server) subscribe(name string) (*subscriber, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := &subscriber{name, make(chan struct{}, 1)}
	s.wakes = append(s.wakes, sub)
	return sub, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wakes = slices.DeleteFunc(s.wakes, func(other *subscriber) bool { return other == sub })
	}
}

// apply returns the state after the changes, or [customstatus.ErrConflict].
func (w *world) apply(s *state, changes []customstatus.Change, revision customstatus.Revision) (*state, error) {
	next := *s
	next.statuses = slices.Clone(s.statuses)
	for i, c := range changes {
		at, there := slices.BinarySearchFunc(next.statuses, c.ID(), func(s customstatus.CustomUserStatus, id string) int {
			return strings.Compare(s.ID, id)
		})
		switch {
		case c.Kind == customstatus.Created && there && w.flaw == createReplaces && i == 0:
			next.fingerprint -= next.statuses[at].Fingerprint()
		case (c.Kind == customstatus.Created) == there:
			return nil, customstatus.ErrConflict
		case there && next.statuses[at] != c.Before && w.flaw != guardMissing && !(w.flaw == guardRevision && next.statuses[at].Revision == c.Before.Revision):
			return nil, customstatus.ErrConflict
		}
		if there && c.Kind != customstatus.Created {
			next.fingerprint -= next.statuses[at].Fingerprint()
		}
		if c.Kind == customstatus.Deleted {
			next.statuses = slices.Delete(next.statuses, at, at+1)
			continue
		}
		if w.flaw != nameOutside && slices.ContainsFunc(next.statuses, func(s customstatus.CustomUserStatus) bool {
			return s.Name == c.After.Name && s.ID != c.After.ID
		}) {
			return nil, customstatus.ErrConflict
		}
		after := c.After
		after.Revision = revision
		next.fingerprint += after.Fingerprint()
		if there {
			next.statuses[at] = after
		} else {
			next.statuses = slices.Insert(next.statuses, at, after)
		}
	}
	next.revision = revision
	return &next, nil
}

// differsFrom returns the id of a status that is there and isn't what the changes
// replace, or "".
func (s *state) differsFrom(changes []customstatus.Change) string {
	for _, c := range changes {
		for _, have := range s.statuses {
			if have.ID == c.ID() && have != c.Before {
				return have.ID
			}
		}
	}
	return ""
}

// stamped returns a copy of the changes with the revision of their commit.
func stamped(changes []customstatus.Change, revision customstatus.Revision) []customstatus.Change {
	changes = slices.Clone(changes)
	for i := range changes {
		if changes[i].Kind != customstatus.Deleted {
			changes[i].After.Revision = revision
		}
	}
	return changes
}

// resolve decides what became of a request, if that is still to be known.
func (s *server) resolve(a *actor, r request) (customstatus.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.w.now()
	m, marked := s.now.live(r.token, now)
	if marked && s.w.flaw == resolverDeletes {
		next := *s.now
		next.markers = maps.Clone(s.now.markers)
		delete(next.markers, r.token)
		s.now = &next
	}
	switch {
	case marked && m.revision != 0:
		return m.revision, nil
	case marked:
		return 0, errAborted
	}
	end, granted := s.leases[r.lease]
	if s.w.flaw != noLease && (s.plan.database && now >= r.until || !s.plan.database && (!granted || now >= end)) {
		a.note("finds no verdict on %s", r.token)
		return 0, errGone
	}
	if s.w.flaw != believesAbsence && s.w.flaw != resolverDeletes {
		expires := now + s.plan.markers
		if !s.plan.database {
			expires = end
		}
		s.now = s.now.mark(r.token, marker{expires: expires}, now)
		// A replica that doesn't have the marker doesn't have what came later.
		s.past = append(s.past, s.now)
	}
	a.note("gives up %s", r.token)
	return 0, errAborted
}

// grant grants a lease.
func (s *server) grant() (id int, end time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w.flaw != leaseAgain || s.leased == 0 {
		s.leased++
	}
	end = s.w.now() + s.plan.markers
	s.leases[s.leased] = end
	return s.leased, end
}

// holds returns what the server holds at one instant.
func (s *server) holds(a *actor) (now *state, timeline int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.w.flaw == staleLoad && len(s.past) > 0 && a.chance(0.3) {
		return s.past[max(0, len(s.past)-1-a.below(10))], s.timeline
	}
	return s.now, s.timeline
}

// reached returns the revision of the server.
func (s *server) reached(a *actor) position {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.now
	if s.w.flaw == staleRevision && len(s.past) > 0 {
		at = s.past[max(0, len(s.past)-1-a.below(2))]
	}
	return position{at.revision, at.token}
}

// page is a part of the feed.
type page struct {
	token    string // of the commit that the page comes after
	commits  []entry
	head     customstatus.Revision
	compact  customstatus.Revision
	timeline int
}

// since returns the first commits after a revision.
func (s *server) since(after customstatus.Revision, most int) page {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := page{token: s.tokenAt(after), head: s.now.revision, compact: s.compact, timeline: s.timeline}
	for _, e := range s.log[s.kept:] {
		if e.commit.Revision > after {
			p.commits = append(p.commits, e)
		}
	}
	if s.w.flaw == sequence || s.w.flaw == gapSkipped {
		slices.SortFunc(p.commits, func(a, b entry) int { return int(a.commit.Revision) - int(b.commit.Revision) })
	}
	p.commits = p.commits[:min(len(p.commits), most)]
	return p
}

// restart ends what is under way. The server is away for a while.
func (s *server) restart(a *actor, away time.Duration) {
	a.note("the server stops for %v", away)
	s.mu.Lock()
	s.boots++
	s.down = true
	s.mu.Unlock()
	_ = a.sleep(s.w.always, away)
	s.mu.Lock()
	s.down = false
	s.free = 0
	s.mu.Unlock()
	a.note("the server is back")
}

// fail makes a replica the server, which lacks the last commits. A database goes on with
// the numbers of what is left, so it uses those of the lost commits again. A cluster loses
// commits when it is restored from a snapshot, and then goes on far beyond.
func (s *server) fail(a *actor, lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.boots++
	s.free = 0
	s.timeline++
	left := s.now
	if lost = min(lost, len(s.past)); lost > 0 {
		left = s.past[len(s.past)-lost]
	}
	keep := len(s.log)
	for keep > 0 && s.log[keep-1].commit.Revision > left.revision {
		keep--
	}
	a.note("a replica takes over that lacks %d commits", len(s.log)-keep)
	went := failover{left: left, lost: s.log[keep:], common: left.revision, beyond: math.MaxUint64}
	s.now, s.past = left, s.past[:len(s.past)-lost]
	s.log = slices.Clone(s.log[:keep])
	s.kept = min(s.kept, keep)
	s.compact = min(s.compact, left.revision)
	if !s.plan.database && len(went.lost) > 0 {
		s.floor = customstatus.Revision(s.timeline) * 10000
		went.common, went.beyond = s.floor-1, s.floor-1
		s.kept = keep
	}
	if s.floor > 0 && s.w.flaw != failoverUnnoticed {
		s.compact = max(s.compact, s.floor-1)
	}
	s.w.wentBack(went)
}

// isDown reports whether nobody listens now.
func (s *server) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// heard returns a channel that is closed at the next commit.
func (s *server) heard() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

// describe tells of changes in a few words.
func describe(changes []customstatus.Change) string {
	var b strings.Builder
	for _, c := range changes {
		s := c.Status()
		b.WriteString(c.Kind.String() + " " + s.ID + "=" + s.Name + " ")
	}
	return strings.TrimSpace(b.String())
}

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)
