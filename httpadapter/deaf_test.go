package httpadapter_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/internal/pipenet"
)

// deafConn is a connection whose client can stop reading.
type deafConn struct {
	net.Conn
	deaf *atomic.Bool
	gone chan struct{}
}

func (c deafConn) Read(b []byte) (int, error) {
	if c.deaf.Load() {
		<-c.gone
	}
	n, err := c.Conn.Read(b)
	return n, err
}

// closingListener says how many of its connections are open.
type closingListener struct {
	net.Listener
	open atomic.Int64
}

func (l *closingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.open.Add(1)
		conn = &countedConn{Conn: conn, open: &l.open}
	}
	return conn, err
}

type countedConn struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

func (c *countedConn) Close() error {
	if !c.closed.Swap(true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}

// A client of HTTP/2 that doesn't read its connection is cut. The limit of its stream
// alone would wait behind the write that is stuck.
func TestDeafClientOfHTTP2IsCut(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"x"}}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	require.NoError(t, err)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}}

	synctest.Test(t, func(t *testing.T) {
		catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
		require.NoError(t, err)
		defer catalog.Close()
		h := newHandler(catalog, httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
			return httpadapter.Caller{UserID: "u"}, nil
		}), nil)
		pipes := pipenet.Listen()
		listener := &closingListener{Listener: pipes}
		ctx, end := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- h.Serve(ctx, tls.NewListener(listener, config), nil) }()

		var deaf atomic.Bool
		gone := make(chan struct{})
		transport := &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := pipes.Dial(ctx, network, addr)
				return deafConn{conn, &deaf, gone}, err
			},
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}},
			ForceAttemptHTTP2: true,
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://x/api/v1/"+streamPath, nil)
		require.NoError(t, err)
		response, err := transport.RoundTrip(request)
		require.NoError(t, err)
		require.Equal(t, 2, response.ProtoMajor)
		synctest.Wait()
		require.EqualValues(t, 1, listener.open.Load())

		deaf.Store(true)
		for _, name := range []string{"one", "two", "three"} { // what is being read now is read
			_, err := catalog.Create(t.Context(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
			require.NoError(t, err)
			synctest.Wait()
		}
		time.Sleep(25 * time.Second)
		require.Zero(t, listener.open.Load(), "the connection is open still")
		end()
		require.NoError(t, <-served)
		close(gone)
		response.Body.Close()
		transport.CloseIdleConnections()
	})
}
