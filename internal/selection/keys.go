package selection

import (
	"cmp"
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Key is one of the keys of an order.
type Key[T any] struct {
	// Prefix and Compare are as those of an [Order], but two values may have the
	// same key.
	Prefix  func(*T) uint64
	Compare func(a, b *T) int
	// Descending reverses the key.
	Descending bool
}

// Reversed returns the key, reversed if descending is set.
func (k Key[T]) Reversed(descending bool) Key[T] {
	k.Descending = k.Descending != descending
	return k
}

// Text returns a key of strings, which are compared byte by byte.
func Text[T any, S ~string](text func(*T) S) Key[T] {
	return Key[T]{
		Prefix: func(v *T) uint64 {
			var first [8]byte
			copy(first[:], text(v))
			return binary.BigEndian.Uint64(first[:])
		},
		Compare: func(a, b *T) int { return strings.Compare(string(text(a)), string(text(b))) },
	}
}

// Number returns a key of numbers.
func Number[T any](number func(*T) uint64) Key[T] {
	return Key[T]{
		Prefix:  number,
		Compare: func(a, b *T) int { return cmp.Compare(number(a), number(b)) },
	}
}

// Milliseconds converts a time to a number with the same order, to the
// millisecond.
func Milliseconds(t time.Time) uint64 {
	return uint64(t.UnixMilli()) ^ 1<<63 // times before 1970 come first
}

// By returns the order by the given keys, the most significant first. No two
// values may have the same keys.
func By[T any](keys ...Key[T]) Order[T] {
	order := Order[T]{Prefix: keys[0].Prefix, Compare: func(a, b *T) int {
		for _, k := range keys {
			switch c := k.Compare(a, b); {
			case c != 0 && k.Descending:
				return -c
			case c != 0:
				return c
			}
		}
		return 0
	}}
	if keys[0].Descending {
		order.flip = math.MaxUint64
	}
	return order
}
