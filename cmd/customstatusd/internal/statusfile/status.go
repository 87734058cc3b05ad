package statusfile

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/strictjson"
)

// keys are those that a status may have.
var keys = []string{"_id", "name", "statusType", "_updatedAt", "metadata", "metadataBase64"}

// parseStatus reads a status in the form of an export, or in the extended JSON
// (version 1 or 2, relaxed or canonical) that mongoexport writes. Unlike the library's
// own decoder, it refuses unknown keys, because an import drops nothing. The catalog
// decides about missing keys. A null is as if the key were missing.
func parseStatus(text []byte) (customstatus.CustomUserStatus, error) {
	var s customstatus.CustomUserStatus
	described := false // whether the metadata is given
	err := strictjson.Object(text, func(key string, value json.RawMessage) (err error) {
		if string(value) == "null" {
			if !slices.Contains(keys, key) {
				return &strictjson.KeyError{Key: key, Err: errUnknownKey}
			}
			return nil
		}
		switch key {
		case "_id":
			s.ID, err = parseID(value)
		case "name":
			s.Name, err = strictjson.String(value)
		case "statusType":
			var t string
			t, err = strictjson.String(value)
			s.StatusType = customstatus.StatusType(t)
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
