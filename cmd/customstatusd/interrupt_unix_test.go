//go:build unix

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// interrupted runs the program, sends it a signal when its standard error has the text,
// and returns its output and its exit code.
func interrupted(t *testing.T, text string, stdin io.Reader, args ...string) (output string, code int) {
	t.Helper()
	program, err := exec.LookPath("customstatusd")
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env, cmd.Stdin = programEnv(os.Getenv), stdin
	var out strings.Builder
	cmd.Stdout = &out
	errs, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var said strings.Builder
	for lines := bufio.NewScanner(errs); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), text) {
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	_ = cmd.Wait() // the exit code says it
	return out.String() + said.String(), cmd.ProcessState.ExitCode()
}

// A signal ends an import and a copy with a summary of what was written.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	source, from := filepath.Join(dir, "large.jsonl"), filepath.Join(dir, "from.db")
	var lines strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&lines, `{"_id":"id %d","name":"name %d","statusType":"busy"}`+"\n", i, i)
	}
	require.NoError(t, os.WriteFile(source, []byte(lines.String()), 0o600))
	cli(t, "import", "--db", from, source)
	for name, tt := range map[string]struct {
		args []string
		says map[int]string // by exit code: the signal can be too late
	}{
		"import": {[]string{"import", "--db", "", source}, map[int]string{exitOK: "imported ", exitFailure: "customstatusd: import: "}},
		"copy":   {[]string{"copy", "--from", "bolt:" + from, "--to", "bolt:"}, map[int]string{exitOK: "copied ", exitFailure: "customstatusd: copy: "}},
	} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(dir, name+".db")
			for i, arg := range tt.args {
				if arg == "" || arg == "bolt:" {
					tt.args[i] = arg + to
				}
			}
			out, code := interrupted(t, "too large for one commit", nil, tt.args...)
			require.Contains(t, tt.says, code, out)
			require.Contains(t, out, tt.says[code])
			if code == exitFailure {
				require.Regexp(t, "nothing was (imported|copied)|(imported|copied) [0-9]+ in |all was written", out)
			}
			if _, err := os.Stat(to); err == nil {
				cli(t, "check", "--db", to)
			}
		})
	}
}

// A signal ends an import that waits for its input.
func TestInterruptReading(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { w.Close() })
	program, err := exec.LookPath("customstatusd")
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program, "import", "--db", filepath.Join(dir, "x.db"), "-")
	cmd.Env, cmd.Stdin = programEnv(os.Getenv), r
	var errs strings.Builder
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	require.NoError(t, r.Close()) // the program has its own
	for range 3 {                 // more than a pipe holds, so that the program has begun to read
		_, err = w.WriteString(strings.Repeat(" ", 64<<10))
		require.NoError(t, err)
	}
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait() // the exit code says it
	require.Equal(t, exitFailure, cmd.ProcessState.ExitCode(), errs.String())
	require.Contains(t, errs.String(), "nothing was imported: ")
}
