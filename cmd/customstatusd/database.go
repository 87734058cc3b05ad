package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/cmd/customstatusd/internal/statusfile"
)

// database is the catalog in a file. Either this process has opened the file, or a
// server holds it.
type database interface {
	// export writes all statuses as they are at one instant, one on each line, in
	// the order of their names, in formatLines or formatExtended.
	export(ctx context.Context, w io.Writer, format string) error
	// backup writes a copy of the file as it is at one instant.
	backup(ctx context.Context, w io.Writer) error
	// importFrom adds the statuses that r holds. One commit adds all or none. If
	// they don't fit into one commit, importFrom makes several, and calls said
	// before the first and after each. Updates are commits of their own; importFrom
	// calls said now and then. The result is valid with an error, too.
	importFrom(ctx context.Context, r io.Reader, opts importOptions, said func(importParts)) (importResult, error)
	// state returns what keeps the database from being written, such as another
	// file in the place of the open one, or nil.
	state(ctx context.Context) error
	close() error
}

// noCatalog is the error of a shared store that was opened to be read and has no
// catalog.
type noCatalog struct{ err error }

func (e *noCatalog) Error() string { return e.err.Error() }
func (e *noCatalog) Unwrap() error { return e.err }

// missing reports whether opening the store to read it failed because nothing is there.
func (a address) missing(err error) bool {
	if a.shared() {
		none := (*noCatalog)(nil) // a missing file of a certificate is something else
		return errors.As(err, &none)
	}
	return errors.Is(err, fs.ErrNotExist)
}

// openDatabase returns the database at an address. A shared store is opened, whether
// servers run or not, and its catalog is made if create is set. If a server holds the file, the database is
// that of the server, whatever is at the path now; the error is a [*silent] if it hangs. Otherwise the file is opened: to be
// written and made, if create is set, or else only to be read.
func openDatabase(ctx context.Context, a address, create bool, rules customstatus.Rules) (database, error) {
	if a.shared() {
		return openShared(ctx, a, create, customstatus.Options{Rules: rules})
	}
	pl, err := findPlace(a.path)
	if err != nil {
		return nil, err
	}
	served, dialErr := dialControl(ctx, controlPath(pl.path))
	switch notTrusted := (*untrusted)(nil); {
	case dialErr == nil:
		return served, nil
	case errors.As(dialErr, &notTrusted), errors.As(dialErr, new(*silent)):
		return nil, dialErr // there is a server, which must not be passed over
	}
	opts := customstatus.Options{Rules: rules}
	open := openToRead
	if create {
		open = openToWrite
	}
	db, err := open(ctx, pl, opts)
	if !errors.Is(err, customstatus.ErrLocked) {
		return db, err
	}
	if served, dialErr = dialControl(ctx, controlPath(pl.path)); dialErr == nil { // it has just started
		return served, nil
	}
	return nil, fmt.Errorf("%w, and it does not answer: %w", err, dialErr)
}

func openToWrite(ctx context.Context, pl place, opts customstatus.Options) (*localDatabase, error) {
	return openLocal(ctx, pl, true, opts)
}

// localDatabase is a file, or a shared store, that this process has opened.
type localDatabase struct {
	catalog *customstatus.Catalog
	path    string                                 // of the file, or ""
	copied  *fileCopy                              // what is open instead of the file at path, or nil
	store   atomic.Pointer[customstatus.BoltStore] // the open file; the catalog may replace it
	shared  customstatus.SharedStore               // what is open instead of a file, or nil
}

