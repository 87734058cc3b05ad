package pgstore

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/customstatus/customstatus"
)

// simple runs statements in one message of the simple protocol, as one transaction,
// and returns the rows of the last. The server runs nothing before it has the whole
// message, and needs nothing more from the client to commit.
func simple(ctx context.Context, c *pgconn.PgConn, sql string) ([][][]byte, error) {
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 {
		return nil, err
	}
	return results[len(results)-1].Rows, nil
}

// readCommitted begins a transaction that waits for others and must then see what they
// have written. The default level of a session may be another one.
const readCommitted = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; "

// param is a parameter in the binary format.
type param struct {
	value []byte
	oid   uint32
}

func int8(n int64) param {
	return param{binary.BigEndian.AppendUint64(nil, uint64(n)), pgtype.Int8OID}
}

// query runs a statement without a name, so that it works through a pooler in
// transaction mode. Its results are binary.
func query(ctx context.Context, c *pgconn.PgConn, sql string, params ...param) *pgconn.ResultReader {
	values, oids := make([][]byte, len(params)), make([]uint32, len(params))
	for i, p := range params {
		values[i], oids[i] = p.value, p.oid
	}
	return c.ExecParams(ctx, sql, values, oids, []int16{pgtype.BinaryFormatCode}, []int16{pgtype.BinaryFormatCode})
}

// hexLiteral returns a literal of the type bytea, whatever
// standard_conforming_strings says.
func hexLiteral(b []byte) string {
	return `E'\\x` + hex.EncodeToString(b) + `'::bytea`
}

// arguments builds the arguments of a function as literals.
type arguments struct{ sql []byte }

func (a *arguments) comma() {
	if len(a.sql) > 0 {
		a.sql = append(a.sql, ',')
	}
}

func (a *arguments) integer(n int64) {
	a.comma()
	a.sql = strconv.AppendInt(a.sql, n, 10)
}

// text adds a string that has no quotes and backslashes.
func (a *arguments) text(s string) {
	a.comma()
	a.sql = append(a.sql, '\'')
	a.sql = append(a.sql, s...)
	a.sql = append(a.sql, '\'')
}

func (a *arguments) bytes(b []byte) {
	a.comma()
	a.sql = append(a.sql, `E'\\x`...)
	a.sql = hex.AppendEncode(a.sql, b)
	a.sql = append(a.sql, '\'')
}

func (a *arguments) integers(n int, at func(i int) int64) {
	a.comma()
	a.sql = append(a.sql, '\'', '{')
	for i := range n {
		if i > 0 {
			a.sql = append(a.sql, ',')
		}
		a.sql = strconv.AppendInt(a.sql, at(i), 10)
	}
	a.sql = append(a.sql, '}', '\'')
}

func (a *arguments) strings(n int, at func(i int) string) {
	a.comma()
	a.sql = append(a.sql, 'E', '\'', '{')
	for i := range n {
		if i > 0 {
			a.sql = append(a.sql, ',')
		}
		a.sql = append(a.sql, `"\\\\x`...)
		a.sql = hex.AppendEncode(a.sql, []byte(at(i)))
		a.sql = append(a.sql, '"')
	}
	a.sql = append(a.sql, '}', '\'')
}

// encodeChanges returns the changes in the format of the feed, recordFormat.
func encodeChanges(changes []customstatus.Change) []byte {
	b := binary.AppendUvarint(nil, uint64(len(changes)))
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	for i := range changes {
		c := &changes[i]
		b = append(b, byte(c.Kind))
		text(c.ID())
		if c.Kind != customstatus.Created {
			b = binary.AppendUvarint(b, uint64(c.Before.Revision))
		}
		if c.Kind != customstatus.Deleted {
			text(c.After.Name)
			text(string(c.After.StatusType))
			text(c.After.Metadata)
			b = binary.AppendVarint(b, c.After.UpdatedAt.UnixMilli())
		}
	}
	return b
}

var errEncoding = errors.New("the changes of a commit are not in their format")

// decodeChanges returns the changes of the commit at a revision.
func decodeChanges(encoded []byte, revision customstatus.Revision) ([]customstatus.Change, error) {
	d := decoder{rest: string(encoded)}
	n := d.number()
	if n > uint64(len(encoded)) {
		return nil, errEncoding
	}
	changes := make([]customstatus.Change, n)
	for i := range changes {
		c := &changes[i]
		c.Kind = customstatus.ChangeKind(d.byte())
		id := d.text()
		if c.Kind != customstatus.Created {
			c.Before = customstatus.CustomUserStatus{ID: id, Revision: customstatus.Revision(d.number())}
		}
		if c.Kind != customstatus.Deleted {
			c.After = customstatus.CustomUserStatus{ID: id, Name: d.text(), StatusType: customstatus.StatusType(d.text()),
				Metadata: d.text(), UpdatedAt: time.UnixMilli(d.signed()).UTC(), Revision: revision}
		}
		if c.Kind < customstatus.Created || c.Kind > customstatus.Deleted {
			d.failed = true
		}
	}
	if d.failed || d.rest != "" {
		return nil, errEncoding
	}
	return changes, nil
}

// decoder reads values until one is cut short.
type decoder struct {
	rest   string
	failed bool
}

func (d *decoder) take(n uint64) string {
	if n > uint64(len(d.rest)) {
		d.failed = true
		d.rest = ""
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) byte() byte {
	if s := d.take(1); s != "" {
		return s[0]
	}
	return 0
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint([]byte(d.rest[:min(len(d.rest), binary.MaxVarintLen64)]))
	d.skip(size)
	return n
}

func (d *decoder) signed() int64 {
	n, size := binary.Varint([]byte(d.rest[:min(len(d.rest), binary.MaxVarintLen64)]))
	d.skip(size)
	return n
}

func (d *decoder) skip(size int) {
	if size <= 0 {
		d.failed = true
		d.rest = ""
		return
	}
	d.rest = d.rest[size:]
}

func (d *decoder) text() string { return d.take(d.number()) }
