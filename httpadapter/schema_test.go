package httpadapter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/stretchr/testify/require"
)

// resolved holds the schemas that were read, by their JSON text.
var resolved sync.Map

// validate checks a value that encoding/json has read against a schema of the
// document.
func (d document) validate(schema, value any) error {
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	known, ok := resolved.Load(string(text))
	if !ok {
		read, err := d.resolve(schema)
		if err != nil {
			return err
		}
		known, _ = resolved.LoadOrStore(string(text), read)
	}
	return known.(*jsonschema.Resolved).Validate(value)
}

// resolve reads a schema. It puts the schemas that the document names below the
// root, because a JSON Schema refers to itself alone.
func (d document) resolve(schema any) (*jsonschema.Resolved, error) {
	text, err := json.Marshal(map[string]any{"allOf": []any{schema}, "$defs": d.at(map[string]any(d), "components", "schemas")})
	if err != nil {
		return nil, err
	}
	var root jsonschema.Schema
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "#/components/schemas/", "#/$defs/")), &root); err != nil {
		return nil, err
	}
	if err := checkSchema(&root); err != nil {
		return nil, err
	}
	return root.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
}

// checkSchema refuses what would make a schema check less than it seems to: a
// keyword that JSON Schema does not have, and an object that may have any key.
func checkSchema(s *jsonschema.Schema) error {
	if s == nil {
		return nil
	}
	for keyword := range s.Extra {
		return fmt.Errorf("%q is no keyword", keyword)
	}
	if s.Properties != nil && (s.AdditionalProperties == nil || s.AdditionalProperties.Not == nil) {
		return errors.New("the properties are not closed")
	}
	below := slices.Concat(s.AllOf, s.OneOf, []*jsonschema.Schema{s.Items})
	for _, member := range s.Properties {
		below = append(below, member)
	}
	for _, named := range s.Defs {
		below = append(below, named)
	}
	for _, schema := range below {
		if err := checkSchema(schema); err != nil {
			return err
		}
	}
	return nil
}

// TestValidateRefuses has a value for each keyword of the document that the
// keyword refuses.
func TestValidateRefuses(t *testing.T) {
	d := document{"components": map[string]any{"schemas": map[string]any{"named": map[string]any{"type": "string"}}}}
	closed := map[string]any{"properties": map[string]any{"a": map[string]any{"type": "null"}}, "additionalProperties": false}
	for name, tt := range map[string]struct {
		schema map[string]any
		value  any
	}{
		"type":          {map[string]any{"type": "string"}, 1.0},
		"reference":     {map[string]any{"$ref": "#/components/schemas/named"}, 1.0},
		"unknown name":  {map[string]any{"$ref": "#/components/schemas/other"}, 1.0},
		"integer":       {map[string]any{"type": "integer"}, 1.5},
		"const":         {map[string]any{"const": false}, true},
		"enum":          {map[string]any{"enum": []any{"a"}}, "b"},
		"pattern":       {map[string]any{"pattern": "^a$"}, "b"},
		"too short":     {map[string]any{"minLength": 1.0}, ""},
		"too long":      {map[string]any{"maxLength": 1.0}, "éé"},
		"too little":    {map[string]any{"minimum": 0.0}, -1.0},
		"too much":      {map[string]any{"maximum": 0.0}, 1.0},
		"too many":      {map[string]any{"maxItems": 0.0}, []any{1.0}},
		"item":          {map[string]any{"items": map[string]any{"type": "null"}}, []any{1.0}},
		"missing":       {map[string]any{"required": []any{"a"}}, map[string]any{}},
		"another key":   {closed, map[string]any{"b": nil}},
		"member":        {closed, map[string]any{"a": 1.0}},
		"none of oneOf": {map[string]any{"oneOf": []any{map[string]any{"type": "null"}}}, 1.0},
		"two of oneOf":  {map[string]any{"oneOf": []any{map[string]any{}, map[string]any{}}}, 1.0},
		"not closed":    {map[string]any{"properties": map[string]any{}}, map[string]any{}},
		"not a keyword": {map[string]any{"minimun": 1.0}, 1.0},
		"bad default":   {map[string]any{"type": "string", "default": 1.0}, "a"},
	} {
		t.Run(name, func(t *testing.T) { require.Error(t, d.validate(tt.schema, tt.value)) })
	}
	require.NoError(t, d.validate(map[string]any{"$ref": "#/components/schemas/named"}, "a"))
	require.NoError(t, d.validate(map[string]any{"maxLength": 1.0}, "é"))
	require.NoError(t, d.validate(closed, map[string]any{"a": nil}))
}
