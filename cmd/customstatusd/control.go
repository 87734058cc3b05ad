package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/customstatus/customstatus"
)

// Only one process can hold the database file. So the server exports, backs up and
// imports for other processes of the same owner, over HTTP on a unix socket beside
// the file. Only the owner may connect to the socket.

// controlPath returns the path of the control socket for the database at path.
func controlPath(path string) string { return path + ".sock" }

// maxSocketPath is the greatest length in bytes of a socket's path that every
// system accepts (macOS: 104 with the terminating zero).
const maxSocketPath = 103

// shortSocketPath returns a name for path that fits into a socket's address. The
// name may go through an open directory, which done closes.
func shortSocketPath(path string) (short string, done func(), err error) {
	done = func() {}
	if strings.HasPrefix(path, "@") {
		path = "./" + path // an @ in front would mean an abstract socket
	}
	if len(path) <= maxSocketPath {
		return path, done, nil
	}
	directory, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", done, err
	}
	short = fmt.Sprintf("/proc/self/fd/%d/%s", directory.Fd(), filepath.Base(path))
	if _, err := os.Stat(filepath.Dir(short)); err != nil || len(short) > maxSocketPath {
		directory.Close()
		return "", done, fmt.Errorf("the path of the control socket is longer than %d bytes: %s", maxSocketPath, path)
	}
	return short, func() { directory.Close() }, nil
}

// controlListener listens on a control socket.
type controlListener struct {
	net.Listener
	path string
	made os.FileInfo // the socket
}

// listenControl listens on the control socket at path. The caller holds the
// file that the socket belongs to, so a socket that is there is left from a
// crash; what is no socket is left alone. The socket comes to its place by a
// rename, when nobody but the owner can use it.
func listenControl(path string) (*controlListener, error) {
	if there, err := os.Lstat(path); err == nil && there.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is in the way: it is not a socket", path)
	}
	temp, err := os.MkdirTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	born := filepath.Join(temp, "s")
	short, done, err := shortSocketPath(born)
	if err != nil {
		return nil, err
	}
	defer done()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false)
	err = os.Chmod(born, 0o600)
	var made os.FileInfo
	if err == nil {
		made, err = os.Lstat(born)
	}
	if err == nil {
		err = os.Rename(born, path)
	}
	if err != nil {
		return nil, errors.Join(err, ln.Close())
	}
	return &controlListener{ln, path, made}, nil
}

