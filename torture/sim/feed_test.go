package sim

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/customstatus/customstatus"
)

type yield = func(customstatus.Commit, error) bool

// Watch implements [customstatus.SharedStore].
func (s *store) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield yield) {
		s.mu.Lock()
		s.feeds++
		f := &feed{
			store: s, a: s.w.actor("%s feed %d", s.name, s.feeds), ctx: ctx, yield: yield,
			at: after, token: s.known.tokens[after], heard: s.w.now(),
		}
		s.mu.Unlock()
		var err error
		if s.w.plan.database {
			err = f.poll()
		} else {
			err = f.stream()
		}
		if err == nil {
			return // the watcher has had enough
		}
		switch closed := s.ready(context.Background()); {
		case closed != nil:
			err = customstatus.ErrClosed
		case ctx.Err() != nil:
			err = ctx.Err()
		}
		f.a.note("the feed ends at %d: %v", f.at, err)
		yield(customstatus.Commit{}, injected(err))
	}
}

// feed is one watch of a store.
type feed struct {
	*store
	a        *actor
	ctx      context.Context
	yield    yield
	at       customstatus.Revision
	token    string                // of the commit at which the feed is, if it is known
	asked    customstatus.Revision // what the store had told of before it asked for a page
	timeline int                   // of the server that the stream of a cluster comes from
	begun    bool
	heard    time.Duration // when the feed last had an answer
	member   int
}

// give yields the commits of a page. It reports false if the watcher has had enough.
func (f *feed) give(p page) (more bool, err error) {
	switch {
	case f.differs(p):
		return false, fmt.Errorf("%w: another history", customstatus.ErrCompacted)
	case f.at < p.compact && !(f.at == p.head && !f.w.plan.database) && f.w.flaw != compactedSkipped && !(f.w.flaw == compactedByOne && len(p.commits) > 0 && f.at+1 >= p.compact):
		return false, customstatus.ErrCompacted
	case p.head < f.at && f.w.flaw != failoverUnnoticed:
		return false, fmt.Errorf("%w: the store is at %d", customstatus.ErrCompacted, p.head)
	}
	if !f.begun {
		f.begun = true
		if !f.one(entry{token: p.token, commit: customstatus.Commit{Revision: f.at}}) {
			return false, nil
		}
	}
	if f.w.flaw == progressTooFar && len(p.commits) > 1 && f.a.chance(0.3) && !f.one(entry{commit: customstatus.Commit{Revision: p.head}}) {
		return false, nil
	}
	if f.w.flaw == gapSkipped && len(p.commits) > 0 && p.commits[0].commit.Revision > f.at+1 {
		_ = f.a.sleep(f.ctx, time.Millisecond) // whoever has the number may be late
		p = f.w.server.since(f.at, atOnce)
	}
	for _, e := range p.commits {
		c := &e.commit
		if f.w.flaw == gapSkipped || f.w.flaw == sequence {
			c.FingerprintKnown = false
		}
		switch {
		case f.w.flaw == commitSplit && len(c.Changes) > 1:
			first, second := e, e
			first.commit.FingerprintKnown = false
			first.commit.Changes, second.commit.Changes = c.Changes[:1], c.Changes[1:]
			if !f.one(first) || !f.one(second) {
				return false, nil
			}
			continue
		case f.w.flaw == changeLost && len(c.Changes) > 1:
			c.FingerprintKnown = false
			c.Changes = c.Changes[1:]
		case f.w.flaw == fingerprintUnchecked && f.a.chance(0.02):
			c.FingerprintKnown = false
			c.Changes = nil
		case f.w.flaw == failoverUnnoticed:
			c.FingerprintKnown = false
		}
		if !f.one(e) {
			return false, nil
		}
	}
	if len(p.commits) == 0 && p.head > f.at && !f.one(entry{commit: customstatus.Commit{Revision: p.head}}) {
		return false, nil
	}
	return true, nil
}

