// Package host calls what the program around a catalog has given to it: a store, a
// clock, a source of randomness, observers. A panic of one of them must not end
// that program.
package host

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// Host is what the program gives beside the store. All fields are set. Several
// goroutines may use a Host at once.
type Host struct {
	Log    *slog.Logger
	Clock  func() time.Time
	Random func() uint64
}

// Panic is the error for a panic that was caught.
type Panic struct {
	What  string // says who panicked: "the store panicked in Load"
	Value any
}

func (p *Panic) Error() string { return fmt.Sprintf("%s: %v", p.What, p.Value) }

// Try returns the error of call. If call panics, Try logs what with the stack and
// returns a [*Panic].
func (h *Host) Try(what string, call func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			h.Log.Error("customstatus: "+what, "panic", value, "stack", string(debug.Stack()))
			err = &Panic{what, value}
		}
	}()
	return call()
}

// Tell calls an observer, which may be nil.
func Tell[T any](h *Host, observer func(T), info T) {
	if observer == nil {
		return
	}
	_ = h.Try("an observer panicked", func() error {
		observer(info)
		return nil
	})
}

// Now returns the time of the clock, or the system's time if the clock panics.
func (h *Host) Now() (now time.Time) {
	err := h.Try("the clock panicked", func() error {
		now = h.Clock()
		return nil
	})
	if err != nil {
		return time.Now()
	}
	return now
}

// Draw returns a random number, from math/rand/v2 if the host's source panics.
func (h *Host) Draw() (n uint64) {
	err := h.Try("the source of randomness panicked", func() error {
		n = h.Random()
		return nil
	})
	if err != nil {
		return rand.Uint64()
	}
	return n
}
