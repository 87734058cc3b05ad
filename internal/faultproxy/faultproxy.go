// Package faultproxy is a TCP proxy for tests that cuts, freezes and delays what
// passes through it.
package faultproxy

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// Direction is the way of bytes through a proxy.
type Direction int

// The directions.
const (
	ToServer Direction = iota
	ToClient
)

// Action is what a [Rule] does.
type Action int

const (
	// Pass lets bytes pass.
	Pass Action = iota
	// Cut resets the connection, on both sides and in both directions.
	Cut
	// Freeze lets nothing pass any more. The connection stays open. A rule of
	// another action for the direction thaws it: what was held then passes.
	Freeze
)

// Rule says what happens to the bytes of one direction. The zero Rule lets them pass.
type Rule struct {
	// Action happens at the first byte, or as After and Pattern say.
	Action Action
	// After is the number of bytes that pass before Action, of all connections
	// together, counted from [Proxy.Set].
	After int
	// Pattern, unless it is nil, is what Action waits for. What came before the
	// bytes that contain the pattern has passed; they don't.
	Pattern []byte
	// Once says that Action happens to one connection only. The others pass.
	Once bool
	// Delay is how late bytes pass.
	Delay time.Duration
}

// Proxy forwards connections to a server. Several goroutines may use it at once.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // rules, or a connection's end
	target  string
	refuse  bool
	rules   [2]Rule
	fired   [2]int // how often an action happened since Set
	links   map[*link]bool
	closed  bool
}

// link is one connection through a proxy.
type link struct {
	client, server *net.TCPConn
	frozen         [2]bool // by a rule that applies once
	cut            bool
}

// New returns a proxy that listens on a free port of 127.0.0.1 and forwards to a
// target. The caller closes it.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, links: make(map[*link]bool)}
	p.changed = sync.NewCond(&p.mu)
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns the address of the proxy.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Set replaces the rule of a direction, for all connections, and thaws those that
// the rule before has frozen.
func (p *Proxy) Set(d Direction, r Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules[d], p.fired[d] = r, 0
	for l := range p.links {
		l.frozen[d] = false
	}
	p.changed.Broadcast()
}

// Fired returns how often the action of the direction's rule has happened.
func (p *Proxy) Fired(d Direction) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fired[d]
}

// Refuse says whether new connections are reset at once.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// SetTarget changes where new connections go.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// CutAll resets all connections.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		p.cut(l)
	}
}

// Close resets all connections, and waits for the proxy's goroutines.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	err := p.listener.Close()
	p.CutAll()
	p.running.Wait()
	return err
}

// cut resets a connection. p.mu is held.
func (p *Proxy) cut(l *link) {
	l.cut = true
	for _, c := range []*net.TCPConn{l.client, l.server} {
		_ = c.SetLinger(0) // a reset
		_ = c.Close()
	}
	p.changed.Broadcast()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		client := c.(*net.TCPConn)
		p.running.Go(func() { p.connect(client) })
	}
}

func (p *Proxy) connect(client *net.TCPConn) {
	p.mu.Lock()
	target, refuse := p.target, p.refuse
	p.mu.Unlock()
	server, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil || refuse {
		_ = client.SetLinger(0)
		_ = client.Close()
		if err == nil {
			_ = server.Close()
		}
		return
	}
	l := &link{client: client, server: server.(*net.TCPConn)}
	p.mu.Lock()
	p.links[l] = true
	if p.closed {
		p.cut(l)
	}
	p.mu.Unlock()
	var pumps sync.WaitGroup
	pumps.Go(func() { p.pump(l, ToServer, l.client, l.server) })
	pumps.Go(func() { p.pump(l, ToClient, l.server, l.client) })
	pumps.Wait()
	_ = l.client.Close()
	_ = l.server.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// pump forwards one direction, until it ends or is cut.
func (p *Proxy) pump(l *link, d Direction, from, to *net.TCPConn) {
	buffer := make([]byte, 16<<10)
	var seen []byte // the end of what has passed, for a pattern in two parts
	for {
		n, err := from.Read(buffer)
		for chunk := buffer[:n]; len(chunk) > 0; {
			passes := p.admit(l, d, seen, chunk)
			if passes == 0 {
				return
			}
			if _, err := to.Write(chunk[:passes]); err != nil {
				return
			}
			seen = append(seen, chunk[:passes]...)
			seen = seen[max(0, len(seen)-1024):]
			chunk = chunk[passes:]
		}
		if err != nil {
			// The other direction may still have something to say.
			_ = to.CloseWrite()
			return
		}
	}
}

// admit waits until some bytes of the chunk may pass, and returns how many: 0 if the
// connection is cut.
func (p *Proxy) admit(l *link, d Direction, seen, chunk []byte) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if delay := p.rules[d].Delay; delay > 0 {
		p.mu.Unlock()
		time.Sleep(delay)
		p.mu.Lock()
	}
	for {
		r := &p.rules[d]
		switch {
		case l.cut:
			return 0
		case l.frozen[d]:
		case r.Action == Pass || r.Once && p.fired[d] > 0:
			return len(chunk)
		case r.After > 0:
			n := min(r.After, len(chunk))
			r.After -= n
			return n
		case r.Pattern != nil && !holds(seen, chunk, r.Pattern):
			return len(chunk)
		default:
			p.fired[d]++
			r.Pattern = nil // from now on at once
			if r.Action == Cut {
				p.cut(l)
				return 0
			}
			l.frozen[d] = true
		}
		p.changed.Wait()
	}
}

// holds reports whether the pattern ends in the chunk.
func holds(seen, chunk, pattern []byte) bool {
	tail := seen[max(0, len(seen)-len(pattern)+1):]
	return bytes.Contains(append(bytes.Clone(tail), chunk...), pattern)
}
