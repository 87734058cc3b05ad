package httpadapter_test

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// validate checks a value that encoding/json has read against a schema of the
// document. It knows the key words that the document uses and fails on others.
func (d document) validate(schema, value any) error {
	rules, _ := d.at(schema).(map[string]any)
	for _, keyword := range slices.Sorted(maps.Keys(rules)) {
		ok := true
		switch want := rules[keyword]; keyword {
		case "description", "format", "default":
		case "properties": // checked with additionalProperties
			ok = rules["additionalProperties"] == false
		case "type":
			ok = typeOf(value) == want || want == "number" && typeOf(value) == "integer"
		case "const":
			ok = value == want
		case "enum":
			ok = slices.Contains(want.([]any), value)
		case "pattern":
			text, is := value.(string)
			ok = !is || compiled(want.(string)).MatchString(text)
		case "minLength", "maxLength":
			if text, is := value.(string); is {
				ok = within(keyword, float64(utf8.RuneCountInString(text)), want)
			}
		case "minimum", "maximum":
			if n, is := value.(float64); is {
				ok = within(keyword, n, want)
			}
		case "maxItems":
			if items, is := value.([]any); is {
				ok = within(keyword, float64(len(items)), want)
			}
		case "items":
			items, _ := value.([]any)
			for i, item := range items {
				if err := d.validate(want, item); err != nil {
					return fmt.Errorf("%d: %w", i, err)
				}
			}
		case "required":
			object, is := value.(map[string]any)
			for _, key := range want.([]any) {
				if _, has := object[key.(string)]; is && !has {
					return fmt.Errorf("%s is missing", key)
				}
			}
		case "additionalProperties":
			if want != false {
				return fmt.Errorf("additionalProperties: %v is not known to this test", want)
			}
			object, _ := value.(map[string]any)
			properties := rules["properties"].(map[string]any)
			for key, member := range object {
				property, has := properties[key]
				if !has {
					return fmt.Errorf("%s is too much", key)
				}
				if err := d.validate(property, member); err != nil {
					return fmt.Errorf("%s: %w", key, err)
				}
			}
		case "oneOf":
			var errs []error
			for _, alternative := range want.([]any) {
				if err := d.validate(alternative, value); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", schemaName(alternative), err))
				}
			}
			if fit := len(want.([]any)) - len(errs); fit != 1 {
				return fmt.Errorf("%d of oneOf fit: %v", fit, errs)
			}
		default:
			return fmt.Errorf("keyword %s is not known to this test", keyword)
		}
		if !ok {
			return fmt.Errorf("%v: %s is %v", value, keyword, rules[keyword])
		}
	}
	return nil
}

// patterns are compiled once, for the fuzz targets' sake.
var patterns sync.Map

func compiled(pattern string) *regexp.Regexp {
	if re, ok := patterns.Load(pattern); ok {
		return re.(*regexp.Regexp)
	}
	re := regexp.MustCompile(pattern)
	patterns.Store(pattern, re)
	return re
}

func within(keyword string, n float64, limit any) bool {
	if keyword[:3] == "min" {
		return n >= limit.(float64)
	}
	return n <= limit.(float64)
}

func typeOf(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case float64:
		if value == math.Trunc(value) {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	}
	return "object"
}

func TestValidateRefuses(t *testing.T) {
	d := document{"named": map[string]any{"type": "string"}}
	for name, tt := range map[string]struct {
		schema map[string]any
		value  any
	}{
		"type":          {map[string]any{"type": "string"}, 1.0},
		"reference":     {map[string]any{"$ref": "#/named"}, 1.0},
		"integer":       {map[string]any{"type": "integer"}, 1.5},
		"const":         {map[string]any{"const": false}, true},
		"enum":          {map[string]any{"enum": []any{"a"}}, "b"},
		"pattern":       {map[string]any{"pattern": "^a$"}, "b"},
		"too short":     {map[string]any{"minLength": 1.0}, ""},
		"too long":      {map[string]any{"maxLength": 1.0}, "éé"},
		"too little":    {map[string]any{"minimum": 0.0}, -1.0},
		"too many":      {map[string]any{"maxItems": 0.0}, []any{1.0}},
		"item":          {map[string]any{"items": map[string]any{"type": "null"}}, []any{1.0}},
		"missing":       {map[string]any{"required": []any{"a"}}, map[string]any{}},
		"too much":      {map[string]any{"properties": map[string]any{}, "additionalProperties": false}, map[string]any{"a": 1.0}},
		"member":        {map[string]any{"properties": map[string]any{"a": map[string]any{"type": "null"}}, "additionalProperties": false}, map[string]any{"a": 1.0}},
		"none of oneOf": {map[string]any{"oneOf": []any{map[string]any{"type": "null"}}}, 1.0},
		"two of oneOf":  {map[string]any{"oneOf": []any{map[string]any{}, map[string]any{}}}, 1.0},
		"not closed":    {map[string]any{"properties": map[string]any{}}, map[string]any{}},
		"unknown":       {map[string]any{"allOf": []any{}}, 1.0},
	} {
		t.Run(name, func(t *testing.T) { require.Error(t, d.validate(tt.schema, tt.value)) })
	}
}
