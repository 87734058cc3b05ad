package pgstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/customstatus/customstatus"
)

const (
	// maxChanges and maxBytes limit a commit, so that others wait no longer than
	// a second or two for it.
	maxChanges = 20_000
	maxBytes   = 16 << 20
	// maxKey limits what an index must hold, and maxMetadata what a status may.
	maxKey      = 1024
	maxMetadata = 1 << 20

	// firstWait and lastWait are about the times between two attempts of a commit that
	// was certainly not made, for a cause that may pass.
	firstWait = 10 * time.Millisecond
	lastWait  = time.Second
	// maxDelay is how late a commit may arrive. Markers are kept twice as long, so
	// that a commit that was given up can't be made after its marker is gone.
	maxDelay = 30 * time.Minute
)

// token is what a commit is known by, before it is made and ever after.
type token [16]byte

func newToken() (t token) {
	_, _ = rand.Read(t[:]) // never fails
	return t
}

func (t token) String() string { return fmt.Sprintf("%x", t[:]) }

// unsure is a commit whose outcome is unknown.
type unsure struct {
	changes []customstatus.Change
}

// Commit implements [customstatus.Store]. It makes one round trip. A commit takes
// up to 20,000 changes and 16 MiB. [customstatus.ErrOutcomeUnknown] is returned when
// the database gives no answer, and for [Options.Timeout] no other connection can
// find out what became of the commit. The next Load, Commit or Revision finds it out.
func (s *Store) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if err := s.enter(ctx); err != nil {
		return 0, edge("commit", err)
	}
	defer s.leave()
	err := check(changes)
	if err == nil {
		err = s.settle(ctx)
	}
	if err == nil {
		var revision customstatus.Revision
		if revision, err = s.commit(ctx, changes); err == nil {
			return revision, nil
		}
	}
	return 0, edge("commit", err)
}

func (s *Store) commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	call := s.call(changes)
	end := time.Now().Add(s.opts.Timeout)
	var last error
	for limit := firstWait; ; limit = min(2*limit, lastWait) {
		revision, err := s.attempt(ctx, end, call, changes)
		if last != nil && errors.As(err, new(*late)) {
			return 0, last // which says what took so long
		}
		last = err
		// Others may have failed for the same cause, and must not all come at once.
		wait := limit/2 + mathrand.N(limit/2)
		if err == nil || !errors.As(err, new(*passing)) || time.Now().Add(wait).After(end) {
			return revision, err
		}
		select {
		case <-time.After(wait):
			s.log.Warn("pgstore: a commit is tried again", "error", err)
		case <-ctx.Done():
			return 0, err
		case <-s.closing.Done():
			return 0, err
		}
	}
}

// passing is the cause of a commit that was certainly not made, and may be made if
// it is tried again.
type passing struct{ error }

func (p *passing) Unwrap() error { return p.error }

// late is the cause of an attempt that had no time left to get a connection.
type late struct{ error }

func (l *late) Unwrap() error { return l.error }

// call returns the arguments of commit_1 that are the same in each attempt.
func (s *Store) call(changes []customstatus.Change) string {
	n := len(changes)
	a := arguments{sql: make([]byte, 0, 256+512*n)}
	a.text(s.lockTimeout())
	if s.opts.NoNotify {
		a.text("")
	} else {
		a.text(s.channel)
	}
	a.integer(int64(s.opts.KeepCommits))
	a.integer(int64(s.opts.KeepChanges))
	a.integers(n, func(i int) int64 { return int64(changes[i].Kind) })
	a.strings(n, func(i int) string { return changes[i].ID() })
	a.integers(n, func(i int) int64 { return clampRevision(changes[i].Before.Revision) })
	var growth customstatus.Fingerprint
	a.integers(n, func(i int) int64 {
		if changes[i].Kind == customstatus.Created {
			return 0
		}
		hash := changes[i].Before.Fingerprint()
		growth -= hash
		return int64(hash)
	})
	a.strings(n, func(i int) string { return changes[i].After.Name })
	a.strings(n, func(i int) string { return string(changes[i].After.StatusType) })
	a.strings(n, func(i int) string { return changes[i].After.Metadata })
	a.integers(n, func(i int) int64 { return changes[i].After.UpdatedAt.UnixMilli() })
	a.integers(n, func(i int) int64 {
		if changes[i].Kind == customstatus.Deleted {
			return 0
		}
		hash := changes[i].After.Fingerprint()
		growth += hash
		return int64(hash)
	})
	a.integer(int64(growth))
	a.bytes(encodeChanges(changes))
	return string(a.sql)
}

