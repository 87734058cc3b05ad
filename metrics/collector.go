package metrics

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/customstatus/customstatus"
)

// DefaultStoreTimeout is the default of [Options.StoreTimeout].
const DefaultStoreTimeout = 2 * time.Second

// Options configure a [Collector]. A nil *Options and the zero value are the defaults.
// The functions must be safe for concurrent use.
type Options struct {
	// Observer has functions of the host's own. The functions of
	// [Collector.Observer] call them last. Nil is none.
	Observer *customstatus.Observer

	// StoreRevision returns the revision of a shared store, as the store's method
	// Revision does. Each scrape calls it once. Nil leaves out the metrics that need
	// it. A catalog over an exclusive store doesn't need it.
	StoreRevision func(ctx context.Context) (customstatus.Revision, error)
	// StoreTimeout is how long a scrape waits for StoreRevision. 0 is
	// [DefaultStoreTimeout]; a negative time panics in [NewCollector].
	StoreTimeout time.Duration

	// Endpoint names the endpoint of a request. The metrics have 33 names at most,
	// those of [Endpoint] included: further ones count as "other". Nil is [Endpoint].
	Endpoint func(r *http.Request) string

	// Version is the label version of customstatus_build_info. Empty is the version
	// of the main module that the build recorded.
	Version string
}

// A Collector shows one catalog. It implements [prometheus.Collector] and is safe for
// concurrent use.
type Collector struct {
	next     customstatus.Observer
	catalog  atomic.Pointer[customstatus.Catalog]
	head     *head // nil without Options.StoreRevision
	endpoint func(*http.Request) string

	buildInfo                 *prometheus.GaugeVec
	commitDuration, groupSize prometheus.Histogram
	storeErrors               *prometheus.CounterVec

	requests          *prometheus.CounterVec
	durations         *prometheus.HistogramVec
	inFlight, streams prometheus.Gauge
	mu                sync.Mutex // of those who add to endpoints
	endpoints         atomic.Pointer[map[string]*endpoint]
}

const namespace = "customstatus"

// NewCollector returns a collector without a catalog. Until [Collector.SetCatalog] is
// called, the metrics of the catalog's Stats are missing.
func NewCollector(opts *Options) *Collector {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.StoreTimeout < 0 {
		panic("metrics: Options.StoreTimeout is negative")
	}
	c := &Collector{
		next:     *cmp.Or(o.Observer, &customstatus.Observer{}),
		endpoint: o.Endpoint,
		buildInfo: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "build_info",
			Help: "1, with the versions of the program and of Go as labels.",
		}, []string{"version", "goversion"}),
		commitDuration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "commit_duration_seconds",
			Help:    "How long the store took for a commit, also for one that failed.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 2.5, 14), // to 15 s
		}),
		groupSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "commit_writes",
			Help:    "How many writes shared a commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11), // to 1,024
		}),
		storeErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "store_errors_total",
			Help: "Errors of the store, by the operation that failed and the kind of error.",
		}, []string{"operation", "reason"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Subsystem: "http", Name: "requests_total",
			Help: "Requests that were answered, by endpoint and status code.",
		}, []string{"endpoint", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: "http", Name: "request_duration_seconds",
			Help:    "How long requests took, without event streams.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 2.5, 14),
		}, []string{"endpoint"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "http", Name: "requests_in_flight",
			Help: "Requests that are being answered, without event streams.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: "http", Name: "streams",
			Help: "Event streams that are open.",
		}),
	}
	if c.endpoint == nil {
		c.endpoint = Endpoint
	}
	if o.StoreRevision != nil {
		c.head = &head{ask: o.StoreRevision, timeout: cmp.Or(o.StoreTimeout, DefaultStoreTimeout)}
	}
	c.buildInfo.WithLabelValues(cmp.Or(o.Version, mainVersion()), runtime.Version()).Set(1)
	// A counter that begins with its first error would hide this error from increase().
	for _, operation := range []string{opCommit, opLoad, opReopen, opFeed} {
		for _, reason := range reasons {
			c.storeErrors.WithLabelValues(operation, reason.name)
		}
		c.storeErrors.WithLabelValues(operation, otherName)
	}
	c.endpoints.Store(&map[string]*endpoint{})
	for _, name := range endpointNames {
		e := c.endpointOf(name)
		e.answered("200")
		e.answered("500")
	}
	return c
}

func mainVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// SetCatalog says which catalog the collector shows. The catalog should have been
// opened with [Collector.Observer]. A later catalog replaces it. A catalog that is
// closed shows 0 statuses and keeps its other figures.
func (c *Collector) SetCatalog(catalog *customstatus.Catalog) { c.catalog.Store(catalog) }

// Observer returns the functions for [customstatus.Options.Observer].
func (c *Collector) Observer() *customstatus.Observer {
	return &customstatus.Observer{
		Commit: func(info customstatus.CommitInfo) {
			if info.Duration > 0 { // or no attempt of this commit reached the store
				c.commitDuration.Observe(info.Duration.Seconds())
				c.groupSize.Observe(float64(info.Writes))
			}
			c.failed(opCommit, info.Err)
			tell(c.next.Commit, info)
		},
		Load: func(info customstatus.LoadInfo) {
			c.failed(opLoad, info.Err)
			tell(c.next.Load, info)
		},
		Reopen: func(info customstatus.ReopenInfo) {
			c.failed(opReopen, info.Err)
			tell(c.next.Reopen, info)
		},
		Feed: func(info customstatus.FeedInfo) {
			c.failed(opFeed, info.Err)
			tell(c.next.Feed, info)
		},
	}
}

func tell[T any](observer func(T), info T) {
	if observer != nil {
		observer(info)
	}
}

// The values of the label operation.
const (
	opCommit = "commit"
	opLoad   = "load"
	opReopen = "reopen"
	opFeed   = "feed"
)

// reasons are the values of the label reason, except otherName. The first that fits
// counts.
var reasons = []struct {
	name string
	is   error
}{
	{"outcome_unknown", customstatus.ErrOutcomeUnknown},
	{"needs_reopen", customstatus.ErrNeedsReopen},
	{"damaged", customstatus.ErrDamaged},
	{"not_exclusive", customstatus.ErrNotExclusive},
	{timeoutName, context.DeadlineExceeded},
}

// timeoutName is the reason of every error that says it is one of a time limit. A store
// that has a limit of its own does not blame the caller's context.
const timeoutName = "timeout"

// otherName is the value of a label for all that has no name of its own.
const otherName = "other"

func (c *Collector) failed(operation string, err error) {
	if err == nil {
		return
	}
	for _, reason := range reasons {
		if errors.Is(err, reason.is) {
			c.storeErrors.WithLabelValues(operation, reason.name).Inc()
			return
		}
	}
	if late := (net.Error)(nil); errors.As(err, &late) && late.Timeout() {
		c.storeErrors.WithLabelValues(operation, timeoutName).Inc()
		return
	}
	c.storeErrors.WithLabelValues(operation, otherName).Inc()
}

// figure is a metric that is read from the catalog at each scrape.
type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(customstatus.Stats) float64
}

func newDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, nil, nil)
}

