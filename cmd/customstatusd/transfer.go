package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/customstatus/customstatus"
)

// rules declares the flags that loosen the rules.
func (cl *commandLine) rules() *customstatus.Rules {
	rules := new(customstatus.Rules)
	cl.BoolVar(&rules.StatusTypeOptional, "status-type-optional", false, "take a status without a statusType, as a running Rocket.Chat does; its web\n        client stops loading its whole menu over one whose type is empty")
	cl.StringVar((*string)(&rules.StatusTypeDefault), "status-type-default", "", "with --status-type-optional, the `TYPE` that is stored in place of an empty one")
	return rules
}

func checkRules(cl *commandLine, rules *customstatus.Rules) error {
	switch t := rules.StatusTypeDefault; {
	case t == "":
	case !t.Valid():
		return usagef("%s: --status-type-default %q is not online, away, busy or offline", cl.cmd.name, t)
	case !rules.StatusTypeOptional:
		return usagef("%s: --status-type-default goes with --status-type-optional", cl.cmd.name)
	}
	return nil
}

func importCommand() command {
	return command{
		name: "import", args: "FILE", summary: "add statuses from a file of JSON lines",
		about: `Adds the statuses in FILE ("-" is standard input) to the catalog, all or none
where one commit can hold them: up to 50,000 statuses and 32 MiB. More go in
parts of that size, after all have been checked; each part is one commit. The
import says so before it begins and when it ends. If it ends early it says how
many it has imported; run it again to import the rest.

FILE has one status per line of JSON, as export writes it:
  {"_id":"…","name":"In a meeting","statusType":"busy","_updatedAt":"2023-11-04T11:51:28.353Z"}
A status without _id gets one, one without _updatedAt gets the time of now. The
key metadata, or metadataBase64 for what is no text, holds what a host keeps with
a status. What mongoexport writes of Rocket.Chat's collection
rocketchat_custom_user_status is taken too, also with --jsonArray. A status that
is in the catalog just as given is passed over. If any line can't be imported,
none is. Lines that are malformed or break a rule are named with their numbers
(the first 100 of them); if there are none, those whose id or name is taken.

While a server holds the database, the server does the import, by its own rules.`,
		run: (*process).importFrom,
	}
}

func (p *process) importFrom(ctx context.Context, cl *commandLine) error {
	path := cl.file()
	rules := cl.rules()
	if err := cl.parse(1, 1); err != nil {
		return err
	}
	if err := checkRules(cl, rules); err != nil {
		return err
	}
	in, size, err := p.openInput(cl.args[0])
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer in.Close()
	db, err := openDatabase(ctx, *path, true, *rules)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	var r io.Reader = in
	bar := newProgress(p.stderr, in, size)
	if bar != nil {
		r = bar
	}
	result, err := db.importFrom(ctx, r, func(parts importParts) {
		if parts.Commits == 0 {
			bar.clear()
			fmt.Fprintf(p.stderr, "customstatusd: %s: too large for one commit: it goes in up to %s; if it ends early, run it again to import the rest\n",
				cl.args[0], commits(parts.Most))
		}
	})
	bar.clear()
	closeErr := db.close()
	if err != nil {
		return fmt.Errorf("import: %w", errors.Join(importFailed(result, err), closeErr))
	}
	if len(result.Bad.Lines) > 0 {
		// A line without a type is not bad by the rules of this process.
		return errors.Join(p.importRefused(cl.args[0], result, rules.StatusTypeOptional), closeErr)
	}
	several := ""
	if result.Commits > 1 {
		several = " in " + commits(result.Commits)
	}
	_, err = fmt.Fprintf(p.stdout, "imported %d%s, already there %d\n", result.Added, several, result.Read-result.Added)
	if err := errors.Join(err, closeErr); err != nil {
		return fmt.Errorf("import: done, but: %w", err)
	}
	return nil
}

