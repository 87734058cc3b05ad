package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/salvage"
)

func salvageCommand() command {
	return command{
		name: "salvage", args: "FILE", summary: "save what is intact of a damaged database",
		about: `Saves every intact status of a damaged database into FILE, a new database, and
lists on standard error what is lost or doubtful. The damaged one is only read.

Exit code 0 if FILE has exactly the statuses of the last commit; 1 if it has not,
if that can't be told, or if nothing could be saved and there is no FILE. While
other statuses are missing, an old page that is sound in itself can go unnoticed:
with exit code 1, look at all statuses, not only at those listed.

To go on with FILE, give it the name of the damaged database. A server that still
runs has all statuses in memory, whatever has become of its file: let export save
them before you stop it.`,
		run: (*process).salvage,
	}
}

func (p *process) salvage(ctx context.Context, cl *commandLine) error {
	path := cl.file()
	if err := cl.parse(1, 1); err != nil {
		return err
	}
	target := cl.args[0]
	saved, err := salvage.File(*path, nil)
	if errors.Is(err, customstatus.ErrLocked) {
		return fmt.Errorf("%w: another process holds the file; what a server has in memory is all there, save it before you stop the server:\n  customstatusd export --db %s statuses.jsonl",
			err, shellQuote(*path))
	}
	if err != nil {
		return err
	}
	for _, problem := range saved.Problems {
		fmt.Fprintf(p.stderr, "customstatusd: %s: %s\n", *path, problem)
	}
	if !saved.Complete && len(saved.Statuses) == 0 {
		return fmt.Errorf("salvage: nothing in %s could be saved", *path)
	}
	left, err := writeDatabase(ctx, target, saved.Statuses)
	if err != nil {
		return fmt.Errorf("salvage: %w", err)
	}
	for _, refusal := range left {
		s := saved.Statuses[refusal.Index]
		fmt.Fprintf(p.stderr, "customstatusd: %s: status %q, named %q: left out: %v\n", *path, s.ID, s.Name, refusal.Err)
	}
	if saved.Complete && len(left) == 0 {
		_, err = fmt.Fprintf(p.stdout, "%s: saved all %d\n", target, len(saved.Statuses))
		return err
	}
	if _, err := fmt.Fprintf(p.stdout, "%s: saved %d\n", target, len(saved.Statuses)-len(left)); err != nil {
		return err
	}
	return errors.New("salvage: some statuses are lost or doubtful, or it can't be told that none are")
}

// writeDatabase makes a new database of statuses, and returns those that no
// catalog takes.
func writeDatabase(ctx context.Context, path string, statuses []customstatus.CustomUserStatus) (left []customstatus.Refusal, err error) {
	err = writeFile(path, false, func(w io.Writer) (err error) {
		directory, err := os.MkdirTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()
		db, err := openLocal(ctx, filepath.Join(directory, "new.db"), true,
			customstatus.Options{Rules: customstatus.Rules{StatusTypeOptional: true}})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.close()) }()
		quiet := func(importParts) {} // nobody sees the file before it is whole
		_, err = importAll(ctx, db.catalog, statuses, quiet)
		if refused := (*customstatus.ImportError)(nil); errors.As(err, &refused) {
			left = refused.Refused
			_, err = importAll(ctx, db.catalog, without(statuses, left), quiet)
		}
		if err != nil {
			return err
		}
		return db.backup(ctx, w)
	})
	return left, err
}

// without returns the statuses that were not refused.
func without(statuses []customstatus.CustomUserStatus, refused []customstatus.Refusal) []customstatus.CustomUserStatus {
	var rest []customstatus.CustomUserStatus
	next := 0
	for _, refusal := range refused {
		rest = append(rest, statuses[next:refusal.Index]...)
		next = refusal.Index + 1
	}
	return append(rest, statuses[next:]...)
}
