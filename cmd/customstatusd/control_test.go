package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// serveControl serves a database on a control socket and returns a client.
func serveControl(t *testing.T, db database, reload func() error) *servedDatabase {
	t.Helper()
	client, _ := controlServer(t, db, reload)
	return client
}

// controlServer is serveControl, and also returns the server.
func controlServer(t *testing.T, db database, reload func() error) (*servedDatabase, *http.Server) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db.sock")
	ln, err := listenControl(t.Context(), path)
	require.NoError(t, err)
	srv := &http.Server{Handler: controlHandler(db, reload, slog.New(slog.DiscardHandler))}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	client, err := dialControl(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { client.close() })
	return client, srv
}

func noParts(importParts) {}

// openTemp opens a new database, which is closed at the end of the test.
func openTemp(t *testing.T) *localDatabase {
	t.Helper()
	db, err := openLocal(t.Context(), at(filepath.Join(t.TempDir(), "x.db")), true, customstatus.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.close()) })
	return db
}

// A process that has opened the file and one that asks the server get the same
// results.
func TestDatabases(t *testing.T) {
	const one = `{"_id":"a","name":"b","statusType":"busy","_updatedAt":"2021-09-26T14:03:43.057Z"}` + "\n"
	kinds := map[string]func(*testing.T) (database, *localDatabase){
		"local": func(t *testing.T) (database, *localDatabase) {
			db := openTemp(t)
			return db, db
		},
		"served": func(t *testing.T) (database, *localDatabase) {
			db := openTemp(t)
			return serveControl(t, db, nil), db
		},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			db, local := kind(t)
			ctx := t.Context()
			result, err := db.importFrom(ctx, strings.NewReader(one), importOptions{}, noParts)
			require.NoError(t, err)
			require.Equal(t, importResult{Read: 1, Added: 1, Commits: 1}, result)
			result, err = db.importFrom(ctx, strings.NewReader(one+one[:20]), importOptions{}, noParts)
			require.NoError(t, err)
			require.Equal(t, 2, result.Read)
			require.Len(t, result.Bad.Values, 1)
			require.Equal(t, "line 2 (value 2)", result.Bad.Values[0].Where)
			result, err = db.importFrom(ctx, strings.NewReader("\xff\xfe{"), importOptions{}, noParts)
			require.NoError(t, err)
			require.Contains(t, result.Bad.Values[0].Reason, "UTF-16")

			var out bytes.Buffer
			require.NoError(t, db.export(ctx, &out, formatLines))
			require.Equal(t, one, out.String())
			copied := filepath.Join(t.TempDir(), "copy.db")
			require.NoError(t, writeFile(copied, false, func(w io.Writer) error { return db.backup(ctx, w) }))
			require.Equal(t, map[string]bool{"b": true}, stored(t, copied))

			require.NoError(t, local.close())
			require.ErrorContains(t, db.export(ctx, io.Discard, formatLines), customstatus.ErrClosed.Error())
			require.ErrorContains(t, db.backup(ctx, io.Discard), customstatus.ErrClosed.Error())
			_, err = db.importFrom(ctx, strings.NewReader(one), importOptions{}, noParts)
			require.ErrorContains(t, err, customstatus.ErrClosed.Error())
		})
	}
}

// The log of the server counts all commits of an import, also those that update.
func TestLogOfAnImport(t *testing.T) {
	db := openTemp(t)
	log := newLog()
	handler := controlHandler(db, nil, slog.New(slog.NewTextHandler(log, nil)))
	for _, tt := range []struct{ source, says string }{
		{`{"_id":"a","name":"a","statusType":"busy"}{"_id":"b","name":"b","statusType":"busy"}`, "added=2 updated=0"},
		{`{"_id":"a","name":"c","statusType":"away"}{"_id":"b","name":"d","statusType":"away"}{"_id":"e","name":"e","statusType":"away"}`, "added=1 updated=2"},
		{`{"_id":"a","name":"f","statusType":"away"}`, "added=0 updated=1"},
		{`{"_id":"a","name":"f","statusType":"away"}`, "added=0 updated=0"},
	} {
		before := db.catalog.Revision()
		path := "/import?" + importOptions{onConflict: conflictUpdates}.query()
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, strings.NewReader(tt.source)))
		made := db.catalog.Revision() - before
		require.Contains(t, log.String(), fmt.Sprintf("path=/import %s commits=%d\n", tt.says, made))
	}
}

