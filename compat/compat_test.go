package compat_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/NYTimes/gziphandler"
	"github.com/alexedwards/scs/v2"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/gorilla/mux"
	"github.com/klauspost/compress/gzhttp"
	"github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"
	echo5 "github.com/labstack/echo/v5"
	echo5middleware "github.com/labstack/echo/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rs/cors"
	"github.com/stretchr/testify/require"
	"github.com/urfave/negroni/v3"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/customstatus/customstatus/httpadapter/loginlimit"
)

// underPrefix are all paths of the adapter, in the words of most routers.
const underPrefix = "/api/v1/*"

// TestWorks puts the adapter behind what passes an event stream on.
func TestWorks(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	log := slog.New(slog.DiscardHandler)
	for name, mount := range map[string]func(api http.Handler) http.Handler{
		"nothing":    func(api http.Handler) http.Handler { return api },
		"loginlimit": func(api http.Handler) http.Handler { return loginlimit.New(api, &loginlimit.Options{Logger: log}) },
		"chi": func(api http.Handler) http.Handler {
			r := chi.NewRouter()
			r.Use(chimiddleware.RequestID, chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: slog.NewLogLogger(log.Handler(), 0)}),
				chimiddleware.Recoverer, chimiddleware.Compress(5, "application/json", "text/event-stream"))
			r.Handle(underPrefix, api)
			return r
		},
		"gin": func(api http.Handler) http.Handler {
			e := gin.New()
			e.Use(gin.LoggerWithWriter(io.Discard), gin.Recovery())
			e.Any(underPrefix+"path", gin.WrapH(api))
			return e
		},
		"echo 4": func(api http.Handler) http.Handler {
			e := echo.New()
			e.Use(echomiddleware.Recover(), echomiddleware.Gzip())
			e.Any(underPrefix, echo.WrapHandler(api))
			return e
		},
		"echo 5": func(api http.Handler) http.Handler {
			e := echo5.New()
			e.Use(echo5middleware.Recover(), echo5middleware.Gzip())
			e.Any(underPrefix, echo5.WrapHandler(api))
			return e
		},
		"gorilla/mux": func(api http.Handler) http.Handler {
			r := mux.NewRouter()
			r.PathPrefix("/api/v1/").Handler(api)
			return r
		},
		"negroni": func(api http.Handler) http.Handler {
			recovery := negroni.NewRecovery()
			recovery.PrintStack = false
			return negroni.New(recovery, negroni.Wrap(api))
		},
		"klauspost/gzhttp": func(api http.Handler) http.Handler { return gzhttp.GzipHandler(api) },
		"otelhttp":         func(api http.Handler) http.Handler { return otelhttp.NewHandler(api, "statuses") },
		"promhttp":         instrumented,
		"scs":              func(api http.Handler) http.Handler { return scs.New().LoadAndSave(api) },
		"rs/cors":          func(api http.Handler) http.Handler { return cors.AllowAll().Handler(api) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.works(t, mount(a.handler))
		})
	}
}

// works lists, writes and follows the stream through a handler that leads to a.
func (a api) works(t *testing.T, h http.Handler) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	t.Cleanup(a.handler.EndStreams)
	c := client{t, server.URL, server.Client()}
	c.list()
	follow(t, server.URL).works("Tea")
	stream := c.stream()
	require.Contains(t, stream.block(), "event: ready\n")
	for _, name := range []string{"Lunch", "In a meeting"} {
		created := c.create(name)
		event := stream.block()
		require.Contains(t, event, "event: created\n")
		require.Contains(t, event, "data: "+created+"\n")
	}
	a.handler.EndStreams()
	stream.ends()
	require.Empty(t, a.log.String())
}

// instrumented measures all that promhttp can.
func instrumented(api http.Handler) http.Handler {
	labels := []string{"code", "method"}
	h := promhttp.InstrumentHandlerCounter(prometheus.NewCounterVec(prometheus.CounterOpts{Name: "requests"}, labels), api)
	h = promhttp.InstrumentHandlerDuration(prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "seconds"}, labels), h)
	h = promhttp.InstrumentHandlerTimeToWriteHeader(prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "header"}, labels), h)
	return promhttp.InstrumentHandlerInFlight(prometheus.NewGauge(prometheus.GaugeOpts{Name: "in_flight"}),
		promhttp.InstrumentHandlerResponseSize(prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "bytes"}, labels), h))
}

// TestStreamIsRefused puts the adapter behind what keeps an event stream from being
// flushed or cut. Lists and writes work, and the log says what is missing.
func TestStreamIsRefused(t *testing.T) {
	serveHTTP := func(t *testing.T, h http.Handler) string {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		return server.URL
	}
	for name, tt := range map[string]struct {
		serve  func(t *testing.T, api http.Handler) (url string)
		logged string
	}{
		"http.TimeoutHandler": {func(t *testing.T, api http.Handler) string {
			return serveHTTP(t, http.TimeoutHandler(api, time.Minute, ""))
		}, "ResponseWriter *http.timeoutWriter of a middleware has neither Flush nor Unwrap"},
		"NYTimes/gziphandler": {func(t *testing.T, api http.Handler) string {
			return serveHTTP(t, gziphandler.GzipHandler(api))
		}, "ResponseWriter gziphandler.GzipResponseWriterWithCloseNotify of a middleware has neither SetWriteDeadline nor Unwrap"},
		"fiber's adaptor": {func(t *testing.T, api http.Handler) string {
			app := fiber.New()
			app.All(underPrefix, adaptor.HTTPHandler(api))
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() { served <- app.Listener(listener, fiber.ListenConfig{DisableStartupMessage: true}) }()
			t.Cleanup(func() {
				require.NoError(t, app.Shutdown())
				require.NoError(t, <-served)
			})
			return "http://" + listener.Addr().String()
		}, "ResponseWriter *fasthttpadaptor.writer of a middleware has neither SetWriteDeadline nor Unwrap"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			transport := new(http.Transport)
			t.Cleanup(transport.CloseIdleConnections)
			c := client{t, tt.serve(t, a.handler), &http.Client{Transport: transport}}
			c.list()
			c.create("Lunch")
			require.Empty(t, a.log.String())
			res := c.do(http.MethodGet, "stream", "", nil)
			require.Equal(t, http.StatusInternalServerError, res.StatusCode)
			require.Contains(t, a.log.String(), tt.logged)
			require.Contains(t, a.log.String(), "httpadapter#hdr-Middleware")
		})
	}
}

// TestStreamAround routes the stream around a middleware that it can't pass, as the
// documentation of the adapter says.
func TestStreamAround(t *testing.T) {
	for name, wrap := range map[string]func(api http.Handler) http.Handler{
		"http.TimeoutHandler": func(api http.Handler) http.Handler { return http.TimeoutHandler(api, time.Minute, "") },
		"NYTimes/gziphandler": gziphandler.GzipHandler,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			router := http.NewServeMux()
			router.Handle("/api/v1/", wrap(a.handler))
			router.Handle("/api/v1/custom-user-status.stream", a.handler)
			a.works(t, router)
		})
	}
}
