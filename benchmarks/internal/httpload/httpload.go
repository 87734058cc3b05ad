// Package httpload is an HTTP/1.1 client that takes little processor time, because
// the server that it measures runs in the same process. The client
// knows only what the benchmarks need: prepared requests over kept-alive
// connections, one at a time on each, and answers with a Content-Length.
//
// It is ours because the clients that were measured take more of the two cores
// from the server: fasthttp and [http.ReadResponse] up to a seventh, [http.Client],
// which vegeta and hey use, half as much again. Fortio's client takes no more, but
// has one body for all its requests, where each create needs another name.
package httpload

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Conn is one connection. It must not be used concurrently.
type Conn struct {
	conn net.Conn
	in   *bufio.Reader
}

// Dial connects to a TCP address.
func Dial(addr string) (*Conn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Conn{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}, nil
}

// Do sends a whole request, reads the answer and drops the answer's body. It returns the
// status code and the length of the body.
func (c *Conn) Do(request []byte) (status, length int, err error) {
	status, length, err = c.send(request)
	if err != nil {
		return 0, 0, err
	}
	if _, err := c.in.Discard(length); err != nil {
		return 0, 0, fmt.Errorf("httpload: body: %w", err)
	}
	return status, length, nil
}

// Fetch is like Do, but returns the header and the body.
func (c *Conn) Fetch(request []byte) (status int, header, body []byte, err error) {
	var seen bytes.Buffer
	status, length, err := c.sendKeeping(request, &seen)
	if err != nil {
		return 0, nil, nil, err
	}
	body = make([]byte, length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return 0, nil, nil, fmt.Errorf("httpload: body: %w", err)
	}
	return status, seen.Bytes(), body, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

func (c *Conn) send(request []byte) (status, length int, err error) {
	return c.sendKeeping(request, nil)
}

func (c *Conn) sendKeeping(request []byte, header *bytes.Buffer) (status, length int, err error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, 0, err
	}
	length = -1
	for first := true; ; first = false {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return 0, 0, fmt.Errorf("httpload: header: %w", err)
		}
		if header != nil {
			header.Write(line)
		}
		line = bytes.TrimSuffix(line, []byte("\r\n"))
		switch {
		case first:
			if status, err = statusOf(line); err != nil {
				return 0, 0, err
			}
		case len(line) == 0:
			if status == 304 || status == 204 {
				return status, 0, nil
			}
			if length < 0 {
				return 0, 0, errors.New("httpload: an answer without Content-Length")
			}
			return status, length, nil
		default:
			if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
				if length, err = strconv.Atoi(string(v)); err != nil {
					return 0, 0, fmt.Errorf("httpload: Content-Length: %w", err)
				}
			}
		}
	}
}

func statusOf(line []byte) (int, error) {
	v, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	if !ok || len(v) < 3 {
		return 0, fmt.Errorf("httpload: bad status line %q", line)
	}
	return strconv.Atoi(string(v[:3]))
}
