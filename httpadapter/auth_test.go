package httpadapter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// flipBit returns s with one bit changed, at a place that stays a header value.
func flipBit(s string, i int) string {
	b := []byte(s)
	b[i] ^= 1
	return string(b)
}

func TestCredentials(t *testing.T) {
	pair := func(userID, token string) http.Header {
		return http.Header{"X-User-Id": {userID}, "X-Auth-Token": {token}}
	}
	rows := map[string]http.Header{
		"none":                    {},
		"user alone":              {"X-User-Id": {manager[0]}},
		"token alone":             {"X-Auth-Token": {manager[1]}},
		"empty user":              pair("", manager[1]),
		"empty token":             pair(manager[0], ""),
		"blank token":             pair(manager[0], " \t"),
		"wrong token":             pair(manager[0], "wrong"),
		"another user's token":    pair(reader[0], manager[1]),
		"user without any token":  pair("nobody", manager[1]),
		"user in another case":    pair(strings.ToUpper(manager[0]), manager[1]),
		"token in another case":   pair(manager[0], strings.ToLower(manager[1])),
		"token with more":         pair(manager[0], manager[1]+"x"),
		"token with less":         pair(manager[0], manager[1][1:]),
		"first bit":               pair(manager[0], flipBit(manager[1], 0)),
		"last bit":                pair(manager[0], flipBit(manager[1], len(manager[1])-1)),
		"the hash as the token":   pair(manager[0], httpadapter.HashToken(manager[1]).String()),
		"huge token":              pair(manager[0], strings.Repeat("x", 500_000)),
		"user twice":              {"X-User-Id": {manager[0], manager[0]}, "X-Auth-Token": {manager[1]}},
		"token twice":             {"X-User-Id": {manager[0]}, "X-Auth-Token": {manager[1], manager[1]}},
		"token twice, one wrong":  {"X-User-Id": {manager[0]}, "X-Auth-Token": {"wrong", manager[1]}},
		"token twice, one empty":  {"X-User-Id": {manager[0]}, "X-Auth-Token": {"", manager[1]}},
		"two tokens in one":       pair(manager[0], manager[1]+", "+manager[1]),
		"underscores":             {"X_User_Id": {manager[0]}, "X_Auth_Token": {manager[1]}},
		"bearer":                  {"Authorization": {"Bearer " + manager[1]}, "X-User-Id": {manager[0]}},
		"cookies":                 {"Cookie": {"rc_uid=" + manager[0] + "; rc_token=" + manager[1]}},
		"bytes that are no UTF-8": pair("\xff\xfe", "\xc0\x80"),
		"markup":                  pair("<script>", "' OR 1=1 --"),
	}
	s := newServer(t, setup{adapter: httpadapter.Options{FailedLogins: -1}})
	for name, header := range rows {
		t.Run(name, func(t *testing.T) {
			for _, req := range []request{
				{path: listPath},
				{path: streamPath},
				{path: createPath, body: `{"name":"a","statusType":"busy"}`},
				{path: updatePath, body: `{"_id":"` + records[0].ID + `","name":"a","statusType":"busy"}`},
				{path: deletePath, body: `{"customUserStatusId":"` + records[0].ID + `"}`},
			} {
				req.header = header
				a := s.do(req)
				require.Equal(t, http.StatusUnauthorized, a.status)
				require.Equal(t, unauthorized, a.body)
			}
		})
	}
	require.Equal(t, customstatus.Revision(1), s.catalog.Revision(), "somebody has written")
	require.NotContains(t, s.log.String(), manager[1])
	require.Empty(t, s.log.lines(slog.LevelError))

	t.Run("credentials are not in the query or the body", func(t *testing.T) {
		require.Equal(t, http.StatusUnauthorized, s.do(request{path: listPath + "?X-User-Id=" + manager[0] + "&X-Auth-Token=" + manager[1]}).status)
	})
	t.Run("in any case of the header's name", func(t *testing.T) {
		r, err := http.NewRequest(http.MethodGet, s.URL+s.prefix+listPath, nil)
		require.NoError(t, err)
		r.Header["x-user-id"], r.Header["X-AUTH-TOKEN"] = []string{reader[0]}, []string{reader[1]}
		require.Equal(t, http.StatusOK, s.send(r).status)
	})
}

