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

// database is the catalog in a file. Either this process has opened the file, or a
// server holds it.
type database interface {
	// export writes all statuses as they are at one instant, one on each line, in
	// the order of their names.
	export(ctx context.Context, w io.Writer) error
	// backup writes a copy of the file as it is at one instant.
	backup(ctx context.Context, w io.Writer) error
	// importFrom adds the statuses that r holds. One commit adds all or none. If
	// they don't fit into one commit, importFrom makes several, and calls said
	// before the first and after each. The result is valid with an error, too.
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
	store   atomic.Pointer[customstatus.BoltStore] // the open store; the catalog may replace it
}

// openLocal opens the file at path. Without opts.Logger it logs nothing.
func openLocal(ctx context.Context, path string, create bool, opts customstatus.Options) (*localDatabase, error) {
	// An absolute path stays valid when the process changes its directory.
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
