package httpadapter_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/internal/pipenet"
)

// serving is a server that [httpadapter.Handler.Serve] runs.
type serving struct {
	api    httpadapter.Recorded
	end    context.CancelFunc
	ended  chan error // the result of Serve
	log    *logBuffer
	logins chan struct{} // receives a value at each login that fails
}

func serve(t *testing.T, listener net.Listener, opts httpadapter.Options, handler http.Handler) *serving {
	t.Helper()
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, catalog.Close()) })
	s := &serving{ended: make(chan error, 1), log: &logBuffer{}, logins: make(chan struct{}, 100)}
	opts.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	s.api = newHandler(catalog, httpadapter.HeaderAuth(func(_ context.Context, userID, token string) (httpadapter.Caller, error) {
		if userID == manager[0] && token == manager[1] {
			return httpadapter.Caller{UserID: userID, MayManage: true}, nil
		}
		s.logins <- struct{}{}
		return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
	}), &opts)
	if mux, ok := handler.(*http.ServeMux); ok {
		mux.Handle("/api/v1/", s.api)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	s.end = cancel
	go func() { s.ended <- s.api.Serve(ctx, listener, handler) }()
	return s
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return listener
}

// TestHalfABodyHoldsUpNoEnd: a client that sends half a body does not hold up the
// shutdown, even without a ShutdownTimeout.
func TestHalfABodyHoldsUpNoEnd(t *testing.T) {
	listener := listen(t)
	s := serve(t, listener, httpadapter.Options{ShutdownTimeout: -1}, nil)
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /api/v1/"+createPath+" HTTP/1.1\r\nHost: x\r\nX-User-Id: u\r\nX-Auth-Token: guessed\r\nContent-Length: 100\r\n\r\n{\"name\":")
	require.NoError(t, err)
	<-s.logins // the server has the request
	s.end()
	require.NoError(t, <-s.ended)
	all := answers(t, conn)
	require.Len(t, all, 1)
	require.Equal(t, unauthorized, all[0].body)
}

// TestServeAnswersInJSON: the answer is JSON also where net/http would answer itself.
func TestServeAnswersInJSON(t *testing.T) {
	listener := listen(t)
	serve(t, listener, httpadapter.Options{}, nil)
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	require.NoError(t, err)
	all := answers(t, conn)
	require.Len(t, all, 1)
	require.Equal(t, http.StatusNotFound, all[0].status)
	require.Equal(t, "application/json", all[0].header.Get("Content-Type"))
}

// TestServeEndsInOrder: streams end cleanly, requests in flight are answered, and no
// connection is accepted any more.
func TestServeEndsInOrder(t *testing.T) {
	listener := listen(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		_, _ = io.WriteString(w, "the host's own")
	})
	s := serve(t, listener, httpadapter.Options{ShutdownTimeout: -1}, mux)

	stream, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer stream.Close()
	_, err = io.WriteString(stream, raw("GET /api/v1/"+streamPath, "", ""))
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(stream), nil)
	require.NoError(t, err)

	slow, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer slow.Close()
	_, err = io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	<-asked

	s.end()
	events, err := io.ReadAll(res.Body)
	require.NoError(t, err, "a clean end")
	require.Contains(t, string(events), "event: ready\n")
	for err == nil { // until the listener is closed
		var conn net.Conn
		if conn, err = net.Dial("tcp", listener.Addr().String()); err == nil {
			conn.Close()
		}
	}
	select {
	case err := <-s.ended:
		t.Fatalf("it has ended before the request: %v", err)
	default:
	}
	close(answer)
	all := answers(t, slow)
	require.Len(t, all, 1)
	require.Equal(t, "the host's own", all[0].body)
	require.NoError(t, <-s.ended)
	require.Empty(t, s.log.String())
}

