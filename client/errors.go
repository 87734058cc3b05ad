package client

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/strictjson"
	"github.com/customstatus/customstatus/internal/text"
)

// Errors of this package. Test for them with [errors.Is].
var (
	// ErrUnauthorized is returned when the server refuses the login: status 401.
	ErrUnauthorized = errors.New("not logged in")
	// ErrForbidden is returned when the caller is logged in and may not do this, for
	// lack of the permission manage-user-status for example.
	ErrForbidden = errors.New("not allowed")
	// ErrTooManyRequests is returned when the server limits requests: status 429. See
	// [Error.RetryAfter].
	ErrTooManyRequests = errors.New("too many requests")
	// ErrUnexpectedAnswer is returned for an answer that the API doesn't have: a page
	// of a proxy, a redirect to another host, or more than [Options.MaxAnswerBytes].
	ErrUnexpectedAnswer = errors.New("not an answer of the API")
)

// Error is an answer that isn't a success. [errors.Is] finds the sentinels that fit.
// A 404 or 405 is also [errors.ErrUnsupported].
type Error struct {
	// Op is the operation: create, update, delete, list or stream.
	Op string
	// Status is the HTTP status.
	Status int
	// Code is the errorType of the answer, or empty.
	Code string
	// Message is the text of the answer, cut to 200 characters.
	Message string
	// RequestID is the X-Request-Id of the answer, or empty. The server's log has it.
	RequestID string
	// RetryAfter is the wait that the server asks for, or 0.
	RetryAfter time.Duration

	is []error
}

// Error names the operation, the status and what the server said. It quotes the
// server's text.
func (e *Error) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "client: %s: status %d: %q", e.Op, e.Status, e.Message)
	if e.RequestID != "" {
		fmt.Fprintf(&s, " (request %q)", text.Clip(e.RequestID, 100))
	}
	for _, err := range e.is {
		if err == customstatus.ErrOutcomeUnknown || err == ErrUnexpectedAnswer {
			fmt.Fprintf(&s, ": %v", err)
		}
	}
	return s.String()
}

// Unwrap returns the sentinels that fit, and a [*customstatus.Error] where a catalog
// refused the operation.
func (e *Error) Unwrap() []error { return e.is }

// content is what an answer says. It has the keys of all versions.
type content struct {
	ok                 bool // the value of success
	known              bool // whether the API can have given it
	message, errorText string
	code, field, input string
	customUserStatus   json.RawMessage
	statuses           json.RawMessage
	total              int
	offset             int // -1 if the answer doesn't say
}

// decode reads the body of any answer but the event stream's. Unknown keys are ignored.
func decode(body []byte) (f content) {
	success := false
	f.offset = -1
	err := strictjson.Object(body, func(key string, value json.RawMessage) error {
		switch key {
		case "success":
			success = true
			return json.Unmarshal(value, &f.ok)
		case "status":
			f.known = true // of a 401 in old versions, which has no success
		case "message":
			f.message, _ = strictjson.String(value)
		case "error":
			f.errorText, _ = strictjson.String(value)
		case "errorType":
			f.code, _ = strictjson.String(value)
		case "details":
			var details struct{ Field, Input any }
			if json.Unmarshal(value, &details) == nil {
				f.field, _ = details.Field.(string)
				f.input, _ = details.Input.(string)
			}
		case "customUserStatus":
			f.customUserStatus = append(json.RawMessage(nil), value...)
		case "statuses":
			f.statuses = append(json.RawMessage(nil), value...)
		case "total":
			return json.Unmarshal(value, &f.total)
		case "offset":
			_ = json.Unmarshal(value, &f.offset) // only to compare
		}
		return nil
	})
	f.known = err == nil && (success || f.known)
	return f
}

