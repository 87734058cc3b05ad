package main

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
)

// requestIDHeader is the header whose value the log repeats.
const requestIDHeader = "X-Request-Id"

// maxLogged is the greatest number of bytes of a client's text in a log line.
const maxLogged = 256

// request holds what the log line of a request shows beyond the request itself.
type request struct {
	userID string // of the caller, once authenticated
	begin  func() (done func())
	done   func() // set once there is a caller
	// The status that was written.
	statusID, statusName string
}

type requestKey struct{}

// noteUser puts the authenticated caller's user id in the request's log line.
func noteUser(ctx context.Context, userID string) {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		r.userID = userID
		if r.done == nil {
			r.done = r.begin()
		}
	}
}

// noteStatus puts the status that the request has written in the request's log line.
func noteStatus(r *http.Request, status customstatus.CustomUserStatus) {
	if noted, ok := r.Context().Value(requestKey{}).(*request); ok {
		noted.statusID, noted.statusName = status.ID, status.Name
	}
}

// logRequests logs every request that h answers. It logs no headers, bodies and
// queries, which may contain credentials, and of paths and methods only what can't be
// a token. It calls begin when a request has a caller, and done when that request ends.
func logRequests(log *slog.Logger, clientAddr func(*http.Request) string, begin func() (done func()), h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		noted := &request{begin: begin}
		rec := &recorder{ResponseWriter: w, status: http.StatusOK}
		finished := false
		defer func() {
			if noted.done != nil {
				noted.done()
			}
			level := slog.LevelInfo
			refused := false
			if !finished {
				v := recover()
				defer panic(v)
				// The limit of failed logins cuts connections without an answer.
				refused = v == http.ErrAbortHandler && !rec.decided && noted.userID == ""
			}
			switch {
			case refused:
				rec.status = 0
			case finished && r.Context().Err() != nil: // the client has gone; a failure of the server is logged where it happened
			case !finished || rec.status >= http.StatusInternalServerError:
				level = slog.LevelError
			case r.URL.Path == healthPath:
				level = slog.LevelDebug
			}
			attrs := []slog.Attr{
				slog.String("request_id", w.Header().Get(requestIDHeader)),
				slog.String("method", loggedMethod(r.Method)),
				slog.String("path", clip(loggedPath(r.URL.Path))),
				slog.Int("status", rec.status),
				slog.Float64("duration_ms", float64(time.Since(start).Microseconds())/1000),
				slog.Int64("bytes", rec.written),
				slog.String("user_id", noted.userID),
				slog.String("remote", clip(clientAddr(r))),
			}
			if noted.statusID != "" {
				attrs = append(attrs, slog.String("status_id", clip(noted.statusID)), slog.String("status_name", clip(noted.statusName)))
			}
			if refused {
				attrs = append(attrs, slog.Bool("refused", true))
			} else if !finished {
				attrs = append(attrs, slog.Bool("aborted", true))
			}
			log.LogAttrs(r.Context(), level, "request", attrs...)
		}()
		h.ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), requestKey{}, noted)))
		finished = true
	})
}

// otherMethod stands for a method that HTTP does not define. A client can send any.
const otherMethod = "other"

func loggedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return method
	}
	return otherMethod
}

// maxSegment is the greatest length in bytes of a part of a path that is logged, unless
// the part looks like an endpoint's name. Tokens have 43.
const maxSegment = 20

// endpointLike matches the names of endpoints, and those that somebody mistyped.
var endpointLike = regexp.MustCompile(`^custom-user-status\.[a-z]{0,12}$`)

// loggedPath returns a path without the parts that could be a token.
func loggedPath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if len(segment) > maxSegment && !endpointLike.MatchString(segment) {
			segments[i] = "…"
		}
	}
	return strings.Join(segments, "/")
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

// FlushError is for http.ResponseController, which would lose the error of Flush.
func (r *recorder) FlushError() error { return http.NewResponseController(r.ResponseWriter).Flush() }

// Flush is for handlers that ask for an http.Flusher.
func (r *recorder) Flush() { _ = r.FlushError() }
