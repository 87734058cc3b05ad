//go:build linux

package hostile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
)

// crowd is a set of hostile clients, and of honest clients that a server must
// serve meanwhile.
type crowd struct {
	addr        string
	credentials http.Header
	size        int
	atPeak      func()     // called while all are connected; may be nil
	open        func() int // how many connections the server has

	honest  atomic.Int64 // requests with the right answers
	verdict string

	release chan struct{} // closed when the hostile may go
	tick    chan struct{} // one for each byte that a slow client may send

	mu  sync.Mutex
	cut map[string]bool // names that hostile clients have tried to create, and whether the request was whole
}

const endpoints = "/api/v1/custom-user-status."

// beginning is the position of a catalog that was never written.
const beginning = "0-0000000000000000"

// act is the behaviour of one kind of hostile client, until the client is
// released.
type act struct {
	name string
	do   func(c *crowd, t *testing.T, conn *net.TCPConn, n int)
}

var acts = []act{
	{"says nothing", func(c *crowd, _ *testing.T, conn *net.TCPConn, _ int) {
		<-c.release
	}},
	{"sends half a header", func(c *crowd, _ *testing.T, conn *net.TCPConn, n int) {
		r := c.request("POST", "create", `{"name":"half a header","statusType":"busy"}`)
		c.send(conn, r[:n%100+1])
		<-c.release
	}},
	{"sends a byte now and then", func(c *crowd, _ *testing.T, conn *net.TCPConn, _ int) {
		r := c.request("POST", "create", strings.Repeat(" ", 60000))
		for i := range r {
			select {
			case <-c.tick:
				c.send(conn, r[i:i+1])
			case <-c.release:
				return
			}
		}
	}},
	{"sends half a body", func(c *crowd, _ *testing.T, conn *net.TCPConn, n int) {
		r := c.request("POST", "create", fmt.Sprintf(`{"name":"half a body %d","statusType":"busy"}`, n))
		c.send(conn, r[:len(r)-1-n%20])
		<-c.release
	}},
	{"is cut in a create", cutCreate},
	{"is cut in a create", cutCreate},
	{"is gone before the answer to a create", func(c *crowd, _ *testing.T, conn *net.TCPConn, n int) {
		name := fmt.Sprintf("gone %d", n)
		c.tries(name, true)
		c.send(conn, c.request("POST", "create", `{"name":"`+name+`","statusType":"away"}`))
		c.hangUp(conn)
	}},
	{"reads no answer", func(c *crowd, _ *testing.T, conn *net.TCPConn, _ int) {
		_ = conn.SetReadBuffer(4096)
		r := bytes.Repeat(c.request("GET", "list?count=100", ""), 100)
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.send(conn, r)
		}()
		<-c.release
		c.hangUp(conn)
		<-done
	}},
	{"lies about a chunk", func(c *crowd, _ *testing.T, conn *net.TCPConn, n int) {
		const body = `{"name":"a lie","statusType":"busy"}`
		c.send(conn, c.header("POST", "create", "Transfer-Encoding: chunked"))
		c.send(conn, []byte([]string{
			"fff\r\n" + body,
			"ffffffffffffffffffff\r\n" + body,
			"-1\r\n" + body,
			"1;" + strings.Repeat("x", 1<<20),
			"5\r\n" + body + "\r\n0\r\n\r\n",
			fmt.Sprintf("%x\r\n%s\r\n", len(body), body), // and no last chunk
		}[n%6]))
		<-c.release
	}},
	{"sends a huge header", func(c *crowd, t *testing.T, conn *net.TCPConn, _ int) {
		var sending sync.WaitGroup
		sending.Go(func() {
			c.send(conn, c.header("GET", "list", "X-Pad: "+strings.Repeat("x", 1<<20)))
		})
		defer sending.Wait()
		if got := c.answer(conn, nil); got != nil && got.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a header of 1 MB is answered %s", got.Status)
		}
		c.hangUp(conn)
	}},
	{"sends a huge body", func(c *crowd, t *testing.T, conn *net.TCPConn, _ int) {
		var sending sync.WaitGroup
		sending.Go(func() {
			c.send(conn, c.request("POST", "create", `{"name":"huge","statusType":"`+strings.Repeat("x", 1<<20)+`"}`))
		})
		defer sending.Wait()
		if got := c.answer(conn, nil); got != nil && got.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a body of 1 MB is answered %s", got.Status)
		}
		c.hangUp(conn)
	}},
	{"nests deeply", func(c *crowd, t *testing.T, conn *net.TCPConn, n int) {
		deep := []string{
			strings.Repeat(`{"name":`, 8000),
			strings.Repeat(`[`, 60000),
			`{"name":"` + strings.Repeat(`\ud800`, 10000) + `","statusType":"busy"}`,
		}[n%3]
		c.send(conn, c.request("POST", "create", deep))
		if got := c.answer(conn, nil); got != nil && got.StatusCode != http.StatusBadRequest {
			t.Errorf("%.20q… is answered %s", deep, got.Status)
		}
		<-c.release
	}},
	{"has wrong credentials", func(c *crowd, t *testing.T, conn *net.TCPConn, n int) {
		r := bytes.Replace(c.request("POST", "create", `{"name":"no login","statusType":"busy"}`),
			[]byte("X-Auth-Token: "), []byte("X-Auth-Token: x"), 1)
		c.send(conn, r)
		if got := c.answer(conn, nil); got != nil && got.StatusCode != http.StatusUnauthorized {
			t.Errorf("wrong credentials are answered %s", got.Status)
		}
		<-c.release
	}},
	{"reads no events", func(c *crowd, _ *testing.T, conn *net.TCPConn, _ int) {
		_ = conn.SetReadBuffer(4096)
		c.send(conn, c.request("GET", "stream?after="+beginning, ""))
		<-c.release
	}},
	{"pipelines", func(c *crowd, t *testing.T, conn *net.TCPConn, n int) {
		name := fmt.Sprintf("pipelined %d", n)
		c.tries(name, true)
		create := c.request("POST", "create", `{"name":"`+name+`","statusType":"busy"}`)
		c.send(conn, bytes.Join([][]byte{create, create, c.request("GET", "list?name=pipelined+"+fmt.Sprint(n)+"&count=1", "")}, nil))
		r := bufio.NewReader(conn)
		for i, want := range []int{http.StatusOK, http.StatusBadRequest, http.StatusOK} {
			if got := c.answer(conn, r); got == nil || got.StatusCode != want {
				t.Errorf("pipelined request %d is answered %v, want %d", i, got, want)
				return
			}
		}
		<-c.release
	}},
}

