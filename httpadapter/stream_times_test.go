package httpadapter_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/internal/pipenet"
)

// bubble is a server and its clients in the bubble of synctest.
type bubble struct {
	t         *testing.T
	catalog   *customstatus.Catalog
	handler   httpadapter.Recorded
	transport *http.Transport
	asked     atomic.Int64 // calls of the Authenticator
	loggedIn  atomic.Bool
	asking    func() // called after each valid login
}

// inBubble runs a test with a server, and ends the server.
func inBubble(t *testing.T, opts httpadapter.Options, test func(*testing.T, *bubble)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t}
		b.loggedIn.Store(true)
		var err error
		b.catalog, err = customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
		require.NoError(t, err)
		defer b.catalog.Close()
		b.handler = newHandler(b.catalog, httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
			b.asked.Add(1)
			if !b.loggedIn.Load() {
				return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
			}
			if b.asking != nil {
				b.asking()
			}
			return httpadapter.Caller{UserID: "u", MayManage: true}, nil
		}), &opts)
		listener := pipenet.Listen()
		server := &http.Server{Handler: b.handler}
		go server.Serve(listener)
		defer server.Close()
		b.transport = &http.Transport{DialContext: listener.Dial}
		defer b.transport.CloseIdleConnections()
		defer b.handler.EndStreams()
		test(t, b)
	})
}

// follow opens a stream and returns its events. The channel is closed at the end of the
// stream.
func (b *bubble) follow() <-chan string {
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, "http://x/api/v1/"+streamPath, nil)
	require.NoError(b.t, err)
	res, err := b.transport.RoundTrip(r)
	require.NoError(b.t, err)
	require.Equal(b.t, http.StatusOK, res.StatusCode)
	events := make(chan string, 1000)
	go func() {
		defer res.Body.Close()
		defer close(events)
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				events <- event
			}
		}
		if err := lines.Err(); err != nil {
			events <- err.Error()
		}
	}()
	require.Equal(b.t, "ready", <-events)
	return events
}

// ended waits for the end of a stream and returns its time.
func ended(events <-chan string) time.Time {
	for event := range events {
		if event != "heartbeat" && event != "created" {
			panic("a stream that was to end has " + event)
		}
	}
	return time.Now()
}

func (b *bubble) create(name string) {
	_, err := b.catalog.Create(b.t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
	assert.NoError(b.t, err)
}

// TestStreamLastsAnHour: a stream lasts an hour or the host's own time, up to a tenth
// longer or shorter.
func TestStreamLastsAnHour(t *testing.T) {
	for name, tt := range map[string]struct {
		opts httpadapter.Options
		want time.Duration
	}{
		"by default, at least": {httpadapter.Options{Random: func() uint64 { return 0 }}, 54 * time.Minute},
		"by default, at most":  {httpadapter.Options{Random: func() uint64 { return uint64(12 * time.Minute) }, RecheckLogin: -1}, 66 * time.Minute},
		"as the host says":     {httpadapter.Options{Random: func() uint64 { return 0 }, MaxStreamTime: 10 * time.Second}, 9 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, tt.opts, func(t *testing.T, b *bubble) {
				begin := time.Now()
				require.Equal(t, tt.want, ended(b.follow()).Sub(begin))
			})
		})
	}
	t.Run("drawn", func(t *testing.T) {
		inBubble(t, httpadapter.Options{}, func(t *testing.T, b *bubble) {
			seen := make(map[time.Duration]bool)
			for range 20 {
				begin := time.Now()
				lasted := ended(b.follow()).Sub(begin)
				require.False(t, seen[lasted])
				seen[lasted] = true
				require.InDelta(t, time.Hour, lasted, float64(6*time.Minute))
			}
		})
	})
	for name, never := range map[string]time.Duration{"for ever": -1, "for centuries": math.MaxInt64} {
		t.Run(name, func(t *testing.T) {
			random := func() uint64 { return 1 << 60 } // makes the longer time overflow
			inBubble(t, httpadapter.Options{MaxStreamTime: never, RecheckLogin: never, Random: random}, func(t *testing.T, b *bubble) {
				events := b.follow()
				go func() {
					for range events { // heartbeats
					}
				}()
				time.Sleep(100*time.Hour + 7*time.Second) // between two heartbeats
				require.EqualValues(t, 1, b.catalog.Stats().Watchers)
				require.EqualValues(t, 1, b.asked.Load())
			})
		})
	}
	t.Run("also while there are changes", func(t *testing.T) {
		inBubble(t, httpadapter.Options{MaxStreamTime: time.Minute, Random: func() uint64 { return 0 }}, func(t *testing.T, b *bubble) {
			events := b.follow()
			begin := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range 600 {
					b.create(fmt.Sprint(i))
					time.Sleep(100 * time.Millisecond)
				}
			}()
			require.LessOrEqual(t, ended(events).Sub(begin), 54*time.Second+100*time.Millisecond)
			<-done
		})
	})
}

