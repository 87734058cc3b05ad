// Package strictjson reads JSON as a server should that passes on what it was
// told: it refuses what encoding/json lets pass in silence, that is keys that
// differ in case, keys given twice, invalid UTF-8, lone surrogates and data
// behind the value. It also writes strings as JavaScript does.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The errors that [Object] and [String] return, wrapped with what is at fault.
var (
	ErrSyntax       = errors.New("not valid JSON")
	ErrNotObject    = errors.New("not a JSON object")
	ErrNotString    = errors.New("not a string")
	ErrDuplicateKey = errors.New("key given twice")
	ErrUTF8         = errors.New("invalid UTF-8")
	ErrTrailing     = errors.New("data behind the JSON value")
)

// KeyError says at which key [Object] found an error.
type KeyError struct {
	// Key is the key at fault, or the one whose value is. What was invalid
	// UTF-8 in it is U+FFFD.
	Key string
	Err error
}

func (e *KeyError) Error() string { return fmt.Sprintf("key %q: %v", e.Key, e.Err) }

// Unwrap returns e.Err.
func (e *KeyError) Unwrap() error { return e.Err }

// Object calls field for each key of the one JSON object that data holds, in
// the order given, and returns the first error: that of field as it is, or its
// own, as a [*KeyError] where there is a key to name. The value has no white
// space around it and is only valid during the call. An object within is not
// looked into: call Object for it.
func Object(data []byte, field func(key string, value json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	open, err := dec.Token()
	if err != nil {
		return syntax(err)
	}
	if open != json.Delim('{') {
		return ErrNotObject
	}
	seen := make(map[string]bool)
	for dec.More() {
		start := dec.InputOffset()
		token, err := dec.Token()
		if err != nil {
			return syntax(err)
		}
		key, ok := token.(string)
		if !ok {
			return ErrSyntax
		}
		if !faithful(data[start:dec.InputOffset()]) {
			return &KeyError{key, ErrUTF8}
		}
		if seen[key] {
			return &KeyError{key, ErrDuplicateKey}
		}
		seen[key] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return &KeyError{key, syntax(err)}
		}
		if !utf8.Valid(value) {
			return &KeyError{key, ErrUTF8}
		}
		if err := field(key, value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return syntax(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return ErrTrailing
	}
	return nil
}

// String returns the string that a value, as [Object] gives it, holds.
func String(value json.RawMessage) (string, error) {
	if len(value) == 0 || value[0] != '"' {
		return "", ErrNotString
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", syntax(err)
	}
	if !faithful(value) {
		return "", ErrUTF8
	}
	return s, nil
}

func syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: unexpected end", ErrSyntax)
	}
	return fmt.Errorf("%w: %w", ErrSyntax, err)
}

// faithful reports whether encoding/json reads the JSON string without putting
// U+FFFD in place of invalid UTF-8 or of half a surrogate pair. What stands
// around the string has no backslash.
func faithful(quoted []byte) bool {
	if !utf8.Valid(quoted) {
		return false
	}
	high := false // the last escape was the first half of a pair
	for len(quoted) > 0 {
		size, unit := 1, uint64(0)
		if quoted[0] == '\\' {
			size = 2
			if quoted[1] == 'u' {
				size = 6
				unit, _ = strconv.ParseUint(string(quoted[2:6]), 16, 16) // JSON has four digits here
			}
		}
		low := 0xDC00 <= unit && unit <= 0xDFFF
		if low != high {
			return false
		}
		high = 0xD800 <= unit && unit <= 0xDBFF
		quoted = quoted[size:]
	}
	return true // a pair can't be cut short by the end, which is a quote
}

// AppendString appends s as a JSON string, byte for byte as JavaScript's
// JSON.stringify writes it: unlike encoding/json it escapes nothing but quotes,
// backslashes and control characters. Invalid UTF-8 becomes U+FFFD.
func AppendString(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	b = append(b, '"')
	plain := 0 // the start of what is yet to be appended
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[plain:i]...)
		plain = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xF])
		}
	}
	b = append(b, s[plain:]...)
	return append(b, '"')
}
