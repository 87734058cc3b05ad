package httpadapter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/customstatus/customstatus"
)

// writeSize is about the number of bytes that a stream writes at a time.
const writeSize = 32 << 10

// stream answers with the changes to come, until the client or the server ends
// it.
func (x *exchange) stream() error {
	after, err := x.resumeAfter()
	if err != nil {
		return err
	}
	s := &eventStream{exchange: x, after: after, conn: http.NewResponseController(x.w)}
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.writeTimeout)); err != nil {
		return fmt.Errorf("event stream: %w", err) // a slow client could not be cut
	}
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	defer context.AfterFunc(x.streaming, cancel)()

	header := x.w.Header()
	setHeader(header, "text/event-stream", "no-store")
	header.Set("X-Accel-Buffering", "no") // for nginx, which would keep events back
	header.Set("X-Request-Id", x.requestID)
	x.write(http.StatusOK, nil)
	s.mark()
	s.flush()
	s.run(ctx)
	if s.err == nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(s.writeTimeout)) // for the end of the answer
	}
	return nil
}

// resumeAfter returns the revision that the client has seen. What it got last
// counts, for when it reconnects its first address comes along.
func (x *exchange) resumeAfter() (customstatus.Revision, error) {
	after := x.catalog.Revision()
	read := func(name, value string) error {
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			return invalidParam(name, "not a revision")
		}
		after = customstatus.Revision(n)
		return nil
	}
	err := eachParam(x.r.URL.RawQuery, func(name, value string) error {
		if name != "after" {
			return invalidParam(name, "unknown")
		}
		return read(name, value)
	})
	if last := x.r.Header.Get("Last-Event-ID"); err == nil && last != "" {
		err = read("Last-Event-ID", last)
	}
	return after, err
}

// eventStream writes server-sent events, in the form of the HTML standard.
type eventStream struct {
	*exchange
	conn  *http.ResponseController
	after customstatus.Revision // what the client has seen
	buf   []byte
	err   error // of the first write that failed

	checked time.Time // when the login was last found valid
}

// run follows the catalog, with a pause for a heartbeat now and then.
func (s *eventStream) run(ctx context.Context) {
	s.checked = time.Now()
	for s.err == nil {
		err := s.follow(ctx)
		if ctx.Err() != nil || s.streaming.Err() != nil || s.err != nil {
			return
		}
		compacted := errors.Is(err, customstatus.ErrCompacted)
		if compacted || errors.Is(err, context.DeadlineExceeded) {
			if e := s.checkLogin(); e != nil {
				err = e
			}
		}
		switch {
		case errors.Is(err, customstatus.ErrClosed), errors.Is(err, ErrUnauthenticated):
			return
		case errors.Is(err, context.DeadlineExceeded):
			s.buf = append(s.buf, ":\n\n"...)
		case errors.Is(err, customstatus.ErrCompacted):
			s.after = s.catalog.Revision()
			s.buf = append(s.buf, "event: reset\ndata: {\"revision\":"...)
			s.buf = strconv.AppendUint(s.buf, uint64(s.after), 10)
			s.buf = append(s.buf, "}\n"...)
			s.mark()
		default:
			s.logFailure(err)
			return
		}
		s.flush()
	}
}

// checkLogin returns an error if the login that the stream was opened with is no
// longer valid. It asks no more than once a second.
func (s *eventStream) checkLogin() error {
	if time.Since(s.checked) < min(time.Second, s.heartbeat) {
		return nil
	}
	err := s.authenticate()
	s.checked = time.Now()
	return err
}

// follow writes the commits until the next heartbeat, and returns why it ended
// if not because of s.err.
func (s *eventStream) follow(ctx context.Context) error {
	untilHeartbeat, cancel := context.WithTimeout(ctx, s.heartbeat)
	defer cancel()
	for commit, err := range s.catalog.Watch(untilHeartbeat, s.after) {
		if err != nil {
			return err
		}
		if err := s.checkLogin(); err != nil {
			return err
		}
		for i, change := range commit.Changes {
			s.change(change)
			if i < len(commit.Changes)-1 {
				s.buf = append(s.buf, '\n')
			}
			if len(s.buf) < writeSize {
				continue
			}
			// A commit can be long, and its reader slow.
			s.send()
			if err := s.checkLogin(); err != nil || ctx.Err() != nil || s.streaming.Err() != nil || s.err != nil {
				return err
			}
		}
		s.after = commit.Revision
		s.mark()
		s.flush()
		if s.err != nil {
			return nil
		}
	}
	return nil
}

// change appends the lines of an event without the empty one that ends it.
func (s *eventStream) change(c customstatus.Change) {
	event := "event: updated\ndata: "
	switch {
	case c.Deleted:
		event = "event: deleted\ndata: "
	case c.Created():
		event = "event: created\ndata: "
	}
	s.buf = append(s.buf, event...)
	s.buf = c.Status.AppendJSON(s.buf)
	s.buf = append(s.buf, '\n')
}

// mark ends an event with the id that a client comes back with. With no event
// before, the client keeps the id alone.
func (s *eventStream) mark() {
	s.buf = append(s.buf, "id: "...)
	s.buf = strconv.AppendUint(s.buf, uint64(s.after), 10)
	s.buf = append(s.buf, "\n\n"...)
}

// send writes what there is.
func (s *eventStream) send() {
	if s.err == nil {
		s.err = s.conn.SetWriteDeadline(time.Now().Add(s.writeTimeout))
	}
	if s.err == nil {
		_, s.err = s.w.Write(s.buf)
	}
	s.buf = s.buf[:0]
}

// flush writes what there is, and all that is on its way.
func (s *eventStream) flush() {
	s.send()
	if s.err == nil {
		s.err = s.conn.Flush()
	}
	if s.err == nil {
		// One that passes while there is nothing to write would reset a stream
		// of HTTP/2, and cut off the end of one of HTTP/1.1.
		s.err = s.conn.SetWriteDeadline(time.Time{})
	}
}
