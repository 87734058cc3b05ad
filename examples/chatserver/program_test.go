package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
)

// program is the program, running as a person starts it.
type program struct {
	*running
	cmd *exec.Cmd
}

// build returns the path of the program.
func build(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no program can be told to stop by a signal here")
	}
	binary := filepath.Join(t.TempDir(), "chatserver")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// command returns a command that starts the program with a directory of its own. The
// program ends with the test.
func command(t *testing.T, binary string, args ...string) *exec.Cmd {
	t.Helper()
	args = append([]string{"-addr", "127.0.0.1:0", "-data", filepath.Join(t.TempDir(), "data")}, args...)
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// launch starts commands at once and waits until they serve.
func launch(t *testing.T, commands ...*exec.Cmd) (programs []program) {
	t.Helper()
	var outputs []io.Reader
	for _, cmd := range commands {
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if cmd.ProcessState == nil {
				_ = cmd.Wait() // the end of the test's context has killed it
			}
		})
		outputs = append(outputs, out)
	}
	for i, cmd := range commands {
		p := program{running: &running{passwords: make(map[string]string)}, cmd: cmd}
		if !p.readGreeting(outputs[i]) {
			t.Fatal("the program did not start")
		}
		programs = append(programs, p)
	}
	return programs
}

// end tells the program to stop, and checks that it does so in order.
func (p program) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("told to stop, the program ended with %v", err)
	}
}

// TestProgram uses the program as a person does: it builds and starts the program, logs
// in, and stops it by a signal.
func TestProgram(t *testing.T) {
	s := launch(t, command(t, build(t)))[0]
	defer s.end(t)

	alice := s.login(t, "alice")
	catalog := alice.listen("chat.statusEvents", "")
	if got := catalog.names(); !slices.Equal(got, seeds) {
		t.Errorf("the catalog at first: %q", got)
	}
	s.login(t, "admin").create("Trying it out", "busy")
	if c := catalog.nextChange(); c.Status.Name != "Trying it out" {
		t.Errorf("got the change %v", c)
	}
	if code, body := alice.post("login", map[string]string{"user": "alice", "password": "guessed"}); code != http.StatusUnauthorized {
		t.Errorf("a guessed password: %d %v", code, body)
	}
}
