package text

import (
	"strconv"
	"strings"
)

// Refusal says in plain English what was refused. In the sentence, {field}, {input}
// and {id} stand for the values, the latter two quoted because they come from
// outside. The detail, if it isn't empty, comes last.
func Refusal(sentence, field, input, id, detail string) string {
	s := strings.NewReplacer(
		"{field}", fieldWord(field),
		"{input}", strconv.Quote(input),
		"{id}", strconv.Quote(id),
	).Replace(sentence)
	if detail != "" {
		s += ": " + detail
	}
	return s
}

// fieldWord returns what people call the field with a JSON key.
func fieldWord(key string) string {
	switch key {
	case "_id":
		return "id"
	case "statusType":
		return "status type"
	case "_updatedAt":
		return "time of update"
	}
	return key
}
