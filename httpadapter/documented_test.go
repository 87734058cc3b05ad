package httpadapter_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// TestMain holds every answer that a test provokes against the OpenAPI document, and every
// request that was not refused. When all tests have run, each answer in the document must
// have come up.
func TestMain(m *testing.M) {
	d, err := readDocument()
	if err != nil {
		fmt.Println("the OpenAPI document:", err)
		os.Exit(1)
	}
	all := &observed{document: d, answers: make(map[[sha256.Size]byte]bool), seen: make(map[string]int)}
	httpadapter.Observe = all.observe
	code := m.Run()
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, problem := range all.problems {
		fmt.Println("undocumented:", problem)
		code = 1
	}
	if code == 0 && wholeRun() {
		for _, name := range d.documented() {
			if all.seen[name] == 0 {
				fmt.Println("documented, but no test has seen it:", name)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// wholeRun reports whether this run has all tests.
func wholeRun() bool {
	for _, name := range []string{"test.run", "test.skip", "test.fuzz", "test.list"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return true
}

// observed are the answers of all tests.
type observed struct {
	document document
	mu       sync.Mutex
	answers  map[[sha256.Size]byte]bool
	seen     map[string]int // by the name that documented has
	problems []string
}

func (o *observed) observe(r httpadapter.Request, a httpadapter.Answer) {
	header := a.Header.Clone()
	header.Del("X-Request-Id")
	key := sha256.Sum256(fmt.Append(nil, r, a.Method, a.Endpoint, a.Status, header, a.Body))
	o.mu.Lock()
	known := o.answers[key]
	o.answers[key] = true
	o.mu.Unlock()
	if known {
		return
	}
	names, err := o.document.names(a)
	if err == nil && a.Status < http.StatusBadRequest {
		err = o.document.takes(r, a)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range names {
		o.seen[name]++
	}
	if err != nil && len(o.problems) < 20 {
		o.problems = append(o.problems, fmt.Sprintf("%s %s: %+.300v: %d %v %.300s: %v", a.Method, a.Endpoint, r, a.Status, a.Header, a.Body, err))
	}
}

// names returns the names of the documented answers that an answer consists of.
func (d document) names(a httpadapter.Answer) ([]string, error) {
	got, err := d.matches(a.Method, a.Endpoint, answer{a.Status, a.Header, a.Body})
	if err != nil {
		return nil, err
	}
	switch a.Status {
	case http.StatusNotFound:
		return []string{"404"}, nil
	case http.StatusMethodNotAllowed:
		return []string{a.Endpoint + " 405"}, nil
	}
	name := fmt.Sprint(a.Method, " ", a.Endpoint, " ", a.Status, " ")
	if got != "" {
		return []string{name + got}, nil
	}
	names := []string{name}
	if a.Header.Get("Content-Type") == "text/event-stream" {
		events, err := d.events(a.Body)
		if err != nil {
			return nil, err
		}
		for _, event := range events {
			names = append(names, name+event)
		}
	}
	return names, nil
}

// documented returns the names of all answers in the document.
func (d document) documented() []string {
	names := map[string]bool{"404": true}
	for path, operations := range d["paths"].(map[string]any) {
		endpoint := strings.TrimPrefix(path, "/")
		names[endpoint+" 405"] = true
		for method, operation := range operations.(map[string]any) {
			for status, response := range operation.(map[string]any)["responses"].(map[string]any) {
				if status == "405" {
					continue
				}
				name := strings.ToUpper(method) + " " + endpoint + " " + status + " "
				body := d.alternatives(d.at(response))
				if body == nil || method == "head" {
					names[name] = true
				}
				for _, schema := range body {
					if method != "head" {
						names[name+schemaName(schema)] = true
					}
				}
				if event := d.at(response, "content", "text/event-stream", "x-itemSchema", "oneOf"); event != nil {
					for _, schema := range event.([]any) {
						names[name+schemaName(schema)] = true
					}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// events returns the schemas of the events in the body of a stream. The last one may be
// cut off.
func (d document) events(body string) (schemas []string, err error) {
	byName := make(map[any]any) // each schema has one name
	for _, schema := range d.at(map[string]any(d), "components", "schemas", "Event", "oneOf").([]any) {
		byName[d.at(schema, "properties", "event", "const")] = schema
	}
	blocks := strings.Split(body, "\n\n")
	for _, block := range blocks[:len(blocks)-1] {
		event, err := decodeEvent(block)
		schema := byName[event["event"]]
		if err == nil && schema == nil {
			err = errors.New("no event of the document")
		}
		if err == nil {
			err = d.validate(schema, event)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", block, err)
		}
		schemas = append(schemas, schemaName(schema))
	}
	if len(schemas) > 0 && schemas[0] != "ReadyEvent" {
		return nil, fmt.Errorf("the first event is a %s", schemas[0])
	}
	return schemas, nil
}

// decodeEvent returns the fields of an event in the form that the document has them.
func decodeEvent(block string) (map[string]any, error) {
	event := make(map[string]any)
	for line := range strings.SplitSeq(block, "\n") {
		name, text, found := strings.Cut(line, ": ")
		if _, twice := event[name]; twice || !found {
			return nil, errors.New("a line has no field, or a field comes twice")
		}
		var err error
		var value any = text
		switch name {
		case "data":
			err = json.Unmarshal([]byte(text), &value)
		case "retry":
			value, err = strconv.ParseFloat(text, 64)
		}
		if err != nil {
			return nil, err
		}
		event[name] = value
	}
	return event, nil
}

// transport are the header fields of any answer, which the document leaves to HTTP.
var transport = []string{"Content-Type", "Content-Length", "Date", "Connection"}

// matchesHeaders checks an answer's header both ways.
func (d document) matchesHeaders(response any, got http.Header) error {
	headers, _ := d.at(response, "headers").(map[string]any)
	known := slices.Clone(transport)
	for name, header := range headers {
		known = append(known, http.CanonicalHeaderKey(name))
		values := got.Values(name)
		if len(values) == 0 && d.at(header, "required") == true || len(values) > 1 {
			return fmt.Errorf("header %s: %d values", name, len(values))
		}
		for _, value := range values {
			if err := d.validate(d.at(header, "schema"), value); err != nil {
				return fmt.Errorf("header %s: %w", name, err)
			}
		}
	}
	for name := range got {
		if !slices.Contains(known, name) {
			return fmt.Errorf("the document lacks the header %s", name)
		}
	}
	return nil
}

// TestNames has an answer for each way in which the document can be broken.
func TestNames(t *testing.T) {
	ready := "retry: 2000\nevent: ready\ndata: {\"position\":\"1-00000000000000ff\"}\nid: 1-00000000000000ff\n\n"
	status := `{"_id":"a","name":"b","statusType":"busy","_updatedAt":"2026-11-22T03:31:34.029Z"}`
	plain := http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Content-Type-Options": {"nosniff"}, "X-Request-Id": {"a"}}
	with := func(pairs ...string) http.Header {
		h := plain.Clone()
		for i := 0; i < len(pairs); i += 2 {
			h.Del(pairs[i])
			if pairs[i+1] != "" {
				h.Set(pairs[i], pairs[i+1])
			}
		}
		return h
	}
	events := with("Content-Type", "text/event-stream", "X-Accel-Buffering", "no")
	for name, tt := range map[string]struct {
		a    httpadapter.Answer
		want []string // nil: refused
	}{
		"deleted":            {httpadapter.Answer{"POST", deletePath, 200, plain, `{"success":true}`}, []string{"POST " + deletePath + " 200 Deleted"}},
		"more keys":          {httpadapter.Answer{"POST", deletePath, 200, plain, `{"success":true,"more":1}`}, nil},
		"another status":     {httpadapter.Answer{"POST", deletePath, 201, plain, `{"success":true}`}, nil},
		"another type":       {httpadapter.Answer{"POST", deletePath, 200, with("Content-Type", "text/html"), `{"success":true}`}, nil},
		"a header too many":  {httpadapter.Answer{"POST", deletePath, 200, with("X-More", "1"), `{"success":true}`}, nil},
		"a header too few":   {httpadapter.Answer{"POST", deletePath, 200, with("X-Request-Id", ""), `{"success":true}`}, nil},
		"a header's value":   {httpadapter.Answer{"POST", deletePath, 200, with("Cache-Control", "public"), `{"success":true}`}, nil},
		"a body to HEAD":     {httpadapter.Answer{"HEAD", openAPIPath, 200, plain, `{}`}, []string{"HEAD " + openAPIPath + " 200 "}},
		"a known method 405": {httpadapter.Answer{"GET", listPath, 405, with("Allow", "POST"), `{"success":false,"error":"Method not allowed"}`}, nil},
		"a 404 at a path":    {httpadapter.Answer{"GET", listPath, 404, plain, `{"success":false,"error":"Endpoint not found"}`}, nil},
		"a 200 elsewhere":    {httpadapter.Answer{"GET", "else", 200, plain, `{"success":true}`}, nil},
		"events": {httpadapter.Answer{"GET", streamPath, 200, events, ready + "event: created\ndata: " + status + "\n\nevent: cr"},
			[]string{"GET " + streamPath + " 200 ", "GET " + streamPath + " 200 ReadyEvent", "GET " + streamPath + " 200 CreatedEvent"}},
		"not ready":           {httpadapter.Answer{"GET", streamPath, 200, events, "event: created\ndata: " + status + "\n\n"}, nil},
		"an unknown event":    {httpadapter.Answer{"GET", streamPath, 200, events, ready + "event: more\ndata: " + status + "\n\n"}, nil},
		"an event of nothing": {httpadapter.Answer{"GET", streamPath, 200, events, ready + "event: created\n\n"}, nil},
		"a comment":           {httpadapter.Answer{"GET", streamPath, 200, events, ready + ":\n\n"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := api(t).names(tt.a)
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.want == nil, err != nil, "%v", err)
		})
	}
}

// TestOpenAPIIsServed: anybody gets the document, with the prefix of the server.
func TestOpenAPIIsServed(t *testing.T) {
	path := openAPIPath
	strip := func(h http.Handler) http.Handler { return http.StripPrefix("/chat {1}", h) }
	rewritten := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RequestURI, r.URL.Path = "/elsewhere", "/a b/"+path
			h.ServeHTTP(w, r)
		})
	}
	for name, tt := range map[string]struct {
		with setup
		path string // asked for
		want string // the server in the answer
	}{
		"usual":      {setup{}, "/api/v1/" + path, "/api/v1"},
		"slashes":    {setup{}, "//api//v1/" + path + "/", "/api/v1"},
		"at root":    {setup{adapter: httpadapter.Options{Prefix: "/"}}, "/" + path, "/"},
		"elsewhere":  {setup{adapter: httpadapter.Options{Prefix: "/my \"chat\""}}, "/my%20%22chat%22/" + path, "/my%20%22chat%22"},
		"stripped":   {setup{mount: strip}, "/chat%20%7B1%7D/api/v1/" + path, "/chat%20%7B1%7D/api/v1"},
		"rewritten":  {setup{adapter: httpadapter.Options{Prefix: "/a b/"}, mount: rewritten}, "/x", "/a%20b"},
		"with query": {setup{}, "/api/v1/" + path + "?a=/b/" + path, "/api/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, tt.with)
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				r, err := http.NewRequestWithContext(t.Context(), method, s.URL+tt.path, nil)
				require.NoError(t, err)
				a := s.send(r)
				require.Equal(t, http.StatusOK, a.status)
				if method == http.MethodHead {
					require.Empty(t, a.body)
					continue
				}
				var got document
				require.NoError(t, json.Unmarshal([]byte(a.body), &got))
				require.Equal(t, []any{map[string]any{"url": tt.want}}, got["servers"])
				got["servers"] = api(t)["servers"]
				require.Equal(t, api(t), got, "the rest is the same")
			}
			require.Empty(t, s.log.String())
		})
	}
	s := newServer(t, setup{})
	a := s.do(request{as: reader, method: http.MethodPost, path: path})
	require.Equal(t, http.StatusMethodNotAllowed, a.status)
	require.Equal(t, []string{"GET, HEAD"}, a.header["Allow"])
	require.Equal(t, []any{map[string]any{"url": strings.TrimSuffix(httpadapter.DefaultPrefix, "/")}}, api(t)["servers"])
}

// TestHandlersAreRecorded: the answers of a handler that is made elsewhere are not seen.
// The examples and the panics of New are made elsewhere.
func TestHandlersAreRecorded(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasPrefix(name, "example") {
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if _, made, ok := strings.Cut(line, "= httpadapter."+"New("); ok {
				t.Errorf("%s makes a handler without newHandler: New(%s", name, made)
			}
		}
	}
}

// newHandler is the one place where the tests make handlers, so that all their answers
// are observed.
func newHandler(catalog *customstatus.Catalog, auth httpadapter.Authenticator, opts *httpadapter.Options) httpadapter.Recorded {
	return httpadapter.Recorded{Handler: httpadapter.New(catalog, auth, opts)}
}
