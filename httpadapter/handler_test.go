package httpadapter_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/internal/strictjson"
)

const (
	createPath  = "custom-user-status.create"
	updatePath  = "custom-user-status.update"
	deletePath  = "custom-user-status.delete"
	listPath    = "custom-user-status.list"
	streamPath  = "custom-user-status.stream"
	openAPIPath = "custom-user-status.openapi.json"
)

// TestGolden compares answers with the files in testdata/golden, byte for byte.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.txt")
	require.NoError(t, err)
	require.Len(t, files, 19)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			var b strings.Builder
			for line := range strings.Lines(string(text)) {
				if !strings.HasPrefix(line, "#") {
					b.WriteString(line)
				}
			}
			sent, want, _ := strings.Cut(b.String(), "\n\n")
			line, body, _ := strings.Cut(sent, "\n")
			req := request{as: manager}
			req.method, req.path, _ = strings.Cut(line, " ")
			if rest, ok := strings.CutPrefix(body, "with "); ok {
				header, rest, _ := strings.Cut(rest, "\n")
				name, value, _ := strings.Cut(header, ": ")
				req.header, body = http.Header{name: {value}}, rest
			}
			for prefix, as := range map[string][2]string{"without credentials\n": nobody, "as a user who may not manage\n": reader} {
				if rest, ok := strings.CutPrefix(body, prefix); ok {
					req.as, body = as, rest
				}
			}
			req.body = body
			now := time.Date(2021, 9, 26, 14, 3, 43, 57e6, time.UTC)
			if strings.HasPrefix(filepath.Base(file), "update") {
				now = time.Date(2023, 11, 4, 11, 51, 28, 353e6, time.UTC)
			}
			s := newServer(t, setup{catalog: customstatus.Options{
				Now:   func() time.Time { return now },
				NewID: func() string { return "EscbQinc8jmeXbpt7" },
			}})
			a := s.do(req)
			require.Equal(t, strings.TrimSuffix(want, "\n"), fmt.Sprintf("%d\n%s", a.status, a.body))
		})
	}
}

// row is a request and the answer to it.
type row struct {
	as     [2]string
	method string
	path   string
	body   string
	header http.Header
	status int
	want   string // the body; with … at the end, the beginning of the body
}

func checkRows(t *testing.T, with setup, rows map[string]row) {
	t.Helper()
	for name, tt := range rows {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, with)
			before := s.catalog.Revision()
			a := s.do(request{as: tt.as, method: tt.method, path: tt.path, body: tt.body, header: tt.header})
			if begin, ok := strings.CutSuffix(tt.want, "…"); ok && len(a.body) > len(begin) {
				a.body = a.body[:len(begin)]
				tt.want = begin
			}
			require.Equal(t, fmt.Sprintf("%d %s", tt.status, tt.want), fmt.Sprintf("%d %s", a.status, a.body))
			if tt.status != http.StatusOK {
				require.Equal(t, before, s.catalog.Revision(), "a request that was refused has written")
			}
		})
	}
}

const (
	unauthorized  = `{"success":false,"status":"error","message":"You must be logged in to do this.","error":"unauthorized"}`
	notAuthorized = `{"success":false,"error":"[not_authorized]","errorType":"not_authorized"}`
	internal      = `{"success":false,"error":"Internal server error [error-internal]","errorType":"error-internal"}`
	tooLarge      = `{"success":false,"error":"The request body is too large [error-body-too-large]","errorType":"error-body-too-large"}`
	noEndpoint    = `{"success":false,"error":"Endpoint not found"}`
	noMethod      = `{"success":false,"error":"Method not allowed"}`
	noStatusID    = `{"success":false,"error":"The \"customUserStatusId\" params is required!"}`
)

func invalidQuery(why string) string {
	text := strictjson.AppendString(nil, why+" [error-invalid-params]")
	return `{"success":false,"error":` + string(text) + `,"errorType":"error-invalid-params"}`
}

func invalidParams(why string) string {
	text := strictjson.AppendString(nil, why+" [invalid-params]")
	return `{"success":false,"error":` + string(text) + `,"errorType":"invalid-params"}`
}

func required(field string) string {
	return `{"success":false,"error":"The field ` + field + ` is required [error-the-field-is-required]","errorType":"error-the-field-is-required","details":{"method":"insertOrUpdateUserStatus","field":"` + field + `"}}`
}

