package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/salvage"
)

// addRules declares the flags that change the rules.
func addRules(cmd *cobra.Command) *customstatus.Rules {
	rules := new(customstatus.Rules)
	cmd.Flags().BoolVar(&rules.StatusTypeOptional, "status-type-optional", false, "accept a status without a statusType, as a running Rocket.Chat does; an\nempty type makes Rocket.Chat's web client stop loading its menu")
	addChoice(cmd, (*string)(&rules.StatusTypeDefault), "status-type-default", "with --status-type-optional, the `TYPE` to store instead of an empty one",
		string(customstatus.Online), string(customstatus.Away), string(customstatus.Busy), string(customstatus.Offline))
	fromEnvironment(cmd.Flags().Lookup("status-type-optional"))
	fromEnvironment(cmd.Flags().Lookup("status-type-default"))
	addNameRules(cmd, rules)
	return rules
}

func checkRules(rules *customstatus.Rules) error {
	if rules.StatusTypeDefault != "" && !rules.StatusTypeOptional {
		return usagef("--status-type-default goes with --status-type-optional")
	}
	return nil
}

func (p *process) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Add statuses from a JSON file or a running server",
		Long: `Adds the statuses in FILE to the catalog. "-" is standard input. With --from, it adds
those of a running server; the end of this page says how.

One commit holds up to 50,000 statuses and 32 MiB. An import that fits into one commit
adds all statuses or none. A larger import first checks all statuses, and then makes
several commits. It says so before it begins and when it ends. If it ends early, it
says how many statuses it imported; run it again to import the rest. A signal ends it
after the commit that is being made, and a second signal at once.

FILE has statuses as JSON objects, in UTF-8:

    {"_id":"1","name":"Lunch","statusType":"away","_updatedAt":"2023-11-04T11:51:28.353Z"}

They may stand one on each line, which is what export writes, or on several lines each,
one behind another, in arrays, or in answers of custom-user-status.list as they came.
Ids and times may be MongoDB's extended JSON, version 1 or 2, relaxed or canonical. So
import reads what mongoexport writes of Rocket.Chat's collection, also with --jsonArray
or --pretty. Use --fields _id,name,statusType,_updatedAt there, because a status with an
unknown key is refused.

A status without _id gets a new one. A status without _updatedAt gets the current time.
The key metadata holds what a host keeps with a status; metadataBase64 holds metadata
that is not text. A null is as if the key were missing.

A status that is in the catalog already is left alone, so the same file can be imported
twice. A status without _id or _updatedAt counts as already there if the catalog has a
status with its name and with everything else that FILE gives.

A status conflicts if the catalog has its id, or else its name, but not all that FILE
gives. --on-conflict says what happens then:

    fail    Nothing is imported.
    skip    The status is left out.
    update  The status in the catalog gets the name, the type and the metadata that
            FILE gives. It keeps its id, and the time is that of the update.

An update is a commit of its own, so an import that ends early may have updated a part.
It says how many. Run it again to import the rest. Two statuses can't exchange their
names in one import.

With --dry-run nothing is written. Each conflict is printed with its line, number and
name, and then how many statuses would be imported, updated, skipped and refused.

If a value can't be read or breaks a rule, nothing is imported, and the first 100 such
values are named with their lines and numbers. If there are none, the values that
conflict with the catalog or with each other are named.

While a server runs, the server does the import, by its own rules. If the file at the
path is not the file of the server any more, nothing is imported.

With --from URL, import reads all statuses of a running Rocket.Chat, or of another
customstatusd, over its REST API. It needs no permission there but a login:

    customstatusd import --from https://chat.example --user-id ID --token-file FILE

FILE has the token, or the two headers that serve --credentials-file writes. Without
--token-file the token is in $CUSTOMSTATUS_FROM_TOKEN. It is never an argument, and no
message shows it. In Rocket.Chat, a user makes a personal access token under My Account.
Ids and times are kept. Metadata comes only from a server that shows it, such as a
customstatusd with --metadata. If the server limits requests, import waits as long as it
asks.
With --on-conflict update, run it again until the switch: it brings what has changed
there, with the time of the update, and overwrites what has changed here. Each time it
names the statuses that only the catalog has, at most 100 of them, because they may have
been deleted there. It deletes nothing.`,
		Args: arguments(0, 1),
	}
	var at address
	addStore(cmd, &at)
	rules := addRules(cmd)
	var opts importOptions
	opts.onConflict = conflictFails
	addChoice(cmd, &opts.onConflict, "on-conflict", "`WHAT` to do with a status whose id or name the catalog has: fail,\nskip or update", conflictFails, conflictSkips, conflictUpdates)
	cmd.Flags().BoolVar(&opts.dryRun, "dry-run", false, "write nothing; print each conflict and what would happen")
	var from remote
	from.declare(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := from.source(args); err != nil {
			return err
		}
		if err := checkRules(rules); err != nil {
			return err
		}
		var err error
		if from.url != "" {
			err = p.importFromServer(cmd.Context(), at, from, *rules, opts)
		} else {
			err = p.importFile(cmd.Context(), at, args[0], *rules, opts)
		}
		if usage := (*usageError)(nil); err != nil && !errors.As(err, &usage) {
			return fmt.Errorf("import: %w", err)
		}
		return err
	}
	return cmd
}

