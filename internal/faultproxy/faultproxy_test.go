package faultproxy_test

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/faultproxy"
)

// echo starts a server that sends every line back, and a proxy before it.
func echo(t *testing.T) *faultproxy.Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	p, err := faultproxy.New(l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, p.Close())
		require.NoError(t, l.Close())
		running.Wait()
	})
	return p
}

type client struct {
	t *testing.T
	net.Conn
	lines *bufio.Reader
}

func dial(t *testing.T, p *faultproxy.Proxy) client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return client{t, c, bufio.NewReader(c)}
}

// says sends a line and requires it to come back.
func (c client) says(line string) {
	c.t.Helper()
	c.sends(line)
	c.hears(line)
}

func (c client) sends(line string) {
	c.t.Helper()
	_, err := io.WriteString(c.Conn, line+"\n")
	require.NoError(c.t, err)
}

func (c client) hears(line string) {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	got, err := c.lines.ReadString('\n')
	require.NoError(c.t, err)
	require.Equal(c.t, line+"\n", got)
}

func (c client) isCut() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := c.lines.ReadByte()
	require.ErrorContains(c.t, err, "reset")
}

// isRefused requires a new connection to be reset, maybe before it is there.
func isRefused(t *testing.T, p *faultproxy.Proxy) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		require.ErrorContains(t, err, "reset")
		return
	}
	defer c.Close()
	client{t, c, bufio.NewReader(c)}.isCut()
}

func (c client) hearsNothing() {
	c.t.Helper()
	require.NoError(c.t, c.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	_, err := c.lines.ReadByte()
	require.ErrorContains(c.t, err, "timeout")
}

func TestPass(t *testing.T) {
	c := dial(t, echo(t))
	c.says("a")
	c.says("b")
	require.NoError(t, c.Conn.(*net.TCPConn).CloseWrite())
	_, err := c.lines.ReadByte()
	require.Equal(t, io.EOF, err, "the end passes, too")
}

func TestCut(t *testing.T) {
	p := echo(t)
	a, b := dial(t, p), dial(t, p)
	a.says("a")
	b.says("b")
	p.Set(faultproxy.ToServer, faultproxy.Rule{Action: faultproxy.Cut, Pattern: []byte("secret"), Once: true})
	a.says("something else")
	a.sends("a secret")
	a.isCut()
	require.Equal(t, 1, p.Fired(faultproxy.ToServer))
	b.says("a secret of the second")
	p.CutAll()
	b.isCut()
	p.Refuse(true)
	isRefused(t, p)
	p.Refuse(false)
	dial(t, p).says("again")
}

func TestCutAtAPatternInTwoParts(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Set(faultproxy.ToClient, faultproxy.Rule{Action: faultproxy.Cut, Pattern: []byte("b\nc")})
	c.says("ab")
	c.sends("cd")
	c.isCut()
}

func TestFreeze(t *testing.T) {
	p := echo(t)
	a, b := dial(t, p), dial(t, p)
	a.says("a")
	p.Set(faultproxy.ToClient, faultproxy.Rule{Action: faultproxy.Freeze, Once: true})
	a.sends("held")
	for p.Fired(faultproxy.ToClient) == 0 {
		time.Sleep(time.Millisecond)
	}
	a.hearsNothing()
	b.says("the second passes")
	p.Set(faultproxy.ToClient, faultproxy.Rule{})
	a.hears("held")
	p.Set(faultproxy.ToServer, faultproxy.Rule{Action: faultproxy.Freeze})
	a.sends("held again")
	b.sends("also held")
	a.hearsNothing()
	b.hearsNothing()
	p.Set(faultproxy.ToServer, faultproxy.Rule{Delay: time.Millisecond})
	a.hears("held again")
	b.hears("also held")
}

func TestFreezeAfterBytes(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	p.Set(faultproxy.ToServer, faultproxy.Rule{Action: faultproxy.Freeze, After: 3})
	c.sends("a")
	c.hears("a")
	c.sends("bcd")
	first, err := c.lines.ReadByte()
	require.NoError(t, err)
	require.Equal(t, byte('b'), first)
	c.hearsNothing()
	p.Set(faultproxy.ToServer, faultproxy.Rule{})
	c.hears("cd")
}

func TestNoServer(t *testing.T) {
	p := echo(t)
	c := dial(t, p)
	c.says("a")
	p.SetTarget("127.0.0.1:1")
	isRefused(t, p)
	c.says("the old connection stays")
}
