package contestant

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/customstatus/customstatus"
)

// Without the hidden row id, SQLite keeps two trees instead of three.
const sqliteSchema = `
CREATE TABLE IF NOT EXISTS status (
	id          TEXT    NOT NULL PRIMARY KEY,
	name        TEXT    NOT NULL,
	status_type TEXT    NOT NULL,
	updated_at  INTEGER NOT NULL -- milliseconds since 1970
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS status_name ON status (name);`

// sqlDB is SQLite (modernc.org/sqlite) with a write-ahead log that is synced at each
// commit, one connection for writes and some for reads.
type sqlDB struct {
	reads, writes      *sql.DB
	byID, byName, list *sql.Stmt    // on reads
	insert, update     *sql.Stmt    // on writes
	total              atomic.Int64 // a count(*) would read the whole index
}

func openSQLite(dir string) (_ Contestant, err error) {
	open := func(conns int) (*sql.DB, error) {
		q := url.Values{"_pragma": {
			"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)",
			"cache_size(-65536)", "temp_store(MEMORY)", "mmap_size(268435456)",
		}, "_txlock": {"immediate"}}
		db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "status.sqlite")+"?"+q.Encode())
		if err != nil {
			return nil, err
		}
		db.SetMaxOpenConns(conns)
		db.SetMaxIdleConns(conns)
		return db, nil
	}
	s := &sqlDB{}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.writes, err = open(1); err != nil {
		return nil, err
	}
	if _, err = s.writes.Exec(sqliteSchema); err != nil {
		return nil, err
	}
	if s.reads, err = open(max(4, runtime.GOMAXPROCS(0))); err != nil {
		return nil, err
	}
	for _, p := range []struct {
		db   *sql.DB
		stmt **sql.Stmt
		sql  string
	}{
		{s.reads, &s.byID, `SELECT id, name, status_type, updated_at FROM status WHERE id = ?`},
		{s.reads, &s.byName, `SELECT id, name, status_type, updated_at FROM status WHERE name = ?`},
		// The index alone counts the rows to skip.
		{s.reads, &s.list, `SELECT s.id, s.name, s.status_type, s.updated_at
			FROM (SELECT id FROM status ORDER BY name LIMIT ? OFFSET ?) AS page JOIN status AS s ON s.id = page.id
			ORDER BY s.name`},
		{s.writes, &s.insert, `INSERT INTO status (id, name, status_type, updated_at) VALUES (?, ?, ?, ?)`},
		{s.writes, &s.update, `UPDATE status SET name = ?, status_type = ?, updated_at = ? WHERE id = ?`},
	} {
		if *p.stmt, err = p.db.Prepare(p.sql); err != nil {
			return nil, err
		}
	}
	var total int64
	if err = s.reads.QueryRow(`SELECT count(*) FROM status`).Scan(&total); err != nil {
		return nil, err
	}
	s.total.Store(total)
	return s, nil
}

func scanStatus(scan func(...any) error) (customstatus.CustomUserStatus, error) {
	var (
		s      customstatus.CustomUserStatus
		millis int64
	)
	err := scan(&s.ID, &s.Name, (*string)(&s.StatusType), &millis)
	if errors.Is(err, sql.ErrNoRows) {
		return s, customstatus.ErrNotFound
	}
	s.UpdatedAt = time.UnixMilli(millis).UTC()
	return s, err
}

func (s *sqlDB) GetByID(id string) (customstatus.CustomUserStatus, error) {
	return scanStatus(s.byID.QueryRow(id).Scan)
}

func (s *sqlDB) GetByName(name string) (customstatus.CustomUserStatus, error) {
	return scanStatus(s.byName.QueryRow(name).Scan)
}

func (s *sqlDB) Create(f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	st, err := newStatus(f)
	if err != nil {
		return st, err
	}
	if _, err := s.insert.Exec(st.ID, st.Name, string(st.StatusType), st.UpdatedAt.UnixMilli()); err != nil {
		return st, sqliteError(err)
	}
	s.total.Add(1)
	return st, nil
}

func (s *sqlDB) Update(id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	st, err := changedStatus(id, f)
	if err != nil {
		return st, err
	}
	res, err := s.update.Exec(st.Name, string(st.StatusType), st.UpdatedAt.UnixMilli(), id)
	if err != nil {
		return st, sqliteError(err)
	}
	if n, err := res.RowsAffected(); err != nil {
		return st, err
	} else if n == 0 {
		return st, customstatus.ErrNotFound
	}
	return st, nil
}

func (s *sqlDB) List(offset, limit int) ([]customstatus.CustomUserStatus, int, error) {
	total := int(s.total.Load())
	rows, err := s.list.Query(limit, offset)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	page := make([]customstatus.CustomUserStatus, 0, max(0, min(limit, total-offset)))
	for rows.Next() {
		st, err := scanStatus(rows.Scan)
		if err != nil {
			return nil, 0, err
		}
		page = append(page, st)
	}
	return page, total, rows.Err()
}

func (s *sqlDB) Import(in []customstatus.CustomUserStatus) error {
	if err := checkAll(in); err != nil {
		return err
	}
	// Rows in the order of the primary key are appended to the table.
	byID := slices.Clone(in)
	slices.SortFunc(byID, func(a, b customstatus.CustomUserStatus) int { return strings.Compare(a.ID, b.ID) })
	tx, err := s.writes.BeginTx(context.Background(), nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert := tx.Stmt(s.insert)
	for _, st := range byID {
		if _, err := insert.Exec(st.ID, st.Name, string(st.StatusType), st.UpdatedAt.UnixMilli()); err != nil {
			return sqliteError(err)
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.total.Add(int64(len(in)))
	return nil
}

func (s *sqlDB) Close() error {
	var errs []error
	for _, stmt := range []*sql.Stmt{s.byID, s.byName, s.list, s.insert, s.update} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	for _, db := range []*sql.DB{s.reads, s.writes} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

func sqliteError(err error) error {
	if e := (*sqlite.Error)(nil); errors.As(err, &e) {
		switch e.Code() {
		case sqlite3.SQLITE_CONSTRAINT_UNIQUE:
			return customstatus.ErrNameInUse
		case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
			return customstatus.ErrIDInUse
		}
	}
	return err
}
