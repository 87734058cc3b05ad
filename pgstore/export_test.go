package pgstore

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/customstatus/customstatus"
)

// Compact forgets the commits up to and including a revision. Commits do this by
// themselves, when there are many more than a test makes.
func (s *Store) Compact(ctx context.Context, upTo customstatus.Revision) error {
	if err := s.enter(ctx); err != nil {
		return edge("compact", err)
	}
	defer s.leave()
	return edge("compact", s.with(ctx, func(ctx context.Context, c *pgconn.PgConn) error {
		to := strconv.FormatInt(clampRevision(upTo), 10)
		id := strconv.FormatInt(s.catalog, 10)
		// The first statement takes the lock, so that the second sees every commit.
		_, err := simple(ctx, c, "SELECT set_config('lock_timeout', '"+s.lockTimeout()+"', true); "+
			"UPDATE "+s.schema+".catalogs SET compacted = greatest(compacted, least(revision, "+to+")) WHERE id = "+id+"; "+
			"DELETE FROM "+s.schema+".commits USING "+s.schema+".catalogs h WHERE h.id = "+id+" AND catalog = h.id AND commits.revision < h.compacted")
		return err
	}))
}
