package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/customstatus/customstatus"
)

const statusTypeOptionalUsage = "take a status without a statusType, as a running Rocket.Chat does"

// statusTypeOptional declares the flag that loosens the rules.
func (cl *commandLine) statusTypeOptional() *bool {
	return cl.Bool("status-type-optional", false, statusTypeOptionalUsage)
}

func importCommand() command {
	return command{
		name: "import", args: "FILE", summary: "add statuses from a file of JSON lines",
		about: `Adds the statuses in FILE ("-" is standard input) to the catalog, all or none.

FILE has one status per line of JSON, as export writes it:
  {"_id":"…","name":"In a meeting","statusType":"busy","_updatedAt":"2023-11-04T11:51:28.353Z"}
A status without _id gets one, one without _updatedAt gets the time of now. What
mongoexport writes of Rocket.Chat's collection rocketchat_custom_user_status is
taken too, also with --jsonArray. A status that is in the catalog just as given
is passed over. If any line can't be imported, none is. Lines that are malformed or
break a rule are named with their numbers (the first 100 of them); if there are
none, those whose id or name is taken.

While a server holds the database, the server does the import, by its own rules.`,
		run: (*process).importFrom,
	}
}

func (p *process) importFrom(ctx context.Context, cl *commandLine) error {
	path := cl.file()
	optional := cl.statusTypeOptional()
	if err := cl.parse(1, 1); err != nil {
		return err
	}
	in, size, err := p.openInput(cl.args[0])
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	defer in.Close()
	db, err := openDatabase(ctx, *path, true, customstatus.Rules{StatusTypeOptional: *optional})
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	var r io.Reader = in
	bar := newProgress(p.stderr, in, size)
	if bar != nil {
		r = bar
	}
	result, err := db.importFrom(ctx, r)
	bar.clear()
	closeErr := db.close()
	if err != nil {
		return fmt.Errorf("import: %w", errors.Join(importFailed(err), closeErr))
	}
	if bad := result.Bad; len(bad.Lines) > 0 {
		for _, line := range bad.Lines {
			fmt.Fprintf(p.stderr, "customstatusd: %s: %s: %s\n", cl.args[0], line.Where, line.Reason)
		}
		if bad.More > 0 {
			fmt.Fprintf(p.stderr, "customstatusd: %s: and %d more\n", cl.args[0], bad.More)
		}
		hint := ""
		if bad.NoType && *optional { // so it is not by the rules of this process
			hint = "; the rules of the server that holds the database count: start the server with --status-type-optional"
		}
		return errors.Join(fmt.Errorf("import: nothing was imported: %d bad%s", len(bad.Lines)+bad.More, hint), closeErr)
	}
	_, err = fmt.Fprintf(p.stdout, "imported %d, already there %d\n", result.Added, result.Read-result.Added)
	if err := errors.Join(err, closeErr); err != nil {
		return fmt.Errorf("import: done, but: %w", err)
	}
	return nil
}

// importFailed says what is in the catalog after an import that ended with err.
func importFailed(err error) error {
	if errors.Is(err, customstatus.ErrOutcomeUnknown) {
		return fmt.Errorf("it is not known whether anything was imported, see what an export gives: %w", err)
	}
	return fmt.Errorf("nothing was imported: %w", err)
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

// progress tells on a terminal how much of a reader has been read.
type progress struct {
	r       io.Reader
	w       io.Writer
	n, size int64
	next    time.Time
}

// newProgress returns nil, which shows nothing, if w is no terminal.
func newProgress(w io.Writer, r io.Reader, size int64) *progress {
	if !isTerminal(w) {
		return nil
	}
	return &progress{r: r, w: w, size: size}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

const progressEvery = 100 * time.Millisecond

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	const mb = 1e6
	switch now := time.Now(); {
	case err == io.EOF:
		fmt.Fprintf(p.w, "\r\x1b[Kread %.1f MB, writing", float64(p.n)/mb)
	case now.Before(p.next):
	case p.size > 0:
		p.next = now.Add(progressEvery)
		fmt.Fprintf(p.w, "\r\x1b[Kreading: %d %% of %.1f MB", p.n*100/p.size, float64(p.size)/mb)
	default:
		p.next = now.Add(progressEvery)
		fmt.Fprintf(p.w, "\r\x1b[Kreading: %.1f MB", float64(p.n)/mb)
	}
	return n, err
}

// clear takes the progress off the terminal.
func (p *progress) clear() {
	if p != nil {
		io.WriteString(p.w, "\r\x1b[K")
	}
}

func exportCommand() command {
	return command{
		name: "export", args: "[FILE]", summary: "write all statuses as JSON lines",
		about: `Writes all statuses of one instant, one per line of JSON and by name, to FILE, or
to standard output without FILE or with "-". FILE appears when it is complete.

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
code 1 if there is damage, with what is damaged; recover saves what is not.

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
	db, err := openLocal(ctx, *path, false, customstatus.Rules{StatusTypeOptional: true})
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
	_, err = fmt.Fprintf(p.stdout, "%s: ok, statuses %d, revision %d\n", *path, page.Total, page.Revision)
	return err
}
