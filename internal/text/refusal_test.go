package text_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/text"
)

func TestRefusal(t *testing.T) {
	for _, tt := range []struct{ sentence, field, input, id, detail, want string }{
		{"{field} is required", "statusType", "", "", "", "status type is required"},
		{"no status has the {field} {input}", "_id", "a\"b", "", "", `no status has the id "a\"b"`},
		{"{field} {input} is not valid", "_updatedAt", "{id}", "7", "too late", `time of update "{id}" is not valid: too late`},
		{"the {field} {input} belongs to status {id}", "name", "Busy", "x\n", "", `the name "Busy" belongs to status "x\n"`},
	} {
		require.Equal(t, tt.want, text.Refusal(tt.sentence, tt.field, tt.input, tt.id, tt.detail))
	}
}

func TestTooLarge(t *testing.T) {
	large, cause := errors.New("too large"), errors.New("33 bytes")
	require.Equal(t, "too large", text.TooLarge(large, 0, nil))
	require.Equal(t, "too large: 33 bytes", text.TooLarge(large, 0, cause))
	require.Equal(t, "too large: 33 bytes: at most 32 changes fit in one commit", text.TooLarge(large, 32, cause))
}

func TestFreshID(t *testing.T) {
	source := func(ids ...string) func() string {
		return func() (id string) {
			if id = ids[0]; len(ids) > 1 {
				ids = ids[1:]
			}
			return id
		}
	}
	unused := func(id string) bool { return id != "used" }
	id, err := text.FreshID(source("used", "", "too long", "new"), 7, unused)
	require.NoError(t, err)
	require.Equal(t, "new", id)
	_, err = text.FreshID(source("used"), 7, unused)
	require.ErrorContains(t, err, "the source of ids gives none")
}
