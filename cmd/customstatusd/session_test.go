package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/loginlimit"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// site is a server with sessions, in this process.
type site struct {
	t        *testing.T
	dir      string
	log      bytes.Buffer
	tokens   *tokenFile
	sessions *sessions
	server   *httptest.Server
	trusted  []string
}

func newSite(t *testing.T, start func(*httptest.Server), trusted ...string) (*site, newToken) {
	s := &site{t: t, dir: t.TempDir(), trusted: trusted}
	made := add(t, s.tokensPath(), "alice")
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	tokens, err := openTokens(at(s.tokensPath()), log)
	require.NoError(t, err)
	s.tokens = tokens
	s.sessions = openSessions(filepath.Join(s.dir, "x.db"), time.Hour, tokens, log)
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, catalog.Close()) })
	api := httpadapter.New(catalog, s.sessions.authenticator(), &httpadapter.Options{Logger: log, TrustedOrigins: trusted})
	s.sessions.onEnd(api.RecheckLogins)
	tokens.onChange(api.RecheckLogins)
	limit := func(h http.Handler) http.Handler {
		return loginlimit.New(h, &loginlimit.Options{Failures: 3, Logger: log})
	}
	s.server = httptest.NewUnstartedServer(allowOrigins(trusted, s.sessions.handler(api, limit, trusted)))
	start(s.server)
	t.Cleanup(s.server.Close)
	t.Cleanup(api.EndStreams)
	return s, made
}

func (s *site) tokensPath() string { return filepath.Join(s.dir, "x.tokens") }

// answered is an answer, read whole.
type answered struct {
	status int
	header http.Header
	body   string
}

// do makes a request with a header, whose fields follow as pairs.
func (s *site) do(method, path, body string, pairs ...string) answered {
	s.t.Helper()
	return doRequest(s.t, s.server.Client(), method, s.server.URL+path, body, pairs...)
}

func doRequest(t *testing.T, client *http.Client, method, url, body string, pairs ...string) answered {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Add(pairs[i], pairs[i+1])
	}
	res, err := client.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answered{res.StatusCode, res.Header, string(text)}
}

func signInBody(made newToken) string {
	return fmt.Sprintf(`{"userId":%q,"authToken":%q}`, made.userID, made.token)
}

// signIn returns the browser's cookie.
func (s *site) signIn(made newToken, pairs ...string) string {
	s.t.Helper()
	a := s.do("POST", sessionPath, signInBody(made), pairs...)
	require.Equal(s.t, 200, a.status, a.body)
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	return cookie
}

const (
	listURL   = "/api/v1/custom-user-status.list"
	createURL = "/api/v1/custom-user-status.create"
	streamURL = "/api/v1/custom-user-status.stream"
)

func create1(name string) string { return fmt.Sprintf(`{"name":%q,"statusType":"busy"}`, name) }

// stream opens an event stream and returns when its first event has come.
func (s *site) stream(cookie string) *bufio.Reader {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.server.URL+streamURL, nil)
	require.NoError(s.t, err)
	r.Header.Set("Cookie", cookie)
	res, err := s.server.Client().Do(r)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { res.Body.Close() })
	require.Equal(s.t, 200, res.StatusCode)
	in := bufio.NewReader(res.Body)
	for {
		line, err := in.ReadString('\n')
		require.NoError(s.t, err)
		if line == "\n" {
			return in
		}
	}
}

func TestSession(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	a := s.do("POST", sessionPath, signInBody(made))
	require.Equal(t, 200, a.status)
	require.Regexp(t, `^\{"userId":"alice","mayManage":true,"expiresAt":"[0-9T:-]+Z","success":true\}$`, a.body)
	require.Regexp(t, `^customstatus=[\w-]{43}; Path=/; Max-Age=3600; HttpOnly; SameSite=Strict$`, a.header.Get("Set-Cookie"))
	require.Equal(t, "no-store", a.header.Get("Cache-Control"))
	require.Regexp(t, `^[0-9a-z]{13}$`, a.header.Get("X-Request-Id"))
	require.Equal(t, []string{"own-1"}, s.do("GET", sessionPath, "", "X-Request-Id", "own-1").header["X-Request-Id"])
	require.NotEqual(t, "a b", s.do("GET", sessionPath, "", "X-Request-Id", "a b").header.Get("X-Request-Id"))
	require.Equal(t, "application/json", a.header.Get("Content-Type"))
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	require.NotContains(t, cookie, made.token)

	require.Equal(t, a.body, s.do("GET", sessionPath, "", "Cookie", cookie).body)
	require.Equal(t, 200, s.do("GET", listURL, "", "Cookie", cookie).status)
	require.Equal(t, 200, s.do("POST", createURL, create1("a"), "Cookie", cookie).status)
	in := s.stream(cookie)

	// Headers win, also wrong ones.
	require.Equal(t, 401, s.do("GET", listURL, "", "Cookie", cookie, "X-User-Id", "alice", "X-Auth-Token", "x").status)
	require.Equal(t, 401, s.do("GET", listURL, "", "Cookie", cookie, "X-User-Id", "alice").status)
	require.Equal(t, 401, s.do("GET", listURL, "", "Cookie", cookie, "Cookie", "customstatus=x").status, "two sessions")

	out := s.do("DELETE", sessionPath, "", "Cookie", cookie)
	require.Equal(t, `{"success":true}`, out.body)
	require.Equal(t, "customstatus=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict", out.header.Get("Set-Cookie"))
	_, err := io.ReadAll(in)
	require.NoError(t, err, "the stream ends with the session")
	for _, path := range []string{sessionPath, listURL, streamURL} {
		require.Equal(t, 401, s.do("GET", path, "", "Cookie", cookie).status, path)
	}
	require.Equal(t, 401, s.do("GET", sessionPath, "").status)
	require.Equal(t, 200, s.do("DELETE", sessionPath, "").status, "signing out twice is no mistake")
}

