package etcdstore

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
)

// Options configure a [Store]. A nil *Options and the zero value are the defaults.
type Options struct {
	// Prefix begins all keys of the catalog and ends in a slash. Catalogs with
	// different prefixes are independent of each other, unless one prefix begins
	// with another one followed by "s/". Empty is [DefaultPrefix].
	Prefix string

	// Timeout limits each call of the store, except Watch and Close, but
	// allows [Store.Load] that long for each page. A Load or Revision that first
	// decides a commit whose outcome was unknown may take as long again. 0 is eight
	// seconds.
	Timeout time.Duration
	// MemberTimeout is how long one member of the cluster may take to answer.
	// After that the store asks the next member. 0 is two seconds.
	MemberTimeout time.Duration
	// LeaseTTL is how long the cluster keeps the marker that tells what became of
	// a commit. The outcome of a commit can be found out for at least half of this
	// time. 0 is ten minutes. Less than a minute is an error.
	LeaseTTL time.Duration
	// ProgressInterval is the time between two signs of life that a watcher asks
	// for. The watcher leaves a member that gives none for three intervals. 0 is
	// one second.
	ProgressInterval time.Duration
	// ProofInterval is the time between two proofs of a watcher. A proof compares
	// what the watcher has yielded with everything that the cluster holds, so it
	// costs as much as [Store.Load]. There is also one when a watcher begins. 0 is
	// ten minutes.
	ProofInterval time.Duration

	// PageSize is the number of statuses that Load reads in one request. 0 is
	// 10,000.
	PageSize int
	// MaxTxnOps is the cluster's --max-txn-ops. A commit can have a third of so
	// many changes, less two operations. 0 is etcd's default, 128. Less than 98
	// is an error.
	MaxTxnOps int
	// MaxRequestBytes is the cluster's --max-request-bytes. 0 is etcd's default,
	// 1.5 MiB. Less than 1 MiB is an error.
	MaxRequestBytes int

	// Logger gets what happens behind the host's back. Nil is [slog.Default].
	Logger *slog.Logger
}

// DefaultPrefix is the default of [Options.Prefix].
const DefaultPrefix = "/customstatus/"

const (
	// A change puts or deletes a record and up to two names. Each commit also puts
	// its marker and the key of the revision.
	opsPerChange = 3
	opsPerCommit = 2
	minTxnOps    = opsPerChange*customstatus.MinCommitChanges + opsPerCommit

	// silentIntervals is how many intervals without a sign of life end a watch.
	silentIntervals = 3
)

// complete returns a copy with the defaults set.
func (o *Options) complete() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	c.Timeout = cmp.Or(c.Timeout, 8*time.Second)
	c.MemberTimeout = cmp.Or(c.MemberTimeout, 2*time.Second)
	c.LeaseTTL = cmp.Or(c.LeaseTTL, 10*time.Minute)
	c.ProgressInterval = cmp.Or(c.ProgressInterval, time.Second)
	c.ProofInterval = cmp.Or(c.ProofInterval, 10*time.Minute)
	c.PageSize = cmp.Or(c.PageSize, 10_000)
	c.MaxTxnOps = cmp.Or(c.MaxTxnOps, 128)
	c.MaxRequestBytes = cmp.Or(c.MaxRequestBytes, 3<<19)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	switch {
	case !strings.HasSuffix(c.Prefix, "/"):
		return c, fmt.Errorf("Options.Prefix %q doesn't end in a slash", c.Prefix)
	case c.Timeout < 0, c.MemberTimeout < 0, c.ProgressInterval < 0, c.ProofInterval < 0, c.PageSize < 0:
		return c, errors.New("negative number in Options")
	case c.LeaseTTL < time.Minute:
		return c, fmt.Errorf("Options.LeaseTTL %v is less than a minute", c.LeaseTTL)
	case c.LeaseTTL/2 < c.Timeout:
		return c, errors.New("Options.LeaseTTL is less than twice Options.Timeout")
	case c.MaxTxnOps < minTxnOps:
		return c, fmt.Errorf("Options.MaxTxnOps %d is less than %d", c.MaxTxnOps, minTxnOps)
	case c.MaxRequestBytes < 1<<20:
		return c, errors.New("Options.MaxRequestBytes is less than 1 MiB")
	}
	return c, nil
}
