package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/linear"
)

// errNoAnswer is the error of a message that got no answer, so that nobody knows
// whether it has arrived.
var errNoAnswer = errors.New("no answer")

// store is the client part of the shared store: it belongs to one node and speaks to
// the server over a network that fails.
type store struct {
	w      *world
	node   *node
	name   string
	closed chan struct{}
	once   sync.Once

	commits *actor // one commit at a time
	loads   *actor

	mu     sync.Mutex
	tokens int
	open   []request // whose outcome is still to be decided
	known  memory    // of a database
	lease  int
	leased time.Duration // its end
	feeds  int
}

// Close implements [customstatus.Store].
func (s *store) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// injected wraps an error of the store, which is to be expected.
func injected(err error) error {
	if err == nil || errors.Is(err, linear.ErrInjected) || errors.Is(err, customstatus.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", linear.ErrInjected, err)
}

// call sends a message to the server and waits for the answer.
func call[T any](ctx context.Context, s *store, a *actor, what string, handle func(a *actor) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	w := s.w
	if w.server.isDown() || w.lossy(a, w.plan.refused) {
		if err := a.sleep(ctx, w.latency(a)); err != nil {
			return none, err
		}
		return none, errNoServer
	}
	w.server.mu.Lock()
	timeline := w.server.timeline
	w.server.mu.Unlock()
	answers := make(chan answer, 2)
	send := func(late time.Duration, silent bool) {
		b := a.child(what)
		lost, deaf := w.lossy(b, w.plan.lost), w.lossy(b, w.plan.deaf)
		w.flight.Go(func() {
			_ = b.sleep(w.always, late+w.latency(b))
			s.node.link(b)
			w.server.mu.Lock()
			gone := w.server.timeline != timeline || w.server.down
			w.server.mu.Unlock()
			if lost || gone {
				b.note("is lost")
				return
			}
			value, err := handle(b)
			if silent || deaf {
				return
			}
			_ = b.sleep(w.always, w.latency(b))
			s.node.link(b)
			answers <- answer{value, err}
		})
	}
	late := time.Duration(0)
	if w.lossy(a, w.plan.late) {
		late = a.between(100*time.Millisecond, 2*w.plan.markers)
	}
	send(late, false)
	if w.lossy(a, w.plan.twice) {
		send(a.between(time.Millisecond, w.plan.markers), true)
	}
	timeout := time.NewTimer(a.wake(w.plan.timeout))
	defer timeout.Stop()
	select {
	case got := <-answers:
		return got.value, got.err
	case <-timeout.C:
		return none, errNoAnswer
	case <-ctx.Done():
		return none, ctx.Err()
	case <-s.node.dead:
		return none, errNoAnswer
	case <-s.closed:
		return none, errNoAnswer
	}
}

// ready returns an error if the store can't be used.
func (s *store) ready(ctx context.Context) error {
	select {
	case <-s.closed:
		return customstatus.ErrClosed
	case <-s.node.dead:
		return errNoAnswer
	default:
		return ctx.Err()
	}
}

// Commit implements [customstatus.Store].
func (s *store) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if err := s.ready(ctx); err != nil {
		return 0, injected(err)
	}
	a := s.commits
	if err := s.decide(ctx, a); err != nil {
		return 0, injected(err)
	}
	r := request{changes: slices.Clone(changes)}
	if !s.w.plan.database {
		if err := s.renew(ctx, a); err != nil {
			return 0, injected(err)
		}
	}
	if s.w.flaw == nameOutside {
		now, err := call(ctx, s, a, "look", func(b *actor) (*state, error) { now, _ := s.w.server.holds(b); return now, nil })
		if err != nil {
			return 0, injected(err)
		}
		if _, err := new(world).apply(now, changes, 0); err != nil {
			return 0, err
		}
	}
	for attempt := 0; ; attempt++ {
		s.mu.Lock()
		s.tokens++
		r.token, r.lease, r.known = fmt.Sprintf("%s#%d", s.name, s.tokens), s.lease, s.known.read
		s.mu.Unlock()
		r.until = s.w.now() + s.w.plan.markers
		r.expires = r.until + s.w.plan.markers
		a.note("sends %s: %s", r.token, describe(changes))
		revision, err := call(ctx, s, a, "commit", func(b *actor) (customstatus.Revision, error) { return s.w.server.commit(b, r) })
		a.note("hears of %s: %d %v", r.token, revision, err)
		switch {
		case err == nil && s.w.flaw == earlierRevision:
			return revision - 1, nil
		case err == nil:
			s.told(position{revision, r.token})
			return revision, nil
		case errors.Is(err, customstatus.ErrConflict):
			return 0, err
		case errors.Is(err, errHistory):
			return 0, fmt.Errorf("%w: %w", customstatus.ErrConflict, err)
		case errors.Is(err, errNoServer), errors.Is(err, errAborted):
			return 0, injected(err) // nothing was written
		case s.w.flaw == silenceIsFailure:
			return 0, injected(err)
		case s.w.flaw == blindRetry && attempt < 3:
			continue
		}
		// The outcome is not known: whoever doesn't know decides it.
		for range 3 {
			revision, err = s.resolve(ctx, a, r)
			if err == nil || errors.Is(err, errAborted) || errors.Is(err, errGone) {
				break
			}
			if a.sleep(ctx, a.between(10*time.Millisecond, 100*time.Millisecond)) != nil {
				break
			}
		}
		switch {
		case err == nil:
			s.told(position{revision, r.token})
			return revision, nil
		case errors.Is(err, errAborted):
			return 0, injected(err)
		case !errors.Is(err, errGone):
			s.mu.Lock()
			s.open = append(s.open, r)
			s.mu.Unlock()
		}
		return 0, fmt.Errorf("%w: %w", customstatus.ErrOutcomeUnknown, err)
	}
}

