package httpadapter

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
)

// An Answer is what a handler of a test has sent.
type Answer struct {
	Method, Endpoint string
	Status           int
	Header           http.Header
	Body             string
}

// A Request is what an Answer was for.
type Request struct {
	Query, Body string // what the handler has read of the body
	Form        bool   // the body is a form
}

// Observe gets every answer of a Recorded. TestMain sets it.
var Observe = func(Request, Answer) {}

// Recorded is a Handler whose answers are observed.
type Recorded struct{ *Handler }

// ServeHTTP serves as the Handler does.
func (h Recorded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	Recording(h.Handler, h.prefix).ServeHTTP(w, r)
}

// Serve serves h where the Handler would serve itself.
func (h Recorded) Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	if handler == nil {
		handler = h
	}
	return h.Handler.Serve(ctx, listener, handler)
}

// Recording observes the answers of a handler of paths with the prefix.
func Recording(next http.Handler, prefix string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := &recorder{ResponseWriter: w}
		read := new(bytes.Buffer)
		if r.Body != nil && r.Body != http.NoBody {
			r = r.WithContext(r.Context()) // not the server's own, whose body net/http closes
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.TeeReader(r.Body, read), r.Body}
		}
		next.ServeHTTP(seen, r) // where it panics, there is no whole answer
		if seen.status != 0 && !seen.failed {
			path := cleanPath(r.URL.Path)
			form := (&exchange{r: r}).hasForm(read.Bytes())
			Observe(Request{r.URL.RawQuery, read.String(), form}, Answer{r.Method, strings.TrimPrefix(path, prefix), seen.status, seen.header, seen.body.String()})
		}
	})
}

type recorder struct {
	http.ResponseWriter
	status int
	header http.Header
	body   bytes.Buffer
	failed bool // the client has not got all
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status, w.header = status, w.Header().Clone()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.body.Write(b)
	w.failed = w.failed || err != nil && w.header.Get("Content-Type") != "text/event-stream"
	return n, err
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
