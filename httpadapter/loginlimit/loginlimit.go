// Package loginlimit slows down clients that fail to log in again and again. It
// stands in front of any handler that answers a failed login with 401.
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

// DefaultFailures is the default of [Options.Failures]. It is far beyond what
// people and programs with a stale token cause, even many of them behind one
// address.
const DefaultFailures = 60

const (
	window = time.Minute
	delay  = time.Second
	// maxAddrs bounds the memory that failures take: twice as many addresses,
	// some 100 bytes each.
	maxAddrs = 4096
	// maxDelayed bounds the connections that wait for a delayed answer.
	maxDelayed = 512
)

// Options configure [New]. Nil and the zero value are the defaults.
type Options struct {
	// Failures is the number of failed logins that an address (IPv6: a /64
	// network) is answered without delay, within the last minute or two. 0 is
	// [DefaultFailures], and a negative number is no limit.
	Failures int

	// ClientAddr returns the address that failures are counted by. Nil takes
	// the one of the connection, which behind a proxy is the proxy's: have it
	// return what a proxy of yours says, never what just anybody can put in a
	// header.
	ClientAddr func(*http.Request) string

	// Logger gets a warning when an address reaches the limit. Nil is
	// [slog.Default].
	Logger *slog.Logger
}

// New returns next with its answers 401 counted by address. Each one beyond the
// limit is sent after a second. While 512 of them wait, a further one is
// replaced by an answer 429 at once, with Retry-After, and the connection is
// closed. Other answers pass untouched, so nobody can lock out somebody else who
// shares their address: valid credentials are never delayed or refused.
//
// An answer 401 to a request in which the headers X-Auth-Token, Authorization and
// Cookie are all missing or empty is no failed login and is not counted.
//
// It is a brake on clients that repeat themselves and on the log. What keeps
// tokens from being guessed is their length.
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

// limiter counts failures per address, in the current window and the one before.
type limiter struct {
	next       http.Handler
	limit      int
	clientAddr func(*http.Request) string
	log        *slog.Logger

	mu       sync.Mutex
	since    time.Time // the start of the current window
	current  map[string]int
	previous map[string]int
	delayed  int
}

// ServeHTTP implements [http.Handler].
func (l *limiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.next.ServeHTTP(&writer{ResponseWriter: w, limiter: l, r: r}, r)
}

// add counts one more failure and returns how many there were lately.
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

// acquire takes one of the places for delayed answers, and returns false if
// there is none.
func (l *limiter) acquire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.delayed == maxDelayed {
		return false
	}
	l.delayed++
	return true
}

func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delayed--
}

// slowDown is called when a login has failed. It returns when the failure may be
// answered, and false if there is no place to wait.
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
	if !l.acquire() {
		return false
	}
	defer l.release()
	wait := time.NewTimer(delay)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-r.Context().Done():
	}
	return true
}

// attempt reports whether the request has credentials at all.
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
	replaced bool // the body is our own
}

// WriteHeader holds a failed login back, or replaces it.
func (w *writer) WriteHeader(status int) {
	if w.replaced {
		return
	}
	first := !w.answered
	w.answered = w.answered || status >= http.StatusOK // 1xx comes before the answer
	if first && status == http.StatusUnauthorized && !w.limiter.slowDown(w.r) {
		w.replaced = true
		w.refuse()
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
		header.Del(name) // they are about the answer that is replaced
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Retry-After", strconv.Itoa(int(delay/time.Second)))
	header.Set("Connection", "close") // the next attempt has to connect again
	w.ResponseWriter.WriteHeader(http.StatusTooManyRequests)
	_, _ = w.ResponseWriter.Write(body) // an error means that nobody is listening any more
}

// Write passes on the handler's body, unless the answer was replaced.
func (w *writer) Write(b []byte) (int, error) {
	if w.replaced {
		return len(b), nil
	}
	w.answered = true
	return w.ResponseWriter.Write(b)
}

// FlushError and Flush are for handlers that look for one of them, as event
// streams do.
func (w *writer) FlushError() error {
	w.answered = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *writer) Flush() { _ = w.FlushError() }

// Unwrap is for [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
