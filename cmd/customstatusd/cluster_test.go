//go:build !nocluster

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// onPostgres starts a server of PostgreSQL and returns it and the address of a new database.
func onPostgres(t *testing.T) (*pgtest.Server, string) {
	t.Helper()
	server := pgtest.Start(t, nil)
	dsn := server.DSN(server.NewDatabase())
	a, err := parseAddress(dsn)
	require.NoError(t, err, "the tests need a URL")
	require.False(t, a.hasPassword())
	return server, dsn
}

// node is a server of the program with the headers of a login.
type node struct {
	t      *testing.T
	addr   string
	header http.Header
}

// ask sends a request and returns its answer with the body read.
func (n node) ask(method, path, body string, header ...string) (*http.Response, string) {
	n.t.Helper()
	resp := n.open(method, path, body, header...)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(n.t, err)
	return resp, string(text)
}

func (n node) open(method, path, body string, header ...string) *http.Response {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, "http://"+n.addr+path, strings.NewReader(body))
	require.NoError(n.t, err)
	r.Header = n.header.Clone()
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	require.NoError(n.t, err)
	return resp
}

const endpoints = "/api/v1/custom-user-status."

func (n node) create(name string) {
	n.t.Helper()
	resp, body := n.ask(http.MethodPost, endpoints+"create", `{"name":"`+name+`","statusType":"busy"}`)
	require.Equal(n.t, http.StatusOK, resp.StatusCode, body)
}

// events reads a stream up to a number of changes, and returns their names and the last id.
func events(t *testing.T, r *bufio.Reader, most int) (names []string, id string) {
	t.Helper()
	kind := ""
	for len(names) < most || id == "" {
		line, err := r.ReadString('\n')
		require.NoError(t, err, "after %q", names)
		field, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch field {
		case "event":
			kind, id = value, ""
		case "id":
			id = value
		case "data":
			var s struct{ Name string }
			require.NoError(t, json.Unmarshal([]byte(value), &s))
			require.NotEqual(t, "reset", kind)
			if kind == "created" {
				names = append(names, s.Name)
			}
		}
	}
	return names, id
}

// Two servers share a catalog. A client whose server is killed goes on at the other one,
// and misses nothing.
func TestTwoServersOnPostgres(t *testing.T) {
	t.Parallel()
	_, dsn := onPostgres(t)
	dir := t.TempDir()
	tokens := filepath.Join(dir, "shared.tokens")
	first := launch(t, dir, "first", "--store", dsn, "--tokens", tokens)
	header := login(t, dir)
	second := launch(t, dir, "second", "--store", dsn, "--tokens", tokens)
	a, b := node{t, first.addr, header}, node{t, second.addr, header}

	stream := a.open(http.MethodGet, endpoints+"stream", "")
	defer stream.Body.Close()
	a.create("one")
	b.create("two")
	names, id := events(t, bufio.NewReader(stream.Body), 2)
	require.Equal(t, []string{"one", "two"}, names)

	require.NoError(t, first.cmd.Process.Kill())
	<-first.exited
	b.create("three")
	resumed := b.open(http.MethodGet, endpoints+"stream", "", "Last-Event-ID", id)
	defer resumed.Body.Close()
	b.create("four")
	names, _ = events(t, bufio.NewReader(resumed.Body), 2)
	require.Equal(t, []string{"three", "four"}, names)

	// A list of another server leads to a stream of this one.
	third := node{t, launch(t, dir, "third", "--store", dsn, "--tokens", tokens).addr, header}
	list, _ := third.ask(http.MethodGet, endpoints+"list", "")
	b.create("five")
	after := b.open(http.MethodGet, endpoints+"stream?after="+url.QueryEscape(list.Header.Get("X-Catalog-Position")), "")
	defer after.Body.Close()
	names, _ = events(t, bufio.NewReader(after.Body), 1)
	require.Equal(t, []string{"five"}, names)
}

