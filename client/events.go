package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxLine is the greatest number of bytes in a line of an event stream. A status with
// all its metadata takes less than 32 KiB.
const maxLine = 256 << 10

var errTooLong = errors.New("a line or an event of the stream is too long")

// event is one of an event stream, with the id of its own block only.
type event struct {
	name, data, id string
}

// parser reads an event stream as the HTML standard says.
type parser struct {
	r     *bufio.Reader
	retry time.Duration // that the server asked for last, or 0
	first bool          // the first line has been read
	lf    bool          // the last line ended in CR: a LF that follows belongs to it
}

func newParser(r io.Reader) *parser { return &parser{r: bufio.NewReader(r)} }

// next returns the next event that has data. An event without its blank line, at the
// end of the stream, is dropped.
func (p *parser) next() (event, error) {
	var e event
	var data []byte
	for {
		line, err := p.line()
		if err != nil {
			return event{}, err
		}
		if len(line) == 0 {
			if data == nil {
				e = event{}
				continue
			}
			e.data = string(data[:len(data)-1])
			return e, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			e.name = string(value)
		case "data":
			data = append(append(data, value...), '\n')
			if len(data) > maxLine {
				return event{}, errTooLong
			}
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				e.id = string(value)
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil && strings.Trim(string(value), "0123456789") == "" {
				p.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
}

// line returns the next line without its end, which is LF, CR or both.
func (p *parser) line() ([]byte, error) {
	var line []byte
	for {
		b, err := p.r.ReadByte()
		if err != nil {
			return nil, err
		}
		after := p.lf
		p.lf = false
		switch {
		case b == '\n' && after:
			continue
		case b == '\n', b == '\r':
			p.lf = b == '\r'
			if !p.first {
				p.first = true
				line = bytes.TrimPrefix(line, []byte("\uFEFF"))
			}
			return line, nil
		}
		if line = append(line, b); len(line) > maxLine {
			return nil, errTooLong
		}
	}
}