// TestHalfOfAPairReachesNobody: an Authenticator need not expect it.
func TestHalfOfAPairReachesNobody(t *testing.T) {
	s := newServer(t, setup{adapter: httpadapter.Options{Authenticator: httpadapter.AuthenticatorFunc(
		func(context.Context, string, string) (httpadapter.Caller, error) {
			return httpadapter.Caller{MayManage: true}, nil
		})}})
	for _, header := range []http.Header{
		{},
		{"X-User-Id": {"u"}},
		{"X-Auth-Token": {"t"}},
		{"X-User-Id": {"u"}, "X-Auth-Token": {""}},
		{"X-User-Id": {""}, "X-Auth-Token": {"t"}},
		{"X-User-Id": {"u", "u"}, "X-Auth-Token": {"t"}},
		{"X-User-Id": {"u"}, "X-Auth-Token": {"t", "t"}},
	} {
		require.Equal(t, http.StatusUnauthorized, s.do(request{path: listPath, header: header}).status)
	}
	require.Equal(t, http.StatusOK, s.do(request{as: [2]string{"u", "t"}, path: listPath}).status)
}

func TestRevokedTokenIsRefusedAtOnce(t *testing.T) {
	s := newServer(t, setup{})
	list := request{as: reader, path: listPath}
	require.Equal(t, http.StatusOK, s.do(list).status)
	require.True(t, s.tokens.Revoke(reader[0], httpadapter.HashToken(reader[1])))
	require.Equal(t, http.StatusUnauthorized, s.do(list).status)
	list.header = http.Header{"If-None-Match": {"*"}}
	require.Equal(t, http.StatusUnauthorized, s.do(list).status)
}

func TestNewNeedsAnAuthenticator(t *testing.T) {
	s := newServer(t, setup{})
	require.PanicsWithValue(t, "httpadapter: New needs an Authenticator", func() { httpadapter.New(s.catalog, nil) })
	require.PanicsWithValue(t, "httpadapter: New needs an Authenticator", func() { httpadapter.New(s.catalog, &httpadapter.Options{}) })
	require.PanicsWithValue(t, "httpadapter: New needs a catalog", func() {
		httpadapter.New(nil, &httpadapter.Options{Authenticator: s.tokens})
	})
}

func TestLoggerIsTheDefault(t *testing.T) {
	s := newServer(t, setup{})
	lines := &logBuffer{}
	usual, out, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(lines, nil)))
	defer func() {
		slog.SetDefault(usual)
		log.SetOutput(out) // which SetDefault had changed, too
		log.SetFlags(flags)
	}()
	h := httpadapter.New(s.catalog, &httpadapter.Options{Authenticator: httpadapter.AuthenticatorFunc(
		func(context.Context, string, string) (httpadapter.Caller, error) {
			return httpadapter.Caller{}, context.DeadlineExceeded
		})})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/api/v1/custom-user-status.list", nil)
	r.Header.Set("X-User-Id", "u")
	r.Header.Set("X-Auth-Token", "t")
	h.ServeHTTP(w, r)
	require.Equal(t, internal, w.Body.String())
	require.Len(t, lines.lines(slog.LevelError), 1)
}

