package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/customstatus/customstatus"
)

// servedDatabase is a database that a server holds.
type servedDatabase struct {
	dial     func(context.Context) (net.Conn, error)
	patience time.Duration // for what a server answers at once
}

const controlPatience = 30 * time.Second

// dialControl returns the database of the server that listens on the control socket
// at path, or an error if there is none, or none that answers. The error is a [*silent]
// if the server hangs: later, nobody could tell that from a long import.
func dialControl(ctx context.Context, path string) (*servedDatabase, error) {
	return dialPatiently(ctx, path, controlPatience)
}

func dialPatiently(ctx context.Context, path string, patience time.Duration) (*servedDatabase, error) {
	dial := func(ctx context.Context) (net.Conn, error) { return connect(ctx, path) }
	probe, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	probe.Close() // a server that hangs has taken it all the same
	db := &servedDatabase{dial, patience}
	if err := db.ask(ctx, http.MethodGet, "/live"); err != nil {
		return nil, err
	}
	return db, nil
}

// silent is the error of a server that hangs.
type silent struct{ patience time.Duration }

func (s *silent) Error() string { return fmt.Sprintf("it has not answered for %v", s.patience) }

func (db *servedDatabase) close() error { return nil }

// ask sends a request that the server answers at once, unless it hangs.
func (db *servedDatabase) ask(ctx context.Context, method, path string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, db.patience, &silent{db.patience})
	defer cancel()
	body, err := db.do(ctx, method, path, nil)
	if err != nil {
		return err
	}
	return body.Close()
}

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

func (db *servedDatabase) export(ctx context.Context, w io.Writer, format string) error {
	return db.copyTo(ctx, w, "/export/"+format)
}

func (db *servedDatabase) backup(ctx context.Context, w io.Writer) error {
	return db.copyTo(ctx, w, "/backup")
}

func (db *servedDatabase) importFrom(ctx context.Context, r io.Reader, opts importOptions, said func(importParts)) (importResult, error) {
	sent := newUpload(r)
	body, err := db.do(ctx, http.MethodPost, "/import?"+opts.query(), sent)
	var result importResult
	if err == nil {
		result, err = readReports(body, opts, said)
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
func readReports(r io.Reader, opts importOptions, said func(importParts)) (importResult, error) {
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
			result.Added, result.Commits, result.Updated = report.Parts.Added, report.Parts.Commits, report.Parts.Updated
			said(*report.Parts)
		case report.Conflict != nil && opts.found != nil:
			opts.found(*report.Conflict)
		}
	}
}

// state returns what keeps the server from writing to its file.
func (db *servedDatabase) state(ctx context.Context) error {
	return db.ask(ctx, http.MethodGet, "/state")
}

// reload makes the server read its tokens again.
func (db *servedDatabase) reload(ctx context.Context) error {
	return db.ask(ctx, http.MethodPost, "/reload")
}
