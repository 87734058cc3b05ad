package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/customstatus/customstatus"
)

// ErrNoCatalog is returned by [Open] and [New] with [Options.NoCreate] if the schema
// or the catalog does not exist.
var ErrNoCatalog = errors.New("there is no such catalog")

// ErrNewerFormat is returned by [Store.Commit] when a newer version of this package
// has written records in a format that this version doesn't know. Nothing was
// written. It lasts until this program is upgraded. Reads go on.
var ErrNewerFormat = errors.New("a newer version of this program has written records")

var (
	errStandby = errors.New("the server is a standby, and not the primary")
	errGone    = errors.New("the catalog's row is gone from the database")
)

// The codes of errors that the functions of the schema raise, and of PostgreSQL.
const (
	codeConflict   = "CS001"
	codeFormat     = "CS002"
	codeHistory    = "CS003"
	codeLate       = "CS004"
	codeGone       = "CS005"
	codeUnique     = "23505"
	codeReadOnly   = "25006"
	codeSerialize  = "40001"
	codeDeadlock   = "40P01"
	codeUnknown    = "40003"
	codeLockFailed = "55P03"
	codeTooMany    = "53300"
)

// edge returns an error for the caller.
func edge(what string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("pgstore: %s: %w", what, err)
}

// codeOf returns the SQLSTATE of an error of the server, or "".
func codeOf(err error) string {
	if e := (*pgconn.PgError)(nil); errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// isStandby reports whether the server can't write because it is a standby.
func isStandby(err error) bool {
	return errors.Is(err, errStandby) || codeOf(err) == codeReadOnly
}

// mayConnect reports whether an attempt to connect has failed for a cause that may pass,
// as when the server is about to start, or a standby to become the primary.
func mayConnect(err error) bool {
	if !errors.As(err, new(*pgconn.ConnectError)) {
		return false
	}
	code := codeOf(err)
	return code == "" || code == codeTooMany || strings.HasPrefix(code, "57") || strings.HasPrefix(code, "08")
}

// isRefusal reports whether the server has answered that it made nothing of a
// transaction. A connection that ends is no answer: the server may also end it
// after the commit, while it waits for a standby. A pooler reports a lost server
// as a failed connection, of the class 08.
func isRefusal(err error) bool {
	e := (*pgconn.PgError)(nil)
	if !errors.As(err, &e) {
		return pgconn.SafeToRetry(err)
	}
	severity := e.SeverityUnlocalized
	if severity == "" {
		severity = e.Severity
	}
	return severity == "ERROR" && e.Code != codeUnknown && !strings.HasPrefix(e.Code, "08")
}

// refusal returns the error of a commit that the server has refused.
func (s *Store) refusal(err error, changes []customstatus.Change) error {
	e := (*pgconn.PgError)(nil)
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code == codeConflict:
		why := "a status"
		if i := 0; scan(e.Message, &i) && i >= 1 && i <= len(changes) {
			b := &changes[i-1].Before
			why = fmt.Sprintf("the status %q", b.ID)
			return fmt.Errorf("%w: %s is not at revision %d", customstatus.ErrConflict, why, b.Revision)
		}
		return fmt.Errorf("%w: %s has changed", customstatus.ErrConflict, why)
	case e.Code == codeUnique && e.ConstraintName == "statuses_id":
		return fmt.Errorf("%w: the id of a created status is in use", customstatus.ErrConflict)
	case e.Code == codeUnique && e.ConstraintName == "statuses_name":
		return fmt.Errorf("%w: a name belongs to another status", customstatus.ErrConflict)
	case e.Code == codeHistory:
		return fmt.Errorf("%w: the database has another history than was read, or no longer keeps the revision that was read", customstatus.ErrConflict)
	case e.Code == codeFormat:
		return fmt.Errorf("%w of the %s, and this version knows format %d: nothing was written; upgrade this program", ErrNewerFormat, e.Message, recordFormat)
	case e.Code == codeGone:
		return errGone
	case e.Code == codeLockFailed:
		return fmt.Errorf("another transaction holds a lock on the catalog or on a table of the schema, nothing was written: %w", err)
	}
	return fmt.Errorf("nothing was written: %w", err)
}

// silence says that the database has not answered in time. It is a [net.Error], and not
// [context.DeadlineExceeded]: the limit is the store's, and not that of the caller's
// context.
type silence struct {
	limit time.Duration
	cause error // may be nil
}

func (s *silence) Error() string {
	text := fmt.Sprintf("the database has not answered within %v", s.limit)
	if s.cause != nil {
		text += ": " + s.cause.Error()
	}
	return text
}

func (s *silence) Timeout() bool   { return true }
func (s *silence) Temporary() bool { return true }

var _ net.Error = (*silence)(nil)

func scan(s string, i *int) bool {
	_, err := fmt.Sscan(s, i)
	return err == nil
}