// invalid takes the input as it is in the JSON.
func invalid(input, what, field string) string {
	return `{"success":false,"error":"` + input + ` is not a valid ` + what + ` [error-input-is-not-a-valid-field]","errorType":"error-input-is-not-a-valid-field","details":{"method":"insertOrUpdateUserStatus","input":"` + input + `","field":"` + field + `"}}`
}

// TestOrder sends requests with several faults. The answer names the first in the order
// of checks.
func TestOrder(t *testing.T) {
	checkRows(t, setup{}, map[string]row{
		"path before method":                 {method: "PUT", path: "custom-user-status.none", status: 404, want: noEndpoint},
		"method before authentication":       {method: "PUT", path: createPath, status: 405, want: noMethod},
		"authentication before permission":   {path: createPath, body: `{}`, status: 401, want: unauthorized},
		"authentication before the body":     {path: createPath, body: `]`, status: 401, want: unauthorized},
		"authentication before its size":     {path: createPath, body: strings.Repeat(" ", 70000), status: 401, want: unauthorized},
		"authentication before the query":    {method: "GET", path: listPath + "?count=x", status: 401, want: unauthorized},
		"permission before the body":         {as: reader, path: createPath, body: `]`, status: 400, want: notAuthorized},
		"permission before its size":         {as: reader, path: createPath, body: strings.Repeat(" ", 70000), status: 400, want: notAuthorized},
		"body before the fields":             {as: manager, path: createPath, body: `{"name":"","colour":"red"}`, status: 400, want: invalidParams(`Invalid parameter "colour": unknown`)},
		"id before the name":                 {as: manager, path: updatePath, body: `{}`, status: 400, want: required("_id")},
		"name before the status type":        {as: manager, path: createPath, body: `{}`, status: 400, want: required("Name")},
		"fields before a name in use":        {as: manager, path: createPath, body: `{"name":"caught up","statusType":"Busy"}`, status: 400, want: invalid("Busy", "status type", "StatusType")},
		"fields before an id that is not":    {as: manager, path: updatePath, body: `{"_id":"none","name":"a","statusType":"Busy"}`, status: 400, want: invalid("Busy", "status type", "StatusType")},
		"an id that is not before the name":  {as: manager, path: updatePath, body: `{"_id":"none","name":"caught up","statusType":"busy"}`, status: 400, want: `{"success":false,"error":"No custom user status found with the id of \"none\"."}`},
		"list needs no permission":           {as: reader, method: "GET", path: listPath + "?_id=none", status: 200, want: `{"statuses":[],"count":0,"offset":0,"total":0,"success":true}`},
		"the first parameter of the query":   {as: reader, method: "GET", path: listPath + "?count=x&offset=y&sort=z", status: 400, want: invalidQuery(`Invalid parameter "count": not a number from 0`)},
		"the first key of the body":          {as: manager, path: createPath, body: `{"b":1,"a":1}`, status: 400, want: invalidParams(`Invalid parameter "b": unknown`)},
		"a wrong key before what breaks off": {as: manager, path: createPath, body: `{"b":1,"name":`, status: 400, want: invalidParams(`Invalid parameter "b": unknown`)},
	})
}

func TestPathsAndMethods(t *testing.T) {
	rows := map[string]row{
		"prefix":         {as: manager, path: "", status: 404, want: noEndpoint},
		"slash alone":    {as: manager, path: "/", status: 404, want: noEndpoint},
		"slash within":   {as: manager, path: "custom-user-status/.create", status: 404, want: noEndpoint},
		"longer":         {as: manager, path: createPath + "x", status: 404, want: noEndpoint},
		"other case":     {as: manager, path: "Custom-User-Status.create", status: 404, want: noEndpoint},
		"dots":           {as: manager, path: "x/../" + createPath, status: 404, want: noEndpoint},
		"other endpoint": {as: manager, path: "me", status: 404, want: noEndpoint},
		"not logged in":  {path: "me", status: 404, want: noEndpoint},
		"markup in path": {path: "<script>", status: 404, want: noEndpoint},
	}
	checkRows(t, setup{}, rows)
	for endpoint, allow := range map[string]string{createPath: "POST", updatePath: "POST", deletePath: "POST", listPath: "GET, HEAD", streamPath: "GET"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "get", "BREW"} {
			if slices.Contains(strings.Split(allow, ", "), method) {
				continue
			}
			t.Run(method+" "+endpoint, func(t *testing.T) {
				s := newServer(t, setup{})
				a := s.do(request{as: manager, method: method, path: endpoint, body: `{}`})
				require.Equal(t, http.StatusMethodNotAllowed, a.status)
				require.Equal(t, []string{allow}, a.header["Allow"])
				if method != "HEAD" {
					require.Equal(t, noMethod, a.body)
				}
			})
		}
	}
}

