package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// browser is a client that has a cookie instead of headers.
func (r *running) browser(t *testing.T, name string) (c *client, setCookie string) {
	t.Helper()
	c = r.client(t)
	answer := c.session("POST", map[string]string{"user": name, "password": r.passwords[name]}, nil)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("sign-in of %s: %s", name, answer.Status)
	}
	setCookie = answer.Header.Get("Set-Cookie")
	c.cookie, _, _ = strings.Cut(setCookie, ";")
	return c, setCookie
}

// session makes a request to /session and decodes the answer.
func (c *client) session(method string, body, into any) *http.Response {
	c.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	request := c.request(method, "", bytes.NewReader(data))
	request.URL.Path = "/session"
	answer, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	if into != nil {
		if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
			c.t.Fatal(err)
		}
	}
	return answer
}

// who returns who is logged in, or an empty name.
func (c *client) who() string {
	c.t.Helper()
	var answer struct{ User *struct{ Username string } }
	if got := c.session("GET", nil, &answer); got.StatusCode != http.StatusOK {
		c.t.Fatalf("GET /session: %s", got.Status)
	}
	if answer.User == nil {
		return ""
	}
	return answer.User.Username
}

func TestCookie(t *testing.T) {
	s := start(t, t.TempDir())
	nobody := s.client(t)
	if got := nobody.who(); got != "" {
		t.Errorf("nobody is %q", got)
	}
	var refused struct{ ErrorType string }
	answer := nobody.session("POST", map[string]string{"user": "alice", "password": "guessed"}, &refused)
	if answer.StatusCode != http.StatusUnauthorized || refused.ErrorType != "wrong-password" || answer.Header.Get("Set-Cookie") != "" {
		t.Errorf("a wrong password: %s, %q, cookie %q", answer.Status, refused.ErrorType, answer.Header.Get("Set-Cookie"))
	}

	admin, setCookie := s.browser(t, "admin")
	if !regexp.MustCompile(`^chatserver-\d+=\w{26}; Path=/; Max-Age=86400; HttpOnly; SameSite=Strict$`).MatchString(setCookie) {
		t.Errorf("the cookie is %q", setCookie)
	}
	name, _, _ := strings.Cut(setCookie, "=")
	if got := admin.who(); got != "admin" {
		t.Errorf("the admin is %q", got)
	}
	// The adapter and the server's own endpoints and streams take the cookie.
	own, adapters := admin.listen("chat.statusEvents", ""), admin.listen("custom-user-status.stream", "")
	own.names()
	adapters.next("ready", &struct{}{})
	id := admin.create("In the lab", "busy")
	admin.mustPost("users.setStatus", map[string]string{"statusId": id})
	own.nextChange()
	adapters.next("created", &struct{}{})

	// A cookie that can't be told from another, or comes with half of a login in
	// headers, is nobody's.
	for name, change := range map[string]func(*http.Request){
		"two cookies":     func(r *http.Request) { r.Header.Add("Cookie", name+"=x") },
		"a wrong token":   func(r *http.Request) { r.Header.Set("X-Auth-Token", "x") },
		"only a user":     func(r *http.Request) { r.Header.Set("X-User-Id", "x") },
		"a wrong cookie":  func(r *http.Request) { r.Header.Set("Cookie", name+"=x") },
		"an empty cookie": func(r *http.Request) { r.Header.Set("Cookie", name+"=") },
	} {
		for _, path := range []string{"custom-user-status.list", "chat.statusEvents"} {
			request := admin.request("GET", path, nil)
			change(request)
			if code, body := admin.do(request); code != http.StatusUnauthorized {
				t.Errorf("%s: %s: %d %v", name, path, code, body)
			}
		}
	}

	// Who signs in again in the same browser ends the login before.
	again := admin.session("POST", map[string]string{"user": "alice", "password": s.passwords["alice"]}, nil)
	own.ended()
	adapters.ended()
	if got := admin.who(); got != "" {
		t.Errorf("the old cookie is still %q's", got)
	}
	admin.cookie, _, _ = strings.Cut(again.Header.Get("Set-Cookie"), ";")
	if got := admin.who(); got != "alice" {
		t.Errorf("the new cookie is %q's", got)
	}

	stream := admin.listen("chat.statusEvents", "")
	stream.names()
	out := admin.session("DELETE", nil, nil)
	if got := out.Header.Get("Set-Cookie"); got != name+"=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict" {
		t.Errorf("signing out sets %q", got)
	}
	stream.ended()
	if got := admin.who(); got != "" {
		t.Errorf("after signing out the cookie is %q's", got)
	}
}

// Under TLS the cookie is bound to it.
func TestCookieUnderTLS(t *testing.T) {
	s, err := newServer(t.Context(), options{data: t.TempDir(), rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := s.accounts.add(t.Context(), "carol", "correct horse", false); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), "POST", "https://chat.example.com/session", strings.NewReader(`{"user":"carol","password":"correct horse"}`))
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	got := w.Header().Get("Set-Cookie")
	if !regexp.MustCompile(`^__Host-chatserver=\w{26}; Path=/; Max-Age=86400; HttpOnly; Secure; SameSite=Strict$`).MatchString(got) {
		t.Errorf("%d, the cookie is %q", w.Code, got)
	}
}

// Pages of other origins can't use the cookie, should a browser send it for them.
func TestCookieAcrossOrigins(t *testing.T) {
	s := start(t, t.TempDir())
	admin, _ := s.browser(t, "admin")
	for path, body := range map[string]string{
		"custom-user-status.create": `{"name":"evil","statusType":"busy"}`,
		"chat.postMessage":          `{"text":"evil"}`,
		"users.setStatus":           `{"statusId":""}`,
		"users.create":              `{"username":"evil","password":"correct horse"}`,
		"logout":                    `{}`,
	} {
		for _, header := range [][2]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
			request := admin.request("POST", path, strings.NewReader(body))
			request.Header.Set(header[0], header[1])
			if code, answer := admin.do(request); code != http.StatusForbidden || answer["errorType"] == nil {
				t.Errorf("%s with %v: %d %v", path, header, code, answer)
			}
		}
		if path != "logout" {
			request := admin.request("POST", path, strings.NewReader(body))
			request.Header.Set("Sec-Fetch-Site", "same-origin")
			if code, answer := admin.do(request); code != http.StatusOK {
				t.Errorf("%s from the page itself: %d %v", path, code, answer)
			}
		}
	}
	if got := admin.who(); got != "admin" {
		t.Errorf("logged in as %q", got)
	}
}