// An import whose sender goes away imports nothing.
func TestImportCutShort(t *testing.T) {
	db := openTemp(t)
	client := serveControl(t, db, nil)
	gone := errors.New("gone")
	r, w := io.Pipe()
	go func() {
		io.WriteString(w, `{"name":"a","statusType":"busy"}`+"\n")
		w.CloseWithError(gone)
	}()
	_, err := client.importFrom(t.Context(), r, importOptions{}, noParts)
	require.Equal(t, gone, err, "it is not the server's")
	require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	require.Zero(t, db.catalog.Revision())
}

// lostDatabase imports, and the result gets lost on the way.
type lostDatabase struct {
	*localDatabase
	err error
}

func (db lostDatabase) importFrom(_ context.Context, r io.Reader, _ importOptions, _ func(importParts)) (importResult, error) {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return importResult{}, err
	}
	if db.err == nil {
		panic(http.ErrAbortHandler)
	}
	return importResult{}, db.err
}

func (lostDatabase) state(context.Context) error { return nil }

// Without the result of an import, a client does not say that nothing was imported.
func TestImportOutcomeUnknown(t *testing.T) {
	for name, err := range map[string]error{
		"no answer":       nil,
		"a commit unsure": fmt.Errorf("%w: input/output error", customstatus.ErrOutcomeUnknown),
	} {
		t.Run(name, func(t *testing.T) {
			client := serveControl(t, lostDatabase{err: err}, nil)
			_, err := client.importFrom(t.Context(), strings.NewReader("{}\n"), importOptions{}, noParts)
			require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
			require.ErrorContains(t, importFailed(importResult{}, err), "it is unknown whether anything was imported")
		})
	}
	client := serveControl(t, lostDatabase{err: errors.New("disk full")}, nil)
	_, err := client.importFrom(t.Context(), strings.NewReader("{}\n"), importOptions{}, noParts)
	require.EqualError(t, importFailed(importResult{}, err), "nothing was imported: the server that holds the file: disk full")
}

// idleInput returns a reader that has the text and then blocks for as long as a test
// has patience.
func idleInput(t *testing.T, text string) io.Reader {
	r, w := io.Pipe()
	go io.WriteString(w, text)
	late := time.AfterFunc(time.Minute, func() { w.CloseWithError(errors.New("waited for more input")) })
	t.Cleanup(func() {
		late.Stop()
		w.Close()
	})
	return r
}

// An import doesn't wait for more input when the server has gone.
func TestImportServerGone(t *testing.T) {
	near, far := net.Pipe()
	client := &servedDatabase{dial: func(context.Context) (net.Conn, error) { return near, nil }}
	const line = `{"name":"a","statusType":"busy"}`
	go func() {
		got := bufio.NewScanner(far)
		for got.Scan() && got.Text() != line {
		}
		far.Close()
	}()
	_, err := client.importFrom(t.Context(), idleInput(t, line), importOptions{}, noParts)
	require.EqualError(t, err, "the server that holds the file: it has ended the connection")
	require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
}

// An import doesn't wait for more input when the server has answered.
func TestImportAnsweredEarly(t *testing.T) {
	client := serveControl(t, openTemp(t), nil)
	result, err := client.importFrom(t.Context(), idleInput(t, "\xff\xfe{"), importOptions{}, noParts)
	require.NoError(t, err)
	require.Contains(t, result.Bad.Values[0].Reason, "UTF-16")
}

// An incomplete answer counts as no answer.
func TestImportAnswerCut(t *testing.T) {
	for name, answer := range map[string]struct {
		status int
		body   string
	}{
		"of a success": {http.StatusOK, `{"result":{"read":1,`},
		"of an error":  {http.StatusInternalServerError, `{"error":"input/output error","outcomeUnk`},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(answer.status)
				io.WriteString(w, answer.body)
			}))
			defer srv.Close()
			client := &servedDatabase{dial: func(ctx context.Context) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", srv.Listener.Addr().String())
			}}
			_, err := client.importFrom(t.Context(), strings.NewReader("{}\n"), importOptions{}, noParts)
			require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
		})
	}
}

