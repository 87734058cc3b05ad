package httpadapter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/loginlimit"
)

// TestOpenAPI has a request for every answer in the document.
func TestOpenAPI(t *testing.T) {
	id := records[0].ID
	write := `{"name":"vacay1","statusType":"online"}`
	change := `{"_id":"` + id + `","name":"vacay1","statusType":"online"}`
	remove := `{"customUserStatusId":"` + id + `"}`
	big := strings.Repeat(" ", httpadapter.MaxBodyBytes) + "{}"
	foreign := http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
	rows := map[string]request{
		"POST create 200 Written":               {as: manager, path: createPath, body: write},
		"POST create 400 NotAuthorized":         {as: reader, path: createPath, body: write},
		"POST create 400 InvalidParams":         {as: manager, path: createPath, body: `{"colour":"red"}`},
		"POST create 400 FieldRequired":         {as: manager, path: createPath, body: `{"name":"vacay1"}`},
		"POST create 400 FieldInvalid":          {as: manager, path: createPath, body: `{"name":"<vacay1>","statusType":"online"}`},
		"POST create 400 TooManyStatuses":       {as: manager, path: createPath, body: write},
		"POST create 400 NameInUse":             {as: manager, path: createPath, body: `{"name":"caught up","statusType":"online"}`},
		"POST create 403 CrossOrigin":           {path: createPath, body: write, header: foreign},
		"POST create 400 StatusTooLarge":        {as: manager, path: createPath, body: write},
		"POST create 401 Unauthorized":          {path: createPath, body: write},
		"POST create 405 MethodNotAllowed":      {as: manager, method: "PUT", path: createPath, body: write},
		"POST create 413 BodyTooLarge":          {as: manager, path: createPath, body: big},
		"POST create 500 InternalError":         {as: broken, path: createPath, body: write},
		"POST update 200 Written":               {as: manager, path: updatePath, body: change},
		"POST update 400 NotAuthorized":         {as: reader, path: updatePath, body: change},
		"POST update 400 InvalidParams":         {as: manager, path: updatePath, body: `{"_id":7}`},
		"POST update 400 FieldRequired":         {as: manager, path: updatePath, body: write},
		"POST update 400 FieldInvalid":          {as: manager, path: updatePath, body: `{"_id":"` + id + `","name":"a","statusType":"Offline"}`},
		"POST update 400 NameInUse":             {as: manager, path: updatePath, body: `{"_id":"` + id + `","name":"on the phone","statusType":"busy"}`},
		"POST update 400 NoSuchStatus":          {as: manager, path: updatePath, body: `{"_id":"none","name":"a","statusType":"busy"}`},
		"POST update 403 CrossOrigin":           {path: updatePath, body: change, header: foreign},
		"POST update 400 StatusTooLarge":        {as: manager, path: updatePath, body: change},
		"POST update 401 Unauthorized":          {path: updatePath, body: change},
		"POST update 405 MethodNotAllowed":      {as: manager, method: "PATCH", path: updatePath, body: change},
		"POST update 413 BodyTooLarge":          {as: manager, path: updatePath, body: big},
		"POST update 500 InternalError":         {as: panicky, path: updatePath, body: change},
		"POST delete 200 Deleted":               {as: manager, path: deletePath, body: remove},
		"POST delete 400 NotAuthorized":         {as: reader, path: deletePath, body: remove},
		"POST delete 400 InvalidParams":         {as: manager, path: deletePath, body: `[]`},
		"POST delete 400 StatusIDRequired":      {as: manager, path: deletePath, body: `{"customUserStatusId":""}`},
		"POST delete 400 InvalidUserStatus":     {as: manager, path: deletePath, body: `{"customUserStatusId":"none"}`},
		"POST delete 403 CrossOrigin":           {path: deletePath, body: remove, header: foreign},
		"POST delete 400 StatusTooLarge":        {as: manager, path: deletePath, body: remove},
		"POST delete 401 Unauthorized":          {path: deletePath, body: remove},
		"POST delete 405 MethodNotAllowed":      {as: manager, method: "DELETE", path: deletePath, body: remove},
		"POST delete 413 BodyTooLarge":          {as: manager, path: deletePath, body: big},
		"POST delete 500 InternalError":         {as: broken, path: deletePath, body: remove},
		"GET list 200 Page":                     {as: reader, path: listPath},
		"GET list 304":                          {as: reader, path: listPath, header: http.Header{"If-None-Match": {"*"}}},
		"GET list 400 InvalidQuery":             {as: reader, path: listPath + "?count=-1"},
		"GET list 400 InvalidSort":              {as: reader, path: listPath + "?sort=name"},
		"GET list 401 Unauthorized":             {path: listPath},
		"GET list 405 MethodNotAllowed":         {as: reader, method: "POST", path: listPath},
		"GET list 500 InternalError":            {as: broken, path: listPath},
		"GET stream 400 InvalidQuery":           {as: reader, path: streamPath + "?since=yesterday"},
		"GET stream 401 Unauthorized":           {path: streamPath},
		"GET stream 405 MethodNotAllowed":       {as: reader, method: "HEAD", path: streamPath},
		"GET stream 500 InternalError":          {as: panicky, path: streamPath},
		"GET openapi.json 200 Document":         {method: "GET", path: openAPIPath},
		"GET openapi.json 405 MethodNotAllowed": {method: "POST", path: openAPIPath},
	}
	elsewhere := []string{"GET stream 200"} // the tests of the stream have it
	for _, operation := range []string{"POST create", "POST update", "POST delete", "GET list", "HEAD list", "GET stream"} {
		elsewhere = append(elsewhere, operation+" 429 TooManyRequests") // TestTooManyFailedLogins
	}
	unused := maps.Clone(rows)

	d := api(t)
	for path, operations := range d["paths"].(map[string]any) {
		endpoint := strings.TrimPrefix(path, "/")
		for method, operation := range operations.(map[string]any) {
			method := strings.ToUpper(method)
			for status, response := range operation.(map[string]any)["responses"].(map[string]any) {
				schemas := []string{""}
				if all := d.alternatives(d.at(response)); all != nil {
					schemas = nil
					for _, schema := range all {
						schemas = append(schemas, schemaName(schema))
					}
				}
				for _, schema := range schemas {
					name := strings.TrimSpace(strings.Join([]string{method, strings.TrimPrefix(endpoint, "custom-user-status."), status, schema}, " "))
					if slices.Contains(elsewhere, name) {
						continue
					}
					row, ok := rows[strings.NewReplacer("HEAD list 200", "GET list 200 Page", "HEAD openapi.json 200", "GET openapi.json 200 Document").Replace(name)]
					if !ok {
						row, ok = rows[strings.Replace(name, "HEAD", "GET", 1)]
					}
					delete(unused, name)
					require.True(t, ok, "the document has an answer that no row of this test leads to: %s", name)
					t.Run(name, func(t *testing.T) {
						s := newServer(t, setupFor(schema))
						if method == http.MethodHead && status != "405" {
							row.method = method
						}
						a := s.do(row)
						require.Equal(t, status, fmt.Sprint(a.status), a.body)
						if a.body != "" {
							got, err := d.matches(row.methodOr(method), endpoint, a)
							require.NoError(t, err)
							require.Equal(t, schema, got)
						}
					})
				}
			}
		}
	}
	require.Empty(t, slices.Collect(maps.Keys(unused)), "the document lacks these answers")
}

