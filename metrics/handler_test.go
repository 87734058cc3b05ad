package metrics_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/metrics"
)

const requestsTotal = "customstatus_http_requests_total"

// serve serves a catalog behind the collector's handler.
func serve(t *testing.T, c *metrics.Collector) (*httptest.Server, *httpadapter.Handler) {
	t.Helper()
	auth := httpadapter.HeaderAuth(func(_ context.Context, user, token string) (httpadapter.Caller, error) {
		if token != "secret" {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		return httpadapter.Caller{UserID: user, MayManage: true}, nil
	})
	api := httpadapter.New(open(t, c, customstatus.NewMemoryStore()), auth, &httpadapter.Options{Logger: quiet})
	server := httptest.NewServer(c.Handler(api))
	t.Cleanup(server.Close)
	t.Cleanup(api.EndStreams)
	return server, api
}

func ask(t *testing.T, server *httptest.Server, method, path, token, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("X-User-Id", "alice")
	r.Header.Set("X-Auth-Token", token)
	r.Header.Set("Content-Type", "application/json")
	resp, err := server.Client().Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func answered(t *testing.T, server *httptest.Server, method, path, token, body string) int {
	t.Helper()
	resp := ask(t, server, method, path, token, body)
	_, err := io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	return resp.StatusCode
}

const prefix = "/api/v1/custom-user-status."

func TestRequests(t *testing.T) {
	c := metrics.NewCollector(nil)
	registry := register(t, c)
	server, api := serve(t, c)
	require.Equal(t, 200, answered(t, server, "POST", prefix+"create", "secret", `{"name":"Lunch","statusType":"away"}`))
	require.Equal(t, 400, answered(t, server, "POST", prefix+"create", "secret", `{"name":"Lunch","statusType":"away"}`))
	require.Equal(t, 200, answered(t, server, "GET", prefix+"list", "secret", ""))
	require.Equal(t, 200, answered(t, server, "GET", prefix+"list/", "secret", ""))
	require.Equal(t, 401, answered(t, server, "GET", prefix+"list", "guessed", ""))
	require.Equal(t, 401, answered(t, server, "GET", prefix+"stream", "guessed", ""))
	require.Equal(t, 200, answered(t, server, "GET", prefix+"openapi.json", "secret", ""))
	require.Equal(t, 404, answered(t, server, "GET", "/elsewhere", "secret", ""))

	families := await(t, registry, 1, requestsTotal, "code", "404", "endpoint", "other")
	for _, want := range []struct {
		code, endpoint string
		count          float64
	}{
		{"200", "create", 1},
		{"400", "create", 1},
		{"200", "list", 2},
		{"401", "list", 1},
		{"401", "stream", 1},
		{"200", "openapi", 1},
		{"404", "other", 1},
		{"500", "create", 0},
		{"200", "delete", 0},
	} {
		require.Equal(t, want.count, families.value(t, requestsTotal, "code", want.code, "endpoint", want.endpoint), want)
	}
	require.Equal(t, 3.0, families.value(t, "customstatus_http_request_duration_seconds", "endpoint", "list"))
	require.Equal(t, 1.0, families.value(t, "customstatus_http_request_duration_seconds", "endpoint", "stream"), "the one that was refused")

	streams := []*http.Response{ask(t, server, "GET", prefix+"stream", "secret", ""), ask(t, server, "GET", prefix+"stream", "secret", "")}
	for _, s := range streams {
		line, err := bufio.NewReader(s.Body).ReadString('\n')
		require.NoError(t, err)
		require.Contains(t, line, "retry:")
	}
	families = await(t, registry, 2, "customstatus_watchers")
	require.Equal(t, 2.0, families.value(t, "customstatus_http_streams"))
	require.Equal(t, 0.0, families.value(t, "customstatus_http_requests_in_flight"))
	api.EndStreams()
	await(t, registry, 0, "customstatus_http_streams")
	families = await(t, registry, 2, requestsTotal, "code", "200", "endpoint", "stream")
	require.Equal(t, 1.0, families.value(t, "customstatus_http_request_duration_seconds", "endpoint", "stream"), "no stream has a duration")
}

func TestEndpoint(t *testing.T) {
	for path, want := range map[string]string{
		prefix + "create":                       "create",
		"/chat" + prefix + "list//":             "list",
		"custom-user-status.stream":             "stream",
		prefix + "openapi.json":                 "openapi",
		prefix + "openapi":                      "other",
		prefix + "other":                        "other",
		prefix + "Create":                       "other",
		prefix:                                  "other",
		"/create":                               "other",
		"/openapi.json":                         "other",
		"/custom-user-status.list/create":       "other",
		"/api/v1/old-custom-user-status.create": "other",
		"":                                      "other",
	} {
		require.Equal(t, want, metrics.Endpoint(&http.Request{URL: &url.URL{Path: path}}), path)
	}
}

// Whatever clients send, there are no more series than before.
func TestHostileRequests(t *testing.T) {
	c := metrics.NewCollector(nil)
	registry := register(t, c)
	h := c.Handler(http.NotFoundHandler())
	send := func(i int) {
		for _, path := range []string{"/%d", "/api/v1/custom-user-status.%d", "/%d/custom-user-status.list", "/custom-user-status.list/%d", "/\xff%d", "//%d//"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Method, r.URL.Path = fmt.Sprintf("M%d", i), fmt.Sprintf(path, i)
			r.Host = fmt.Sprintf("h%d", i)
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	send(0)
	series := strings.Count(exposed(t, registry), "\n")
	for i := range 1000 {
		send(i)
	}
	require.Equal(t, series, strings.Count(exposed(t, registry), "\n"))
	require.Equal(t, 5005.0, scrape(t, registry).value(t, requestsTotal, "code", "404", "endpoint", "other"))
}

// The names of a host's own endpoints are bounded in number and in form.
func TestHostsEndpoints(t *testing.T) {
	c := metrics.NewCollector(&metrics.Options{Endpoint: func(r *http.Request) string { return r.URL.Path[1:] }})
	registry := register(t, c)
	h := c.Handler(http.NotFoundHandler())
	for i := range 100 {
		for _, name := range []string{fmt.Sprint("e", i), "", "\xff"} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.Path = "/" + name
			h.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	families := scrape(t, registry)
	require.Len(t, families["customstatus_http_request_duration_seconds"].GetMetric(), 33)
	require.Equal(t, 1.0, families.value(t, requestsTotal, "code", "404", "endpoint", "e25"))
	require.Equal(t, 274.0, families.value(t, requestsTotal, "code", "404", "endpoint", "other"))
}

func TestCodes(t *testing.T) {
	for name, tt := range map[string]struct {
		handle http.HandlerFunc
		code   string
	}{
		"nothing":        {func(http.ResponseWriter, *http.Request) {}, "200"},
		"only a body":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x") }, "200"},
		"early hints":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(404) }, "404"},
		"the first":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); fmt.Fprint(w, "x") }, "201"},
		"after a body":   {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x"); w.WriteHeader(500) }, "200"},
		"after a flush":  {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); w.WriteHeader(500) }, "200"},
		"a panic":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "aborted"},
		"half an answer": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic(http.ErrAbortHandler) }, "aborted"},
		"an odd code":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(999) }, "other"},
	} {
		t.Run(name, func(t *testing.T) {
			c := metrics.NewCollector(nil)
			registry := register(t, c)
			server := httptest.NewUnstartedServer(c.Handler(tt.handle))
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // for codes that come too late
			server.Start()
			defer server.Close()
			resp, err := server.Client().Get(server.URL)
			if tt.code != "aborted" {
				require.NoError(t, err)
			}
			if err == nil {
				resp.Body.Close()
			}
			await(t, registry, 1, requestsTotal, "code", tt.code, "endpoint", "other")
			require.Equal(t, 0.0, scrape(t, registry).value(t, "customstatus_http_requests_in_flight"))
		})
	}
}

// Only an answer of 200 is an event stream, whatever its type.
func TestRefusedStream(t *testing.T) {
	c := metrics.NewCollector(nil)
	registry := register(t, c)
	h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", prefix+"stream", nil))
	require.Equal(t, 1.0, scrape(t, registry).value(t, "customstatus_http_request_duration_seconds", "endpoint", "stream"))
}

// What a handler finds out about its writer stays as it was.
func TestWriterStaysWhatItIs(t *testing.T) {
	c := metrics.NewCollector(nil)
	var flusher, controller bool
	h := c.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, flusher = w.(http.Flusher)
		controller = http.NewResponseController(w).Flush() == nil
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	require.True(t, flusher)
	require.True(t, controller)
	h.ServeHTTP(struct{ http.ResponseWriter }{httptest.NewRecorder()}, httptest.NewRequest("GET", "/", nil))
	require.False(t, flusher)
	require.False(t, controller)
}
