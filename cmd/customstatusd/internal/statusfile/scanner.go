package statusfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/customstatus/customstatus/internal/strictjson"
)

// MaxValueBytes is the greatest size in bytes of one status, without the white
// space between its tokens. The longest possible status, with every character
// escaped, has 28 KB.
const MaxValueBytes = 64 << 10

// maxDepth is the greatest nesting of objects and arrays in a status. A status in
// extended JSON has 3.
const maxDepth = 16

// The places in which a scanner looks for the next object.
type place int

const (
	atTop   place = iota // between objects, arrays and lists
	inArray              // between the elements of an array
	inList               // between the elements of a list's statuses
)

// scanner splits a text into the JSON objects that it holds. The objects stand one
// after another, in arrays, or in the answers of custom-user-status.list. The scanner
// checks all of JSON's syntax but the insides of strings. It holds one object at a
// time.
type scanner struct {
	r *bufio.Reader

	place    place
	line     int  // of the next byte
	value    int  // the number of the last value
	started  int  // the line where the last value begins
	opened   int  // the line where the array or list begins
	elements int  // since the array or list began
	comma    bool // a comma came after the last element
	first    bool // the last byte is the first of its line
	broken   bool // a fault of syntax was found, so what follows may be misread

	text  []byte // the object, without the white space between its tokens
	long  bool   // the object is longer than MaxValueBytes; the rest is not in text
	stack []byte // the opening brackets of the object's open parts
	list  []byte // what comes before the statuses of a list

	listed, total int // the statuses in all lists, and the greatest total of a list
}

func newScanner(r *bufio.Reader) *scanner { return &scanner{r: r, line: 1} }

// next returns the next object and the line where it begins. The text is valid until
// the next call. The error is a [*fault], after which next can be called again, or
// io.EOF, or an error of the reader.
func (s *scanner) next() (text []byte, line int, err error) {
	for {
		c, err := s.skipSpace()
		if err == io.EOF && s.place != atTop && !s.broken {
			s.broken = true
			return nil, 0, &fault{s.opened, 0, errors.New("the array that begins here does not end")}
		}
		if err != nil {
			return nil, 0, err
		}
		between := s.place != atTop && s.elements > 0 && !s.comma
		switch {
		case c == '[' && s.place == atTop:
			s.open(inArray)
			continue
		case c == 0xEF && s.place == atTop && s.skipMark():
			continue
		case (c == ']' || c == '}' || c == ',') && s.place == atTop && s.broken:
			continue // the rest of what could not be read
		case c == ',' && between:
			s.comma = true
			continue
		case c == ']' && s.place == inArray && (!s.comma || s.broken):
			s.place = atTop
			continue
		case c == ']' && s.place == inList && (!s.comma || s.broken):
			if err := s.endList(); err != nil {
				return nil, 0, err
			}
			continue
		}
		s.value++
		s.elements++
		s.comma = false
		s.started, s.text, s.stack, s.long = s.line, s.text[:0], s.stack[:0], false
		if between && !s.broken {
			return nil, 0, s.garbage(c)
		}
		if c != '{' {
			return nil, 0, s.noObject(c)
		}
		s.keep(c)
		s.stack = append(s.stack, c)
		listed, err := s.members(wantKeyOrEnd)
		if err != nil {
			return nil, 0, err
		}
		if listed {
			s.value--
			s.list = append(s.list[:0], s.text...)
			s.open(inList)
			continue
		}
		if s.long {
			return nil, 0, &fault{s.started, s.value, fmt.Errorf("longer than %d bytes", MaxValueBytes)}
		}
		return s.text, s.started, nil
	}
}

// skipMark skips a byte order mark, whose first byte has been read. Another one than
// that of the text is from a file that was appended.
func (s *scanner) skipMark() bool {
	rest, _ := s.r.Peek(2)
	if !bytes.Equal(rest, []byte{0xBB, 0xBF}) {
		return false
	}
	_, err := s.r.Discard(2)
	return err == nil
}

func (s *scanner) open(p place) {
	s.place, s.opened, s.elements, s.comma = p, s.line, 0, false
}

// endList reads what comes after the statuses of a list.
func (s *scanner) endList() error {
	s.place, s.started = atTop, s.opened
	s.text, s.stack, s.long = append(append(s.text[:0], s.list...), ']'), append(s.stack[:0], '{'), false
	_, err := s.members(wantCommaOrEnd)
	if f := (*fault)(nil); errors.As(err, &f) {
		f.value = 0
	}
	if err != nil {
		return err
	}
	s.listed += s.elements
	err = strictjson.Object(s.text, func(key string, value json.RawMessage) error {
		switch key {
		case "total":
			total, err := strconv.Atoi(string(value))
			if err != nil {
				return &strictjson.KeyError{Key: key, Err: errors.New("not a number of statuses")}
			}
			s.total = max(s.total, total)
			return nil
		case "statuses", "count", "offset", "success":
			return nil
		}
		return &strictjson.KeyError{Key: key, Err: errUnknownKey}
	})
	if err != nil {
		return &fault{s.opened, 0, fmt.Errorf("the list that begins here: %w", err)}
	}
	return nil
}