// setupFor returns the setup of a server that gives an answer of this schema.
func setupFor(schema string) setup {
	switch schema {
	case "TooManyStatuses":
		return setup{catalog: customstatus.Options{MaxStatuses: len(records)}}
	case "StatusTooLarge":
		commits := 0
		return setup{store: &failingStore{MemoryStore: customstatus.NewMemoryStore(), commit: func(context.Context) error {
			if commits++; commits == 1 { // the commit of the records
				return nil
			}
			return &customstatus.TooLargeError{Err: errors.New("secret limit of the store")}
		}}}
	}
	return setup{}
}

func (r request) methodOr(usual string) string {
	if r.method != "" {
		return r.method
	}
	return usual
}

// TestTooManyFailedLogins: more logins fail than answers can be delayed, on HTTP/2.
func TestTooManyFailedLogins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
		require.NoError(t, err)
		defer catalog.Close()
		nobody := httpadapter.HeaderAuth(func(context.Context, string, string) (httpadapter.Caller, error) {
			return httpadapter.Caller{}, httpadapter.ErrUnauthenticated
		})
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		h := httpadapter.Recording(loginlimit.New(newHandler(catalog, nobody, nil), &loginlimit.Options{Failures: 1, Logger: log}), httpadapter.DefaultPrefix)
		try := func(method, endpoint string) answer {
			r := httptest.NewRequest(method, httpadapter.DefaultPrefix+endpoint, nil)
			r.Header.Set("X-User-Id", "u")
			r.Header.Set("X-Auth-Token", "guessed")
			r.ProtoMajor, r.ProtoMinor = 2, 0
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return answer{w.Code, w.Header(), w.Body.String()}
		}
		try("GET", listPath)
		var wg sync.WaitGroup
		for range 1024 {
			wg.Go(func() { try("GET", listPath) })
		}
		synctest.Wait()
		for endpoint, method := range map[string]string{createPath: "POST", updatePath: "POST", deletePath: "POST", listPath: "GET", streamPath: "GET"} {
			a := try(method, endpoint)
			require.Equal(t, http.StatusTooManyRequests, a.status)
			require.Equal(t, `{"success":false,"error":"Too many failed logins, try again later [error-too-many-requests]","errorType":"error-too-many-requests"}`, a.body)
			require.Equal(t, []string{"1"}, a.header["Retry-After"])
			require.Equal(t, []string{"close"}, a.header["Connection"])
			checkAnswer(t, method, endpoint, a)
		}
		require.Equal(t, http.StatusTooManyRequests, try("HEAD", listPath).status)
		wg.Wait()
	})
}
