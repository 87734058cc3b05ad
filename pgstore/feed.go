package pgstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/customstatus/customstatus"
)

const (
	// feedCommits and feedBytes limit what a feed keeps in memory. Watchers that
	// are further behind read the database.
	feedCommits = 1024
	feedBytes   = 4 << 20
)

// feed is what all watchers of a store share: one goroutine that looks for commits,
// and the last commits in memory. It ends with its last watcher or an error.
type feed struct {
	s      *Store
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // has a value after a commit of this store that can't be offered

	// All below is guarded by s.mu.
	watchers int
	entries  []entry // without gaps
	bytes    int
	base     position // before the first entry
	head     position // of the last entry
	news     chan struct{}
	err      error // why the feed has ended
}

// join returns the live feed, or a new one from a position on. The caller calls
// part.
func (s *Store) join(from position) (*feed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, customstatus.ErrClosed
	}
	if s.feed == nil {
		f := &feed{s: s, wake: make(chan struct{}, 1), base: from, head: from, news: make(chan struct{})}
		f.ctx, f.cancel = context.WithCancel(s.closing)
		s.feed = f
		s.running.Go(f.run)
	}
	s.feed.watchers++
	return s.feed, nil
}

func (f *feed) part() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.watchers--
	if f.watchers == 0 {
		f.end(context.Canceled)
	}
}

// end ends the feed. s.mu is held.
func (f *feed) end(err error) {
	if f.err == nil {
		f.err = err
		close(f.news)
		f.cancel()
	}
	if f.s.feed == f {
		f.s.feed = nil
	}
}

// diverge ends the live feed.
func (s *Store) diverge(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feed != nil {
		s.feed.end(err)
	}
}

// offer adds a commit of this store, or wakes the feed if others come before it.
// s.mu is held.
func (f *feed) offer(e entry) {
	if !f.add(e) {
		f.alert()
	}
}

// alert makes the feed look at once, unless it listens and is told anyway.
func (f *feed) alert() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// add adds the next commit, and reports whether the feed now has it. s.mu is held.
func (f *feed) add(e entry) bool {
	p := e.position()
	switch {
	case f.err != nil:
		return false
	case f.s.known.contradicts(p):
		f.end(fmt.Errorf("%w: the database has gone back to another history before revision %d", customstatus.ErrCompacted, p.revision))
		return false
	case p.revision <= f.head.revision:
		return true
	case p.revision != f.head.revision+1:
		return false
	default:
		f.head = p
		f.s.known.has(p)
	}
	for i := range e.commit.Changes {
		after := &e.commit.Changes[i].After
		e.bytes += 128 + len(after.ID) + len(after.Name) + len(after.Metadata)
	}
	f.entries = append(f.entries, e)
	f.bytes += e.bytes
	for len(f.entries) > 1 && (len(f.entries) > feedCommits || f.bytes > feedBytes) {
		f.base = f.entries[0].position()
		f.bytes -= f.entries[0].bytes
		f.entries[0] = entry{}
		f.entries = f.entries[1:]
	}
	close(f.news)
	f.news = make(chan struct{})
	return true
}

// run looks for commits until the feed ends.
func (f *feed) run() {
	err := f.follow()
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.s.closed {
		err = customstatus.ErrClosed
	}
	f.end(err)
}

