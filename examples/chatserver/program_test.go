package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
)

// TestProgram uses the program as a person does: it builds and starts the program, logs
// in, and stops it by a signal.
func TestProgram(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no program can be told to stop by a signal here")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "chatserver")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	program := exec.Command(binary, "-addr", "127.0.0.1:0", "-data", filepath.Join(dir, "data"))
	program.Stderr = os.Stderr
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	s := &running{passwords: make(map[string]string)}
	if !s.readGreeting(out) {
		t.Fatalf("the program did not start: %v", program.Wait())
	}
	defer func() {
		if err := program.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := program.Wait(); err != nil {
			t.Errorf("told to stop, the program ended with %v", err)
		}
	}()

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
