package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/customstatus/customstatus"
)

// seeds are the names of the statuses of the first start, in order.
var seeds = []string{"At lunch", "In a meeting", "On vacation", "Working from home"}

func TestLogin(t *testing.T) {
	s := start(t, t.TempDir())
	nobody := s.client(t)
	for _, tt := range []struct{ name, user, password string }{
		{"wrong password", "alice", "wrong password"},
		{"unknown user", "mallory", s.passwords["alice"]},
		{"another's password", "bob", s.passwords["alice"]},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, body := nobody.post("login", map[string]string{"user": tt.user, "password": tt.password})
			if code != http.StatusUnauthorized || body["status"] != "error" || body["data"] != nil {
				t.Errorf("%d %v", code, body)
			}
		})
	}

	code, body := nobody.post("login", map[string]string{"user": "admin", "password": s.passwords["admin"]})
	if code != http.StatusOK || body["status"] != "success" {
		t.Fatalf("%d %v", code, body)
	}
	me := body["data"].(map[string]any)["me"].(map[string]any)
	if got := fmt.Sprint(me["username"], me["roles"]); got != "admin[user admin]" {
		t.Errorf("logged in as %s", got)
	}

	alice := s.login(t, "alice")
	events, more := alice.listen("chat.statusEvents", ""), alice.listen("chat.roomEvents", "")
	adapters := alice.listen("custom-user-status.stream", "")
	events.names()
	more.next("room", &welcome{})
	adapters.next("ready", &struct{}{})
	if code, body := alice.get("custom-user-status.list"); code != http.StatusOK || body["total"] != 4.0 {
		t.Errorf("list: %d %v", code, body)
	}
	alice.mustPost("logout", struct{}{})
	if code, body := alice.get("custom-user-status.list"); code != http.StatusUnauthorized {
		t.Errorf("list after logout: %d %v", code, body)
	}
	events.ended()
	more.ended()
	adapters.ended()
}

func TestPermissions(t *testing.T) {
	s := start(t, t.TempDir())
	admin, alice, nobody := s.login(t, "admin"), s.login(t, "alice"), s.client(t)
	thief := s.client(t)
	thief.userID, thief.token = admin.userID, alice.token
	id := admin.create("Busy with X", "busy")

	for _, tt := range []struct {
		path                string
		body                map[string]string
		nobody, user, admin int
	}{
		{"custom-user-status.create", map[string]string{"name": "New", "statusType": "away"}, 401, 400, 200},
		{"custom-user-status.update", map[string]string{"_id": id, "name": "Newer", "statusType": "away"}, 401, 400, 200},
		{"users.setStatus", map[string]string{"statusId": id}, 401, 200, 200},
		{"custom-user-status.delete", map[string]string{"customUserStatusId": id}, 401, 400, 200},
		{"chat.postMessage", map[string]string{"text": "hello"}, 401, 200, 200},
		{"users.create", map[string]string{"username": "carol", "password": "correct horse"}, 401, 403, 200},
	} {
		t.Run(tt.path, func(t *testing.T) {
			for _, who := range []struct {
				name string
				*client
				want int
			}{{"nobody", nobody, tt.nobody}, {"a thief", thief, tt.nobody}, {"alice", alice, tt.user}, {"admin", admin, tt.admin}} {
				if code, body := who.post(tt.path, tt.body); code != who.want {
					t.Errorf("%s: %d %v, want %d", who.name, code, body, who.want)
				}
			}
		})
	}
	for _, path := range []string{"chat.statusEvents", "chat.roomEvents", "custom-user-status.list"} {
		if code, body := nobody.get(path); code != http.StatusUnauthorized {
			t.Errorf("%s for nobody: %d %v", path, code, body)
		}
	}
	s.loginWith(t, "carol", "correct horse")
}

func TestCatalogIsPushed(t *testing.T) {
	s := start(t, t.TempDir())
	admin := s.login(t, "admin")
	clients := []*listener{
		s.login(t, "alice").listen("chat.statusEvents", ""),
		s.login(t, "bob").listen("chat.statusEvents", ""),
	}
	for _, l := range clients {
		if got := l.names(); !slices.Equal(got, seeds) {
			t.Fatalf("the catalog at first: %q", got)
		}
	}

	id := admin.create("Reading", "away")
	admin.mustPost("custom-user-status.update", map[string]string{"_id": id, "name": "Writing", "statusType": "busy"})
	admin.mustPost("custom-user-status.delete", map[string]string{"customUserStatusId": id})
	for _, l := range clients {
		last := l.last
		for _, want := range []string{"Reading away false", "Writing busy false", "Writing busy true"} {
			c := l.nextChange()
			if got := fmt.Sprint(c.Status.Name, " ", c.Status.StatusType, " ", c.Deleted); got != want || c.Status.ID != id {
				t.Errorf("got %q of %s, want %q of %s", got, c.Status.ID, want, id)
			}
			if position(t, l.last).Revision <= position(t, last).Revision {
				t.Errorf("the id %s comes after %s", l.last, last)
			}
			last = l.last
		}
	}
}

