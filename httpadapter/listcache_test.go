package httpadapter

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func newCatalog(t testing.TB, n int) *customstatus.Catalog {
	t.Helper()
	catalog, err := customstatus.Open(context.Background(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, catalog.Close()) })
	statuses := make([]customstatus.CustomUserStatus, n)
	for i := range statuses {
		statuses[i] = customstatus.CustomUserStatus{ID: fmt.Sprint("id", i), Name: fmt.Sprintf("name %015d", i), StatusType: customstatus.Busy}
	}
	_, err = catalog.Import(t.Context(), statuses)
	require.NoError(t, err)
	return catalog
}

func TestListIsEncodedOnce(t *testing.T) {
	catalog := newCatalog(t, 100)
	h := newHandler(catalog)
	get := func(query string) *listPage {
		page, err := h.page(t.Context(), "", query)
		if err != nil {
			panic(err)
		}
		return page
	}
	for _, query := range []string{"", "count=7", "name=1&offset=3"} {
		pages := make([]*listPage, 16)
		var wg sync.WaitGroup
		for i := range pages {
			wg.Go(func() { pages[i] = get(query) })
		}
		wg.Wait()
		for _, page := range pages {
			require.Same(t, pages[0], page)
		}
	}
	require.NotSame(t, get(""), get("count=7"))

	before := get("")
	_, err := catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: customstatus.Busy})
	require.NoError(t, err)
	after := get("")
	require.NotSame(t, before, after)
	require.Same(t, after, get(""))
	require.Len(t, h.lists.pages.Load().byQuery, 1, "what was encoded of the revision before is gone")
}

func TestListCacheIsBounded(t *testing.T) {
	catalog := newCatalog(t, 10)
	h := newHandler(catalog)
	c := &h.lists
	for i := range 20 * maxPages {
		page, err := h.page(t.Context(), "", fmt.Sprint("offset=", i))
		require.NoError(t, err)
		require.Contains(t, string(page.body), fmt.Sprintf(`"offset":%d,`, i))
		require.LessOrEqual(t, len(c.pages.Load().byQuery), maxPages)
		again, err := h.page(t.Context(), "", fmt.Sprint("offset=", i))
		require.NoError(t, err)
		require.Same(t, page, again, "the last one is kept")
	}
	require.Len(t, c.pages.Load().byQuery, maxPages)

	for _, query := range []string{"count=x", "name=" + strings.Repeat("x", maxPageKey), "name=" + strings.Repeat("x", maxQuery)} {
		_, _ = h.page(t.Context(), "", query)
		require.NotContains(t, c.pages.Load().byQuery, query)
	}
}

// TestListCacheIsBoundedInBytes asks for many large pages.
func TestListCacheIsBoundedInBytes(t *testing.T) {
	catalog := newCatalog(t, 0)
	h := newHandler(catalog)
	h.metadata = true
	statuses := make([]customstatus.CustomUserStatus, 200)
	for i := range statuses {
		id := fmt.Sprint(i)
		statuses[i] = customstatus.CustomUserStatus{
			ID:         id + strings.Repeat(`"`, customstatus.MaxIDBytes-len(id)),
			Name:       id + strings.Repeat("😀", customstatus.MaxNameCharacters-len(id)),
			StatusType: customstatus.Offline,
			Metadata:   strings.Repeat("\x01", 100),
		}
	}
	_, err := catalog.Import(t.Context(), statuses)
	require.NoError(t, err)
	size := func() (bytes, largest int) {
		for _, kept := range h.lists.pages.Load().byQuery {
			n := int(kept.size.Load())
			bytes, largest = bytes+n, max(largest, n)
		}
		return bytes, largest
	}
	displaced := false
	for i := range maxPages {
		page, err := h.page(t.Context(), "", fmt.Sprint("count=0&offset=", i))
		require.NoError(t, err)
		bytes, largest := size()
		require.LessOrEqual(t, bytes-largest, maxPageBytes)
		require.Less(t, cap(page.body), 2*len(page.body))
		displaced = displaced || len(h.lists.pages.Load().byQuery) <= i
	}
	require.True(t, displaced)
}

// TestListCacheAfterACatalogGoesBack: an answer that was encoded at another position is
// not kept for the first one, to which the catalog may come back.
func TestListCacheAfterACatalogGoesBack(t *testing.T) {
	var c listCache
	here := customstatus.Position{Revision: 2, Fingerprint: 7}
	elsewhere := &listPage{position: customstatus.Position{Revision: 3, Fingerprint: 8}}
	got, err := c.keep(here, "", func() (*listPage, error) { return elsewhere, nil })()
	require.NoError(t, err)
	require.Same(t, elsewhere, got)
	require.Nil(t, c.get(here, ""))

	page := &listPage{position: here}
	got, err = c.keep(here, "", func() (*listPage, error) { return page, nil })()
	require.NoError(t, err)
	require.Same(t, page, got)
	require.NotNil(t, c.get(here, ""))
	require.Nil(t, c.get(elsewhere.position, ""))
	require.Nil(t, c.get(customstatus.Position{Revision: 2, Fingerprint: 8}, ""), "the same revision of another history")

	_, err = c.keep(here, "a", func() (*listPage, error) { return nil, customstatus.ErrClosed })()
	require.ErrorIs(t, err, customstatus.ErrClosed)
	require.Nil(t, c.get(here, "a"), "errors are not kept")
}

func newHandler(catalog *customstatus.Catalog) *Handler {
	return New(catalog, AuthenticatorFunc(func(*http.Request) (Caller, error) { return Caller{UserID: "u"}, nil }), nil)
}

// discard is a ResponseWriter that drops everything and allocates nothing.
type discard struct{ header http.Header }

func (w discard) Header() http.Header         { return w.header }
func (w discard) WriteHeader(int)             {}
func (w discard) Write(b []byte) (int, error) { return len(b), nil }

func listRequest(header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/api/v1/custom-user-status.list?count=50", nil)
	r.Header.Set("X-User-Id", "u")
	r.Header.Set("X-Auth-Token", "t")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func listHandler(t testing.TB) *Handler {
	login := func(context.Context, string, string) (Caller, error) { return Caller{UserID: "u"}, nil }
	return New(newCatalog(t, 1000), HeaderAuth(login), nil)
}

func TestListAllocates(t *testing.T) {
	h := listHandler(t)
	w := discard{make(http.Header)}
	Recorded{h}.ServeHTTP(w, listRequest())
	etag := w.header.Get("ETag")
	require.NotEmpty(t, etag)
	for name, r := range map[string]*http.Request{"whole": listRequest(), "not modified": listRequest("If-None-Match", etag)} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }), 4.0, name)
	}
}

func BenchmarkList(b *testing.B) {
	h := listHandler(b)
	w := discard{make(http.Header)}
	Recorded{h}.ServeHTTP(w, listRequest())
	for name, r := range map[string]*http.Request{"Whole": listRequest(), "NotModified": listRequest("If-None-Match", w.header.Get("ETag"))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
