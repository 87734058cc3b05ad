package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	maxPeople   = 1000
	maxMessages = 100
	maxText     = 1000
)

// room is who is there, what they do, and what they say. It is only in memory.
type room struct {
	ctx      context.Context // done when the server ends
	password string          // of admin

	mu      sync.Mutex
	people  map[string]string // cookie → person
	changed chan struct{}     // closed at the next change
	state
}

// state is what the page shows.
type state struct {
	Version  int               `json:"version"`
	Picked   map[string]string `json:"picked"` // person → id of a status
	Messages []string          `json:"messages"`
}

func newRoom(ctx context.Context, password string) *room {
	return &room{ctx: ctx, password: password, people: make(map[string]string),
		changed: make(chan struct{}), state: state{Version: 1, Picked: make(map[string]string), Messages: []string{}}}
}

// person returns who makes a request, or "".
func (c *room) person(r *http.Request) string {
	cookie, err := r.Cookie("chat")
	if err != nil {
		return ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.people[cookie.Value]
}

// change changes the state and wakes all that wait.
func (c *room) change(what func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	what()
	c.Version++
	close(c.changed)
	c.changed = make(chan struct{})
}

// login takes any free name. The name admin needs the password.
func (c *room) login(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	same := subtle.ConstantTimeCompare([]byte(r.FormValue("password")), []byte(c.password)) == 1
	cookie := rand.Text()
	ok := name != "" && len(name) <= 40
	c.change(func() {
		status, taken := c.Picked[name]
		if name == "admin" {
			ok = same
		} else if taken || len(c.people) >= maxPeople {
			ok = false
		}
		if ok {
			c.people[cookie] = name
			c.Picked[name] = status
		}
	})
	if !ok {
		http.Error(w, "Choose another name or password", http.StatusForbidden)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: "chat", Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
}

// say adds a message.
func (c *room) say(w http.ResponseWriter, r *http.Request) {
	c.act(w, r, func(person, text string) {
		c.Messages = append(c.Messages, person+": "+text)
		c.Messages = c.Messages[max(0, len(c.Messages)-maxMessages):]
	})
}

// pick gives a person a status, by its id.
func (c *room) pick(w http.ResponseWriter, r *http.Request) {
	c.act(w, r, func(person, id string) { c.Picked[person] = id })
}

func (c *room) act(w http.ResponseWriter, r *http.Request, what func(person, text string)) {
	person, text := c.person(r), r.FormValue("text")
	switch {
	case person == "":
		http.Error(w, "Log in first", http.StatusUnauthorized)
	case len(text) > maxText:
		http.Error(w, "Too long", http.StatusBadRequest)
	default:
		c.change(func() { what(person, text) })
	}
}

// wait answers with the state when its version is not the one that the page has.
func (c *room) wait(w http.ResponseWriter, r *http.Request) {
	if c.person(r) == "" {
		http.Error(w, "Log in first", http.StatusUnauthorized)
		return
	}
	seen, _ := strconv.Atoi(r.FormValue("seen"))
	for late := time.After(25 * time.Second); ; {
		c.mu.Lock()
		now, changed := c.state, c.changed
		now.Picked, now.Messages = maps.Clone(c.Picked), slices.Clone(c.Messages)
		c.mu.Unlock()
		if now.Version != seen {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(now) // fails only if the client has gone
			return
		}
		select {
		case <-changed:
		case <-late:
			seen = 0
		case <-r.Context().Done():
			return
		case <-c.ctx.Done():
			http.Error(w, "The server ends", http.StatusServiceUnavailable)
			return
		}
	}
}
