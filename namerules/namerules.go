// Package namerules has rules for the names of custom user statuses, for the field
// NameRule of customstatus.Rules. A catalog accepts every name that can be seen and
// keeps it to the byte; these rules are for hosts that want less.
//
//	opts := &customstatus.Options{Rules: customstatus.Rules{
//		NameRule: namerules.All(namerules.NFC, namerules.NoBidi, namerules.NoInvisible, namerules.Trim),
//	}}
//
// A rule is about one name by itself. Two names are the same only if their bytes are
// equal, because every store can promise that. Names that a catalog holds already are
// not changed.
//
// The module is separate from customstatus because it requires golang.org/x/text.
package namerules

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Rule returns the name to store, or an error that says what is wrong with the name:
// "it has …". A rule that is applied to what it has returned returns the same.
type Rule = func(name string) (string, error)

// All applies rules one after the other and returns the first error.
func All(rules ...Rule) Rule {
	return func(name string) (string, error) {
		for _, rule := range rules {
			var err error
			if name, err = rule(name); err != nil {
				return "", err
			}
		}
		return name, nil
	}
}

// Named returns the rule with a name for configurations: trim, nfc, no-bidi or
// no-invisible.
func Named(name string) (rule Rule, ok bool) {
	switch name {
	case "trim":
		return Trim, true
	case "nfc":
		return NFC, true
	case "no-bidi":
		return NoBidi, true
	case "no-invisible":
		return NoInvisible, true
	}
	return nil, false
}

// Names returns the names that [Named] knows.
func Names() []string { return []string{"trim", "nfc", "no-bidi", "no-invisible"} }

// Trim removes white space and byte order marks at both ends of a name. It returns
// no error.
func Trim(name string) (string, error) {
	return strings.TrimFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' }), nil
}

// NFC brings a name into Unicode's normalization form C, in which a letter and its
// accent are one character where there is one. It returns no error.
func NFC(name string) (string, error) { return norm.NFC.String(name), nil }

// NoBidi refuses the characters that only set the direction of text (the property
// Bidi_Control of Unicode). One of them can turn round what comes after the name.
func NoBidi(name string) (string, error) {
	for _, r := range name {
		if unicode.Is(unicode.Bidi_Control, r) {
			return "", fmt.Errorf("it has the character %U, which sets the direction of text", r)
		}
	}
	return name, nil
}

// NoInvisible refuses characters without a shape, by which two names can differ and
// look the same. Joiners and variation selectors are accepted where scripts and emoji
// need them: behind a visible character, and a joiner in front of one too.
func NoInvisible(name string) (string, error) {
	runes := []rune(name)
	at := func(i int) rune {
		if i < 0 || i >= len(runes) {
			return ' '
		}
		return runes[i]
	}
	for i, r := range runes {
		before, after := at(i-1), at(i+1)
		switch {
		case !invisible(r):
		case isSelector(r) && joins(before):
		case isJoiner(r) && joins(after) && (joins(before) || isSelector(before) && joins(at(i-2))):
		case isTag(r) && (before == blackFlag || isTag(before)):
		default:
			return "", fmt.Errorf("it has the invisible character %U", r)
		}
	}
	return name, nil
}

const blackFlag = '\U0001f3f4' // the flags of regions are a black one and tags

// joins reports whether a joiner or a selector beside r can mean something: r is a
// character of a script that joins, an emoji, or the base of a keycap.
func joins(r rune) bool {
	return r > unicode.MaxLatin1 && !unicode.IsSpace(r) && !invisible(r) && !unicode.Is(unicode.Latin, r) ||
		'0' <= r && r <= '9' || r == '#' || r == '*' || r == '©' || r == '®'
}

func isJoiner(r rune) bool { return r == '\u200c' || r == '\u200d' }

func isSelector(r rune) bool { return unicode.Is(unicode.Variation_Selector, r) }

func isTag(r rune) bool { return '\U000e0020' <= r && r <= '\U000e007f' }

// invisible reports whether a character has no shape.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) &&
		!unicode.Is(unicode.Prepended_Concatenation_Mark, r) || // Cf too, but they can be seen
		r == '\u2800' // the empty Braille pattern
}
