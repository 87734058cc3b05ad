package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/customstatus/customstatus"
)

// database is the catalog in a file, which this process has opened or a server
// holds.
type database interface {
	// export writes all statuses of one instant, one a line, by name.
	export(ctx context.Context, w io.Writer) error
	// backup writes a copy of the file as it is at one instant.
	backup(ctx context.Context, w io.Writer) error
	// importFrom adds the statuses that r holds: all or none, or in parts if
	// one commit can't hold them. Then it calls said before the first part
	// and after each. The result is also true with an error.
	importFrom(ctx context.Context, r io.Reader, said func(importParts)) (importResult, error)
	close() error
}

// openDatabase opens the file at path, which must exist unless create is set.
// If another process holds it, it is used through that one's control socket.
func openDatabase(ctx context.Context, path string, create bool, rules customstatus.Rules) (database, error) {
	db, err := openLocal(ctx, path, create, customstatus.Options{Rules: rules})
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
	path    string
	store   atomic.Pointer[customstatus.BoltStore] // the one that is open, for the catalog may reopen it
}

// openLocal opens the file at path. Without a Logger nothing is logged.
func openLocal(ctx context.Context, path string, create bool, opts customstatus.Options) (*localDatabase, error) {
	// The path must stay right when the process changes its directory.
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if !create {
		if _, err := os.Stat(path); err != nil {
			return nil, err
		}
	}
	store, err := customstatus.OpenBolt(path, nil)
	if errors.Is(err, customstatus.ErrLocked) {
		return nil, fmt.Errorf("%w: another process holds the file", err)
	}
	if err != nil {
		return nil, saySalvage(path, err)
	}
	db := &localDatabase{path: absolute}
	db.store.Store(store)
	opts.Reopen = db.reopen
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	db.catalog, err = customstatus.Open(ctx, store, &opts)
	if err != nil {
		return nil, errors.Join(saySalvage(path, err), store.Close())
	}
	return db, nil
}

// reopen is the catalog's way to open the file again. A file that has gone must
// not be replaced by an empty one.
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

// saySalvage adds to the error of a damaged file what can be done.
func saySalvage(path string, err error) error {
	if !errors.Is(err, customstatus.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w; to save what is intact:\n  customstatusd salvage --db %s new.db", err, shellQuote(path))
}

func (db *localDatabase) close() error { return db.catalog.Close() }

func (db *localDatabase) export(_ context.Context, w io.Writer) error {
	bw := bufio.NewWriterSize(w, 64<<10)
	var line []byte
	for s, err := range db.catalog.All() {
		if err != nil {
			return err
		}
		line = append(s.AppendExportJSON(line[:0]), '\n')
		if _, err := bw.Write(line); err != nil {
			return err
		}
	}
	return bw.Flush()
}

func (db *localDatabase) backup(ctx context.Context, w io.Writer) error {
	return db.catalog.Backup(ctx, w)
}
