package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

func TestTokensPath(t *testing.T) {
	tests := []struct{ given, database, want string }{
		{"", "customstatus.db", "customstatus.tokens"},
		{"", "/var/lib/status/live.db", "/var/lib/status/live.tokens"},
		{"", "live.bolt", "live.bolt.tokens"},
		{"/etc/tokens", "customstatus.db", "/etc/tokens"},
	}
	for _, tt := range tests {
		require.Equal(t, tt.want, tokensPath(tt.given, tt.database))
	}
}

// add makes a token in the file at path.
func add(t *testing.T, path, userID string) newToken {
	t.Helper()
	var made newToken
	require.NoError(t, editTokens(at(path), func(r *tokenRecords) error {
		made = r.addToken(userID, true, "")
		return nil
	}))
	return made
}

// Only the hash of a token is kept, where only the owner can read it.
func TestTokensAtRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tokens")
	made := add(t, path, "alice")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(text), made.token)
	require.Contains(t, string(text), tokenauth.HashOf(made.token).String())
	for _, name := range []string{path, path + ".lock"} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	}
}

// A token that begins with a hyphen would be taken for a flag.
func TestTokensAreNoFlags(t *testing.T) {
	var r tokenRecords
	for range 1000 {
		require.NotEqual(t, byte('-'), r.addToken("a", true, "").token[0])
	}
}

