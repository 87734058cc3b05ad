package httpadapter

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/customstatus/customstatus/internal/strictjson"
)

// MaxBody is the greatest number of bytes in a request body, which is more than
// twenty times what the longest valid one needs.
const MaxBody = 64 << 10

// param is a key of a request body and where its value goes. All are strings.
type param struct {
	key   string
	value *string
}

// decode reads the request body. A key that it doesn't have leaves its value
// as it is.
func (x *exchange) decode(params ...param) error {
	if x.r.ContentLength > MaxBody {
		return errBodyTooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, MaxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return errBodyTooLarge
		}
		// The connection broke off, timed out or lied about its chunks.
		return invalidBody("it could not be read")
	}
	err = strictjson.Object(body, func(key string, value json.RawMessage) error {
		for _, p := range params {
			if p.key != key {
				continue
			}
			var err error
			if *p.value, err = strictjson.String(value); err != nil {
				return &strictjson.KeyError{Key: key, Err: err}
			}
			return nil
		}
		return invalidParam(key, "unknown")
	})
	return refuseJSON(err)
}

// refuseJSON puts an error of strictjson in words for the client. Others, and
// nil, it returns.
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
			return invalidParam(at.Key, reason.Error())
		}
		return invalidBody(reason.Error())
	}
	return err
}

func invalidBody(why string) error {
	return &reasonError{errParams, "Invalid request body: " + why}
}