func (p *process) importFile(ctx context.Context, at address, name string, rules customstatus.Rules, opts importOptions) error {
	in, size, err := p.openInput(name)
	if err != nil {
		return err
	}
	defer in.Close()
	ctx, stop := untilSignal(ctx) // not before, as opening a pipe can wait for ever
	defer stop()
	return p.importInto(ctx, at, importInput{name: name, r: in, size: size}, rules, opts)
}

// importInput is what an import reads.
type importInput struct {
	name   string
	r      io.Reader
	size   int64                     // 0 is unknown
	called func(where string) string // what people call a value; nil is by its line
}

// call returns what people call the value at a place.
func (in importInput) call(where string) string {
	if in.called == nil {
		return where
	}
	return in.called(where)
}

// explain returns a reason in which values are called as people call them.
func (in importInput) explain(reason string) string {
	const also = " is also in "
	if i := strings.LastIndex(reason, also); i >= 0 {
		i += len(also)
		return reason[:i] + in.call(reason[i:])
	}
	return reason
}

func (p *process) importInto(ctx context.Context, at address, in importInput, rules customstatus.Rules, opts importOptions) error {
	name := in.name
	db, err := openDatabase(ctx, at, !opts.dryRun, rules)
	if opts.dryRun && at.missing(err) {
		db, err = openEmpty(ctx, rules)
	}
	if err != nil {
		return err
	}
	r := in.r
	bar := newProgress(p.stderr, r, in.size)
	if bar != nil {
		r = bar
	}
	r = &interruptible{ctx: ctx, r: r}
	opts.found = func(c conflict) {
		bar.clear()
		what := in.call(c.Where)
		if what == c.Where {
			what += fmt.Sprintf(": %q", c.Name)
		}
		fmt.Fprintf(p.stdout, "%s: %s: would %s: %s\n", name, what, c.Does, in.explain(c.Why))
	}
	result, err := db.importFrom(ctx, r, opts, p.sayLarge(name, bar))
	bar.clear()
	if result.Missing > 0 {
		fmt.Fprintf(p.stderr, "customstatusd: %s: warning: the list was asked for a part; %d more statuses are not in it\n", name, result.Missing)
	}
	closeErr := db.close()
	if err != nil {
		return errors.Join(importFailed(result, err), closeErr)
	}
	if result.Bad.Len() > 0 {
		// By the rules of this process, a status without a type is not bad.
		return errors.Join(p.importRefused(in, result, rules.StatusTypeOptional, opts), closeErr)
	}
	there := result.Read - result.Added - result.Updated - result.Skipped - result.Refused
	if opts.dryRun {
		_, err = fmt.Fprintf(p.stdout, "would import %d, update %d, skip %d, refuse %d, already there %d\n",
			result.Added, result.Updated, result.Skipped, result.Refused, there)
		if result.Refused > 0 {
			err = errors.Join(err, fmt.Errorf("nothing would be imported: %d bad%s", result.Refused, sayConflicts(opts)))
		}
		return errors.Join(err, closeErr)
	}
	did := fmt.Sprintf("imported %d", result.Added)
	if result.Commits > 1 {
		did += " in " + commits(result.Commits)
	}
	switch opts.onConflict {
	case conflictUpdates:
		did += fmt.Sprintf(", updated %d", result.Updated)
	case conflictSkips:
		did += fmt.Sprintf(", skipped %d", result.Skipped)
	}
	_, err = fmt.Fprintf(p.stdout, "%s, already there %d\n", did, there)
	if err := errors.Join(err, closeErr); err != nil {
		return fmt.Errorf("all was imported, but then: %w", err)
	}
	return nil
}