// remove removes the socket, unless something else has taken its place.
func (l *controlListener) remove() error {
	there, err := os.Lstat(l.path)
	if err == nil && os.SameFile(there, l.made) {
		err = os.Remove(l.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// controlHandler answers on the control socket for the database. Its reload request
// calls reload.
func controlHandler(db database, reload func() error, log *slog.Logger) http.Handler {
	failed := func(r *http.Request, bytes int64, err error) {
		level := slog.LevelError
		if r.Context().Err() != nil { // the other process has gone, or the server has stopped waiting
			level = slog.LevelInfo
		}
		log.Log(r.Context(), level, "control", "path", r.URL.Path, "bytes", bytes, "error", err)
	}
	fail := func(w http.ResponseWriter, r *http.Request, err error) {
		failed(r, 0, err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(w).Encode(newControlError(err)) // fails only if the client has gone
	}
	stream := func(write func(context.Context, io.Writer) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			counted := &countingWriter{w: w}
			err := write(r.Context(), counted)
			switch {
			case err == nil:
				log.Info("control", "path", r.URL.Path, "bytes", counted.n)
			case counted.n == 0:
				fail(w, r, err)
			default:
				// Part of the answer is sent: cut the connection, so that the client
				// does not take it for the whole.
				failed(r, counted.n, err)
				panic(http.ErrAbortHandler)
			}
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /export", stream(db.export))
	mux.Handle("GET /backup", stream(db.backup))
	mux.HandleFunc("POST /import", func(w http.ResponseWriter, r *http.Request) {
		begun := false
		report := func(report importReport) {
			if !begun {
				w.Header().Set("Content-Type", "application/x-ndjson")
			}
			begun = true
			// An error means that the other process has gone; r's context ends then.
			_ = json.NewEncoder(w).Encode(report)
			_ = http.NewResponseController(w).Flush()
		}
		result, err := db.importFrom(r.Context(), r.Body, func(parts importParts) { report(importReport{Parts: &parts}) })
		if err != nil && !begun {
			fail(w, r, err)
			return
		}
		last := importReport{Result: &result}
		if err != nil {
			failed(r, 0, err)
			last.Failed = newControlError(err)
		}
		log.Info("control", "path", r.URL.Path, "added", result.Added, "commits", result.Commits)
		report(last)
	})
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
		if err := reload(); err != nil {
			fail(w, r, err)
			return
		}
		log.Info("control", "path", r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// controlError is the answer to a request that failed.
type controlError struct {
	Error          string `json:"error"`
	OutcomeUnknown bool   `json:"outcomeUnknown,omitempty"`
}

func newControlError(err error) *controlError {
	return &controlError{err.Error(), errors.Is(err, customstatus.ErrOutcomeUnknown)}
}

// error returns the answer as the error of a request.
func (e *controlError) error() error {
	if e.OutcomeUnknown {
		return &unanswered{errors.New(e.Error)}
	}
	return fmt.Errorf("the server that holds the file: %s", e.Error)
}

// importReport is one line of the answer to an import: its progress, and in the last
// line its result.
type importReport struct {
	Parts  *importParts  `json:"parts,omitempty"`
	Result *importResult `json:"result,omitempty"`
	Failed *controlError `json:"failed,omitempty"`
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// servedDatabase is a database that a server holds.
type servedDatabase struct {
	dial func(context.Context) (net.Conn, error)
}

// dialControl returns the database of the server that listens on the control
// socket at path, or an error if there is none.
func dialControl(ctx context.Context, path string) (*servedDatabase, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		short, done, err := shortSocketPath(path)
		if err != nil {
			return nil, err
		}
		defer done()
		return new(net.Dialer).DialContext(ctx, "unix", short)
	}
	probe, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	probe.Close()
	return &servedDatabase{dial}, nil
}

func (db *servedDatabase) close() error { return nil }

// do sends a request to the server, with the body unless it is nil. The caller
// closes the body of the answer.
func (db *servedDatabase) do(ctx context.Context, method, path string, body *upload) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://customstatusd"+path, nil)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Body, req.ContentLength = body, -1
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // otherwise the server waits for the rest of the body before it answers
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := db.dial(ctx)
			if err != nil || body == nil {
				return conn, err
			}
			return &uploadConn{conn, body}, nil
		},
	}}
	resp, err := client.Do(req)
	if err != nil {
		// The made-up address and the socket would only confuse the reader.
		if request := (*url.Error)(nil); errors.As(err, &request) {
			err = request.Err
		}
		if socket := (*net.OpError)(nil); errors.As(err, &socket) {
			err = socket.Err
		}
		return nil, &unanswered{err}
	}
	if resp.StatusCode >= 300 {
		defer resp.Body.Close()
		text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		var said controlError
		if err != nil || json.Unmarshal(text, &said) != nil || said.Error == "" {
			return nil, &unanswered{fmt.Errorf("%s %s", resp.Status, strings.TrimSpace(string(text)))}
		}
		return nil, said.error()
	}
	return resp.Body, nil
}

// upload is the body of a request. Its next bytes may be long in coming, for example
// from a person.
type upload struct {
	*io.PipeReader
	in    *io.PipeWriter
	whole atomic.Bool // the upload has been read to its end
}

// newUpload returns an upload of the content of r. A pending read of r continues
// after the upload has ended.
func newUpload(r io.Reader) *upload {
	// Closing a pipe ends a read from it. Closing a terminal may not.
	out, in := io.Pipe()
	go func() {
		_, err := io.Copy(in, r)
		if err != nil {
			err = &inputError{err}
		}
		in.CloseWithError(err)
	}()
	return &upload{PipeReader: out, in: in}
}

// inputError is an error of the reader that an upload reads.
type inputError struct{ err error }

func (e *inputError) Error() string { return e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.PipeReader.Read(p)
	if err == io.EOF {
		u.whole.Store(true)
	}
	return n, err
}

// uploadConn ends the upload when the server has gone. The client of net/http
// notices that too, but still waits for the body's next bytes.
type uploadConn struct {
	net.Conn
	body *upload
}

func (c *uploadConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.body.in.CloseWithError(errors.New("it has ended the connection"))
	}
	return n, err
}

// unanswered is the error of a request without an answer, or with an answer that does
// not say what the request did.
type unanswered struct{ err error }

func (e *unanswered) Error() string { return "the server that holds the file: " + e.err.Error() }
func (e *unanswered) Unwrap() error { return e.err }

func (db *servedDatabase) copyTo(ctx context.Context, w io.Writer, path string) error {
	body, err := db.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(w, body)
	return err
}

func (db *servedDatabase) export(ctx context.Context, w io.Writer) error {
	return db.copyTo(ctx, w, "/export")
}

func (db *servedDatabase) backup(ctx context.Context, w io.Writer) error {
	return db.copyTo(ctx, w, "/backup")
}

func (db *servedDatabase) importFrom(ctx context.Context, r io.Reader, said func(importParts)) (importResult, error) {
	sent := newUpload(r)
	body, err := db.do(ctx, http.MethodPost, "/import", sent)
	var result importResult
	if err == nil {
		result, err = readReports(body, said)
		_ = body.Close() // the result has been read
	}
	if input := (*inputError)(nil); errors.As(err, &input) {
		return result, input.err
	}
	// The server imports nothing of an upload that was cut off.
	if lost := (*unanswered)(nil); errors.As(err, &lost) && sent.whole.Load() {
		err = fmt.Errorf("%w: %w", customstatus.ErrOutcomeUnknown, err)
	}
	return result, err
}

// readReports reads the answer to an import. If the end of the answer is missing, the
// result is that of the last report.
func readReports(r io.Reader, said func(importParts)) (importResult, error) {
	var result importResult
	for lines := json.NewDecoder(r); ; {
		var report importReport
		if err := lines.Decode(&report); err != nil {
			return result, &unanswered{fmt.Errorf("its answer was cut off: %w", err)}
		}
		switch {
		case report.Result != nil && report.Failed != nil:
			return *report.Result, report.Failed.error()
		case report.Result != nil:
			return *report.Result, nil
		case report.Parts != nil:
			result.Added, result.Commits = report.Parts.Added, report.Parts.Commits
			said(*report.Parts)
		}
	}
}

// reload makes the server read its tokens again.
func (db *servedDatabase) reload(ctx context.Context) error {
	body, err := db.do(ctx, http.MethodPost, "/reload", nil)
	if err != nil {
		return err
	}
	return body.Close()
}
