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

// The range that the time is drawn from after which a client comes back, so that
// a restart is no stampede.
const (
	leastRetry = 2 * time.Second
	mostRetry  = 6 * time.Second
)

// EndStreams ends all event streams, those to come included, which would
// otherwise keep [http.Server.Shutdown] waiting: give it to
// [http.Server.RegisterOnShutdown]. [Handler.Serve] calls it by itself. The other
// endpoints go on. It returns at once and may be called more than once.
func (h *Handler) EndStreams() { h.endStreams() }

// RecheckLogins has the Authenticator asked about the login of every event stream
// now. Call it when logins have been revoked. It returns at once.
func (h *Handler) RecheckLogins() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recheck()
	h.valid, h.recheck = context.WithCancel(context.Background())
}

// stream answers with the changes to come, until the client or the server ends
// it.
func (x *exchange) stream() error {
	after, err := x.resumeAfter()
	if err != nil {
		return err
	}
	x.dropBody()
	if !canFlush(x.w) {
		return lacks(x.w, "Flush")
	}
	s := &eventStream{exchange: x, after: after, conn: http.NewResponseController(x.w)}
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
	header.Set("X-Accel-Buffering", "no") // for nginx, which would keep events back
	header.Set("X-Request-Id", x.requestID)
	x.write(http.StatusOK, nil)
	s.run(ctx)
	if s.err == nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(s.writeTimeout)) // for the end of the answer
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

// innermost is the writer that a [http.ResponseController] comes to at last.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// canFlush reports whether a [http.ResponseController] can flush the writer. To
// try would answer the request.
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

// nowhere is a position that no catalog has. It stands for one that is none, and
// leads to a reset also for a client that comes back with it.
var nowhere = customstatus.Position{Revision: math.MaxUint64, Fingerprint: math.MaxUint64}

// resumeAfter returns the position that the client has seen. A bad one is no
// error, after which a browser's EventSource would not come back.
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
	// The last event counts: an EventSource that reconnects repeats its URL.
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
// block has an event and data: there are clients that fail on any other.
type eventStream struct {
	*exchange
	conn  *http.ResponseController
	after customstatus.Position // what the client has seen
	err   error                 // of the first write that failed

	check time.Time // when the login is to be checked; zero: never
	beat  time.Time // when a heartbeat is due
	end   time.Time // when the stream ends; zero: never
}

// errEnd ends a stream without a word.
var errEnd = errors.New("end of the stream")

// run follows the catalog, with pauses for heartbeats and for checks of the login.
func (s *eventStream) run(ctx context.Context) {
	now := time.Now()
	s.check, s.end = s.due(now, s.recheckLogin), s.due(now, s.streamTime)
	s.hello()
	if s.after == nowhere {
		s.reset() // without the catalog, which might ask a shared store about it
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

// hello writes the first block.
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

// checkLogin returns an error if it is time to check the login and the login is
// no longer valid.
func (s *eventStream) checkLogin() error {
	now := time.Now()
	if s.logins.Err() == nil && (s.check.IsZero() || now.Before(s.check)) {
		return nil
	}
	s.logins = s.currentLogins()
	s.check = s.due(now, s.recheckLogin)
	return s.authenticate()
}

// due returns when something is due that is done about every d.
func (s *eventStream) due(now time.Time, d time.Duration) time.Time {
	if d < 0 {
		return time.Time{}
	}
	return now.Add(s.about(d))
}

// follow writes the commits until something else is to be done or s.err is set,
// and returns any other reason to end.
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
			return nil // judged by the pause itself: a store's error can wrap that of a context, too
		default:
			return err
		}
		if err := s.commit(ctx, commit); err != nil || s.err != nil {
			return err
		}
	}
	return nil
}

// commit writes the events of a commit. It can be long, and its reader slow: only
// what ends the stream interrupts it.
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

// send writes events. The client has time for each part of them.
func (s *eventStream) send(events []byte) {
	for len(events) > 0 && s.err == nil {
		n := min(len(events), writeSize)
		s.err = s.conn.SetWriteDeadline(time.Now().Add(s.writeTimeout))
		if s.err == nil {
			_, s.err = s.w.Write(events[:n])
		}
		events = events[n:]
	}
}

// flush sends all that is on its way.
func (s *eventStream) flush() {
	if s.err == nil {
		s.err = s.conn.Flush()
	}
	if s.err == nil {
		// One that passes while there is nothing to write would reset a stream
		// of HTTP/2, and cut off the end of one of HTTP/1.1.
		s.err = s.conn.SetWriteDeadline(time.Time{})
	}
	s.beat = time.Now().Add(s.heartbeat)
}