func position(t *testing.T, id string) customstatus.Position {
	t.Helper()
	p, err := customstatus.ParsePosition(id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestResume(t *testing.T) {
	data := t.TempDir()
	s := start(t, data)
	admin, alice := s.login(t, "admin"), s.login(t, "alice")
	catalog, room := alice.listen("chat.statusEvents", ""), alice.listen("chat.roomEvents", "")
	catalog.names()
	room.next("room", &welcome{})
	catalog.body.Close()
	room.body.Close()

	for _, name := range []string{"One", "Two"} {
		admin.create(name, "busy")
		admin.mustPost("chat.postMessage", map[string]string{"text": name})
	}
	catalog, room = alice.listen("chat.statusEvents", catalog.last), alice.listen("chat.roomEvents", room.last)
	for _, name := range []string{"One", "Two"} {
		if c := catalog.nextChange(); c.Status.Name != name {
			t.Errorf("missed change: %v, want %s", c, name)
		}
		var m message
		if room.next("message", &m); m.Text != name || m.From != "admin" {
			t.Errorf("missed message: %v, want %s", m, name)
		}
	}

	// A server that starts again has no changes from before, but the catalog is
	// the same.
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, data)
	again.passwords = s.passwords
	all := append([]string{"One", "Two"}, seeds...)
	slices.Sort(all)
	alice, admin = again.login(t, "alice"), again.login(t, "admin")
	last := position(t, catalog.last)
	before, beyond, other := last, last, last
	before.Revision--
	before.Fingerprint++
	beyond.Revision += 1000
	beyond.Fingerprint++
	other.Fingerprint++
	for _, after := range []string{before.String(), beyond.String(), other.String(), fmt.Sprint(last.Revision), "nonsense", ""} {
		if got := alice.listen("chat.statusEvents", after).names(); !slices.Equal(got, all) {
			t.Errorf("after %q: %q, want the whole catalog", after, got)
		}
	}
	for _, after := range []string{room.last, "18446744073709551615", "nonsense"} {
		var w welcome
		if alice.listen("chat.roomEvents", after).next("room", &w); len(w.People) != 3 || len(w.Messages) != 0 {
			t.Errorf("after %q: %v, want the room as it is now", after, w)
		}
	}
	current := alice.listen("chat.statusEvents", catalog.last)
	admin.create("Three", "busy")
	if c := current.nextChange(); c.Status.Name != "Three" {
		t.Errorf("change after the restart: %v", c)
	}
}

func TestPickedStatus(t *testing.T) {
	s := start(t, t.TempDir())
	admin, alice, bob := s.login(t, "admin"), s.login(t, "alice"), s.login(t, "bob")
	bobs := bob.listen("chat.roomEvents", "")
	var room welcome
	bobs.next("room", &room)
	for _, p := range room.People {
		if p.Status != nil {
			t.Errorf("%s has the status %v at first", p.Name, p.Status)
		}
	}
	seen := func(want string) {
		t.Helper()
		var p person
		bobs.next("person", &p)
		got := "nothing"
		if p.Status != nil {
			got = p.Status.Name + " " + string(p.Status.StatusType)
		}
		if p.Name != "alice" || got != want {
			t.Errorf("bob sees %s with %s, want alice with %s", p.Name, got, want)
		}
	}

	id := admin.create("In the lab", "busy")
	alice.mustPost("users.setStatus", map[string]string{"statusId": id})
	seen("In the lab busy")
	admin.mustPost("custom-user-status.update", map[string]string{"_id": id, "name": "In the garden", "statusType": "away"})
	seen("In the garden away")
	alice.mustPost("users.setStatus", map[string]string{"statusId": ""})
	seen("nothing")
	alice.mustPost("users.setStatus", map[string]string{"statusId": id})
	seen("In the garden away")
	admin.mustPost("custom-user-status.delete", map[string]string{"customUserStatusId": id})
	seen("nothing")

	if code, body := alice.post("users.setStatus", map[string]string{"statusId": id}); code != http.StatusBadRequest {
		t.Errorf("picking what is deleted: %d %v", code, body)
	}
	bob.listen("chat.roomEvents", "").next("room", &room)
	for _, p := range room.People {
		if p.Status != nil {
			t.Errorf("%s has the status %v at last", p.Name, p.Status)
		}
	}
}

func TestMessages(t *testing.T) {
	s := start(t, t.TempDir())
	alice, bob := s.login(t, "alice"), s.login(t, "bob")
	streams := []*listener{alice.listen("chat.roomEvents", ""), bob.listen("chat.roomEvents", "")}
	for _, l := range streams {
		l.next("room", &welcome{})
	}
	text := "line\none <b>&\u2028 \"quoted\""
	alice.mustPost("chat.postMessage", map[string]string{"text": text})
	for _, l := range streams {
		var m message
		if l.next("message", &m); m.From != "alice" || m.Text != text || m.Sent.IsZero() {
			t.Errorf("message %+v", m)
		}
	}

	for _, tt := range []struct {
		name, body string
		want       int
	}{
		{"empty", `{"text":" "}`, 400},
		{"too long", `{"text":"` + strings.Repeat("ü", maxMessage+1) + `"}`, 400},
		{"just not too long", `{"text":"` + strings.Repeat("ü", maxMessage) + `"}`, 200},
		{"not JSON", `text`, 400},
		{"an array", `[]`, 400},
		{"unknown key", `{"text":"x","html":true}`, 400},
		{"two values", `{"text":"x"} {"text":"y"}`, 400},
		{"huge", `{"text":"` + strings.Repeat("x", maxBody) + `"}`, 413},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, body := alice.do(alice.request("POST", "chat.postMessage", strings.NewReader(tt.body))); code != tt.want {
				t.Errorf("%d %v, want %d", code, body, tt.want)
			}
		})
	}
}

