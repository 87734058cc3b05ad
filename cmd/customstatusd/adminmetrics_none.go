//go:build nometrics

package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/customstatus/customstatus"
)

// exporter says that this program was built without metrics.
type exporter struct{ page http.Handler }

func newExporter(func(context.Context) (customstatus.Revision, error), *slog.Logger) *exporter {
	return &exporter{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this program was built with the tag nometrics", http.StatusNotFound)
	})}
}

func (*exporter) observer() *customstatus.Observer    { return nil }
func (*exporter) measure(h http.Handler) http.Handler { return h }
func (*exporter) show(*customstatus.Catalog)          {}
