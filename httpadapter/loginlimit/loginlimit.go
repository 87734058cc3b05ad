// Package loginlimit slows down clients that fail to log in again and again. It wraps
// any handler that answers a failed login with 401.
//
//	handler := loginlimit.New(api, nil)
package loginlimit

import (
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/customstatus/customstatus/internal/strictjson"
)

// DefaultFailures is the default of [Options.Failures]. People and programs with stale
// tokens cause far fewer failures, even many of them behind one address.
const DefaultFailures = 60

const (
	window = time.Minute
	delay  = time.Second
	// maxAddrs bounds the memory for failures: twice as many addresses of about
	// 100 bytes.
	maxAddrs = 4096
	// maxDelayed bounds the requests that wait for a delayed answer, and so their
	// memory: about 20 KB each. No address has more than maxDelayedOfOne, so that one
	// address can't have the connections of all others cut.
	maxDelayed      = 4096
	maxDelayedOfOne = 1024
)

// Options configures [New]. Nil and the zero value are the defaults.
type Options struct {
	// Failures is the number of failed logins in the last one to two minutes that
	// are answered without delay. Failures are counted for each IPv4 address and
	// each IPv6 /64 network. 0 is [DefaultFailures]; a negative number is no
	// limit.
	Failures int

	// ClientAddr returns the address of the client. Nil takes the connection's
	// address, which behind a proxy is the proxy's own. Behind a proxy, return
	// the address that the proxy reports, never one that a client can put in a
	// header.
	ClientAddr func(*http.Request) string

	// Logger receives a warning when an address exceeds the limit. Nil is
	// [slog.Default].
	Logger *slog.Logger
}