func (f *feed) follow() error {
	pooled := func(read func(context.Context, *pgconn.PgConn) error) error { return f.s.with(f.ctx, read) }
	if f.s.opts.NoListen {
		return f.poll(f.sleep, pooled)
	}
	conn, err := f.listen()
	switch {
	case err == nil:
	case codeOf(err) != "" && isRefusal(err) && !isStandby(err): // by a pooler, or another engine
		f.s.log.Warn("pgstore: LISTEN is refused, so the feed only looks from time to time; set NoListen", "error", err)
		return f.poll(f.sleep, pooled)
	default:
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	c := conn.PgConn()
	return f.poll(func(limit time.Duration) (bool, error) { return f.hear(conn, limit) }, func(read func(context.Context, *pgconn.PgConn) error) error {
		ctx, cancel := context.WithTimeout(f.ctx, f.s.opts.Timeout)
		defer cancel()
		return f.s.describe(f.ctx, read(ctx, c))
	})
}

// listen returns a connection that hears of commits.
func (f *feed) listen() (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(f.ctx, f.s.opts.Timeout)
	defer cancel()
	pooled, err := f.s.pool.Acquire(ctx)
	if err != nil {
		return nil, f.s.describe(f.ctx, err)
	}
	conn := pooled.Hijack()
	if _, err := simple(ctx, conn.PgConn(), "LISTEN "+f.s.channel); err != nil {
		_ = conn.Close(ctx)
		return nil, f.s.describe(f.ctx, err)
	}
	return conn, nil
}

// hear waits for a notification of a commit that the feed doesn't have, or for a
// time. It reports whether one came.
func (f *feed) hear(conn *pgx.Conn, limit time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(f.ctx, limit)
	defer cancel()
	for {
		n, err := f.notification(ctx, conn)
		switch {
		case err == nil && n != nil && f.has(n.Payload):
		case err == nil:
			return true, nil
		case ctx.Err() != nil && f.ctx.Err() == nil && !conn.IsClosed():
			return false, nil
		default:
			return false, err
		}
	}
}

// notification waits for a notification. It returns none if the host's pool takes
// them itself.
func (f *feed) notification(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	if f.s.hostListens {
		return nil, conn.PgConn().WaitForNotification(ctx)
	}
	return conn.WaitForNotification(ctx)
}

// has reports whether the feed has the commit of a revision, because it is one of
// this store.
func (f *feed) has(revision string) bool {
	n, err := strconv.ParseUint(revision, 10, 64)
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return err == nil && n <= f.head.revision
}

// sleep waits for a time, or for a commit of this store.
func (f *feed) sleep(limit time.Duration) (bool, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-f.ctx.Done():
		return false, f.ctx.Err()
	case <-f.wake:
		return true, nil
	case <-timer.C:
		return false, nil
	}
}

// deafAfter is how many looks in a row may find commits that no notification has
// told of, before the feed looks more often.
const deafAfter = 3

// poll looks for commits, again and again, and waits between. What counts is what
// it finds; notifications only make it look earlier.
func (f *feed) poll(wait func(time.Duration) (bool, error), with func(func(context.Context, *pgconn.PgConn) error) error) error {
	deaf, interval := 0, f.s.opts.PollInterval
	for told := true; ; {
		f.s.mu.Lock()
		after := f.head
		f.s.mu.Unlock()
		var p page
		err := with(func(ctx context.Context, c *pgconn.PgConn) (err error) {
			p, err = f.s.read(ctx, c, after)
			return err
		})
		if err != nil {
			return err
		}
		f.s.mu.Lock()
		for _, e := range p.entries {
			f.add(e)
		}
		f.s.mu.Unlock()
		switch {
		case told || f.s.opts.NoListen:
			deaf = 0
		case len(p.entries) > 0:
			if deaf++; deaf == deafAfter && interval > defaultBusyPoll {
				f.s.log.Warn("pgstore: no notification tells of commits; the feed looks more often. Set NoListen if a pooler in transaction mode is between, and NoNotify nowhere without it.")
				interval = defaultBusyPoll
			}
		}
		if p.more {
			continue
		}
		if told, err = wait(interval); err != nil {
			return err
		}
	}
}

// next returns the commits after a position that the feed has, or a channel that is
// closed when there are more. behind says that the watcher must read the database.
func (f *feed) next(at position) (entries []entry, news <-chan struct{}, behind bool, err error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	switch {
	case f.s.closed:
		return nil, nil, false, customstatus.ErrClosed
	case f.err != nil:
		return nil, nil, false, f.err
	case at.revision >= f.head.revision:
		return nil, f.news, false, nil
	case at.revision < f.base.revision:
		return nil, nil, true, nil
	}
	before := f.base
	i := int(at.revision - f.base.revision)
	if i > 0 {
		before = f.entries[i-1].position()
	}
	if before != at {
		return nil, nil, false, fmt.Errorf("%w: the database has gone back to another history before revision %d", customstatus.ErrCompacted, at.revision)
	}
	return slices.Clone(f.entries[i:]), nil, false, nil
}
