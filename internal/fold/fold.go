// Package fold searches text without regard to case.
package fold

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// Contains returns a function that reports whether a text contains part. Both
// are compared under Unicode simple case folding, as in [strings.EqualFold].
// Only one goroutine at a time may call the function.
func Contains(part string) func(text string) bool {
	if part == "" {
		return func(string) bool { return true }
	}
	folded := Append(nil, part)
	buf := make([]byte, 0, 512)
	return func(text string) bool {
		buf = Append(buf[:0], text)
		return bytes.Contains(buf, folded)
	}
}

// Append appends s, with each character replaced by the least character of
// its folding class.
func Append(b []byte, s string) []byte {
	start := len(b)
	b = append(b, s...)
	if upper(b[start:]) {
		return b
	}
	return appendRunes(b[:start], s)
}

// AppendAll appends each text as [Append] does, and sets ends[i] to the length
// after text i.
func AppendAll(b []byte, texts []string, ends []uint32) []byte {
	start := len(b)
	// All are copied before one is read again, so that the processor waits for the
	// memory of several at once.
	for i, s := range texts {
		b = append(b, s...)
		ends[i] = uint32(len(b))
	}
	if upper(b[start:]) {
		return b
	}
	b = b[:start]
	for i, s := range texts {
		b = appendRunes(b, s)
		ends[i] = uint32(len(b))
	}
	return b
}

// upper makes ASCII letters upper case, in which they are the least characters of
// their folding classes. It stops and reports false at any character beyond ASCII.
func upper(b []byte) bool {
	for i, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return true
}

func appendRunes(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z':
			b = append(b, byte(r)-'a'+'A')
		case r < utf8.RuneSelf:
			b = append(b, byte(r))
		default:
			least := r
			for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
				least = min(least, next)
			}
			b = utf8.AppendRune(b, least)
		}
	}
	return b
}
