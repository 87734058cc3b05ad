package metrics_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/metrics"
	"github.com/customstatus/customstatus/storetest"
)

func TestFigures(t *testing.T) {
	c := metrics.NewCollector(&metrics.Options{Version: "v1.2.3"})
	registry := register(t, c)
	require.NotContains(t, scrape(t, registry), "customstatus_statuses", "without a catalog")
	store, err := customstatus.OpenBolt(filepath.Join(t.TempDir(), "a.db"), nil)
	require.NoError(t, err)
	catalog := open(t, c, store)
	create(t, catalog, "Lunch")
	create(t, catalog, "Gym")
	_, err = catalog.Import(t.Context(), []customstatus.CustomUserStatus{
		{Name: "a", StatusType: "busy"}, {Name: "b", StatusType: "busy"}, {Name: "c", StatusType: "away"},
	})
	require.NoError(t, err)

	families := scrape(t, registry)
	for name, want := range map[string]float64{
		"customstatus_statuses":                5,
		"customstatus_revision":                3,
		"customstatus_watchers":                0,
		"customstatus_history_changes":         5,
		"customstatus_pending_writes":          0,
		"customstatus_commits_total":           3,
		"customstatus_changes_total":           5,
		"customstatus_failed_commits_total":    0,
		"customstatus_commits_failing_seconds": 0,
		"customstatus_commit_running_seconds":  0,
		"customstatus_feed_behind_seconds":     0,
		"customstatus_loads_total":             1,
		"customstatus_reopens_total":           0,
		"customstatus_rewinds_total":           0,
		"customstatus_commit_duration_seconds": 3,
		"customstatus_commit_writes":           3,
	} {
		require.Equal(t, want, families.value(t, name), name)
	}
	require.NotZero(t, families.value(t, "customstatus_history_bytes"))
	require.NotContains(t, families, "customstatus_store_up")
	require.Contains(t, exposed(t, registry), `version="v1.2.3"`)
	require.Equal(t, 3.0, families["customstatus_commit_writes"].GetMetric()[0].GetHistogram().GetSampleSum(), "writes, not changes")

	stop, ended := watch(t, catalog)
	await(t, registry, 1, "customstatus_watchers")
	stop()
	<-ended
	require.NoError(t, catalog.Close())
	require.Equal(t, 5.0, scrape(t, registry).value(t, "customstatus_changes_total"), "after Close")
}

// watch begins a loop over the feed and returns when it has the whole catalog. The
// catalog counts the loop a moment later.
func watch(t *testing.T, catalog *customstatus.Catalog) (stop func(), ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	began, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for update := range catalog.Follow(ctx, customstatus.Position{}) {
			if update.Reset {
				close(began)
			}
		}
	}()
	<-began
	return cancel, done
}

// Names, units and help texts are as Prometheus wants them, and all metrics are
// described.
func TestNames(t *testing.T) {
	c := metrics.NewCollector(&metrics.Options{StoreRevision: func(context.Context) (customstatus.Revision, error) { return 0, nil }})
	registry := register(t, c)
	open(t, c, customstatus.NewMemoryStore())
	problems, err := promlint.New(strings.NewReader(exposed(t, registry))).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	described := make(chan *prometheus.Desc, 100)
	c.Describe(described)
	require.Len(t, described, len(scrape(t, registry)))
}

// Collectors of several catalogs have a label each in one registry.
func TestSeveralCatalogs(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	for i, name := range []string{"a", "b"} {
		c := metrics.NewCollector(nil)
		catalog := open(t, c, customstatus.NewMemoryStore())
		for range i + 1 {
			create(t, catalog, strings.Repeat("x", catalog.Len()+1))
		}
		require.NoError(t, prometheus.WrapRegistererWith(prometheus.Labels{"catalog": name}, registry).Register(c))
	}
	families := scrape(t, registry)
	require.Equal(t, 1.0, families.value(t, "customstatus_statuses", "catalog", "a"))
	require.Equal(t, 2.0, families.value(t, "customstatus_statuses", "catalog", "b"))
}

// faultyStore fails as a test says.
type faultyStore struct {
	customstatus.Store
	commit, load atomic.Pointer[error]
	hangs        time.Duration // of a commit
}

func (s *faultyStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	time.Sleep(s.hangs)
	if err := s.commit.Load(); err != nil {
		return 0, *err
	}
	return s.Store.Commit(ctx, changes)
}

func (s *faultyStore) Load(ctx context.Context) (customstatus.Contents, error) {
	if err := s.load.Load(); err != nil {
		return customstatus.Contents{}, *err
	}
	return s.Store.Load(ctx)
}

