package sim

import (
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// actor draws the delays and faults of one goroutine. What it draws depends on the
// seed, the actor's name, and how often it has drawn: a generator that several
// goroutines shared would give other numbers in each run.
type actor struct {
	w     *world
	name  string
	key   uint64
	draws uint64
	lines uint64
}

func (w *world) actor(format string, args ...any) *actor {
	name := fmt.Sprintf(format, args...)
	sum := fnv.New64a()
	_, _ = sum.Write([]byte(name))
	return &actor{w: w, name: name, key: mix(w.seed ^ mix(sum.Sum64()))}
}

// child returns an actor for a goroutine that a begins.
func (a *actor) child(what string) *actor {
	n := a.draw()
	return &actor{w: a.w, name: fmt.Sprintf("%s/%s%d", a.name, what, a.draws), key: mix(n)}
}

// mix scatters the bits of x (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (a *actor) draw() uint64 {
	a.draws++
	return mix(a.key + mix(a.draws))
}

func (a *actor) below(n int) int { return int(a.draw() % uint64(n)) }

func (a *actor) chance(share float64) bool { return float64(a.draw()>>11)/(1<<53) < share }

func (a *actor) between(least, most time.Duration) time.Duration {
	return least + time.Duration(a.draw()%uint64(most-least))
}

// wake returns the time to wait for about d. An actor acts at nanoseconds of its own,
// so that the order of what several actors do doesn't depend on the scheduler.
func (a *actor) wake(d time.Duration) time.Duration {
	const slots = 1 << 13
	now := a.w.now()
	at := (now+d)/slots*slots + time.Duration(a.key%slots)
	if at <= now {
		at += slots
	}
	return at - now
}

// sleep waits for about d, or until ctx is done.
func (a *actor) sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(a.wake(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until is sleep up to a time of the world.
func (a *actor) until(ctx context.Context, at time.Duration) error {
	return a.sleep(ctx, max(0, at-a.w.now()))
}

// step waits a moment, so that what follows has a time of its own.
func (a *actor) step() { time.Sleep(a.wake(0)) }

// line is one line of the trace.
type line struct {
	at    time.Duration
	actor *actor
	n     uint64
	text  string
}

// note adds a line to the trace.
func (a *actor) note(format string, args ...any) {
	a.lines++
	l := line{a.w.now(), a, a.lines, fmt.Sprintf(format, args...)}
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	a.w.lines = append(a.w.lines, l)
}

// trace returns what all actors have noted, in the order of time.
func (w *world) trace() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortStableFunc(w.lines, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.actor.name, b.actor.name), cmp.Compare(a.n, b.n))
	})
	var b strings.Builder
	for _, l := range w.lines {
		fmt.Fprintf(&b, "%12d %-24s %s\n", l.at, l.actor.name, l.text)
	}
	return b.String()
}

// actorKey is the key of a context's actor.
type actorKey struct{}

// with returns a context of whatever a does.
func (a *actor) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// actorOf returns the actor of a context, or else.
func actorOf(ctx context.Context, otherwise *actor) *actor {
	if a, ok := ctx.Value(actorKey{}).(*actor); ok {
		return a
	}
	return otherwise
}
