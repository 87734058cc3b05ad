package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// BuildServer builds customstatusd and returns the path of the program. Without
// go.work it skips the test, because customstatusd is in another module.
func BuildServer(t *testing.T) string {
	t.Helper()
	work, err := exec.Command("go", "env", "GOWORK").Output()
	if path := strings.TrimSpace(string(work)); err != nil || path == "" || path == "off" {
		t.Skip("without go.work there is no customstatusd of this tree")
	}
	os.Getenv("CUSTOMSTATUS_TREE") // scripts/test says by it that the program may have changed
	program := filepath.Join(t.TempDir(), "customstatusd")
	build := exec.Command("go", "build", "-o", program, "github.com/customstatus/customstatus/cmd/customstatusd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// NewToken makes a token for the database at path with the program, and returns
// the headers with the token.
func NewToken(t *testing.T, program, path string) http.Header {
	t.Helper()
	out, err := exec.Command(program, "token", "add", "--db", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(string(out) + "\n"))).ReadMIMEHeader()
	if err != nil {
		t.Fatal(err)
	}
	return http.Header(header)
}

// Server is a running customstatusd. The test that starts it must end the
// process and then call Wait.
type Server struct {
	Cmd *exec.Cmd
	// URL is the base URL of the server, without a slash at the end.
	URL string

	log    bytes.Buffer
	logged sync.WaitGroup
}

// StartServer starts the program with the database at path, and waits until the
// server listens.
func StartServer(t *testing.T, program, path string) *Server {
	t.Helper()
	s := &Server{Cmd: exec.Command(program, "serve", "--addr", "127.0.0.1:0", "--db", path, "--log-format", "json")}
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.Cmd.Stderr = ours
	if err := s.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	listening := make(chan string, 1)
	s.logged.Go(func() {
		defer theirs.Close()
		defer close(listening)
		for log := bufio.NewScanner(io.TeeReader(theirs, &s.log)); log.Scan(); {
			var entry struct{ Msg, URL string }
			if json.Unmarshal(log.Bytes(), &entry) == nil && entry.Msg == "listening" {
				listening <- entry.URL
			}
		}
	})
	url, ok := <-listening
	if !ok {
		log, err := s.Wait()
		t.Fatalf("the server has not started: %v\n%s", err, log)
	}
	s.URL = url
	return s
}

// Wait waits for the end of the server. It returns the log and the error of
// [exec.Cmd.Wait].
func (s *Server) Wait() (log string, err error) {
	s.logged.Wait()
	err = s.Cmd.Wait()
	return s.log.String(), err
}
