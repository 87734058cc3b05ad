package monitoring_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/customstatus/customstatus"
)

// The same hooks serve OpenTelemetry: the Observer for what happens, and Stats for what
// is. Your program has a MeterProvider already. Here a reader takes the place of an
// exporter.
func Example_openTelemetry() {
	ctx := context.Background()
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	defer provider.Shutdown(ctx)
	meter := provider.Meter("github.com/customstatus/customstatus")

	latency, err := meter.Float64Histogram("customstatus.commit.duration", metric.WithUnit("s"))
	if err != nil {
		panic(err)
	}
	catalog, err := customstatus.Open(ctx, customstatus.NewMemoryStore(), &customstatus.Options{
		Observer: &customstatus.Observer{Commit: func(info customstatus.CommitInfo) {
			latency.Record(ctx, info.Duration.Seconds())
		}},
	})
	if err != nil {
		panic(err)
	}
	defer catalog.Close()
	_, err = meter.Int64ObservableGauge("customstatus.statuses", metric.WithUnit("{status}"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(catalog.Stats().Statuses))
			return nil
		}))
	if err != nil {
		panic(err)
	}

	for _, name := range []string{"Lunch", "In a meeting"} {
		if _, err := catalog.Create(ctx, customstatus.Fields{Name: name, StatusType: customstatus.Busy}); err != nil {
			panic(err)
		}
	}
	var collected metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &collected); err != nil {
		panic(err)
	}
	for _, m := range collected.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]:
			fmt.Println(m.Name, data.DataPoints[0].Count)
		case metricdata.Gauge[int64]:
			fmt.Println(m.Name, data.DataPoints[0].Value)
		}
	}
	// Output:
	// customstatus.commit.duration 2
	// customstatus.statuses 2
}