// TestStreamChecksItsLogin: a stream checks its login at its own interval, however many
// changes there are.
func TestStreamChecksItsLogin(t *testing.T) {
	least := func() uint64 { return 0 }
	t.Run("every half minute", func(t *testing.T) {
		inBubble(t, httpadapter.Options{Random: least}, func(t *testing.T, b *bubble) {
			events := b.follow()
			require.EqualValues(t, 1, b.asked.Load())
			for i := range 100 {
				b.create(fmt.Sprint(i))
				require.Equal(t, "created", <-events)
			}
			time.Sleep(26 * time.Second)
			require.EqualValues(t, 1, b.asked.Load(), "asked for each event")
			time.Sleep(2 * time.Second)
			require.EqualValues(t, 2, b.asked.Load())
			b.loggedIn.Store(false)
			begin := time.Now()
			require.Equal(t, 26*time.Second, ended(events).Sub(begin))
		})
	})
	t.Run("as the host says", func(t *testing.T) {
		inBubble(t, httpadapter.Options{Random: least, RecheckLogin: time.Hour, MaxStreamTime: -1}, func(t *testing.T, b *bubble) {
			events := b.follow()
			b.loggedIn.Store(false)
			begin := time.Now()
			require.Equal(t, 54*time.Minute, ended(events).Sub(begin))
		})
	})
	t.Run("never", func(t *testing.T) {
		inBubble(t, httpadapter.Options{Random: least, RecheckLogin: -1}, func(t *testing.T, b *bubble) {
			events := b.follow()
			b.loggedIn.Store(false)
			begin := time.Now()
			require.Equal(t, 54*time.Minute, ended(events).Sub(begin), "its greatest age")
			require.EqualValues(t, 1, b.asked.Load())
		})
	})
	t.Run("at once", func(t *testing.T) {
		inBubble(t, httpadapter.Options{}, func(t *testing.T, b *bubble) {
			events, others := b.follow(), b.follow()
			b.handler.RecheckLogins() // all logins are valid
			synctest.Wait()
			require.EqualValues(t, 4, b.asked.Load())
			b.create("a")
			require.Equal(t, []string{"created", "created"}, []string{<-events, <-others})
			b.loggedIn.Store(false)
			begin := time.Now()
			b.handler.RecheckLogins()
			require.Equal(t, begin, ended(events))
			require.Equal(t, begin, ended(others))
		})
	})
	t.Run("revoked while the stream begins", func(t *testing.T) {
		inBubble(t, httpadapter.Options{Random: least}, func(t *testing.T, b *bubble) {
			b.asking = func() {
				b.asking = nil
				b.loggedIn.Store(false) // after the Authenticator has looked
				b.handler.RecheckLogins()
			}
			begin := time.Now()
			require.Equal(t, begin, ended(b.follow()))
		})
	})
	t.Run("hundreds of streams and changes", func(t *testing.T) {
		inBubble(t, httpadapter.Options{}, func(t *testing.T, b *bubble) {
			var wg sync.WaitGroup
			for range 200 {
				events := b.follow()
				wg.Go(func() {
					for range 100 {
						assert.Equal(t, "created", <-events)
					}
				})
			}
			for i := range 100 {
				b.create(fmt.Sprint(i))
			}
			wg.Wait()
			require.EqualValues(t, 200, b.asked.Load())
		})
	})
}