// A request that reaches no server has done nothing.
func TestImportReachesNobody(t *testing.T) {
	client := &servedDatabase{dial: func(context.Context) (net.Conn, error) { return nil, os.ErrNotExist }}
	_, err := client.importFrom(t.Context(), strings.NewReader("{}\n"), importOptions{}, noParts)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown)
}

// cutDatabase fails when half of the answer is written.
type cutDatabase struct{ *localDatabase }

func (cutDatabase) export(_ context.Context, w io.Writer, _ string) error {
	_, err := io.WriteString(w, "half")
	return errors.Join(err, errors.New("disk on fire"))
}

// Half an export is an error and not a short export.
func TestExportCutShort(t *testing.T) {
	client := serveControl(t, cutDatabase{openTemp(t)}, nil)
	require.Error(t, client.export(t.Context(), io.Discard, formatLines))
}

// waitingDatabase exports nothing until the client has gone.
type waitingDatabase struct{ *localDatabase }

func (waitingDatabase) export(ctx context.Context, _ io.Writer, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// An interrupted command is not an error of the server.
func TestControlInterrupted(t *testing.T) {
	for name, gone := range map[string]bool{"level=INFO": true, "level=ERROR": false} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var db database = cutDatabase{openTemp(t)}
		if gone {
			cancel()
			db = waitingDatabase{}
		}
		var out bytes.Buffer
		func() {
			defer func() { recover() }()
			controlHandler(db, nil, slog.New(slog.NewTextHandler(&out, nil))).
				ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/export/jsonl", nil))
		}()
		require.Contains(t, out.String(), name)
	}
}

func TestControlReload(t *testing.T) {
	var err error
	client := serveControl(t, cutDatabase{openTemp(t)}, func() error { return err })
	require.NoError(t, client.reload(t.Context()))
	err = errors.New("no such tokens")
	require.ErrorContains(t, client.reload(t.Context()), "no such tokens")
	_, err = client.do(t.Context(), http.MethodGet, "/nothing", nil)
	require.ErrorContains(t, err, "404")
}

func TestControlSocket(t *testing.T) {
	serveOn := func(t *testing.T, path string) {
		t.Helper()
		ln, err := listenControl(t.Context(), path)
		require.NoError(t, err)
		defer ln.Close()
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		srv := &http.Server{Handler: controlHandler(openTemp(t), nil, slog.New(slog.DiscardHandler))}
		go srv.Serve(ln)
		defer srv.Close()
		client, err := dialControl(t.Context(), path)
		require.NoError(t, err)
		require.NoError(t, client.close())
	}
	t.Run("in place of one that a crash left", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.db.sock")
		left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		require.NoError(t, err)
		left.SetUnlinkOnClose(false)
		require.NoError(t, left.Close())
		_, err = dialControl(t.Context(), path)
		require.Error(t, err)
		serveOn(t, path)
		require.Equal(t, []string{"x.db.sock"}, names(t, dir))
	})
	t.Run("with a path that is too long for a socket", func(t *testing.T) {
		if _, err := os.Stat("/proc/self/fd"); err != nil {
			t.Skip("there is no /proc/self/fd")
		}
		dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
		require.NoError(t, os.Mkdir(dir, 0o700))
		serveOn(t, filepath.Join(dir, "x.db.sock"))
		require.Equal(t, []string{"x.db.sock"}, names(t, dir))
	})
	t.Run("with a name that is too long for a socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), strings.Repeat("x", 230)+".db.sock")
		if runtime.GOOS != "linux" {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			_, err := dialControl(t.Context(), path)
			require.ErrorContains(t, err, "longer than 103 bytes")
			return
		}
		serveOn(t, path)
	})
	t.Run("with a name that stands for no file elsewhere", func(t *testing.T) {
		t.Chdir(t.TempDir())
		serveOn(t, "@x.db.sock")
		require.FileExists(t, "@x.db.sock")
	})
	t.Run("not in place of what is no socket", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.db.sock")
		require.NoError(t, os.WriteFile(path, []byte("mine"), 0o600))
		_, err := listenControl(t.Context(), path)
		require.ErrorContains(t, err, "x.db.sock is in the way: it is not a socket")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, "mine", string(text))
		require.Equal(t, []string{"x.db.sock"}, names(t, filepath.Dir(path)))
	})
	t.Run("and removes no other one", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.db.sock")
		first, err := listenControl(t.Context(), path)
		require.NoError(t, err)
		_, err = listenControl(t.Context(), path)
		require.ErrorIs(t, err, errOtherServer)
		require.NoError(t, first.Close())
		second, err := listenControl(t.Context(), path)
		require.NoError(t, err)
		defer second.Close()
		require.NoError(t, first.remove())
		_, err = os.Lstat(path)
		require.NoError(t, err)
		require.NoError(t, second.remove())
		require.NoFileExists(t, path)
		require.NoError(t, second.remove())
		for i := range 100 { // one of the files gets the inode of the socket, on most file systems
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, second.remove())
			require.NoError(t, os.Rename(path, fmt.Sprint(path, i)))
		}
	})
	t.Run("in no directory", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), strings.Repeat("none", 40), "x.db.sock")
		_, err := listenControl(t.Context(), path)
		require.ErrorIs(t, err, os.ErrNotExist)
		_, err = dialControl(t.Context(), path)
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}