// Another sign-in of the same browser ends the session before.
func TestSessionIsReplaced(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	first := s.signIn(made)
	second := s.signIn(made, "Cookie", first)
	require.NotEqual(t, first, second)
	require.Equal(t, 401, s.do("GET", sessionPath, "", "Cookie", first).status)
	require.Equal(t, 200, s.do("GET", sessionPath, "", "Cookie", second).status)
}

func TestSessionRefusals(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	for body, problem := range map[string]string{
		``:                                    "not a JSON object",
		`[]`:                                  "not a JSON object",
		`{"userId":"alice","authToken":1}`:    "not a JSON object",
		`{"userId":"alice","token":"x"}`:      "not a JSON object",
		`{"userId":"alice","userId":"bob"}`:   "not a JSON object",
		`{"userId":"alice"}`:                  "are required",
		`{"userId":"","authToken":"x"}`:       "are required",
		`"` + strings.Repeat("x", 5000) + `"`: "too large",
	} {
		a := s.do("POST", sessionPath, body)
		require.Equal(t, 400, a.status, body)
		var answer struct {
			Success          *bool
			Error, ErrorType string
		}
		require.NoError(t, json.Unmarshal([]byte(a.body), &answer))
		require.Contains(t, answer.Error, problem)
		require.Equal(t, "invalid-params", answer.ErrorType)
		require.False(t, *answer.Success)
	}
	a := s.do("PUT", sessionPath, signInBody(made))
	require.Equal(t, 405, a.status)
	require.Equal(t, "GET, HEAD, POST, DELETE", a.header.Get("Allow"))
	a = s.do("POST", sessionPath, signInBody(newToken{"alice", "guessed"}))
	require.Equal(t, 401, a.status)
	require.Empty(t, a.header.Get("Set-Cookie"))
}

// A failed sign-in counts as any failed login does: the fourth is beyond the limit.
func TestFailedSignInsAreLimited(t *testing.T) {
	s, _ := newSite(t, (*httptest.Server).Start)
	for range 3 {
		require.Equal(t, 401, s.do("POST", sessionPath, signInBody(newToken{"alice", "guessed"})).status)
	}
	require.Empty(t, s.log.String())
	s.do("POST", sessionPath, signInBody(newToken{"alice", "guessed"}))
	require.Contains(t, s.log.String(), "too many failed logins")
}

func TestSessionEndsWithItsToken(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	other := add(t, s.tokensPath(), "alice")
	require.NoError(t, s.tokens.reload())
	cookie, others := s.signIn(made), s.signIn(other)
	in := s.stream(cookie)
	require.NoError(t, editTokens(at(s.tokensPath()), func(r *tokenRecords) error {
		r.Tokens = r.Tokens[1:]
		return nil
	}))
	require.NoError(t, s.tokens.reload())
	_, err := io.ReadAll(in)
	require.NoError(t, err, "the stream ends with the token")
	require.Equal(t, 401, s.do("GET", listURL, "", "Cookie", cookie).status)
	require.Equal(t, 200, s.do("GET", listURL, "", "Cookie", others).status)
}

func TestSessionExpires(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	now := time.Now()
	s.sessions.now = func() time.Time { return now }
	cookie := s.signIn(made)
	now = now.Add(time.Hour - 2*time.Second)
	require.Equal(t, 200, s.do("GET", listURL, "", "Cookie", cookie).status)
	now = now.Add(2 * time.Second)
	require.Equal(t, 401, s.do("GET", listURL, "", "Cookie", cookie).status)
}

