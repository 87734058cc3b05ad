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
	maxCount     = 100 // of a page; count=0 is bounded by Options.MaxCount
	// maxQuery is the greatest number of bytes in a query. Common proxies accept
	// request lines of that length.
	maxQuery = 8 << 10
)

var errEncoding = errors.New("invalid escape or invalid UTF-8")

// queryParam is a parameter of a query, or of a form.
type queryParam struct {
	name, value string
	twice       bool  // the name has come before
	err         error // the name or the value can't be decoded and is as it came
}

// eachParam calls each for the parameters of a query, in their order, until a call
// returns an error. It returns that error.
func eachParam(rawQuery string, each func(queryParam) error) error {
	seen := make(map[string]bool)
	for pair := range strings.SplitSeq(rawQuery, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		var p queryParam
		var ok bool
		if p.name, ok = unescape(rawName); !ok {
			p.err = errEncoding
		}
		if p.value, ok = unescape(rawValue); !ok {
			p.err = errEncoding
		}
		p.twice = seen[p.name]
		seen[p.name] = true
		if err := each(p); err != nil {
			return err
		}
	}
	return nil
}

// unescape decodes a name or value. It returns false and the raw text if the text
// can't be decoded.
func unescape(raw string) (string, bool) {
	s, err := url.QueryUnescape(raw)
	if err != nil || !utf8.ValidString(s) {
		return strings.ToValidUTF8(raw, "\uFFFD"), false
	}
	return s, true
}

// invalidParam refuses a parameter of a query.
func invalidParam(name, why string) error {
	return &reasonError{errQuery, `Invalid parameter "` + cut(name) + `": ` + why}
}

// parseList reads the query of a list. A client that sends count=0 gets up to all
// statuses.
func parseList(rawQuery string, all int) (customstatus.Query, error) {
	q := customstatus.Query{Limit: defaultCount}
	if len(rawQuery) > maxQuery {
		return q, &reasonError{errQuery, "Invalid query: too long"}
	}
	err := eachParam(rawQuery, func(p queryParam) error {
		if p.twice {
			return invalidParam(p.name, "given twice")
		}
		return parseListParam(&q, p, all)
	})
	return q, err
}

func parseListParam(q *customstatus.Query, p queryParam, all int) (err error) {
	switch p.name {
	case "name", "_id", "count", "offset", "sort", "query":
	case "fields": // old clients send it to ask for less than they get
		return nil
	default:
		if p.err != nil {
			return invalidParam(p.name, "not valid in a query")
		}
		return invalidParam(p.name, "unknown")
	}
	if p.err != nil {
		return invalidParam(p.name, "not valid in a query")
	}
	if p.value == "" {
		return nil
	}
	switch p.name {
	case "name":
		addFilter(q, nameContains(p.value))
	case "_id":
		addFilter(q, idIs(p.value))
	case "count":
		if q.Limit, err = parseNumber(p.name, p.value); q.Limit == 0 {
			q.Limit = all
		} else {
			q.Limit = min(q.Limit, maxCount)
		}
	case "offset":
		q.Offset, err = parseNumber(p.name, p.value)
	case "sort":
		q.Sort, err = parseSort(p.value)
	case "query":
		err = parseFilter(q, p.value)
	}
	return err
}

// parseNumber reads a number that consists of digits. strconv.Atoi would take a sign.
func parseNumber(name, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || strings.Trim(value, "0123456789") != "" {
		return 0, invalidParam(name, "not a number from 0")
	}
	return n, nil
}

// parseSort reads the sort parameter, a JSON object such as
// {"statusType":1,"name":-1}.
func parseSort(value string) ([]customstatus.SortKey, error) {
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
