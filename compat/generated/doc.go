// Package generated is the client that oapi-codegen makes of the adapter's OpenAPI
// document. A test says whether it is current, and uses it.
package generated

//go:generate go tool oapi-codegen -config config.yaml -o client.gen.go ../../httpadapter/openapi.json
