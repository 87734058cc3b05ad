package main

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/customstatus/customstatus"
)

const (
	// keptEvents is how many events a client may miss and still resume.
	keptEvents = 256
	// shownMessages is how many messages a client gets when it comes in.
	shownMessages = 50
)

// person is somebody as the others see them.
type person struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Status *status `json:"status"` // nil: none picked
}

// status is what a person shows of the status that they have picked.
type status struct {
	ID         string                  `json:"id"`
	Name       string                  `json:"name"`
	StatusType customstatus.StatusType `json:"statusType"`
}

type message struct {
	From string    `json:"from"`
	Text string    `json:"text"`
	Sent time.Time `json:"sent"`
}

// event is something that everybody in the room is told of, as JSON.
type event struct {
	number uint64
	name   string
	data   json.RawMessage
}

// welcome is what somebody is told who comes into the room.
type welcome struct {
	People   []person  `json:"people"`
	Messages []message `json:"messages"`
}

// room is the one room of the chat. Like the catalog it numbers what happens,
// and lets each client read at its own pace: a slow one holds up nobody.
type room struct {
	catalog *customstatus.Catalog

	mu       sync.Mutex
	people   []*member
	messages []message
	events   []event
	last     uint64        // the number of the last event
	changed  chan struct{} // closed at the next event
}

type member struct {
	id, name string
	picked   string // the id of a status, or empty
	shown    status // what the others were last told; the zero status if none
}

func newRoom(catalog *customstatus.Catalog) *room {
	return &room{
		catalog: catalog,
		// The room is not kept on disk. Counting on from the time makes
		// sure that numbers from before a restart are none of this room.
		last:    uint64(time.Now().UnixMicro()),
		changed: make(chan struct{}),
	}
}

// enter adds somebody to the people of the room.
func (r *room) enter(acc account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &member{id: acc.ID, name: acc.Name}
	r.people = append(r.people, m)
	r.tell("person", m.person())
}

// say adds a message.
func (r *room) say(from, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := message{From: from, Text: text, Sent: time.Now().UTC()}
	r.messages = append(r.messages, m)
	if len(r.messages) > shownMessages {
		r.messages = slices.Delete(r.messages, 0, 1)
	}
	r.tell("message", m)
}

// pick gives somebody the status with the id, or none if the id is empty. It
// returns customstatus.ErrNotFound if there is no such status.
func (r *room) pick(userID, statusID string) error {
	if statusID != "" {
		if _, err := r.catalog.Get(statusID); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.people {
		if m.id == userID {
			m.picked = statusID
			r.update(m)
		}
	}
	return nil
}

// refresh tells everybody of the people whose status is no longer what was told
// last. It is called after each change of the catalog.
func (r *room) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.people {
		r.update(m)
	}
}

// update asks the catalog what somebody shows, which costs next to nothing. If
// that is news, it tells everybody: a change that comes while somebody picks the
// status is told once, whoever is first to see it. Whose status has been deleted
// falls back to none. r.mu is held.
func (r *room) update(m *member) {
	var now status
	if m.picked != "" {
		s, err := r.catalog.Get(m.picked)
		switch {
		case err == nil:
			now = status{ID: s.ID, Name: s.Name, StatusType: s.StatusType}
		case errors.Is(err, customstatus.ErrNotFound):
			m.picked = ""
		default:
			return // the server is stopping
		}
	}
	if now != m.shown {
		m.shown = now
		r.tell("person", m.person())
	}
}

// person returns what the others were last told of somebody.
func (m *member) person() person {
	p := person{ID: m.id, Name: m.name}
	if shown := m.shown; shown != (status{}) {
		p.Status = &shown
	}
	return p
}

// tell adds an event. r.mu is held.
func (r *room) tell(name string, data any) {
	encoded, err := json.Marshal(data)
	if err != nil {
		panic(err) // no type that is told can fail
	}
	r.last++
	r.events = append(r.events, event{r.last, name, encoded})
	if len(r.events) > keptEvents {
		r.events = slices.Delete(r.events, 0, 1)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// since returns the events after the one with the number, and a channel that is
// closed when there are more. ok is false if some are no longer kept.
func (r *room) since(number uint64) (events []event, more <-chan struct{}, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	missed := r.last - number
	if number > r.last || missed > uint64(len(r.events)) {
		return nil, nil, false
	}
	return slices.Clone(r.events[len(r.events)-int(missed):]), r.changed, true
}

// look returns the room as it is after the event with the returned number. A
// change of the catalog that has not been told yet comes as the next event.
func (r *room) look() (welcome, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := welcome{People: make([]person, len(r.people)), Messages: append([]message{}, r.messages...)}
	for i, m := range r.people {
		seen.People[i] = m.person()
	}
	return seen, r.last
}
