// Package metrics shows a catalog and the requests to it to Prometheus.
//
// A [Collector] is for one catalog. It gets its figures from three places: the
// catalog's Stats, the catalog's Observer, and a handler in front of the endpoints.
//
//	collector := metrics.NewCollector(nil)
//	catalog, err := customstatus.OpenFile(ctx, "chat.db", &customstatus.Options{Observer: collector.Observer()})
//	...
//	collector.SetCatalog(catalog)
//	registry.MustRegister(collector)
//	mux.Handle(httpadapter.DefaultPrefix, collector.Handler(api))
//	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//
// The registry is the host's. Nothing here uses Prometheus's global registry.
//
// # Several catalogs
//
// Each catalog has a collector of its own. Give each a label:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"catalog": "team-a"}, registry).MustRegister(collector)
//
// # Shared stores
//
// Set [Options.StoreRevision] to the Revision method of a shared store. The collector
// then shows whether the store answers and how far the catalog is behind.
//
// # Cardinality
//
// No client can make new time series. The label endpoint has the names of the endpoints
// and "other". The label code has status codes, "aborted" and "other". Names, ids and
// users of a catalog are in no label.
package metrics
