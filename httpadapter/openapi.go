package httpadapter

import _ "embed"

//go:embed openapi.json
var openAPI string

// OpenAPI returns the OpenAPI 3.1 document of the endpoints, in JSON, with the
// paths under [DefaultPrefix]. Its schemas are closed: what an answer can hold
// is all there.
func OpenAPI() []byte { return []byte(openAPI) }
