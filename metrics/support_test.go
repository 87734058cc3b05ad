package metrics_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/metrics"
)

var quiet = slog.New(slog.DiscardHandler)

// exposed returns the text that a scrape of the registry gets.
func exposed(t *testing.T, registry *prometheus.Registry) string {
	t.Helper()
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, rec.Code, rec.Body.String())
	return rec.Body.String()
}

// scrape reads what a scrape gets with Prometheus's own parser.
func scrape(t *testing.T, registry *prometheus.Registry) families {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	f, err := parser.TextToMetricFamilies(strings.NewReader(exposed(t, registry)))
	require.NoError(t, err)
	return f
}

// families are what a scrape gets, by their names.
type families map[string]*dto.MetricFamily

// find returns the value of the series with the labels, which are names and values in
// turn. Of a histogram, that is the number of observations.
func (f families) find(name string, labels ...string) (value float64, found bool) {
	for _, m := range f[name].GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetName(), l.GetValue())
		}
		switch {
		case !slices.Equal(has, labels):
		case m.Gauge != nil:
			return m.GetGauge().GetValue(), true
		case m.Counter != nil:
			return m.GetCounter().GetValue(), true
		default:
			return float64(m.GetHistogram().GetSampleCount()), true
		}
	}
	return 0, false
}

// value is find for a series that must be there.
func (f families) value(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	value, found := f.find(name, labels...)
	require.True(t, found, "%s %q", name, labels)
	return value
}

// await scrapes until a series has the value.
func await(t *testing.T, registry *prometheus.Registry, want float64, name string, labels ...string) families {
	t.Helper()
	var f families
	require.Eventually(t, func() bool {
		f = scrape(t, registry)
		value, found := f.find(name, labels...)
		return found && value == want
	}, 10*time.Second, 5*time.Millisecond, "%s %q is not %v", name, labels, want)
	return f
}

// open returns a catalog that the collector shows.
func open(t *testing.T, c *metrics.Collector, store customstatus.Store) *customstatus.Catalog {
	t.Helper()
	opts := &customstatus.Options{Observer: c.Observer(), Logger: quiet}
	var catalog *customstatus.Catalog
	var err error
	if shared, ok := store.(customstatus.SharedStore); ok {
		catalog, err = customstatus.OpenShared(t.Context(), shared, opts)
	} else {
		catalog, err = customstatus.Open(t.Context(), store, opts)
	}
	require.NoError(t, err)
	t.Cleanup(func() { catalog.Close() })
	c.SetCatalog(catalog)
	return catalog
}

func register(t *testing.T, c prometheus.Collector) *prometheus.Registry {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	return registry
}

func create(t *testing.T, catalog *customstatus.Catalog, name string) {
	t.Helper()
	_, err := catalog.Create(t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
	require.NoError(t, err)
}
