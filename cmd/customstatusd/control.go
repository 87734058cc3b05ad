package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/customstatus/customstatus"
)

// Only one process can hold the database file. So the server exports, backs up and
// imports for other processes of the same owner, over HTTP on a unix socket beside
// the file. Only the owner may connect to the socket.

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
	for _, format := range []string{formatLines, formatExtended} {
		mux.Handle("GET /export/"+format, stream(func(ctx context.Context, w io.Writer) error { return db.export(ctx, w, format) }))
	}
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
		opts, err := parseImportQuery(r.URL.RawQuery)
		if err != nil {
			fail(w, r, err)
			return
		}
		// An import that has nothing to write would not notice that the file has gone.
		if err := db.state(r.Context()); err != nil && !mustReopen(err) { // a write reopens it
			fail(w, r, err)
			return
		}
		opts.found = func(c conflict) { report(importReport{Conflict: &c}) }
		result, err := db.importFrom(r.Context(), r.Body, opts, func(parts importParts) { report(importReport{Parts: &parts}) })
		if err != nil && !begun {
			fail(w, r, err)
			return
		}
		last := importReport{Result: &result}
		if err != nil {
			failed(r, 0, err)
			last.Failed = newControlError(err)
		}
		if bad := result.Bad; bad.Len() > 0 {
			log.Warn("control: import refused", "path", r.URL.Path, "bad", bad.Len(),
				"where", bad.Values[0].Where, "reason", bad.Values[0].Reason)
		}
		if !opts.dryRun {
			log.Info("control", "path", r.URL.Path, "added", result.Added, "updated", result.Updated, "commits", result.Commits+result.UpdateCommits)
		}
		report(last)
	})
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent) // also while the disk hangs
	})
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, r *http.Request) {
		if err := db.state(r.Context()); err != nil {
			fail(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
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

// importReport is one line of the answer to an import: its progress or a conflict, and
// in the last line its result.
type importReport struct {
	Parts    *importParts  `json:"parts,omitempty"`
	Conflict *conflict     `json:"conflict,omitempty"`
	Result   *importResult `json:"result,omitempty"`
	Failed   *controlError `json:"failed,omitempty"`
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
