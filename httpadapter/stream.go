package httpadapter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/customstatus/customstatus"
)

// writeSize is the greatest number of bytes that a stream writes at a time.
const writeSize = 32 << 10

// The range of the times after which clients come back. Each stream draws its own, so
// that a restart is no stampede.
const (
	leastRetry = 2 * time.Second
	mostRetry  = 6 * time.Second
)

// EndStreams ends all event streams, now and in the future. Open streams would keep
// [http.Server.Shutdown] waiting, so pass EndStreams to
// [http.Server.RegisterOnShutdown]. [Handler.Serve] calls EndStreams itself. The
// other endpoints go on. EndStreams returns at once and may be called more than once.
func (h *Handler) EndStreams() { h.endStreams() }

// RecheckLogins makes every event stream ask the Authenticator about its login now.
// Call RecheckLogins when logins have been revoked. It returns at once.
func (h *Handler) RecheckLogins() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recheck()
	h.valid, h.recheck = context.WithCancel(context.Background())
}

// stream answers with the changes, until the client or the server ends the stream.
func (x *exchange) stream() error {
	after, err := x.resumeAfter()
	if err != nil {
		return err
	}
	x.dropBody()
	if !canFlush(x.w) {
		return lacks(x.w, "Flush")
	}
	s := &eventStream{exchange: x, after: after, conn: http.NewResponseController(x.w),
		plain: x.r.ProtoMajor == 1 && onPlainConn(x.r)}
	err = s.conn.SetWriteDeadline(time.Now().Add(s.writeTimeout))
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return lacks(x.w, "SetWriteDeadline") // a slow client could not be cut
	case err != nil:
		return fmt.Errorf("event stream: set a write deadline: %w", err)
	}
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	defer context.AfterFunc(x.streaming, cancel)()

	header := x.w.Header()
	setHeader(header, "text/event-stream", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	header.Set("X-Request-Id", x.requestID)
	x.write(http.StatusOK, nil)
	s.run(ctx)
	if s.err == nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(s.writeTimeout)) // for the end of the body
	}
	return nil
}

// lacks is the error of a middleware's writer that hides a method of the server's.
func lacks(w http.ResponseWriter, method string) error {
	return fmt.Errorf("event stream: the ResponseWriter %T of a middleware has neither %s nor Unwrap: "+
		"add Unwrap to it, or route the stream around the middleware: "+
		"see https://pkg.go.dev/github.com/customstatus/customstatus/httpadapter#hdr-Middleware: %w",
		innermost(w), method, errors.ErrUnsupported)
}

// innermost returns the last writer that a [http.ResponseController] can reach.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// canFlush reports whether a [http.ResponseController] can flush the writer. Trying
// to flush would answer the request.
func canFlush(w http.ResponseWriter) bool {
	for {
		switch writer := w.(type) {
		case interface{ FlushError() error }, http.Flusher:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = writer.Unwrap()
		default:
			return false
		}
	}
}

// nowhere is a position that no catalog has. It stands for an id that is no position.
// A client that comes back with nowhere is reset, too.
var nowhere = customstatus.Position{Revision: math.MaxUint64, Fingerprint: math.MaxUint64}

// resumeAfter returns the position that the client has seen. A bad position is no
// error, because a browser's EventSource gives up on an error.
func (x *exchange) resumeAfter() (customstatus.Position, error) {
	given := make(map[string]string)
	err := eachParam(x.r.URL.RawQuery, func(p queryParam) error {
		switch {
		case p.name != "lastEventId" && p.name != "after":
			return invalidParam(p.name, "unknown")
		case p.twice && given[p.name] != p.value:
			p.value = "given twice"
		}
		given[p.name] = p.value
		return nil
	})
	if err != nil {
		return customstatus.Position{}, err
	}
	now := x.catalog.Position()
	// The header comes first: an EventSource that reconnects repeats its URL.
	for _, text := range []string{x.r.Header.Get("Last-Event-ID"), given["lastEventId"], given["after"]} {
		if text == "" {
			continue
		}
		at, err := customstatus.ParsePosition(text)
		if err != nil {
			at = nowhere
		}
		if at.Fingerprint == now.Fingerprint {
			at = now // current, whatever its revision
		}
		return at, nil
	}
	return now, nil
}

// eventStream writes server-sent events, in the form of the HTML standard. Every
// block has an event and data, because some clients fail on blocks without them.
type eventStream struct {
	*exchange
	conn  *http.ResponseController
	plain bool                  // HTTP/1 without TLS
	after customstatus.Position // what the client has seen
	err   error                 // of the first write that failed

	mustWrite time.Time // the write deadline of the connection; zero: none

	check time.Time // when the login must be checked; zero: never
	beat  time.Time // when a heartbeat is due
	end   time.Time // when the stream ends; zero: never
}

// errEnd ends a stream without an entry in the log.
var errEnd = errors.New("end of the stream")

