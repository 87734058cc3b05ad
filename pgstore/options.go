package pgstore

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"
)

// The defaults of [Options], and the least values.
const (
	defaultSchema      = "customstatus"
	defaultCatalog     = "default"
	defaultTimeout     = 10 * time.Second
	defaultPoll        = time.Second
	defaultBusyPoll    = 100 * time.Millisecond
	defaultKeepCommits = 10_000
	defaultKeepChanges = 100_000
	minKeepCommits     = 100
	minKeepChanges     = 10_000
)

// Options configure [Open] and [New]. A nil *Options and the zero value are the
// defaults.
type Options struct {
	// Schema is the schema of the tables: 1 to 48 lower-case letters, digits and
	// underscores. Empty is "customstatus".
	Schema string
	// Catalog is the name of the catalog, any text of at most 255 bytes. A schema
	// has any number of catalogs, independent of each other. Empty is "default".
	Catalog string
	// NoMigrate says that the schema must not be changed. Open then fails if the
	// tables are missing; [SchemaSQL] has the statements.
	NoMigrate bool
	// NoCreate says that Open must not make the schema or the catalog. Open then
	// fails with [ErrNoCatalog] if they are missing. It is for programs that only
	// read.
	NoCreate bool

	// Timeout limits the wait for each answer of the database, for a connection,
	// and for the lock of the catalog. A commit that can't be made for a cause that
	// passes is tried again for as long. One without an answer waits as long again
	// to find out whether it was made. 0 is 10 seconds.
	Timeout time.Duration

	// NoListen says that the store must not use LISTEN, which keeps a connection
	// of its own and doesn't work through a pooler in transaction mode. Other
	// servers' commits are then found by polls.
	NoListen bool
	// NoNotify says that commits must not use NOTIFY, which takes a lock of the
	// whole cluster for the end of the commit. All stores of the catalog then
	// need a shorter PollInterval.
	NoNotify bool
	// PollInterval is the time between two looks for commits of other servers. 0 is one
	// second, or a tenth with NoListen.
	PollInterval time.Duration

	// KeepCommits and KeepChanges are how much of the feed is kept for watchers
	// that have fallen behind. A commit removes an older one only if so many commits
	// and so many changes came after it. So the greater of the two counts. The
	// numbers are those of the store that commits. 0 is 10,000 commits and 100,000
	// changes. Less than 100 commits or 10,000 changes is an error.
	KeepCommits int
	KeepChanges int

	// Logger receives warnings about what the store mends by itself. nil is
	// [slog.Default].
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if len(opts.Catalog) > 255 {
		return opts, fmt.Errorf("pgstore: the catalog's name has %d bytes, at most 255 are allowed", len(opts.Catalog))
	}
	if opts.Timeout < 0 || opts.PollInterval < 0 || opts.KeepCommits < 0 || opts.KeepChanges < 0 {
		return opts, fmt.Errorf("pgstore: an option is negative")
	}
	poll := defaultPoll
	if opts.NoListen {
		poll = defaultBusyPoll
	}
	opts.Catalog = cmp.Or(opts.Catalog, defaultCatalog)
	opts.Timeout = cmp.Or(opts.Timeout, defaultTimeout)
	opts.PollInterval = cmp.Or(opts.PollInterval, poll)
	opts.KeepCommits = cmp.Or(opts.KeepCommits, defaultKeepCommits)
	opts.KeepChanges = cmp.Or(opts.KeepChanges, defaultKeepChanges)
	opts.Logger = cmp.Or(opts.Logger, slog.Default())
	if opts.KeepCommits < minKeepCommits || opts.KeepChanges < minKeepChanges {
		return opts, fmt.Errorf("pgstore: Options.KeepCommits and KeepChanges are %d and %d, less than %d or %d", opts.KeepCommits, opts.KeepChanges, minKeepCommits, minKeepChanges)
	}
	return opts, nil
}
