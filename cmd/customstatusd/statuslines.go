package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/strictjson"
)

const (
	// maxLine is the greatest length of a line of an import in bytes. The longest
	// possible status, with every character escaped, has 28 KB.
	maxLine = 64 << 10
	// maxBadLines is the number of bad lines that a report names one by one.
	maxBadLines = 100
)

// badLine is a line that can't be imported.
type badLine struct {
	// Where is the line, or the element of an array.
	Where  string `json:"where"`
	Reason string `json:"reason"`
}

// badLines are the bad lines of an import, in order.
type badLines struct {
	Lines []badLine `json:"lines"`
	// More is the number of bad lines beyond maxBadLines. Lines does not have them.
	More int `json:"more,omitempty"`
	// NoType is true if a bad line lacks the type that the rules require.
	NoType bool `json:"noType,omitempty"`
}

func (b *badLines) add(where string, err error) {
	var e *customstatus.Error
	if errors.As(err, &e) && e.Code == customstatus.CodeRequired && e.Field == customstatus.FieldStatusType {
		b.NoType = true
	}
	if len(b.Lines) == maxBadLines {
		b.More++
		return
	}
	b.Lines = append(b.Lines, badLine{where, err.Error()})
}

// source holds the statuses of an import.
type source struct {
	unit     string // what holds one status: "line" or "element"
	rules    customstatus.Rules
	statuses []customstatus.CustomUserStatus
	numbers  []int // the line or element number of each status
	bad      badLines
}

func (s *source) where(number int) string { return s.unit + " " + strconv.Itoa(number) }

// take reads one status from its JSON text.
func (s *source) take(number int, text []byte) {
	status, err := parseStatus(text)
	if err == nil {
		// The catalog checks again, but never sees a source with a bad line.
		err = s.rules.Check(customstatus.Fields{Name: status.Name, StatusType: status.StatusType, Metadata: &status.Metadata})
	}
	if err != nil {
		s.bad.add(s.where(number), err)
		return
	}
	if status.StatusType == "" {
		status.StatusType = s.rules.StatusTypeDefault
	}
	s.statuses = append(s.statuses, status)
	s.numbers = append(s.numbers, number)
}

// readSource reads the statuses of an import: one on each line, or in one JSON array.
// Its error is that of r, or concerns the text as a whole. Bad lines are in the
// source.
func readSource(r io.Reader, rules customstatus.Rules) (*source, error) {
	br := bufio.NewReaderSize(r, maxLine)
	mark, err := br.Peek(3)
	switch {
	case err != nil && err != io.EOF:
		return nil, err
	case bytes.HasPrefix(mark, []byte{0xFE, 0xFF}) || bytes.HasPrefix(mark, []byte{0xFF, 0xFE}):
		return nil, errors.New("the text is UTF-16; it must be UTF-8")
	case bytes.Equal(mark, []byte{0xEF, 0xBB, 0xBF}):
		br.Discard(len(mark))
	}
	s := &source{unit: "line", rules: rules}
	for number := 1; ; number++ {
		line, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			s.bad.add(s.where(number), fmt.Errorf("longer than %d bytes", maxLine))
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = br.ReadSlice('\n')
			}
			line = nil
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		line = bytes.TrimSpace(line)
		if len(line) > 0 {
			if line[0] == '[' && len(s.statuses) == 0 && len(s.bad.Lines) == 0 {
				return readArray(io.MultiReader(bytes.NewReader(bytes.Clone(line)), br), rules)
			}
			s.take(number, line)
		}
		if err == io.EOF {
			return s, nil
		}
	}
}

// readArray reads the elements of one JSON array, as mongoexport --jsonArray writes
// it. It can't read on after a syntax error.
func readArray(r io.Reader, rules customstatus.Rules) (*source, error) {
	s := &source{unit: "element", rules: rules}
	dec := json.NewDecoder(r)
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	number := 1
	for ; dec.More(); number++ {
		var text json.RawMessage
		if err := dec.Decode(&text); err != nil {
			return s, s.broken(number, err)
		}
		s.take(number, text)
	}
	if _, err := dec.Token(); err != nil {
		return s, s.broken(number, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return s, s.broken(number, strictjson.ErrTrailing)
	}
	return s, nil
}

// broken notes a syntax error, which ends the array. It returns any other error.
func (s *source) broken(number int, err error) error {
	var syntax *json.SyntaxError
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		err = errors.New("the array does not end")
	case errors.As(err, &syntax):
		err = fmt.Errorf("%w: %w", strictjson.ErrSyntax, err)
	case !errors.Is(err, strictjson.ErrTrailing):
		return err
	}
	s.bad.add(s.where(number), err)
	return nil
}

