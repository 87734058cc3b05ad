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
)

// pipes is a listener on which the test itself connects, so that all is in the
// bubble of synctest.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p <- theirs
	return ours, nil
}

// TestIdleStreamLasts: a stream with nothing to say lives on from heartbeat to
// heartbeat, and has a clean end whenever that comes.
func TestIdleStreamLasts(t *testing.T) {
	for name, two := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
				require.NoError(t, err)
				defer catalog.Close()
				tokens := new(httpadapter.Tokens)
				require.NoError(t, tokens.Add(httpadapter.Token{UserID: "u", Hash: httpadapter.HashToken("t")}))
				h := httpadapter.New(catalog, &httpadapter.Options{Authenticator: tokens})
				var protocols http.Protocols
				protocols.SetHTTP1(!two)
				protocols.SetUnencryptedHTTP2(two)
				listener := make(pipes)
				server := &http.Server{Handler: h, Protocols: &protocols}
				go server.Serve(listener)
				defer server.Close()
				transport := &http.Transport{DialContext: listener.dial, Protocols: &protocols}
				defer transport.CloseIdleConnections()

				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/api/v1/"+streamPath, nil)
				require.NoError(t, err)
				r.Header.Set("X-User-Id", "u")
				r.Header.Set("X-Auth-Token", "t")
				res, err := transport.RoundTrip(r)
				require.NoError(t, err)
				defer res.Body.Close()
				require.Equal(t, two, res.ProtoMajor == 2)
				body := bufio.NewReader(res.Body)
				for _, want := range []string{"id: 0\n", "\n", ":\n", "\n", ":\n", "\n"} { // half a minute
					line, err := body.ReadString('\n')
					require.NoError(t, err)
					require.Equal(t, want, line)
				}
				time.Sleep(14 * time.Second) // longer than a client may take to read
				h.EndStreams()
				_, err = body.ReadString('\n')
				require.Equal(t, io.EOF, err)
			})
		})
	}
}
