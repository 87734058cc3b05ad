package client_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/client"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

var (
	manager = client.Credentials{UserID: "manager", Token: "token of manager"}
	reader  = client.Credentials{UserID: "reader", Token: "token of reader"}
)

func newCatalog(t testing.TB) *customstatus.Catalog {
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, catalog.Close()) })
	return catalog
}

func newHandler(t testing.TB, catalog *customstatus.Catalog, opts httpadapter.Options) *httpadapter.Handler {
	tokens := new(tokenauth.Tokens)
	require.NoError(t, tokens.Add(
		tokenauth.Token{UserID: manager.UserID, Hash: tokenauth.HashOf(manager.Token), MayManage: true},
		tokenauth.Token{UserID: reader.UserID, Hash: tokenauth.HashOf(reader.Token)}))
	opts.Logger = slog.New(slog.DiscardHandler)
	h := httpadapter.New(catalog, httpadapter.HeaderAuth(tokens.Login), &opts)
	t.Cleanup(h.EndStreams)
	return h
}

// swap is a handler that can be replaced while its server runs.
type swap struct{ h atomic.Pointer[http.Handler] }

func (s *swap) set(h http.Handler) { s.h.Store(&h) }

func (s *swap) ServeHTTP(w http.ResponseWriter, r *http.Request) { (*s.h.Load()).ServeHTTP(w, r) }

// serve starts a server on a real listener.
func serve(t testing.TB, h http.Handler) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// quick returns a client that waits little between its attempts.
func quick(t testing.TB, url string, opts client.Options) *client.Client {
	if opts.Credentials == (client.Credentials{}) {
		opts.Credentials = manager
	}
	if opts.MaxWait == 0 {
		opts.MaxWait = 5 * time.Millisecond
	}
	c, err := client.New(url, &opts)
	require.NoError(t, err)
	return c
}

// answers returns a handler that gives one answer to every request, and counts them.
func answers(status int, body string, header ...string) (http.HandlerFunc, *atomic.Int64) {
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}, &n
}
