package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/metrics"
)

// observers are what a catalog is opened with: nothing, and a collector.
func observers() map[string]*customstatus.Observer {
	return map[string]*customstatus.Observer{"without": nil, "with": metrics.NewCollector(nil).Observer()}
}

// BenchmarkCreate is a create alone, with and without a collector. The difference is
// what the collector costs.
func BenchmarkCreate(b *testing.B) {
	stores := map[string]func(b *testing.B) customstatus.Store{
		"memory": func(*testing.B) customstatus.Store { return customstatus.NewMemoryStore() },
		"bolt": func(b *testing.B) customstatus.Store {
			store, err := customstatus.OpenBolt(filepath.Join(b.TempDir(), "a.db"), nil)
			require.NoError(b, err)
			return store
		},
	}
	for _, kind := range []string{"bolt", "memory"} {
		for _, name := range []string{"without", "with"} {
			b.Run(kind+"/"+name, func(b *testing.B) {
				catalog, err := customstatus.Open(b.Context(), stores[kind](b), &customstatus.Options{Observer: observers()[name], Logger: quiet})
				require.NoError(b, err)
				defer catalog.Close()
				for i := 0; b.Loop(); i++ {
					_, err := catalog.Create(b.Context(), customstatus.Fields{Name: fmt.Sprint("status ", i), StatusType: customstatus.Busy})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
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
