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
	// keptEvents is the number of events that a client may miss and still resume.
	keptEvents = 256
	// shownMessages is the number of messages that a new client gets.
	shownMessages = 50
)

// person is what others see of a person.
type person struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Status *status `json:"status"` // nil: none picked
}

// status is what others see of the status that a person has picked.
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

// event is an event that goes to everybody in the room, as JSON.
type event struct {
	number uint64
	name   string
	data   json.RawMessage
}

// welcome is the first event for a client.
type welcome struct {
	People   []person  `json:"people"`
	Messages []message `json:"messages"`
}

// room is the one room of the chat. Like the catalog, the room numbers its events and
// lets each client read at its own pace. A slow client holds up nobody.
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
	shown    status // the last status that others were told; zero if none
}

func newRoom(catalog *customstatus.Catalog) *room {
	return &room{
		catalog: catalog,
		// The room is not on disk. Numbers start at the time, so that a
		// number from before a restart is never taken for one of this room.
		last:    uint64(time.Now().UnixMicro()),
		changed: make(chan struct{}),
	}
}

// enter adds a person to the room.
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

// pick gives a person the status with the id, or no status if the id is empty.
// customstatus.ErrNotFound is returned when no status has the id.
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

// refresh tells everybody which people's statuses differ from those that were told
// last. follow calls it after each change of the catalog.
func (r *room) refresh() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.people {
		r.update(m)
	}
}

// update looks a person's status up in the catalog, which costs next to nothing. If the
// status differs from the one that was told last, update tells everybody. So a change
// that comes while somebody picks the status is told once, by whoever sees it first. A
// person whose status was deleted has none. The caller holds r.mu.
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

// person returns what others were last told about a member.
func (m *member) person() person {
	p := person{ID: m.id, Name: m.name}
	if shown := m.shown; shown != (status{}) {
		p.Status = &shown
	}
	return p
}

// tell adds an event. The caller holds r.mu.
func (r *room) tell(name string, data any) {
	encoded, err := json.Marshal(data)
	if err != nil {
		panic(err) // every type that tell gets can be encoded
	}
	r.last++
	r.events = append(r.events, event{r.last, name, encoded})
	if len(r.events) > keptEvents {
		r.events = slices.Delete(r.events, 0, 1)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// since returns the events after the event with the number, and a channel that is closed
// at the next event. ok is false if some of the events are no longer kept.
func (r *room) since(number uint64) (events []event, more <-chan struct{}, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	missed := r.last - number
	if number > r.last || missed > uint64(len(r.events)) {
		return nil, nil, false
	}
	return slices.Clone(r.events[len(r.events)-int(missed):]), r.changed, true
}

// look returns the state of the room after the event with the returned number. A change
// of the catalog that was not told yet comes as a later event.
func (r *room) look() (welcome, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := welcome{People: make([]person, len(r.people)), Messages: append([]message{}, r.messages...)}
	for i, m := range r.people {
		seen.People[i] = m.person()
	}
	return seen, r.last
}
