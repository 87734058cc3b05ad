package text_test

import (
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
