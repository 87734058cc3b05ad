package statusfile

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/customstatus/customstatus/internal/strictjson"
)

// fault is an error of one value. The scanner can read on after a fault.
type fault struct {
	line  int // where the value begins
	value int // the number of the value, or 0 if the fault is outside of values
	err   error
}

func (f *fault) Error() string { return where(f.line, f.value) + ": " + f.err.Error() }

func where(line, value int) string {
	if value == 0 {
		return fmt.Sprintf("line %d", line)
	}
	return fmt.Sprintf("line %d (value %d)", line, value)
}

var (
	errUnknownKey = errors.New("unknown key")
	errQuotes     = fmt.Errorf("%w: keys and texts need double quotes", strictjson.ErrSyntax)
	errComment    = errors.New("a comment; JSON has no comments, remove them")
)

// errShell is for what mongosh prints, and older versions of mongoexport's shell mode.
func errShell(word string) error {
	return fmt.Errorf("%s(…) is the notation of the MongoDB shell, not JSON; write the file with mongoexport, or in mongosh with EJSON.stringify", word)
}

// fault returns a fault of the current value.
func (s *scanner) fault(err error) error {
	if s.line != s.started {
		err = fmt.Errorf("on line %d: %w", s.line, err)
	}
	return &fault{s.started, s.value, err}
}

// noObject returns the fault of a value that begins with c and is no object.
func (s *scanner) noObject(c byte) error {
	switch {
	case c == '"':
		if err := s.quoted(); err != nil {
			return err
		}
		return s.fault(strictjson.ErrNotObject)
	case isWord(c):
		word, err := s.word(c)
		if err != nil {
			return err
		}
		if s.long || !json.Valid(word) {
			return s.badWord(word)
		}
		return s.fault(strictjson.ErrNotObject)
	case c == '[':
		return s.lost(strictjson.ErrNotObject)
	}
	return s.garbage(c)
}

// badWord returns the fault of a word that is neither a number nor a literal.
func (s *scanner) badWord(word []byte) error {
	text := string(word[:min(len(word), 40)])
	rest, err := s.r.Peek(1)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case text == "new":
		return s.lost(errShell("new Date"))
	case string(rest) == "(":
		return s.lost(errShell(text))
	}
	return s.lost(fmt.Errorf("%w: unexpected %q", strictjson.ErrSyntax, text))
}

// garbage returns the fault of a byte, which has been read, that can't stand where it
// does.
func (s *scanner) garbage(c byte) error {
	if c == '{' && s.first {
		// Most likely the end of the last object is missing.
		s.r.UnreadByte()
		s.broken = true
		return s.fault(fmt.Errorf("%w: unexpected '{'", strictjson.ErrSyntax))
	}
	rest, err := s.r.Peek(utf8.UTFMax - 1)
	if err != nil && err != io.EOF {
		return err
	}
	switch next := string(rest[:min(1, len(rest))]); {
	case c == '#', c == '/' && next == "/", c == '/' && next == "*":
		if len(s.stack) > 0 {
			return s.lost(errComment)
		}
		return s.comment(c == '/' && next == "*")
	case c == '\'', isWord(c) && len(s.stack) > 0:
		return s.lost(errQuotes)
	}
	r, _ := utf8.DecodeRune(append([]byte{c}, rest...))
	return s.lost(fmt.Errorf("%w: unexpected %q", strictjson.ErrSyntax, r))
}

// comment skips a comment between objects, whose first byte has been read.
func (s *scanner) comment(block bool) error {
	begin := s.line
	s.value--
	s.broken = true
	for last := byte(0); ; {
		c, err := s.r.ReadByte()
		if err != nil && err != io.EOF {
			return err
		}
		if err == io.EOF || block && last == '*' && c == '/' {
			break
		}
		if c == '\n' {
			s.line++
			if !block {
				break
			}
		}
		last = c
	}
	return &fault{begin, 0, errComment}
}

// lost returns the fault of a value that can't be read to its end, and skips to the
// next one: to the next line, or to the next line with the start of an object where
// the value may have more lines.
func (s *scanner) lost(err error) error {
	f := s.fault(err)
	s.broken = true
	if err := s.skipLine(); err != nil {
		return s.unlessEnd(err, f)
	}
	if s.place == atTop && len(s.stack) == 0 {
		return f
	}
	for {
		c, err := s.skipSpace()
		for err == nil && (c == ',' || c == '[') {
			c, err = s.skipSpace()
		}
		if err != nil {
			return s.unlessEnd(err, f)
		}
		s.r.UnreadByte()
		if c == '{' {
			return f
		}
		if err := s.skipLine(); err != nil {
			return s.unlessEnd(err, f)
		}
	}
}

// unlessEnd returns err, or the fault if err is io.EOF.
func (s *scanner) unlessEnd(err, fault error) error {
	if err == io.EOF {
		return fault
	}
	return err
}

func (s *scanner) skipLine() error {
	for {
		_, err := s.r.ReadSlice('\n')
		if err == nil {
			s.line++
		}
		if err != bufio.ErrBufferFull {
			return err
		}
	}
}