// differs reports whether a page of a database is of another history than the feed, or
// than what the store has told of.
func (f *feed) differs(p page) bool {
	if !f.w.plan.database || f.w.flaw == failoverUnnoticed {
		return false
	}
	if f.token != "" && p.token != f.token {
		return true
	}
	if f.w.flaw == failoverBehind {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range p.commits {
		if f.known.contradicts(position{e.commit.Revision, e.token}) {
			return true
		}
	}
	return p.head < f.asked
}

// one yields a commit at a time of its own.
func (f *feed) one(e entry) bool {
	c := e.commit
	f.a.step()
	if f.ctx.Err() != nil {
		return false
	}
	if f.at = max(f.at, c.Revision); f.at == c.Revision && f.w.plan.database && e.token != "" {
		f.token = e.token
		f.told(position{f.at, f.token})
	}
	f.a.note("yields %d with %d changes", c.Revision, len(c.Changes))
	return f.yield(c, nil)
}

// atOnce is the greatest number of commits in a page.
const atOnce = 5

// poll reads the commits of a database after the last one, when a wake-up comes and
// now and then.
func (f *feed) poll() error {
	sub, end := f.w.server.subscribe(f.a.name)
	defer end()
	failed := 0
	for {
		at := f.at
		f.mu.Lock()
		f.asked = f.known.last.revision
		f.mu.Unlock()
		p, err := call(f.ctx, f.store, f.a, "poll", func(*actor) (page, error) { return f.w.server.since(at, atOnce), nil })
		if f.ctx.Err() != nil {
			return f.ctx.Err()
		}
		if err != nil {
			if failed++; failed > 2 {
				return err
			}
			if err := f.a.sleep(f.ctx, 20*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		failed = 0
		if more, err := f.give(p); !more || err != nil {
			if err == nil && f.ctx.Err() != nil {
				err = f.ctx.Err()
			}
			return err
		}
		if len(p.commits) == atOnce {
			continue
		}
		every := time.NewTimer(f.a.wake(f.w.plan.poll))
		var tick <-chan time.Time = every.C
		if f.w.flaw == noPoll {
			tick = nil
		}
		select {
		case <-sub.wake:
			every.Stop()
			f.a.step()
		case <-tick:
		case <-f.ctx.Done():
			every.Stop()
			return f.ctx.Err()
		case <-f.closed:
			every.Stop()
			return customstatus.ErrClosed
		case <-f.node.dead:
			every.Stop()
			return customstatus.ErrClosed
		}
	}
}

// stream listens to a member of a cluster, which tells of commits and, while there are
// none, of its progress. A member that is frozen tells nothing, and gives no error.
func (f *feed) stream() error {
	f.member = f.a.below(members)
	for {
		at, member := f.at, f.member
		if f.w.flaw == resumesAtHead && f.begun {
			at = f.w.server.reached(f.a).revision
		}
		p, err := call(f.ctx, f.store, f.a, "watch", func(b *actor) (page, error) {
			if _, err := f.w.plan.frozen(b, member); err != nil {
				return page{}, err
			}
			return f.w.server.since(at, atOnce), nil
		})
		if f.ctx.Err() != nil {
			return f.ctx.Err()
		}
		if err != nil {
			f.member = (f.member + 1) % members
			f.a.note("leaves its member: %v", err)
			if err := f.a.sleep(f.ctx, 20*time.Millisecond); err != nil {
				return err
			}
			if f.w.now()-f.heard > 4*f.w.plan.timeout {
				return err
			}
			continue
		}
		f.heard, f.timeline = f.w.now(), p.timeline
		for more, err := f.give(p); ; more, err = f.give(p) {
			if !more || err != nil {
				if err == nil && f.ctx.Err() != nil {
					err = f.ctx.Err()
				}
				return err
			}
			var broken bool
			if p, broken, err = f.listen(); err != nil {
				return err
			}
			if broken {
				break
			}
		}
	}
}

// members is the number of members of a cluster.
const members = 3

// listen waits for what the member tells next. The connection may break.
func (f *feed) listen() (p page, broken bool, err error) {
	news := f.w.server.heard()
	if next := f.w.server.since(f.at, 1); len(next.commits) == 0 {
		progress := time.NewTimer(f.a.wake(f.w.plan.poll))
		defer progress.Stop()
		select {
		case <-news:
		case <-progress.C:
		case <-f.ctx.Done():
			return p, false, f.ctx.Err()
		case <-f.closed:
			return p, false, customstatus.ErrClosed
		case <-f.node.dead:
			return p, false, customstatus.ErrClosed
		}
	}
	if err := f.a.sleep(f.ctx, f.w.latency(f.a)); err != nil {
		return p, false, err
	}
	f.node.link(f.a)
	if f.w.lossy(f.a, f.w.plan.breaks) {
		f.a.note("loses its connection")
		return p, true, nil
	}
	if until, err := f.w.plan.frozen(f.a, f.member); err != nil {
		// Nothing comes. Whoever expects progress leaves the member.
		patience := f.w.plan.timeout
		if f.w.flaw == trustsSilence {
			patience = never / 2
		}
		if err := f.a.sleep(f.ctx, min(patience, until-f.w.now())); err != nil {
			return p, false, err
		}
		if _, err := f.w.plan.frozen(f.a, f.member); err != nil {
			f.member = (f.member + 1) % members
			f.a.note("leaves a member that says nothing")
			return p, true, nil
		}
	}
	p = f.w.server.since(f.at, atOnce)
	if p.timeline != f.timeline {
		f.a.note("loses its connection to a server that is gone")
		return p, true, nil
	}
	return p, false, nil
}
