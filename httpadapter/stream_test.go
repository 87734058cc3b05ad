package httpadapter_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
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

// open begins a stream; without a login it is the reader's.
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

// block returns the lines up to the next empty one, or nil at the end.
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

// next returns the next event as a browser would, as "event data", or "" at the
// end.
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
				require.Equal(c.t, ":", line)
			}
		}
		if data != "" {
			return event + " " + data
		}
	}
}

func TestStream(t *testing.T) {
	s := newServer(t, setup{})
	ctx := t.Context()
	c := s.open("")
	require.Equal(t, []string{"id: 1"}, c.block(), "where to resume from, before anything happens")

	made, err := s.catalog.Create(ctx, customstatus.Fields{Name: "a \u2028", StatusType: customstatus.Busy})
	require.NoError(t, err)
	require.Equal(t, []string{"event: created", "data: " + string(made.AppendJSON(nil)), "id: 2"}, c.block())

	changed, err := s.catalog.Update(ctx, made.ID, customstatus.Fields{Name: "b", StatusType: customstatus.Away}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"event: updated", "data: " + string(changed.AppendJSON(nil)), "id: 3"}, c.block())

	require.NoError(t, s.catalog.Delete(ctx, made.ID, nil))
	require.Equal(t, []string{"event: deleted", "data: " + string(changed.AppendJSON(nil)), "id: 4"}, c.block())

	many := many(2)
	_, err = s.catalog.Import(ctx, many)
	require.NoError(t, err)
	require.Equal(t, []string{"event: created", "data: " + string(many[0].AppendJSON(nil))}, c.block(), "no id within a commit")
	require.Equal(t, []string{"event: created", "data: " + string(many[1].AppendJSON(nil)), "id: 5"}, c.block())
}

