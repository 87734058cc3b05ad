package clients

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Export writes what MongoDB's own reader of extended JSON, which mongoimport uses,
// takes for texts and dates; and import reads all that its writer, which mongoexport
// uses, makes of that, in both modes.
func TestExtendedJSON(t *testing.T) {
	statuses := `{"_id":"4","name":"before 1970","statusType":"offline","_updatedAt":"1969-12-31T23:59:59.999Z"}
{"_id":"65462e97a2f73c7460e18f84","name":"caught up again","statusType":"busy","_updatedAt":"2023-11-04T11:51:28.353Z"}
{"_id":"1","name":"metadata","statusType":"away","_updatedAt":"2021-09-26T14:03:43.050Z","metadata":"{\"emoji\":\"🌴\"}"}
{"_id":"3","name":"without a \\ fraction 🌴","statusType":"online","_updatedAt":"2021-09-26T14:03:43.000Z"}
`
	dir := t.TempDir()
	run := func(args ...string) string {
		cmd := exec.Command("customstatusd", args...)
		cmd.Dir = dir
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		require.NoError(t, err, stderr.String())
		return string(out)
	}
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("in.jsonl", statuses)
	run("import", "--db", "a.db", "in.jsonl")

	var documents []bson.D
	lines := bufio.NewScanner(strings.NewReader(run("export", "--db", "a.db", "--format", "ejson")))
	for lines.Scan() {
		var d bson.D
		require.NoError(t, bson.UnmarshalExtJSON(lines.Bytes(), false, &d))
		documents = append(documents, d)
	}
	require.Len(t, documents, 4)
	require.Equal(t, bson.D{
		{Key: "_id", Value: "65462e97a2f73c7460e18f84"}, {Key: "name", Value: "caught up again"}, {Key: "statusType", Value: "busy"},
		{Key: "_updatedAt", Value: bson.NewDateTimeFromTime(time.Date(2023, 11, 4, 11, 51, 28, 353_000_000, time.UTC))},
	}, documents[1])
	require.Equal(t, bson.DateTime(-1), documents[0][3].Value)

	for name, canonical := range map[string]bool{"relaxed": false, "canonical": true} {
		var text strings.Builder
		for _, d := range documents {
			line, err := bson.MarshalExtJSON(d, canonical, false)
			require.NoError(t, err)
			text.Write(append(line, '\n'))
		}
		write(name+".json", text.String())
		require.Equal(t, "imported 0, already there 4\n", run("import", "--db", "a.db", name+".json"))
		run("import", "--db", name+".db", name+".json")
		require.Equal(t, statuses, run("export", "--db", name+".db"))
	}
}
