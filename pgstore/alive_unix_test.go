//go:build unix

package pgstore

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEnded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	pair := func() (client, server net.Conn) {
		client, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		server, err = l.Accept()
		require.NoError(t, err)
		return client, server
	}
	becomes := func(c net.Conn, want bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ended(c) != want; time.Sleep(time.Millisecond) {
			require.True(t, time.Now().Before(end))
		}
	}

	client, server := pair()
	require.False(t, ended(client))
	_, err = server.Write([]byte("A notification"))
	require.NoError(t, err)
	require.False(t, ended(client))
	require.NoError(t, server.Close())
	require.False(t, ended(client), "it is still to be read")
	require.NoError(t, client.Close())
	require.True(t, ended(client))

	client, server = pair()
	_, err = server.Write([]byte("Error"))
	require.NoError(t, err)
	becomes(client, true)
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())

	// A reader that waits on the connection must not hold it up.
	client, server = pair()
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = client.Read(make([]byte, 1)) })
	for range 100 {
		require.False(t, ended(client))
		time.Sleep(100 * time.Microsecond)
	}
	require.NoError(t, server.Close())
	reading.Wait()
	becomes(client, true)
	require.NoError(t, client.Close())
}
