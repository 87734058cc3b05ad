package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/strictjson"
)

// database is the catalog in a file, which this process has opened or a server
// holds.
type database interface {
	// export writes all statuses of one instant, one a line, by name.
	export(ctx context.Context, w io.Writer) error
	// backup writes a copy of the file as it is at one instant.
	backup(ctx context.Context, w io.Writer) error
	// importFrom adds the statuses that r holds, all or none.
	importFrom(ctx context.Context, r io.Reader) (importResult, error)
	close() error
}

// importResult is what came of an import.
type importResult struct {
	// Read is the number of statuses in the source, Added of those that were
	// not in the catalog already.
	Read  int `json:"read"`
	Added int `json:"added"`
	// Bad are the lines because of which nothing was imported.
	Bad badLines `json:"bad"`
}

// openDatabase opens the file at path, which must exist unless create is set.
// If another process holds it, it is used through that one's control socket.
func openDatabase(ctx context.Context, path string, create bool, rules customstatus.Rules) (database, error) {
	db, err := openLocal(ctx, path, create, rules)
	if !errors.Is(err, customstatus.ErrLocked) {
		return db, err
	}
	served, dialErr := dialControl(ctx, controlPath(path))
	if dialErr != nil {
		return nil, fmt.Errorf("%w, and it does not answer: %w", err, dialErr)
	}
	return served, nil
}

// localDatabase is a file that this process has opened.
type localDatabase struct {
	catalog *customstatus.Catalog
	store   *customstatus.BoltStore
	rules   customstatus.Rules
}

func openLocal(ctx context.Context, path string, create bool, rules customstatus.Rules) (*localDatabase, error) {
	if !create {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
	}
	store, err := customstatus.OpenBolt(path, nil)
	if err != nil {
		return nil, sayRecover(path, err)
	}
	catalog, err := customstatus.Open(ctx, store, &customstatus.Options{Rules: rules})
	if err != nil {
		return nil, errors.Join(sayRecover(path, err), store.Close())
	}
	return &localDatabase{catalog: catalog, store: store, rules: rules}, nil
}

// sayRecover adds to the error of a damaged file what can be done.
func sayRecover(path string, err error) error {
	if !errors.Is(err, customstatus.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w; to save what is intact:\n  customstatusd recover --db %s new.db", err, shellQuote(path))
}

func (db *localDatabase) close() error { return db.catalog.Close() }

func (db *localDatabase) export(_ context.Context, w io.Writer) error {
	page, err := db.catalog.List(customstatus.Query{})
	if err != nil {
		return err
	}
	bw := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	for _, s := range page.Statuses {
		line = append(s.AppendJSON(line[:0]), '\n')
		if _, err := bw.Write(line); err != nil {
			return err
		}
	}
	return bw.Flush()
}

func (db *localDatabase) backup(_ context.Context, w io.Writer) error { return db.store.Backup(w) }

func (db *localDatabase) importFrom(ctx context.Context, r io.Reader) (importResult, error) {
	src, err := readSource(r, db.rules)
	if err != nil {
		return importResult{}, err
	}
	result := importResult{Read: len(src.statuses)}
	if len(src.bad.Lines) > 0 {
		result.Bad = src.bad
		return result, nil
	}
	before := db.catalog.Revision()
	revision, err := db.catalog.Import(ctx, src.statuses)
	var refused *customstatus.ImportError
	switch {
	case errors.As(err, &refused):
		for _, record := range refused.Records {
			src.bad.add(src.where(src.numbers[record.Index]), ruleError(record.Err))
		}
		result.Bad = src.bad
		return result, nil
	case err != nil:
		return importResult{}, err
	}
	if revision != before {
		for _, s := range src.statuses {
			if s, err := db.catalog.GetByName(s.Name); err == nil && s.Revision == revision {
				result.Added++
			}
		}
	}
	return result, nil
}

// ruleError names the key and the value at fault in what the catalog says.
func ruleError(err error) error {
	var e *customstatus.Error
	if !errors.As(err, &e) {
		return err
	}
	key := e.Field
	switch e.Field {
	case customstatus.FieldName:
		key = "name"
	case customstatus.FieldStatusType:
		key = "statusType"
	}
	return &strictjson.KeyError{Key: key, Err: quoteInput(e)}
}

// quoteInput quotes the value at fault, or adds it: it comes from a file, and
// what a terminal takes for a command or a line of its own must not get there.
func quoteInput(e *customstatus.Error) error {
	if e.Input == "" {
		return e
	}
	if rest, found := strings.CutPrefix(e.Reason, e.Input); found && e.Code == customstatus.CodeInvalid {
		quoted := *e
		quoted.Reason = strconv.Quote(e.Input) + rest
		return &quoted
	}
	return fmt.Errorf("%q: %w", e.Input, e)
}