// What a user can fill by signing in is bounded, and others don't pay for it.
func TestSessionsAreBounded(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	other := add(t, s.tokensPath(), "bob")
	require.NoError(t, s.tokens.reload())
	others := s.signIn(other)
	first := s.signIn(made)
	second := s.signIn(made)
	ended := 0
	s.sessions.onEnd(func() { ended++ })
	for range maxSessions - 1 {
		require.Zero(t, ended)
		s.sessions.begin(made.userID, tokenauth.HashOf(made.token))
	}
	require.Equal(t, 1, ended, "the streams of a session that ends are asked at once")
	require.Len(t, s.sessions.records, maxSessions+1)
	require.Equal(t, 401, s.do("GET", sessionPath, "", "Cookie", first).status)
	require.Equal(t, 200, s.do("GET", sessionPath, "", "Cookie", second).status)
	require.Equal(t, 200, s.do("GET", sessionPath, "", "Cookie", others).status)
}

// The sessions of all tokens together fit into a file that a restart can read.
func TestAllSessionsAreBounded(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	now := time.Now()
	var records []sessionRecord
	for i := range mostSessions/maxSessions + 1 {
		token := tokenauth.Token{UserID: fmt.Sprintf("%064d", i), Hash: tokenauth.HashOf(fmt.Sprint(i))}
		require.NoError(t, s.tokens.tokens.Add(token))
		for j := range maxSessions {
			records = append(records, sessionRecord{tokenauth.HashOf(fmt.Sprint(i, j)), token.UserID, token.Hash, now.Add(time.Hour)})
		}
	}
	kept, ended := s.sessions.room(records, sessionRecord{UserID: made.userID, TokenHash: tokenauth.HashOf(made.token)}, now)
	require.True(t, ended)
	require.Equal(t, records[len(records)-mostSessions+1:], kept)
	_, ended = s.sessions.room(kept[1:], kept[0], now)
	require.False(t, ended)
	s.sessions.set(kept)
	require.NoError(t, s.sessions.save())
	read, err := readSessions(s.sessions.path, s.sessions.database)
	require.NoError(t, err)
	require.Len(t, read, len(kept))
}

func TestSessionCookieIsSecureUnderTLS(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).StartTLS)
	s.server.Client().Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS12
	a := s.do("POST", sessionPath, signInBody(made))
	require.Regexp(t, `^__Host-customstatus=[\w-]{43}; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict$`, a.header.Get("Set-Cookie"))
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	require.Equal(t, 200, s.do("GET", listURL, "", "Cookie", cookie).status)
	require.Equal(t, 401, s.do("GET", listURL, "", "Cookie", strings.TrimPrefix(cookie, "__Host-")).status, "a cookie that anybody could set")
}

// Behind a proxy that ends TLS, the cookie is as it is with TLS.
func TestSessionCookieIsSecureBehindAProxy(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	https := []string{"X-Forwarded-Proto", "https"}
	cookie := s.signIn(made, https...)
	require.True(t, strings.HasPrefix(cookie, "__Host-customstatus="), cookie)
	require.Equal(t, 200, s.do("GET", listURL, "", append(https, "Cookie", cookie)...).status)
	require.Equal(t, 401, s.do("GET", listURL, "", "Cookie", cookie).status)
}

// With a cookie, only pages of the server's own origin and of the trusted ones write.
func TestSessionAcrossOrigins(t *testing.T) {
	const friend = "https://chat.example.com"
	s, made := newSite(t, (*httptest.Server).Start, friend)
	cookie := s.signIn(made)
	for _, origin := range []string{"https://evil.example.com", "null", "http://127.0.0.1:1", "https://chat.example.com.evil.example"} {
		foreign := []string{"Cookie", cookie, "Origin", origin}
		require.Equal(t, 403, s.do("POST", createURL, create1("evil"), foreign...).status, origin)
		require.Equal(t, 403, s.do("DELETE", sessionPath, "", foreign...).status, origin)
		a := s.do("POST", sessionPath, signInBody(made), foreign...)
		require.Equal(t, 403, a.status, origin)
		require.Contains(t, a.body, `"errorType":"error-cross-origin"`)
		require.Empty(t, a.header.Get("Set-Cookie"))
		require.Empty(t, a.header.Get("Access-Control-Allow-Origin"))
		sameSite := append(foreign, "Sec-Fetch-Site", "same-site")
		require.Equal(t, 403, s.do("POST", createURL, create1("evil"), sameSite...).status, origin)
	}
	require.Contains(t, s.do("GET", listURL, "", "Cookie", cookie).body, `"total":0`)
	for _, origin := range []string{friend, s.server.URL} {
		require.Equal(t, 200, s.do("POST", createURL, create1(origin[:5]), "Cookie", cookie, "Origin", origin).status, origin)
	}
	require.Equal(t, 200, s.do("DELETE", sessionPath, "", "Cookie", cookie, "Origin", friend).status)
}

