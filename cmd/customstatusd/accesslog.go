package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// requestIDHeader is the header whose value the log repeats.
const requestIDHeader = "X-Request-Id"

// maxLogged is the greatest number of bytes of a client's text in a log line.
const maxLogged = 256

// request holds what the log line of a request shows beyond the request itself.
type request struct {
	userID string // of the caller, once authenticated
}

type requestKey struct{}

// noteUser puts the authenticated caller's user id in the request's log line.
func noteUser(ctx context.Context, userID string) {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		r.userID = userID
	}
}

// logRequests logs every request that h answers. It logs no headers, bodies and
// queries, which may contain credentials.
func logRequests(log *slog.Logger, clientAddr func(*http.Request) string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		noted := new(request)
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		finished := false
		defer func() {
			level := slog.LevelInfo
			switch {
			case finished && r.Context().Err() != nil: // the client has gone; a failure of the server is logged where it happened
			case !finished || rec.status >= http.StatusInternalServerError:
				level = slog.LevelError
			case r.URL.Path == healthPath:
				level = slog.LevelDebug
			}
			attrs := []slog.Attr{
				slog.String("request_id", w.Header().Get(requestIDHeader)),
				slog.String("method", clip(r.Method)),
				slog.String("path", clip(r.URL.Path)),
				slog.Int("status", rec.status),
				slog.Float64("duration_ms", float64(time.Since(start).Microseconds())/1000),
				slog.Int64("bytes", rec.written),
				slog.String("user_id", noted.userID),
				slog.String("remote", clip(clientAddr(r))),
			}
			if !finished {
				attrs = append(attrs, slog.Bool("aborted", true))
			}
			log.LogAttrs(r.Context(), level, "request", attrs...)
		}()
		h.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), requestKey{}, noted)))
		finished = true
	})
}

func clip(s string) string {
	if len(s) > maxLogged {
		return s[:maxLogged] + "…"
	}
	return s
}

// recorder records the status and the length of an answer.
type recorder struct {
	http.ResponseWriter
	status  int
	decided bool
	written int64
}

func (r *recorder) WriteHeader(status int) {
	if !r.decided && (status < 100 || status > 199) {
		r.status, r.decided = status, true
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.decided = true
	n, err := r.ResponseWriter.Write(b)
	r.written += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Flush is for handlers that ask for an http.Flusher.
func (r *recorder) Flush() { http.NewResponseController(r.ResponseWriter).Flush() }
