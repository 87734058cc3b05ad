package httpadapter_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// A host whose users log in with a cookie lets their browsers use the endpoints as
// they are, a plain EventSource too. The adapter refuses writes that come from pages of
// other origins.
func ExampleNew_cookie() {
	catalog, err := customstatus.Open(context.Background(), customstatus.NewMemoryStore(), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer catalog.Close()

	// The sessions of the host: users by the random value of their cookie.
	var sessions sync.Map
	auth := httpadapter.AuthenticatorFunc(func(r *http.Request) (httpadapter.Caller, error) {
		cookie, err := r.Cookie("chat")
		if err != nil {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		user, ok := sessions.Load(cookie.Value)
		if !ok {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		}
		return httpadapter.Caller{UserID: user.(string), MayManage: true}, nil
	})
	api := httpadapter.New(catalog, auth, nil)

	mux := http.NewServeMux()
	mux.Handle(httpadapter.DefaultPrefix, api)
	guard := http.NewCrossOriginProtection() // for the host's own endpoints
	mux.Handle("POST /login", guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The host checks a password here, and sets Secure where it serves HTTPS.
		id := rand.Text()
		sessions.Store(id, "alice")
		http.SetCookie(w, &http.Cookie{Name: "chat", Value: id, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	})))
	mux.Handle("POST /logout", guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cookie, err := r.Cookie("chat"); err == nil {
			sessions.Delete(cookie.Value)
			api.RecheckLogins() // ends the streams of the session
		}
	})))
	server := httptest.NewServer(mux)
	defer server.Close()

	jar, err := cookiejar.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	post := func(path, body, origin string) {
		r, err := http.NewRequest(http.MethodPost, server.URL+path, strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		r.Header.Set("Origin", origin)
		res, err := browser.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		defer res.Body.Close()
		fmt.Println(path, res.StatusCode)
	}
	const create = "/api/v1/custom-user-status.create"
	post("/login", "", server.URL)
	post(create, `{"name":"Lunch","statusType":"away"}`, server.URL)
	post(create, `{"name":"Evil","statusType":"busy"}`, "https://evil.example.com")
	post("/logout", "", server.URL)
	post(create, `{"name":"Late","statusType":"busy"}`, server.URL)
	// Output:
	// /login 200
	// /api/v1/custom-user-status.create 200
	// /api/v1/custom-user-status.create 403
	// /logout 200
	// /api/v1/custom-user-status.create 401
}
