package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// The adapter works unchanged under another router, its 404 and 405 included.
func TestAdapterUnderChi(t *testing.T) {
	mounts := map[string]func(chi.Router, http.Handler){
		"Mount at the root":      func(r chi.Router, h http.Handler) { r.Mount("/", h) },
		"Mount at the prefix":    func(r chi.Router, h http.Handler) { r.Mount("/api/v1", h) },
		"Mount with a slash":     func(r chi.Router, h http.Handler) { r.Mount("/api/v1/", h) },
		"Handle with a wildcard": func(r chi.Router, h http.Handler) { r.Handle("/api/v1/*", h) },
		"Route and Mount": func(r chi.Router, h http.Handler) {
			r.Route("/api", func(r chi.Router) { r.Mount("/v1", h) })
		},
	}
	for name, mount := range mounts {
		t.Run(name, func(t *testing.T) {
			catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
			require.NoError(t, err)
			defer catalog.Close()
			anybody := func(_ context.Context, userID, _ string) (httpadapter.Caller, error) {
				return httpadapter.Caller{UserID: userID, MayManage: true}, nil
			}
			r := chi.NewRouter()
			mount(r, httpadapter.New(catalog, httpadapter.HeaderAuth(anybody), nil))
			srv := httptest.NewServer(r)
			defer srv.Close()

			tests := []struct {
				method, path, body string
				status             int
				want               string
			}{
				{"POST", "/api/v1/custom-user-status.create", `{"name":"a","statusType":"busy"}`, 200, `"name":"a"`},
				{"GET", "/api/v1/custom-user-status.list", "", 200, `"total":1`},
				{"GET", "/api/v1/custom-user-status.create", "", 405, `"success":false`},
				{"DELETE", "/api/v1/custom-user-status.list", "", 405, `"success":false`},
				{"GET", "/api/v1/custom-user-status.nothing", "", 404, `"success":false`},
				{"GET", "/api/v1/", "", 404, `"success":false`},
			}
			for _, tt := range tests {
				req, err := http.NewRequest(tt.method, srv.URL+tt.path, strings.NewReader(tt.body))
				require.NoError(t, err)
				req.Header.Set("X-User-Id", "u")
				req.Header.Set("X-Auth-Token", "t")
				resp, err := srv.Client().Do(req)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Equal(t, tt.status, resp.StatusCode, "%s %s: %s", tt.method, tt.path, body)
				require.Equal(t, "application/json", resp.Header.Get("Content-Type"), "%s %s", tt.method, tt.path)
				require.Contains(t, string(body), tt.want, "%s %s", tt.method, tt.path)
			}
		})
	}
}