func (s *store) resolve(ctx context.Context, a *actor, r request) (customstatus.Revision, error) {
	revision, err := call(ctx, s, a, "resolve", func(b *actor) (customstatus.Revision, error) { return s.w.server.resolve(b, r) })
	a.note("resolves %s: %d %v", r.token, revision, err)
	return revision, err
}

// decide decides all outcomes that are open.
func (s *store) decide(ctx context.Context, a *actor) error {
	s.mu.Lock()
	open := slices.Clone(s.open)
	s.mu.Unlock()
	for _, r := range open {
		if _, err := s.resolve(ctx, a, r); err != nil && !errors.Is(err, errAborted) && !errors.Is(err, errGone) {
			return err
		}
		s.mu.Lock()
		s.open = slices.DeleteFunc(s.open, func(other request) bool { return other.token == r.token })
		s.mu.Unlock()
	}
	return nil
}

// renew grants a lease if the last one has less than half of its time left.
func (s *store) renew(ctx context.Context, a *actor) error {
	s.mu.Lock()
	end := s.leased
	s.mu.Unlock()
	if end-s.w.now() > s.w.plan.markers/2 {
		return nil
	}
	type lease struct {
		id  int
		end time.Duration
	}
	l, err := call(ctx, s, a, "lease", func(*actor) (lease, error) {
		id, end := s.w.server.grant()
		return lease{id, end}, nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lease, s.leased = l.id, l.end
	return nil
}

// Load implements [customstatus.Store].
func (s *store) Load(ctx context.Context) (customstatus.Contents, error) {
	if err := s.ready(ctx); err != nil {
		return customstatus.Contents{}, injected(err)
	}
	a := s.loads
	if err := s.decide(ctx, a); err != nil {
		return customstatus.Contents{}, injected(err)
	}
	s.mu.Lock()
	before := s.known.last
	s.mu.Unlock()
	got, err := call(ctx, s, a, "load", func(b *actor) (*state, error) {
		now, _ := s.w.server.holds(b)
		if s.w.flaw == tornLoad {
			_ = b.sleep(s.w.always, 5*time.Millisecond)
			later, _ := s.w.server.holds(b)
			now = &state{statuses: now.statuses, revision: later.revision, token: later.token, fingerprint: later.fingerprint}
		}
		return now, nil
	})
	if err != nil {
		return customstatus.Contents{}, injected(err)
	}
	s.mu.Lock()
	s.known.loaded(position{got.revision, got.token}, before)
	s.mu.Unlock()
	a.note("loads %d-%x", got.revision, uint64(got.fingerprint))
	if s.w.plan.database {
		// Readers see it only after the catalog has made its tables.
		if err := a.sleep(ctx, a.between(100*time.Microsecond, time.Second)); err != nil {
			return customstatus.Contents{}, injected(err)
		}
	}
	return customstatus.Contents{
		Statuses: slices.Clone(got.statuses), Revision: got.revision, Shared: true,
		Fingerprint: got.fingerprint, FingerprintKnown: s.w.plan.database,
	}, nil
}

// Revision implements [customstatus.Store].
func (s *store) Revision(ctx context.Context) (customstatus.Revision, error) {
	if err := s.ready(ctx); err != nil {
		return 0, injected(err)
	}
	a := actorOf(ctx, s.loads)
	s.mu.Lock()
	asked := s.known
	s.mu.Unlock()
	at, err := call(ctx, s, a, "ask", func(b *actor) (position, error) { return s.w.server.reached(b), nil })
	if err == nil && s.w.plan.database && s.w.flaw != failoverUnnoticed {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case at.revision < asked.last.revision || s.known.contradicts(at):
			err = errHistory
		case s.known.loads == asked.loads:
			s.known.add(at)
		}
	}
	return at.revision, injected(err)
}

// position is a revision in one history.
type position struct {
	revision customstatus.Revision
	token    string
}

// memory has the positions that a store of a database has told of, as that of pgstore.
type memory struct {
	last   position
	read   position
	tokens map[customstatus.Revision]string
	floor  customstatus.Revision
	loads  int
}

func (m *memory) loaded(p, before position) {
	_, there := m.tokens[p.revision]
	if p.revision < before.revision || m.contradicts(p) || !there && p.revision > m.last.revision {
		*m = memory{loads: m.loads}
	}
	maps.DeleteFunc(m.tokens, func(r customstatus.Revision, _ string) bool { return r < p.revision })
	m.floor = p.revision
	m.loads++
	m.has(p)
}

func (m *memory) has(p position) {
	m.add(p)
	if p.revision >= m.read.revision {
		m.read = p
	}
}

func (m *memory) add(p position) {
	if m.tokens == nil {
		m.tokens = make(map[customstatus.Revision]string)
	}
	if _, there := m.tokens[p.revision]; there || p.revision < m.floor {
		return
	}
	if p.revision >= m.last.revision {
		m.last = p
	}
	m.tokens[p.revision] = p.token
}

func (m *memory) contradicts(p position) bool {
	token, there := m.tokens[p.revision]
	return there && token != p.token
}

// told remembers a position that the store has told of.
func (s *store) told(p position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.has(p)
}
