package httpadapter_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// flipBit returns s with one bit changed. The result is still a header value.
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
		"the hash as the token":   pair(manager[0], tokenauth.HashOf(manager[1]).String()),
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
	s := newServer(t, setup{})
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

// TestHalfOfAPairReachesNobody: a login with one of the two headers never reaches the
// host's function.
func TestHalfOfAPairReachesNobody(t *testing.T) {
	s := newServer(t, setup{auth: httpadapter.HeaderAuth(
		func(context.Context, string, string) (httpadapter.Caller, error) {
			return httpadapter.Caller{MayManage: true}, nil
		})})
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
	require.True(t, s.tokens.Revoke(reader[0], tokenauth.HashOf(reader[1])))
	require.Equal(t, http.StatusUnauthorized, s.do(list).status)
	list.header = http.Header{"If-None-Match": {"*"}}
	require.Equal(t, http.StatusUnauthorized, s.do(list).status)
}

// TestMistakesOfTheCallerOfNew: New panics at once and names the mistake.
func TestMistakesOfTheCallerOfNew(t *testing.T) {
	s := newServer(t, setup{})
	auth := httpadapter.HeaderAuth(s.tokens.Login)
	for want, call := range map[string]func(){
		"httpadapter: New needs an Authenticator":   func() { httpadapter.New(s.catalog, nil, nil) },
		"httpadapter: New needs a catalog":          func() { httpadapter.New(nil, auth, nil) },
		"httpadapter: HeaderAuth needs a function":  func() { httpadapter.HeaderAuth(nil) },
		"httpadapter: Options.MaxCount is negative": func() { httpadapter.New(s.catalog, auth, &httpadapter.Options{MaxCount: -1}) },
		`httpadapter: Options.TrustedOrigins: invalid origin "chat.example.com": scheme is required`: func() {
			httpadapter.New(s.catalog, auth, &httpadapter.Options{TrustedOrigins: []string{"chat.example.com"}})
		},
	} {
		require.PanicsWithValue(t, want, call)
	}
	require.NotNil(t, httpadapter.New(s.catalog, auth, nil), "nil options are the defaults")
}

// TestAuthenticatorSeesTheRequest: an Authenticator can use a cookie, or a value that
// middleware left in the context.
func TestAuthenticatorSeesTheRequest(t *testing.T) {
	type key struct{}
	s := newServer(t, setup{
		auth: httpadapter.AuthenticatorFunc(func(r *http.Request) (httpadapter.Caller, error) {
			cookie, err := r.Cookie("session")
			if err != nil || cookie.Value != r.Context().Value(key{}) {
				return httpadapter.Caller{}, fmt.Errorf("session: %w", httpadapter.ErrUnauthenticated)
			}
			return httpadapter.Caller{UserID: "u", MayManage: r.URL.Path != "/api/v1/"+deletePath}, nil
		}),
		mount: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, "s3cr3t")))
			})
		},
	})
	cookie := http.Header{"Cookie": {"session=s3cr3t"}}
	require.Equal(t, http.StatusOK, s.do(request{path: listPath, header: cookie}).status)
	require.Equal(t, http.StatusOK, s.do(request{path: createPath, header: cookie, body: `{"name":"a","statusType":"busy"}`}).status)
	require.Equal(t, notAuthorized, s.do(request{path: deletePath, header: cookie}).body)
	require.Equal(t, unauthorized, s.do(request{path: listPath, header: http.Header{"Cookie": {"session=x"}}}).body)
	require.Equal(t, unauthorized, s.do(request{as: manager, path: listPath}).body)
}

func TestLoggerIsTheDefault(t *testing.T) {
	s := newServer(t, setup{})
	lines := &logBuffer{}
	usual, out, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(lines, nil)))
	defer func() {
		slog.SetDefault(usual)
		log.SetOutput(out) // SetDefault changed it, too
		log.SetFlags(flags)
	}()
	h := newHandler(s.catalog, httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
		return httpadapter.Caller{}, context.DeadlineExceeded
	}), nil)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/api/v1/custom-user-status.list", nil)
	h.ServeHTTP(w, r)
	require.Equal(t, internal, w.Body.String())
	require.Len(t, lines.lines(slog.LevelError), 1)
}