// New returns a handler that serves next and counts next's 401 answers by the
// client's address. An address beyond the limit gets each further 401 after a delay
// of one second. While 1,024 answers to the address or 4,096 answers in all are
// delayed, a further failed login gets no answer: the connection is cut. An HTTP/2
// connection, whose other requests may be honest, ends in order after a 429 with
// Retry-After. So guesses beyond the limit are answered late or cost a connection each.
//
// Answers other than 401 pass untouched. So valid credentials are never delayed or
// refused, and nobody can lock out others who share an address. A 401 is no failed
// login if the request's headers X-Auth-Token, Authorization and Cookie are all
// missing or empty.
//
// The limit slows repeated failures, so that they fill the log more slowly.
// It does not make short tokens safe: a token is safe by its length.
//
// New panics if next is nil. With a negative [Options.Failures] it returns next.
func New(next http.Handler, opts *Options) http.Handler {
	if next == nil {
		panic("loginlimit: New needs a handler")
	}
	if opts == nil {
		opts = &Options{}
	}
	l := &limiter{next: next, limit: opts.Failures, clientAddr: opts.ClientAddr, log: opts.Logger}
	switch {
	case l.limit < 0:
		return next
	case l.limit == 0:
		l.limit = DefaultFailures
	}
	if l.clientAddr == nil {
		l.clientAddr = connectionAddr
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	return l
}

// limiter counts failures by address, in the current window and the window before.
type limiter struct {
	next       http.Handler
	limit      int
	clientAddr func(*http.Request) string
	log        *slog.Logger

	mu       sync.Mutex
	since    time.Time // the start of the current window
	current  map[string]int
	previous map[string]int
	delayed  int            // answers
	waiting  map[string]int // delayed answers by address
}

// ServeHTTP has next answer, through a writer that sees the status first. It cuts the
// connection when next has returned, because next may recover from a panic.
func (l *limiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seen := &writer{ResponseWriter: w, limiter: l, r: r}
	l.next.ServeHTTP(seen, r)
	if seen.cut {
		panic(http.ErrAbortHandler)
	}
}

// add counts a failure and returns the number of failures in both windows.
func (l *limiter) add(addr string, now time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	age := now.Sub(l.since)
	switch {
	case l.current == nil || age >= 2*window:
		l.since, l.current, l.previous = now, make(map[string]int), nil
	case age >= window || l.current[addr] == 0 && len(l.current) == maxAddrs:
		l.since, l.current, l.previous = now, make(map[string]int), l.current
	}
	l.current[addr]++
	return l.current[addr] + l.previous[addr]
}

// acquire takes a place for a delayed answer. It returns false if none is free.
func (l *limiter) acquire(addr string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delayed == maxDelayed || l.waiting[addr] == maxDelayedOfOne {
		return false
	}
	if l.waiting == nil {
		l.waiting = make(map[string]int)
	}
	l.delayed++
	l.waiting[addr]++
	return true
}

func (l *limiter) release(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delayed--
	l.waiting[addr]--
	if l.waiting[addr] == 0 {
		delete(l.waiting, addr)
	}
}

// slowDown counts a failed login and returns when the 401 may be sent. It returns
// false, at once, if the answer must be delayed and no place is free.
func (l *limiter) slowDown(r *http.Request) bool {
	if !attempt(r) {
		return true
	}
	addr := network(l.clientAddr(r))
	failures := l.add(addr, time.Now())
	if failures <= l.limit {
		return true
	}
	if failures == l.limit+1 {
		l.log.Warn("loginlimit: too many failed logins, answers are delayed", "address", addr)
	}
	if !l.acquire(addr) {
		return false
	}
	defer l.release(addr)
	wait := time.NewTimer(delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.Context().Done():
	}
	return true
}

// attempt reports whether the request has any credentials.
func attempt(r *http.Request) bool {
	for _, name := range []string{"X-Auth-Token", "Authorization", "Cookie"} {
		for _, value := range r.Header.Values(name) { // a handler may look beyond the first
			if value != "" {
				return true
			}
		}
	}
	return false
}

// writer sees the status of an answer before the client does.
type writer struct {
	http.ResponseWriter
	limiter  *limiter
	r        *http.Request
	answered bool
	replaced bool // the handler's answer is not sent
	cut      bool // nothing is sent
}

// WriteHeader delays a 401 or refuses the connection, if the address is beyond the limit.
func (w *writer) WriteHeader(status int) {
	if w.replaced {
		return
	}
	first := !w.answered
	w.answered = w.answered || status >= http.StatusOK // 1xx comes before the answer
	if first && status == http.StatusUnauthorized && !w.limiter.slowDown(w.r) {
		w.replaced = true
		if w.r.ProtoMajor < 2 {
			w.cut = true
		} else {
			w.refuse()
		}
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// refuse answers 429 in the shape of Rocket.Chat's errors.
func (w *writer) refuse() {
	const code = "error-too-many-requests"
	body := append([]byte(nil), `{"success":false,"error":`...)
	body = strictjson.AppendString(body, "Too many failed logins, try again later ["+code+"]")
	body = append(body, `,"errorType":"`+code+`"}`...)
	header := w.Header()
	for _, name := range []string{"Www-Authenticate", "Content-Encoding", "Etag", "Last-Modified"} {
		header.Del(name) // it describes the answer that is replaced
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Retry-After", strconv.Itoa(int(delay/time.Second)))
	header.Set("Connection", "close") // HTTP/2 takes it as the order to end the connection
	w.ResponseWriter.WriteHeader(http.StatusTooManyRequests)
	_, _ = w.ResponseWriter.Write(body) // an error means that the client has gone
}

// Write passes the handler's body on, unless the answer was replaced.
func (w *writer) Write(b []byte) (int, error) {
	if w.replaced {
		return len(b), nil
	}
	w.answered = true
	return w.ResponseWriter.Write(b)
}

// FlushError and Flush serve handlers that look for one of the two, as event streams
// do.
func (w *writer) FlushError() error {
	if w.cut {
		return nil // a flush would send the beginning of an answer
	}
	w.answered = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *writer) Flush() { _ = w.FlushError() }

// Unwrap lets [http.ResponseController] reach the wrapped writer.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