var errUnknownKey = errors.New("unknown key")

// parseStatus reads a status in the form of an export, or in the extended JSON
// (version 1 or 2, relaxed or canonical) that mongoexport writes. Unlike the library's
// own decoder, it refuses unknown keys, because an import drops nothing. The catalog
// decides about missing keys.
func parseStatus(text []byte) (customstatus.CustomUserStatus, error) {
	var s customstatus.CustomUserStatus
	described := false // whether the metadata is given
	err := strictjson.Object(text, func(key string, value json.RawMessage) (err error) {
		switch key {
		case "_id":
			s.ID, err = parseID(value)
		case "name":
			s.Name, err = strictjson.String(value)
		case "statusType":
			// Rocket.Chat stores null for a status without a type.
			if !bytes.Equal(value, []byte("null")) {
				var t string
				t, err = strictjson.String(value)
				s.StatusType = customstatus.StatusType(t)
			}
		case "_updatedAt":
			s.UpdatedAt, err = parseTime(value)
		case "metadata", "metadataBase64":
			if described {
				err = errors.New("metadata given twice")
				break
			}
			described = true
			s.Metadata, err = parseMetadata(key, value)
		default:
			err = errUnknownKey
		}
		if err != nil {
			return &strictjson.KeyError{Key: key, Err: err}
		}
		return nil
	})
	return s, err
}

// parseMetadata reads the value of metadata or metadataBase64.
func parseMetadata(key string, value json.RawMessage) (string, error) {
	text, err := strictjson.String(value)
	if err != nil || key == "metadata" {
		return text, err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", errors.New("not base64")
	}
	return string(raw), nil
}

// parseID reads a string or {"$oid":"…"}.
func parseID(value json.RawMessage) (string, error) {
	if value[0] != '{' {
		return strictjson.String(value)
	}
	inner, err := wrapped(value, "$oid")
	if err != nil {
		return "", err
	}
	id, err := strictjson.String(inner)
	if err != nil {
		return "", &strictjson.KeyError{Key: "$oid", Err: err}
	}
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != 12 {
		return "", &strictjson.KeyError{Key: "$oid", Err: errors.New("not 24 hexadecimal digits")}
	}
	return id, nil
}

// parseTime reads an RFC 3339 string, or {"$date":…} of such a string, of
// milliseconds since 1970, or of {"$numberLong":"…"} of these.
func parseTime(value json.RawMessage) (time.Time, error) {
	if value[0] != '{' {
		text, err := strictjson.String(value)
		if err != nil {
			return time.Time{}, err
		}
		return parseTimeText(text)
	}
	date, err := wrapped(value, "$date")
	if err != nil {
		return time.Time{}, err
	}
	t, err := parseDate(date)
	if err != nil {
		return time.Time{}, &strictjson.KeyError{Key: "$date", Err: err}
	}
	return t, nil
}

func parseDate(value json.RawMessage) (time.Time, error) {
	digits := string(value)
	switch value[0] {
	case '"':
		text, err := strictjson.String(value)
		if err != nil {
			return time.Time{}, err
		}
		return parseTimeText(text)
	case '{':
		number, err := wrapped(value, "$numberLong")
		if err != nil {
			return time.Time{}, err
		}
		if digits, err = strictjson.String(number); err != nil {
			return time.Time{}, &strictjson.KeyError{Key: "$numberLong", Err: err}
		}
	}
	ms, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return time.Time{}, errors.New("not a time in milliseconds")
	}
	return time.UnixMilli(ms).UTC(), nil
}

func parseTimeText(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		// Old versions of mongoexport write the zone without a colon.
		t, err = time.Parse("2006-01-02T15:04:05Z0700", text)
	}
	if err != nil {
		return time.Time{}, errors.New("not an RFC 3339 time")
	}
	return t.UTC().Truncate(time.Millisecond), nil
}

// wrapped returns the value of an object whose only key is want.
func wrapped(object json.RawMessage, want string) (json.RawMessage, error) {
	var inner json.RawMessage
	err := strictjson.Object(object, func(key string, value json.RawMessage) error {
		if key != want {
			return &strictjson.KeyError{Key: key, Err: errUnknownKey}
		}
		inner = bytes.Clone(value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if inner == nil {
		return nil, fmt.Errorf("key %q missing", want)
	}
	return inner, nil
}
