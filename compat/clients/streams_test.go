package clients

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	launchdarkly "github.com/launchdarkly/eventsource"
	r3labs "github.com/r3labs/sse/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	tmaxmax "github.com/tmaxmax/go-sse"
	"gopkg.in/cenkalti/backoff.v1"
)

// event is what a library hands to its user.
type event struct{ Name, Data string }

// library follows the stream until ctx is done.
type library func(ctx context.Context, url string, as login, emit func(event)) error

// goLibraries are used as their documentation shows.
func goLibraries() map[string]library {
	return map[string]library{
		"r3labs/sse": func(ctx context.Context, url string, as login, emit func(event)) error {
			client := r3labs.NewClient(url)
			client.Headers["X-User-Id"], client.Headers["X-Auth-Token"] = as.userID, as.token
			client.ReconnectStrategy = &backoff.StopBackOff{} // any other goes on when ctx is done
			for ctx.Err() == nil {
				// It returns when the server ends the stream, and when there is no server.
				_ = client.SubscribeRawWithContext(ctx, func(e *r3labs.Event) { emit(event{string(e.Event), string(e.Data)}) })
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
			return nil
		},
		"launchdarkly/eventsource": func(ctx context.Context, url string, as login, emit func(event)) error {
			r, err := as.request(ctx, url)
			if err != nil {
				return err
			}
			stream, err := launchdarkly.SubscribeWithRequestAndOptions(r,
				launchdarkly.StreamOptionErrorHandler(func(error) launchdarkly.StreamErrorHandlerResult {
					return launchdarkly.StreamErrorHandlerResult{} // connect again
				}))
			if err != nil {
				return err
			}
			defer stream.Close()
			for {
				select {
				case e := <-stream.Events:
					emit(event{e.Event(), e.Data()})
				case <-ctx.Done():
					return nil
				}
			}
		},
		"tmaxmax/go-sse": func(ctx context.Context, url string, as login, emit func(event)) error {
			r, err := as.request(ctx, url)
			if err != nil {
				return err
			}
			connection := tmaxmax.NewConnection(r)
			connection.SubscribeToAll(func(e tmaxmax.Event) { emit(event{e.Type, e.Data}) })
			if err := connection.Connect(); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		},
	}
}

func (l login) request(ctx context.Context, url string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err == nil {
		r.Header.Set("X-User-Id", l.userID)
		r.Header.Set("X-Auth-Token", l.token)
	}
	return r, err
}

// npmLibraries runs each npm library in a Node of its own.
func npmLibraries(t *testing.T, dir string) map[string]library {
	t.Helper()
	node := program(t, "node", "nodejs")
	npmInstall(t, dir)
	libraries := make(map[string]library)
	for _, name := range []string{
		"@microsoft/fetch-event-source", "event-source-polyfill", "eventsource", "eventsource-2",
		"eventsource-client", "eventsource-parser", "sse.js",
	} {
		libraries[name] = func(ctx context.Context, url string, as login, emit func(event)) error {
			cmd := exec.CommandContext(ctx, node, "client.mjs", name, url, as.userID, as.token)
			cmd.Dir = dir
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdin, err := cmd.StdinPipe()
			if err != nil {
				return err
			}
			defer stdin.Close()
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				return err
			}
			if err := cmd.Start(); err != nil {
				return err
			}
			lines := bufio.NewScanner(stdout)
			for lines.Scan() {
				var e event
				if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
					return err
				}
				emit(e)
			}
			if err := cmd.Wait(); ctx.Err() == nil {
				return errors.Join(errors.New("it ended by itself: "+stderr.String()), err)
			}
			return nil
		}
	}
	return libraries
}

// npmInstall installs the packages of package-lock.json in dir.
func npmInstall(t *testing.T, dir string) {
	t.Helper()
	npm := program(t, "npm", "npm")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "npm"))))
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--fetch-retries=1")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, "npm can't install the packages: %v: %s", err, out)
	}
}

