package clients

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	adminpage "github.com/customstatus/customstatus/httpadapter/console"
)

// A Go server has the console under a path of its own, behind a part that a middleware
// strips, with logins of its own.
func TestConsoleOfAHost(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	newCatalog := func(t *testing.T) *customstatus.Catalog {
		catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, catalog.Close()) })
		return catalog
	}
	catalog := newCatalog(t)
	var all []customstatus.CustomUserStatus
	for i := range 1100 {
		all = append(all, customstatus.CustomUserStatus{Name: fmt.Sprintf("Status %04d", i), StatusType: customstatus.Busy})
	}
	_, err := catalog.Import(t.Context(), all)
	require.NoError(t, err)

	// Between two pages of the list, others delete much of the first and add to it, or delete
	// so much that the second page is behind the end.
	var lists, deletes atomic.Int32
	deletes.Store(30)
	var loggedOut, broken, odd, apart atomic.Bool
	api := httpadapter.New(catalog, httpadapter.AuthenticatorFunc(func(r *http.Request) (httpadapter.Caller, error) {
		if broken.Load() {
			return httpadapter.Caller{}, errors.New("the table of users can't be read")
		}
		cookie, err := r.Cookie("host")
		if err != nil || cookie.Value != "admin" || loggedOut.Load() {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		if strings.HasSuffix(r.URL.Path, ".list") && lists.Add(1) == 2 {
			for i := range deletes.Load() {
				status, err := catalog.GetByName(fmt.Sprintf("Status %04d", i))
				if err == nil {
					_, err = catalog.Delete(r.Context(), status.ID, nil)
				}
				if err != nil && !errors.Is(err, customstatus.ErrNotFound) {
					return httpadapter.Caller{}, err
				}
			}
			_, err = catalog.Create(r.Context(), customstatus.Fields{Name: fmt.Sprint("A new one, ", deletes.Load()), StatusType: customstatus.Away})
		}
		return httpadapter.Caller{UserID: "admin", MayManage: true}, err
	}), &httpadapter.Options{Prefix: "/chat/rest/", Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(api.EndStreams)
	elsewhere := httpadapter.New(newCatalog(t), httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
		return httpadapter.Caller{UserID: "admin"}, nil
	}), &httpadapter.Options{Prefix: "/chat/rest/", Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(elsewhere.EndStreams)
	mux := http.NewServeMux()
	mux.HandleFunc("/chat/rest/", func(w http.ResponseWriter, r *http.Request) {
		if apart.Load() && strings.HasSuffix(r.URL.Path, ".stream") {
			elsewhere.ServeHTTP(w, r)
			return
		}
		if odd.Load() {
			fmt.Fprint(w, "null") // JSON, and no answer of the API
			return
		}
		api.ServeHTTP(w, r)
	})
	mux.Handle("/chat/admin/", http.StripPrefix("/chat", adminpage.New(&adminpage.Options{
		Title: "Team statuses", Prefix: "/admin/statuses/", API: "/chat/rest/", Session: "/chat/me", LoginURL: "/chat/login",
	})))
	mux.Handle("/plain/", adminpage.New(&adminpage.Options{Prefix: "/plain", API: "/chat/rest"}))
	mux.HandleFunc("GET /chat/me", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if cookie, err := r.Cookie("host"); err != nil || cookie.Value != "admin" || loggedOut.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{}`)
			return
		}
		fmt.Fprint(w, `{"userId":"Ada","mayManage":true}`)
	})
	mux.HandleFunc("/chat/login", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "host", Value: "admin", Path: "/", SameSite: http.SameSiteStrictMode})
		http.Redirect(w, r, "/chat/admin/statuses", http.StatusSeeOther)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)

	a := consoleAt(t, b, server.URL+"/chat/admin/statuses")
	a.until(`location.pathname === '/chat/admin/statuses/' && document.querySelector('a.button')?.textContent === 'Sign in' && document.title === 'Team statuses'`)
	a.open(server.URL + "/plain/")
	a.until(`document.querySelector('.entrance')?.innerText.includes('You must be signed in to see the statuses.') && !document.querySelector('a.button')`)
	broken.Store(true)
	a.open(server.URL + "/chat/login")
	a.until(`document.querySelector('.state')?.innerText.startsWith('The statuses can’t be shown. The server has failed. The server’s log says more under ')`)
	broken.Store(false)
	a.click(`named('Try again')`)
	a.until(`document.querySelector('.count')?.textContent === '1,071 statuses'`)
	require.Greater(t, lists.Load(), int32(2), "the page has gone back for what had moved")
	a.until(`names()[0] === 'A new one, 30' && names()[1] === 'Status 0030'`)
	a.click(`named('Last page')`)
	a.until(`names().at(-1) === 'Status 1099'`)
	require.Equal(t, `"Ada"`, a.eval(`return document.querySelector('.who').textContent`))
	a.edit("Status 1099")
	a.fill("edit-name", "Status 2000")
	a.save()
	a.until(`names().at(-1) === 'Status 2000'`)

	loggedOut.Store(true)
	api.RecheckLogins()
	a.until(`document.querySelector('a.button')?.textContent === 'Sign in'`)
	loggedOut.Store(false)
	a.click(`named('Try again')`)
	a.until(`document.querySelector('.count')?.textContent === '1,071 statuses'`)

	// The stream is refused for a while, and so is the list.
	broken.Store(true)
	api.RecheckLogins()
	a.until(`$('connection').textContent.startsWith('The connection is lost')`)
	a.until(`performance.getEntriesByType('resource').filter((e) => e.name.includes('.list') && e.responseStatus === 500).length > 2`)
	broken.Store(false)
	_, err = catalog.Create(t.Context(), customstatus.Fields{Name: "Another new one", StatusType: customstatus.Away})
	require.NoError(t, err)
	a.until(`$('connection').textContent === '' && names()[1] === 'Another new one'`)

	// Without a session, the page shows nobody's name, and nobody can sign out there.
	a.open(server.URL + "/plain/")
	a.until(`names()[1] === 'Another new one'`)
	require.Equal(t, `[null,null]`, a.eval(`return [document.querySelector('.who'), $('sign-out')]`))

	// Answers that come too late, or from something else.
	a.edit("Status 0030")
	a.eval(`window.fetching = fetch; window.fetch = () => Promise.reject(new DOMException('', 'TimeoutError'))`)
	a.submit("edit")
	a.until(`document.querySelector('#edit .whole').textContent === 'The server has not answered in time. It may or may not have been done.'`)
	a.eval(`window.fetch = fetching`)
	odd.Store(true)
	a.open(server.URL + "/plain/")
	a.until(`document.querySelector('.state')?.innerText.startsWith('The statuses can’t be shown. Something between')`)
	odd.Store(false)

	deletes.Store(230)
	lists.Store(0)
	a.open(server.URL + "/plain/")
	a.until(`document.querySelector('.count')?.textContent === '873 statuses' && names()[3] === 'Status 0230'`)

	// A stream of another catalog resets each list. The page doesn't go on without a pause.
	apart.Store(true)
	a.open(server.URL + "/plain/")
	a.until(`$('connection').textContent.startsWith('The connection is lost')`)
}
