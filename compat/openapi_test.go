package compat_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/httpadapter"
)

// TestOpenAPI has kin-openapi judge the adapter's document, and requests and answers by
// the document, as generated clients and gateways do. The tests of the adapter check
// that the document has every answer.
func TestOpenAPI(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(httpadapter.OpenAPI())
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	a := newAPI(t)
	server := httptest.NewServer(a.handler)
	t.Cleanup(server.Close)
	c := client{t, server.URL, server.Client()}
	created := c.create("Lunch")
	_, id, _ := strings.Cut(created, `"_id":"`)
	id, _, _ = strings.Cut(id, `"`)

	const position = "1-00000000000000ff" // of another catalog
	for name, tt := range map[string]struct {
		method, endpoint, body string
		unfit                  bool // the document refuses the request
		status                 int
	}{
		"create":         {http.MethodPost, "create", `{"name":"Away","statusType":"away"}`, false, 200},
		"name in use":    {http.MethodPost, "create", `{"name":"Lunch","statusType":"away"}`, false, 400},
		"no name":        {http.MethodPost, "create", `{"statusType":"away"}`, true, 400},
		"another type":   {http.MethodPost, "create", `{"name":"a","statusType":"Offline"}`, true, 400},
		"another key":    {http.MethodPost, "create", `{"name":"a","statusType":"away","colour":"red"}`, true, 400},
		"update":         {http.MethodPost, "update", `{"_id":"` + id + `","name":"Lunch","statusType":"busy"}`, false, 200},
		"unknown id":     {http.MethodPost, "update", `{"_id":"none","name":"a","statusType":"busy"}`, false, 400},
		"delete":         {http.MethodPost, "delete", `{"customUserStatusId":"none"}`, false, 400},
		"list":           {http.MethodGet, "list", "", false, 200},
		"page":           {http.MethodGet, "list?name=status&count=10&offset=5&sort=%7B%22name%22:-1%7D", "", false, 200},
		"negative count": {http.MethodGet, "list?count=-1", "", true, 400},
		"old client":     {http.MethodGet, "list?query=%7B%22_id%22:%22" + id + "%22%7D", "", false, 200},
		"no list":        {http.MethodPost, "list", "", true, 405},
		"head":           {http.MethodHead, "list", "", false, 200},
		"document":       {http.MethodGet, "openapi.json", "", false, 200},
		"bad stream":     {http.MethodGet, "stream?after=" + position + "&since=1", "", false, 400},
	} {
		t.Run(name, func(t *testing.T) {
			c := client{t, c.url, c.http}
			header := http.Header{}
			if tt.method == http.MethodPost {
				header.Set("Content-Type", "application/json")
			}
			res := c.do(tt.method, tt.endpoint, tt.body, header)
			require.Equal(t, tt.status, res.StatusCode)

			r := res.Request.Clone(t.Context())
			r.Body = io.NopCloser(strings.NewReader(tt.body))
			route, params, err := router.FindRoute(r)
			if tt.status == http.StatusMethodNotAllowed {
				require.ErrorIs(t, err, routers.ErrMethodNotAllowed)
				return
			}
			require.NoError(t, err)
			request := &openapi3filter.RequestValidationInput{
				Request: r, PathParams: params, Route: route,
				Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
			}
			err = openapi3filter.ValidateRequest(t.Context(), request)
			require.Equal(t, tt.unfit, err != nil, "%v", err)
			require.NoError(t, openapi3filter.ValidateResponse(t.Context(), &openapi3filter.ResponseValidationInput{
				RequestValidationInput: request, Status: res.StatusCode, Header: res.Header, Body: res.Body, Options: request.Options,
			}))
		})
	}
}
