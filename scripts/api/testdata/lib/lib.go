// Package lib has one of each kind of declaration.
package lib

import "example.com/lib/internal/hidden"

const Limit, small = 120, 1

const Name = "two\nlines"

type Level uint8

const (
	Low Level = iota + 1
	High
)

var Default, private = High, 0

func Open(name string, opts *Options) (*Store, error) { return nil, nil }

func Copy(from, to string) { private += small }

func Map[K comparable, V any](in map[K]V, f func(K) V) []V { return nil }

type Options struct {
	Name  string `json:"name"`
	Retry func(attempt int) bool
	Point struct{ X, y int }
	inner int
}

type Point struct{ X, Y int }

// Store gets methods and fields from all that it embeds.
type Store struct {
	base
	*hidden.Log
}

type base struct {
	Path string
	deeper
}

type deeper struct {
	Path int // that of base is before it
	Size int64
}

func (s Store) Len() int { return 0 }

func (*base) Close() error { return nil }

func (*base) Len() int { return 1 }

func (deeper) Depth() int { return 2 }

func (deeper) private() {}

type Getter interface {
	Get(key string) ([]byte, error)
}

type Sealed interface {
	Getter
	interface{ Close() error }
	sealed()
}

type Number interface {
	~int | ~float64
}

type List[T any] struct{ items []T }

func (l *List[E]) Push(v E) { l.items = append(l.items, v) }

func (l List[T]) Len() int { return len(l.items) }

type Config = hidden.Config

type Old = Options

type Func func(n int) error

func (f Func) Do() error { return f(1) }

// New returns a type that has no name for others.
func New() *thing { return nil }

type thing struct {
	Next *thing
	used bool
}

func (t *thing) Use() { t.used = true }

type unused struct{ Field int }

func (unused) Method() {}