func TestStreamResumes(t *testing.T) {
	s := newServer(t, setup{})
	page := s.do(request{as: reader, path: listPath})
	for _, name := range []string{"a", "b", "c"} {
		_, err := s.catalog.Create(t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
		require.NoError(t, err)
	}
	names := func(c *stream, n int) (names []string) {
		for range n {
			var status customstatus.CustomUserStatus
			_, data, _ := strings.Cut(c.next(), " ")
			require.NoError(t, json.Unmarshal([]byte(data), &status))
			names = append(names, status.Name)
		}
		return names
	}
	c := s.open("?after=" + page.header.Get("X-Catalog-Revision"))
	require.Equal(t, []string{"a", "b"}, names(c, 2))
	require.Equal(t, "3", c.last)
	require.Equal(t, []string{"c"}, names(s.open("", c.last), 1))
	require.Equal(t, []string{"b", "c"}, names(s.open("?after=1", "2"), 2), "the header goes before the address")
}

func TestStreamQuery(t *testing.T) {
	s := newServer(t, setup{})
	for query, why := range map[string]string{
		"after=":                     `Invalid parameter "after": not a revision`,
		"after=-1":                   `Invalid parameter "after": not a revision`,
		"after=%2B1":                 `Invalid parameter "after": not a revision`,
		"after=1.0":                  `Invalid parameter "after": not a revision`,
		"after=18446744073709551616": `Invalid parameter "after": not a revision`,
		"after=1&after=1":            `Invalid parameter "after": given twice`,
		"after=%ff":                  `Invalid parameter "after": not valid in a query`,
		"name=a":                     `Invalid parameter "name": unknown`,
	} {
		require.Equal(t, invalidParams(why), s.do(request{as: reader, path: streamPath + "?" + query}).body)
	}
	a := s.do(request{as: reader, path: streamPath, header: http.Header{"Last-Event-Id": {"x"}}})
	require.Equal(t, invalidParams(`Invalid parameter "Last-Event-ID": not a revision`), a.body)
	a = s.do(request{as: reader, path: streamPath + "?after=x", header: http.Header{"Last-Event-Id": {"1"}}})
	require.Equal(t, invalidParams(`Invalid parameter "after": not a revision`), a.body)
}

func TestStreamReset(t *testing.T) {
	s := newServer(t, setup{catalog: customstatus.Options{History: 1}})
	create := func(name string) {
		_, err := s.catalog.Create(t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
		require.NoError(t, err)
	}
	create("a")
	create("b")
	for _, after := range []string{"0", "1", "999", "18446744073709551615"} {
		c := s.open("?after=" + after)
		require.Equal(t, []string{"id: " + after}, c.block())
		revision := strconv.Itoa(int(s.catalog.Revision()))
		require.Equal(t, []string{"event: reset", `data: {"revision":` + revision + `}`, "id: " + revision}, c.block())
		create("behind " + after)
		require.Contains(t, c.next(), `created {"_id":`, "it goes on")
	}
}

// measuredWriter is a middleware's writer, which notes the largest write.
type measuredWriter struct {
	http.ResponseWriter
	largest *int
}

func (w measuredWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w measuredWriter) Write(p []byte) (int, error) {
	*w.largest = max(*w.largest, len(p))
	return w.ResponseWriter.Write(p)
}

// TestStreamOfLargeCommit: it comes whole, in pieces.
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
	_, err := s.catalog.Import(t.Context(), many(3000))
	require.NoError(t, err)
	c.block()
	for i := range 3000 {
		require.Contains(t, c.next(), fmt.Sprintf(`"name":"Name %04d"`, i))
		require.Equal(t, i == 2999, c.last == "2")
	}
	s.handler.EndStreams()
	<-ended
	require.Less(t, largest, 40_000, "memory that each stream takes")
}

// TestStreamEndsWithinACommit is about a commit that takes its reader long.
func TestStreamEndsWithinACommit(t *testing.T) {
	for name, end := range map[string]func(*server){
		"EndStreams": func(s *server) { s.handler.EndStreams() },
		"token revoked": func(s *server) {
			s.tokens.RevokeUser(reader[0])
			time.Sleep(2 * time.Millisecond) // longer than SetStreamTimes below lets it go unnoticed
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
			s.open("?after=0")
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
	c.block()
	for range 3 { // far beyond the timeouts of the server
		require.Equal(t, []string{":"}, c.block())
	}
	_, err := s.catalog.Create(t.Context(), customstatus.Fields{Name: "a", StatusType: customstatus.Busy})
	require.NoError(t, err)
	require.Contains(t, c.next(), `"name":"a"`)
}

func TestStreamEnds(t *testing.T) {
	for name, end := range map[string]func(s *server, c *stream){
		"EndStreams":        func(s *server, _ *stream) { s.handler.EndStreams() },
		"EndStreams twice":  func(s *server, _ *stream) { s.handler.EndStreams(); s.handler.EndStreams() },
		"token revoked":     func(s *server, _ *stream) { s.tokens.RevokeUser(reader[0]) },
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
		require.Equal(t, "1", c.last)
		require.Len(t, s.list(""), 2, "the other endpoints go on")
	})
}

// TestStreamLoginFails: an authenticator that fails ends the stream, for nobody
// knows whether the login is still valid.
func TestStreamLoginFails(t *testing.T) {
	var mu sync.Mutex
	var err error
	s := newServer(t, setup{adapter: httpadapter.Options{Authenticator: httpadapter.AuthenticatorFunc(
		func(_ context.Context, userID, _ string) (httpadapter.Caller, error) {
			mu.Lock()
			defer mu.Unlock()
			return httpadapter.Caller{UserID: userID}, err
		})}})
	s.handler.SetStreamTimes(10*time.Millisecond, time.Minute)
	c := s.open("")
	c.block()
	mu.Lock()
	err = io.ErrUnexpectedEOF
	mu.Unlock()
	require.Empty(t, c.next())
	require.Contains(t, s.log.String(), io.ErrUnexpectedEOF.Error())
}

// TestStreamCutsDeafClients: a client that doesn't read is cut, and until then
// holds nobody up.
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
	_, err := io.WriteString(conn, raw("GET /api/v1/"+streamPath+"?after=0", "", ""))
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
			require.NoError(t, s.catalog.Delete(t.Context(), status.ID, nil))
		}
	}
}

// TestStreamNeedsDeadlines: behind a writer that knows none, a deaf client could
// not be cut, so there is no stream.
func TestStreamNeedsDeadlines(t *testing.T) {
	s := newServer(t, setup{})
	r := httptest.NewRequest(http.MethodGet, s.prefix+streamPath, nil)
	r.Header.Set("X-User-Id", reader[0])
	r.Header.Set("X-Auth-Token", reader[1])
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Equal(t, internal, w.Body.String())
	require.Contains(t, s.log.String(), "event stream: feature not supported")
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
					err = s.catalog.Delete(t.Context(), status.ID, nil)
				}
				assert.NoError(t, err)
			}
		})
	}
	c := s.open("?after=" + page.header.Get("X-Catalog-Revision"))
	wg.Wait()
	for end := strconv.Itoa(int(s.catalog.Revision())); c.last != end; {
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