// clampRevision returns a revision as a bigint. One that no commit can have had
// becomes another such revision.
func clampRevision(r customstatus.Revision) int64 {
	if r > 1<<63-1 {
		return 1<<63 - 1
	}
	return int64(r)
}

// attempt makes the commit, and finds out whether it was made if there is no answer.
// It waits for a connection until end.
func (s *Store) attempt(ctx context.Context, end time.Time, call string, changes []customstatus.Change) (customstatus.Revision, error) {
	limited, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	conn, err := s.acquireLive(limited)
	if err != nil {
		failed := fmt.Errorf("no connection, nothing was written: %w", s.describe(ctx, err))
		switch {
		case limited.Err() != nil && ctx.Err() == nil:
			failed = &late{failed}
		case mayConnect(err):
			failed = &passing{failed}
		}
		return 0, failed
	}
	id := newToken()
	// From here on, the commit goes on when ctx is done.
	answer, err := s.send(context.WithoutCancel(ctx), conn.Conn().PgConn(), id, call)
	switch {
	case err == nil:
		release(conn)
		s.setClock(answer.sent, answer.now)
		s.made(answer, id, changes)
		return customstatus.Revision(answer.revision), nil
	case isRefusal(err):
		if isStandby(err) {
			s.leaveServer(conn)
		}
		release(conn)
		return 0, s.refused(ctx, err, changes)
	}
	release(conn)
	return s.doubt(id, changes, err)
}

// acquireLive returns a connection that the server has not ended.
func (s *Store) acquireLive(ctx context.Context) (*pgxpool.Conn, error) {
	for {
		conn, err := s.pool.Acquire(ctx)
		if err != nil || !ended(conn.Conn().PgConn().Conn()) {
			return conn, err
		}
		_ = conn.Conn().Close(ctx)
		release(conn)
	}
}

// refused returns the error of a refused commit, and draws the consequences.
func (s *Store) refused(ctx context.Context, err error, changes []customstatus.Change) error {
	refusal := s.refusal(err, changes)
	switch codeOf(err) {
	case codeHistory:
		s.diverge(fmt.Errorf("the database has gone back to another history: %w", customstatus.ErrCompacted))
	case codeLate: // the clocks of two servers differ
		if s.readClock(ctx) == nil {
			return &passing{refusal}
		}
	case codeSerialize, codeDeadlock, codeReadOnly, "":
		return &passing{refusal}
	}
	return refusal
}

// answer is what commit_1 returns.
type answer struct {
	revision    uint64
	fingerprint uint64
	unlisted    bool // the commit is no longer in the feed, and fingerprint is missing
	sent        time.Time
	now         int64 // in microseconds since 1970
}

// send sends the commit and waits for the answer.
func (s *Store) send(ctx context.Context, c *pgconn.PgConn, id token, call string) (a answer, err error) {
	s.mu.Lock()
	known := s.known.read
	s.mu.Unlock()
	var own arguments
	own.integer(s.catalog)
	own.integer(recordFormat)
	if known == (position{}) {
		own.integer(-1) // nothing to compare
	} else {
		own.integer(int64(known.revision))
	}
	own.text(known.token.String())
	own.text(id.String())
	own.text(s.serverTime().Add(maxDelay).UTC().Format("2006-01-02 15:04:05.000000Z07:00"))
	// A function in FROM costs the server more, so the answer is one column.
	sql := readCommitted + "SELECT " + s.schema + ".commit_1(" + string(own.sql) + "," + call + ")"
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	a.sent = time.Now()
	rows, err := simple(ctx, c, sql)
	if err != nil {
		return a, err
	}
	if len(rows) != 1 {
		return a, fmt.Errorf("the commit has returned %d rows, want 1", len(rows))
	}
	var revision, fingerprint int64
	if _, err := fmt.Sscanf(string(rows[0][0]), "(%d,%d,%d)", &revision, &fingerprint, &a.now); err != nil {
		return a, fmt.Errorf("the commit has returned %q: %w", rows[0][0], err)
	}
	a.revision, a.fingerprint = uint64(revision), uint64(fingerprint)
	return a, nil
}

// made tells the feed of a commit of this store.
func (s *Store) made(a answer, id token, changes []customstatus.Change) {
	p := position{a.revision, id}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.has(p)
	switch {
	case s.feed == nil:
		return
	case a.unlisted:
		s.feed.alert()
		return
	}
	made := make([]customstatus.Change, len(changes))
	for i, c := range changes {
		made[i] = customstatus.Change{Kind: c.Kind, After: c.After,
			Before: customstatus.CustomUserStatus{ID: c.Before.ID, Revision: c.Before.Revision}}
		if c.Kind != customstatus.Deleted {
			made[i].After.Revision = customstatus.Revision(p.revision)
			made[i].After.UpdatedAt = time.UnixMilli(c.After.UpdatedAt.UnixMilli()).UTC()
		}
	}
	s.feed.offer(entry{token: p.token, commit: customstatus.Commit{
		Revision: customstatus.Revision(p.revision), Changes: made,
		Fingerprint: customstatus.Fingerprint(a.fingerprint), FingerprintKnown: true,
	}})
}