// run follows the catalog. It pauses for heartbeats and for checks of the login.
func (s *eventStream) run(ctx context.Context) {
	now := time.Now()
	s.check, s.end = s.due(now, s.recheckLogin), s.due(now, s.streamTime)
	s.hello()
	if s.after == nowhere {
		s.reset() // the catalog might ask a shared store about the position
	}
	for s.err == nil {
		err := s.follow(ctx)
		if ctx.Err() != nil || s.streaming.Err() != nil || s.err != nil || !s.end.IsZero() && !time.Now().Before(s.end) {
			return
		}
		if e := s.checkLogin(); e != nil {
			err = e
		}
		switch {
		case err == nil:
			if !time.Now().Before(s.beat) {
				s.send(appendPositionEvent(nil, "heartbeat", s.after))
				s.flush()
			}
		case errors.Is(err, customstatus.ErrClosed), errors.Is(err, ErrUnauthenticated), errors.Is(err, errEnd):
			return
		case errors.Is(err, customstatus.ErrCompacted):
			s.reset()
		default:
			s.logFailure(err)
			return
		}
	}
}

// hello writes the first event.
func (s *eventStream) hello() {
	b := append([]byte(nil), "retry: "...)
	b = strconv.AppendInt(b, s.between(leastRetry, mostRetry).Milliseconds(), 10)
	s.send(appendPositionEvent(append(b, '\n'), "ready", s.after))
	s.flush()
}

// reset tells the client to list again, and goes on from now.
func (s *eventStream) reset() {
	s.after = s.catalog.Position()
	s.send(appendPositionEvent(nil, "reset", s.after))
	s.flush()
}

// currentLogins returns a context that is done when logins have to be checked.
func (h *Handler) currentLogins() context.Context {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.valid
}

// checkLogin checks the login if the time for that has come. It returns an error if
// the login is no longer valid.
func (s *eventStream) checkLogin() error {
	now := time.Now()
	if s.logins.Err() == nil && (s.check.IsZero() || now.Before(s.check)) {
		return nil
	}
	s.logins = s.currentLogins()
	s.check = s.due(now, s.recheckLogin)
	return s.authenticate()
}

// due returns the next time of what is done about every d. A negative d, and one beyond
// longest, is never.
func (s *eventStream) due(now time.Time, d time.Duration) time.Time {
	if d < 0 || d > longest {
		return time.Time{}
	}
	return now.Add(s.about(d))
}

// follow writes commits until something else must be done or s.err is set. It returns
// any other reason to stop.
func (s *eventStream) follow(ctx context.Context) error {
	until := s.beat
	for _, t := range []time.Time{s.check, s.end} {
		if !t.IsZero() && t.Before(until) {
			until = t
		}
	}
	pause, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	defer context.AfterFunc(s.logins, cancel)()
	for commit, err := range s.catalog.Watch(pause, s.after) {
		switch {
		case err == nil:
		case pause.Err() != nil && !errors.Is(err, customstatus.ErrClosed) && !errors.Is(err, customstatus.ErrCompacted):
			return nil // the pause itself decides: a store's error can wrap a context's, too
		default:
			return err
		}
		if err := s.commit(ctx, commit); err != nil || s.err != nil {
			return err
		}
	}
	return nil
}

// commit writes the events of a commit. A long commit with a slow reader is
// interrupted only by what ends the stream.
func (s *eventStream) commit(ctx context.Context, commit customstatus.Commit) error {
	for next := 0; next < len(commit.Changes); {
		if next > 0 {
			if ctx.Err() != nil || s.streaming.Err() != nil {
				return errEnd
			}
			if err := s.checkLogin(); err != nil {
				return err
			}
		}
		var events []byte
		events, next = s.encode(commit, next)
		s.send(events)
		if s.err != nil {
			return nil
		}
	}
	s.after = commit.Position()
	s.flush()
	return nil
}

// send writes events. The client has writeTimeout for each part of writeSize, or up to
// an eighth less: setting a deadline is much of the work that an event takes, so events
// that follow each other share one.
func (s *eventStream) send(events []byte) {
	for len(events) > 0 && s.err == nil {
		n := min(len(events), writeSize)
		now := time.Now()
		s.beat = now.Add(s.heartbeat)
		if s.mustWrite.Sub(now) < s.writeTimeout-s.writeTimeout/8 {
			s.mustWrite = now.Add(s.writeTimeout)
			s.err = s.conn.SetWriteDeadline(s.mustWrite)
		}
		if s.err == nil {
			_, s.err = s.w.Write(events[:n])
		}
		events = events[n:]
	}
}

// flush sends everything that is buffered.
func (s *eventStream) flush() {
	if s.err == nil {
		s.err = s.conn.Flush()
	}
	if s.err == nil && !s.plain {
		// A deadline that passes while there is nothing to write would reset a
		// stream of HTTP/2, and end a TLS connection that has to answer its peer.
		// Nothing comes of it on a plain connection: each write sets its own. The
		// request's field TLS can't tell: it is nil if the listener wraps tls.Conns.
		s.mustWrite = time.Time{}
		s.err = s.conn.SetWriteDeadline(s.mustWrite)
	}
}
