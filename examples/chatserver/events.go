package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// sendTimeout is the time in which a client must receive an event.
const sendTimeout = 20 * time.Second

// eventStream is an answer that never ends: server-sent events.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

// openStream begins the answer.
func openStream(w http.ResponseWriter) *eventStream {
	s := &eventStream{w: w, control: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	_ = s.control.Flush()
	return s
}

// send writes one event. sendTimeout replaces the server's WriteTimeout, which is meant
// for whole answers. An error means that the client has gone or does not read.
func (s *eventStream) send(id, name string, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if err := s.control.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(s.w, "id: %s\nevent: %s\ndata: %s\n\n", id, name, encoded); err != nil {
		return err
	}
	if err := s.control.Flush(); err != nil {
		return err
	}
	// A deadline that passes while nothing is written would cut off the end of
	// the answer, and over HTTP/2 the whole answer.
	return s.control.SetWriteDeadline(time.Time{})
}
