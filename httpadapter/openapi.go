package httpadapter

import (
	_ "embed"
	"net/http"
	"net/url"
	"strings"

	"github.com/customstatus/customstatus/internal/strictjson"
)

//go:embed openapi.json
var openAPI string

// openAPIServer is the URL of the server in the document, as JSON.
const openAPIServer = `"servers": [{"url": "/api/v1"}]`

// OpenAPI returns the OpenAPI 3.1 document of the endpoints as JSON, with a server
// under [DefaultPrefix]. Its schemas are closed: no answer has a key that the schema
// does not list. The endpoint custom-user-status.openapi.json serves the same document
// with the prefix at which it was asked for. The caller may modify the returned bytes.
func OpenAPI() []byte { return []byte(openAPI) }

// openAPI answers with the document.
func (x *exchange) openAPI() error {
	x.dropBody()
	server := strictjson.AppendString([]byte(`"servers": [{"url": `), serverOf(x.r, x.prefix))
	x.answer(http.StatusOK, []byte(strings.Replace(openAPI, openAPIServer, string(server)+"}]", 1)))
	return nil
}

// serverOf returns the escaped path that the client has put the endpoint's name behind,
// without a slash at its end. The request's own path may lack a part of it behind
// [http.StripPrefix]. A request that was changed more has the prefix of the Handler.
func serverOf(r *http.Request, prefix string) string {
	if asked, err := url.ParseRequestURI(r.RequestURI); err == nil {
		if before, ok := strings.CutSuffix(cleanPath(asked.EscapedPath()), "/"+openAPIPath); ok {
			return orRoot(before)
		}
	}
	return orRoot(strings.TrimSuffix((&url.URL{Path: prefix}).EscapedPath(), "/"))
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}