func cutCreate(c *crowd, _ *testing.T, conn *net.TCPConn, n int) {
	name := fmt.Sprintf("cut %d", n)
	r := c.request("POST", "create", `{"name":"`+name+`","statusType":"busy"}`)
	at := rand.IntN(len(r) + 1)
	if n%2 == 0 { // most interesting near the end
		at = len(r) - rand.IntN(4)
	}
	c.tries(name, at == len(r))
	for sent := 0; sent < at; {
		part := min(at-sent, 1+rand.IntN(200))
		c.send(conn, r[sent:sent+part])
		sent += part
	}
	c.hangUp(conn)
}

// tries records that a client tries to create a name. No name is tried twice.
func (c *crowd) tries(name string, whole bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut[name] = whole
}

// header returns a request without its body.
func (c *crowd) header(method, endpoint, header string) []byte {
	return fmt.Appendf(nil, "%s %s%s HTTP/1.1\r\nHost: %s\r\nX-User-Id: %s\r\nX-Auth-Token: %s\r\n%s\r\n\r\n",
		method, endpoints, endpoint, c.addr, c.credentials.Get("X-User-Id"), c.credentials.Get("X-Auth-Token"), header)
}

func (c *crowd) request(method, endpoint, body string) []byte {
	return append(c.header(method, endpoint, fmt.Sprintf("Content-Length: %d", len(body))), body...)
}

// send sends as much as possible. It ignores errors, because the server may
// close the connection.
func (c *crowd) send(conn net.Conn, data []byte) { _, _ = conn.Write(data) }

