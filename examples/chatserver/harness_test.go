package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/customstatus/customstatus/internal/pipenet"
)

// patience is how long a test waits for a server that hangs. A server that works never
// takes that long.
const patience = time.Minute

// running is a server on a listener of its own.
type running struct {
	url       string
	connect   func(ctx context.Context, network, address string) (net.Conn, error) // nil: with the system
	passwords map[string]string                                                    // of the first start
	stop      func() error                                                         // stops the server once and returns the result of run
}

var (
	openLine     = regexp.MustCompile(`^chatserver: open (http://127\.0\.0\.1:\d+)$`)
	passwordLine = regexp.MustCompile(`^  (\w+) +(\S+)$`)
)

// start runs a server on the directory until the test ends, or stop is called.
func start(t *testing.T, data string) *running {
	t.Helper()
	return startWith(t, options{addr: "127.0.0.1:0", listen: net.Listen, data: data, rounds: 1}, nil)
}

// startInBubble is start for a test in a bubble of synctest.
func startInBubble(t *testing.T, data string) *running {
	t.Helper()
	l := pipenet.Listen()
	listen := func(string, string) (net.Listener, error) { return l, nil }
	return startWith(t, options{listen: listen, data: data, rounds: 1}, l.Dial)
}

func startWith(t *testing.T, opts options, dial func(context.Context, string, string) (net.Conn, error)) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, opts, in)
		in.Close()
		ended <- err
	}()
	stopped := false
	r := &running{connect: dial, passwords: make(map[string]string), stop: func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-ended
	}}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	if !r.readGreeting(out) {
		t.Fatal("the server did not start")
	}
	return r
}

// readGreeting reads the server's output up to its address. A goroutine reads the rest.
func (r *running) readGreeting(out io.Reader) bool {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := passwordLine.FindStringSubmatch(lines.Text()); m != nil {
			r.passwords[m[1]] = m[2]
		}
		if m := openLine.FindStringSubmatch(lines.Text()); m != nil {
			r.url = m[1]
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return true
		}
	}
	return false
}

// client is a client program. A client with the zero login is not logged in.
type client struct {
	t             *testing.T
	url           string
	http          *http.Client
	userID, token string
	cookie        string
}

// client returns a client that is not logged in.
func (r *running) client(t *testing.T) *client {
	transport := &http.Transport{DialContext: r.connect}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, url: r.url, http: &http.Client{Transport: transport}}
}

// login returns a client for one of the people of the first start.
func (r *running) login(t *testing.T, name string) *client {
	t.Helper()
	return r.loginWith(t, name, r.passwords[name])
}

func (r *running) loginWith(t *testing.T, name, password string) *client {
	t.Helper()
	c := r.client(t)
	code, body := c.post("login", map[string]string{"user": name, "password": password})
	if code != http.StatusOK || body["status"] != "success" {
		t.Fatalf("login of %s: %d %v", name, code, body)
	}
	data := body["data"].(map[string]any)
	c.userID, c.token = data["userId"].(string), data["authToken"].(string)
	return c
}

func (c *client) request(method, path string, body io.Reader) *http.Request {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	c.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, method, c.url+"/api/v1/"+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.token != "" {
		request.Header.Set("X-User-Id", c.userID)
		request.Header.Set("X-Auth-Token", c.token)
	}
	if c.cookie != "" {
		request.Header.Set("Cookie", c.cookie)
	}
	return request
}

// do sends a request and returns the code and the JSON object of the answer.
func (c *client) do(request *http.Request) (int, map[string]any) {
	c.t.Helper()
	answer, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	body := make(map[string]any)
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		c.t.Fatalf("%s %s: %s: %v", request.Method, request.URL.Path, answer.Status, err)
	}
	if got := answer.Header.Get("Content-Type"); got != "application/json" {
		c.t.Errorf("%s %s: Content-Type %q", request.Method, request.URL.Path, got)
	}
	return answer.StatusCode, body
}

func (c *client) post(path string, body any) (int, map[string]any) {
	c.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.do(c.request("POST", path, bytes.NewReader(data)))
}

func (c *client) get(path string) (int, map[string]any) {
	c.t.Helper()
	return c.do(c.request("GET", path, nil))
}

// mustPost posts a request that must succeed.
func (c *client) mustPost(path string, body any) map[string]any {
	c.t.Helper()
	code, answer := c.post(path, body)
	if code != http.StatusOK {
		c.t.Fatalf("%s: %d %v", path, code, answer)
	}
	return answer
}

// create adds a status to the catalog and returns its id.
func (c *client) create(name, statusType string) string {
	c.t.Helper()
	answer := c.mustPost("custom-user-status.create", map[string]string{"name": name, "statusType": statusType})
	return answer["customUserStatus"].(map[string]any)["_id"].(string)
}

// listener reads a stream of server-sent events.
type listener struct {
	t     *testing.T
	body  io.ReadCloser
	lines *bufio.Scanner
	last  string // the id of the last event
}

// listen opens a stream, after the event with the id if that is not empty.
func (c *client) listen(path, after string) *listener {
	c.t.Helper()
	request := c.request("GET", path, nil)
	if after != "" {
		request.Header.Set("Last-Event-ID", after)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { answer.Body.Close() })
	if got := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || got != "text/event-stream" {
		c.t.Fatalf("%s: %s, Content-Type %q", path, answer.Status, got)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return &listener{t: c.t, body: answer.Body, lines: lines}
}

// next waits for the next event, which must have this name, and decodes the event's
// data.
func (l *listener) next(name string, data any) {
	l.t.Helper()
	fields := make(map[string]string)
	for l.lines.Scan() && l.lines.Text() != "" {
		key, value, _ := strings.Cut(l.lines.Text(), ": ")
		fields[key] = value
	}
	if fields["event"] != name {
		l.t.Fatalf("got the event %q (%v), want %q", fields, l.lines.Err(), name)
	}
	if err := json.Unmarshal([]byte(fields["data"]), data); err != nil {
		l.t.Fatalf("event %q: %v", fields, err)
	}
	l.last = fields["id"]
}

// ended waits for the end of the stream.
func (l *listener) ended() {
	l.t.Helper()
	for l.lines.Scan() {
		l.t.Errorf("after the end: %q", l.lines.Text())
	}
}

// change is one change of the catalog, as clients get it.
type change struct {
	Deleted bool
	Status  struct {
		ID         string `json:"_id"`
		Name       string
		StatusType string
	}
}

// nextChange waits for a commit with a single change.
func (l *listener) nextChange() change {
	l.t.Helper()
	var changes []change
	l.next("changes", &changes)
	if len(changes) != 1 {
		l.t.Fatalf("changes %v, want one", changes)
	}
	return changes[0]
}

// names waits for the event with the whole catalog and returns its names.
func (l *listener) names() []string {
	l.t.Helper()
	var all []struct{ Name string }
	l.next("statuses", &all)
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = s.Name
	}
	return names
}
