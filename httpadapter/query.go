package httpadapter

import (
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/strictjson"
)

const (
	defaultCount = 50
	maxCount     = 100
	// maxQuery is the greatest number of bytes in a query, as much as common
	// proxies take of a request line.
	maxQuery = 8 << 10
)

// eachParam calls param for each parameter of a query, in the order given, and
// returns the first error of its own or of param.
func eachParam(rawQuery string, param func(name, value string) error) error {
	if len(rawQuery) > maxQuery {
		return &reasonError{errParams, "Invalid query: too long"}
	}
	seen := make(map[string]bool)
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil || !utf8.ValidString(name) {
			return invalidParam(rawName, "not valid in a query")
		}
		value, err := url.QueryUnescape(rawValue)
		if err != nil || !utf8.ValidString(value) {
			return invalidParam(name, "not valid in a query")
		}
		if seen[name] {
			return invalidParam(name, "given twice")
		}
		seen[name] = true
		if err := param(name, value); err != nil {
			return err
		}
	}
	return nil
}

// parseList reads the query of a list.
func parseList(rawQuery string) (customstatus.Query, error) {
	q := customstatus.Query{}
	err := eachParam(rawQuery, func(name, value string) (err error) {
		switch name {
		case "name":
			q.Name = value
		case "_id":
			q.ID = value
		case "count":
			q.Limit, err = parseNumber(name, value)
		case "offset":
			q.Offset, err = parseNumber(name, value)
		case "sort":
			q.Sort, err = parseSort(value)
		case "fields", "query": // what clients of old versions send
		default:
			err = invalidParam(name, "unknown")
		}
		return err
	})
	if q.Limit == 0 {
		q.Limit = defaultCount
	}
	q.Limit = min(q.Limit, maxCount)
	return q, err
}

// parseNumber reads a number of digits alone, which strconv.Atoi doesn't ask for.
func parseNumber(name, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || strings.Trim(value, "0123456789") != "" {
		return 0, invalidParam(name, "not a number from 0")
	}
	return n, nil
}

// parseSort reads the sort parameter, a JSON object such as
// {"statusType":1,"name":-1}. Empty is the default order.
func parseSort(value string) ([]customstatus.SortKey, error) {
	if value == "" {
		return nil, nil
	}
	var keys []customstatus.SortKey
	err := strictjson.Object([]byte(value), func(name string, direction json.RawMessage) error {
		key := customstatus.SortKey{Field: customstatus.SortField(name)}
		switch key.Field {
		case customstatus.SortByID, customstatus.SortByName, customstatus.SortByStatusType, customstatus.SortByUpdatedAt:
		default:
			return errors.New("no such field")
		}
		switch string(direction) {
		case "1":
		case "-1":
			key.Descending = true
		default:
			return errors.New("neither 1 nor -1")
		}
		keys = append(keys, key)
		return nil
	})
	if err != nil {
		return nil, &reasonError{errSort, `Invalid sort parameter provided: "` + cut(value) + `"`}
	}
	return keys, nil
}
