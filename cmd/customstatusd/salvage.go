package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/salvage"
)

func (p *process) salvageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "salvage FILE",
		Short: "Save what is intact of a damaged database",
		Long: `Saves every intact status of a damaged database into FILE, a new database, and lists
on standard error what is lost or doubtful. Salvage only reads the damaged database.

Exit code 0 means that FILE has exactly the statuses of the last commit. Exit code 1
means that it has not, that nobody can tell, or that nothing could be saved and there
is no FILE. While other statuses are missing, an old page that is sound by itself can
go unnoticed. So after exit code 1, look at all statuses, not only at those listed.

To go on with FILE, give it the name of the damaged database. A server that is still
running has all statuses in memory, whatever happened to its file. Export them before
you stop it.`,
		Args: arguments(1, 1),
	}
	var at address
	addStore(cmd, &at)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if at.shared() {
			return fmt.Errorf("salvage: %w", errNoFile)
		}
		return p.salvage(cmd.Context(), at.path, args[0])
	}
	return cmd
}

func (p *process) salvage(ctx context.Context, path, target string) error {
	pl, err := findPlace(path)
	if err != nil {
		return fmt.Errorf("salvage: %w", err)
	}
	saved, err := salvage.File(pl.path, nil)
	if errors.Is(err, customstatus.ErrLocked) {
		return fmt.Errorf("%w: another process holds the file; a server has all statuses in memory, so export them before you stop it:\n  customstatusd export --db %s statuses.jsonl",
			err, shellQuote(path))
	}
	if err != nil {
		return err
	}
	for _, problem := range saved.Problems {
		fmt.Fprintf(p.stderr, "customstatusd: %s: %s\n", path, problem)
	}
	if !saved.Complete && len(saved.Statuses) == 0 {
		return fmt.Errorf("salvage: nothing in %s could be saved", path)
	}
	left, err := writeDatabase(ctx, pl.path, target, saved.Statuses)
	if err != nil {
		return fmt.Errorf("salvage: %w", err)
	}
	for _, refusal := range left {
		s := saved.Statuses[refusal.Index]
		fmt.Fprintf(p.stderr, "customstatusd: %s: status %q, named %q: left out: %v\n", path, s.ID, s.Name, refusal.Err)
	}
	if saved.Complete && len(left) == 0 {
		_, err = fmt.Fprintf(p.stdout, "%s: saved all %d\n", target, len(saved.Statuses))
		return err
	}
	if _, err := fmt.Fprintf(p.stdout, "%s: saved %d\n", target, len(saved.Statuses)-len(left)); err != nil {
		return err
	}
	return errors.New("salvage: some statuses are lost or doubtful, or nobody can tell that none are")
}

// writeDatabase makes a new database of the statuses, and returns those that no
// catalog accepts. The new database belongs to the owner of the damaged one.
func writeDatabase(ctx context.Context, damaged, path string, statuses []customstatus.CustomUserStatus) (left []customstatus.Refusal, err error) {
	like, err := os.Stat(damaged)
	if err != nil {
		return nil, err
	}
	err = writeFileLike(path, false, like, func(w io.Writer) (err error) {
		catalog, done, err := scratchCatalog(ctx, path)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, done()) }()
		quiet := func(importParts) {} // nobody sees the file before it is complete
		_, err = importAll(ctx, catalog, statuses, quiet)
		if refused := (*customstatus.ImportError)(nil); errors.As(err, &refused) {
			left = refused.Refused
			_, err = importAll(ctx, catalog, without(statuses, left), quiet)
		}
		if err != nil {
			return err
		}
		return catalog.Backup(ctx, w)
	})
	return left, err
}

// scratchCatalog returns an empty catalog in a scratch file in the directory of path.
// The file is gone after done.
func scratchCatalog(ctx context.Context, path string) (catalog *customstatus.Catalog, done func() error, err error) {
	scratch, err := createScratch(path)
	if err != nil {
		return nil, nil, err
	}
	open := func(string, int, os.FileMode) (*os.File, error) { return scratch.File, nil }
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{OpenFile: open, NoSync: true})
	if err != nil {
		return nil, nil, errors.Join(err, scratch.discard())
	}
	closeAll := func() error { return errors.Join(db.Close(), scratch.discard()) }
	store, err := customstatus.NewBoltStore(db, nil)
	if err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	catalog, err = customstatus.Open(ctx, store, &customstatus.Options{Rules: customstatus.Rules{StatusTypeOptional: true}})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close(), closeAll())
	}
	return catalog, func() error { return errors.Join(catalog.Close(), closeAll()) }, nil
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
