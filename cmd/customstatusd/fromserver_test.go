package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/client"
)

// The login of the tests at the server that an import reads.
const fromUser, fromToken = "rbAXPnMktTFbNpwtJ", "RScctEHSmLGZGywfIhWyRpyofhKOiMoUIpimhvheU3f"

// rocketChat answers a list as the published schemas of Rocket.Chat say.
type rocketChat struct {
	mu       sync.Mutex
	path     string // in front of /api/v1
	old      bool   // 3.x to 6.x, where a 401 has no success
	most     int    // in one answer; 0 is all
	statuses []map[string]any
	before   func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	asked    int
}

func rocketStatus(id, name, kind, at string) map[string]any {
	return map[string]any{"_id": id, "name": name, "statusType": kind, "_updatedAt": at}
}

func (s *rocketChat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	answer := func(status int, body any) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	if s.before != nil && s.before(w, r) {
		return
	}
	if r.URL.Path != s.path+"/api/v1/custom-user-status.list" || r.Method != http.MethodGet {
		answer(404, map[string]any{"success": false, "error": "unknown endpoint"})
		return
	}
	if r.Header.Get("X-User-Id") != fromUser || r.Header.Get("X-Auth-Token") != fromToken {
		refused := map[string]any{"status": "error", "message": "You must be logged in to do this."}
		if !s.old {
			refused = map[string]any{"success": false, "error": "You must be logged in to do this."}
		}
		answer(401, refused)
		return
	}
	q := r.URL.Query()
	found := slices.Clone(s.statuses)
	slices.SortFunc(found, func(a, b map[string]any) int { return strings.Compare(a["_id"].(string), b["_id"].(string)) })
	total := len(found)
	offset, _ := strconv.Atoi(q.Get("offset"))
	found = found[min(offset, total):]
	most := s.most
	if count, _ := strconv.Atoi(q.Get("count")); count > 0 && (most == 0 || count < most) {
		most = count
	}
	if most > 0 {
		found = found[:min(most, len(found))]
	}
	answer(200, map[string]any{"statuses": append([]map[string]any{}, found...), "count": len(found), "offset": offset, "total": total, "success": true})
}

func (s *rocketChat) set(statuses ...map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses = statuses
}

// fromCommand imports from a server, and requires that the token is in no output.
func fromCommand(t *testing.T, want int, token string, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := func(name string) (string, bool) {
		if name == fromTokenVariable && token != "" {
			return token, true
		}
		return "", false
	}
	code := run(t.Context(), append([]string{"import"}, args...), strings.NewReader(""), &out, &errs, env)
	require.Equal(t, want, code, "%q\n%s%s", args, out.String(), errs.String())
	require.NotContains(t, out.String()+errs.String(), fromToken)
	return out.String(), errs.String()
}