// sayConflicts returns what to add to the error of an import with conflicts.
func sayConflicts(opts importOptions) string {
	if opts.onConflict != conflictFails {
		return ""
	}
	return "; --on-conflict skip or update says what to do with those that conflict"
}

// sayLarge returns a function that says once that an import makes several commits.
// Parts that are there already make none, so several reports can come before the first.
func (p *process) sayLarge(name string, bar *progress) func(importParts) {
	told := false
	return func(parts importParts) {
		if parts.Most > 0 && parts.Commits == 0 && !told {
			told = true
			bar.clear()
			fmt.Fprintf(p.stderr, "customstatusd: %s: too large for one commit, so up to %s follow; if the import ends early, run it again to import the rest\n",
				name, commits(parts.Most))
		}
	}
}

// importRefused prints the values that can't be imported, and returns an error.
func (p *process) importRefused(in importInput, result importResult, typeOptional bool, opts importOptions) error {
	bad, name := result.Bad, in.name
	if whole := bad.Values[0]; whole.Where == "" {
		return importFailed(result, fmt.Errorf("%s: %s", name, whole.Reason))
	}
	for _, value := range bad.Values {
		fmt.Fprintf(p.stderr, "customstatusd: %s: %s: %s\n", name, in.call(value.Where), in.explain(value.Reason))
	}
	if bad.More > 0 {
		fmt.Fprintf(p.stderr, "customstatusd: %s: and %d more\n", name, bad.More)
	}
	err := fmt.Errorf("%d bad", bad.Len())
	if result.Conflicts {
		err = fmt.Errorf("%w%s", err, sayConflicts(opts))
	}
	if bad.NoType && typeOptional {
		err = fmt.Errorf("%w; the server that holds the database applies its own rules; start the server with --status-type-optional", err)
	}
	return importFailed(result, err)
}

// openInput opens the named file, or standard input for "-". The size is 0 if it is
// unknown.
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

func (p *process) exportCommand() *cobra.Command {
	var format string
	cmd := p.writeCommand(&cobra.Command{
		Use:   "export [FILE]",
		Short: "Write all statuses as JSON lines",
		Long: `Writes all statuses, as they are at one instant, to FILE: one status on each line, as
JSON, in the order of their names. Without FILE, or with "-", it writes to standard
output. FILE appears when it is complete. An export includes the metadata, which the
wire may not show.

While a server runs, export asks the server. If the file at the path is not the file
of the server any more, export writes what the server has, with a warning. Without a
server, export reads a copy, if there is room for one, so that a server can start
meanwhile.

With --format ejson it writes MongoDB's extended JSON (version 2, relaxed), which
mongoimport puts into Rocket.Chat's collection, and which import reads as well:

    customstatusd export --format ejson statuses.json
    mongoimport --db rocketchat --collection rocketchat_custom_user_status statuses.json`,
	}, func(db database, ctx context.Context, w io.Writer) error { return db.export(ctx, w, format) })
	format = formatLines
	addChoice(cmd, &format, "format", "`FORMAT` to write: jsonl or ejson", formatLines, formatExtended)
	return cmd
}

func (p *process) backupCommand() *cobra.Command {
	cmd := p.writeCommand(&cobra.Command{
		Use:   "backup [FILE]",
		Short: "Write a copy of the database",
		Long: `Writes a copy of the database, as it is at one instant, to FILE. Without FILE, or with
"-", it writes to standard output, if that is no terminal. FILE appears when it is
complete. It is a database like the original. A backup has no tokens.

While a server runs, backup asks the server. If the file at the path is not the file
of the server any more, backup copies that of the server, with a warning. A server can
start while backup works.

A shared store has no file: use its own means, such as pg_dump or "etcdctl snapshot
save", or export.`,
	}, database.backup)
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if v := cmd.Flags().Lookup("store").Value.(*addressValue); v.at.shared() {
			return fmt.Errorf("backup: %w", errNoFile)
		}
		if (len(args) == 0 || args[0] == "-") && isTerminal(p.stdout) {
			return usagef("a backup is no text for a terminal; name a FILE")
		}
		return nil
	}
	return cmd
}