func TestBody(t *testing.T) {
	const ok = `{"customUserStatus":{"_id":"…`
	padded := func(n int) string {
		body := `{"name":"a","statusType":"busy"}`
		return body + strings.Repeat(" ", n-len(body))
	}
	bad := func(body, why string) row {
		return row{as: manager, path: createPath, body: body, status: 400, want: invalidParams(why)}
	}
	checkRows(t, setup{}, map[string]row{
		"white space around":      {as: manager, path: createPath, body: "\r\n\t {\"name\" : \"a\" , \"statusType\" : \"busy\"} \n", status: 200, want: ok},
		"other order":             {as: manager, path: createPath, body: `{"statusType":"busy","name":"a"}`, status: 200, want: ok},
		"escaped key":             {as: manager, path: createPath, body: `{"n\u0061me":"a","statusType":"busy"}`, status: 200, want: ok},
		"just small enough":       {as: manager, path: createPath, body: padded(httpadapter.MaxBodyBytes), status: 200, want: ok},
		"one byte too large":      {as: manager, path: createPath, body: padded(httpadapter.MaxBodyBytes + 1), status: 413, want: tooLarge},
		"no body":                 bad(``, "Invalid request body: not valid JSON"),
		"white space":             bad(` `, "Invalid request body: not valid JSON"),
		"form":                    bad(`name=a&statusType=busy`, "Invalid request body: not valid JSON"),
		"null":                    bad(`null`, "Invalid request body: not a JSON object"),
		"array":                   bad(`[{"name":"a","statusType":"busy"}]`, "Invalid request body: not a JSON object"),
		"string":                  bad(`"name"`, "Invalid request body: not a JSON object"),
		"cut":                     bad(`{"name":"a"`, "Invalid request body: not valid JSON"),
		"cut in a value":          bad(`{"name":"a`, `Invalid parameter "name": not valid JSON`),
		"trailing comma":          bad(`{"name":"a",}`, "Invalid request body: not valid JSON"),
		"single quotes":           bad(`{'name':'a'}`, "Invalid request body: not valid JSON"),
		"comment":                 bad(`{"name":"a"/**/}`, "Invalid request body: not valid JSON"),
		"trailing object":         bad(`{"name":"a","statusType":"busy"}{}`, "Invalid request body: data behind the JSON value"),
		"trailing word":           bad(`{"name":"a","statusType":"busy"} x`, "Invalid request body: data behind the JSON value"),
		"trailing NUL":            bad("{\"name\":\"a\",\"statusType\":\"busy\"}\x00", "Invalid request body: data behind the JSON value"),
		"unknown key":             bad(`{"name":"a","statusType":"busy","colour":"red"}`, `Invalid parameter "colour": unknown`),
		"empty key":               bad(`{"":1}`, `Invalid parameter "": unknown`),
		"key in another case":     bad(`{"Name":"a","statusType":"busy"}`, `Invalid parameter "Name": unknown`),
		"key of update":           bad(`{"_id":"x","name":"a","statusType":"busy"}`, `Invalid parameter "_id": unknown`),
		"key of JavaScript":       bad(`{"__proto__":{"name":"a"}}`, `Invalid parameter "__proto__": unknown`),
		"key given twice":         bad(`{"name":"a","name":"a","statusType":"busy"}`, `Invalid parameter "name": key given twice`),
		"twice, once escaped":     bad(`{"name":"a","n\u0061me":"b","statusType":"busy"}`, `Invalid parameter "name": key given twice`),
		"null and an unknown key": bad(`{"name":null,"colour":null}`, `Invalid parameter "colour": unknown`),
		"null twice":              bad(`{"name":null,"name":null,"statusType":"busy"}`, `Invalid parameter "name": key given twice`),
		"null in another case":    bad(`{"name":Null,"statusType":"busy"}`, `Invalid parameter "name": not valid JSON`),
		"number":                  bad(`{"name":1,"statusType":"busy"}`, `Invalid parameter "name": not a string`),
		"boolean":                 bad(`{"name":"a","statusType":true}`, `Invalid parameter "statusType": not a string`),
		"object as name":          bad(`{"name":{"$gt":""},"statusType":"busy"}`, `Invalid parameter "name": not a string`),
		"list as name":            bad(`{"name":["a"],"statusType":"busy"}`, `Invalid parameter "name": not a string`),
		"invalid UTF-8":           bad("{\"name\":\"a\xff\",\"statusType\":\"busy\"}", `Invalid parameter "name": invalid UTF-8`),
		"overlong UTF-8":          bad("{\"name\":\"\xc0\xaf\",\"statusType\":\"busy\"}", `Invalid parameter "name": invalid UTF-8`),
		"surrogate in UTF-8":      bad("{\"name\":\"\xed\xa0\x80\",\"statusType\":\"busy\"}", `Invalid parameter "name": invalid UTF-8`),
		"invalid UTF-8 in a key":  bad("{\"n\xff\":\"a\"}", "Invalid parameter \"n\uFFFD\": invalid UTF-8"),
		"UTF-16":                  bad("\xff\xfe{\x00}\x00", "Invalid request body: not valid JSON"),
		"byte order mark":         bad("\uFEFF{}", "Invalid request body: not valid JSON"),
		"lone surrogate":          bad(`{"name":"\ud83d","statusType":"busy"}`, `Invalid parameter "name": invalid UTF-8`),
		"second half alone":       bad(`{"name":"\ude00","statusType":"busy"}`, `Invalid parameter "name": invalid UTF-8`),
		"line break in a string":  bad("{\"name\":\"a\nb\"}", `Invalid parameter "name": not valid JSON`),
		"long key is cut":         bad(`{"`+strings.Repeat("k", 60000)+`":1}`, `Invalid parameter "`+strings.Repeat("k", 200)+`…": unknown`),
		"cut between characters":  bad(`{"k`+strings.Repeat("é", 200)+`":1}`, `Invalid parameter "k`+strings.Repeat("é", 99)+`…": unknown`),
		"deep nesting":            bad(`{"name":`+strings.Repeat("[", 30000)+strings.Repeat("]", 30000)+`}`, `Invalid parameter "name": not valid JSON`),
		"deep nesting of keys":    bad(strings.Repeat(`{"name":`, 8000), `Invalid parameter "name": not valid JSON`),
		"deep, never closed":      bad(strings.Repeat("[", 65000), "Invalid request body: not a JSON object"),
		"compressed":              bad("\x1f\x8b\x08\x00", "Invalid request body: not valid JSON"),
	})
}

