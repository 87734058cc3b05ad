package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A body that stops halfway does not delay the end of the server if the client has no
// login or the request should have no body.
func TestHalfABodyHoldsUpNoEnd(t *testing.T) {
	for name, answered := range map[string]bool{"before the answer": false, "after the answer": true} {
		t.Run(name, func(t *testing.T) {
			// Requests that the server does not end by itself last for its read
			// timeout of 30 seconds, and are cut.
			s := launch(t, t.TempDir(), "first", "--shutdown-timeout", "20s")
			var conns []net.Conn
			for _, request := range []string{
				"POST /api/v1/custom-user-status.create", "POST /api/v1/custom-user-status.list", "GET /api/v1/custom-user-status.list",
				"GET /healthz", "POST /healthz", "POST /elsewhere", "OPTIONS *",
			} {
				conn, err := net.Dial("tcp", s.addr)
				require.NoError(t, err)
				t.Cleanup(func() { conn.Close() })
				_, err = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nX-User-Id: u\r\nX-Auth-Token: guessed\r\nContent-Length: 100\r\n\r\n{\"name\":", request)
				require.NoError(t, err)
				conns = append(conns, conn)
			}
			for _, conn := range conns {
				if answered {
					line, err := bufio.NewReader(conn).ReadString('\n')
					require.NoError(t, err)
					require.Contains(t, line, "HTTP/1.1 ")
				}
			}
			idle, err := net.Dial("tcp", s.addr) // one that has sent nothing
			require.NoError(t, err)
			t.Cleanup(func() { idle.Close() })
			require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
			code, err := s.wait()
			require.NoError(t, err)
			require.Equal(t, exitOK, code, s.log.text())
			require.NotContains(t, s.log.text(), "were cut off")
		})
	}
}

// A client without a login that stalls when the server's time to end is up does not turn
// the end into a failure. One with a login does.
func TestStalledClientAtTheEnd(t *testing.T) {
	for name, known := range map[string]bool{"without a login": false, "with a login": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := launch(t, dir, "first", "--shutdown-timeout", "100ms")
			conn, err := net.Dial("tcp", s.addr)
			require.NoError(t, err)
			t.Cleanup(func() { conn.Close() })
			path, header := "/session", ""
			if known {
				path = "/api/v1/custom-user-status.create"
				for name, values := range login(t, dir) {
					header += name + ": " + values[0] + "\r\n"
				}
			}
			// The server asks for the body when the handler reads it.
			_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", path, header)
			require.NoError(t, err)
			line, err := bufio.NewReader(conn).ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, "100 Continue")
			require.NoError(t, s.cmd.Process.Signal(syscall.SIGTERM))
			code, err := s.wait()
			require.NoError(t, err)
			want := exitOK
			if known {
				want = exitFailure
			}
			require.Equal(t, want, code, s.log.text())
		})
	}
}

// openStream opens an event stream and returns when the first event has come. The
// channel receives the rest of the stream when the stream has ended.
func openStream(t *testing.T, addr string, header http.Header) (rest chan string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/api/v1/custom-user-status.stream", nil)
	require.NoError(t, err)
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	require.Equal(t, http.StatusOK, resp.StatusCode)
	r := bufio.NewReader(resp.Body)
	for line := ""; line != "\n"; {
		line, err = r.ReadString('\n')
		require.NoError(t, err)
	}
	rest = make(chan string, 1)
	go func() {
		text, err := io.ReadAll(r)
		if err != nil {
			text = append(text, err.Error()...)
		}
		rest <- string(text)
	}()
	return rest
}

// headersOf returns the headers that "token add" has printed.
func headersOf(t *testing.T, text string) http.Header {
	t.Helper()
	header := make(http.Header)
	for _, m := range headerLine.FindAllStringSubmatch(text, -1) {
		name, value, _ := strings.Cut(m[1], ": ")
		header.Set(name, value)
	}
	require.Len(t, header, 2)
	return header
}

// The streams of a login end when it is revoked, however the server learns of it,
// and others go on. Without being told, a stream would look after its login only
// when it has sent a heartbeat.
func TestRevokedLoginsStreamsEnd(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "customstatus.db")
	s := launch(t, dir, "first")
	admin := login(t, dir)
	others := openStream(t, s.addr, admin)
	list := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+"/api/v1/custom-user-status.list", nil)
		require.NoError(t, err)
		req.Header = admin
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		return resp.StatusCode
	}
	for _, tt := range []struct {
		how    string
		revoke func(ended func() bool)
	}{
		{"by the control socket", func(func() bool) { cli(t, "token", "revoke", "--db", db, "--user", "alice") }},
		{"by SIGHUP", func(func() bool) {
			require.NoError(t, os.Rename(db+".sock", db+".hidden"))
			cli(t, "token", "revoke", "--db", db, "--user", "alice")
			require.NoError(t, s.cmd.Process.Signal(syscall.SIGHUP))
			require.NoError(t, os.Rename(db+".hidden", db+".sock"))
		}},
		{"by the file, when somebody logs in", func(ended func() bool) {
			require.NoError(t, os.Rename(db+".sock", db+".hidden"))
			cli(t, "token", "revoke", "--db", db, "--user", "alice")
			for !ended() {
				require.Equal(t, http.StatusOK, list())
			}
		}},
	} {
		t.Run(tt.how, func(t *testing.T) {
			rest := openStream(t, s.addr, headersOf(t, cli(t, "token", "add", "--db", db, "--user", "alice")))
			text := make(chan string, 1)
			tt.revoke(func() bool {
				select {
				case got := <-rest:
					text <- got
					return true
				default:
					return false
				}
			})
			select {
			case got := <-rest:
				require.Empty(t, got, "no heartbeat, no error")
			case got := <-text:
				require.Empty(t, got, "no heartbeat, no error")
			}
		})
	}
	require.Equal(t, http.StatusOK, list())
	select {
	case text := <-others:
		require.Fail(t, "another login's stream has ended", text)
	default:
	}
}

// Metadata is on the wire where the operator wants it there.
func TestServeMetadata(t *testing.T) {
	for _, on := range []bool{false, true} {
		dir := t.TempDir()
		s := launch(t, dir, "first", fmt.Sprintf("--metadata=%t", on))
		send := func(method, path, body string) (int, string) {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addr+"/api/v1/"+path, strings.NewReader(body))
			require.NoError(t, err)
			req.Header = login(t, dir)
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return resp.StatusCode, string(text)
		}
		status, answer := send(http.MethodPost, "custom-user-status.create", `{"name":"a","statusType":"busy","metadata":"m"}`)
		want := http.StatusOK
		if !on {
			want = http.StatusBadRequest
			require.Contains(t, answer, "metadata")
		}
		require.Equal(t, want, status, answer)

		source := filepath.Join(dir, "s.jsonl")
		require.NoError(t, os.WriteFile(source, []byte(`{"name":"b","statusType":"busy","metadata":"imported"}`), 0o600))
		cli(t, "import", "--db", filepath.Join(dir, "customstatus.db"), source)
		status, answer = send(http.MethodGet, "custom-user-status.list", "")
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, on, bytes.Contains([]byte(answer), []byte(`"metadata":"imported"`)), answer)
		require.Contains(t, cli(t, "export", "--db", filepath.Join(dir, "customstatus.db")), `"metadata":"imported"`)
	}
}
