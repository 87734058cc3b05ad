package metrics

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Handler returns a handler that counts and measures the requests to next. Several
// handlers of one collector count together. Put it outside of other middleware, so that
// it sees the answers of that middleware too. Its [http.ResponseWriter] has the method
// Unwrap, so event streams work behind it.
func (c *Collector) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := c.endpointOf(c.endpoint(r))
		rec := &recorder{ResponseWriter: w, collector: c}
		start := time.Now()
		c.inFlight.Inc()
		finished := false
		defer func() {
			if rec.stream {
				c.streams.Dec()
			} else {
				c.inFlight.Dec()
				e.duration.Observe(time.Since(start).Seconds())
			}
			code := "aborted"
			if finished {
				code = codeName(cmp.Or(rec.code, http.StatusOK)) // as net/http answers
			}
			e.answered(code).Inc()
		}()
		if _, ok := w.(http.Flusher); ok {
			next.ServeHTTP(flusher{rec}, r)
		} else {
			next.ServeHTTP(rec, r)
		}
		finished = true
	})
}

// endpointNames are the names that [Endpoint] knows.
var endpointNames = []string{"create", "update", "delete", "list", "stream", "openapi", otherName}

// Endpoint returns the name of the endpoint that a request is for: create, update,
// delete, list, stream or openapi, under whatever prefix. All else is "other".
func Endpoint(r *http.Request) string {
	path := strings.TrimRight(r.URL.Path, "/")
	name, found := strings.CutPrefix(path[strings.LastIndexByte(path, '/')+1:], "custom-user-status.")
	switch name {
	case "openapi.json":
		name = "openapi"
	case "openapi": // there is no such path
		found = false
	}
	if found && slices.Contains(endpointNames, name) {
		return name
	}
	return otherName
}

// maxEndpoints is the greatest number of values of the label endpoint.
const maxEndpoints = 33

// endpoint has the metrics of one value of the label endpoint.
type endpoint struct {
	duration prometheus.Observer
	answered func(code string) prometheus.Counter
}

// endpointOf returns the endpoint with the name, or the one of otherName if there are
// too many.
func (c *Collector) endpointOf(name string) *endpoint {
	if e := (*c.endpoints.Load())[name]; e != nil {
		return e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := *c.endpoints.Load()
	if e := known[name]; e != nil {
		return e
	}
	if len(known) >= maxEndpoints || name == "" || !utf8.ValidString(name) {
		return known[otherName]
	}
	e := &endpoint{duration: c.durations.WithLabelValues(name), answered: func(code string) prometheus.Counter {
		return c.requests.WithLabelValues(name, code)
	}}
	grown := maps.Clone(known)
	grown[name] = e
	c.endpoints.Store(&grown)
	return e
}

// codeName returns the value of the label code.
func codeName(code int) string {
	if code < 100 || code > 599 {
		return otherName
	}
	return strconv.Itoa(code)
}

// recorder notes the status of an answer, and whether it is an event stream.
type recorder struct {
	http.ResponseWriter
	collector *Collector
	code      int // 0 until there is one
	stream    bool
}

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 && (code >= 200 || code == http.StatusSwitchingProtocols) {
		r.code = code
		r.stream = code == http.StatusOK && strings.HasPrefix(r.Header().Get("Content-Type"), "text/event-stream")
		if r.stream {
			r.collector.inFlight.Dec()
			r.collector.streams.Inc()
		}
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.WriteHeader(http.StatusOK)
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// flusher is a recorder in front of an [http.Flusher], which it is, too.
type flusher struct{ *recorder }

func (f flusher) Flush() { _ = f.FlushError() }

// FlushError is for [http.ResponseController], which would lose the error of Flush.
func (f flusher) FlushError() error {
	if f.code == 0 {
		f.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(f.ResponseWriter).Flush()
}
