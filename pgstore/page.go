package pgstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/customstatus/customstatus"
)

// memoryPositions is how many positions a store remembers.
const memoryPositions = 1024

// position is a revision in one history: the token tells it from the same revision
// in another.
type position struct {
	revision uint64
	token    token
}

// memory has the positions that a store has told of. When the database has another
// token at one of them, it has gone back to another history, because a failover has
// lost commits say.
type memory struct {
	last   position // of all that was told
	read   position // the last one of what was read or made, so that a commit may rest on it
	tokens map[uint64]token
	order  []uint64
	floor  uint64 // the revision of the last of all loads
	loads  uint64 // their number
}

// loaded adds the position of everything that was read. The store had told of before
// when the reading began, and may have told of a later position since, which is not
// forgotten then: what the database shows next must have it.
func (m *memory) loaded(p, before position) {
	_, there := m.tokens[p.revision]
	if p.revision < before.revision || m.contradicts(p) || !there && p.revision > m.last.revision {
		*m = memory{loads: m.loads}
	}
	// What is older says nothing more, and may be of a history that is lost.
	maps.DeleteFunc(m.tokens, func(r uint64, _ token) bool { return r < p.revision })
	m.order = slices.DeleteFunc(m.order, func(r uint64) bool { return r < p.revision })
	m.floor = p.revision
	m.loads++
	m.has(p)
}

// has adds the position of what was read or made.
func (m *memory) has(p position) {
	m.add(p)
	if p.revision >= m.read.revision {
		m.read = p
	}
}

func (m *memory) add(p position) {
	if m.tokens == nil {
		m.tokens = make(map[uint64]token)
	}
	// The answer to a commit may come after a load that has found another history.
	if _, there := m.tokens[p.revision]; there || p.revision < m.floor {
		return
	}
	if p.revision >= m.last.revision {
		m.last = p
	}
	m.tokens[p.revision] = p.token
	m.order = append(m.order, p.revision)
	if len(m.order) > memoryPositions {
		delete(m.tokens, m.order[0])
		m.order = m.order[1:]
	}
}

// contradicts reports whether p belongs to another history than a position in m.
func (m *memory) contradicts(p position) bool {
	if p.revision == m.last.revision && m.last != (position{}) {
		return p != m.last // others may have taken its place among the tokens
	}
	told, there := m.tokens[p.revision]
	return there && told != p.token
}

// entry is a commit of the feed.
type entry struct {
	commit customstatus.Commit
	token  token
	bytes  int
}

func (e *entry) position() position {
	return position{uint64(e.commit.Revision), e.token}
}

// page is what one look at the database finds.
type page struct {
	at          position // where it begins
	fingerprint customstatus.Fingerprint
	entries     []entry // the commits after it, maybe not all
	more        bool    // there are more commits
}

// read reads the commits after a revision. If the token isn't zero, it must be that
// of the revision.
func (s *Store) read(ctx context.Context, c *pgconn.PgConn, after position) (page, error) {
	p := page{at: after}
	if after.revision > 1<<63-1 {
		return p, fmt.Errorf("%w: no commit has had the revision %d", customstatus.ErrCompacted, after.revision)
	}
	s.mu.Lock()
	last := s.known.last // was made before what is read
	s.mu.Unlock()
	rows := query(ctx, c, "SELECT * FROM "+s.schema+".feed_1($1, $2)", int8(s.catalog), int8(int64(after.revision)))
	var head uint64
	found := false
	err := func() error {
		for rows.NextRow() {
			v := rows.Values()
			head = binary.BigEndian.Uint64(v[1])
			compacted := binary.BigEndian.Uint64(v[2])
			if v[0][0] != 0 {
				return errStandby
			}
			if !found {
				found = true
				switch {
				case after.revision > head:
					return fmt.Errorf("%w: the last commit has revision %d, and not %d", customstatus.ErrCompacted, head, after.revision)
				case after.revision < compacted:
					return fmt.Errorf("%w: the changes up to revision %d are no longer kept", customstatus.ErrCompacted, compacted)
				case v[3] == nil || binary.BigEndian.Uint64(v[3]) != after.revision:
					return fmt.Errorf("%w: there is no commit of revision %d", customstatus.ErrCompacted, after.revision)
				case after.token != token{} && after.token != token(v[4]):
					return fmt.Errorf("%w: the database has gone back to another history before revision %d", customstatus.ErrCompacted, after.revision)
				}
				p.at.token, p.fingerprint = token(v[4]), customstatus.Fingerprint(binary.BigEndian.Uint64(v[5]))
				continue
			}
			e := entry{token: token(v[4]), bytes: len(v[7])}
			e.commit = customstatus.Commit{Revision: customstatus.Revision(binary.BigEndian.Uint64(v[3])),
				Fingerprint: customstatus.Fingerprint(binary.BigEndian.Uint64(v[5])), FingerprintKnown: true}
			if last := p.end().revision; uint64(e.commit.Revision) != last+1 {
				return fmt.Errorf("%w: the commit after revision %d is missing", customstatus.ErrCompacted, last)
			}
			if s.contradicts(e.position()) {
				return fmt.Errorf("%w: the database has gone back to another history before revision %d", customstatus.ErrCompacted, e.commit.Revision)
			}
			if format := int32(binary.BigEndian.Uint32(v[6])); format > recordFormat {
				// Load gives all that this version can use.
				return fmt.Errorf("%w: the commit of revision %d has the format %d of a newer version", customstatus.ErrCompacted, e.commit.Revision, format)
			}
			var err error
			if e.commit.Changes, err = decodeChanges(v[7], e.commit.Revision); err != nil {
				// Load reads past it.
				return fmt.Errorf("%w: %w: %w: revision %d", customstatus.ErrCompacted, customstatus.ErrDamaged, err, e.commit.Revision)
			}
			p.entries = append(p.entries, e)
		}
		return nil
	}()
	_, closed := rows.Close()
	switch {
	case err != nil && len(p.entries) > 0 && !errors.Is(err, errStandby):
		// What came before is good, and the next read says what is wrong.
		p.more = true
		return p, nil
	case err != nil:
		return p, err
	case closed != nil:
		return p, closed
	case !found:
		return p, errGone
	}
	p.more = p.end().revision < head
	switch {
	case head < last.revision:
		return p, fmt.Errorf("%w: the database has gone back from revision %d to %d", customstatus.ErrCompacted, last.revision, head)
	case p.more && len(p.entries) == 0:
		// Whoever reads on at once would do so for ever.
		return p, fmt.Errorf("%w: the commit after revision %d is missing", customstatus.ErrCompacted, after.revision)
	}
	return p, nil
}

// contradicts reports whether the store has told of another commit of the revision.
func (s *Store) contradicts(p position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known.contradicts(p)
}

// end returns the position of the last commit.
func (p *page) end() position {
	if len(p.entries) == 0 {
		return p.at
	}
	return p.entries[len(p.entries)-1].position()
}
