package main

import (
	"bytes"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCORS(t *testing.T) {
	const friend, second = "https://chat.example.com", "http://localhost:4000"
	s, made := newSite(t, (*httptest.Server).Start, friend, second)
	preflight := func(origin, method, headers string) answered {
		return s.do("OPTIONS", createURL, "", "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", headers)
	}
	for _, origin := range []string{friend, second} {
		a := preflight(origin, "POST", "content-type,x-auth-token,x-user-id")
		require.Equal(t, 204, a.status)
		require.Equal(t, origin, a.header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "true", a.header.Get("Access-Control-Allow-Credentials"))
		require.Equal(t, "content-type,x-auth-token,x-user-id", a.header.Get("Access-Control-Allow-Headers"))
		require.Equal(t, "600", a.header.Get("Access-Control-Max-Age"))
		require.Contains(t, strings.Join(a.header.Values("Vary"), ","), "Origin")

		a = s.do("GET", listURL, "", "Origin", origin, "X-User-Id", made.userID, "X-Auth-Token", made.token)
		require.Equal(t, 200, a.status)
		require.Equal(t, origin, a.header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "Etag, X-Catalog-Position, X-Request-Id, Retry-After", a.header.Get("Access-Control-Expose-Headers"))
		require.Equal(t, "Origin", a.header.Get("Vary"))

		a = s.do("GET", listURL, "", "Origin", origin)
		require.Equal(t, 401, a.status)
		require.Equal(t, origin, a.header.Get("Access-Control-Allow-Origin"), "a page must see why it was refused")
	}
	require.Empty(t, preflight(friend, "PUT", "").header.Get("Access-Control-Allow-Origin"))
	require.Empty(t, preflight(friend, "POST", "x-unknown").header.Get("Access-Control-Allow-Origin"))
	for _, origin := range []string{"https://evil.example.com", "null", "http://chat.example.com", friend + ":8443", friend + ".evil.example"} {
		require.Empty(t, preflight(origin, "POST", "content-type").header.Get("Access-Control-Allow-Origin"), origin)
		a := s.do("GET", listURL, "", "Origin", origin, "X-User-Id", made.userID, "X-Auth-Token", made.token)
		require.Empty(t, a.header.Get("Access-Control-Allow-Origin"), origin)
		require.Equal(t, "Origin", a.header.Get("Vary"), origin)
	}
}

// Without --cors-origin an answer says nothing about other origins.
func TestCORSIsOff(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	a := s.do("OPTIONS", createURL, "", "Origin", "https://chat.example.com", "Access-Control-Request-Method", "POST")
	require.Equal(t, 405, a.status)
	a = s.do("GET", listURL, "", "Origin", "https://chat.example.com", "X-User-Id", made.userID, "X-Auth-Token", made.token)
	require.Equal(t, 200, a.status)
	for name := range a.header {
		require.NotContains(t, name, "Access-Control")
	}
}

func TestOriginFlag(t *testing.T) {
	for value, problem := range map[string]string{
		"*":                         "there are no patterns",
		"https://*.example.com":     "there are no patterns",
		"chat.example.com":          "is not an origin",
		"null":                      "is not an origin",
		"https://chat.example.com/": "is not an origin",
		"https://a.example/path":    "is not an origin",
		"https://a?":                "is not an origin",
		"https://u@a":               "is not an origin",
		"https://a:0443":            "is not an origin",
		"https://a:":                "is not an origin",
		"https://ä.example":         "is not an origin",
		"ftp://a.example":           "is not an origin",
		"https://Chat.example.com":  "in lower case",
		"https://a.example:443":     "leave out the port",
		"http://a.example:80":       "leave out the port",
		"https://a.example,b":       `"b" is not an origin`,
	} {
		var out, errs bytes.Buffer
		noEnv := func(string) (string, bool) { return "", false }
		code := run(t.Context(), []string{"--addr", "127.0.0.1:0", "--db", filepath.Join(t.TempDir(), "x.db"), "--cors-origin", value}, nil, &out, &errs, noEnv)
		require.Equal(t, exitUsage, code, value)
		require.Contains(t, errs.String(), problem, value)
		require.Equal(t, 1, strings.Count(errs.String(), "\n"), errs.String())
	}
	require.NoError(t, checkOrigins([]string{"https://chat.example.com", "http://localhost:4000", "https://[::1]:8443"}))
}