// TestHeartbeatsAreForSilence: a heartbeat comes after 15 seconds without other events.
func TestHeartbeatsAreForSilence(t *testing.T) {
	inBubble(t, httpadapter.Options{}, func(t *testing.T, b *bubble) {
		events := b.follow()
		time.Sleep(10 * time.Second)
		b.create("a")
		require.Equal(t, "created", <-events)
		begin := time.Now()
		require.Equal(t, "heartbeat", <-events)
		require.Equal(t, 15*time.Second, time.Since(begin))
	})
}

// TestRetryIsDrawn: each stream gets its own retry, so that clients come back at
// different times after a restart.
func TestRetryIsDrawn(t *testing.T) {
	s := newServer(t, setup{})
	seen := make(map[string]bool)
	for range 20 {
		seen[s.open("").block()[0]] = true
	}
	require.Greater(t, len(seen), 10)
}

// TestHalfABodyIsNotWaitedFor: the handler bounds the wait for a body also on a server
// without limits.
func TestHalfABodyIsNotWaitedFor(t *testing.T) {
	const head = "POST /api/v1/" + createPath + " HTTP/1.1\r\nHost: x\r\n"
	for name, tt := range map[string]struct {
		send   string
		out    bool // not logged in
		status string
		after  time.Duration
	}{
		"logged in":          {head + "Content-Length: 40\r\n\r\n{\"name\":", false, "400", 10 * time.Second},
		"logged in, chunks":  {head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"na", false, "400", 10 * time.Second},
		"not logged in":      {head + "Content-Length: 40\r\n\r\n{\"name\":", true, "401", time.Second},
		"no body at all":     {head + "Content-Length: 40\r\n\r\n", true, "401", time.Second},
		"chunks":             {head + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"na", true, "401", time.Second},
		"no such endpoint":   {"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n{", true, "404", time.Second},
		"another method":     {"PUT /api/v1/" + listPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n{", true, "405", time.Second},
		"a list with a body": {"GET /api/v1/" + listPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n{", false, "200", time.Second},
		"a stream with one":  {"GET /api/v1/" + streamPath + " HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n{", false, "200", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, httpadapter.Options{}, func(t *testing.T, b *bubble) {
				b.loggedIn.Store(!tt.out)
				conn, err := b.transport.DialContext(t.Context(), "", "")
				require.NoError(t, err)
				defer conn.Close()
				begin := time.Now()
				go io.WriteString(conn, tt.send)
				line, err := bufio.NewReader(conn).ReadString('\n')
				require.NoError(t, err)
				require.Contains(t, line, " "+tt.status+" ")
				require.Equal(t, tt.after, time.Since(begin))
			})
		})
	}
	t.Run("a connection is used again", func(t *testing.T) {
		inBubble(t, httpadapter.Options{}, func(t *testing.T, b *bubble) {
			b.loggedIn.Store(false)
			conn, err := b.transport.DialContext(t.Context(), "", "")
			require.NoError(t, err)
			defer conn.Close()
			answers := bufio.NewReader(conn)
			for range 3 {
				go io.WriteString(conn, head+"Content-Length: 2\r\n\r\n{}")
				res, err := http.ReadResponse(answers, nil)
				require.NoError(t, err)
				require.Equal(t, http.StatusUnauthorized, res.StatusCode)
				_, err = io.Copy(io.Discard, res.Body)
				require.NoError(t, err)
				time.Sleep(time.Hour) // far longer than the handler waits for a body
			}
		})
	})
	t.Run("the server's own limit counts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
			require.NoError(t, err)
			defer catalog.Close()
			h := newHandler(catalog, httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
				return httpadapter.Caller{MayManage: true}, nil
			}), nil)
			listener := pipenet.Listen()
			server := &http.Server{Handler: h, ReadTimeout: time.Minute}
			go server.Serve(listener)
			defer server.Close()
			conn, err := listener.Dial(context.Background(), "", "")
			require.NoError(t, err)
			defer conn.Close()
			begin := time.Now()
			go io.WriteString(conn, head+"Content-Length: 40\r\n\r\n{")
			line, err := bufio.NewReader(conn).ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, " 400 ")
			require.Equal(t, time.Minute, time.Since(begin))
		})
	})
}