func TestUsers(t *testing.T) {
	data := t.TempDir()
	s := start(t, data)
	admin, alice := s.login(t, "admin"), s.login(t, "alice")
	room := alice.listen("chat.roomEvents", "")
	room.next("room", &welcome{})
	for _, tt := range []struct {
		name, user, password string
		want                 int
	}{
		{"taken", "alice", "correct horse", 400},
		{"short password", "carol", "1234567", 400},
		{"space in the name", "carol c", "correct horse", 400},
		{"no name", "", "correct horse", 400},
		{"good", "carol", "correct horse", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, body := admin.post("users.create", map[string]string{"username": tt.user, "password": tt.password}); code != tt.want {
				t.Errorf("%d %v, want %d", code, body, tt.want)
			}
		})
	}
	var p person
	if room.next("person", &p); p.Name != "carol" {
		t.Errorf("newcomer %v", p)
	}

	file := filepath.Join(data, accountsFile)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%s has the mode %v", file, info.Mode())
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(content), "correct horse") {
		t.Error("a password is kept as it is")
	}

	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	start(t, data).loginWith(t, "carol", "correct horse")
}

func TestRefusesToStart(t *testing.T) {
	taken := start(t, t.TempDir())
	for _, tt := range []struct {
		name string
		opts func(dir string) options
		want string
	}{
		{"damaged accounts", func(dir string) options {
			if err := os.WriteFile(filepath.Join(dir, accountsFile), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
			return options{addr: "127.0.0.1:0", listen: net.Listen, data: dir}
		}, accountsFile},
		{"a catalog that is none", func(dir string) options {
			if err := os.WriteFile(filepath.Join(dir, "statuses.db"), []byte("no catalog"), 0o600); err != nil {
				t.Fatal(err)
			}
			return options{addr: "127.0.0.1:0", listen: net.Listen, data: dir}
		}, "statuses.db"},
		{"an address that is taken", func(dir string) options {
			return options{addr: strings.TrimPrefix(taken.url, "http://"), listen: net.Listen, data: dir}
		}, "address already in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := tt.opts(t.TempDir())
			opts.rounds = 1
			err := run(t.Context(), opts, new(strings.Builder))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestPages(t *testing.T) {
	s := start(t, t.TempDir())
	c := s.client(t)
	for path, want := range map[string]string{
		"/":         "text/html; charset=utf-8",
		"/chat.js":  "text/javascript; charset=utf-8",
		"/dom.js":   "text/javascript; charset=utf-8",
		"/words.js": "text/javascript; charset=utf-8",
		"/chat.css": "text/css; charset=utf-8",
		"/icon.svg": "image/svg+xml",
	} {
		answer, err := c.http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if got := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || got != want {
			t.Errorf("%s: %s, Content-Type %q", path, answer.Status, got)
		}
		got := answer.Header.Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
			"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
		} {
			if !slices.Contains(strings.Split(got, "; "), want) {
				t.Errorf("%s: Content-Security-Policy %q lacks %q", path, got, want)
			}
		}
	}
	if code, body := c.get("nothing.here"); code != http.StatusNotFound || body["success"] != false {
		t.Errorf("unknown endpoint: %d %v", code, body)
	}
}

// A follow that has fallen behind still tells everybody what has changed.
func TestFollowAfterCompaction(t *testing.T) {
	data := t.TempDir()
	open := func(t *testing.T) (*server, context.CancelFunc) {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := newServer(ctx, options{data: data, rounds: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cancel()
			if err := s.close(); err != nil {
				t.Error(err)
			}
		})
		return s, cancel
	}
	t.Run("first", func(t *testing.T) {
		s, _ := open(t)
		if err := s.firstStart(t.Context(), new(strings.Builder), ""); err != nil {
			t.Fatal(err)
		}
	})
	s, end := open(t)
	page, err := s.catalog.List(customstatus.Query{})
	if err != nil {
		t.Fatal(err)
	}
	picked := page.Statuses[0]
	if err := s.room.pick(s.accounts.all()[1].ID, picked.ID); err != nil {
		t.Fatal(err)
	}
	end() // nobody follows from now on
	s.running.Wait()
	if _, err := s.catalog.Update(t.Context(), picked.ID, customstatus.Fields{Name: "Renamed", StatusType: picked.StatusType}, nil); err != nil {
		t.Fatal(err)
	}
	_, before := s.room.look()
	_, more, _ := s.room.since(before)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.follow(ctx, customstatus.Position{Revision: 1}); close(ended) }() // a position that never was
	select {
	case <-more:
	case <-time.After(patience):
		t.Error("nobody was told")
	}
	cancel()
	<-ended
	events, _, _ := s.room.since(before)
	if len(events) != 1 || !strings.Contains(string(events[0].data), "Renamed") {
		t.Errorf("events %v, want alice with the new name", events)
	}
}

// A change of the catalog is told once, by whoever sees the change first, even if
// somebody has come into the room meanwhile.
func TestRoomTellsNews(t *testing.T) {
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer catalog.Close()
	s, err := catalog.Create(t.Context(), customstatus.Fields{Name: "In the lab", StatusType: customstatus.Busy})
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom(catalog)
	r.enter(account{ID: "a", Name: "alice"})
	_, seen := r.look()
	told := func(want ...string) {
		t.Helper()
		events, _, _ := r.since(seen)
		var got []string
		for _, e := range events {
			got = append(got, string(e.data))
		}
		if !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		seen += uint64(len(events))
	}
	if err := r.pick("a", s.ID); err != nil {
		t.Fatal(err)
	}
	told(`{"id":"a","name":"alice","status":{"id":"` + s.ID + `","name":"In the lab","statusType":"busy"}}`)
	r.refresh()
	told()
	if _, err := catalog.Delete(t.Context(), s.ID, nil); err != nil {
		t.Fatal(err)
	}
	r.look()
	r.refresh()
	told(`{"id":"a","name":"alice","status":null}`)
	r.refresh()
	told()
}

func TestRoomForgets(t *testing.T) {
	r := newRoom(nil)
	empty, first := r.look()
	if text, err := json.Marshal(empty); err != nil || string(text) != `{"people":[],"messages":[]}` {
		t.Errorf("the empty room is %s, %v", text, err)
	}
	for range keptEvents {
		r.say("alice", "hello")
	}
	if events, _, ok := r.since(first); !ok || len(events) != keptEvents {
		t.Errorf("%d events, %v; want all %d", len(events), ok, keptEvents)
	}
	r.say("alice", "hello")
	if events, _, ok := r.since(first); ok {
		t.Errorf("%d events; want that some are no longer kept", len(events))
	}
	all, last := r.look()
	if len(all.Messages) != shownMessages {
		t.Errorf("%d messages, want the last %d", len(all.Messages), shownMessages)
	}
	if events, _, ok := r.since(last); !ok || len(events) != 0 {
		t.Errorf("%d events after the last one, %v", len(events), ok)
	}
}

// The bubble fails the test if a goroutine of the server outlives it.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := t.TempDir()
		s := startInBubble(t, data)
		var streams []*listener
		for _, name := range []string{"alice", "bob"} {
			c := s.login(t, name)
			for _, path := range []string{"chat.statusEvents", "chat.roomEvents", "custom-user-status.stream"} {
				streams = append(streams, c.listen(path, ""))
			}
		}
		streams[0].names()
		var reading sync.WaitGroup
		for _, l := range streams {
			reading.Go(func() {
				for l.lines.Scan() { // a pipe holds up the server until it is read
				}
				if err := l.lines.Err(); err != nil {
					t.Errorf("a stream was cut: %v", err)
				}
			})
		}
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
		reading.Wait()
		startInBubble(t, data) // the file is free again
	})
}
