package httpadapter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/httpadapter"
)

// takes reports as an error that a request which was not refused is not one of the
// document's. It makes the exceptions that the document has in words.
func (d document) takes(r httpadapter.Request, a httpadapter.Answer) error {
	operation := d.at(map[string]any(d), "paths", "/"+a.Endpoint, strings.ToLower(a.Method))
	if err := d.takesQuery(operation, r.Query); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	body, _ := d.at(operation, "requestBody").(map[string]any)
	if body == nil {
		return nil // a body would not be read
	}
	kind := "application/json"
	given := make(map[string]any)
	if r.Form {
		kind = "application/x-www-form-urlencoded"
		for pair := range strings.SplitSeq(r.Body, "&") {
			key, value, err := unescape(pair)
			if err != nil {
				return err
			}
			if pair != "" {
				given[key] = value
			}
		}
	} else if err := json.Unmarshal([]byte(r.Body), &given); err != nil {
		return err
	}
	for key, value := range given {
		if value == nil {
			delete(given, key) // "A key whose value is null counts as absent."
		}
	}
	schema := d.at(body, "content", kind, "schema")
	if kind := given["statusType"]; (kind == nil || kind == "") && d.at(schema, "properties", "statusType") != nil {
		given["statusType"] = "busy" // "…, statusType is not required, and may be empty."
	}
	return d.validate(schema, given)
}

// takesQuery is takes for the query of a request.
func (d document) takesQuery(operation any, query string) error {
	parameters := make(map[string]any)
	all, _ := d.at(operation, "parameters").([]any)
	if all == nil {
		return nil // "An operation without parameters ignores the query."
	}
	for _, p := range all {
		if d.at(p, "in") == "query" {
			parameters[d.at(p, "name").(string)] = p
		}
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, text, err := unescape(pair)
		if pair == "" || name == "fields" { // "Ignored."
			continue
		}
		p := parameters[name]
		if p == nil {
			return fmt.Errorf("no parameter %q", name)
		}
		if name == "after" || name == "lastEventId" { // "If the server can't tell what came after the position, …"
			err = nil
		}
		if err != nil {
			return err
		}
		if text == "" { // "An empty value counts as absent, as in every parameter."
			continue
		}
		if err := d.takesParameter(p, text); err != nil {
			return fmt.Errorf("%s=%s: %w", name, text, err)
		}
	}
	return nil
}

// unescape decodes a pair of a query or a form. It returns the value as it came if that
// can't be decoded.
func unescape(pair string) (name, value string, err error) {
	rawName, rawValue, _ := strings.Cut(pair, "=")
	if name, err = url.QueryUnescape(rawName); err != nil {
		return "", "", err
	}
	if value, err = url.QueryUnescape(rawValue); err != nil {
		return name, rawValue, err
	}
	return name, value, nil
}

func (d document) takesParameter(p any, text string) error {
	var value any = text
	schema := d.at(p, "schema")
	if media := d.at(p, "content", "application/json"); media != nil {
		schema = d.at(media, "schema")
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			return err
		}
	} else if d.at(schema, "type") == "integer" {
		number, err := strconv.ParseFloat(text, 64)
		if err != nil || strings.Trim(text, "0123456789") != "" {
			return errors.New("not a number of digits")
		}
		value = number
	}
	return d.validate(schema, value)
}

// TestTakes has a request for each way in which a request can differ from the document.
func TestTakes(t *testing.T) {
	for name, tt := range map[string]struct {
		endpoint string
		r        httpadapter.Request
		ok       bool
	}{
		"a list":            {listPath, httpadapter.Request{Query: "count=5&&name=%C3%A9&sort=%7B%22_id%22:-1%7D&_id=&fields=%zz"}, true},
		"unknown parameter": {listPath, httpadapter.Request{Query: "limit=5"}, false},
		"no number":         {listPath, httpadapter.Request{Query: "count=x"}, false},
		"a sign":            {listPath, httpadapter.Request{Query: "offset=%2B1"}, false},
		"an odd sort":       {listPath, httpadapter.Request{Query: "sort=%7B%22_id%22:2%7D"}, false},
		"a sort of nothing": {listPath, httpadapter.Request{Query: "sort=x"}, false},
		"an escape":         {listPath, httpadapter.Request{Query: "name=%z"}, false},
		"JSON":              {createPath, httpadapter.Request{Body: `{"name":"n","statusType":"away","metadata":null}`}, true},
		"a form":            {createPath, httpadapter.Request{Body: "name=n&statusType=away", Form: true}, true},
		"no type":           {createPath, httpadapter.Request{Body: `{"name":"n"}`}, true},
		"no name":           {createPath, httpadapter.Request{Body: `{"statusType":"away"}`}, false},
		"a bad type":        {createPath, httpadapter.Request{Body: `{"name":"n","statusType":"Away"}`}, false},
		"a key too many":    {createPath, httpadapter.Request{Body: `{"name":"n","statusType":"away","_id":"x"}`}, false},
		"a form too long":   {createPath, httpadapter.Request{Body: "name=n&statusType=away&x=", Form: true}, false},
		"a form's escape":   {createPath, httpadapter.Request{Body: "name=%zz&statusType=away", Form: true}, false},
		"a bad position":    {streamPath, httpadapter.Request{Query: "after=%zz"}, true},
		"a stream's other":  {streamPath, httpadapter.Request{Query: "before=1"}, false},
		"a name's escape":   {streamPath, httpadapter.Request{Query: "%zz=1"}, false},
		"an empty type":     {updatePath, httpadapter.Request{Body: `{"_id":"x","name":"n","statusType":""}`}, true},
		"no body":           {deletePath, httpadapter.Request{}, false},
		"a query of delete": {deletePath, httpadapter.Request{Query: "x=1", Body: `{"customUserStatusId":"x"}`}, true},
	} {
		t.Run(name, func(t *testing.T) {
			method := "POST"
			if tt.endpoint == listPath || tt.endpoint == streamPath {
				method = "GET"
			}
			err := api(t).takes(tt.r, httpadapter.Answer{Method: method, Endpoint: tt.endpoint})
			require.Equal(t, tt.ok, err == nil, "%v", err)
		})
	}
}