// Where servers must not make tables, somebody else makes them with what a command prints.
func TestSchemaForPostgres(t *testing.T) {
	t.Parallel()
	server, _ := onPostgres(t)
	database := server.NewDatabase()
	server.Exec("postgres", "CREATE ROLE chat LOGIN; REVOKE ALL ON DATABASE "+database+" FROM PUBLIC; GRANT CONNECT ON DATABASE "+database+" TO chat")
	store := strings.Replace(server.DSN(database), "postgres@", "chat@", 1)
	file := filepath.Join(t.TempDir(), "one.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(`{"name":"one","statusType":"away"}`), 0o600))
	_, errs := command(t, exitFailure, "import", "--store", store, file)
	require.Contains(t, errs, "permission denied for database")
	sql, _ := command(t, exitOK, "schema", "--role", "chat")
	server.Exec(database, sql)
	command(t, exitOK, "import", "--store", store, file)
	require.Contains(t, cli(t, "export", "--store", store), `"name":"one"`)

	sql, _ = command(t, exitOK, "schema", "--schema", "other")
	require.Contains(t, sql, `CREATE SCHEMA IF NOT EXISTS "other";`)
	require.NotContains(t, sql, "GRANT")
	_, errs = command(t, exitUsage, "schema", "--schema", "O'Hara")
	require.Contains(t, errs, "is not 1 to 48 lower-case letters")
}

// While the database is away, lists are answered, writes fail, and the health check says
// so. All heals by itself.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	server, dsn := onPostgres(t)
	dir := t.TempDir()
	n := node{t, launch(t, dir, "first", "--store", dsn, "--tokens", filepath.Join(dir, "x.tokens")).addr, login(t, dir)}
	n.create("one")
	says := func(status int, text string) {
		t.Helper()
		require.Eventually(t, func() bool {
			resp, body := n.ask(http.MethodGet, healthPath, "")
			return resp.StatusCode == status && strings.Contains(body, text)
		}, patience, 50*time.Millisecond, text)
	}
	says(http.StatusOK, `{"status":"ok"}`)
	server.Kill()
	says(http.StatusServiceUnavailable, `{"status":"reads are late","since":"`)
	resp, _ := n.ask(http.MethodPost, endpoints+"create", `{"name":"two","statusType":"busy"}`)
	require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
	says(http.StatusServiceUnavailable, `{"status":"writes fail","since":"`)
	resp, _ = n.ask(http.MethodGet, livePath, "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	resp, body := n.ask(http.MethodGet, endpoints+"list", "")
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Contains(t, body, `"total":1`)
	server.Restart()
	says(http.StatusOK, `{"status":"ok"}`) // without a write
	n.create("three")
}

// A server that starts while the database is away waits for it, ends when it is told to
// meanwhile, and waits for nothing that will not change.
func TestStartWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	const waiting, listening = `msg="the store can't be reached, trying again"`, "msg=listening"
	server, dsn := onPostgres(t)
	server.Stop()
	dir := t.TempDir()
	start := func(dsn, timeout string) (*serverLog, context.CancelFunc, chan int) {
		ctx, cancel := context.WithCancel(t.Context())
		log, ended := newLog(waiting, listening), make(chan int, 1)
		args := []string{"--store", dsn, "--tokens", filepath.Join(dir, "x.tokens"), "--addr", "127.0.0.1:0", "--store-timeout", timeout}
		go func() { ended <- run(ctx, args, nil, io.Discard, log, noEnv) }()
		return log, cancel, ended
	}
	log, _, ended := start(dsn, "0s")
	require.Equal(t, exitFailure, <-ended)
	require.NotContains(t, log.String(), waiting)
	log, _, ended = start(dsn, "500ms")
	require.Equal(t, exitFailure, <-ended)
	require.Contains(t, log.String(), "gave up after ")

	given, giveUp, gone := start(dsn, "1h")
	<-given.said[waiting]
	giveUp()
	require.Equal(t, exitOK, <-gone, given)
	require.Contains(t, given.String(), `msg="stopped before listening"`)

	log, cancel, ended := start(dsn, "1h")
	<-log.said[waiting]
	server.Restart()
	<-log.said[listening]
	cancel()
	require.Equal(t, exitOK, <-ended, log)

	u, err := url.Parse(dsn)
	require.NoError(t, err)
	u.Path = "/nowhere"
	log, _, ended = start(u.String(), "1h")
	require.Equal(t, exitFailure, <-ended, log)
	require.Contains(t, log.String(), `database "nowhere" does not exist`)
}

