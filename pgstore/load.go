package pgstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/customstatus/customstatus"
)

// Load implements [customstatus.Store]. [customstatus.ErrDamaged] is returned when
// the statuses don't have the fingerprint that the last commit left, because
// somebody else has written to the tables say. Load first finds out what became of
// commits whose outcome was unknown. If ctx has no deadline, Load may take longer
// than [Options.Timeout] as long as it makes progress.
func (s *Store) Load(ctx context.Context) (customstatus.Contents, error) {
	if err := s.enter(ctx); err != nil {
		return customstatus.Contents{}, edge("load", err)
	}
	defer s.leave()
	err := s.settle(ctx)
	if err == nil {
		var all customstatus.Contents
		if all, err = s.load(ctx); err == nil {
			return all, nil
		}
	}
	return customstatus.Contents{}, edge("load", err)
}

func (s *Store) load(ctx context.Context) (customstatus.Contents, error) {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	alarm := time.AfterFunc(s.opts.Timeout, cancel)
	defer alarm.Stop()
	all, err := s.loadAll(running, alarm)
	if err != nil && ctx.Err() == nil && running.Err() != nil {
		err = &silence{limit: s.opts.Timeout}
	}
	return all, err
}

func (s *Store) loadAll(ctx context.Context, alarm *time.Timer) (all customstatus.Contents, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return all, err
	}
	defer release(conn)
	s.mu.Lock()
	before, read := s.known.last, s.known.read
	s.mu.Unlock()
	// One statement sees one instant. The first row is the catalog itself.
	rows := query(ctx, conn.Conn().PgConn(), `SELECT -1, uuid_send(token),
		(SELECT uuid_send(c.token) FROM `+s.schema+`.commits c WHERE c.catalog = $1 AND c.revision = $2),
		''::bytea, ''::bytea, compacted, revision, fingerprint, pg_is_in_recovery()
		FROM `+s.schema+`.catalogs WHERE id = $1
		UNION ALL SELECT format, id, name, type, metadata, updated_at, revision, hash, false
		FROM `+s.schema+`.statuses WHERE catalog = $1`, int8(s.catalog), int8(clampRevision(customstatus.Revision(read.revision))))
	all.Shared, all.FingerprintKnown = true, true
	var (
		sum     uint64
		head    position
		found   bool
		strings builder
	)
	for n := 0; rows.NextRow(); n++ {
		if n%256 == 0 {
			alarm.Reset(s.opts.Timeout)
		}
		v := rows.Values()
		format := int32(binary.BigEndian.Uint32(v[0]))
		revision, hash := binary.BigEndian.Uint64(v[6]), binary.BigEndian.Uint64(v[7])
		if format == -1 {
			found = true
			head.revision = revision
			copy(head.token[:], v[1])
			// What was read before must still be there, unless it is compacted.
			all.Rewound = read != position{} && binary.BigEndian.Uint64(v[5]) <= read.revision && string(v[2]) != string(read.token[:])
			all.Fingerprint = customstatus.Fingerprint(hash)
			if v[8][0] != 0 {
				_, _ = rows.Close()
				s.leaveServer(conn)
				return all, errStandby
			}
			continue
		}
		status := customstatus.CustomUserStatus{
			Revision:  customstatus.Revision(revision),
			UpdatedAt: time.UnixMilli(int64(binary.BigEndian.Uint64(v[5]))).UTC(),
		}
		var statusType string
		strings.take(v[1:5], &status.ID, &status.Name, &statusType, &status.Metadata)
		status.StatusType = customstatus.StatusType(statusType)
		// A newer format may have fields that its hash covers and this version
		// doesn't know.
		if format <= recordFormat && uint64(status.Fingerprint()) != hash {
			_, _ = rows.Close()
			return all, fmt.Errorf("%w: the status %q is not as it was committed", customstatus.ErrDamaged, status.ID)
		}
		sum += hash
		all.Statuses = append(all.Statuses, status)
	}
	switch _, err := rows.Close(); {
	case err != nil:
		return all, err
	case !found:
		return all, errGone
	case sum != uint64(all.Fingerprint):
		return all, fmt.Errorf("%w: the %d statuses at revision %d do not have the fingerprint of the last commit", customstatus.ErrDamaged, len(all.Statuses), head.revision)
	}
	all.Revision = customstatus.Revision(head.revision)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.loaded(head, before)
	return all, nil
}

// builder makes the strings of a row, which share one allocation.
type builder struct{ row []byte }

// take copies each value to the string at its place.
func (b *builder) take(values [][]byte, to ...*string) {
	b.row = b.row[:0]
	for _, v := range values {
		b.row = append(b.row, v...)
	}
	rest := string(b.row)
	for i, v := range values {
		*to[i], rest = rest[:len(v)], rest[len(v):]
	}
}
