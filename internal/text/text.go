// Package text checks and shortens strings from outside the program.
package text

import (
	"errors"
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

// Blank reports whether s is empty or has only white space and invisible
// characters.
func Blank(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsSpace(r) && !invisible(r) })
}

// invisible reports whether a character has no shape: joiners, marks of direction,
// fillers, selectors of variants, the byte order mark.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r) || // Cf too, but they can be seen
		r == '\u2800' // the empty Braille pattern
}

// ValidID reports whether id is valid UTF-8 of 1 to most bytes without control
// characters.
func ValidID(id string, most int) bool {
	return id != "" && len(id) <= most && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// FreshID returns an id of at most so many bytes from next that is unused. A source
// that gives only ids in use is broken, which must not hang the caller: it is an error.
func FreshID(next func() string, most int, unused func(string) bool) (string, error) {
	for range 10 {
		if id := next(); ValidID(id, most) && unused(id) {
			return id, nil
		}
	}
	return "", errors.New("customstatus: the source of ids gives none that is valid and unused")
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
