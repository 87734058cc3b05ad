package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// TestMain lets the test binary act as the program, for the scripts and for tests
// that run the program in its own process.
func TestMain(m *testing.M) {
	// Under the race detector, a process sleeps for a second before it exits. That is
	// for goroutines that still run, but a command has ended its own by then.
	os.Setenv(race, "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"customstatusd": main, "stuckwrite": stuckWrite})
}

// race has the options of the race detector.
const race = "GORACE"

// patience bounds the waits of tests that would otherwise hang.
const patience = 30 * time.Second

// TestScripts uses the program as a person does, at a shell. Beyond the commands
// of testscript, the scripts have these:
//
//	serve NAME [ARGUMENTS]    starts a server in the background, with its output in
//	                          NAME.out and NAME.err, waits until it listens, and
//	                          puts its address into $NAME
//	signal NAME SIGNAL        sends the server a signal
//	await NAME REGEXP         waits for a line of the server's log
//	ended NAME CODE           waits until the server has ended, and compares its exit
//	                          code (-1: killed)
//	credentials NAME          takes the headers from NAME.out into the file "headers"
//	certificate               makes a certificate for 127.0.0.1, cert.pem and key.pem
//	noleak                    looks for tokens where none may be
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			s := &servers{t: env.T(), running: make(map[string]*server)}
			env.Values[serversKey{}] = s
			env.Setenv(race, os.Getenv(race))
			env.Defer(s.killAll)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":       scriptServe,
			"signal":      scriptSignal,
			"await":       scriptAwait,
			"ended":       scriptEnded,
			"credentials": scriptCredentials,
			"certificate": scriptCertificate,
			"noleak":      scriptNoleak,
		},
	})
}

// server is the program, serving in a process of its own.
type server struct {
	cmd    *exec.Cmd
	addr   string
	log    *lineLog
	code   int
	exited chan struct{}
}

// lineLog collects lines while others wait for one.
type lineLog struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed when lines change
	ended bool
}

func (l *lineLog) add(line string, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ended {
		l.lines = append(l.lines, line)
	}
	l.ended = ended
	close(l.more)
	l.more = make(chan struct{})
}

// find waits for a line that matches and returns the submatches.
func (l *lineLog) find(re *regexp.Regexp) ([]string, error) {
	timeout := time.After(patience)
	for n := 0; ; {
		l.mu.Lock()
		lines, more, ended := l.lines[n:], l.more, l.ended
		n = len(l.lines)
		l.mu.Unlock()
		for _, line := range lines {
			if m := re.FindStringSubmatch(line); m != nil {
				return m, nil
			}
		}
		if ended {
			return nil, fmt.Errorf("the log ended without a line like %s:\n%s", re, l.text())
		}
		select {
		case <-more:
		case <-timeout:
			return nil, fmt.Errorf("no line like %s came:\n%s", re, l.text())
		}
	}
}

