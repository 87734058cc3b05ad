package text

import (
	"fmt"
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

// TooLarge says what is too large, if cause isn't nil, and how many changes would
// fit, if there are any.
func TooLarge(sentinel error, maxChanges int, cause error) string {
	s := sentinel.Error()
	if cause != nil {
		s += ": " + cause.Error()
	}
	if maxChanges > 0 {
		s += fmt.Sprintf(": at most %d changes fit in one commit", maxChanges)
	}
	return s
}
