// Package strictjson reads JSON without changing what it says. It refuses what
// encoding/json accepts in silence: keys in another case, duplicate keys,
// invalid UTF-8, lone surrogates and data after the value. It also writes
// strings as JavaScript does.
//
// The package is our own because encoding/json/v2, which is as strict, is not
// yet in the oldest Go version that this module supports.
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

// The errors of [Object] and [String]. Returned errors wrap them and may add
// details.
var (
	ErrSyntax       = errors.New("not valid JSON")
	ErrNotObject    = errors.New("not a JSON object")
	ErrNotString    = errors.New("not a string")
	ErrDuplicateKey = errors.New("key given twice")
	ErrUTF8         = errors.New("invalid UTF-8")
	ErrTrailing     = errors.New("data behind the JSON value")
)

// KeyError is an error of [Object] at one key.
type KeyError struct {
	// Key is the key at fault, or the key of the value at fault. Invalid UTF-8
	// in the key is replaced by U+FFFD.
	Key string
	Err error
}

func (e *KeyError) Error() string { return fmt.Sprintf("key %q: %v", e.Key, e.Err) }

// Unwrap returns e.Err.
func (e *KeyError) Unwrap() error { return e.Err }

// Object calls field for each key of a JSON object, in the order of the object,
// and stops at the first error. An error of field is returned unchanged.
// Object's own errors are one of the sentinels above, in a [*KeyError] if a key
// is known.
//
// The value has no white space around it and is only valid during the call of
// field. Object does not check nested objects: call Object for them.
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

// String decodes a JSON string, given as [Object] passes it to field. The error
// wraps [ErrNotString], [ErrSyntax] or [ErrUTF8].
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

// faithful reports whether encoding/json decodes a JSON string without U+FFFD
// in place of invalid UTF-8 or of a lone surrogate. Text around the string may
// be included if it has no backslash.
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
	return true // the string ends in a quote, so no pair is cut short here
}

// AppendString appends s as a JSON string and returns the extended slice. The
// output is that of JavaScript's JSON.stringify: only quotes, backslashes and
// control characters are escaped. Invalid UTF-8 becomes U+FFFD.
func AppendString(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	b = append(b, '"')
	plain := 0 // start of the part that is not yet appended
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
