package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/cmd/customstatusd/internal/statusfile"
)

func (p *process) copyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Copy a catalog from one store to another",
		Long: `Copies all statuses, as they are at one instant, from a store to another one: ids, names,
types, times and metadata. "customstatusd help stores" says what a STORE is. A bbolt
file that does not exist is made. A server that holds a file does its part of the copy.

A copy that fits into one commit is made whole or not at all. A larger one makes several
commits and says so. It can be interrupted: a signal ends it after the commit that is
being made, it says what was copied, and another run copies the rest. What is there
already, just as in the source, is left alone.

Copy refuses a destination that has other statuses, and names every status whose id or
name the destination has with other content, before it writes anything. --on-conflict
says otherwise:

    fail    Nothing is copied.
    skip    The destination keeps its statuses. What conflicts is left out.
    update  The destination keeps its other statuses. What conflicts gets the name, the
            type and the metadata of the source, also if they are empty, and the time
            of the update.

In the end, copy reads the destination, compares the fingerprints, and says whether they
are the same. What was written to the source after the beginning is not in the copy: stop
the writers first, or run the copy again.`,
		Args: arguments(0, 0),
	}
	var from, to address
	cmd.Flags().Var(&addressValue{at: &from}, "from", "the `STORE` to read")
	cmd.Flags().Var(&addressValue{at: &to}, "to", "the `STORE` to write")
	opts := importOptions{onConflict: conflictFails, exact: true}
	addChoice(cmd, &opts.onConflict, "on-conflict", "`WHAT` to do if the destination has other statuses: fail, skip or update", conflictFails, conflictSkips, conflictUpdates)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if from.kind == "" || to.kind == "" {
			return usagef("--from STORE and --to STORE are both needed")
		}
		if err := p.copyAll(cmd.Context(), from, to, opts); err != nil {
			return fmt.Errorf("copy: %w", err)
		}
		return nil
	}
	return cmd
}

func (p *process) copyAll(ctx context.Context, from, to address, opts importOptions) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	content, read, err := readAll(ctx, from)
	if err != nil {
		return err
	}
	source := read.Statuses
	dest, err := readMaybe(ctx, to)
	if err != nil {
		return err
	}
	if others := withoutIDs(dest, source); len(others) > 0 && opts.onConflict == conflictFails {
		return fmt.Errorf("nothing was copied: %v has %d statuses that %v has not, such as %q; --on-conflict skip or update keeps them",
			to, len(others), from, others[0].Name)
	}
	if err := p.writeCopy(ctx, content, read, from, to, opts); err != nil {
		return err
	}
	copied, err := readMaybe(ctx, to)
	if err != nil {
		return fmt.Errorf("all was written, but can't be compared: %w", err)
	}
	return p.compare(from, to, source, copied, opts)
}

// readMaybe returns the statuses of a store. One that does not exist yet has none.
func readMaybe(ctx context.Context, at address) ([]customstatus.CustomUserStatus, error) {
	_, src, err := readAll(ctx, at)
	if at.missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return src.Statuses, nil
}

// readAll returns all statuses of a store, also as an export has them.
func readAll(ctx context.Context, at address) ([]byte, *statusfile.Source, error) {
	rules := customstatus.Rules{StatusTypeOptional: true}
	db, err := openDatabase(ctx, at, false, rules)
	if err != nil {
		return nil, nil, err
	}
	var content bytes.Buffer
	if err := errors.Join(db.export(ctx, &content, formatLines), db.close()); err != nil {
		return nil, nil, err
	}
	src, err := statusfile.Read(bytes.NewReader(content.Bytes()), rules)
	if err != nil {
		return nil, nil, err
	}
	if src.Bad.Len() > 0 {
		return nil, nil, fmt.Errorf("%v: %s: %s", at, src.Bad.Values[0].Where, src.Bad.Values[0].Reason)
	}
	return content.Bytes(), src, nil
}

// withoutIDs returns the statuses whose ids none of the others has.
func withoutIDs(statuses, others []customstatus.CustomUserStatus) (left []customstatus.CustomUserStatus) {
	known := make(map[string]bool, len(others))
	for i := range others {
		known[others[i].ID] = true
	}
	for _, s := range statuses {
		if !known[s.ID] {
			left = append(left, s)
		}
	}
	return left
}

