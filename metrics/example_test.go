package metrics_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/metrics"
)

// A server with a catalog, its endpoints, and its metrics. The page of the metrics is on
// a listener of its own, because it asks for no login.
func Example() {
	ctx := context.Background()
	directory, err := os.MkdirTemp("", "metrics-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(directory)
	logins := httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
		return httpadapter.Caller{UserID: "admin", MayManage: true}, nil // yours asks who it is
	})

	collector := metrics.NewCollector(nil)
	catalog, err := customstatus.OpenFile(ctx, filepath.Join(directory, "chat.db"), &customstatus.Options{
		Observer: collector.Observer(),
	})
	if err != nil {
		panic(err)
	}
	defer catalog.Close()
	collector.SetCatalog(catalog)

	api := httpadapter.New(catalog, logins, nil)
	public := http.NewServeMux() // for your clients
	public.Handle(httpadapter.DefaultPrefix, collector.Handler(api))

	registry := prometheus.NewRegistry()
	registry.MustRegister(collector)
	private := http.NewServeMux() // for Prometheus
	private.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	lunch := httptest.NewRequest(http.MethodPost, httpadapter.DefaultPrefix+"custom-user-status.create",
		strings.NewReader(`{"name":"Lunch","statusType":"away"}`))
	lunch.Header.Set("Content-Type", "application/json")
	public.ServeHTTP(httptest.NewRecorder(), lunch)
	page := httptest.NewRecorder()
	private.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(page.Body.String()) {
		if strings.HasPrefix(line, "customstatus_statuses ") || strings.Contains(line, `requests_total{code="200",endpoint="create"}`) {
			fmt.Print(line)
		}
	}
	// Output:
	// customstatus_http_requests_total{code="200",endpoint="create"} 1
	// customstatus_statuses 1
}

// Several catalogs of one process have a label in one registry.
func Example_severalCatalogs() {
	registry := prometheus.NewRegistry()
	for _, team := range []string{"red", "blue"} {
		collector := metrics.NewCollector(nil)
		catalog, err := customstatus.Open(context.Background(), customstatus.NewMemoryStore(), &customstatus.Options{
			Logger:   slog.New(slog.DiscardHandler),
			Observer: collector.Observer(),
		})
		if err != nil {
			panic(err)
		}
		defer catalog.Close()
		collector.SetCatalog(catalog)
		prometheus.WrapRegistererWith(prometheus.Labels{"catalog": team}, registry).MustRegister(collector)
	}
	families, err := registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, family := range families {
		if family.GetName() == "customstatus_statuses" {
			for _, metric := range family.GetMetric() {
				fmt.Println(metric.GetLabel()[0].GetValue(), metric.GetGauge().GetValue())
			}
		}
	}
	// Output:
	// blue 0
	// red 0
}
