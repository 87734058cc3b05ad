package main

import (
	"errors"
	"net"
	"net/http"
)

// This file is the login of the page. A program keeps its token and sends it in headers.
// A page is safer without a token: the browser keeps the token in a cookie that no script
// can read, and sends the cookie with every request, also with those of an EventSource.

// signIn begins a session and gives it to the browser as a cookie.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) {
	var in struct{ User, Password string }
	if !s.read(w, r, &in) {
		return
	}
	session, token, err := s.accounts.login(r.Context(), in.User, in.Password)
	switch {
	case errors.Is(err, errWrongPassword):
		fail(w, http.StatusUnauthorized, "wrong-password", err.Error())
		return
	case err != nil:
		fail(w, http.StatusServiceUnavailable, "try-again", "try again later") // the client has gone
		return
	}
	if old, ok := s.accounts.cookieSession(r); ok {
		s.end(old)
	}
	setCookie(w, r, token, int(sessionLife.Seconds()))
	answer(w, http.StatusOK, map[string]any{"success": true, "user": me(session.account)})
}

// whoAmI tells a page that has just been loaded who is logged in. Nobody is not an error.
func (s *server) whoAmI(w http.ResponseWriter, r *http.Request) {
	var user map[string]any
	if session, ok := s.accounts.cookieSession(r); ok {
		user = me(session.account)
	}
	answer(w, http.StatusOK, map[string]any{"success": true, "user": user})
}

func (s *server) signOut(w http.ResponseWriter, r *http.Request) {
	if session, ok := s.accounts.cookieSession(r); ok {
		s.end(session)
	}
	setCookie(w, r, "", -1)
	answer(w, http.StatusOK, map[string]any{"success": true})
}

// setCookie hands out a token, or takes it back if maxAge is negative. SameSite keeps the
// cookie from requests that other sites cause. Other origins of the same site, such as
// another port, are refused by the protection in handler and by the adapter itself.
func setCookie(w http.ResponseWriter, r *http.Request, token string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name:     cookieName(r),
		Value:    token,
		Path:     "/",
		MaxAge:   maxAge,
		HttpOnly: true,
		Secure:   r.TLS != nil,
		SameSite: http.SameSiteStrictMode,
	})
}

// cookieName has the port, because a browser sends a host's cookies to all its ports:
// without it, two servers on one machine would end each other's logins. Under TLS it has
// a prefix, with which a browser takes the cookie from nobody but this host over an
// encrypted connection.
func cookieName(r *http.Request) string {
	name := "chatserver"
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		name += "-" + port
	}
	if r.TLS != nil {
		name = "__Host-" + name
	}
	return name
}

// cookieSession returns the session of a request's cookie. With two cookies of that name
// nobody can tell whose one of them is.
func (a *accounts) cookieSession(r *http.Request) (*session, bool) {
	cookies := r.CookiesNamed(cookieName(r))
	if len(cookies) != 1 {
		return nil, false
	}
	return a.byToken(cookies[0].Value)
}