// A catalog moves into PostgreSQL in several commits, and back.
func TestCopyToPostgres(t *testing.T) {
	t.Parallel()
	_, dsn := onPostgres(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "many.jsonl")
	var lines strings.Builder
	const many = 20_500 // one commit takes 20,000
	for i := range many {
		fmt.Fprintf(&lines, `{"_id":"id%d","name":"name %05d","statusType":"away","_updatedAt":"2023-11-04T11:51:28.%03dZ","metadataBase64":"/w=="}`+"\n", i, i, i%1000)
	}
	require.NoError(t, os.WriteFile(file, []byte(lines.String()), 0o600))
	from, back := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	command(t, exitOK, "import", "--db", from, file)

	out, errs := command(t, exitOK, "copy", "--from", "bolt:"+from, "--to", dsn)
	require.Contains(t, errs, "the copy is too large for one commit, so up to 2 commits follow")
	require.Contains(t, out, "copied 20500 in 2 commits, already there 0\nverified: 20500 statuses with the fingerprint ")
	out, _ = command(t, exitOK, "copy", "--from", "bolt:"+from, "--to", dsn)
	require.Contains(t, out, "copied 0 in 0 commits, already there 20500\n")
	command(t, exitOK, "copy", "--from", dsn, "--to", "bolt:"+back)
	first, _ := command(t, exitOK, "export", "--db", from)
	again, _ := command(t, exitOK, "export", "--db", back)
	require.Equal(t, first, again)
	direct, _ := command(t, exitOK, "export", "--store", dsn)
	require.Equal(t, first, direct)

	// A copy that was cut off is resumed, though what is there is more than one commit takes.
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	part := filepath.Join(dir, "part.jsonl")
	require.NoError(t, os.WriteFile(part, []byte(strings.Join(strings.SplitAfter(lines.String(), "\n")[:20_100], "")), 0o600))
	command(t, exitOK, "import", "--store", dsn+separator+"catalog=part", part)
	out, _ = command(t, exitOK, "copy", "--from", "bolt:"+from, "--to", dsn+separator+"catalog=part")
	require.Contains(t, out, "copied 400 in 1 commit, already there 20100\nverified: 20500 statuses with the fingerprint ")
	out, _ = command(t, exitOK, "check", "--store", dsn)
	require.Contains(t, out, ": ok, statuses 20500, revision ")
}

// Commands that read make nothing in the store of a misspelt name.
func TestReadersMakeNothing(t *testing.T) {
	t.Parallel()
	_, dsn := onPostgres(t)
	dir := t.TempDir()
	file, to := filepath.Join(dir, "one.jsonl"), "bolt:"+filepath.Join(dir, "to.db")
	require.NoError(t, os.WriteFile(file, []byte(`{"name":"one","statusType":"away"}`), 0o600))
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	fail := func(at, says string) {
		t.Helper()
		for _, args := range [][]string{{"export", "--store", at}, {"check", "--store", at}, {"copy", "--from", at, "--to", to}} {
			out, errs := command(t, exitFailure, args...)
			require.Contains(t, errs, says, args)
			require.Empty(t, out)
		}
		out, _ := command(t, exitOK, "import", "--dry-run", "--store", at, file)
		require.Equal(t, "would import 1, update 0, skip 0, refuse 0, already there 0\n", out)
		_, errs := command(t, exitFailure, "export", "--store", at)
		require.Contains(t, errs, says, "the dry run made it")
	}
	fail(dsn, `there is no such catalog: "default" in the schema "customstatus"`)
	command(t, exitOK, "import", "--store", dsn, file)
	fail(dsn+separator+"catalog=x", `there is no such catalog: "x" in the schema "customstatus"`)
	fail(dsn+separator+"schema=x", `there is no such catalog: "default" in the schema "x"`)
	out, _ := command(t, exitOK, "copy", "--from", dsn, "--to", dsn+separator+"catalog=x")
	require.Contains(t, out, "copied 1 in 1 commit, ")
}

func TestCopyExactToPostgres(t *testing.T) {
	t.Parallel()
	server, _ := onPostgres(t)
	dsn := server.DSN(server.NewDatabase())
	separator := "?"
	if strings.Contains(dsn, "?") {
		separator = "&"
	}
	copyExact(t, func(name string) string { return dsn + separator + "catalog=" + name })
}

// A shared store is a destination like a file.
func TestImportFromIntoPostgres(t *testing.T) {
	_, dsn := onPostgres(t)
	server := &rocketChat{statuses: []map[string]any{rocketStatus("a", "a", "busy", "2023-11-04T11:51:28.353Z")}}
	srv := httptest.NewServer(server)
	defer srv.Close()
	from := []string{"--store", dsn, "--from", srv.URL, "--user-id", fromUser, "--on-conflict", "update"}
	out, _ := fromCommand(t, exitOK, fromToken, from...)
	require.Equal(t, "imported 1, updated 0, already there 0\n", out)
	server.set()
	out, _ = fromCommand(t, exitOK, fromToken, from...)
	require.Contains(t, out, `status "a", named "a": gone there`)
	require.Contains(t, cli(t, "export", "--store", dsn), `"_id":"a"`)
}
