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
	var c listCache
	get := func(query string) *listPage {
		page, err := c.page(catalog, query)
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
	require.Len(t, c.pages.Load().byQuery, 1, "what was encoded of the revision before is gone")
}

func TestListCacheIsBounded(t *testing.T) {
	catalog := newCatalog(t, 10)
	var c listCache
	for i := range 20 * maxPages {
		page, err := c.page(catalog, fmt.Sprint("offset=", i))
		require.NoError(t, err)
		require.Contains(t, string(page.body), fmt.Sprintf(`"offset":%d,`, i))
		require.LessOrEqual(t, len(c.pages.Load().byQuery), maxPages)
		again, err := c.page(catalog, fmt.Sprint("offset=", i))
		require.NoError(t, err)
		require.Same(t, page, again, "the last one is kept")
	}
	require.Len(t, c.pages.Load().byQuery, maxPages)

	for _, query := range []string{"count=x", "name=" + strings.Repeat("x", maxPageKey), "name=" + strings.Repeat("x", maxQuery)} {
		_, _ = c.page(catalog, query)
		require.NotContains(t, c.pages.Load().byQuery, query)
	}
}

// TestListCacheTakes checks the figure in the comment of maxPages.
func TestListCacheTakes(t *testing.T) {
	catalog := newCatalog(t, 0)
	statuses := make([]customstatus.CustomUserStatus, maxCount)
	for i := range statuses {
		id := fmt.Sprint(i)
		statuses[i] = customstatus.CustomUserStatus{
			ID:         id + strings.Repeat(`"`, customstatus.MaxIDLength-len(id)),
			Name:       id + strings.Repeat("😀", customstatus.MaxNameLength-len(id)),
			StatusType: customstatus.Offline,
		}
	}
	_, err := catalog.Import(t.Context(), statuses)
	require.NoError(t, err)
	page, err := encodeList(catalog, customstatus.Query{Limit: maxCount})
	require.NoError(t, err)
	require.Less(t, maxPages*(cap(page.body)+maxPageKey), 8<<20)
	require.Less(t, cap(page.body), 2*len(page.body))
}

// A page that was asked for at a revision that has passed is not kept.
func TestListCacheGoesForwardOnly(t *testing.T) {
	var c listCache
	page := new(listPage)
	encode := func() (*listPage, error) { return page, nil }
	for _, revision := range []customstatus.Revision{2, 1} {
		got, err := c.keep(revision, fmt.Sprint("count=", revision), encode)()
		require.NoError(t, err)
		require.Same(t, page, got)
		require.Equal(t, customstatus.Revision(2), c.pages.Load().revision)
		require.Len(t, c.pages.Load().byQuery, 1)
	}
}

// discard is a ResponseWriter that costs nothing itself.
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
	return New(newCatalog(t, 1000), &Options{Authenticator: AuthenticatorFunc(
		func(context.Context, string, string) (Caller, error) { return Caller{UserID: "u"}, nil })})
}

func TestListAllocates(t *testing.T) {
	h := listHandler(t)
	w := discard{make(http.Header)}
	h.ServeHTTP(w, listRequest())
	etag := w.header.Get("ETag")
	require.NotEmpty(t, etag)
	for name, r := range map[string]*http.Request{"whole": listRequest(), "not modified": listRequest("If-None-Match", etag)} {
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }), 4.0, name)
	}
}

func BenchmarkList(b *testing.B) {
	h := listHandler(b)
	w := discard{make(http.Header)}
	h.ServeHTTP(w, listRequest())
	for name, r := range map[string]*http.Request{"Whole": listRequest(), "NotModified": listRequest("If-None-Match", w.header.Get("ETag"))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