func TestImportFromRocketChat(t *testing.T) {
	const at = "2023-11-04T11:51:28.353Z"
	for name, server := range map[string]*rocketChat{
		"newest": {}, "old": {old: true}, "in pages": {most: 3}, "below a path": {path: "/chat", most: 50},
	} {
		for _, served := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, served %v", name, served), func(t *testing.T) {
				server := &rocketChat{path: server.path, old: server.old, most: server.most}
				var all []map[string]any
				for i := range 10 {
					all = append(all, rocketStatus(fmt.Sprintf("65462e97a2f73c7460e18f%02d", i), fmt.Sprint("status ", i), "busy", at))
				}
				server.set(all...)
				srv := httptest.NewServer(server)
				defer srv.Close()
				db := filepath.Join(t.TempDir(), "x.db")
				from := []string{"--db", db, "--from", srv.URL + server.path + "/", "--user-id", fromUser}
				steps := func() {
					out, errs := fromCommand(t, exitOK, fromToken, append(from, "--dry-run")...)
					require.Equal(t, "would import 10, update 0, skip 0, refuse 0, already there 0\n", out)
					require.Empty(t, errs)
					out, _ = fromCommand(t, exitOK, fromToken, from...)
					require.Equal(t, "imported 10, already there 0\n", out)
					require.Contains(t, cli(t, "export", "--db", db), `{"_id":"65462e97a2f73c7460e18f07","name":"status 7","statusType":"busy","_updatedAt":"`+at+`"}`)

					// Until the switch: one is renamed, one is gone, one is made again under its name, one is new.
					changed := slices.Clone(all[1:])
					changed[0] = rocketStatus("65462e97a2f73c7460e18f01", "renamed", "away", "2024-01-01T00:00:00.000Z")
					changed[1] = rocketStatus("zzzzzzzzzzzzzzzzz", "status 2", "busy", at)
					changed = append(changed, rocketStatus("yyyyyyyyyyyyyyyyy", "new", "online", at))
					server.set(changed...)
					out, errs = fromCommand(t, exitFailure, fromToken, from...)
					url := srv.URL + server.path + "/"
					gone := url + `: status "65462e97a2f73c7460e18f00", named "status 0": gone there, or never there` + "\n" +
						url + `: status "65462e97a2f73c7460e18f02", named "status 2": there, the name has the id "zzzzzzzzzzzzzzzzz"` + "\n" +
						"only here 2; nothing was deleted\n"
					require.Equal(t, gone, out)
					require.Equal(t, `customstatusd: `+url+`: status "65462e97a2f73c7460e18f01", named "renamed": the id "65462e97a2f73c7460e18f01" is in use: by the status named "status 1"`+"\n"+
						`customstatusd: `+url+`: status "zzzzzzzzzzzzzzzzz", named "status 2": the name "status 2" belongs to status "65462e97a2f73c7460e18f02"`+"\n"+
						"customstatusd: import: nothing was imported: 2 bad; --on-conflict skip or update says what to do with those that conflict\n", errs)

					update := append(from, "--on-conflict", "update")
					out, _ = fromCommand(t, exitOK, fromToken, append(update, "--dry-run")...)
					require.Equal(t, url+`: status "65462e97a2f73c7460e18f01", named "renamed": would update: name "status 1" to "renamed", status type "busy" to "away"`+"\n"+
						"would import 1, update 1, skip 0, refuse 0, already there 8\n"+gone, out)
					out, _ = fromCommand(t, exitOK, fromToken, update...)
					require.Equal(t, "imported 1, updated 1, already there 8\n"+gone, out)
					out, _ = fromCommand(t, exitOK, fromToken, update...)
					require.Equal(t, "imported 0, updated 0, already there 10\n"+gone, out)
				}
				if served {
					cli(t, "import", "--db", db, os.DevNull)
					whileServing(t, db, steps)
				} else {
					steps()
				}
			})
		}
	}
}

// Two statuses of one name can exist in Rocket.Chat. They are named before anything is
// written, whatever happens to conflicts.
func TestImportFromNamesTwins(t *testing.T) {
	server := &rocketChat{statuses: []map[string]any{
		rocketStatus("a", "twin", "busy", "2023-11-04T11:51:28.353Z"),
		rocketStatus("b", "twin", "away", "2023-11-04T11:51:28.353Z"),
		rocketStatus("c", "typeless", "", "2023-11-04T11:51:28.353Z"),
		{"_id": "d", "name": "null", "statusType": nil, "_updatedAt": "2023-11-04T11:51:28.353Z", "createdBy": map[string]any{"_id": "x"}},
	}}
	srv := httptest.NewServer(server)
	defer srv.Close()
	db := filepath.Join(t.TempDir(), "x.db")
	from := []string{"--db", db, "--from", srv.URL + "/api/v1/", "--user-id", fromUser}
	_, errs := fromCommand(t, exitFailure, fromToken, from...)
	require.Contains(t, errs, `status "c", named "typeless": status type is required`)
	require.Contains(t, errs, `status "d", named "null": status type is required`)
	from = append(from, "--status-type-optional", "--status-type-default", "online")
	_, errs = fromCommand(t, exitFailure, fromToken, from...)
	require.Contains(t, errs, `: status "b", named "twin": the name "twin" belongs to status "a"`)
	_, errs = fromCommand(t, exitFailure, fromToken, append(from, "--on-conflict", "update")...)
	require.Contains(t, errs, `: status "b", named "twin": the name "twin" is also in status "a", named "twin"`)
	require.Equal(t, "", cli(t, "export", "--db", db))
	out, _ := fromCommand(t, exitOK, fromToken, append(from, "--on-conflict", "skip")...)
	require.Equal(t, "imported 3, skipped 1, already there 0\n", out)
}

