package sim

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/linear"
)

func (w *world) newNode(index, number int) *node {
	n := &node{w: w, index: index, number: number, dead: make(chan struct{})}
	name := fmt.Sprintf("node %d", number)
	n.store = &store{
		w: w, node: n, name: name, closed: make(chan struct{}),
		commits: w.actor("%s commits", name), loads: w.actor("%s loads", name),
	}
	return n
}

// options returns the options of the node's catalog. Its clock is wrong, and goes back
// now and then.
func (n *node) options() *customstatus.Options {
	a := n.w.actor("node %d", n.number)
	skew := a.between(0, 10*time.Second) - 5*time.Second
	var ids, numbers atomic.Uint64
	return &customstatus.Options{
		HistoryChanges: n.w.plan.history,
		Logger:         slog.New(&log{w: n.w}),
		Now: func() time.Time {
			now := time.Now().Add(skew)
			if now.Second()%7 == 3 {
				now = now.Add(-2 * time.Second)
			}
			return now
		},
		NewID:  func() string { return fmt.Sprintf("id-%d-%d", n.number, ids.Add(1)) },
		Random: func() uint64 { return mix(a.key + numbers.Add(1)) },
	}
}

// log finds what a catalog says of a feed that was wrong.
type log struct {
	slog.Handler
	w *world
}

func (l *log) Enabled(context.Context, slog.Level) bool { return true }

func (l *log) Handle(_ context.Context, r slog.Record) error {
	var text strings.Builder
	text.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&text, " %s=%v", a.Key, a.Value)
		return true
	})
	if said := text.String(); strings.Contains(said, "a gap or a change that doesn't fit") || strings.Contains(said, "panicked") ||
		strings.Contains(said, "another history") || strings.Contains(said, "damaged") {
		l.w.mu.Lock()
		defer l.w.mu.Unlock()
		l.w.misfits = append(l.w.misfits, said)
	}
	return nil
}

// user is a client of the catalog at a place, which may be one after another.
type user struct {
	place  *place
	a      *actor
	number int
	seen   customstatus.Revision
}

// Number implements [linear.Numbered].
func (u *user) Number() int { return u.number }

// pause is what a client does between two operations.
func (u *user) pause() {
	_ = u.a.sleep(u.place.w.always, u.a.between(0, u.place.w.plan.think))
	u.place.alive(u.a)
}

// use calls a method of the catalog. A process that dies gives no answer.
func (u *user) use(what string, writes bool, call func(ctx context.Context, n *node) (any, error), ctx context.Context) (any, error) {
	n := u.place.now()
	u.seen = 0
	if n.isDead() {
		u.a.step()
		return nil, linear.ErrInjected
	}
	u.a.note("%s at node %d", what, n.number)
	before := n.Stats()
	value, err := call(u.a.with(ctx), n)
	after := n.Stats()
	u.number = n.number<<16 + int(before.Rewinds)
	if after.Rewinds != before.Rewinds || u.place.w.plan.lossy && after.Loads != before.Loads {
		u.number = -1 // what it has written may be lost, and its reads never have shown it
	}
	dead := n.isDead()
	u.a.step()
	u.a.note("%s: %v %v", what, value, err)
	switch {
	case !dead:
		return value, err
	case writes:
		return nil, customstatus.ErrOutcomeUnknown
	}
	return nil, linear.ErrInjected
}

// result returns the value of a call, or the zero value.
func result[T any](value any, err error) (T, error) {
	t, _ := value.(T)
	return t, err
}

func (u *user) Create(ctx context.Context, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	return result[customstatus.CustomUserStatus](u.use("create "+f.Name, true, func(ctx context.Context, n *node) (any, error) {
		return n.Create(ctx, f)
	}, ctx))
}

func (u *user) Update(ctx context.Context, id string, f customstatus.Fields, o *customstatus.WriteOptions) (customstatus.CustomUserStatus, error) {
	return result[customstatus.CustomUserStatus](u.use("update "+id+" "+f.Name, true, func(ctx context.Context, n *node) (any, error) {
		return n.Update(ctx, id, f, o)
	}, ctx))
}

func (u *user) Delete(ctx context.Context, id string, o *customstatus.WriteOptions) (customstatus.Revision, error) {
	return result[customstatus.Revision](u.use("delete "+id, true, func(ctx context.Context, n *node) (any, error) {
		return n.Delete(ctx, id, o)
	}, ctx))
}

