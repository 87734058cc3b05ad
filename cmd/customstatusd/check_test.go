package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// check names every damaged record, up to a bound, and says what to do.
func TestCheckNamesEveryDamage(t *testing.T) {
	for _, damaged := range []int{1, 3, maxProblems + 20} {
		directory := t.TempDir()
		path, source := filepath.Join(directory, "x.db"), filepath.Join(directory, "s.jsonl")
		var lines strings.Builder
		for i := range 300 {
			fmt.Fprintf(&lines, `{"_id":"id-%03d","name":"name-%03[1]d-intact","statusType":"busy"}`+"\n", i)
		}
		require.NoError(t, os.WriteFile(source, []byte(lines.String()), 0o600))
		cli(t, "import", "--db", path, source)
		file, err := os.ReadFile(path)
		require.NoError(t, err)
		for i := range damaged {
			name := fmt.Sprintf("name-%03d-", 2*i)
			file = bytes.ReplaceAll(file, []byte(name+"intact"), []byte(name+"broken"))
		}
		require.NoError(t, os.WriteFile(path, file, 0o600))
		var out, errs bytes.Buffer
		require.Equal(t, exitFailure, run(t.Context(), []string{"check", "--db", path}, nil, &out, &errs, noEnv))
		named := 0
		for i := range 300 {
			is := strings.Contains(errs.String(), fmt.Sprintf(`status "id-%03d": its record is damaged`, i)) ||
				strings.Contains(errs.String(), fmt.Sprintf(`status "id-%03d": lost: `, i))
			require.False(t, is && (i%2 == 1 || i/2 >= damaged), "id-%03d is sound", i)
			if is {
				named++
			}
		}
		require.GreaterOrEqual(t, named, min(damaged, maxProblems-1), errs.String())
		require.LessOrEqual(t, strings.Count(errs.String(), "\n"), maxProblems+3)
		if damaged > maxProblems {
			require.Regexp(t, `: and \d+ more\n`, errs.String())
		}
		require.Contains(t, errs.String(), "customstatusd salvage --db")
		require.Empty(t, out.String())
	}
}