// Errors of the store are counted by their kind. The host's own observer hears of them,
// too.
func TestStoreErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		err    error
		reason string
	}{
		"a full disk":   {errors.New("no space left on device"), "other"},
		"reopen":        {customstatus.ErrNeedsReopen, "needs_reopen"},
		"damage":        {customstatus.ErrDamaged, "damaged"},
		"no answer":     {errors.Join(errors.New("lost"), customstatus.ErrOutcomeUnknown), "outcome_unknown"},
		"not exclusive": {customstatus.ErrNotExclusive, "not_exclusive"},
		"too late":      {context.DeadlineExceeded, "timeout"},
		"silence":       {&net.DNSError{Err: "no answer", IsTimeout: true}, "timeout"},
		"no such host":  {&net.DNSError{Err: "no such host"}, "other"},
	} {
		t.Run(name, func(t *testing.T) {
			var heard []error
			c := metrics.NewCollector(&metrics.Options{Observer: &customstatus.Observer{
				Commit: func(info customstatus.CommitInfo) { heard = append(heard, info.Err) },
			}})
			registry := register(t, c)
			store := &faultyStore{Store: customstatus.NewMemoryStore()}
			catalog := open(t, c, store)
			create(t, catalog, "before")
			require.Zero(t, scrape(t, registry).value(t, "customstatus_store_errors_total", "operation", "commit", "reason", tt.reason))
			store.commit.Store(&tt.err)
			_, err := catalog.Create(t.Context(), customstatus.Fields{Name: "after", StatusType: customstatus.Busy})
			require.ErrorIs(t, err, tt.err)
			families := scrape(t, registry)
			require.Equal(t, 1.0, families.value(t, "customstatus_store_errors_total", "operation", "commit", "reason", tt.reason))
			require.Equal(t, 1.0, families.value(t, "customstatus_failed_commits_total"))
			require.Equal(t, 2.0, families.value(t, "customstatus_commit_duration_seconds"), "also of what failed")
			require.NotZero(t, families.value(t, "customstatus_commits_failing_seconds"))
			require.Len(t, heard, 2)
			require.ErrorIs(t, heard[1], tt.err)
		})
	}
}

// A failure that has just begun is not 0 seconds old, which would mean that there is none.
func TestFreshFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still
		c := metrics.NewCollector(nil)
		registry := register(t, c)
		store := &faultyStore{Store: customstatus.NewMemoryStore()}
		catalog := open(t, c, store)
		failure := errors.New("no space left on device")
		store.commit.Store(&failure)
		_, err := catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: customstatus.Busy})
		require.ErrorIs(t, err, failure)
		require.Positive(t, scrape(t, registry).value(t, "customstatus_commits_failing_seconds"))
	})
}

// A commit that hangs has not failed yet.
func TestHangingCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := metrics.NewCollector(nil)
		registry := register(t, c)
		catalog := open(t, c, &faultyStore{Store: customstatus.NewMemoryStore(), hangs: time.Minute})
		running := func() float64 { return scrape(t, registry).value(t, "customstatus_commit_running_seconds") }
		var wg sync.WaitGroup
		wg.Go(func() { create(t, catalog, "a") })
		synctest.Wait()
		require.Positive(t, running(), "it has just begun")
		time.Sleep(40 * time.Second)
		require.Equal(t, 40.0, running())
		wg.Wait()
		require.Zero(t, running())
	})
}

// The host's own functions hear what the collector hears, and each kind of failure is
// counted for its operation.
func TestObserverOfTheHost(t *testing.T) {
	var heard []any
	failure := errors.New("no disk")
	c := metrics.NewCollector(&metrics.Options{Observer: &customstatus.Observer{
		Commit: func(info customstatus.CommitInfo) { heard = append(heard, info) },
		Load:   func(info customstatus.LoadInfo) { heard = append(heard, info) },
		Reopen: func(info customstatus.ReopenInfo) { heard = append(heard, info) },
		Feed:   func(info customstatus.FeedInfo) { heard = append(heard, info) },
	}})
	registry := register(t, c)
	told := []any{
		customstatus.CommitInfo{Writes: 3, Changes: 4, Err: failure}, // it never reached the store
		customstatus.LoadInfo{Rewound: true, Err: failure},
		customstatus.ReopenInfo{Cause: customstatus.ErrNeedsReopen, Err: failure},
		customstatus.FeedInfo{Err: failure},
	}
	for _, observer := range []*customstatus.Observer{c.Observer(), metrics.NewCollector(nil).Observer()} {
		observer.Commit(told[0].(customstatus.CommitInfo))
		observer.Load(told[1].(customstatus.LoadInfo))
		observer.Reopen(told[2].(customstatus.ReopenInfo))
		observer.Feed(told[3].(customstatus.FeedInfo))
		observer.Feed(customstatus.FeedInfo{}) // it is back
	}
	require.Equal(t, append(told, customstatus.FeedInfo{}), heard)
	families := scrape(t, registry)
	for _, operation := range []string{"commit", "load", "reopen", "feed"} {
		require.Equal(t, 1.0, families.value(t, "customstatus_store_errors_total", "operation", operation, "reason", "other"), operation)
	}
	require.Zero(t, families.value(t, "customstatus_commit_duration_seconds"))
	require.Zero(t, families.value(t, "customstatus_commit_writes"))
}

