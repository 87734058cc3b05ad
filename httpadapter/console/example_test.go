package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/console"
)

// A host mounts the console under a path of its own, behind its own login.
func ExampleNew() {
	catalog, err := customstatus.Open(context.Background(), customstatus.NewMemoryStore(), nil)
	if err != nil {
		panic(err)
	}
	defer catalog.Close()

	// The host's login finds the user of a cookie.
	isAdmin := func(r *http.Request) bool {
		cookie, err := r.Cookie("login")
		return err == nil && cookie.Value == "of an admin"
	}
	api := httpadapter.New(catalog, httpadapter.AuthenticatorFunc(func(r *http.Request) (httpadapter.Caller, error) {
		if !isAdmin(r) {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		return httpadapter.Caller{UserID: "admin", MayManage: true}, nil
	}), nil)
	page := console.New(&console.Options{Prefix: "/admin/statuses/", LoginURL: "/login"})

	mux := http.NewServeMux()
	mux.Handle(httpadapter.DefaultPrefix, api)
	mux.HandleFunc("/admin/statuses/", func(w http.ResponseWriter, r *http.Request) {
		if !isAdmin(r) {
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		}
		page.ServeHTTP(w, r)
	})

	for _, cookie := range []string{"", "login=of an admin"} {
		r := httptest.NewRequest(http.MethodGet, "/admin/statuses/", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Content-Type"))
	}
	// Output:
	// 303 text/html; charset=utf-8
	// 200 text/html; charset=utf-8
}
