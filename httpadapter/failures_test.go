package httpadapter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// failingStore is a store in memory whose commits fail as a test says.
type failingStore struct {
	*customstatus.MemoryStore
	commit func(context.Context) error
}

func (s *failingStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if s.commit != nil {
		if err := s.commit(ctx); err != nil {
			return 0, err
		}
	}
	return s.MemoryStore.Commit(ctx, changes)
}

func TestFailures(t *testing.T) {
	create := request{as: manager, path: createPath, body: `{"name":"a","statusType":"busy"}`}
	with := func(as [2]string, req request) request {
		req.as = as
		return req
	}
	for name, tt := range map[string]struct {
		commit func(context.Context) error
		closed bool
		req    request
		logged string
	}{
		"store fails":           {commit: fails(errors.New("secret: disk full at /var/lib")), req: create, logged: "secret: disk full at /var/lib"},
		"store wraps ErrClosed": {commit: fails(fmt.Errorf("secret: %w", customstatus.ErrClosed)), req: create, logged: "secret"},
		"outcome unknown":       {commit: fails(fmt.Errorf("secret: %w", customstatus.ErrOutcomeUnknown)), req: create, logged: "outcome unknown"},
		"needs reopen":          {commit: fails(customstatus.ErrNeedsReopen), req: create, logged: "reopened"},
		"sentinel without data": {commit: fails(fmt.Errorf("secret: %w", customstatus.ErrNotFound)), req: create, logged: "secret"},
		"also on update": {commit: fails(fmt.Errorf("secret: %w", customstatus.ErrNotFound)),
			req: request{as: manager, path: updatePath, body: `{"_id":"` + records[0].ID + `","name":"a","statusType":"busy"}`}, logged: "secret"},
		"also on delete": {commit: fails(fmt.Errorf("secret: %w", customstatus.ErrInvalid)),
			req: request{as: manager, path: deletePath, body: `{"customUserStatusId":"` + records[0].ID + `"}`}, logged: "secret"},
		"store panics":         {commit: func(context.Context) error { panic("secret of the store") }, req: create, logged: "secret of the store"},
		"closed, create":       {closed: true, req: create, logged: "closed"},
		"closed, list":         {closed: true, req: request{as: reader, path: listPath}, logged: "closed"},
		"authenticator fails":  {req: with(broken, create), logged: "secret of the login server"},
		"authenticator panics": {req: with(panicky, create), logged: "secret of the login server"},
	} {
		t.Run(name, func(t *testing.T) {
			store := &failingStore{MemoryStore: customstatus.NewMemoryStore()}
			s := newServer(t, setup{store: store})
			store.commit = tt.commit
			if tt.closed {
				require.NoError(t, s.catalog.Close())
			}
			tt.req.header = http.Header{"X-Request-Id": {"id-of-the_proxy.7"}}
			a := s.do(tt.req)
			require.Equal(t, http.StatusInternalServerError, a.status)
			require.Equal(t, internal, a.body)
			require.Equal(t, "id-of-the_proxy.7", a.header.Get("X-Request-Id"))
			logged := s.log.lines(slog.LevelDebug)
			require.Len(t, logged, 1, "logged once")
			require.Contains(t, logged[0], "level=ERROR")
			require.Contains(t, logged[0], "request_id=id-of-the_proxy.7")
			require.Contains(t, logged[0], "endpoint="+tt.req.path)
			require.Contains(t, logged[0], tt.logged)
			require.NotContains(t, logged[0], tt.req.as[1])
			if strings.Contains(name, "panics") {
				require.Contains(t, s.log.String()+s.library.String(), "goroutine ", "with the stack")
			}

			// The next request is served.
			if !tt.closed {
				store.commit = nil
				require.Equal(t, http.StatusOK, s.do(create).status)
				require.Len(t, s.log.lines(slog.LevelDebug), 1)
			}
		})
	}
}

func fails(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

func TestRefusalsAreNotLogged(t *testing.T) {
	s := newServer(t, setup{})
	for _, req := range []request{
		{path: listPath},
		{as: manager, path: createPath, body: `]`},
		{as: manager, path: createPath, body: `{"name":"caught up","statusType":"busy"}`},
		{as: manager, path: "none"},
		{as: manager, method: "PUT", path: listPath},
		{as: manager, path: createPath, body: strings.Repeat(" ", 70000)},
		{as: reader, path: createPath},
	} {
		s.do(req)
	}
	require.Empty(t, s.log.String())
}

func TestRequestID(t *testing.T) {
	s := newServer(t, setup{})
	for name, given := range map[string][]string{
		"none":       nil,
		"empty":      {""},
		"two":        {"a", "b"},
		"too long":   {strings.Repeat("a", 65)},
		"space":      {"a b"},
		"quote":      {`a"b`},
		"not ASCII":  {"é"},
		"log forged": {"a\tlevel=ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			req := request{as: reader, path: listPath}
			if given != nil {
				req.header = http.Header{"X-Request-Id": given}
			}
			first, second := s.do(req).header.Get("X-Request-Id"), s.do(req).header.Get("X-Request-Id")
			require.Regexp(t, `^[0-9a-z]{1,13}$`, first)
			require.NotEqual(t, first, second)
			require.NotContains(t, given, first)
		})
	}
	for _, given := range []string{"a", strings.Repeat("Z", 64), "01890a5d-ac96-774b-bcce-b302099a8057", "A.b_c-9"} {
		require.Equal(t, given, s.do(request{path: listPath, header: http.Header{"X-Request-Id": {given}}}).header.Get("X-Request-Id"))
	}
}

