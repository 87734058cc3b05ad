package httpadapter

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/strictjson"
)

// Errors of this package. refusals says how each is answered.
var (
	errNoEndpoint    = errors.New("no such endpoint")
	errMethod        = errors.New("method not allowed")
	errCrossOrigin   = errors.New("cross-origin request")
	errNotAuthorized = errors.New("caller may not manage statuses")
	errBodyTooLarge  = errors.New("body too large")
	errNoStatusID    = errors.New("no customUserStatusId")
	errBody          = errors.New("body refused")
	errQuery         = errors.New("query refused")
	errSort          = errors.New("sort refused")
)

// reasonError is one of the errors above, with words for the client.
type reasonError struct {
	is     error
	reason string
}

func (e *reasonError) Error() string { return e.is.Error() + ": " + e.reason }
func (e *reasonError) Unwrap() error { return e.is }

// cut shortens a part of the request that an answer repeats.
func cut(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// The values of method in the details of an error. They are the names of functions
// in Rocket.Chat's server.
const (
	upsertMethod = "insertOrUpdateUserStatus"
	deleteMethod = "deleteCustomUserStatus"
)

// refusal says how an error is answered.
type refusal struct {
	is       error  // tested with errors.Is
	endpoint string // empty: any
	status   int
	body     func(err error) []byte // returns nil if the row doesn't fit after all
}

// refusals lists all errors that a client is told, of this package and of the
// library. The first row that fits counts. An error that fits no row is answered 500.
// The words are the wire's; the library's own words are for people and logs.
var refusals = []refusal{
	{errNoEndpoint, "", http.StatusNotFound, always(failure{text: "Endpoint not found"})},
	{errMethod, "", http.StatusMethodNotAllowed, always(failure{text: "Method not allowed"})},
	{errCrossOrigin, "", http.StatusForbidden, always(failure{text: "The request comes from another origin", code: "error-cross-origin"})},
	{ErrUnauthenticated, "", http.StatusUnauthorized, unauthorized},
	{errNotAuthorized, "", http.StatusBadRequest, always(failure{code: "not_authorized"})},
	{errBodyTooLarge, "", http.StatusRequestEntityTooLarge, always(failure{text: "The request body is too large", code: "error-body-too-large"})},
	{errBody, "", http.StatusBadRequest, withReason("invalid-params")},
	{errQuery, "", http.StatusBadRequest, withReason("error-invalid-params")},
	{errSort, "", http.StatusBadRequest, withReason("error-invalid-sort")},
	{errNoStatusID, "", http.StatusBadRequest, always(failure{text: `The "customUserStatusId" params is required!`})},
	{customstatus.ErrRequired, "", http.StatusBadRequest, fromCatalog(required)},
	{customstatus.ErrInvalid, "", http.StatusBadRequest, fromCatalog(invalid)},
	{customstatus.ErrNameInUse, "", http.StatusBadRequest, fromCatalog(saying("The custom user status name is already in use", upsertMethod))},
	{customstatus.ErrNotFound, updatePath, http.StatusBadRequest, fromCatalog(idNotFound)},
	{customstatus.ErrNotFound, deletePath, http.StatusBadRequest, fromCatalog(saying("Invalid user status", deleteMethod))},
	{customstatus.ErrFull, "", http.StatusBadRequest, fromCatalog(saying("There are too many custom user statuses", upsertMethod))},
	{customstatus.ErrTooLarge, deletePath, http.StatusBadRequest, always(failure{text: tooLarge, code: tooLargeCode, method: deleteMethod})},
	{customstatus.ErrTooLarge, "", http.StatusBadRequest, always(failure{text: tooLarge, code: tooLargeCode, method: upsertMethod})},
}

// The answer for a status that the store can't keep.
const (
	tooLarge     = "The custom user status is too large to be stored"
	tooLargeCode = "error-status-too-large"
)

// fail answers a request that could not be served.
func (x *exchange) fail(err error) {
	x.dropBody()
	for _, row := range refusals {
		if !errors.Is(err, row.is) || row.endpoint != "" && row.endpoint != x.endpoint {
			continue
		}
		if body := row.body(err); body != nil {
			x.answer(row.status, body)
			return
		}
	}
	x.logFailure(err)
	x.answer(http.StatusInternalServerError, internalError())
}

// logFailure logs a failure of the server. A request that the client gave up is
// logged for debugging only, unless its outcome is unknown.
func (x *exchange) logFailure(err error) {
	level := slog.LevelError
	if gone := x.r.Context().Err(); gone != nil && errors.Is(err, gone) && !errors.Is(err, customstatus.ErrOutcomeUnknown) {
		level = slog.LevelDebug
	}
	x.logger().Log(x.r.Context(), level, "httpadapter: request failed", "error", err)
}

// failure is the body of an error answer. The code and the details are optional.
type failure struct {
	text, code           string
	method, input, field string // details; without a method there are none
}

func (f failure) json() []byte {
	b := append(make([]byte, 0, 256), `{"success":false,"error":`...)
	text := f.text
	switch {
	case f.code == "":
	case text == "":
		text = "[" + f.code + "]"
	default:
		text += " [" + f.code + "]"
	}
	b = strictjson.AppendString(b, text)
	if f.code != "" {
		b = strictjson.AppendString(append(b, `,"errorType":`...), f.code)
	}
	if f.method != "" {
		b = strictjson.AppendString(append(b, `,"details":{"method":`...), f.method)
		if f.input != "" {
			b = strictjson.AppendString(append(b, `,"input":`...), f.input)
		}
		if f.field != "" {
			b = strictjson.AppendString(append(b, `,"field":`...), f.field)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

func internalError() []byte {
	return failure{text: "Internal server error", code: "error-internal"}.json()
}

// always returns the same body for every error.
func always(f failure) func(error) []byte {
	return func(error) []byte { return f.json() }
}

// unauthorized is the union of the two documented bodies, see docs/rocketchat.md.
func unauthorized(error) []byte {
	return []byte(`{"success":false,"status":"error","message":"You must be logged in to do this.","error":"unauthorized"}`)
}

// withReason is the body of a reasonError.
func withReason(code string) func(error) []byte {
	return func(err error) []byte {
		var e *reasonError
		if !errors.As(err, &e) {
			return nil
		}
		return failure{text: e.reason, code: code}.json()
	}
}

// fromCatalog is the body of a customstatus.Error. An error that is none comes from
// the store, whatever it wraps.
func fromCatalog(words func(*customstatus.Error) failure) func(error) []byte {
	return func(err error) []byte {
		var e *customstatus.Error
		if !errors.As(err, &e) {
			return nil
		}
		return words(e).json()
	}
}

// saying returns the same text for every status.
func saying(text, method string) func(*customstatus.Error) failure {
	return func(e *customstatus.Error) failure {
		return failure{text: text, code: string(e.Code), method: method}
	}
}

func required(e *customstatus.Error) failure {
	field, _ := wireField(e.Field)
	return failure{text: "The field " + field + " is required", code: string(e.Code), method: upsertMethod, field: field}
}

func invalid(e *customstatus.Error) failure {
	field, noun := wireField(e.Field)
	return failure{text: e.Input + " is not a valid " + noun, code: string(e.Code), method: upsertMethod, input: e.Input, field: field}
}

// wireField returns Rocket.Chat's name of a field, and its noun for a sentence.
func wireField(field string) (name, noun string) {
	switch field {
	case customstatus.FieldName:
		return "Name", "name"
	case customstatus.FieldStatusType:
		return "StatusType", "status type"
	case customstatus.FieldMetadata:
		return "Metadata", "metadata"
	}
	return field, field
}

// idNotFound is Rocket.Chat's answer to an update of an unknown id.
func idNotFound(e *customstatus.Error) failure {
	return failure{text: `No custom user status found with the id of "` + e.Input + `".`}
}
