package pgstore

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/customstatus/customstatus"
)

// Watch implements [customstatus.SharedStore]. All watchers of a store share one
// connection, and one look for commits. [customstatus.ErrCompacted] is also returned
// when the database has gone back to another history, and when a newer version has
// written a commit that this version doesn't understand.
func (s *Store) Watch(ctx context.Context, after customstatus.Revision) iter.Seq2[customstatus.Commit, error] {
	return func(yield func(customstatus.Commit, error) bool) {
		if err := s.watch(ctx, uint64(after), yield); err != nil {
			if ctx.Err() != nil && !errors.Is(err, customstatus.ErrClosed) {
				err = ctx.Err()
			}
			yield(customstatus.Commit{}, edge("watch", err))
		}
	}
}

// watch yields commits until it returns the error of the sequence, or nil when the
// caller has left the loop.
func (s *Store) watch(ctx context.Context, after uint64, yield func(customstatus.Commit, error) bool) error {
	s.mu.Lock()
	at := position{after, s.known.tokens[after]}
	s.mu.Unlock()
	p, err := s.readPage(ctx, at)
	if err != nil {
		return err
	}
	at = p.at
	s.mu.Lock()
	for i := range p.entries {
		if e := p.entries[i].position(); !s.known.contradicts(e) {
			s.known.has(e)
		}
	}
	s.mu.Unlock()
	f, err := s.join(p.end())
	if err != nil {
		return err
	}
	defer f.part()
	// The token tells only what this store knows of the revision. The fingerprint
	// tells a catalog whether its own statuses are those of the revision.
	if !yield(customstatus.Commit{Revision: customstatus.Revision(after), Fingerprint: p.fingerprint, FingerprintKnown: true}, nil) {
		return nil
	}
	entries := p.entries
	for {
		for i := range entries {
			e := &entries[i]
			if err := s.mayYield(ctx); err != nil {
				return err
			}
			c := e.commit
			c.Changes = slices.Clone(c.Changes)
			if !yield(c, nil) {
				return nil
			}
			at = e.position()
		}
		var news <-chan struct{}
		var behind bool
		if entries, news, behind, err = f.next(at); err != nil {
			return err
		}
		switch {
		case behind:
			if p, err = s.readPage(ctx, at); err != nil {
				return err
			}
			entries = p.entries
		case news != nil:
			select {
			case <-news:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

func (s *Store) mayYield(ctx context.Context) error {
	if s.closing.Err() != nil {
		return customstatus.ErrClosed
	}
	return ctx.Err()
}

// readPage is read with a connection of the pool, until the store is closed.
func (s *Store) readPage(ctx context.Context, at position) (p page, err error) {
	if err := s.enter(ctx); err != nil {
		return p, err
	}
	defer s.leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	err = s.with(ctx, func(ctx context.Context, c *pgconn.PgConn) (err error) {
		p, err = s.read(ctx, c, at)
		return err
	})
	if s.closing.Err() != nil {
		err = customstatus.ErrClosed
	}
	return p, err
}

var _ customstatus.SharedStore = (*Store)(nil)
