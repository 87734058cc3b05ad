package httpadapter_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// stream is the client's end of an event stream.
type stream struct {
	t    testing.TB
	res  *http.Response
	r    *bufio.Reader
	last string // id
	end  error  // of reading
}

// open begins a stream, by default with the reader's login.
func (s *server) open(query string, lastEventID ...string) *stream {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.URL+s.prefix+streamPath+query, nil)
	require.NoError(s.t, err)
	r.Header.Set("X-User-Id", reader[0])
	r.Header.Set("X-Auth-Token", reader[1])
	for _, id := range lastEventID {
		r.Header.Add("Last-Event-ID", id)
	}
	res, err := s.Client().Do(r)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { res.Body.Close() })
	require.Equal(s.t, http.StatusOK, res.StatusCode)
	require.Equal(s.t, []string{"text/event-stream"}, res.Header["Content-Type"])
	require.Equal(s.t, []string{"no-store"}, res.Header["Cache-Control"])
	require.Equal(s.t, []string{"nosniff"}, res.Header["X-Content-Type-Options"])
	require.Len(s.t, res.Header["X-Request-Id"], 1)
	return &stream{t: s.t, res: res, r: bufio.NewReader(res.Body)}
}

// block returns the lines up to the next empty line, or nil at the end.
func (c *stream) block() []string {
	c.t.Helper()
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			require.Empty(c.t, line+strings.Join(lines, ""), "the stream ends in the middle of an event: %v", err)
			c.end = err
			return nil
		}
		if line == "\n" {
			return lines
		}
		lines = append(lines, strings.TrimSuffix(line, "\n"))
	}
}

// next returns the next event as "event data", read as a browser reads it, or "" at the
// end. It skips heartbeats and the first block.
func (c *stream) next() string {
	c.t.Helper()
	for {
		lines := c.block()
		if lines == nil {
			return ""
		}
		var event, data string
		for _, line := range lines {
			field, value, _ := strings.Cut(line, ": ")
			switch field {
			case "event":
				event = value
			case "data":
				data = value
			case "id":
				c.last = value
			default:
				require.Equal(c.t, "retry", field)
			}
		}
		require.NotEmpty(c.t, event)
		require.True(c.t, json.Valid([]byte(data)), "a block without JSON data: %q", lines)
		if event != "ready" && event != "heartbeat" {
			return event + " " + data
		}
	}
}

// positionEvent returns the block of an event whose data is a position.
func positionEvent(event, at string) []string {
	return []string{"event: " + event, `data: {"position":"` + at + `"}`, "id: " + at}
}

// ready reads the first block of a stream and returns its position.
func (c *stream) ready() string {
	c.t.Helper()
	lines := c.block()
	require.Len(c.t, lines, 4)
	require.Regexp(c.t, `^retry: [2-6]\d{3}$`, lines[0])
	at := strings.TrimPrefix(lines[3], "id: ")
	require.Equal(c.t, positionEvent("ready", at), lines[1:])
	c.last = at
	return at
}

func TestStream(t *testing.T) {
	s := newServer(t, setup{})
	ctx := t.Context()
	at := func() string { return "id: " + s.catalog.Position().String() }
	c := s.open("")
	require.Equal(t, s.catalog.Position().String(), c.ready(), "where to resume from, before anything happens")

	made, err := s.catalog.Create(ctx, customstatus.Fields{Name: "a \u2028", StatusType: customstatus.Busy})
	require.NoError(t, err)
	require.Equal(t, []string{"event: created", "data: " + string(made.AppendJSON(nil)), at()}, c.block())

	changed, err := s.catalog.Update(ctx, made.ID, customstatus.Fields{Name: "b", StatusType: customstatus.Away}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"event: updated", "data: " + string(changed.AppendJSON(nil)), at()}, c.block())

	_, err = s.catalog.Delete(ctx, made.ID, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"event: deleted", "data: " + string(changed.AppendJSON(nil)), at()}, c.block())

	many := many(2)
	_, err = s.catalog.Import(ctx, many)
	require.NoError(t, err)
	require.Equal(t, []string{"event: created", "data: " + string(many[0].AppendJSON(nil))}, c.block(), "no id within a commit")
	require.Equal(t, []string{"event: created", "data: " + string(many[1].AppendJSON(nil)), at()}, c.block())
}

