package httpadapter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// The logins of the tests, by user id and token.
var (
	manager = [2]string{"KDgshs2PcfJn8suegn69Mo", "Tkezshpjs9bi_kO09J4PcQM72UESdz9Dit6tT1uEzYMLnqzI"}
	reader  = [2]string{"rbAXPnMktTFbNpwtJ", "RScctEHSmLGZGywfIhWyRpyofhKOiMoUIpimhvheU3f"}
	broken  = [2]string{"broken", "the login server is down"}
	panicky = [2]string{"panicky", "token of panicky"}
	nobody  = [2]string{}
)

// records are in the catalog of every test server.
var records = []customstatus.CustomUserStatus{
	{ID: "65462e97a2f73c7460e18f84", Name: "caught up", StatusType: customstatus.Online, UpdatedAt: time.Date(2023, 11, 1, 8, 0, 0, 800e6, time.UTC)},
	{ID: "fHqV6iJ9Tz2b7LmEw", Name: "on the phone", StatusType: customstatus.Busy, UpdatedAt: time.Date(2020, 2, 29, 23, 59, 59, 0, time.UTC)},
}

// server is a handler over a catalog in memory, behind a real listener.
type server struct {
	*httptest.Server
	t       testing.TB
	prefix  string
	catalog *customstatus.Catalog
	tokens  *tokenauth.Tokens
	handler httpadapter.Recorded
	log     *logBuffer
	library *logBuffer // of the catalog
}

// setup says how a test's server differs from the usual one.
type setup struct {
	catalog customstatus.Options
	store   customstatus.Store
	empty   bool
	shared  customstatus.SharedStore
	auth    httpadapter.Authenticator
	adapter httpadapter.Options
	mount   func(h http.Handler) http.Handler // wraps h
	http    func(*http.Server)
}

func newServer(t testing.TB, with setup) *server {
	t.Helper()
	s := &server{t: t, log: &logBuffer{}, library: &logBuffer{}, tokens: new(tokenauth.Tokens), prefix: httpadapter.DefaultPrefix}
	if with.store == nil {
		with.store = customstatus.NewMemoryStore()
	}
	with.catalog.Logger = slog.New(slog.NewTextHandler(s.library, nil))
	var err error
	if with.shared != nil {
		s.catalog, err = customstatus.OpenShared(t.Context(), with.shared, &with.catalog)
	} else {
		s.catalog, err = customstatus.Open(t.Context(), with.store, &with.catalog)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.catalog.Close()) })
	if !with.empty {
		_, err = s.catalog.Import(t.Context(), records)
		require.NoError(t, err)
	}
	require.NoError(t, s.tokens.Add(
		tokenauth.Token{UserID: manager[0], Hash: tokenauth.HashOf(manager[1]), MayManage: true},
		tokenauth.Token{UserID: reader[0], Hash: tokenauth.HashOf(reader[1])}))

	if with.auth == nil {
		with.auth = httpadapter.HeaderAuth(func(ctx context.Context, userID, token string) (httpadapter.Caller, error) {
			switch userID {
			case broken[0]:
				return httpadapter.Caller{}, &customstatus.Error{Code: customstatus.CodeNameInUse, Detail: "secret of the login server"}
			case panicky[0]:
				panic("secret of the login server")
			}
			return s.tokens.Login(ctx, userID, token)
		})
	}
	if with.adapter.Prefix != "" {
		s.prefix = with.adapter.Prefix
	}
	with.adapter.Logger = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.handler = newHandler(s.catalog, with.auth, &with.adapter)
	var h http.Handler = s.handler
	if with.mount != nil {
		h = with.mount(h)
	}
	s.Server = httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(s.log, nil), slog.LevelError)
	s.Config.RegisterOnShutdown(s.handler.EndStreams)
	if with.http != nil {
		with.http(s.Config)
	}
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(s.handler.EndStreams)
	return s
}