func (u *user) Import(ctx context.Context, statuses []customstatus.CustomUserStatus) (customstatus.ImportResult, error) {
	return result[customstatus.ImportResult](u.use("import", true, func(ctx context.Context, n *node) (any, error) {
		return n.Import(ctx, statuses)
	}, ctx))
}

func (u *user) Sync(ctx context.Context) error {
	_, err := u.use("sync", false, func(ctx context.Context, n *node) (any, error) { return nil, n.Sync(ctx) }, ctx)
	return err
}

// The reads do not wait, so that they belong to the instant of the call before.

func (u *user) Get(id string) (customstatus.CustomUserStatus, error) {
	n := u.reads()
	s, err := n.Get(id)
	return s, u.dead(n, err)
}

func (u *user) GetByName(name string) (customstatus.CustomUserStatus, error) {
	n := u.reads()
	s, err := n.GetByName(name)
	return s, u.dead(n, err)
}

func (u *user) List(q customstatus.Query) (customstatus.Page, error) {
	n := u.reads()
	p, err := n.List(q)
	u.seen = n.Revision()
	u.a.note("list: %v", p)
	return p, u.dead(n, err)
}

// Revision returns the revision of the last list, if there was one.
func (u *user) Revision() customstatus.Revision {
	if seen := u.seen; seen != 0 {
		u.seen = 0
		return seen
	}
	return u.reads().Catalog.Revision()
}

func (u *user) reads() *node {
	n := u.place.now()
	u.number = n.number<<16 + int(n.Stats().Rewinds)
	return n
}

func (u *user) dead(n *node, err error) error {
	if n.isDead() {
		return linear.ErrInjected
	}
	return err
}

// spectator is the connection of a watcher. When its node dies, it goes on at another
// one, from the position that it has.
type spectator struct {
	w     *world
	a     *actor
	place *place
}

func (s *spectator) move() {
	s.place = s.w.places[s.a.below(nodes)]
	s.a.note("moves to place %d", s.place.index)
}

func (s *spectator) List(q customstatus.Query) (customstatus.Page, error) {
	for {
		n := s.place.alive(s.a)
		if n == nil {
			return customstatus.Page{}, errStuck
		}
		if p, err := n.List(q); err == nil {
			return p, nil
		}
		s.a.step()
	}
}

// pace is how fast a watcher reads.
func (s *spectator) pace() {
	s.a.step()
	if s.w.lossy(s.a, 0.1) {
		_ = s.a.sleep(s.w.always, s.a.between(time.Millisecond, 500*time.Millisecond))
	}
}

func (s *spectator) Watch(ctx context.Context, after customstatus.Position) iter.Seq2[customstatus.Commit, error] {
	return resumed(s, after, func(c *customstatus.Catalog) iter.Seq2[customstatus.Commit, error] {
		return c.Watch(s.a.with(ctx), after)
	}, func(c customstatus.Commit) { after = c.Position() })
}

func (s *spectator) Follow(ctx context.Context, after customstatus.Position) iter.Seq2[customstatus.Update, error] {
	return resumed(s, after, func(c *customstatus.Catalog) iter.Seq2[customstatus.Update, error] {
		return c.Follow(s.a.with(ctx), after)
	}, func(u customstatus.Update) { after = u.Position })
}

// resumed yields what watch yields. When the node dies, it goes on at another one.
func resumed[T any](s *spectator, from customstatus.Position, watch func(*customstatus.Catalog) iter.Seq2[T, error], took func(T)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for {
			n := s.place.alive(s.a)
			if n == nil {
				yield(none, errStuck)
				return
			}
			for v, err := range watch(n.Catalog) {
				s.a.step()
				if err != nil {
					s.a.note("its watch at node %d ends: %v", n.number, err)
					if !n.isDead() {
						yield(none, err)
						return
					}
					break
				}
				took(v)
				s.a.note("sees %v", seen(v))
				if !yield(v, nil) {
					return
				}
				s.pace()
				if n.isDead() {
					break
				}
			}
			s.a.step()
			s.move()
		}
	}
}

// seen tells what a watcher sees in a few words.
func seen(v any) string {
	switch v := v.(type) {
	case customstatus.Commit:
		return fmt.Sprint(v.Position(), " ", describe(v.Changes))
	case customstatus.Update:
		if v.Reset {
			return fmt.Sprint(v.Position, " the whole of ", len(v.Statuses))
		}
		return fmt.Sprint(v.Position, " ", describe(v.Changes))
	}
	return ""
}
