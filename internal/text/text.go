// Package text checks and shortens strings from outside the program.
package text

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// NameFault describes what is wrong with a name, or returns "". A valid name is
// UTF-8, has at most the given number of characters, and has no control
// character and none of > < & " '.
func NameFault(name string, most int) string {
	switch {
	case len(name) > most*utf8.UTFMax || utf8.RuneCountInString(name) > most:
		return fmt.Sprintf("it has more than %d characters", most)
	case !utf8.ValidString(name):
		return "it is not valid UTF-8"
	case strings.ContainsAny(name, `><&"'`):
		return `it has one of > < & " '`
	case strings.ContainsFunc(name, unicode.IsControl):
		return "it has a control character"
	}
	return ""
}

// ValidID reports whether id is valid UTF-8 of 1 to most bytes without control
// characters.
func ValidID(id string, most int) bool {
	return id != "" && len(id) <= most && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// Clip returns the first characters of s, at most the given number, and
// replaces each run of invalid UTF-8 by U+FFFD.
func Clip(s string, most int) string {
	n := 0
	for i := range s {
		if n == most {
			s = s[:i]
			break
		}
		n++
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