// create adds a status and returns the position after that.
func (s *server) create(name string) string {
	s.t.Helper()
	_, err := s.catalog.Create(s.t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
	require.NoError(s.t, err)
	return s.catalog.Position().String()
}

// names returns the names in the next n events.
func (c *stream) names(n int) (names []string) {
	c.t.Helper()
	for range n {
		var status customstatus.CustomUserStatus
		event, data, _ := strings.Cut(c.next(), " ")
		require.Equal(c.t, "created", event)
		require.NoError(c.t, json.Unmarshal([]byte(data), &status))
		names = append(names, status.Name)
	}
	return names
}

func TestStreamResumes(t *testing.T) {
	s := newServer(t, setup{})
	page := s.do(request{as: reader, path: listPath}).header.Get("X-Catalog-Position")
	a, b := s.create("a"), s.create("b")
	s.create("c")
	c := s.open("?after=" + page)
	require.Equal(t, page, c.ready())
	require.Equal(t, []string{"a", "b"}, c.names(2))
	require.Equal(t, b, c.last)
	require.Equal(t, []string{"c"}, s.open("", c.last).names(1))

	for name, c := range map[string]*stream{
		"the header goes before the parameters": s.open("?after="+page+"&lastEventId="+b, a),
		"lastEventId goes before after":         s.open("?after=" + page + "&lastEventId=" + a),
		"also when it stands first":             s.open("?lastEventId=" + a + "&after=" + page),
		"empty is absent":                       s.open("?lastEventId=&after="+a, ""),
		"the same twice":                        s.open("?after=" + a + "&after=" + a),
	} {
		require.Equal(t, []string{"b", "c"}, c.names(2), name)
	}
}

// TestStreamResumesAfterARestart: a restart without changes causes no reset, even if the
// revision differs.
func TestStreamResumesAfterARestart(t *testing.T) {
	s := newServer(t, setup{})
	at := s.create("a")
	all, err := s.catalog.List(customstatus.Query{})
	require.NoError(t, err)
	other := newServer(t, setup{empty: true})
	_, err = other.catalog.Import(t.Context(), all.Statuses)
	require.NoError(t, err)
	require.NotEqual(t, at, other.catalog.Position().String())
	c := other.open("", at)
	require.Equal(t, other.catalog.Position().String(), c.ready())
	other.create("b")
	require.Equal(t, []string{"b"}, c.names(1))
}

// TestStreamResumesOnAnotherNode: a node that is behind the client's position catches up
// before it judges the position.
func TestStreamResumesOnAnotherNode(t *testing.T) {
	place := newSharedPlace()
	behind := place.node()
	s, late := newServer(t, setup{shared: place.node()}), newServer(t, setup{shared: behind, empty: true})
	require.NoError(t, late.catalog.Sync(t.Context()))
	<-behind.asked
	release := behind.hold()
	at := s.create("a")
	require.NotEqual(t, at, late.catalog.Position().String())
	c := late.open("", at)
	require.Equal(t, at, c.ready())
	<-behind.asked // the node can't judge yet
	release()
	s.create("b")
	require.Equal(t, []string{"b"}, c.names(1), "no reset, and not what it has seen")
}

// TestStreamQuery: unknown parameters are refused, and bad positions are not.
func TestStreamQuery(t *testing.T) {
	s := newServer(t, setup{})
	for query, why := range map[string]string{
		"name=a":                `Invalid parameter "name": unknown`,
		"After=1":               `Invalid parameter "After": unknown`,
		"after=1&last-event-id": `Invalid parameter "last-event-id": unknown`,
		"%ff=1":                 "Invalid parameter \"%ff\": unknown",
	} {
		require.Equal(t, invalidQuery(why), s.do(request{as: reader, path: streamPath + "?" + query}).body)
	}
}

// TestStreamResets: a position that the catalog can't judge is answered by reset, never
// by silence and never by 400.
func TestStreamResets(t *testing.T) {
	s := newServer(t, setup{catalog: customstatus.Options{HistoryChanges: 1}})
	lost := s.catalog.Position().String()
	s.create("a")
	s.create("b")
	at := s.catalog.Position()
	other := customstatus.Position{Revision: at.Revision, Fingerprint: at.Fingerprint + 1}
	ahead := customstatus.Position{Revision: at.Revision + 1, Fingerprint: at.Fingerprint + 1}
	nowhere := "18446744073709551615-ffffffffffffffff"
	for name, tt := range map[string]struct{ position, ready string }{
		"no longer kept":        {lost, lost},
		"the start":             {"0-0000000000000000", "0-0000000000000000"},
		"another history":       {other.String(), other.String()},
		"never reached":         {ahead.String(), ahead.String()},
		"never to be reached":   {nowhere, nowhere},
		"a number":              {"3", nowhere},
		"a negative number":     {"-1", nowhere},
		"a fraction":            {"1.0", nowhere},
		"too large":             {"18446744073709551616", nowhere},
		"a word":                {"yesterday", nowhere},
		"capital digits":        {strings.ToUpper(other.String()), strings.ToUpper(other.String())},
		"markup":                {"<script>", nowhere},
		"long":                  {strings.Repeat("1", 20000), nowhere},
		"half of one":           {at.String()[:10], nowhere},
		"with something behind": {at.String() + "x", nowhere},
	} {
		if tt.ready != nowhere && tt.ready == strings.ToUpper(tt.ready) && tt.ready != strings.ToLower(tt.ready) {
			tt.ready = nowhere // a position has one form
		}
		for where, open := range map[string]func() *stream{
			"header":      func() *stream { return s.open("", tt.position) },
			"lastEventId": func() *stream { return s.open("?lastEventId=" + url.QueryEscape(tt.position)) },
			"after":       func() *stream { return s.open("?after=" + url.QueryEscape(tt.position)) },
		} {
			c := open()
			require.Equal(t, tt.ready, c.ready(), "%s: a client that is cut off here must not take itself for up to date", name)
			require.Equal(t, positionEvent("reset", s.catalog.Position().String()), c.block(), "%s in %s", name, where)
			created := s.create("behind " + name + " in " + where)
			require.Contains(t, c.next(), `created {"_id":`, "it goes on")
			require.Equal(t, created, c.last)
		}
	}
	for name, query := range map[string]string{
		"not UTF-8":         "after=%ff",
		"no escape":         "after=%zz",
		"two that disagree": "after=" + at.String() + "&after=" + lost,
	} {
		c := s.open("?" + query)
		require.Equal(t, nowhere, c.ready())
		require.Contains(t, c.next(), "reset ", name)
	}
}

// TestStreamResetsWhileItLives: a client is reset when it falls behind the changes that
// are kept.
func TestStreamResetsWhileItLives(t *testing.T) {
	var s *server
	ready := false
	s = newServer(t, setup{catalog: customstatus.Options{HistoryChanges: 1}, mount: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(watchedWriter{w, func(b []byte) {
				if bytes.HasPrefix(b, []byte("retry:")) && !ready {
					ready = true
					s.create("a")
					s.create("b")
				}
			}}, r)
		})
	}})
	c := s.open("")
	c.ready()
	require.Equal(t, positionEvent("reset", s.catalog.Position().String()), c.block())
}