// hangUp cuts the connection, every other time with a reset.
func (c *crowd) hangUp(conn *net.TCPConn) {
	if rand.IntN(2) == 0 {
		_ = conn.SetLinger(0)
	}
	_ = conn.Close()
}

// answer reads an answer, or returns nil if there is none.
func (c *crowd) answer(conn net.Conn, r *bufio.Reader) *http.Response {
	if r == nil {
		r = bufio.NewReader(conn)
	}
	got, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil
	}
	_, err = io.Copy(io.Discard, got.Body)
	if err := errors.Join(err, got.Body.Close()); err != nil {
		return nil
	}
	return got
}

// run runs the hostile clients and, meanwhile, the honest ones, and checks the
// results.
func (c *crowd) run(t *testing.T) {
	t.Helper()
	c.release, c.tick = make(chan struct{}), make(chan struct{}, 100)
	c.cut = make(map[string]bool)
	transport := &http.Transport{MaxIdleConnsPerHost: honestClients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	var events []event
	following.Go(func() { events = c.follow(ctx, t, client) })

	conns := make([]*net.TCPConn, c.size)
	var connecting sync.WaitGroup
	for part := range 50 {
		connecting.Go(func() {
			for n := part; n < c.size; n += 50 {
				conn, err := net.Dial("tcp", c.addr)
				if err != nil {
					t.Error(err)
					return
				}
				conns[n] = conn.(*net.TCPConn)
			}
		})
	}
	connecting.Wait()
	if t.Failed() {
		return
	}
	var acting sync.WaitGroup
	for n, conn := range conns {
		acting.Go(func() {
			acts[n%len(acts)].do(c, t, conn, n)
			c.hangUp(conn)
		})
	}
	var working sync.WaitGroup
	for n := range honestClients {
		working.Go(func() { c.work(t, client, n) })
	}
	working.Wait()
	if c.atPeak != nil {
		c.atPeak()
	}
	close(c.release)
	acting.Wait()

	// Once the server has closed the hostile connections, it has handled all
	// that it will ever handle of them. The server does not report that, so the
	// test polls.
	for c.open() > honestClients+1 {
		time.Sleep(10 * time.Millisecond)
	}
	c.do(t, client, "create", map[string]string{"name": lastName, "statusType": "offline"}, http.StatusOK)
	if t.Failed() {
		return
	}
	following.Wait()
	c.judge(t, c.list(t, client), events)
}

const honestClients = 8

// lastName is the name of the status that ends the feed.
const lastName = "the end"

// work is the work of an honest client, which knows the right answer to each
// request.
func (c *crowd) work(t *testing.T, client *http.Client, n int) {
	for i := range 40 {
		if t.Failed() {
			return
		}
		for range 20 {
			select {
			case c.tick <- struct{}{}:
			default:
			}
		}
		name := fmt.Sprintf("honest %d-%d", n, i)
		made := c.do(t, client, "create", map[string]string{"name": name, "statusType": "busy"}, http.StatusOK).CustomUserStatus
		c.do(t, client, "create", map[string]string{"name": name, "statusType": "busy"}, http.StatusBadRequest)
		found := c.do(t, client, "list?_id="+made.ID, nil, http.StatusOK)
		if len(found.Statuses) != 1 || found.Statuses[0] != made || made.Name != name {
			t.Errorf("created %+v, found %+v", made, found.Statuses)
		}
		if i%2 == 0 {
			c.do(t, client, "delete", map[string]string{"customUserStatusId": made.ID}, http.StatusOK)
			continue
		}
		changed := c.do(t, client, "update", map[string]string{"_id": made.ID, "name": name + " changed", "statusType": "away"}, http.StatusOK).CustomUserStatus
		if changed.ID != made.ID || changed.Name != name+" changed" || changed.StatusType != customstatus.Away {
			t.Errorf("updated %+v to %+v", made, changed)
		}
	}
}

// answer is what the endpoints answer.
type answer struct {
	Success          bool
	CustomUserStatus customstatus.CustomUserStatus
	Statuses         []customstatus.CustomUserStatus
	Total            int
}

// do sends a request and returns the answer, which must have the status.
func (c *crowd) do(t *testing.T, client *http.Client, endpoint string, body map[string]string, status int) answer {
	var a answer
	method, sent := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		sent, _ = json.Marshal(body) // strings always encode
	}
	r, err := http.NewRequest(method, "http://"+c.addr+endpoints+endpoint, bytes.NewReader(sent))
	if err != nil {
		t.Error(err)
		return a
	}
	r.Header = c.credentials.Clone()
	got, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return a
	}
	defer got.Body.Close()
	data, err := io.ReadAll(got.Body)
	if err == nil {
		err = json.Unmarshal(data, &a)
	}
	if err != nil || got.StatusCode != status || a.Success != (status == http.StatusOK) {
		t.Errorf("%s %v: %s %s, %v", endpoint, body, got.Status, data, err)
		return a
	}
	c.honest.Add(1)
	return a
}

