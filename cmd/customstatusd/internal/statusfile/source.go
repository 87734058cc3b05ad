// Package statusfile reads and writes files of statuses: what the commands import and
// export.
//
// Its reader splits a text into JSON values itself, because no decoder that we know
// bounds the size of a value, names lines, and goes on after an error. Of MongoDB's
// extended JSON, a status needs object ids and dates only.
package statusfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/text"
)

// MaxBad is the number of bad values that a report names one by one: some screens of
// them.
const MaxBad = 100

// BadValue is a value that can't be imported.
type BadValue struct {
	// Where is the line and the number of the value. It is empty if the reason
	// concerns the whole text.
	Where  string `json:"where,omitempty"`
	Reason string `json:"reason"`
}

// Bad holds the bad values of an import, in order.
type Bad struct {
	Values []BadValue `json:"values"`
	// More is the number of bad values beyond MaxBad. Values does not have them.
	More int `json:"more,omitempty"`
	// NoType is true if a bad value lacks the type that the rules require.
	NoType bool `json:"noType,omitempty"`
}

// Add notes a bad value.
func (b *Bad) Add(where string, err error) {
	var e *customstatus.Error
	if errors.As(err, &e) && e.Code == customstatus.CodeRequired && e.Field == customstatus.FieldStatusType {
		b.NoType = true
	}
	if len(b.Values) == MaxBad {
		b.More++
		return
	}
	b.Values = append(b.Values, BadValue{where, err.Error()})
}

// Len returns the number of bad values.
func (b *Bad) Len() int { return len(b.Values) + b.More }

// Source holds the statuses of an import.
type Source struct {
	// Read is the number of values.
	Read int
	// Statuses are nil if there are bad values.
	Statuses []customstatus.CustomUserStatus
	Bad      Bad
	// Missing is how many statuses a list counted beyond those in the source: the
	// list was asked for a part only.
	Missing int

	lines []int // of each status
}

// Where returns the line and the number of the value of Statuses[i].
func (s *Source) Where(i int) string { return where(s.lines[i], i+1) }

// Read reads the statuses of an import and checks their fields. Its error is that of
// r. What else is wrong is in the source.
func Read(r io.Reader, rules customstatus.Rules) (*Source, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	s := new(Source)
	for n := 1; n <= sniffed; n++ { // no more than needed, for the rest may be long in coming
		head, err := br.Peek(n)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := foreign(head); err != nil {
			s.Bad.Add("", err)
			return s, nil
		}
	}
	for values := newScanner(br); ; {
		value, line, err := values.next()
		if err == io.EOF {
			s.Read, s.Missing = values.value, max(0, values.total-values.listed)
			return s, nil
		}
		if f := (*fault)(nil); errors.As(err, &f) {
			s.add(where(f.line, f.value), f.err)
			continue
		}
		if err != nil {
			return nil, err
		}
		status, err := parseStatus(value)
		if err == nil {
			// The catalog checks again, but never sees a source with a bad value.
			err = check(&status, rules)
		}
		if err != nil {
			s.add(where(line, values.value), err)
			continue
		}
		if status.StatusType == "" {
			status.StatusType = rules.StatusTypeDefault
		}
		if s.Bad.Len() == 0 {
			s.Statuses = append(s.Statuses, status)
			s.lines = append(s.lines, line)
		}
	}
}

// check reports what the catalog would refuse, whatever it holds, and gives the status
// the name to store.
func check(s *customstatus.CustomUserStatus, rules customstatus.Rules) error {
	if err := rules.Check(customstatus.Fields{Name: s.Name, StatusType: s.StatusType, Metadata: &s.Metadata}); err != nil {
		return err
	}
	if rules.NameRule != nil {
		var err error
		if s.Name, err = rules.NameRule(s.Name); err != nil {
			return err
		}
	}
	if s.ID != "" && !text.ValidID(s.ID, customstatus.MaxIDBytes) {
		return &customstatus.Error{Code: customstatus.CodeInvalid, Field: customstatus.FieldID, Input: s.ID[:min(len(s.ID), customstatus.MaxIDBytes)],
			Detail: fmt.Sprintf("it must be valid UTF-8 of at most %d bytes without control characters", customstatus.MaxIDBytes)}
	}
	if year := s.UpdatedAt.Year(); year < 0 || year > 9999 {
		return &customstatus.Error{Code: customstatus.CodeInvalid, Field: customstatus.FieldUpdatedAt, Input: s.UpdatedAt.Format(time.RFC3339Nano),
			Detail: "the year must be from 0 to 9999"}
	}
	return nil
}

// add notes a bad value. The statuses are not needed any more.
func (s *Source) add(where string, err error) {
	s.Bad.Add(where, err)
	s.Statuses, s.lines = nil, nil
}