// The sessions outlive the server, and no secret is in the file or the log.
func TestSessionSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	srv := launch(t, dir, "first", "--db", "x.db")
	header := login(t, dir)
	made := newToken{header.Get("X-User-Id"), header.Get("X-Auth-Token")}
	a := doRequest(t, http.DefaultClient, "POST", "http://"+srv.addr+sessionPath, signInBody(made))
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	_, id, _ := strings.Cut(cookie, "=")
	require.NotEmpty(t, id)
	gone, _, _ := strings.Cut(doRequest(t, http.DefaultClient, "POST", "http://"+srv.addr+sessionPath, signInBody(made)).header.Get("Set-Cookie"), ";")
	require.Equal(t, 200, doRequest(t, http.DefaultClient, "DELETE", "http://"+srv.addr+sessionPath, "", "Cookie", gone).status)
	require.NoError(t, srv.cmd.Process.Kill())
	_, err := srv.wait()
	require.NoError(t, err)
	log := srv.log.text()

	srv = launch(t, dir, "second", "--db", "x.db")
	require.Equal(t, 200, doRequest(t, http.DefaultClient, "GET", "http://"+srv.addr+listURL, "", "Cookie", cookie).status)
	require.Equal(t, 401, doRequest(t, http.DefaultClient, "GET", "http://"+srv.addr+listURL, "", "Cookie", gone).status)
	require.NoError(t, srv.cmd.Process.Signal(syscall.SIGTERM))
	_, err = srv.wait()
	require.NoError(t, err)
	log += srv.log.text()

	info, err := os.Stat(filepath.Join(dir, "x.sessions"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	text, err := os.ReadFile(filepath.Join(dir, "x.sessions"))
	require.NoError(t, err)
	for _, secret := range []string{made.token, id} {
		require.NotContains(t, string(text), secret)
		require.NotContains(t, log, secret)
	}
	require.Contains(t, log, "path=/session status=200")

	srv = launch(t, dir, "third", "--db", "x.db", "--session-time", "0")
	require.Equal(t, 401, doRequest(t, http.DefaultClient, "GET", "http://"+srv.addr+listURL, "", "Cookie", cookie).status)
	require.Equal(t, 404, doRequest(t, http.DefaultClient, "POST", "http://"+srv.addr+sessionPath, signInBody(made)).status)
}

// A file that can't be read or written costs the sessions, not the server.
func TestSessionsFileIsNoObstacle(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	path := s.sessions.path
	for name, spoil := range map[string]func(){
		"half a file":     func() { require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"sess`), 0o600)) },
		"another version": func() { require.NoError(t, os.WriteFile(path, []byte(`{"version":2,"sessions":[]}`), 0o600)) },
		"an unknown key":  func() { require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"tokens":[]}`), 0o600)) },
		"too long": func() {
			require.NoError(t, os.WriteFile(path, []byte(`{"version":1}`), 0o600))
			require.NoError(t, os.Truncate(path, maxRecords+1))
		},
		"a directory": func() { require.NoError(t, os.Mkdir(path, 0o700)) },
		"a link":      func() { require.NoError(t, os.Symlink(s.tokensPath(), path)) },
	} {
		t.Run(name, func(t *testing.T) {
			s.signIn(made)
			require.NoError(t, os.RemoveAll(path))
			spoil()
			var log bytes.Buffer
			opened := openSessions(filepath.Join(s.dir, "x.db"), time.Hour, s.tokens, slog.New(slog.NewTextHandler(&log, nil)))
			require.Empty(t, opened.records)
			require.Contains(t, log.String(), "browsers have to sign in again")
			require.NoError(t, os.RemoveAll(path))
		})
	}
	kept, err := os.ReadFile(s.tokensPath())
	require.NoError(t, err)
	s.log.Reset()
	require.NoError(t, os.Symlink(s.tokensPath(), path))
	s.signIn(made)
	require.Contains(t, s.log.String(), "x.sessions is in the way: it is not a regular file")
	now, err := os.ReadFile(s.tokensPath())
	require.NoError(t, err)
	require.Equal(t, string(kept), string(now))
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	cookie := s.signIn(made)
	require.Contains(t, s.log.String(), "can't be saved")
	require.Equal(t, 200, s.do("GET", listURL, "", "Cookie", cookie).status)
	out := s.do("DELETE", sessionPath, "", "Cookie", cookie)
	require.Equal(t, 500, out.status, "a restart would bring it back")
	require.Contains(t, out.header.Get("Set-Cookie"), "Max-Age=0")
	require.Equal(t, 401, s.do("GET", listURL, "", "Cookie", cookie).status)
}