// list returns all statuses.
func (c *crowd) list(t *testing.T, client *http.Client) []customstatus.CustomUserStatus {
	var all []customstatus.CustomUserStatus
	for {
		page := c.do(t, client, fmt.Sprintf("list?count=100&offset=%d", len(all)), nil, http.StatusOK)
		all = append(all, page.Statuses...)
		if len(page.Statuses) == 0 || t.Failed() {
			return all
		}
	}
}

// event is a change, as the event stream tells it.
type event struct {
	kind   string
	status customstatus.CustomUserStatus
}

// follow reads the event stream from the beginning to the status with lastName.
func (c *crowd) follow(ctx context.Context, t *testing.T, client *http.Client) (events []event) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.addr+endpoints+"stream?after="+beginning, nil)
	if err != nil {
		t.Error(err)
		return nil
	}
	r.Header = c.credentials.Clone()
	got, err := client.Do(r)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer got.Body.Close()
	lines := bufio.NewScanner(got.Body)
	for kind := ""; lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			kind = value
		}
		value, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if kind == "ready" || kind == "heartbeat" {
			continue // they say at which position the stream is
		}
		var s customstatus.CustomUserStatus
		if err := json.Unmarshal([]byte(value), &s); err != nil {
			t.Error(err)
			return nil
		}
		events = append(events, event{kind, s})
		if s.Name == lastName {
			return events
		}
	}
	t.Errorf("the event stream has ended: %v", lines.Err())
	return nil
}

// judge compares the final statuses and the events with the requests.
func (c *crowd) judge(t *testing.T, statuses []customstatus.CustomUserStatus, events []event) {
	t.Helper()
	if t.Failed() {
		return
	}
	created, changed := make(map[string]int), make(map[string]int)
	now := make(map[string]customstatus.CustomUserStatus)
	for _, e := range events {
		switch e.kind {
		case "created":
			created[e.status.Name]++
			now[e.status.ID] = e.status
		case "updated":
			changed[now[e.status.ID].Name]++
			now[e.status.ID] = e.status
		case "deleted":
			changed[e.status.Name]++
			delete(now, e.status.ID)
		default:
			t.Errorf("the event stream has %q", e.kind)
		}
	}
	if len(now) != len(statuses) {
		t.Errorf("the events lead to %d statuses, the list has %d", len(now), len(statuses))
	}
	for _, s := range statuses {
		if now[s.ID] != s {
			t.Errorf("the events lead to %+v, the list has %+v", now[s.ID], s)
		}
	}
	var whole, there, cut int
	for name, complete := range c.cut {
		switch {
		case created[name] > 1 || changed[name] > 0:
			t.Errorf("%q was created %d times", name, created[name])
		case created[name] == 1 && !complete:
			t.Errorf("%q was created from a part of a request", name)
		case complete:
			whole++
			there += created[name]
		default:
			cut++
		}
		delete(created, name)
	}
	for name, n := range created {
		honest := strings.HasPrefix(name, "honest ") || name == lastName
		if !honest || n != 1 {
			t.Errorf("%q was created %d times", name, n)
		}
	}
	c.verdict = fmt.Sprintf("of %d creates that were sent whole %d were made, once each; of %d that were cut, none", whole, there, cut)
}