func TestTokens(t *testing.T) {
	ctx := t.Context()
	var tokens httpadapter.Tokens
	in := func(userID, token string) string {
		caller, err := tokens.Authenticate(ctx, userID, token)
		if err != nil {
			require.ErrorIs(t, err, httpadapter.ErrUnauthenticated)
			require.Zero(t, caller)
			return "out"
		}
		require.Equal(t, userID, caller.UserID)
		if caller.MayManage {
			return "manages"
		}
		return "in"
	}
	token := func(userID, text string, manage bool) httpadapter.Token {
		return httpadapter.Token{UserID: userID, Hash: httpadapter.HashToken(text), MayManage: manage}
	}

	require.Equal(t, "out", in("", ""), "the zero value lets nobody in")
	require.Empty(t, tokens.All())
	require.False(t, tokens.Revoke("a", httpadapter.HashToken("1")))
	require.Zero(t, tokens.RevokeUser("a"))

	require.NoError(t, tokens.Add(token("a", "1", false), token("a", "2", true), token("b", "1", true)))
	require.Equal(t, []string{"in", "manages", "out", "manages", "out"},
		[]string{in("a", "1"), in("a", "2"), in("a", "3"), in("b", "1"), in("b", "2")})

	require.NoError(t, tokens.Add(token("a", "1", true)))
	require.Equal(t, "manages", in("a", "1"), "the permission is the new one")
	require.Len(t, tokens.All(), 3)

	require.True(t, tokens.Revoke("a", httpadapter.HashToken("1")))
	require.False(t, tokens.Revoke("a", httpadapter.HashToken("1")))
	require.Equal(t, []string{"out", "manages", "manages"}, []string{in("a", "1"), in("a", "2"), in("b", "1")})

	require.NoError(t, tokens.Add(token("a", "4", false)))
	require.Equal(t, 2, tokens.RevokeUser("a"))
	require.Equal(t, []string{"out", "out", "manages"}, []string{in("a", "2"), in("a", "4"), in("b", "1")})

	require.NoError(t, tokens.Replace([]httpadapter.Token{token("c", "1", false)}))
	require.Equal(t, []string{"out", "in"}, []string{in("b", "1"), in("c", "1")})

	for _, bad := range []httpadapter.Token{{}, {UserID: "d"}, {Hash: httpadapter.HashToken("1")}} {
		require.Error(t, tokens.Add(token("d", "1", true), bad))
		require.Error(t, tokens.Replace([]httpadapter.Token{bad}))
	}
	require.Equal(t, []httpadapter.Token{token("c", "1", false)}, tokens.All(), "all or none")
}

func TestTokensAsJSON(t *testing.T) {
	var tokens httpadapter.Tokens
	secret := httpadapter.GenerateToken()
	require.NoError(t, tokens.Add(
		httpadapter.Token{UserID: "b", Hash: httpadapter.HashToken("abc"), MayManage: true},
		httpadapter.Token{UserID: "a", Hash: httpadapter.HashToken(secret)}))
	text, err := json.Marshal(tokens.All())
	require.NoError(t, err)
	require.NotContains(t, string(text), secret)
	require.True(t, strings.HasSuffix(string(text),
		// the SHA-256 of "abc", from FIPS 180-2
		`{"userId":"b","tokenHash":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","mayManage":true}]`), string(text))

	var read []httpadapter.Token
	require.NoError(t, json.Unmarshal(text, &read))
	require.Equal(t, tokens.All(), read)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", &tokens, read, read), secret)

	for _, bad := range []string{"", "sha256:", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha256:ba7816", "sha256:zz7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad00"} {
		var h httpadapter.TokenHash
		require.Error(t, h.UnmarshalText([]byte(bad)), bad)
		require.Zero(t, h)
	}
}

func TestGenerateToken(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		token := httpadapter.GenerateToken()
		require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, token)
		require.False(t, seen[token])
		seen[token] = true
	}
}

func TestTokensConcurrently(t *testing.T) {
	var tokens httpadapter.Tokens
	stays := httpadapter.Token{UserID: "u", Hash: httpadapter.HashToken("stays")}
	require.NoError(t, tokens.Add(stays))
	var writers, readers sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		comes := httpadapter.Token{UserID: "u", Hash: httpadapter.HashToken(fmt.Sprint(i))}
		writers.Go(func() {
			for range 500 {
				assert.NoError(t, tokens.Add(comes))
				assert.Contains(t, tokens.All(), comes)
				assert.True(t, tokens.Revoke("u", comes.Hash))
			}
		})
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				_, err := tokens.Authenticate(t.Context(), "u", "stays")
				assert.NoError(t, err)
				_, err = tokens.Authenticate(t.Context(), "u", "never")
				assert.ErrorIs(t, err, httpadapter.ErrUnauthenticated)
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	require.Equal(t, []httpadapter.Token{stays}, tokens.All())
}