// What may come next within an object.
type want int

const (
	wantKeyOrEnd want = iota
	wantKey
	wantColon
	wantValue
	wantValueOrEnd
	wantCommaOrEnd
)

// members reads an object, whose opening bracket is on the stack, to its end. Outside
// of arrays it stops behind the opening bracket of a list's statuses, and returns
// true.
func (s *scanner) members(next want) (listed bool, err error) {
	isStatuses := false // whether the last key is that of a list's statuses
	for {
		c, err := s.skipSpace()
		if err == io.EOF {
			s.broken = true
			return false, s.fault(fmt.Errorf("%w: unexpected end", strictjson.ErrSyntax))
		}
		if err != nil {
			return false, err
		}
		inObject := s.stack[len(s.stack)-1] == '{'
		switch {
		case c == '"' && next != wantColon && next != wantCommaOrEnd:
			begin := len(s.text)
			if err := s.quoted(); err != nil {
				return false, err
			}
			if next == wantKey || next == wantKeyOrEnd {
				isStatuses = len(s.stack) == 1 && s.place == atTop && string(s.text[begin:]) == `"statuses"`
				next = wantColon
			} else {
				next = wantCommaOrEnd
			}
		case c == ':' && next == wantColon:
			s.keep(c)
			next = wantValue
		case c == ',' && next == wantCommaOrEnd:
			s.keep(c)
			next = wantValue
			if inObject {
				next = wantKey
			}
		case (c == '{' || c == '[') && (next == wantValue || next == wantValueOrEnd):
			s.keep(c)
			if c == '[' && isStatuses && len(s.stack) == 1 {
				return true, nil
			}
			if len(s.stack) == maxDepth {
				return false, s.lost(fmt.Errorf("more than %d levels of objects and arrays", maxDepth))
			}
			s.stack = append(s.stack, c)
			next = wantValueOrEnd
			if c == '{' {
				next = wantKeyOrEnd
			}
		case c == '}' && inObject && (next == wantKeyOrEnd || next == wantCommaOrEnd),
			c == ']' && !inObject && (next == wantValueOrEnd || next == wantCommaOrEnd):
			s.keep(c)
			if s.stack = s.stack[:len(s.stack)-1]; len(s.stack) == 0 {
				return false, nil
			}
			next = wantCommaOrEnd
		case isWord(c) && (next == wantValue || next == wantValueOrEnd):
			word, err := s.word(c)
			if err != nil {
				return false, err
			}
			if !s.long && !json.Valid(word) {
				return false, s.badWord(word)
			}
			next = wantCommaOrEnd
		default:
			return false, s.garbage(c)
		}
	}
}

// quoted reads a string, whose opening quote has been read.
func (s *scanner) quoted() error {
	s.keep('"')
	for escaped := false; ; {
		c, err := s.r.ReadByte()
		if err == io.EOF {
			s.broken = true
			return s.fault(fmt.Errorf("%w: unexpected end", strictjson.ErrSyntax))
		}
		if err != nil {
			return err
		}
		if c == '\n' {
			s.r.UnreadByte()
			return s.lost(fmt.Errorf("%w: a string does not end on its line", strictjson.ErrSyntax))
		}
		s.keep(c)
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			return nil
		}
	}
}

// word reads a number, a literal, or what stands in place of one. Its first byte has
// been read.
func (s *scanner) word(c byte) ([]byte, error) {
	begin := len(s.text)
	for {
		s.keep(c)
		var err error
		if c, err = s.r.ReadByte(); err == io.EOF {
			return s.text[begin:], nil
		}
		if err != nil {
			return nil, err
		}
		if !isWord(c) {
			s.r.UnreadByte()
			return s.text[begin:], nil
		}
	}
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '+' || c == '-' || c == '.' || c == '_' || c == '$'
}

func (s *scanner) keep(c byte) {
	if s.long = s.long || len(s.text) >= MaxValueBytes; !s.long {
		s.text = append(s.text, c)
	}
}

// skipSpace returns the next byte that is not white space. It notes whether the byte
// is the first of its line.
func (s *scanner) skipSpace() (byte, error) {
	s.first = false
	for {
		c, err := s.r.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case c == '\n':
			s.line++
			s.first = true
		case c != ' ' && c != '\t' && c != '\r':
			return c, nil
		}
	}
}
