// Package host calls the functions that the host program gives to a catalog: a
// store, a clock, a source of randomness, and observers. It recovers their
// panics, so that they don't end the program.
package host

import (
	"cmp"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

// Host has the functions of the host program, except the store. All fields must
// be set. Several goroutines may use a Host at once.
type Host struct {
	Log    *slog.Logger
	Clock  func() time.Time
	Random func() uint64
}

// New returns a host. A nil function is the one of Go's library: [slog.Default],
// [time.Now], and [rand.Uint64].
func New(log *slog.Logger, clock func() time.Time, random func() uint64) *Host {
	h := &Host{cmp.Or(log, slog.Default()), clock, random}
	if clock == nil {
		h.Clock = time.Now
	}
	if random == nil {
		h.Random = rand.Uint64
	}
	return h
}

// Panic is the error for a recovered panic.
type Panic struct {
	What  string // says who panicked: "the store panicked in Load"
	Value any
}

func (p *Panic) Error() string { return fmt.Sprintf("%s: %v", p.What, p.Value) }

// Try calls call and returns its error. If call panics, Try logs the text what
// with the stack and returns a [*Panic].
func (h *Host) Try(what string, call func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			h.Log.Error("customstatus: "+what, "panic", value, "stack", string(debug.Stack()))
			err = &Panic{what, value}
		}
	}()
	return call()
}

// Tell calls an observer with info. It does nothing if the observer is nil.
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
