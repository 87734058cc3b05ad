package loginlimit

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// next accepts one token, t.
var next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Auth-Token") == "t" {
		_, _ = w.Write([]byte("in"))
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", "3")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte("out"))
})

func newLimiter(opts Options) (*limiter, *bytes.Buffer) {
	log := new(bytes.Buffer)
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	return New(next, &opts).(*limiter), log
}

// try makes a request and returns the answer and how long it took, in the time
// of a synctest bubble.
func try(ctx context.Context, h http.Handler, addr, token string) (*httptest.ResponseRecorder, time.Duration) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.RemoteAddr = addr
	r.Header.Set("X-User-Id", "u")
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	w := httptest.NewRecorder()
	begin := time.Now()
	h.ServeHTTP(w, r)
	return w, time.Since(begin)
}

func TestFailedLoginsAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, log := newLimiter(Options{Failures: 3})
		try := func(addr, token string, want int, delay time.Duration) {
			t.Helper()
			w, took := try(t.Context(), l, addr, token)
			require.Equal(t, want, w.Code)
			require.Equal(t, map[int]string{200: "in", 401: "out"}[want], w.Body.String())
			require.Equal(t, delay, took)
		}
		for range 3 {
			try("192.0.2.1:1000", "wrong", 401, 0)
		}
		require.Empty(t, log.String())
		for port := range 5 {
			try(fmt.Sprintf("192.0.2.1:%d", port), "wrong", 401, time.Second)
			try("192.0.2.1:1000", "t", 200, 0) // an honest user at the same address
		}
		try("192.0.2.1:1000", "", 401, 0)      // no attempt to guess
		try("192.0.2.2:1000", "wrong", 401, 0) // another address
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		require.Contains(t, log.String(), "address=192.0.2.1\n")

		for range 2 { // the window before counts too
			time.Sleep(window)
			for range 4 {
				try("192.0.2.1:1000", "wrong", 401, time.Second)
			}
		}
		time.Sleep(2 * window)
		try("192.0.2.1:1000", "wrong", 401, 0)
	})
}

// TestWhatCountsAsAnAttempt: a request with credentials of any usual kind counts.
func TestWhatCountsAsAnAttempt(t *testing.T) {
	for name, counts := range map[string]bool{
		"X-Auth-Token": true, "Authorization": true, "Cookie": true,
		"X-User-Id": false, "Accept": false,
	} {
		l, _ := newLimiter(Options{Failures: 1})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set(name, "x")
		l.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, counts, len(l.current) == 1, name)

		// An empty first value does not hide a second value.
		l, _ = newLimiter(Options{Failures: 1})
		r.Header[name] = []string{"", "x"}
		l.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, counts, len(l.current) == 1, name)
		l, _ = newLimiter(Options{Failures: 1})
		r.Header[name] = []string{"", ""}
		l.ServeHTTP(httptest.NewRecorder(), r)
		require.Empty(t, l.current, name)
	}
}

func TestWithoutLimit(t *testing.T) {
	require.Equal(t, fmt.Sprintf("%p", next), fmt.Sprintf("%p", New(next, &Options{Failures: -1})), "nothing in front")
}

func TestNeedsAHandler(t *testing.T) {
	require.PanicsWithValue(t, "loginlimit: New needs a handler", func() { New(nil, nil) })
}

func TestDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, opts := range map[string]*Options{"nil": nil, "zero": {}} {
			h := New(next, opts)
			for range DefaultFailures {
				_, took := try(t.Context(), h, "192.0.2.1:1", "wrong")
				require.Zero(t, took, name)
			}
			_, took := try(t.Context(), h, "192.0.2.1:1", "wrong")
			require.Equal(t, time.Second, took, name)
		}
	})
}

func TestDelayEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := newLimiter(Options{Failures: 1})
		try(t.Context(), l, "192.0.2.1:1", "wrong")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, took := try(ctx, l, "192.0.2.1:1", "wrong")
		require.Equal(t, 10*time.Millisecond, took)
		require.Zero(t, l.delayed)
	})
}

// TestFloodIsSlowedDownOrCut: an address guesses on far more connections than may wait.
// Every guess beyond the limit is answered late, or not at all. Valid credentials from
// the same address, and failures from another one, find no change.
func TestFloodIsSlowedDownOrCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := newLimiter(Options{Failures: 1})
		try(t.Context(), l, "192.0.2.1:1", "wrong")
		try(t.Context(), l, "192.0.2.2:1", "wrong")
		var mu sync.Mutex
		slowed, cut := 0, 0
		var wg sync.WaitGroup
		for range 4 * maxDelayedOfOne {
			wg.Go(func() {
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					switch recover() {
					case nil:
						slowed++
					case http.ErrAbortHandler:
						cut++
					}
				}()
				w, took := try(t.Context(), l, "192.0.2.1:1", "wrong")
				if w.Code != http.StatusUnauthorized || took != time.Second {
					t.Errorf("answered %d after %v", w.Code, took)
				}
			})
		}
		synctest.Wait()
		w, took := try(t.Context(), l, "192.0.2.1:1", "t")
		require.Zero(t, took)
		require.Equal(t, "in", w.Body.String(), "valid credentials from the same address")
		w, took = try(t.Context(), l, "192.0.2.2:1", "wrong")
		require.Equal(t, time.Second, took)
		require.Equal(t, "out", w.Body.String(), "another address has places of its own")
		wg.Wait()
		require.Equal(t, maxDelayedOfOne, slowed)
		require.Equal(t, 3*maxDelayedOfOne, cut)
		require.Zero(t, l.delayed)
		require.Empty(t, l.waiting)
	})
}