// writeCopy imports an export into a store. What is read from the export names the
// statuses that can't be copied.
func (p *process) writeCopy(ctx context.Context, content []byte, read *statusfile.Source, from, to address, opts importOptions) error {
	db, err := openDatabase(ctx, to, true, customstatus.Rules{StatusTypeOptional: true})
	if err != nil {
		return err
	}
	result, err := db.importFrom(ctx, bytes.NewReader(content), opts, p.sayParts("the copy"))
	closeErr := db.close()
	if err != nil {
		return errors.Join(copyFailed(result, err), closeErr)
	}
	if bad := result.Bad; bad.Len() > 0 {
		at := make(map[string]*customstatus.CustomUserStatus, len(read.Statuses))
		for i := range read.Statuses {
			at[read.Where(i)] = &read.Statuses[i]
		}
		for _, value := range bad.Values {
			what := value.Where
			if s := at[value.Where]; s != nil {
				what = fmt.Sprintf("status %q, named %q", s.ID, s.Name)
			}
			fmt.Fprintf(p.stderr, "customstatusd: %v: %s: %s\n", from, what, value.Reason)
		}
		if bad.More > 0 {
			fmt.Fprintf(p.stderr, "customstatusd: %v: and %d more\n", from, bad.More)
		}
		return errors.Join(copyFailed(result, fmt.Errorf("%d conflict with %v; --on-conflict skip or update says what to do with them", bad.Len(), to)), closeErr)
	}
	if closeErr != nil {
		return fmt.Errorf("all was copied, but then: %w", closeErr)
	}
	did := fmt.Sprintf("copied %d in %s", result.Added, commits(result.Commits))
	if opts.onConflict == conflictUpdates {
		did += fmt.Sprintf(", updated %d", result.Updated)
	}
	if opts.onConflict == conflictSkips {
		did += fmt.Sprintf(", skipped %d", result.Skipped)
	}
	there := result.Read - result.Added - result.Updated - result.Skipped
	_, err = fmt.Fprintf(p.stdout, "%s, already there %d\n", did, there)
	return err
}

// sayParts returns a function that says once that several commits are made, and on a
// terminal how far they are.
func (p *process) sayParts(what string) func(importParts) {
	told := false
	return func(parts importParts) {
		switch {
		case parts.Most > 0 && parts.Commits == 0 && !told:
			told = true
			fmt.Fprintf(p.stderr, "customstatusd: %s is too large for one commit, so up to %s follow; if it ends early, run it again for the rest\n", what, commits(parts.Most))
		case parts.Most > 0 && isTerminal(p.stderr):
			fmt.Fprintf(p.stderr, "\r\x1b[K%d of up to %s, %d statuses", parts.Commits, commits(parts.Most), parts.Added)
			if parts.Commits == parts.Most {
				fmt.Fprint(p.stderr, "\r\x1b[K")
			}
		}
	}
}

// copyFailed adds to err what the failed copy has written.
func copyFailed(result importResult, err error) error {
	if done := made(result); done != "" {
		return fmt.Errorf("%s; run the copy again for the rest: %w", done, err)
	}
	if errors.Is(err, customstatus.ErrOutcomeUnknown) {
		return fmt.Errorf("it is unknown whether anything was copied; run the copy again: %w", err)
	}
	return fmt.Errorf("nothing was copied: %w", err)
}

// compare says whether the destination has what the source had.
func (p *process) compare(from, to address, source, copied []customstatus.CustomUserStatus, opts importOptions) error {
	if sum := fingerprint(source); sum == fingerprint(copied) && len(source) == len(copied) {
		_, err := fmt.Fprintf(p.stdout, "verified: %d statuses with the fingerprint %016x in both stores\n", len(source), uint64(sum))
		return err
	}
	if opts.onConflict == conflictFails {
		return fmt.Errorf("%v has not what %v had: somebody else wrote to it, or the copy is wrong", to, from)
	}
	there := make(map[string]customstatus.Fingerprint, len(copied))
	for i := range copied {
		there[copied[i].ID] = copied[i].Fingerprint()
	}
	same := 0
	for i := range source {
		if there[source[i].ID] == source[i].Fingerprint() {
			same++
		}
	}
	_, err := fmt.Fprintf(p.stdout, "verified: %d of %d statuses are the same in both stores; %v has %d\n", same, len(source), to, len(copied))
	return err
}

// fingerprint returns the fingerprint of a catalog that has these statuses.
func fingerprint(statuses []customstatus.CustomUserStatus) (sum customstatus.Fingerprint) {
	for i := range statuses {
		sum += statuses[i].Fingerprint()
	}
	return sum
}
