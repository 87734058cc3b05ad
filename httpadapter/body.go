package httpadapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/customstatus/customstatus/internal/strictjson"
)

// MaxBodyBytes is the greatest number of bytes in a request body. The longest valid
// body needs less than half.
const MaxBodyBytes = 64 << 10

// How long the Handler waits for a request body. A client that doesn't send its body
// holds up the shutdown of the server.
const (
	bodyTimeout = 10 * time.Second
	// dropTimeout is for the body of a request that is refused unread. net/http
	// reads that body, to use the connection again.
	dropTimeout = time.Second
)

// optional is a value that a request may have. null counts as absent.
type optional struct {
	value string
	given bool
}

// param is a key of a request body and where its value goes. All values are strings.
type param struct {
	key string
	to  *optional
}

func (o *optional) set(value string) { o.value, o.given = value, true }

// decode reads the request body into the params.
func (x *exchange) decode(params ...param) error {
	if x.r.ContentLength > MaxBodyBytes {
		return errBodyTooLarge
	}
	body, err := x.readBody()
	if err != nil {
		return err
	}
	to := func(key string) *optional {
		for _, p := range params {
			if p.key == key {
				return p.to
			}
		}
		return nil
	}
	if x.hasForm(body) {
		return decodeForm(string(body), to)
	}
	return decodeJSON(body, to)
}

func (x *exchange) readBody() ([]byte, error) {
	// A server with a ReadTimeout has set its deadline already. A writer that
	// takes no deadline belongs to a test, or is the host's decision.
	if server, ok := x.r.Context().Value(http.ServerContextKey).(*http.Server); !ok || server.ReadTimeout <= 0 {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, MaxBodyBytes))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, errBodyTooLarge
	}
	x.bodyDone = true
	if err != nil {
		// The connection broke off, timed out or lied about its chunks.
		return nil, invalidBody("it could not be read")
	}
	return body, nil
}

// dropBody bounds the wait for a body that nobody will read.
func (x *exchange) dropBody() {
	if !x.bodyDone && x.r.Body != nil && x.r.Body != http.NoBody {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(dropTimeout))
	}
}

// hasForm reports whether the body is a form. A body that begins with { is JSON
// whatever its type says: curl calls any body a form unless it is told the type.
func (x *exchange) hasForm(body []byte) bool {
	mediaType, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	return err == nil && mediaType == "application/x-www-form-urlencoded" &&
		!bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
}

func decodeForm(form string, to func(key string) *optional) error {
	return eachParam(form, func(p queryParam) error {
		value := to(p.name)
		switch {
		case value == nil:
			return invalidKey(p.name, "unknown")
		case p.twice:
			return invalidKey(p.name, "given twice")
		case p.err != nil:
			return invalidKey(p.name, "not valid in a form")
		}
		value.set(p.value)
		return nil
	})
}

func decodeJSON(body []byte, to func(key string) *optional) error {
	err := strictjson.Object(body, func(key string, raw json.RawMessage) error {
		value := to(key)
		if value == nil {
			return invalidKey(key, "unknown")
		}
		if string(raw) == "null" {
			return nil
		}
		text, err := strictjson.String(raw)
		if err != nil {
			return &strictjson.KeyError{Key: key, Err: err}
		}
		value.set(text)
		return nil
	})
	return refuseJSON(err)
}

// refuseJSON returns an error of strictjson in words for the client, and any other
// error unchanged.
func refuseJSON(err error) error {
	for _, reason := range []error{
		strictjson.ErrSyntax,
		strictjson.ErrNotObject,
		strictjson.ErrNotString,
		strictjson.ErrDuplicateKey,
		strictjson.ErrUTF8,
		strictjson.ErrTrailing,
	} {
		if !errors.Is(err, reason) {
			continue
		}
		var at *strictjson.KeyError
		if errors.As(err, &at) {
			return invalidKey(at.Key, reason.Error())
		}
		return invalidBody(reason.Error())
	}
	return err
}

func invalidBody(why string) error {
	return &reasonError{errBody, "Invalid request body: " + why}
}

// invalidKey refuses a key of a body.
func invalidKey(name, why string) error {
	return &reasonError{errBody, `Invalid parameter "` + cut(name) + `": ` + why}
}
