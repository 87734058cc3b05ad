package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/customstatus/customstatus"
)

func recoverCommand() command {
	return command{
		name: "recover", args: "FILE", summary: "save what is intact of a damaged database",
		about: `Saves every intact status of a damaged database into FILE, a new database, and
lists on standard error what is lost or doubtful. The damaged one is only read.

Exit code 0 if FILE has exactly the statuses of the last commit; 1 if it has not,
if that can't be told, or if nothing could be saved and there is no FILE.

To go on with FILE, give it the name of the damaged database. A server that still
runs has all statuses in memory, whatever has become of its file: let export save
them before you stop it.`,
		run: (*process).recover,
	}
}

func (p *process) recover(ctx context.Context, cl *commandLine) error {
	path := cl.file()
	if err := cl.parse(1, 1); err != nil {
		return err
	}
	target := cl.args[0]
	saved, err := customstatus.SalvageBolt(*path)
	if errors.Is(err, customstatus.ErrLocked) {
		return fmt.Errorf("recover: %w; what a server has in memory is all there, save it before you stop the server:\n  customstatusd export --db %s statuses.jsonl",
			err, shellQuote(*path))
	}
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	for _, problem := range saved.Problems {
		fmt.Fprintf(p.stderr, "customstatusd: %s: %s\n", *path, problem)
	}
	if !saved.Complete && len(saved.Statuses) == 0 {
		return fmt.Errorf("recover: nothing in %s could be saved", *path)
	}
	left, err := writeDatabase(ctx, target, saved.Statuses)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	for _, record := range left {
		s := saved.Statuses[record.Index]
		fmt.Fprintf(p.stderr, "customstatusd: %s: status %q, named %q: left out: %v\n", *path, s.ID, s.Name, ruleError(record.Err))
	}
	if saved.Complete && len(left) == 0 {
		_, err = fmt.Fprintf(p.stdout, "%s: saved all %d\n", target, len(saved.Statuses))
		return err
	}
	if _, err := fmt.Fprintf(p.stdout, "%s: saved %d\n", target, len(saved.Statuses)-len(left)); err != nil {
		return err
	}
	return errors.New("recover: some statuses are lost or doubtful, or it can't be told that none are")
}

// writeDatabase makes a new database of statuses, and returns those that no
// catalog takes.
func writeDatabase(ctx context.Context, path string, statuses []customstatus.CustomUserStatus) (left []customstatus.RecordError, err error) {
	err = writeFile(path, false, func(w io.Writer) (err error) {
		folder, err := os.MkdirTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		rules := customstatus.Rules{StatusTypeOptional: true}
		db, err := openLocal(ctx, filepath.Join(folder, "new.db"), true, rules)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.close()) }()
		_, err = db.catalog.Import(ctx, statuses)
		var refused *customstatus.ImportError
		if errors.As(err, &refused) {
			left = refused.Records
			rest := slices.Clone(statuses)
			for _, record := range slices.Backward(left) {
				rest = slices.Delete(rest, record.Index, record.Index+1)
			}
			_, err = db.catalog.Import(ctx, rest)
		}
		if err != nil {
			return err
		}
		return db.backup(ctx, w)
	})
	return left, err
}
