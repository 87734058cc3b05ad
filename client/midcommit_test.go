package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/client"
)

// eventStream answers with one text after the other, each on a connection of its own,
// and remembers where the client resumed. After the last text it refuses.
type eventStream struct {
	mu      sync.Mutex
	texts   []string
	resumed []string
}

func (s *eventStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumed = append(s.resumed, r.Header.Get("Last-Event-Id"))
	if len(s.texts) == 0 {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = w.Write([]byte(s.texts[0]))
	s.texts = s.texts[1:]
}

// What a server sends between two changes of a commit doesn't split the commit.
func TestWatchKeepsCommitsWhole(t *testing.T) {
	position := func(n int) string { return fmt.Sprintf("%d-%016x", n, n) }
	made := func(id string) string {
		return `event: created` + "\n" + `data: {"_id":"` + id + `","name":"` + id + `","statusType":"busy","_updatedAt":"2023-11-04T11:51:28.353Z"}` + "\n"
	}
	end := func(n int) string { return "id: " + position(n) + "\n\n" }
	beat := func(n int) string { return "event: heartbeat\ndata: {}\n" + end(n) }
	server := &eventStream{texts: []string{
		"event: ready\ndata: {}\n" + end(1) + made("a") + "\n" + beat(1) + made("b") + end(2),
		// The first half of a commit, and the end of the connection behind it.
		made("c") + "\n" + beat(3),
		made("c") + "\n" + made("d") + end(3) + beat(4),
	}}
	c := quick(t, serve(t, server), client.Options{})
	var got [][]string
	var revisions []customstatus.Revision
	var failed error
	for commit, err := range c.Watch(context.Background(), customstatus.Position{}) {
		if failed = err; err != nil {
			break
		}
		var ids []string
		for _, change := range commit.Changes {
			ids = append(ids, change.ID())
		}
		got, revisions = append(got, ids), append(revisions, commit.Revision)
	}
	require.True(t, errors.Is(failed, errors.ErrUnsupported), "%v", failed)
	require.Equal(t, [][]string{{"a", "b"}, {"c", "d"}}, got)
	require.Equal(t, []customstatus.Revision{2, 3}, revisions)
	require.Equal(t, []string{customstatus.Position{}.String(), position(2), position(2), position(4)}, server.resumed)
}