// fault returns the error for an answer that isn't a success.
func (c *call) fault(res *http.Response, body []byte, now time.Time) *Error {
	f := decode(body)
	e := &Error{Op: c.op, Status: res.StatusCode, RequestID: res.Header.Get("X-Request-Id"), RetryAfter: retryAfter(res.Header, now)}
	if f.known && !f.ok {
		e.Message = text.Clip(cmp.Or(f.errorText, f.message), 200)
		e.Code = f.code
		if open, closed := strings.CutSuffix(f.errorText, "]"); closed && e.Code == "" {
			if i := strings.LastIndexByte(open, '['); i >= 0 {
				e.Code = open[i+1:]
			}
		}
		if err := c.meaning(&f, e.Code); err != nil {
			e.is = append(e.is, err)
		}
	} else {
		e.is = append(e.is, ErrUnexpectedAnswer)
		switch location := res.Header.Get("Location"); {
		case location != "":
			e.Message = "a redirect to " + text.Clip(location, 150)
		case len(body) == 0:
			e.Message = "an empty answer"
		default:
			e.Message = text.Clip(res.Header.Get("Content-Type")+", which begins with "+string(body[:min(len(body), 100)]), 200)
		}
	}
	switch e.Status {
	case http.StatusUnauthorized:
		e.is = append(e.is, ErrUnauthorized)
	case http.StatusForbidden:
		e.is = append(e.is, ErrForbidden)
	case http.StatusTooManyRequests:
		e.is = append(e.is, ErrTooManyRequests)
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		e.is = append(e.is, errors.ErrUnsupported)
	}
	if c.writes() && (e.Status >= 500 || e.Status == http.StatusRequestTimeout || e.Status < 300) {
		e.is = append(e.is, customstatus.ErrOutcomeUnknown)
	}
	return e
}

// meaning returns what a refusal is in terms of the library, or nil. Old versions
// leave the code out of some answers.
func (c *call) meaning(f *content, code string) error {
	refused := &customstatus.Error{Code: customstatus.Code(code), Field: fieldOf(f.field), Input: text.Clip(f.input, customstatus.MaxNameCharacters), ID: c.id, Detail: text.Clip(f.errorText, 200)}
	switch {
	case c.op == "update" && code == "" && strings.HasPrefix(f.errorText, "No custom user status found"):
		refused.Code = customstatus.CodeNotFound
	case c.op == "delete" && code == "" && strings.Contains(f.errorText, "customUserStatusId"):
		refused.Code = customstatus.CodeRequired
	}
	switch refused.Code {
	case customstatus.CodeRequired:
		if c.op == "delete" {
			refused.Field = customstatus.FieldID
		}
		return refused
	case customstatus.CodeNotFound:
		refused.Field, refused.Input = customstatus.FieldID, c.id
		return refused
	case customstatus.CodeNameInUse:
		refused.Field, refused.Input, refused.ID = customstatus.FieldName, c.name, ""
		return refused
	case customstatus.CodeInvalid, customstatus.CodeFull:
		return refused
	case "error-status-too-large":
		return customstatus.ErrTooLarge
	case "not_authorized", "error-unauthorized", "error-action-not-allowed", "error-not-allowed":
		return ErrForbidden
	case "invalid-params", "error-invalid-params", "error-invalid-sort":
		return customstatus.ErrInvalid
	}
	return nil
}

// fieldOf returns the library's name of a field of the wire's error details.
func fieldOf(wire string) string {
	switch wire {
	case "Name":
		return customstatus.FieldName
	case "StatusType":
		return customstatus.FieldStatusType
	}
	return wire
}

// retryAfter reads the wait that an answer asks for: in the standard header, or in
// Rocket.Chat's, which has the time in milliseconds since 1970.
func retryAfter(h http.Header, now time.Time) time.Duration {
	at := time.Time{}
	if s := h.Get("Retry-After"); s != "" {
		// A number that is too large is a wait all the same: the greatest one.
		if seconds, err := strconv.ParseInt(s, 10, 32); err == nil || errors.Is(err, strconv.ErrRange) {
			return max(0, time.Duration(seconds)*time.Second)
		}
		at, _ = http.ParseTime(s)
	} else if ms, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil && h.Get("X-RateLimit-Remaining") == "0" {
		at = time.UnixMilli(ms)
	}
	if at.IsZero() {
		return 0
	}
	return max(0, at.Sub(now))
}

// unexpected is the error of a success that can't be read.
func (c *call) unexpected(res *http.Response, why string) *Error {
	e := &Error{Op: c.op, Status: res.StatusCode, Message: why, RequestID: res.Header.Get("X-Request-Id"), is: []error{ErrUnexpectedAnswer}}
	if c.writes() {
		e.is = append(e.is, customstatus.ErrOutcomeUnknown)
	}
	return e
}