// measuredWriter is a middleware's writer that notes the largest write.
type measuredWriter struct {
	http.ResponseWriter
	largest *int
}

func (w measuredWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w measuredWriter) Write(p []byte) (int, error) {
	*w.largest = max(*w.largest, len(p))
	return w.ResponseWriter.Write(p)
}

// TestStreamOfLargeCommit: a large commit arrives whole, in pieces.
func TestStreamOfLargeCommit(t *testing.T) {
	var largest int
	ended := make(chan struct{})
	s := newServer(t, setup{mount: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(ended)
			h.ServeHTTP(measuredWriter{w, &largest}, r)
		})
	}})
	c := s.open("")
	c.ready()
	_, err := s.catalog.Import(t.Context(), many(3000))
	require.NoError(t, err)
	end := s.catalog.Position().String()
	for i := range 3000 {
		require.Contains(t, c.next(), fmt.Sprintf(`"name":"Name %04d"`, i))
		require.Equal(t, i == 2999, c.last == end)
	}
	s.handler.EndStreams()
	<-ended
	require.Less(t, largest, 40_000, "memory that each stream takes")
}

// TestStreamEndsWithinACommit: a stream can end while a slow client reads a commit.
func TestStreamEndsWithinACommit(t *testing.T) {
	for name, end := range map[string]func(*server){
		"EndStreams": func(s *server) { s.handler.EndStreams() },
		"token revoked": func(s *server) {
			s.tokens.RevokeUser(reader[0])
			s.handler.RecheckLogins()
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s *server
			written := 0
			ended := make(chan struct{})
			s = newServer(t, setup{mount: func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(ended)
					h.ServeHTTP(watchedWriter{w, func(b []byte) {
						if len(b) > 10_000 {
							if written++; written == 1 {
								end(s)
							}
						}
					}}, r)
				})
			}})
			s.handler.SetStreamTimes(time.Millisecond, time.Minute)
			_, err := s.catalog.Import(t.Context(), many(3000))
			require.NoError(t, err)
			s.open("?after=0-0000000000000000")
			<-ended
			require.Equal(t, 1, written, "it ends before the next piece")
		})
	}
}