// openLocal opens the file at a place. Without opts.Logger it logs nothing.
func openLocal(ctx context.Context, pl place, create bool, opts customstatus.Options) (*localDatabase, error) {
	if err := pl.dangling(); err != nil {
		return nil, err
	}
	_, statErr := os.Stat(pl.path)
	isNew := errors.Is(statErr, fs.ErrNotExist)
	if statErr != nil && !(create && isNew) {
		return nil, statErr
	}
	store, err := customstatus.OpenBolt(pl.path, opts.Bolt)
	if errors.Is(err, customstatus.ErrLocked) {
		return nil, fmt.Errorf("%w: another process holds the file", err)
	}
	if err != nil {
		return nil, saySalvage(pl.given, err)
	}
	if isNew {
		if err := giveDirectorysOwner(pl.path); err != nil {
			return nil, errors.Join(err, store.Close())
		}
	}
	db := &localDatabase{path: pl.path}
	db.store.Store(store)
	opts.Reopen = db.reopen
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	db.catalog, err = customstatus.Open(ctx, store, &opts)
	if err != nil {
		return nil, errors.Join(saySalvage(pl.given, err), store.Close())
	}
	return db, nil
}

// openShared opens a shared store. If it has no catalog, one is made if create is set.
// Without opts.Logger it logs nothing.
func openShared(ctx context.Context, a address, create bool, opts customstatus.Options) (*localDatabase, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	store, err := openStore(ctx, a, create, opts.Logger)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", a, err)
	}
	db, err := openOver(ctx, store, opts)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", a, err)
	}
	return db, nil
}

// openOver opens the catalog of a shared store, and takes ownership of the store.
func openOver(ctx context.Context, store customstatus.SharedStore, opts customstatus.Options) (*localDatabase, error) {
	catalog, err := customstatus.OpenShared(ctx, store, &opts)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &localDatabase{catalog: catalog, shared: store}, nil
}

// openEmpty returns a database without a file, to try what a new one would take.
func openEmpty(ctx context.Context, rules customstatus.Rules) (*localDatabase, error) {
	catalog, err := customstatus.Open(ctx, customstatus.NewMemoryStore(), &customstatus.Options{Rules: rules})
	if err != nil {
		return nil, err
	}
	return &localDatabase{catalog: catalog}, nil
}

// reopen opens the file again for the catalog. It does not make a new file where the
// old one has gone.
func (db *localDatabase) reopen(context.Context) (customstatus.Store, error) {
	if _, err := os.Stat(db.path); err != nil {
		return nil, err
	}
	store, err := customstatus.OpenBolt(db.path, nil)
	if err != nil {
		return nil, err
	}
	db.store.Store(store)
	return store, nil
}

// saySalvage adds the command that helps to the error of a damaged file.
func saySalvage(path string, err error) error {
	if !errors.Is(err, customstatus.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w; to save what is intact:\n  customstatusd salvage --db %s new.db", err, shellQuote(path))
}

func (db *localDatabase) state(ctx context.Context) error {
	if db.copied != nil {
		return nil // a copy is not at the path, and never written
	}
	store := db.store.Load()
	if store == nil {
		return nil // a database without a file
	}
	_, err := store.Revision(ctx)
	return err
}

func (db *localDatabase) close() error {
	err := db.catalog.Close()
	if db.copied != nil {
		err = errors.Join(err, db.copied.discard())
	}
	return err
}

// errNoFile is returned for what only a file has.
var errNoFile = errors.New("this is for a database in a file; for a shared store, use export, pg_dump or \"etcdctl snapshot save\"")

// The formats of an export.
const (
	formatLines    = "jsonl" // what import reads back with all that it has
	formatExtended = "ejson" // MongoDB's extended JSON
)

func (db *localDatabase) export(_ context.Context, w io.Writer, format string) error {
	bw := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	for s, err := range db.catalog.All() {
		if err != nil {
			return err
		}
		if format == formatExtended {
			line = statusfile.AppendExtendedJSON(line[:0], s)
		} else {
			line = s.AppendExportJSON(line[:0])
		}
		line = append(line, '\n')
		if _, err := bw.Write(line); err != nil {
			return err
		}
	}
	return bw.Flush()
}

func (db *localDatabase) backup(ctx context.Context, w io.Writer) error {
	if db.copied != nil {
		return db.copied.writeTo(w)
	}
	return db.catalog.Backup(ctx, w)
}
