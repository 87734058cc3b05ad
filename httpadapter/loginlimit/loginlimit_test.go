package httpadapter

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

	"github.com/customstatus/customstatus"
)

// loginHandler knows one user, u with the token t.
func loginHandler(t *testing.T, opts Options) (*Handler, *bytes.Buffer) {
	t.Helper()
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, catalog.Close()) })
	tokens := new(Tokens)
	require.NoError(t, tokens.Add(Token{UserID: "u", Hash: HashToken("t")}))
	log := new(bytes.Buffer)
	opts.Authenticator, opts.Logger = tokens, slog.New(slog.NewTextHandler(log, nil))
	return New(catalog, &opts), log
}

// try asks for a list and returns the answer and how long it took, in the time
// of a synctest bubble.
func try(ctx context.Context, h http.Handler, addr, token string) (*httptest.ResponseRecorder, time.Duration) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/custom-user-status.list", nil)
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
		h, log := loginHandler(t, Options{FailedLogins: 3})
		try := func(addr, token string, want int, delay time.Duration) {
			t.Helper()
			w, took := try(t.Context(), h, addr, token)
			require.Equal(t, want, w.Code)
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
			time.Sleep(loginWindow)
			for range 4 {
				try("192.0.2.1:1000", "wrong", 401, time.Second)
			}
		}
		time.Sleep(2 * loginWindow)
		try("192.0.2.1:1000", "wrong", 401, 0)
	})
}

func TestFailedLoginsWithoutLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := loginHandler(t, Options{FailedLogins: -1})
		for range 2 * DefaultFailedLogins {
			_, took := try(t.Context(), h, "192.0.2.1:1", "wrong")
			require.Zero(t, took)
		}
		require.Nil(t, h.logins.current)
	})
}

func TestFailedLoginsByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := loginHandler(t, Options{})
		for range DefaultFailedLogins {
			_, took := try(t.Context(), h, "192.0.2.1:1", "wrong")
			require.Zero(t, took)
		}
		_, took := try(t.Context(), h, "192.0.2.1:1", "wrong")
		require.Equal(t, time.Second, took)
	})
}

func TestDelayEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := loginHandler(t, Options{FailedLogins: 1})
		try(t.Context(), h, "192.0.2.1:1", "wrong")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, took := try(ctx, h, "192.0.2.1:1", "wrong")
		require.Equal(t, 10*time.Millisecond, took)
		require.Zero(t, h.logins.delayed)
	})
}

func TestDelayedAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := loginHandler(t, Options{FailedLogins: 1})
		try(t.Context(), h, "192.0.2.1:1", "wrong")
		var wg sync.WaitGroup
		for range maxDelayed {
			wg.Go(func() { try(t.Context(), h, "192.0.2.1:1", "wrong") })
		}
		synctest.Wait()
		w, took := try(t.Context(), h, "192.0.2.1:1", "wrong")
		require.Zero(t, took)
		require.Equal(t, "close", w.Header().Get("Connection"))
		require.Equal(t, 401, w.Code)
		w, took = try(t.Context(), h, "192.0.2.1:1", "t")
		require.Zero(t, took)
		require.Equal(t, 200, w.Code)
		wg.Wait()
		require.Zero(t, h.logins.delayed)
	})
}

func TestFailedLoginsAreBounded(t *testing.T) {
	f := failedLogins{limit: 1}
	now := time.Now()
	for i := range 5 * maxLoginAddrs {
		f.add(fmt.Sprint(i), now)
		require.LessOrEqual(t, len(f.current)+len(f.previous), 2*maxLoginAddrs)
	}
	last := fmt.Sprint(5*maxLoginAddrs - 1)
	require.Equal(t, 2, f.add(last, now), "the last addresses are known")
	require.Equal(t, 3, f.add(last, now))
}

func TestClientAddr(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := loginHandler(t, Options{FailedLogins: 1, ClientAddr: func(r *http.Request) string { return "proxied " + r.RemoteAddr }})
		try(t.Context(), h, "192.0.2.1:1", "wrong")
		try(t.Context(), h, "192.0.2.1:2", "wrong")
		require.Equal(t, map[string]int{"proxied 192.0.2.1:1": 1, "proxied 192.0.2.1:2": 1}, h.logins.current)
	})
}

func TestLoginAddr(t *testing.T) {
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
		require.Equal(t, want, loginAddr(connectionAddr(&http.Request{RemoteAddr: remote})))
	}
	for named, want := range map[string]string{ // by a proxy
		"192.0.2.1:4321":      "192.0.2.1",
		"[2001:db8:1:2::6]:1": "2001:db8:1:2::/64",
	} {
		require.Equal(t, want, loginAddr(named))
	}
}