// A server that limits requests, and one that stumbles, is asked again.
func TestImportFromWaits(t *testing.T) {
	server := &rocketChat{most: 2, statuses: []map[string]any{
		rocketStatus("a", "a", "busy", "2023-11-04T11:51:28.353Z"), rocketStatus("b", "b", "busy", "2023-11-04T11:51:28.353Z"),
	}}
	server.before = func(w http.ResponseWriter, _ *http.Request) bool {
		if server.asked == 1 {
			w.Header().Set("X-RateLimit-Limit", "10")
			w.Header().Set("X-RateLimit-Remaining", "0")
			w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(20*time.Millisecond).UnixMilli(), 10))
			w.WriteHeader(429)
			_, _ = w.Write([]byte(`{"success":false,"error":"Error, too many requests. Please slow down. You must wait 1 seconds before trying this endpoint again. [error-too-many-requests]","errorType":"error-too-many-requests"}`))
			return true
		}
		if server.asked == 2 {
			_, _ = w.Write([]byte(`{"success":true,"statuses":[`))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		return false
	}
	srv := httptest.NewServer(server)
	defer srv.Close()
	out, errs := fromCommand(t, exitOK, fromToken, "--db", filepath.Join(t.TempDir(), "x.db"), "--from", srv.URL, "--user-id", fromUser)
	require.Equal(t, "imported 2, already there 0\n", out)
	require.Contains(t, errs, "too many requests")
	require.Equal(t, 2, strings.Count(errs, "; trying again in "))
	require.Contains(t, errs, "unexpected EOF")
}

func TestImportFromRefusals(t *testing.T) {
	answer := func(status int, kind, body string, header ...string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", kind)
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	for name, tt := range map[string]struct {
		server *rocketChat
		token  string
		want   string
	}{
		"wrong token, newest": {&rocketChat{}, "wrong", "the user id or the token is wrong"},
		"wrong token, old":    {&rocketChat{old: true}, "wrong", "the user id or the token is wrong"},
		"second factor": {&rocketChat{before: answer(400, "application/json", `{"success":false,"error":"TOTP Required [totp-required]","errorType":"totp-required","details":{"method":"totp","codeGenerated":false,"availableMethods":["totp","email"]}}`)},
			fromToken, "the login wants a second factor"},
		"another host":   {&rocketChat{before: answer(301, "text/html", "moved", "Location", "https://elsewhere.example/")}, fromToken, `a redirect to https://elsewhere.example/": not an answer of the API; give --from the address that it redirects to`},
		"login page":     {&rocketChat{before: answer(403, "text/html", "<html>log in")}, fromToken, "is --from the address of a Rocket.Chat"},
		"other software": {&rocketChat{path: "/somewhere"}, fromToken, "is --from the address of a Rocket.Chat"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(tt.server)
			defer srv.Close()
			db := filepath.Join(t.TempDir(), "x.db")
			_, errs := fromCommand(t, exitFailure, tt.token, "--db", db, "--from", srv.URL, "--user-id", fromUser)
			require.Contains(t, errs, tt.want)
			require.Contains(t, errs, "customstatusd: import: nothing was imported: ")
			require.NoFileExists(t, db)
			require.Equal(t, 1, tt.server.asked)
		})
	}
	server := &rocketChat{}
	srv := httptest.NewServer(server)
	defer srv.Close()
	db := filepath.Join(t.TempDir(), "x.db")
	require.NoError(t, os.WriteFile(db, []byte("no database"), 0o600))
	fromCommand(t, exitFailure, fromToken, "--from", srv.URL, "--user-id", fromUser, "--db", db)
	require.Zero(t, server.asked, "the server is asked only if the catalog can be read")
}