// TestPlacesAreBounded: all addresses together have no more places than fit into the
// memory that is meant for them.
func TestPlacesAreBounded(t *testing.T) {
	l := new(limiter)
	got := 0
	for i := range 2 * maxDelayed {
		if l.acquire(fmt.Sprint(i)) {
			got++
		}
	}
	require.Equal(t, maxDelayed, got)
	require.Len(t, l.waiting, maxDelayed)
	l.release("0")
	require.True(t, l.acquire("another"))
}

// TestCutConnection: a real client without a place gets no answer, even if the handler
// flushes one.
func TestCutConnection(t *testing.T) {
	h := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next(w, r)
		w.(http.Flusher).Flush()
	}), &Options{Failures: 1, Logger: slog.New(slog.DiscardHandler)}).(*limiter)
	h.delayed = maxDelayed
	server := httptest.NewServer(h)
	defer server.Close()
	for _, want := range []bool{true, false, false} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, nil)
		require.NoError(t, err)
		r.Header.Set("X-Auth-Token", "wrong")
		res, err := server.Client().Do(r)
		if err == nil {
			_ = res.Body.Close()
		}
		require.Equal(t, want, err == nil)
	}
}

// TestHTTP2ConnectionEndsInOrder: other requests on the connection may be honest.
func TestHTTP2ConnectionEndsInOrder(t *testing.T) {
	l, _ := newLimiter(Options{Failures: 1})
	l.delayed = maxDelayed
	answer := func() *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.ProtoMajor, r.ProtoMinor = 2, 0
		r.Header.Set("X-Auth-Token", "wrong")
		w := httptest.NewRecorder()
		l.ServeHTTP(w, r)
		return w
	}
	require.Equal(t, http.StatusUnauthorized, answer().Code)
	w := answer()
	require.Equal(t, http.StatusTooManyRequests, w.Code)
	require.Equal(t, `{"success":false,"error":"Too many failed logins, try again later [error-too-many-requests]","errorType":"error-too-many-requests"}`, w.Body.String())
	require.Equal(t, http.Header{
		"Content-Type":           {"application/json"},
		"Content-Length":         {fmt.Sprint(w.Body.Len())},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
		"Retry-After":            {"1"},
		"Connection":             {"close"},
	}, w.Header())
}

func TestMemoryIsBounded(t *testing.T) {
	l := limiter{limit: 1}
	now := time.Now()
	for i := range 5 * maxAddrs {
		l.add(fmt.Sprint(i), now)
		require.LessOrEqual(t, len(l.current)+len(l.previous), 2*maxAddrs)
	}
	last := fmt.Sprint(5*maxAddrs - 1)
	require.Equal(t, 2, l.add(last, now), "the last addresses are known")
	require.Equal(t, 3, l.add(last, now))
}

func TestClientAddr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := newLimiter(Options{Failures: 1, ClientAddr: func(r *http.Request) string { return "proxied " + r.RemoteAddr }})
		try(t.Context(), l, "192.0.2.1:1", "wrong")
		try(t.Context(), l, "192.0.2.1:2", "wrong")
		require.Equal(t, map[string]int{"proxied 192.0.2.1:1": 1, "proxied 192.0.2.1:2": 1}, l.current)
	})
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80":               "192.0.2.1",
		"[::ffff:192.0.2.1]:80":      "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80":  "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:80":  "2001:db8:1:2::/64",
		"[fe80::1%eth0]:80":          "fe80::/64",
		"@":                          "@",
		"":                           "",
		strings.Repeat("x", 100000):  strings.Repeat("x", 64),
		"no-address.example.com:443": "no-address.example.com",
	} {
		require.Equal(t, want, network(connectionAddr(&http.Request{RemoteAddr: remote})))
	}
	for named, want := range map[string]string{ // by a proxy
		"192.0.2.1:4321":      "192.0.2.1",
		"[2001:db8:1:2::6]:1": "2001:db8:1:2::/64",
	} {
		require.Equal(t, want, network(named))
	}
}

// TestWriterKeepsItsAbilities: a stream behind the limit can flush and set deadlines, and
// find a Flusher.
func TestWriterKeepsItsAbilities(t *testing.T) {
	flushed := make(chan struct{})
	server := httptest.NewServer(New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn := http.NewResponseController(w)
		if err := conn.SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
		w.WriteHeader(http.StatusEarlyHints) // comes before the answer
		_, _ = w.Write([]byte("first"))
		if err := conn.Flush(); err != nil {
			t.Error(err)
		}
		w.(http.Flusher).Flush()
		<-flushed
	}), nil))
	defer server.Close()
	res, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	defer res.Body.Close()
	got := make([]byte, 5)
	_, err = res.Body.Read(got)
	require.NoError(t, err)
	require.Equal(t, "first", string(got), "before the handler has returned")
	close(flushed)

}