// TestGivenUp: a client that goes away and a host that ends the request are no failures
// of the server. A write with an unknown outcome is one.
func TestGivenUp(t *testing.T) {
	for name, tt := range map[string]struct {
		err   error
		level string
	}{
		"nothing was written": {context.Canceled, "DEBUG"},
		"nobody knows":        {customstatus.ErrOutcomeUnknown, "ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			store := &failingStore{MemoryStore: customstatus.NewMemoryStore()}
			s := newServer(t, setup{store: store})
			ctx, cancel := context.WithCancel(t.Context())
			store.commit = func(context.Context) error {
				cancel()
				return tt.err
			}
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, s.prefix+createPath, strings.NewReader(`{"name":"a","statusType":"busy"}`))
			r.Header.Set("X-User-Id", manager[0])
			r.Header.Set("X-Auth-Token", manager[1])
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(w, r)
			require.Equal(t, internal, w.Body.String())
			require.Contains(t, s.log.String(), "level="+tt.level)
		})
	}
}

// brokenWriter panics when the body is written.
type brokenWriter struct {
	*httptest.ResponseRecorder
	panics any
}

func (w brokenWriter) Write([]byte) (int, error) { panic(w.panics) }

func TestPanics(t *testing.T) {
	s := newServer(t, setup{})
	serve := func(panics any) {
		r := httptest.NewRequest(http.MethodGet, s.prefix+listPath, nil)
		s.handler.ServeHTTP(brokenWriter{httptest.NewRecorder(), panics}, r)
	}
	t.Run("after the header", func(t *testing.T) {
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { serve("half written") })
		require.Len(t, s.log.lines(slog.LevelError), 1)
		require.Contains(t, s.log.String(), "half written")
	})
	t.Run("ErrAbortHandler goes through", func(t *testing.T) {
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { serve(http.ErrAbortHandler) })
		require.Len(t, s.log.lines(slog.LevelError), 1, "and is not logged")
	})
	t.Run("from the authenticator", func(t *testing.T) {
		log := &logBuffer{}
		h := newHandler(s.catalog, httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
			panic(http.ErrAbortHandler)
		}), &httpadapter.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
		r := httptest.NewRequest(http.MethodGet, s.prefix+listPath, nil)
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { h.ServeHTTP(httptest.NewRecorder(), r) })
		require.Empty(t, log.String())
	})
}

// TestMounts serves the same handler from the places where hosts mount it.
func TestMounts(t *testing.T) {
	mux := func(pattern string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle(pattern, h)
			mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "the host's own", http.StatusTeapot) })
			return mux
		}
	}
	for name, tt := range map[string]struct {
		prefix string // of Options
		base   string // as the client sees it
		mount  func(http.Handler) http.Handler
		host   bool // serves the other paths
	}{
		"the whole server":         {base: "/api/v1/"},
		"ServeMux":                 {base: "/api/v1/", mount: mux("/api/v1/"), host: true},
		"ServeMux at the root":     {base: "/api/v1/", mount: func(h http.Handler) http.Handler { m := http.NewServeMux(); m.Handle("/", h); return m }},
		"ServeMux with a host":     {base: "/api/v1/", mount: mux("127.0.0.1/api/v1/"), host: true},
		"StripPrefix of a part":    {base: "/chat/api/v1/", mount: func(h http.Handler) http.Handler { return mux("/chat/")(http.StripPrefix("/chat", h)) }, host: true},
		"StripPrefix of all":       {prefix: "/", base: "/api/v1/", mount: func(h http.Handler) http.Handler { return mux("/api/v1/")(http.StripPrefix("/api/v1", h)) }, host: true},
		"custom prefix":            {prefix: "/chat/statuses/", base: "/chat/statuses/", mount: mux("/chat/statuses/"), host: true},
		"prefix without slashes":   {prefix: "chat", base: "/chat/", mount: mux("/chat/"), host: true},
		"at the root":              {prefix: "/", base: "/"},
		"a router that has walked": {base: "/api/v1/", mount: walked},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, setup{adapter: httpadapter.Options{Prefix: tt.prefix}, mount: tt.mount})
			s.prefix = tt.base
			require.Equal(t, http.StatusOK, s.do(request{as: manager, path: createPath, body: `{"name":"a","statusType":"busy"}`}).status)
			require.Equal(t, []string{"a", "caught up", "on the phone"}, s.list(""))
			require.Equal(t, unauthorized, s.do(request{path: listPath}).body)
			require.Equal(t, noMethod, s.do(request{as: manager, method: "PUT", path: createPath}).body)
			require.Equal(t, noEndpoint, s.do(request{as: manager, path: "none"}).body)

			r, err := http.NewRequest(http.MethodGet, s.URL+"/elsewhere/"+listPath, nil)
			require.NoError(t, err)
			a := s.send(r)
			if tt.host {
				require.Equal(t, http.StatusTeapot, a.status)
			} else {
				require.Equal(t, noEndpoint, a.body)
			}
		})
	}
}

// walked changes a request as chi's Mount does: the URL stays as it is, and the rest of
// the path goes into the context.
func walked(h http.Handler) http.Handler {
	type rest struct{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/api/v1")
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), rest{}, path)))
	})
}

func TestOpenAPIIsACopy(t *testing.T) {
	httpadapter.OpenAPI()[0] = 'x'
	require.True(t, bytes.HasPrefix(httpadapter.OpenAPI(), []byte("{")))
}