// A server looks at the file when somebody logs in, at most once a second.
func TestTokenFileFollowsChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tokens")
	first := add(t, path, "alice")
	var log bytes.Buffer
	f, err := openTokens(at(path), slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	now := time.Now()
	f.now = func() time.Time { return now }
	in := func(made newToken) bool {
		caller, err := f.Login(t.Context(), made.userID, made.token)
		if err != nil {
			require.ErrorIs(t, err, httpadapter.ErrUnauthenticated)
			return false
		}
		require.Equal(t, httpadapter.Caller{UserID: made.userID, MayManage: true}, caller)
		return true
	}
	pass := func(d time.Duration) { now = now.Add(d) }

	require.True(t, in(first))
	second := add(t, path, "bob")
	require.False(t, in(second), "it looked again within the second")
	pass(tokensCheckEvery)
	require.True(t, in(second))
	require.False(t, in(newToken{first.userID, second.token}), "another user's token")

	// A change that the file's time and size don't show, soon after the last.
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, bytes.Replace(text, []byte("alice"), []byte("carol"), 1), 0o600))
	require.NoError(t, os.Chtimes(path, time.Time{}, info.ModTime()))
	pass(tokensCheckEvery)
	require.False(t, in(first))
	require.True(t, in(newToken{"carol", first.token}))

	// A file that can't be read leaves the tokens, and is logged once.
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	for range 3 {
		pass(tokensCheckEvery)
		require.True(t, in(second))
	}
	require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), log.String())
	require.NoError(t, os.Remove(path))
	pass(tokensCheckEvery)
	require.True(t, in(second))
	require.Equal(t, 2, strings.Count(log.String(), "level=ERROR"), log.String())
	require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"tokens":[]}`), 0o600))
	pass(tokensCheckEvery)
	require.False(t, in(second))

	// An old file that hasn't changed isn't read again.
	old := now.Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, old, old))
	pass(tokensCheckEvery)
	require.False(t, in(second))
	loaded := f.loaded
	pass(time.Minute)
	require.False(t, in(second))
	require.Equal(t, loaded, f.loaded)
}

// Reading many tokens of one user does not copy all of them for each, which would
// take gigabytes.
func TestTokenFileOfManyTokens(t *testing.T) {
	const n = 20_000
	path := filepath.Join(t.TempDir(), "x.tokens")
	var first, last newToken
	require.NoError(t, editTokens(at(path), func(r *tokenRecords) error {
		first = r.addToken("alice", true, "")
		for range n - 2 {
			r.addToken("alice", false, "")
		}
		last = r.addToken("alice", false, "")
		return nil
	}))
	allocated := func() uint64 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.TotalAlloc
	}
	before := allocated()
	f, err := openTokens(at(path), discard)
	require.NoError(t, err)
	require.Less(t, allocated()-before, uint64(200<<20))
	require.Len(t, f.tokens.All(), n)
	for made, manages := range map[newToken]bool{first: true, last: false} {
		caller, err := f.Login(t.Context(), made.userID, made.token)
		require.NoError(t, err)
		require.Equal(t, manages, caller.MayManage)
	}
}

// A file that something else fills does not fill the memory, and logins go on.
func TestTokenFileIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tokens")
	made := add(t, path, "alice")
	f, err := openTokens(at(path), discard)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, maxRecords+1))
	require.ErrorContains(t, f.reload(), "x.tokens: longer than 33554432 bytes")
	_, err = f.Login(t.Context(), made.userID, made.token)
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.ErrorContains(t, editTokens(at(path), func(r *tokenRecords) error {
		r.addToken("alice", true, strings.Repeat("x", maxRecords))
		return nil
	}), "there are too many tokens")
	require.NoFileExists(t, path)
}

func TestTokenFileRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tokens")
	hash := tokenauth.HashOf("x").String()
	tests := map[string]string{
		"":                        "EOF",
		"[]":                      "cannot unmarshal",
		`{"version":1}{}`:         "data after the JSON value",
		`{"version":0}`:           "version 0",
		`{"version":1,"users":1}`: "unknown field",
		`{"version":1,"tokens":[{"userId":"a","tokenHash":"x"}]}`:              "not a hash",
		`{"version":1,"tokens":[{"userId":"","tokenHash":"` + hash + `"}]}`:    "needs a user id",
		`{"version":1,"tokens":[{"userId":"a","mayManage":true,"label":"x"}]}`: "and a hash",
	}
	for text, want := range tests {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := openTokens(at(path), slog.New(slog.DiscardHandler))
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, path)
	}
}

// A pipe in place of the file must not block logins.
func TestTokenFileIsAFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no pipes in directories here")
	}
	path := filepath.Join(t.TempDir(), "x.tokens")
	made := add(t, path, "alice")
	var log bytes.Buffer
	f, err := openTokens(at(path), slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	require.NoError(t, exec.Command("mkfifo", path).Run())
	f.now = func() time.Time { return time.Now().Add(tokensCheckEvery) }
	_, err = f.Login(t.Context(), made.userID, made.token)
	require.NoError(t, err)
	require.Contains(t, log.String(), "x.tokens: not a regular file")
	require.ErrorContains(t, f.reload(), "x.tokens: not a regular file")
	require.ErrorContains(t, editTokens(at(path), func(*tokenRecords) error { return nil }), "not a regular file")
	_, err = openTokens(at(filepath.Dir(path)), f.log)
	require.ErrorContains(t, err, "not a regular file")
}

func TestTokenFileThatOthersMayWrite(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing of others here")
	}
	path := filepath.Join(t.TempDir(), "x.tokens")
	add(t, path, "alice")
	for _, tt := range []struct {
		mode  os.FileMode
		warns int
	}{{0o600, 0}, {0o644, 0}, {0o620, 1}, {0o602, 1}} {
		require.NoError(t, os.Chmod(path, tt.mode))
		var log bytes.Buffer
		f, err := openTokens(at(path), slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		require.NoError(t, f.reload())
		require.Equal(t, tt.warns, strings.Count(log.String(), "level=WARN"), log.String())
	}
}

// Concurrent edits lose nothing, and readers see whole files.
func TestTokenEditsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tokens")
	add(t, path, "first")
	ctx, cancel := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	readers.Go(func() {
		for ctx.Err() == nil {
			if _, _, err := readTokens(at(path)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	const n, each = 8, 5
	for i := range n {
		writers.Go(func() {
			for j := range each {
				err := editTokens(at(path), func(r *tokenRecords) error {
					r.addToken(fmt.Sprint(i, " ", j), true, "")
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	cancel()
	readers.Wait()
	records, _, err := readTokens(at(path))
	require.NoError(t, err)
	require.Len(t, records.Tokens, 1+n*each)
}

// Of concurrent first starts on one tokens file, one makes it and shows the token.
func TestFirstTokenOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tokens")
	var shown atomic.Int64
	var starts sync.WaitGroup
	for range 8 {
		starts.Go(func() {
			err := makeFirstToken(t.Context(), at(path), func(newToken) error {
				shown.Add(1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	starts.Wait()
	require.Equal(t, int64(1), shown.Load())
}

// printer is standard output on which nothing may be printed after a file exists.
type printer struct {
	t    *testing.T
	path string
	text strings.Builder
}

func (p *printer) Write(b []byte) (int, error) {
	require.NoFileExists(p.t, p.path)
	return p.text.Write(b)
}

// A kill during the first start leaves no token that nobody has seen: the token is
// printed before the tokens file exists.
func TestFirstTokenIsShownFirst(t *testing.T) {
	db := filepath.Join(t.TempDir(), "x.db")
	tokens := tokensPath("", db)
	out := &printer{t: t, path: tokens}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log, ended := newLog("msg=listening"), make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"--db", db, "--addr", "127.0.0.1:0"}, nil, out, log, noEnv)
	}()
	<-log.said["msg=listening"]
	cancel()
	require.Equal(t, exitOK, <-ended)
	require.Contains(t, out.text.String(), "X-Auth-Token: ")
	require.FileExists(t, tokens)
}

// A tokens file that can't be written after its token was shown is an error that says
// so.
func TestFirstTokenThatIsNotValid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tokens")
	err := makeFirstToken(t.Context(), at(path), func(newToken) error { return os.Mkdir(path, 0o700) })
	require.ErrorContains(t, err, "the first token is not valid, because the tokens file was not made: ")
}

// A tokens file that vanishes or can't be read is reported, once, until it is back.
func TestTokensThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tokens")
	made := add(t, path, "alice")
	var log bytes.Buffer
	f, err := openTokens(at(path), slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	now := time.Now()
	f.now = func() time.Time { return now }
	require.NoError(t, f.problem())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, spoil := range map[string]func() error{
		"gone":       func() error { return os.Remove(path) },
		"not tokens": func() error { return os.WriteFile(path, []byte("{"), 0o600) },
	} {
		log.Reset()
		require.NoError(t, spoil(), name)
		for range 3 { // nobody logs in
			now = now.Add(tokensCheckEvery)
			require.Error(t, f.problem(), name)
		}
		require.Error(t, f.reload(), name)
		require.Error(t, f.problem(), name)
		require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), log.String())
		require.Contains(t, log.String(), "the tokens that were read last stay valid")
		_, err := f.Login(t.Context(), made.userID, made.token)
		require.NoError(t, err, name)

		require.NoError(t, os.WriteFile(path, text, 0o600))
		now = now.Add(tokensCheckEvery)
		require.NoError(t, f.problem(), name)
		require.Contains(t, log.String(), "the tokens file can be read again")
	}

	// After a failed reload, a file that looks as it did counts only when it is read.
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(path, old, old))
	require.NoError(t, f.reload())
	require.NoError(t, os.Rename(path, path+".away"))
	require.Error(t, f.reload())
	require.NoError(t, os.Rename(path+".away", path))
	now = now.Add(tokensCheckEvery)
	require.NoError(t, f.problem())
}

func TestFindToken(t *testing.T) {
	var r tokenRecords
	for _, first := range []byte{0x11, 0x12, 0x12} {
		hash := tokenauth.Hash{first, 0, 0, 0, 0, byte(len(r.Tokens))}
		r.Tokens = append(r.Tokens, tokenRecord{Token: tokenauth.Token{UserID: "a", Hash: hash}})
	}
	i, err := r.find("11000000")
	require.NoError(t, err)
	require.Zero(t, i)
	i, err = r.find(r.Tokens[2].id())
	require.NoError(t, err)
	require.Equal(t, 2, i)
	_, err = r.find("12000000")
	require.ErrorContains(t, err, "more than one")
	for _, id := range []string{"", "11", "1100000", "13000000", strings.Repeat("1", 100)} {
		_, err = r.find(id)
		require.ErrorContains(t, err, "no token has this id", id)
	}
}

// A tokens file is none of the server's other files, which would overwrite it.
func TestTokensFileIsAlone(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "x.db")
	for name, what := range map[string]string{"x.db": "the database", "x.sessions": "the file of the sessions", "x.db.sock": "the control socket"} {
		_, err := tokensPlace(filepath.Join(dir, name), fileAt(db))
		require.ErrorContains(t, err, name+" is "+what)
	}
	_, err := tokensPlace(filepath.Join(dir, "x"), fileAt(filepath.Join(dir, "x.lock")))
	require.ErrorContains(t, err, "x.lock is the database")
}