// importRefused names the lines that can't be imported.
func (p *process) importRefused(name string, result importResult, typeOptional bool) error {
	bad := result.Bad
	for _, line := range bad.Lines {
		fmt.Fprintf(p.stderr, "customstatusd: %s: %s: %s\n", name, line.Where, line.Reason)
	}
	if bad.More > 0 {
		fmt.Fprintf(p.stderr, "customstatusd: %s: and %d more\n", name, bad.More)
	}
	err := fmt.Errorf("%d bad", len(bad.Lines)+bad.More)
	if bad.NoType && typeOptional {
		err = fmt.Errorf("%w; the rules of the server that holds the database count: start the server with --status-type-optional", err)
	}
	return fmt.Errorf("import: %w", importFailed(result, err))
}

// openInput opens the file named, or standard input for "-". The size is 0 if
// it isn't known.
func (p *process) openInput(name string) (in io.ReadCloser, size int64, err error) {
	if name == "-" {
		return io.NopCloser(p.stdin), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		size = info.Size()
	}
	return f, size, nil
}

func exportCommand() command {
	return command{
		name: "export", args: "[FILE]", summary: "write all statuses as JSON lines",
		about: `Writes all statuses of one instant, one per line of JSON and by name, to FILE, or
to standard output without FILE or with "-". FILE appears when it is complete.
Metadata is in it, which the wire may not show.

It works while a server holds the database, too.`,
		run: func(p *process, ctx context.Context, cl *commandLine) error {
			return p.write(ctx, cl, database.export)
		},
	}
}

func backupCommand() command {
	return command{
		name: "backup", args: "[FILE]", summary: "write a copy of the database",
		about: `Writes a copy of the database as it is at one instant to FILE, or to standard
output without FILE or with "-". FILE appears when it is complete; it is a
database like the original. The tokens are not in it.

It works while a server holds the database, too.`,
		run: func(p *process, ctx context.Context, cl *commandLine) error {
			return p.write(ctx, cl, database.backup)
		},
	}
}

// write is what export and backup have in common.
func (p *process) write(ctx context.Context, cl *commandLine,
	content func(database, context.Context, io.Writer) error,
) error {
	path := cl.file()
	force := cl.Bool("force", false, "replace FILE if it exists")
	if err := cl.parse(0, 1); err != nil {
		return err
	}
	db, err := openDatabase(ctx, *path, false, customstatus.Rules{})
	if err != nil {
		return fmt.Errorf("%s: %w", cl.cmd.name, err)
	}
	write := func(w io.Writer) error { return content(db, ctx, w) }
	if len(cl.args) == 0 || cl.args[0] == "-" {
		err = write(p.stdout)
	} else {
		err = p.writeOutput(cl.args[0], *path, *force, write)
	}
	if err := errors.Join(err, db.close()); err != nil {
		return fmt.Errorf("%s: %w", cl.cmd.name, err)
	}
	return nil
}

// writeOutput writes the file that the command line names, unless it is the
// database itself.
func (p *process) writeOutput(name, database string, replace bool, write func(io.Writer) error) error {
	out, outErr := os.Stat(name)
	in, inErr := os.Stat(database)
	if outErr == nil && inErr == nil && os.SameFile(out, in) {
		return fmt.Errorf("%s is the database itself", name)
	}
	err := writeFile(name, replace, write)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; --force replaces it", err)
	}
	return err
}

func checkCommand() command {
	return command{
		name: "check", summary: "read the whole database and report damage",
		about: `Reads the whole database, verifies every record, and prints what it found. Exit
code 1 if there is damage, with what is damaged; salvage saves what is not.

A database that a server holds can't be checked: check a backup of it. If there
is no backup of it because of damage, let export save what the server has in
memory before you stop it.`,
		run: (*process).check,
	}
}

func (p *process) check(ctx context.Context, cl *commandLine) error {
	path := cl.file()
	if err := cl.parse(0, 0); err != nil {
		return err
	}
	db, err := openLocal(ctx, *path, false, customstatus.Options{Rules: customstatus.Rules{StatusTypeOptional: true}})
	if errors.Is(err, customstatus.ErrLocked) {
		return fmt.Errorf("check: %w; check a backup of it:\n  customstatusd backup --db %s copy.db && customstatusd check --db copy.db",
			err, shellQuote(*path))
	}
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	page, err := db.catalog.List(customstatus.Query{Limit: 1})
	if err := errors.Join(err, db.close()); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	_, err = fmt.Fprintf(p.stdout, "%s: ok, statuses %d, revision %d\n", *path, page.Total, uint64(page.Position.Revision))
	return err
}
