package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestHalfABodyIsRefused: a refusal is answered even if the rest of the body never comes,
// and the server shuts down without waiting for the rest.
func TestHalfABodyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startInBubble(t, t.TempDir())
		alice := s.login(t, "alice")
		login := "X-User-Id: " + alice.userID + "\r\nX-Auth-Token: " + alice.token + "\r\n"
		for _, tt := range []struct {
			path, header string
			want         int
		}{
			{"chat.postMessage", "", http.StatusUnauthorized},
			{"users.setStatus", "X-User-Id: nobody\r\nX-Auth-Token: guessed\r\n", http.StatusUnauthorized},
			{"custom-user-status.create", "", http.StatusUnauthorized},
			{"users.create", login, http.StatusForbidden},
		} {
			conn := s.dial(t)
			send(t, conn, halfABody(tt.path, tt.header))
			if got := code(t, bufio.NewReader(conn)); got != tt.want {
				t.Errorf("%s: answered %d, want %d", tt.path, got, tt.want)
			}
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestHalfABodyHoldsUpNoEnd: a server that shuts down answers the requests whose bodies
// have not come. A server that waited for the bodies would cut the requests off.
func TestHalfABodyHoldsUpNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startInBubble(t, t.TempDir())
		alice := s.login(t, "alice")
		login := "X-User-Id: " + alice.userID + "\r\nX-Auth-Token: " + alice.token + "\r\n"
		conns := make(map[string]*bufio.Reader)
		for path, header := range map[string]string{"login": "", "chat.postMessage": login} {
			conn := s.dial(t)
			conns[path] = bufio.NewReader(conn)
			// The server asks for the body when it begins to read it.
			head, body, _ := strings.Cut(halfABody(path, header+"Expect: 100-continue\r\n"), "\r\n\r\n")
			send(t, conn, head+"\r\n\r\n")
			if got := code(t, conns[path]); got != http.StatusContinue {
				t.Fatalf("%s: answered %d before the body", path, got)
			}
			send(t, conn, body)
		}
		var reading sync.WaitGroup // a pipe holds up the server until it is read
		for path, answers := range conns {
			reading.Go(func() {
				if got, err := readCode(answers); err != nil || got != http.StatusBadRequest {
					t.Errorf("%s: answered %d, %v, want %d", path, got, err, http.StatusBadRequest)
				}
			})
		}
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		reading.Wait()
	})
}

func halfABody(path, header string) string {
	return "POST /api/v1/" + path + " HTTP/1.1\r\nHost: chat\r\n" + header + "Content-Length: 100\r\n\r\n{\"user\":"
}

func (r *running) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := r.connect(t.Context(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// The server's own limit for a body is twice as long. An answer that waits
	// for that limit is too late.
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// code reads an answer and returns its code.
func code(t *testing.T, conn *bufio.Reader) int {
	t.Helper()
	got, err := readCode(conn)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func readCode(conn *bufio.Reader) (int, error) {
	answer, err := http.ReadResponse(conn, nil)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}