// A server serves although another file is in the place of its socket, and leaves
// that file alone.
func TestNoControlSocket(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "customstatus.db.sock")
	require.NoError(t, os.WriteFile(taken, nil, 0o600))
	s := launch(t, dir, "first")
	require.Contains(t, s.log.text(), `level=WARN msg="no control socket`)
	answered, err := create(http.DefaultClient, s.addr, login(t, dir), "x")
	require.NoError(t, err)
	require.True(t, answered)
	require.NoError(t, s.cmd.Process.Signal(os.Interrupt))
	code, err := s.wait()
	require.NoError(t, err)
	require.Equal(t, exitOK, code, s.log.text())
	require.FileExists(t, taken)
}

// An import that has nothing to write fails, too, where the file of the server is gone.
func TestImportWithoutTheFile(t *testing.T) {
	local := openTemp(t)
	const one = `{"_id":"a","name":"b","statusType":"busy","_updatedAt":"2021-09-26T14:03:43.057Z"}` + "\n"
	db := serveControl(t, local, nil)
	for _, opts := range []importOptions{{onConflict: conflictFails}, {onConflict: conflictFails, dryRun: true}, {onConflict: conflictSkips}} {
		_, err := db.importFrom(t.Context(), strings.NewReader(one), opts, noParts)
		require.NoError(t, err)
	}
	require.NoError(t, os.Rename(local.path, local.path+".old"))
	for _, opts := range []importOptions{{onConflict: conflictFails}, {onConflict: conflictFails, dryRun: true}, {onConflict: conflictSkips}} {
		_, err := db.importFrom(t.Context(), strings.NewReader(one), opts, noParts)
		require.ErrorContains(t, err, "the server that holds the file: ", "%+v", opts)
	}
	require.NoError(t, os.Rename(local.path+".old", local.path))
}

// A server that hangs takes connections and ends all commands.
func TestControlOfAServerThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db.sock")
	ln, err := listenControl(t.Context(), path)
	require.NoError(t, err)
	defer ln.Close()
	_, err = dialPatiently(t.Context(), path, 50*time.Millisecond)
	require.EqualError(t, err, "the server that holds the file: it has not answered for 50ms")
	require.ErrorAs(t, err, new(*silent))
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, tellServer(short, fileAt(databasePath(path))), "the server was not told")
	client := &servedDatabase{func(ctx context.Context) (net.Conn, error) { return connect(ctx, path) }, 50 * time.Millisecond}
	for _, ask := range []func(context.Context) error{client.state, client.reload} {
		require.EqualError(t, ask(t.Context()), "the server that holds the file: it has not answered for 50ms")
	}
}
