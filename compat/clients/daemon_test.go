package clients

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds waits that would otherwise hang. A busy machine runs a dozen
// clients and a browser at once.
const patience = time.Minute

// missing skips a test for want of something, or fails it where all must be there.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CUSTOMSTATUS_REQUIRED") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// program returns the path of a program, or skips the test.
func program(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, "there is no %s on this machine (Debian's package %s)", name, debian)
	}
	return path
}

// TestMain builds customstatusd and the example chatserver for all tests.
func TestMain(m *testing.M) { os.Exit(withProgram(m.Run)) }

func withProgram(run func() int) int {
	dir, err := os.MkdirTemp("", "clients-")
	if err == nil {
		defer os.RemoveAll(dir)
		var out []byte
		out, err = exec.Command("go", "build", "-o", dir+string(filepath.Separator),
			"github.com/customstatus/customstatus/cmd/customstatusd",
			"github.com/customstatus/customstatus/examples/chatserver").CombinedOutput()
		os.Stderr.Write(out)
	}
	if err == nil {
		err = os.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

// daemon is a customstatusd with a place of its own: one server after the other, all
// at the same address.
type daemon struct {
	t       *testing.T
	program string
	dir     string
	addr    string
	args    []string
	admin   login

	running *exec.Cmd
	ended   chan struct{}
	log     []logLine // of the last server, complete when it has ended
}

type login struct{ userID, token string }

// logLine is a line of the server's log.
type logLine struct {
	Msg    string
	Path   string
	UserID string `json:"user_id"`
	Status int
	Addr   string
	Remote string
}

// newDaemon makes an admin. It starts nothing.
func newDaemon(t *testing.T, args ...string) *daemon {
	t.Helper()
	path, err := exec.LookPath("customstatusd")
	require.NoError(t, err)
	d := &daemon{t: t, program: path, dir: t.TempDir(), addr: freeAddr(t), args: args}
	d.admin = d.newLogin("admin")
	return d
}

// freeAddr returns an address on which nobody listens. Its port is not one that systems
// give out by themselves, so nobody takes it while a server is away.
func freeAddr(t *testing.T) string {
	t.Helper()
	os.Getenv("CUSTOMSTATUS_TREE") // scripts/test says by it that the servers may have changed
	for {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		if ln, err := net.Listen("tcp", addr); err == nil {
			require.NoError(t, ln.Close())
			return addr
		}
	}
}

// do runs a command of the program that ends by itself.
func (d *daemon) do(args ...string) string {
	d.t.Helper()
	cmd := exec.Command(d.program, args...)
	cmd.Dir = d.dir
	out, err := cmd.Output()
	require.NoError(d.t, err, "%s %s", args, out)
	return string(out)
}

// newLogin makes a token for the user.
func (d *daemon) newLogin(userID string, flags ...string) login {
	d.t.Helper()
	out := d.do(append([]string{"token", "add", "--user", userID}, flags...)...)
	_, token, found := strings.Cut(out, "X-Auth-Token: ")
	require.True(d.t, found)
	return login{userID, strings.TrimSpace(token)}
}

// start starts a server and returns when it listens.
func (d *daemon) start() {
	d.t.Helper()
	require.Nil(d.t, d.running)
	cmd := exec.Command(d.program, append([]string{"--addr", d.addr, "--log-format", "json"}, d.args...)...)
	cmd.Dir = d.dir
	stderr, err := cmd.StderrPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, cmd.Start())
	d.running, d.ended, d.log = cmd, make(chan struct{}), nil
	d.t.Cleanup(func() { _ = cmd.Process.Kill() }) // an error means that it has ended
	listening := make(chan struct{})
	go func() {
		defer close(d.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			var line logLine
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				line.Msg = lines.Text()
			}
			d.log = append(d.log, line)
			if line.Msg == "listening" {
				close(listening)
			}
		}
		_ = cmd.Wait() // ProcessState has the result
	}()
	select {
	case <-listening:
	case <-d.ended:
		require.FailNow(d.t, "the server did not start", "%+v", d.log)
	}
}

// stop ends the server in order.
func (d *daemon) stop() {
	d.t.Helper()
	require.NoError(d.t, d.running.Process.Signal(syscall.SIGTERM))
	<-d.ended
	require.Equal(d.t, 0, d.running.ProcessState.ExitCode(), "%+v", d.log)
	d.running = nil
}

func (d *daemon) url(endpoint string) string {
	return "http://" + d.addr + "/api/v1/custom-user-status." + endpoint
}

// call makes a request as the admin and returns the answer.
func (d *daemon) call(method, endpoint, body string) (answer struct {
	CustomUserStatus json.RawMessage
	Total            int
}, header http.Header) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, d.url(endpoint), strings.NewReader(body))
	require.NoError(d.t, err)
	r.Header.Set("X-User-Id", d.admin.userID)
	r.Header.Set("X-Auth-Token", d.admin.token)
	r.Close = true
	res, err := http.DefaultClient.Do(r)
	require.NoError(d.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(d.t, err)
	require.Equal(d.t, http.StatusOK, res.StatusCode, "%s", text)
	require.NoError(d.t, json.Unmarshal(text, &answer))
	return answer, res.Header
}

// create returns the event of the new status and its id.
func (d *daemon) create(name string) (e event, id string) {
	d.t.Helper()
	answer, _ := d.call(http.MethodPost, "create", fmt.Sprintf(`{"name":%q,"statusType":"busy"}`, name))
	var status struct {
		ID string `json:"_id"`
	}
	require.NoError(d.t, json.Unmarshal(answer.CustomUserStatus, &status))
	return event{Name: "created", Data: string(answer.CustomUserStatus)}, status.ID
}

func (d *daemon) rename(id, name string) event {
	d.t.Helper()
	answer, _ := d.call(http.MethodPost, "update", fmt.Sprintf(`{"_id":%q,"name":%q,"statusType":"busy"}`, id, name))
	return event{Name: "updated", Data: string(answer.CustomUserStatus)}
}

// position returns the data of an event that carries the catalog's position.
func (d *daemon) position() string {
	d.t.Helper()
	_, header := d.call(http.MethodGet, "list", "")
	return `{"position":"` + header.Get("X-Catalog-Position") + `"}`
}
