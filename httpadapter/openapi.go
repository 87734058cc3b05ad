package httpadapter

import _ "embed"

//go:embed openapi.json
var openAPI string

// OpenAPI returns the OpenAPI 3.1 document of the endpoints as JSON, with the paths
// under [DefaultPrefix]. Its schemas are closed: no answer has a key that the schema
// does not list. The caller may modify the returned bytes.
func OpenAPI() []byte { return []byte(openAPI) }