func (l *lineLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// startServer runs the program in a directory, with its output in files there.
func startServer(program, dir, name string, env []string, args ...string) (*server, error) {
	s := &server{log: &lineLog{more: make(chan struct{})}, exited: make(chan struct{})}
	out, err := os.Create(filepath.Join(dir, name+".out"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	errs, err := os.Create(filepath.Join(dir, name+".err"))
	if err != nil {
		return nil, err
	}
	s.cmd = exec.Command(program, args...)
	s.cmd.Dir, s.cmd.Env, s.cmd.Stdout = dir, env, out
	pipe, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer errs.Close()
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			fmt.Fprintln(errs, lines.Text())
			s.log.add(lines.Text(), false)
		}
		s.cmd.Wait()
		s.code = s.cmd.ProcessState.ExitCode()
		s.log.add("", true)
		close(s.exited)
	}()
	m, err := s.log.find(regexp.MustCompile(`listening"?[ ,]"?addr"?[=:]"?([^ "]+)`))
	if err != nil {
		s.cmd.Process.Kill()
		<-s.exited
		return nil, err
	}
	s.addr = m[1]
	return s, nil
}

// wait returns the exit code, -1 if the process was killed.
func (s *server) wait() (int, error) {
	select {
	case <-s.exited:
		return s.code, nil
	case <-time.After(patience):
		return 0, fmt.Errorf("the server did not end:\n%s", s.log.text())
	}
}

// programEnv returns the environment of a server's process.
func programEnv(getenv func(string) string) []string {
	var env []string
	for _, name := range []string{
		race, "PATH", "HOME", "TMPDIR", "GOCOVERDIR", "CUSTOMSTATUS_ADDR", "CUSTOMSTATUS_DB", "CUSTOMSTATUS_STORE",
		"CUSTOMSTATUS_TOKENS", "CUSTOMSTATUS_LOG_FORMAT", "CUSTOMSTATUS_LOG_LEVEL", "CUSTOMSTATUS_PREFIX",
		"CUSTOMSTATUS_MAX_FAILED_LOGINS", "CUSTOMSTATUS_CREDENTIALS_FILE",
	} {
		if value := getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// servers holds the servers that a script has started.
type servers struct {
	t       testscript.T
	running map[string]*server
}

type serversKey struct{}

func (s *servers) killAll() {
	for _, srv := range s.running {
		srv.cmd.Process.Kill()
		<-srv.exited
	}
}

func scriptServer(ts *testscript.TestScript, args []string) *server {
	if len(args) == 0 {
		ts.Fatalf("name a server")
	}
	srv := ts.Value(serversKey{}).(*servers).running[args[0]]
	if srv == nil {
		ts.Fatalf("no server %q", args[0])
	}
	return srv
}

func scriptServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: serve NAME [ARGUMENTS]")
	}
	if !slices.Contains(args, "--addr") && !slices.Contains(args, "--config") && ts.Getenv("CUSTOMSTATUS_ADDR") == "" {
		ts.Fatalf("give --addr: the port of the program's own choice may be taken")
	}
	program, err := exec.LookPath("customstatusd")
	ts.Check(err)
	name := args[0]
	srv, err := startServer(program, ts.MkAbs("."), name, programEnv(ts.Getenv), args[1:]...)
	ts.Check(err)
	ts.Value(serversKey{}).(*servers).running[name] = srv
	ts.Setenv(name, srv.addr)
}

func scriptSignal(ts *testscript.TestScript, neg bool, args []string) {
	srv := scriptServer(ts, args)
	sig, ok := map[string]os.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL,
	}[args[len(args)-1]]
	if neg || len(args) != 2 || !ok {
		ts.Fatalf("usage: signal NAME TERM|INT|HUP|KILL")
	}
	ts.Check(srv.cmd.Process.Signal(sig))
}

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	srv := scriptServer(ts, args)
	if neg || len(args) != 2 {
		ts.Fatalf("usage: await NAME REGEXP")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	_, err = srv.log.find(re)
	ts.Check(err)
}

func scriptEnded(ts *testscript.TestScript, neg bool, args []string) {
	srv := scriptServer(ts, args)
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ended NAME CODE")
	}
	code, err := srv.wait()
	ts.Check(err)
	if strconv.Itoa(code) != args[1] {
		ts.Fatalf("exit code %d, not %s:\n%s", code, args[1], srv.log.text())
	}
}

var (
	headerLine = regexp.MustCompile(`(?m)^ *(X-(?:User-Id|Auth-Token): \S+)$`)
	tokenText  = regexp.MustCompile(`X-Auth-Token: ([A-Za-z0-9_-]{43})\b`)
)

func scriptCredentials(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: credentials NAME")
	}
	m := headerLine.FindAllStringSubmatch(ts.ReadFile(args[0]+".out"), -1)
	if len(m) != 2 {
		ts.Fatalf("not two headers in %s.out", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs("headers"), []byte(m[0][1]+"\n"+m[1][1]+"\n"), 0o600))
}

func scriptCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: certificate")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "customstatusd test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	write := func(name, kind string, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		ts.Check(os.WriteFile(ts.MkAbs(name), text, 0o600))
	}
	write("cert.pem", "CERTIFICATE", cert)
	write("key.pem", "PRIVATE KEY", secret)
}

// scriptNoleak takes the tokens from the files in which they are shown, *.out,
// *.sh and headers*, and fails if one is in any other file: a log, the database,
// the tokens file, a backup, an export.
func scriptNoleak(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: noleak")
	}
	tokens := make(map[string]bool)
	others := make(map[string][]byte)
	ts.Check(filepath.WalkDir(ts.MkAbs("."), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name := d.Name()
		if ext := filepath.Ext(name); ext == ".out" || ext == ".sh" || strings.HasPrefix(name, "headers") {
			for _, m := range tokenText.FindAllSubmatch(text, -1) {
				tokens[string(m[1])] = true
			}
			return nil
		}
		others[path] = text
		return nil
	}))
	if len(tokens) == 0 || len(others) == 0 {
		ts.Fatalf("there are %d tokens and %d files to look in", len(tokens), len(others))
	}
	for path, text := range others {
		for token := range tokens {
			if bytes.Contains(text, []byte(token)) {
				ts.Fatalf("%s has a token in it", path)
			}
		}
	}
}

// TestBuild shows that the program is built by "go build" alone.
func TestBuild(t *testing.T) {
	program := filepath.Join(t.TempDir(), "customstatusd")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(program, "--version").Output()
	require.NoError(t, err)
	require.Regexp(t, `^customstatusd \S+ go1\.\S+ \w+/\w+\n$`, string(out))
}
