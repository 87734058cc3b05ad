package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/metrics"
)

// observers are what a catalog is opened with: nothing, and a collector.
func observers() map[string]*customstatus.Observer {
	return map[string]*customstatus.Observer{"without": nil, "with": metrics.NewCollector(nil).Observer()}
}

// BenchmarkCreate is what a collector adds to a create alone. Two catalogs take turns in
// short rounds, one without and one with a collector: a machine changes more in a minute
// than a collector costs. The figures are medians, and the quartiles of the ratio of the
// rounds that follow each other.
func BenchmarkCreate(b *testing.B) {
	for kind, open := range map[string]func(b *testing.B) customstatus.Store{
		"memory": func(*testing.B) customstatus.Store { return customstatus.NewMemoryStore() },
		"bolt": func(b *testing.B) customstatus.Store {
			store, err := customstatus.OpenBolt(filepath.Join(b.TempDir(), "a.db"), nil)
			require.NoError(b, err)
			return store
		},
	} {
		b.Run(kind, func(b *testing.B) {
			const size = 32
			var catalogs [2]*customstatus.Catalog
			for i, name := range []string{"without", "with"} {
				catalog, err := customstatus.Open(b.Context(), open(b), &customstatus.Options{Observer: observers()[name], Logger: quiet})
				require.NoError(b, err)
				defer catalog.Close()
				catalogs[i] = catalog
			}
			var times [2][]float64
			var ratios []float64
			for round := 0; b.Loop(); round++ {
				for turn := range 2 {
					i := (round + turn) % 2
					start := time.Now()
					for n := range size {
						_, err := catalogs[i].Create(b.Context(), customstatus.Fields{Name: fmt.Sprint(round, " ", n), StatusType: customstatus.Busy})
						if err != nil {
							b.Fatal(err)
						}
					}
					times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/size)
				}
				ratios = append(ratios, times[1][round]/times[0][round])
			}
			b.ReportMetric(0, "ns/op") // of no use: it is a round of both
			b.ReportMetric(quantile(times[0], 2), "ns-without")
			b.ReportMetric(quantile(times[1], 2), "ns-with")
			for i, name := range []string{"ratio-q1", "ratio-median", "ratio-q3"} {
				b.ReportMetric(quantile(ratios, i+1), name)
			}
		})
	}
}

// quantile returns a quartile of the values, which it sorts.
func quantile(values []float64, quarter int) float64 {
	slices.Sort(values)
	return values[(len(values)-1)*quarter/4]
}

// BenchmarkGet shows that gets have no hook.
func BenchmarkGet(b *testing.B) {
	for _, name := range []string{"without", "with"} {
		b.Run(name, func(b *testing.B) {
			catalog, err := customstatus.Open(b.Context(), customstatus.NewMemoryStore(), &customstatus.Options{Observer: observers()[name], Logger: quiet})
			require.NoError(b, err)
			defer catalog.Close()
			status, err := catalog.Create(b.Context(), customstatus.Fields{Name: "Lunch", StatusType: customstatus.Away})
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := catalog.Get(status.ID); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// nowhere is a writer that keeps nothing.
type nowhere struct{ header http.Header }

func (w nowhere) Header() http.Header       { return w.header }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

// BenchmarkHandler is what the collector's handler adds to a request.
func BenchmarkHandler(b *testing.B) {
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	for name, h := range map[string]http.Handler{"without": next, "with": metrics.NewCollector(nil).Handler(next)} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, prefix+"list", nil)
			w := nowhere{make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}

// BenchmarkScrape is one collection of all metrics.
func BenchmarkScrape(b *testing.B) {
	c := metrics.NewCollector(nil)
	catalog, err := customstatus.Open(b.Context(), customstatus.NewMemoryStore(), &customstatus.Options{Observer: c.Observer(), Logger: quiet})
	require.NoError(b, err)
	defer catalog.Close()
	c.SetCatalog(catalog)
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
