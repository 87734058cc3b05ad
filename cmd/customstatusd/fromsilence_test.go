package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A server that stops answering is given up, and one that is slow is not.
func TestSilence(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
	for name, c := range map[string]struct {
		parts []string // each after 50 seconds
		body  string
		err   string
	}{
		"slow":              {[]string{head, "s", "l", "o", "w"}, "slow", ""},
		"no answer":         {nil, "", "nothing has come for 1m0s"},
		"a part":            {[]string{head, "s", "l"}, "sl", "nothing has come for 1m0s"},
		"the head":          {[]string{head}, "", "nothing has come for 1m0s"},
		"another breakdown": {[]string{"what\r\n"}, "", "malformed HTTP"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go func() {
					defer far.Close()
					if _, err := http.ReadRequest(bufio.NewReader(far)); err != nil {
						return
					}
					for _, part := range c.parts {
						time.Sleep(50 * time.Second)
						_, _ = io.WriteString(far, part)
					}
					_, _ = io.Copy(io.Discard, far) // until the other side gives up
				}()
				dial := func(context.Context, string, string) (net.Conn, error) { return near, nil }
				transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
				answer, err := (&http.Client{Transport: &showing{next: transport, silence: fromSilence}}).Get("http://chat.example")
				var body []byte
				if err == nil {
					body, err = io.ReadAll(answer.Body)
					require.NoError(t, answer.Body.Close())
				}
				if c.err == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, c.err)
				}
				require.Equal(t, c.body, string(body))
			})
		})
	}
}

func TestSilenceOverHTTP2(t *testing.T) {
	for _, part := range []string{"", "s"} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if part != "" {
				_, _ = io.WriteString(w, part)
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
		}))
		server.EnableHTTP2 = true
		server.StartTLS()
		answer, err := (&http.Client{Transport: &showing{next: server.Client().Transport, silence: 100 * time.Millisecond}}).Get(server.URL)
		if err == nil { // the head of the answer came
			require.Equal(t, 2, answer.ProtoMajor)
			_, err = io.ReadAll(answer.Body)
			require.NoError(t, answer.Body.Close())
		}
		require.ErrorContains(t, err, "nothing has come for 100ms")
		server.Close()
	}
}

// An answer that is small on the way and large in memory is given up. It would fill the
// memory of the machine.
func TestLargeAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		packed := gzip.NewWriter(w)
		defer packed.Close()
		_, _ = io.WriteString(packed, `{"statuses":[],"count":0,"offset":0,"total":0,`)
		blank := make([]byte, 1<<20)
		for i := range blank {
			blank[i] = ' '
		}
		for range fromMaxSize / len(blank) {
			_, _ = packed.Write(blank)
		}
		_, _ = io.WriteString(packed, `"success":true}`)
	}))
	defer server.Close()
	_, errs := fromCommand(t, exitFailure, fromToken, "--db", filepath.Join(t.TempDir(), "x.db"), "--from", server.URL, "--user-id", fromUser)
	require.Contains(t, errs, "it has more than 33554432 bytes")
}