type watchedWriter struct {
	http.ResponseWriter
	before func([]byte)
}

func (w watchedWriter) Write(b []byte) (int, error) {
	w.before(b)
	return w.ResponseWriter.Write(b)
}

func (w watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestStreamHeartbeat(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{http: func(srv *http.Server) {
		srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout = 2*time.Second, 2*time.Second, 2*time.Second
	}})
	s.handler.SetStreamTimes(time.Second, time.Minute)
	c := s.open("")
	at := c.ready()
	for range 3 { // far beyond the timeouts of the server
		require.Equal(t, positionEvent("heartbeat", at), c.block())
	}
	_, err := s.catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: customstatus.Busy})
	require.NoError(t, err)
	require.Contains(t, c.next(), `"name":"a"`)
}

func TestStreamEnds(t *testing.T) {
	for name, end := range map[string]func(s *server, c *stream){
		"EndStreams":        func(s *server, _ *stream) { s.handler.EndStreams() },
		"EndStreams twice":  func(s *server, _ *stream) { s.handler.EndStreams(); s.handler.EndStreams() },
		"token revoked":     func(s *server, _ *stream) { s.tokens.RevokeUser(reader[0]); s.handler.RecheckLogins() },
		"catalog closed":    func(s *server, _ *stream) { require.NoError(s.t, s.catalog.Close()) },
		"client hangs up":   func(_ *server, c *stream) { c.res.Body.Close() },
		"server shuts down": func(s *server, _ *stream) { require.NoError(s.t, s.Config.Shutdown(s.t.Context())) },
		"server closes":     func(s *server, _ *stream) { s.CloseClientConnections() },
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			s := newServer(t, setup{mount: func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(ended)
					h.ServeHTTP(w, r)
				})
			}})
			s.handler.SetStreamTimes(10*time.Millisecond, time.Minute)
			c := s.open("")
			c.block()
			end(s, c)
			<-ended
			require.Empty(t, s.log.lines(slog.LevelError))
			if name != "client hangs up" && name != "server closes" {
				require.Empty(t, c.next())
				require.Equal(t, io.EOF, c.end, "a clean end")
			}
		})
	}
	t.Run("at once after EndStreams", func(t *testing.T) {
		s := newServer(t, setup{})
		s.handler.EndStreams()
		c := s.open("")
		require.Empty(t, c.next())
		require.Equal(t, s.catalog.Position().String(), c.last)
		require.Len(t, s.list(""), 2, "the other endpoints go on")
	})
}

// TestStreamLoginFails: an Authenticator that fails ends the stream, because nobody
// knows whether the login is still valid.
func TestStreamLoginFails(t *testing.T) {
	var mu sync.Mutex
	var err error
	s := newServer(t, setup{auth: httpadapter.HeaderAuth(
		func(_ context.Context, userID, _ string) (httpadapter.Caller, error) {
			mu.Lock()
			defer mu.Unlock()
			return httpadapter.Caller{UserID: userID}, err
		})})
	c := s.open("")
	c.block()
	mu.Lock()
	err = io.ErrUnexpectedEOF
	mu.Unlock()
	s.handler.RecheckLogins()
	require.Empty(t, c.next())
	require.Contains(t, s.log.String(), io.ErrUnexpectedEOF.Error())
}

// TestStreamCutsDeafClients: a client that doesn't read is cut. Until then it holds up
// nobody.
func TestStreamCutsDeafClients(t *testing.T) {
	ended := make(chan struct{})
	s := newServer(t, setup{mount: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			if strings.HasSuffix(r.URL.Path, streamPath) {
				close(ended)
			}
		})
	}})
	s.handler.SetStreamTimes(time.Minute, 100*time.Millisecond)
	conn := s.dial()
	_, err := io.WriteString(conn, raw("GET /api/v1/"+streamPath+"?after=0-0000000000000000", "", ""))
	require.NoError(t, err)
	for i := 0; ; i++ {
		select {
		case <-ended:
			require.NotZero(t, i)
			require.Empty(t, s.log.lines(slog.LevelError))
			return
		default:
		}
		statuses := many(2000)
		for j := range statuses {
			statuses[j].ID += fmt.Sprint("-", i)
			statuses[j].Name += fmt.Sprint("-", i)
		}
		_, err := s.catalog.Import(t.Context(), statuses)
		require.NoError(t, err)
		for _, status := range statuses {
			_, err := s.catalog.Delete(t.Context(), status.ID, nil)
			require.NoError(t, err)
		}
	}
}