// TestServeEndsInTime: Serve ends in time whatever clients and the host's own handlers
// do.
func TestServeEndsInTime(t *testing.T) {
	for name, tt := range map[string]struct {
		timeout time.Duration
		send    string
		after   time.Duration
		cut     bool
	}{
		"nothing sent":             {0, "", 0, false},
		"half a header":            {0, "POST /api/v1/" + createPath + " HTTP/1.1\r\nX-User", 0, false},
		"half a body, no login":    {0, "POST /api/v1/" + createPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", time.Second, false},
		"half a body":              {0, raw("POST /api/v1/"+createPath, "Content-Length: 9\r\n", "{"), 10 * time.Second, true},
		"half a body, less time":   {3 * time.Second, raw("POST /api/v1/"+createPath, "Content-Length: 9\r\n", "{"), 3 * time.Second, true},
		"half a body, all time":    {-1, raw("POST /api/v1/"+createPath, "Content-Length: 9\r\n", "{"), 30 * time.Second, false},
		"a handler that is stuck":  {0, "GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n", 10 * time.Second, true},
		"a stream that isn't read": {0, raw("GET /api/v1/"+streamPath, "", ""), 10 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := pipenet.Listen()
				mux := http.NewServeMux()
				free := make(chan struct{})
				defer close(free)
				mux.HandleFunc("/stuck", func(http.ResponseWriter, *http.Request) { <-free })
				s := serve(t, listener, httpadapter.Options{ShutdownTimeout: tt.timeout}, mux)
				conn, err := listener.Dial(t.Context(), "", "")
				require.NoError(t, err)
				defer conn.Close()
				if tt.send != "" {
					_, err = io.WriteString(conn, tt.send)
					require.NoError(t, err)
				}
				closed := make(chan error, 1)
				read := func() { closed <- copied(conn) }
				if !strings.Contains(name, "isn't read") {
					go read()
				}
				synctest.Wait()
				begin := time.Now()
				s.end()
				require.NoError(t, <-s.ended)
				require.Less(t, time.Since(begin)-tt.after, 2*time.Second, "net/http looks about twice a second, and waits a moment for what it has cut")
				require.GreaterOrEqual(t, time.Since(begin), tt.after)
				require.Equal(t, tt.cut, strings.Contains(s.log.String(), "the shutdown timeout cut off requests"))
				if strings.Contains(name, "isn't read") {
					go read()
				}
				require.NoError(t, <-closed, "the connection is closed")
			})
		})
	}
}

// copied reads until the server closes the connection.
func copied(conn net.Conn) error {
	_, err := io.Copy(io.Discard, conn)
	return err
}

// TestServeLimits: headers, bodies and idle connections have timeouts, and headers have
// a greatest size.
func TestServeLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		send  string
		after time.Duration
	}{
		"a header":           {"GET /api/v1/" + listPath + " HTTP/1.1\r\nX-Pad: ", 10 * time.Second},
		"a body":             {raw("POST /api/v1/"+createPath, "Content-Length: 60000\r\n", "{"), 30 * time.Second},
		"an idle connection": {"GET /idle HTTP/1.1\r\nHost: x\r\n\r\n", 2 * time.Minute},
		"no request":         {"", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener := pipenet.Listen()
				s := serve(t, listener, httpadapter.Options{}, nil)
				conn, err := listener.Dial(t.Context(), "", "")
				require.NoError(t, err)
				defer conn.Close()
				begin := time.Now()
				go io.WriteString(conn, tt.send)
				require.NoError(t, copied(conn))
				require.InDelta(t, tt.after, time.Since(begin), float64(time.Second))
				s.end()
				require.NoError(t, <-s.ended)
			})
		})
	}
	t.Run("the size of a header", func(t *testing.T) {
		listener := listen(t)
		s := serve(t, listener, httpadapter.Options{}, nil)
		conn, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, raw("GET /api/v1/"+listPath, "X-Pad: "+strings.Repeat("x", 70_000)+"\r\n", ""))
		require.NoError(t, err)
		all := answers(t, conn)
		require.Len(t, all, 1)
		require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, all[0].status)
		s.end()
		require.NoError(t, <-s.ended)
	})
}

func TestServeFails(t *testing.T) {
	taken := listen(t)
	defer taken.Close()
	s := serve(t, listen(t), httpadapter.Options{}, nil)
	require.ErrorContains(t, s.api.ListenAndServe(t.Context(), taken.Addr().String(), nil), "address already in use")
	require.ErrorContains(t, s.api.ListenAndServe(t.Context(), "nonsense", nil), "missing port")

	listener := listen(t)
	broken := serve(t, listener, httpadapter.Options{}, nil)
	require.NoError(t, listener.Close())
	require.ErrorIs(t, <-broken.ended, net.ErrClosed, "an end that nobody asked for")

	s.end()
	require.NoError(t, <-s.ended)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.api.Serve(done, listen(t), nil), "an end that has been asked for before")
}
