package httpadapter

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/fold"
	"github.com/customstatus/customstatus/internal/strictjson"
)

// filter is a condition on statuses. It fills one field of a catalog's query, or is a
// function where the query has no such field or has it filled already.
type filter struct {
	id, name, contains string
	match              func(customstatus.CustomUserStatus) bool
}

func idIs(id string) filter {
	return filter{id: id, match: func(s customstatus.CustomUserStatus) bool { return s.ID == id }}
}

func nameIs(name string) filter {
	return filter{name: name, match: func(s customstatus.CustomUserStatus) bool { return s.Name == name }}
}

func nameContains(part string) filter {
	contains := fold.Contains(part)
	return filter{contains: part, match: func(s customstatus.CustomUserStatus) bool { return contains(s.Name) }}
}

// addFilter adds a condition to the query. All conditions of a query must hold.
func addFilter(q *customstatus.Query, f filter) {
	switch {
	case f.id != "" && q.ID == "":
		q.ID = f.id
	case f.name != "" && q.Name == "":
		q.Name = f.name
	case f.contains != "" && q.NameContains == "":
		q.NameContains = f.contains
	case q.Filter == nil:
		q.Filter = f.match
	default:
		before := q.Filter
		q.Filter = func(s customstatus.CustomUserStatus) bool { return before(s) && f.match(s) }
	}
}

var errFilter = errors.New("unknown filter")

// parseFilter reads the query parameter of old clients, a MongoDB filter. An unknown
// filter is refused, never ignored: the admin page of old versions edits the first
// status of the answer.
func parseFilter(q *customstatus.Query, value string) error {
	err := strictjson.Object([]byte(value), func(key string, raw json.RawMessage) error {
		text, err := strictjson.String(raw)
		switch {
		case key == "_id" && err == nil:
			addFilter(q, idIs(text))
		case key == "name" && err == nil:
			addFilter(q, nameIs(text))
		case key == "name" && errors.Is(err, strictjson.ErrNotString):
			f, err := parseRegex(raw)
			if err != nil {
				return err
			}
			addFilter(q, f)
		default:
			return errFilter
		}
		return nil
	})
	if err != nil {
		return invalidParam("query", "not one of the filters that are known")
	}
	return nil
}

// parseRegex reads a filter like {"$regex":"…","$options":"i"}.
func parseRegex(raw json.RawMessage) (filter, error) {
	var expression, options string
	given := false
	err := strictjson.Object(raw, func(key string, value json.RawMessage) (err error) {
		switch key {
		case "$regex":
			given = true
			expression, err = strictjson.String(value)
		case "$options":
			options, err = strictjson.String(value)
		default:
			err = errFilter
		}
		return err
	})
	if err != nil {
		return filter{}, err
	}
	// The options m, s and u change nothing: names have no line breaks.
	if !given || strings.Trim(options, "imsu") != "" {
		return filter{}, errFilter
	}
	l, err := parseLiteral(expression)
	if err != nil {
		return filter{}, err
	}
	return l.filter(strings.Contains(options, "i")), nil
}

// literal is a regular expression that matches one text.
type literal struct {
	text       string
	start, end bool // anchored at the start, at the end
}

// parseLiteral reads a regular expression that is a literal. The expression may have
// escapes, ^ at its start and $ at its end.
func parseLiteral(expression string) (literal, error) {
	var l literal
	expression, l.start = strings.CutPrefix(expression, "^")
	var text strings.Builder
	for i := 0; i < len(expression); i++ {
		switch c := expression[i]; {
		case c == '$' && i == len(expression)-1:
			l.end = true
		case strings.IndexByte(`.*+?()[]{}|^$`, c) >= 0:
			return l, errFilter
		case c == '\\':
			escaped, size, err := parseEscape(expression[i+1:])
			if err != nil {
				return l, err
			}
			text.WriteByte(escaped)
			i += size
		default:
			text.WriteByte(c)
		}
	}
	l.text = text.String()
	return l, nil
}

// parseEscape reads what stands behind a backslash: a character that is not a
// letter or digit, or the xHH that some libraries write for a hyphen.
func parseEscape(s string) (escaped byte, size int, err error) {
	if len(s) >= 3 && s[0] == 'x' {
		if n, err := strconv.ParseUint(s[1:3], 16, 8); err == nil && n < utf8.RuneSelf {
			return byte(n), 3, nil
		}
		return 0, 0, errFilter
	}
	if s == "" || s[0] >= utf8.RuneSelf || !strconv.IsPrint(rune(s[0])) {
		return 0, 0, errFilter
	}
	switch c := s[0]; {
	case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z':
		return 0, 0, errFilter // a class, a boundary or a reference
	default:
		return c, 1, nil
	}
}

// filter returns the condition that a name matches the literal.
func (l literal) filter(foldCase bool) filter {
	switch {
	case !l.start && !l.end && foldCase:
		return nameContains(l.text)
	case l.start && l.end && !foldCase:
		return nameIs(l.text)
	}
	return filter{match: func(s customstatus.CustomUserStatus) bool { return l.matches(s.Name, foldCase) }}
}

func (l literal) matches(name string, foldCase bool) bool {
	if !foldCase {
		return (!l.start || strings.HasPrefix(name, l.text)) && (!l.end || strings.HasSuffix(name, l.text)) &&
			strings.Contains(name, l.text) && (!l.start || !l.end || name == l.text)
	}
	// Folding replaces character by character, so a match has as many characters.
	characters, n := []rune(name), utf8.RuneCountInString(l.text)
	if len(characters) < n || l.start && l.end && len(characters) != n {
		return false
	}
	if l.start {
		return strings.EqualFold(string(characters[:n]), l.text)
	}
	return strings.EqualFold(string(characters[len(characters)-n:]), l.text)
}