// doubt finds out what became of a commit that had no answer.
func (s *Store) doubt(id token, changes []customstatus.Change, cause error) (customstatus.Revision, error) {
	end := time.Now().Add(s.opts.Timeout)
	ctx, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		a, made, err := s.resolve(ctx, id)
		switch {
		case err == nil && made:
			s.log.Warn("pgstore: a commit without an answer was made", "error", cause)
			s.made(a, id, changes)
			return customstatus.Revision(a.revision), nil
		case err == nil:
			return 0, &passing{fmt.Errorf("the connection was lost, and nothing was written: %w", s.describe(context.Background(), cause))}
		case time.Now().Add(wait).After(end):
			s.mu.Lock()
			s.pending[id] = unsure{changes}
			s.mu.Unlock()
			return 0, fmt.Errorf("%w: %v; and to find out failed: %v", customstatus.ErrOutcomeUnknown, cause, err)
		}
		time.Sleep(wait)
	}
}

// settle finds out what became of all commits whose outcome is unknown.
func (s *Store) settle(ctx context.Context) error {
	s.mu.Lock()
	unknown := make([]token, 0, len(s.pending))
	for id := range s.pending {
		unknown = append(unknown, id)
	}
	s.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	for _, id := range unknown {
		if _, _, err := s.resolve(limited, id); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			// Not wrapped: this call has written nothing.
			return fmt.Errorf("an earlier commit has an unknown outcome, and to find out failed: %v", err)
		}
		s.mu.Lock()
		delete(s.pending, id)
		s.mu.Unlock()
	}
	return nil
}

// resolve decides what became of a commit.
func (s *Store) resolve(ctx context.Context, id token) (a answer, made bool, err error) {
	err = s.with(ctx, func(ctx context.Context, c *pgconn.PgConn) error {
		rows, err := simple(ctx, c, readCommitted+
			"SELECT o_revision, o_fingerprint FROM "+s.schema+".resolve_1("+strconv.FormatInt(s.catalog, 10)+",'"+id.String()+"','"+s.lockTimeout()+"')")
		if err != nil {
			return err
		}
		if len(rows) != 1 {
			return fmt.Errorf("the marker has %d rows, want 1", len(rows))
		}
		if rows[0][0] == nil {
			return nil
		}
		made = true
		revision, err := strconv.ParseInt(string(rows[0][0]), 10, 64)
		a.revision = uint64(revision)
		if a.unlisted = rows[0][1] == nil; a.unlisted || err != nil {
			return err
		}
		fingerprint, err := strconv.ParseInt(string(rows[0][1]), 10, 64)
		a.fingerprint = uint64(fingerprint)
		return err
	})
	return a, made && err == nil, err
}

// check returns an error for a commit that no store accepts, or that this one can't
// take.
func check(changes []customstatus.Change) error {
	if len(changes) == 0 {
		return errors.New("the commit has no changes")
	}
	seen := make(map[string]bool, len(changes))
	for i := range changes {
		c := &changes[i]
		id := c.ID()
		switch {
		case c.Kind < customstatus.Created || c.Kind > customstatus.Deleted:
			return fmt.Errorf("a change has the unknown kind %d", c.Kind)
		case c.Kind == customstatus.Updated && c.Before.ID != id:
			return fmt.Errorf("an update turns the status %q into %q", c.Before.ID, id)
		case seen[id]:
			return fmt.Errorf("the commit changes the status %q twice", id)
		}
		seen[id] = true
	}
	bytes, fit := 0, 0
	for i := range changes {
		after := &changes[i].After
		if len(after.ID) > maxKey || len(after.Name) > maxKey || len(after.StatusType) > maxKey || len(after.Metadata) > maxMetadata {
			return &customstatus.TooLargeError{Err: fmt.Errorf("the status %.40q has a string that is too long", after.ID)}
		}
		bytes += len(changes[i].Before.ID) + len(after.ID) + len(after.Name) + len(after.StatusType) + len(after.Metadata) + 64
		if bytes <= maxBytes {
			fit = i + 1
		}
	}
	if len(changes) > maxChanges || fit < len(changes) {
		return &customstatus.TooLargeError{MaxChanges: min(maxChanges, fit), Err: fmt.Errorf("the commit has %d changes and %d bytes", len(changes), bytes)}
	}
	return nil
}