func gauge(name, help string, value func(customstatus.Stats) float64) figure {
	return figure{newDesc(name, help), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(customstatus.Stats) float64) figure {
	return figure{newDesc(name, help), prometheus.CounterValue, value}
}

var figures = []figure{
	gauge("statuses", "Statuses in the catalog.", func(s customstatus.Stats) float64 { return float64(s.Statuses) }),
	gauge("revision", "Revision that reads have reached.", func(s customstatus.Stats) float64 { return float64(s.Revision) }),
	gauge("watchers", "Loops over the catalog's feed. Each event stream is one.", func(s customstatus.Stats) float64 { return float64(s.Watchers) }),
	gauge("history_changes", "Changes that are kept for watchers.", func(s customstatus.Stats) float64 { return float64(s.HistoryChanges) }),
	gauge("history_bytes", "Bytes that these changes take, about.", func(s customstatus.Stats) float64 { return float64(s.HistoryBytes) }),
	gauge("pending_writes", "Writes that wait for the next commit.", func(s customstatus.Stats) float64 { return float64(s.PendingWrites) }),
	counter("commits_total", "Commits that succeeded.", func(s customstatus.Stats) float64 { return float64(s.Commits) }),
	counter("changes_total", "Changes that these commits made.", func(s customstatus.Stats) float64 { return float64(s.Changes) }),
	counter("failed_commits_total", "Commits that failed because of the store.", func(s customstatus.Stats) float64 { return float64(s.FailedCommits) }),
	gauge("commits_failing_seconds", "For how long commits have failed, or 0.", func(s customstatus.Stats) float64 { return since(s.CommitError, s.CommitErrorSince) }),
	gauge("commit_running_seconds", "For how long the commit under way has run, or 0. A disk that hangs shows here before anything fails.", func(s customstatus.Stats) float64 { return age(s.CommittingSince) }),
	gauge("feed_behind_seconds", "For how long the feed of a shared store has been gone, so that reads are late, or 0.", func(s customstatus.Stats) float64 { return since(s.FeedError, s.FeedErrorSince) }),
	counter("loads_total", "Loads of the whole store, the one at the start included.", func(s customstatus.Stats) float64 { return float64(s.Loads) }),
	counter("reopens_total", "Times that the store was opened again.", func(s customstatus.Stats) float64 { return float64(s.Reopens) }),
	counter("rewinds_total", "Times that the store turned out to hold another history, so that statuses may be gone.", func(s customstatus.Stats) float64 { return float64(s.Rewinds) }),
}

// since returns the age of a failure in seconds. It is never 0: a failure that has just
// begun is one.
func since(err error, begin time.Time) float64 {
	if err == nil {
		return 0
	}
	return age(begin)
}

// age returns the time since begin in seconds, or 0 if begin is zero.
func age(begin time.Time) float64 {
	if begin.IsZero() {
		return 0
	}
	return max(time.Since(begin).Seconds(), 0.001)
}

var (
	storeUp         = newDesc("store_up", "Whether the shared store answered the scrape: 1 or 0.")
	storeRevision   = newDesc("store_revision", "Revision of the shared store, if it answered.")
	behindRevisions = newDesc("feed_behind_revisions", "How far reads are behind the shared store, if it answered.")
)

// parts are the collectors that keep figures of their own.
func (c *Collector) parts() []prometheus.Collector {
	return []prometheus.Collector{
		c.buildInfo, c.commitDuration, c.groupSize, c.storeErrors, c.requests, c.durations, c.inFlight, c.streams,
	}
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, part := range c.parts() {
		part.Describe(to)
	}
	for _, f := range figures {
		to <- f.desc
	}
	if c.head != nil {
		to <- storeUp
		to <- storeRevision
		to <- behindRevisions
	}
}

// Collect implements [prometheus.Collector]. It waits for the shared store, if there is
// one, at most for [Options.StoreTimeout].
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	var revision customstatus.Revision
	up := false
	if c.head != nil {
		revision, up = c.head.get() // before the catalog's revision, which must not seem late
	}
	for _, part := range c.parts() {
		part.Collect(to)
	}
	catalog := c.catalog.Load()
	if c.head != nil {
		value := 0.0
		if up {
			value = 1
			to <- prometheus.MustNewConstMetric(storeRevision, prometheus.GaugeValue, float64(revision))
		}
		to <- prometheus.MustNewConstMetric(storeUp, prometheus.GaugeValue, value)
	}
	if catalog == nil {
		return
	}
	stats := catalog.Stats()
	for _, f := range figures {
		to <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(stats))
	}
	if up {
		behind := revision - min(revision, stats.Revision)
		to <- prometheus.MustNewConstMetric(behindRevisions, prometheus.GaugeValue, float64(behind))
	}
}
