//go:build !nometrics

package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/metrics"
)

// exporter has the metrics of this process.
type exporter struct {
	collector *metrics.Collector
	page      http.Handler
}

// newExporter returns an exporter. The function revision asks a shared store; it is nil
// for another store.
func newExporter(revision func(context.Context) (customstatus.Revision, error), log *slog.Logger) *exporter {
	collector := metrics.NewCollector(&metrics.Options{Version: version(), Endpoint: metricEndpoint, StoreRevision: revision})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &exporter{collector, promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError),
		Timeout:  adminTimeout,
	})}
}

func (e *exporter) observer() *customstatus.Observer    { return e.collector.Observer() }
func (e *exporter) measure(h http.Handler) http.Handler { return e.collector.Handler(h) }
func (e *exporter) show(catalog *customstatus.Catalog)  { e.collector.SetCatalog(catalog) }

// metricEndpoint names the endpoint of a request for metrics.
func metricEndpoint(r *http.Request) string {
	switch r.URL.Path {
	case healthPath, livePath:
		return "healthz"
	case sessionPath:
		return "session"
	}
	return metrics.Endpoint(r)
}