// writeCommand completes a command that writes the content of the database.
func (p *process) writeCommand(cmd *cobra.Command, content func(database, context.Context, io.Writer) error) *cobra.Command {
	var at address
	addStore(cmd, &at)
	force := cmd.Flags().Bool("force", false, "replace FILE if it exists")
	cmd.Args = arguments(0, 1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		db, err := openDatabase(ctx, at, false, customstatus.Rules{StatusTypeOptional: true})
		if err != nil {
			return fmt.Errorf("%s: %w", cmd.Name(), err)
		}
		if err, silent := db.state(ctx), (*unanswered)(nil); errors.As(err, &silent) {
			return fmt.Errorf("%s: %w", cmd.Name(), errors.Join(err, db.close()))
		} else if err != nil {
			fmt.Fprintf(p.stderr, "customstatusd: %s: warning: this is what the server has, and not what is at %v: %v\n", cmd.Name(), at, err)
		}
		write := func(w io.Writer) error { return content(db, ctx, w) }
		if len(args) == 0 || args[0] == "-" {
			err = write(p.stdout)
		} else {
			err = writeOutput(args[0], at, *force, write)
		}
		if err := errors.Join(err, db.close()); err != nil {
			return fmt.Errorf("%s: %w", cmd.Name(), err)
		}
		return nil
	}
	return cmd
}

// writeOutput writes the file that the command line names. It refuses to write over
// the database.
func writeOutput(name string, database address, replace bool, write func(io.Writer) error) error {
	out, err := findPlace(name)
	if err != nil {
		return err
	}
	if !database.shared() {
		db, err := findPlace(database.path)
		if err != nil {
			return err
		}
		outInfo, outErr := os.Stat(out.path)
		dbInfo, dbErr := os.Stat(db.path)
		if out.path == db.path || outErr == nil && dbErr == nil && os.SameFile(outInfo, dbInfo) {
			return fmt.Errorf("%s is the database itself", name)
		}
	}
	err = writeFile(name, replace, write)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w; --force replaces it", err)
	}
	return err
}

func (p *process) checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Read the whole database and report damage",
		Long: `Reads the whole database, verifies every record, and prints what it found. If there is
damage, it names each damaged page and each status that is damaged, lost or doubtful,
at most 100 of them, and the exit code is 1. "salvage" saves the rest.

A server that starts meanwhile is not held up, if there is room for a copy of the
database beside it or in the directory for temporary files.

A database that a server holds can't be checked: check a backup. If damage prevents a
backup, export what the server has in memory before you stop it.`,
		Args: arguments(0, 0),
	}
	var at address
	addStore(cmd, &at)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return p.check(cmd.Context(), at) }
	return cmd
}

// maxProblems bounds the problems that check names. A file can have one for each status.
const maxProblems = 100

// nameProblems prints what is damaged in the database at a place.
func (p *process) nameProblems(pl place) {
	path := pl.given
	found, err := salvage.File(pl.path, nil)
	if err != nil {
		return // the error of the check says what can be said
	}
	for i, problem := range found.Problems {
		if i == maxProblems {
			fmt.Fprintf(p.stderr, "customstatusd: %s: and %d more\n", path, len(found.Problems)-maxProblems)
			break
		}
		fmt.Fprintf(p.stderr, "customstatusd: %s: %s\n", path, problem)
	}
}

func (p *process) check(ctx context.Context, at address) error {
	rules := customstatus.Rules{StatusTypeOptional: true}
	if at.shared() {
		db, err := openShared(ctx, at, false, customstatus.Options{Rules: rules})
		if err != nil {
			return fmt.Errorf("check: %w", err)
		}
		return p.sayChecked(at, db)
	}
	path := at.path
	pl, err := findPlace(path)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	db, err := openToRead(ctx, pl, customstatus.Options{Rules: rules})
	if errors.Is(err, customstatus.ErrLocked) {
		return fmt.Errorf("check: %w; check a backup of it:\n  customstatusd backup --db %s copy.db && customstatusd check --db copy.db",
			err, shellQuote(path))
	}
	if errors.Is(err, customstatus.ErrDamaged) {
		p.nameProblems(pl)
	}
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return p.sayChecked(at, db)
}

// sayChecked prints what is in a database that was verified when it was opened.
func (p *process) sayChecked(at address, db *localDatabase) error {
	page, err := db.catalog.List(customstatus.Query{Limit: 1})
	if err := errors.Join(err, db.close()); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	_, err = fmt.Fprintf(p.stdout, "%v: ok, statuses %d, revision %d\n", at, page.Total, uint64(page.Position.Revision))
	return err
}