// closedWriter is the writer of a connection that the client has closed.
type closedWriter struct{ *httptest.ResponseRecorder }

func (closedWriter) SetWriteDeadline(time.Time) error { return net.ErrClosed }

// TestStreamNeedsAWriter: a stream is refused if its writer can't flush or set deadlines.
// The log names the writer, the missing method, and where to read on.
func TestStreamNeedsAWriter(t *testing.T) {
	type plain struct{ http.ResponseWriter }
	const readOn = "see https://pkg.go.dev/github.com/customstatus/customstatus/httpadapter#hdr-Middleware"
	for name, tt := range map[string]struct {
		wrap   func(*httptest.ResponseRecorder) http.ResponseWriter
		logged []string
	}{
		"no flush": {func(w *httptest.ResponseRecorder) http.ResponseWriter { return plain{w} },
			[]string{"the ResponseWriter httpadapter_test.plain of a middleware has neither Flush nor Unwrap: ", readOn}},
		"no flush, wrapped": {func(w *httptest.ResponseRecorder) http.ResponseWriter {
			return watchedWriter{plain{w}, func([]byte) {}}
		}, []string{"the ResponseWriter httpadapter_test.plain of a middleware has neither Flush nor Unwrap: ", readOn}},
		"no deadlines": {func(w *httptest.ResponseRecorder) http.ResponseWriter { return w },
			[]string{"the ResponseWriter *httptest.ResponseRecorder of a middleware has neither SetWriteDeadline nor Unwrap: ", readOn}},
		"closed": {func(w *httptest.ResponseRecorder) http.ResponseWriter { return closedWriter{w} },
			[]string{"event stream: set a write deadline: " + net.ErrClosed.Error() + `"`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, setup{})
			r := httptest.NewRequest(http.MethodGet, s.prefix+streamPath, nil)
			r.Header.Set("X-User-Id", reader[0])
			r.Header.Set("X-Auth-Token", reader[1])
			w := httptest.NewRecorder()
			s.handler.ServeHTTP(tt.wrap(w), r)
			require.Equal(t, http.StatusInternalServerError, w.Code)
			require.Equal(t, internal, w.Body.String())
			for _, text := range tt.logged {
				require.Contains(t, s.log.String(), text)
			}
			require.Contains(t, s.log.String(), "level=ERROR")
		})
	}
}

// TestStreamShowsTheCatalog applies the events to a list, while others write.
func TestStreamShowsTheCatalog(t *testing.T) {
	s := newServer(t, setup{})
	seen := make(map[string]string)
	for _, status := range records {
		seen[status.ID] = string(status.AppendJSON(nil))
	}
	page := s.do(request{as: reader, path: listPath})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				status, err := s.catalog.Create(t.Context(), customstatus.Fields{Name: fmt.Sprint(w, " ", i), StatusType: customstatus.Busy})
				assert.NoError(t, err)
				switch i % 3 {
				case 1:
					_, err = s.catalog.Update(t.Context(), status.ID, customstatus.Fields{Name: fmt.Sprint(w, " renamed ", i), StatusType: customstatus.Away}, nil)
				case 2:
					_, err = s.catalog.Delete(t.Context(), status.ID, nil)
				}
				assert.NoError(t, err)
			}
		})
	}
	c := s.open("?after=" + page.header.Get("X-Catalog-Position"))
	wg.Wait()
	for end := s.catalog.Position().String(); c.last != end; {
		event, data, _ := strings.Cut(c.next(), " ")
		var status customstatus.CustomUserStatus
		require.NoError(t, json.Unmarshal([]byte(data), &status))
		_, there := seen[status.ID]
		require.Equal(t, event != "created", there)
		if event == "deleted" {
			require.Equal(t, seen[status.ID], data, "what it was last")
			delete(seen, status.ID)
		} else {
			seen[status.ID] = data
		}
	}
	all, err := s.catalog.List(customstatus.Query{})
	require.NoError(t, err)
	want := make(map[string]string)
	for _, status := range all.Statuses {
		want[status.ID] = string(status.AppendJSON(nil))
	}
	require.Equal(t, want, seen)
}

func TestStreamOverHTTP2(t *testing.T) {
	s := newServer(t, setup{})
	srv := httptest.NewUnstartedServer(s.handler)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	defer s.handler.EndStreams()
	s.Server = srv
	c := s.open("")
	require.Equal(t, 2, c.res.ProtoMajor)
	_, err := s.catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: customstatus.Busy})
	require.NoError(t, err)
	require.Contains(t, c.next(), `"name":"a"`)
}