// logBuffer keeps the log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines returns the logged lines of at least this level.
func (l *logBuffer) lines(level slog.Level) []string {
	var lines []string
	for line := range strings.Lines(l.String()) {
		for _, at := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			if at >= level && strings.Contains(line, "level="+at.String()) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// request is one line of a request table.
type request struct {
	as     [2]string
	method string // default: GET for list and stream, or else POST
	path   string // behind the prefix, with the query
	body   string
	header http.Header
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request and checks that the OpenAPI document has the answer.
func (s *server) do(req request) answer {
	s.t.Helper()
	if req.method == "" {
		req.method = http.MethodPost
		if strings.HasPrefix(req.path, "custom-user-status.list") || strings.HasPrefix(req.path, "custom-user-status.stream") {
			req.method = http.MethodGet
		}
	}
	r, err := http.NewRequestWithContext(s.t.Context(), req.method, s.URL+s.prefix+req.path, strings.NewReader(req.body))
	require.NoError(s.t, err)
	maps.Copy(r.Header, req.header)
	if req.as != nobody {
		r.Header.Set("X-User-Id", req.as[0])
		r.Header.Set("X-Auth-Token", req.as[1])
	}
	a := s.send(r)
	checkAnswer(s.t, req.method, s.endpoint(r), a)
	return a
}

// endpoint returns the endpoint that the path of a request names.
func (s *server) endpoint(r *http.Request) string {
	path := r.URL.Path
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return strings.TrimSuffix(strings.TrimPrefix(path, s.prefix), "/")
}

func (s *server) send(r *http.Request) answer {
	s.t.Helper()
	res, err := s.Client().Do(r)
	require.NoError(s.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return answer{res.StatusCode, res.Header, string(body)}
}

// list returns the names in a list.
func (s *server) list(query string) []string {
	s.t.Helper()
	a := s.do(request{as: reader, path: "custom-user-status.list?" + query})
	require.Equal(s.t, http.StatusOK, a.status, a.body)
	var page struct {
		Statuses []customstatus.CustomUserStatus
		Count    int
	}
	require.NoError(s.t, json.Unmarshal([]byte(a.body), &page))
	require.Len(s.t, page.Statuses, page.Count)
	names := []string{}
	for _, status := range page.Statuses {
		names = append(names, status.Name)
	}
	return names
}

// checkAnswer checks what holds for every answer except those of a stream.
func checkAnswer(t testing.TB, method, endpoint string, a answer) {
	t.Helper()
	if a.status != http.StatusNotModified { // it has no body
		require.Equal(t, []string{"application/json"}, a.header["Content-Type"])
	}
	require.Equal(t, []string{"nosniff"}, a.header["X-Content-Type-Options"])
	require.Len(t, a.header["X-Request-Id"], 1)
	cache := "no-store"
	if endpoint == "custom-user-status.list" && a.status < http.StatusBadRequest {
		cache = "private, no-cache"
	}
	require.Equal(t, []string{cache}, a.header["Cache-Control"])
	for _, secret := range []string{"secret", "goroutine", ".go:"} {
		require.NotContains(t, a.body, secret)
	}
	if method == http.MethodHead || a.status == http.StatusNotModified {
		require.Empty(t, a.body)
	}
	_, err := api(t).matches(method, endpoint, a)
	require.NoError(t, err, "%s %s: %d %s", method, endpoint, a.status, a.body)
}

// document is the OpenAPI document.
type document map[string]any

var readDocument = sync.OnceValues(func() (d document, err error) {
	err = json.Unmarshal(httpadapter.OpenAPI(), &d)
	return d, err
})

func api(t testing.TB) document {
	t.Helper()
	d, err := readDocument()
	require.NoError(t, err)
	return d
}

// at returns the node that the keys lead to. It follows references.
func (d document) at(node any, keys ...string) any {
	for {
		object, _ := node.(map[string]any)
		if to, ok := object["$ref"].(string); ok {
			node = d.at(map[string]any(d), strings.Split(strings.TrimPrefix(to, "#/"), "/")...)
			continue
		}
		if len(keys) == 0 {
			return node
		}
		node, keys = object[keys[0]], keys[1:]
	}
}

// matches returns the schema that the document has for an answer.
func (d document) matches(method, endpoint string, a answer) (schema string, err error) {
	path, known := d.at(map[string]any(d), "paths", "/"+endpoint).(map[string]any)
	var response any
	switch {
	case !known:
		response = d.at(map[string]any(d), "components", "responses", "NotFound")
		if a.status != http.StatusNotFound {
			return "", errors.New("no such path in the document")
		}
	case a.status == http.StatusMethodNotAllowed:
		if method == strings.ToUpper(method) && path[strings.ToLower(method)] != nil {
			return "", errors.New("the document has this method")
		}
		response = d.at(map[string]any(d), "components", "responses", "MethodNotAllowed")
	default:
		response = d.at(path, strings.ToLower(method), "responses", fmt.Sprint(a.status))
		if response == nil {
			return "", errors.New("no such status in the document")
		}
	}
	if err := d.matchesHeaders(response, a.header); err != nil {
		return "", err
	}
	if method == http.MethodHead || a.status == http.StatusNotModified {
		return "", nil // no body
	}
	if d.at(response, "content", a.header.Get("Content-Type")) == nil {
		return "", errors.New("no such answer in the document")
	}
	if a.header.Get("Content-Type") == "text/event-stream" {
		return "", nil
	}
	want := d.at(response, "content", "application/json", "schema")
	var value any
	if err := json.Unmarshal([]byte(a.body), &value); err != nil {
		return "", err
	}
	for _, alternative := range d.alternatives(response) {
		if d.validate(alternative, value) == nil {
			schema = schemaName(alternative)
		}
	}
	return schema, d.validate(want, value)
}

// alternatives returns the schemas of a response.
func (d document) alternatives(response any) []any {
	media, _ := d.at(response, "content", "application/json").(map[string]any)
	if media == nil {
		return nil
	}
	schema := media["schema"].(map[string]any)
	if all, ok := schema["oneOf"].([]any); ok {
		return all
	}
	return []any{schema}
}

func schemaName(schema any) string {
	to, _ := schema.(map[string]any)["$ref"].(string)
	return strings.TrimPrefix(to, "#/components/schemas/")
}