func TestFields(t *testing.T) {
	bad := func(body, want string) row {
		return row{as: manager, path: createPath, body: body, status: 400, want: want}
	}
	long := strings.Repeat("n", customstatus.MaxNameCharacters)
	rows := map[string]row{
		"no name":                bad(`{"statusType":"busy"}`, required("Name")),
		"null name":              bad(`{"name":null,"statusType":"busy"}`, required("Name")),
		"null type":              bad(`{"name":"a","statusType":null}`, required("StatusType")),
		"nothing but null":       bad(`{"name":null,"statusType":null}`, required("Name")),
		"empty name":             bad(`{"name":"","statusType":"busy"}`, required("Name")),
		"blank name":             bad(`{"name":" \t\u00a0\u2003","statusType":"busy"}`, required("Name")),
		"no type":                bad(`{"name":"a"}`, required("StatusType")),
		"empty type":             bad(`{"name":"a","statusType":""}`, required("StatusType")),
		"capital type":           bad(`{"name":"a","statusType":"Busy"}`, invalid("Busy", "status type", "StatusType")),
		"other type":             bad(`{"name":"a","statusType":"busy "}`, invalid("busy ", "status type", "StatusType")),
		"markup as type":         bad(`{"name":"a","statusType":"<b>&"}`, invalid("<b>&", "status type", "StatusType")),
		"spaces before the name": bad(`{"name":"  <","statusType":"busy"}`, invalid("  <", "name", "Name")),
		"blank type":             bad(`{"name":"a","statusType":" "}`, invalid(" ", "status type", "StatusType")),
		"NUL in the type":        bad(`{"name":"a","statusType":"busy\u0000"}`, invalid(`busy\u0000`, "status type", "StatusType")),
		"NUL in the name":        bad(`{"name":"a\u0000","statusType":"busy"}`, invalid(`a\u0000`, "name", "Name")),
		"line break in the name": bad(`{"name":"a\nb","statusType":"busy"}`, invalid(`a\nb`, "name", "Name")),
		"delete in the name":     bad(`{"name":"a\u007f","statusType":"busy"}`, invalid("a\x7f", "name", "Name")),
		"name too long":          bad(`{"name":"`+long+`n","statusType":"busy"}`, invalid(long, "name", "Name")),
		"name far too long":      bad(`{"name":"`+strings.Repeat("é", 30000)+`","statusType":"busy"}`, invalid(strings.Repeat("é", 120), "name", "Name")),
		"name in use":            bad(`{"name":"on the phone","statusType":"busy"}`, `{"success":false,"error":"The custom user status name is already in use [Custom_User_Status_Error_Name_Already_In_Use]","errorType":"Custom_User_Status_Error_Name_Already_In_Use","details":{"method":"insertOrUpdateUserStatus"}}`),
	}
	for _, c := range []string{`>`, `<`, `&`, `\"`, `'`} {
		rows["name with "+strings.TrimPrefix(c, `\`)] = bad(`{"name":"a`+c+`b","statusType":"busy"}`, invalid(`a`+c+`b`, "name", "Name"))
	}
	checkRows(t, setup{}, rows)

	for name, text := range map[string]string{
		"longest":       strings.Repeat("é", customstatus.MaxNameCharacters),
		"emoji":         "In a meeting 📅",
		"white space":   "  a  ",
		"other case":    "On The Phone",
		"separators":    "a\u2028b\u2029",
		"backslash":     `a\b`,
		"replacement":   "a\uFFFD",
		"right-to-left": "عطلة",
	} {
		t.Run("name is kept: "+name, func(t *testing.T) {
			s := newServer(t, setup{})
			body, err := json.Marshal(map[string]string{"name": text, "statusType": "away"})
			require.NoError(t, err)
			a := s.do(request{as: manager, path: createPath, body: string(body)})
			require.Equal(t, http.StatusOK, a.status, a.body)
			status, err := s.catalog.GetByName(text)
			require.NoError(t, err)
			require.Equal(t, `{"customUserStatus":`+string(status.AppendJSON(nil))+`,"success":true}`, a.body)
		})
	}
}

func TestUpdate(t *testing.T) {
	const notFound = `{"success":false,"error":"No custom user status found with the id of \"%s\"."}`
	id := records[0].ID
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	written := func(name, statusType string) string {
		return `{"customUserStatus":{"_id":"` + id + `","name":"` + name + `","statusType":"` + statusType + `","_updatedAt":"2024-01-01T00:00:00.000Z"},"success":true}`
	}
	update := func(body string, status int, want string) row {
		return row{as: manager, path: updatePath, body: body, status: status, want: want}
	}
	checkRows(t, setup{catalog: customstatus.Options{Now: func() time.Time { return now }}}, map[string]row{
		"rename":             update(`{"_id":"`+id+`","name":"new","statusType":"busy"}`, 200, written("new", "busy")),
		"to its own name":    update(`{"_id":"`+id+`","name":"caught up","statusType":"away"}`, 200, written("caught up", "away")),
		"name in use":        update(`{"_id":"`+id+`","name":"on the phone","statusType":"away"}`, 400, `{"success":false,"error":"The custom user status name is already in use [Custom_User_Status_Error_Name_Already_In_Use]","errorType":"Custom_User_Status_Error_Name_Already_In_Use","details":{"method":"insertOrUpdateUserStatus"}}`),
		"no id":              update(`{"name":"a","statusType":"away"}`, 400, required("_id")),
		"empty id":           update(`{"_id":"","name":"a","statusType":"away"}`, 400, required("_id")),
		"no name":            update(`{"_id":"`+id+`","statusType":"away"}`, 400, required("Name")),
		"no type":            update(`{"_id":"`+id+`","name":"a"}`, 400, required("StatusType")),
		"unknown id":         update(`{"_id":"none","name":"a","statusType":"away"}`, 400, fmt.Sprintf(notFound, "none")),
		"id in another case": update(`{"_id":"`+strings.ToUpper(id)+`","name":"a","statusType":"away"}`, 400, fmt.Sprintf(notFound, strings.ToUpper(id))),
		"hostile id":         update(`{"_id":"\"<\u0000\n","name":"a","statusType":"away"}`, 400, fmt.Sprintf(notFound, `\"<\u0000\n`)),
		"long id is cut":     update(`{"_id":"`+strings.Repeat("x", 5000)+`","name":"a","statusType":"away"}`, 400, fmt.Sprintf(notFound, strings.Repeat("x", 120))),
		"key of delete":      update(`{"customUserStatusId":"`+id+`"}`, 400, invalidParams(`Invalid parameter "customUserStatusId": unknown`)),
	})
}

func TestDelete(t *testing.T) {
	const notFound = `{"success":false,"error":"Invalid user status [Custom_User_Status_Error_Invalid_User_Status]","errorType":"Custom_User_Status_Error_Invalid_User_Status","details":{"method":"deleteCustomUserStatus"}}`
	remove := func(body string, status int, want string) row {
		return row{as: manager, path: deletePath, body: body, status: status, want: want}
	}
	checkRows(t, setup{}, map[string]row{
		"ok":         remove(`{"customUserStatusId":"`+records[1].ID+`"}`, 200, `{"success":true}`),
		"no id":      remove(`{}`, 400, noStatusID),
		"empty id":   remove(`{"customUserStatusId":""}`, 400, noStatusID),
		"unknown id": remove(`{"customUserStatusId":"none"}`, 400, notFound),
		"long id":    remove(`{"customUserStatusId":"`+strings.Repeat("x", 5000)+`"}`, 400, notFound),
		"wrong type": remove(`{"customUserStatusId":1}`, 400, invalidParams(`Invalid parameter "customUserStatusId": not a string`)),
		"_id":        remove(`{"_id":"`+records[1].ID+`"}`, 400, invalidParams(`Invalid parameter "_id": unknown`)),
	})
	t.Run("twice", func(t *testing.T) {
		s := newServer(t, setup{})
		req := request{as: manager, path: deletePath, body: `{"customUserStatusId":"` + records[0].ID + `"}`}
		require.Equal(t, `{"success":true}`, s.do(req).body)
		require.Equal(t, notFound, s.do(req).body)
		require.Equal(t, []string{"on the phone"}, s.list(""))
	})
}

func TestStatusTypeOptional(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	written := func(id, name, statusType string) string {
		return `{"customUserStatus":{"_id":"` + id + `","name":"` + name + `","statusType":"` + statusType + `","_updatedAt":"2024-01-01T00:00:00.000Z"},"success":true}`
	}
	id := records[1].ID
	checkRows(t, setup{catalog: customstatus.Options{
		Rules: customstatus.Rules{StatusTypeOptional: true},
		Now:   func() time.Time { return now },
		NewID: func() string { return "new" },
	}}, map[string]row{
		"create without": {as: manager, path: createPath, body: `{"name":"a"}`, status: 200, want: written("new", "a", "")},
		"create empty":   {as: manager, path: createPath, body: `{"name":"a","statusType":""}`, status: 200, want: written("new", "a", "")},
		"create with":    {as: manager, path: createPath, body: `{"name":"a","statusType":"away"}`, status: 200, want: written("new", "a", "away")},
		"create wrong":   {as: manager, path: createPath, body: `{"name":"a","statusType":"Away"}`, status: 400, want: invalid("Away", "status type", "StatusType")},
		"create null":    {as: manager, path: createPath, body: `{"name":"a","statusType":null}`, status: 200, want: written("new", "a", "")},
		"update null":    {as: manager, path: updatePath, body: `{"_id":"` + id + `","name":"a","statusType":null}`, status: 200, want: written(id, "a", "busy")},
		"update empty":   {as: manager, path: updatePath, body: `{"_id":"` + id + `","name":"a","statusType":""}`, status: 200, want: written(id, "a", "")},
		"update wrong":   {as: manager, path: updatePath, body: `{"_id":"` + id + `","name":"a","statusType":"BUSY"}`, status: 400, want: invalid("BUSY", "status type", "StatusType")},
		"update without": {as: manager, path: updatePath, body: `{"_id":"` + id + `","name":"a"}`, status: 200, want: written(id, "a", "busy")},
		"update with":    {as: manager, path: updatePath, body: `{"_id":"` + id + `","name":"a","statusType":"away"}`, status: 200, want: written(id, "a", "away")},
		"name missing":   {as: manager, path: createPath, body: `{}`, status: 400, want: required("Name")},
	})
}