func TestLoadErrors(t *testing.T) {
	c := metrics.NewCollector(nil)
	registry := register(t, c)
	store := &faultyStore{Store: customstatus.NewMemoryStore()}
	catalog := open(t, c, store)
	unknown, failure := customstatus.ErrOutcomeUnknown, errors.New("no disk")
	store.commit.Store(&unknown)
	store.load.Store(&failure)
	for range 2 {
		_, err := catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: customstatus.Busy})
		require.Error(t, err)
	}
	require.Equal(t, 1.0, scrape(t, registry).value(t, "customstatus_store_errors_total", "operation", "load", "reason", "other"))
}

// A shared store is asked at each scrape. What the catalog has not read yet shows, and
// a store that gives no answer holds up no scrape.
func TestSharedStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type question = func(context.Context) (customstatus.Revision, error)
		var store atomic.Pointer[question]
		var asked atomic.Int64
		c := metrics.NewCollector(&metrics.Options{StoreTimeout: time.Second,
			StoreRevision: func(ctx context.Context) (customstatus.Revision, error) {
				asked.Add(1)
				if deadline, bounded := ctx.Deadline(); !bounded || time.Until(deadline) != time.Second {
					t.Error("the question has no end, or a wrong one")
				}
				return (*store.Load())(ctx)
			}})
		answer := func(q question) { store.Store(&q) }
		registry := register(t, c)
		memory := storetest.NewSharedMemory()
		node := memory.Open()
		answer(node.Revision)
		catalog := open(t, c, node)
		create(t, catalog, "a")
		families := scrape(t, registry)
		require.Equal(t, 1.0, families.value(t, "customstatus_store_up"))
		require.Equal(t, 0.0, families.value(t, "customstatus_feed_behind_revisions"))
		require.Equal(t, float64(catalog.Revision()), families.value(t, "customstatus_store_revision"))

		ahead := catalog.Revision() + 7
		answer(func(context.Context) (customstatus.Revision, error) { return ahead, nil })
		require.Equal(t, 7.0, scrape(t, registry).value(t, "customstatus_feed_behind_revisions"))
		answer(func(context.Context) (customstatus.Revision, error) { return 0, nil }) // an answer that others overtook
		require.Equal(t, 0.0, scrape(t, registry).value(t, "customstatus_feed_behind_revisions"))

		for name, broken := range map[string]func(context.Context) (customstatus.Revision, error){
			"error": func(context.Context) (customstatus.Revision, error) { return 0, errors.New("refused") },
			"panic": func(context.Context) (customstatus.Revision, error) { panic("broken") },
		} {
			answer(broken)
			families = scrape(t, registry)
			require.Equal(t, 0.0, families.value(t, "customstatus_store_up"), name)
			require.NotContains(t, families, "customstatus_feed_behind_revisions", name)
		}

		asked.Store(0)
		release := make(chan struct{})
		answer(func(context.Context) (customstatus.Revision, error) { // deaf to its context
			<-release
			return 0, nil
		})
		began := time.Now()
		for range 3 {
			require.Equal(t, 0.0, scrape(t, registry).value(t, "customstatus_store_up"))
		}
		require.Equal(t, 3*time.Second, time.Since(began))
		require.EqualValues(t, 1, asked.Load(), "one question is open at a time")
		close(release)
		synctest.Wait()
		answer(node.Revision)
		require.Equal(t, 1.0, scrape(t, registry).value(t, "customstatus_store_up"))
		require.NoError(t, catalog.Close())
	})
}

func TestNegativeTimeout(t *testing.T) {
	require.Panics(t, func() { metrics.NewCollector(&metrics.Options{StoreTimeout: -1}) })
}

// The collector's own registry is the host's: nothing registers itself elsewhere.
func TestNoGlobalRegistry(t *testing.T) {
	metrics.NewCollector(nil)
	families, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	for _, f := range families {
		require.False(t, strings.HasPrefix(f.GetName(), "customstatus_"), f.GetName())
	}
}