func TestImportFromCredentials(t *testing.T) {
	server := &rocketChat{}
	srv := httptest.NewServer(server)
	defer srv.Close()
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, "token")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	db := filepath.Join(dir, "x.db")
	headers := "X-User-Id: " + fromUser + "\nX-Auth-Token: " + fromToken + "\n"
	for name, tt := range map[string]struct {
		text, user, variable string
		code                 int
		want                 string
	}{
		"a file":                 {text: fromToken + "\n", user: fromUser},
		"a variable":             {variable: fromToken, user: fromUser},
		"headers":                {text: headers},
		"headers and the user":   {text: headers, user: fromUser},
		"headers of another":     {text: headers, user: "x", code: exitUsage, want: "--user-id is not the user"},
		"the file wins":          {text: fromToken, user: fromUser, variable: "wrong"},
		"no token":               {user: fromUser, code: exitUsage, want: "--from needs a token"},
		"no user":                {text: fromToken, code: exitUsage, want: "--from needs --user-id"},
		"two lines":              {text: fromToken + "\nx", user: fromUser, code: exitFailure, want: "not one token"},
		"nothing":                {text: "\n", user: fromUser, code: exitFailure, want: "not one token"},
		"a token with a control": {text: fromToken + "\x00", user: fromUser, code: exitFailure, want: "not one token"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"--db", db, "--from", srv.URL}
			if tt.text != "" {
				args = append(args, "--token-file", file(tt.text))
			}
			if tt.user != "" {
				args = append(args, "--user-id", tt.user)
			}
			_, errs := fromCommand(t, tt.code, tt.variable, args...)
			require.Contains(t, errs, tt.want)
		})
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{}, "expected FILE or --from URL"},
		{[]string{"--user-id", "x", "f"}, "go with --from"},
		{[]string{"--from", srv.URL, "f"}, "both say what to import"},
		{[]string{"--from", "chat.example", "--user-id", "x"}, "has no http or https and host"},
		{[]string{"--from", "https://u:secret@chat.example", "--user-id", "x"}, "has more than a host and a path"},
		{[]string{"--from", "https://secret@chat.example", "--user-id", "x"}, "has more than a host and a path"},
		{[]string{"--from", "chat.example?secret", "--user-id", "x"}, "has no http or https and host"},
	} {
		_, errs := fromCommand(t, exitUsage, fromToken, append(tt.args, "--db", db)...)
		require.Contains(t, errs, tt.want)
		require.NotContains(t, errs, "secret")
	}
}

func TestUnencrypted(t *testing.T) {
	for base, want := range map[string]bool{
		"https://chat.example": false, "http://chat.example": true, "http://localhost:3000": false,
		"http://127.0.0.1:3000": false, "http://[::1]:3000": false, "http://192.0.2.1": true,
	} {
		require.Equal(t, want, unencrypted(base), base)
	}
}

// The token is not sent over a network in the clear without a word.
func TestImportFromWarns(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for base, want := range map[string]bool{
		"http://chat.example": true, "http://192.0.2.1:80": true, "https://chat.example": false,
		"http://localhost:3000": false, "http://127.0.0.1:3000": false, "http://[::1]:3000": false,
	} {
		var errs bytes.Buffer
		_, err := (&process{stderr: &errs}).fetch(ctx, base, client.Credentials{UserID: fromUser, Token: fromToken})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, want, strings.Contains(errs.String(), "everybody on the way can read the token"), base)
	}
}

func TestSayGoneIsShort(t *testing.T) {
	before := make([]customstatus.CustomUserStatus, maxGone+5)
	for i := range before {
		before[i].ID = fmt.Sprint(i)
	}
	var out bytes.Buffer
	require.NoError(t, (&process{stdout: &out}).sayGone("x", before, before[:2]))
	require.Equal(t, maxGone+2, strings.Count(out.String(), "\n"))
	require.Contains(t, out.String(), "x: and 3 more\nonly here 103; nothing was deleted\n")
}