// received is what one client got.
type received struct {
	name   string
	mu     sync.Mutex
	events []event
	beats  []event
	err    error
	more   chan struct{} // closed when anything changes
}

func (r *received) change(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
	close(r.more)
	r.more = make(chan struct{})
}

func (r *received) emit(e event) {
	r.change(func() {
		if e.Name == "heartbeat" {
			r.beats = append(r.beats, e)
		} else {
			r.events = append(r.events, e)
		}
	})
}

// await waits until enough is true.
func (r *received) await(t *testing.T, enough func() bool) {
	t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		done, err, more, events := enough(), r.err, r.more, slices.Clone(r.events)
		r.mu.Unlock()
		switch {
		case done:
			return
		case err != nil:
			require.FailNow(t, r.name+" ended", "%v", err)
		}
		select {
		case <-more:
		case <-late:
			require.FailNow(t, r.name+" waits for ever", "%+v", events)
		}
	}
}

// TestEventStreams runs all libraries at once through the lives of three servers.
// The second goes on where the first ended. The third has an older backup for a file.
func TestEventStreams(t *testing.T) {
	t.Parallel()
	libraries, dir := goLibraries(), t.TempDir()
	t.Run("npm", func(t *testing.T) { maps.Copy(libraries, npmLibraries(t, dir)) }) // a skip of these leaves the others
	d := newDaemon(t)
	var clients []*received
	logins := make(map[string]login)
	for name := range libraries {
		logins[name] = d.newLogin(name, "--read-only")
	}
	d.start()

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for name, follow := range libraries {
		r := &received{name: name, more: make(chan struct{})}
		clients = append(clients, r)
		running.Go(func() {
			err := follow(ctx, d.url("stream"), logins[name], r.emit)
			r.change(func() { r.err = err })
		})
	}
	all := func(enough func(*received) bool) {
		t.Helper()
		for _, r := range clients {
			r.await(t, func() bool { return enough(r) })
		}
	}
	var want []event
	expect := func(events ...event) {
		t.Helper()
		want = append(want, events...)
		all(func(r *received) bool { return len(r.events) >= len(want) })
	}
	// stop ends the server. Each client was connected once.
	stop := func() {
		t.Helper()
		d.stop()
		connections := make(map[string]int)
		for _, line := range d.log {
			if strings.HasSuffix(line.Path, ".stream") {
				connections[line.UserID]++
			}
		}
		for _, r := range clients {
			assert.Equal(t, 1, connections[r.name], "connections of %s", r.name)
		}
		assert.Len(t, connections, len(clients), "clients")
	}

	beginning := d.position()
	expect(event{"ready", beginning})
	created, id := d.create("Lunch")
	expect(created)
	d.do("backup", "older.db")
	older := d.position()
	renamed := d.rename(id, "Lunch break")
	expect(renamed)
	d.call(http.MethodPost, "delete", `{"customUserStatusId":"`+id+`"}`)
	expect(event{"deleted", renamed.Data})
	ended := d.position()
	beat := event{"heartbeat", ended}
	all(func(r *received) bool { return slices.Contains(r.beats, beat) })
	stop()

	d.start()
	expect(event{"ready", ended}) // all are back where they were
	created, _ = d.create("Meeting")
	expect(created)
	ended = d.position()
	stop()

	require.NoError(t, os.Rename(filepath.Join(d.dir, "older.db"), filepath.Join(d.dir, "customstatus.db")))
	d.start()
	expect(event{"ready", ended}, event{"reset", older})
	created, _ = d.create("Holiday")
	expect(created)
	stop()

	cancel()
	running.Wait()
	for _, r := range clients {
		assert.Equal(t, want, r.events, r.name)
		for _, beat := range r.beats {
			assert.Regexp(t, `^{"position":"[0-9]+-[0-9a-f]{16}"}$`, beat.Data, r.name)
		}
		assert.NoError(t, r.err, r.name)
	}
}
