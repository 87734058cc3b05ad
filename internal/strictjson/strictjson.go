// Package strictjson reads JSON as a server should that passes on what it was
// told: it refuses what encoding/json lets pass in silence, that is keys that
// differ in case, keys given twice, invalid UTF-8, lone surrogates and data
// behind the value.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// Object calls field for each key of the one JSON object that data holds, in
// the order given, and returns the first error of its own or of field. The
// value is only valid during the call.
func Object(data []byte, field func(key string, value json.RawMessage) error) error {
	if !utf8.Valid(data) {
		return ErrUTF8
	}
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
		if loneSurrogate(data[start:dec.InputOffset()]) {
			return fmt.Errorf("key %q: %w", key, ErrUTF8)
		}
		if seen[key] {
			return fmt.Errorf("key %q: %w", key, ErrDuplicateKey)
		}
		seen[key] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return syntax(err)
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

// String returns the string that the JSON value holds.
func String(value json.RawMessage) (string, error) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || value[0] != '"' {
		return "", ErrNotString
	}
	if loneSurrogate(value) {
		return "", ErrUTF8
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", syntax(err)
	}
	return s, nil
}

func syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: unexpected end", ErrSyntax)
	}
	return fmt.Errorf("%w: %w", ErrSyntax, err)
}

// loneSurrogate reports whether the quoted JSON text has a \u escape that is
// half of a surrogate pair, which encoding/json replaces by U+FFFD.
func loneSurrogate(quoted []byte) bool {
	high := false // the escape just read was the first half of a pair
	for i := 0; i < len(quoted); i++ {
		if quoted[i] != '\\' {
			if high {
				return true
			}
			continue
		}
		i++
		if i+4 >= len(quoted) || quoted[i] != 'u' {
			if high {
				return true
			}
			continue
		}
		unit := quoted[i+1 : i+5]
		i += 4
		low := (unit[0] == 'd' || unit[0] == 'D') && unit[1] >= 'c' && unit[1] <= 'f' ||
			(unit[0] == 'd' || unit[0] == 'D') && unit[1] >= 'C' && unit[1] <= 'F'
		lead := (unit[0] == 'd' || unit[0] == 'D') && (unit[1] == '8' || unit[1] == '9' ||
			unit[1] == 'a' || unit[1] == 'b' || unit[1] == 'A' || unit[1] == 'B')
		if high != low {
			return true
		}
		high = lead
	}
	return high
}
