package httpadapter_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
	"github.com/customstatus/customstatus/internal/pipenet"
)

// TestIdleStreamLasts: a stream without changes lives on from heartbeat to heartbeat,
// and its end is a clean one at any time.
func TestIdleStreamLasts(t *testing.T) {
	for name, tt := range map[string]struct{ two, plain bool }{
		"HTTP/1.1":                        {},
		"HTTP/1.1, on a plain connection": {plain: true},
		"HTTP/2":                          {two: true},
		"HTTP/2, on a plain connection":   {two: true, plain: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
				require.NoError(t, err)
				defer catalog.Close()
				tokens := new(tokenauth.Tokens)
				require.NoError(t, tokens.Add(tokenauth.Token{UserID: "u", Hash: tokenauth.HashOf("t")}))
				h := newHandler(catalog, httpadapter.HeaderAuth(tokens.Login), &httpadapter.Options{Random: func() uint64 { return 0 }})
				var protocols http.Protocols
				protocols.SetHTTP1(!tt.two)
				protocols.SetUnencryptedHTTP2(tt.two)
				listener := pipenet.Listen()
				server := &http.Server{Handler: h, Protocols: &protocols}
				if tt.plain {
					server.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return httpadapter.AsPlainConn(ctx) }
				}
				go server.Serve(listener)
				defer server.Close()
				transport := &http.Transport{DialContext: listener.Dial, Protocols: &protocols}
				defer transport.CloseIdleConnections()

				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/api/v1/"+streamPath, nil)
				require.NoError(t, err)
				r.Header.Set("X-User-Id", "u")
				r.Header.Set("X-Auth-Token", "t")
				res, err := transport.RoundTrip(r)
				require.NoError(t, err)
				defer res.Body.Close()
				require.Equal(t, tt.two, res.ProtoMajor == 2)
				body := bufio.NewReader(res.Body)
				const at = "0-0000000000000000"
				beat := "event: heartbeat\ndata: {\"position\":\"" + at + "\"}\nid: " + at + "\n\n"
				want := "retry: 2000\nevent: ready\ndata: {\"position\":\"" + at + "\"}\nid: " + at + "\n\n" + beat + beat
				got := make([]byte, len(want))
				_, err = io.ReadFull(body, got) // two heartbeats
				require.NoError(t, err)
				require.Equal(t, want, string(got))
				time.Sleep(14 * time.Second) // longer than the timeout for a write
				h.EndStreams()
				_, err = body.ReadString('\n')
				require.Equal(t, io.EOF, err)
			})
		})
	}
}
