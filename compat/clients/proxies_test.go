package clients

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// front is a proxy in front of a customstatusd, with a directory for its files, which
// every user can read.
type front struct {
	t    *testing.T
	dir  string
	addr string
	pool *x509.CertPool
}

func newFront(t *testing.T) *front {
	t.Helper()
	dir, err := os.MkdirTemp("", "proxy-") // workers of another user can't pass t.TempDir's parent
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	f := &front{t: t, dir: dir, addr: freeAddr(t), pool: x509.NewCertPool()}

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	require.True(t, f.pool.AppendCertsFromPEM(certPEM))
	f.write("cert.pem", string(certPEM))
	f.write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
	return f
}

func (f *front) path(name string) string { return filepath.Join(f.dir, name) }

func (f *front) write(name, text string) string {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(f.path(name), []byte(text), 0o644))
	return f.path(name)
}

// run starts the proxy and returns when it listens.
func (f *front) run(name string, args ...string) {
	f.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "HOME="+f.dir, "XDG_DATA_HOME="+f.dir, "XDG_CONFIG_HOME="+f.dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(f.t, cmd.Start())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // the output says more
	}()
	f.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // an error means that it has ended
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	late := time.After(patience)
	for {
		conn, err := net.Dial("tcp", f.addr)
		if err == nil {
			require.NoError(f.t, conn.Close())
			return
		}
		select {
		case <-ended:
			require.FailNow(f.t, "the proxy ended", "%s", out.String())
		case <-late:
			require.FailNow(f.t, "the proxy does not listen", "%v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func nginx(t *testing.T, f *front, d *daemon) {
	path := program(t, "nginx", "nginx-light")
	server := recipes(t, "nginx",
		"listen 443 ", "listen "+f.addr+" ", "/etc/ssl/chat.example.com.pem", f.path("cert.pem"),
		"/etc/ssl/chat.example.com.key", f.path("key.pem"), "/var/www/chat", f.dir, "127.0.0.1:3000", d.addr)[0]
	config := []string{
		"daemon off;", "pid " + f.path("pid") + ";", "error_log stderr;", "events {}", "http {", "access_log off;",
		"gzip on;", "gzip_proxied any;", "gzip_min_length 0;", "gzip_types application/json text/event-stream;",
	}
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		config = append(config, kind+"_temp_path "+f.path(kind)+";")
	}
	config = append(config, server, "}")
	f.run(path, "-e", "stderr", "-p", f.dir, "-c", f.write("nginx.conf", strings.Join(config, "\n")))
}

func apache(t *testing.T, f *front, d *daemon) {
	path := program(t, "apache2", "apache2")
	server := recipes(t, "apache",
		"*:443", f.addr, "/etc/ssl/chat.example.com.pem", f.path("cert.pem"),
		"/etc/ssl/chat.example.com.key", f.path("key.pem"), "/var/www/chat", f.dir, "127.0.0.1:3000", d.addr)[0]
	config := []string{"ServerName chat.example.com", "Listen " + f.addr, "PidFile " + f.path("pid"), "DefaultRuntimeDir " + f.dir, "ErrorLog /dev/stderr"}
	if os.Geteuid() == 0 {
		config = append(config, "User www-data", "Group www-data")
	}
	for _, name := range []string{"mpm_event", "authz_core", "ssl", "headers", "proxy", "proxy_http"} {
		config = append(config, "LoadModule "+name+"_module /usr/lib/apache2/modules/mod_"+name+".so")
	}
	config = append(config, server)
	f.run(path, "-X", "-f", f.write("apache.conf", strings.Join(config, "\n")))
}

func caddy(t *testing.T, f *front, d *daemon) {
	path := program(t, "caddy", "caddy")
	server := recipes(t, "caddyfile",
		"chat.example.com {", "https://"+f.addr+" {\n\ttls "+f.path("cert.pem")+" "+f.path("key.pem"),
		"/var/www/chat", f.dir, "127.0.0.1:3000", d.addr)[0]
	config := "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
	f.run(path, "run", "--adapter", "caddyfile", "--config", f.write("Caddyfile", config+server))
}

// TestProxies uses the server as a browser does, through each proxy.
func TestProxies(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T, *front, *daemon){"nginx": nginx, "Apache": apache, "Caddy": caddy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDaemon(t, "--client-addr-header", "X-Forwarded-For")
			f := newFront(t)
			start(t, f, d)
			d.start()
			jar, err := cookiejar.New(nil)
			require.NoError(t, err)
			transport := &http.Transport{
				ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: f.pool},
				// Another address than the proxy's own.
				DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
			}
			t.Cleanup(transport.CloseIdleConnections)
			v := &visitor{t, &http.Client{Transport: transport, Jar: jar}, "https://" + f.addr}
			v.visit(d)
			transport.CloseIdleConnections()
			d.stop()
			for _, line := range d.log {
				if line.Path != "" && line.UserID == "" {
					require.Equal(t, "127.0.0.2", line.Remote, "the address that failed logins count for")
				}
			}
		})
	}
}

// visitor is a browser at one origin.
type visitor struct {
	t      *testing.T
	client *http.Client
	origin string
}

const statuses = "/api/v1/custom-user-status."

// soon is how long an event may take. It is less than the time between heartbeats, which
// would flush an event that was held back.
const soon = 12 * time.Second

func (v *visitor) do(ctx context.Context, method, path, body string, pairs ...string) *http.Response {
	v.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, v.origin+path, strings.NewReader(body))
	require.NoError(v.t, err)
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
	}
	res, err := v.client.Do(r)
	require.NoError(v.t, err)
	v.t.Cleanup(func() { res.Body.Close() })
	return res
}

func (v *visitor) visit(d *daemon) {
	t, ctx := v.t, v.t.Context()
	status := func(method, path, body string, pairs ...string) int {
		t.Helper()
		res := v.do(ctx, method, path, body, pairs...)
		_, err := io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		return res.StatusCode
	}
	credentials := func(l login) string { return `{"userId":"` + l.userID + `","authToken":"` + l.token + `"}` }
	require.Equal(t, 401, status("POST", "/session", credentials(login{"admin", "guessed"}), "X-Forwarded-For", "192.0.2.7"))
	signedIn := v.do(ctx, "POST", "/session", credentials(d.admin), "Origin", v.origin)
	require.Equal(t, 200, signedIn.StatusCode)
	require.Regexp(t, `^__Host-customstatus=.*; Secure;`, signedIn.Header.Get("Set-Cookie"))

	list := v.do(ctx, "GET", statuses+"list", "")
	require.Equal(t, 200, list.StatusCode)
	require.Equal(t, "application/json", list.Header.Get("Content-Type"))
	require.Equal(t, 304, status("GET", statuses+"list", "", "If-None-Match", list.Header.Get("ETag")))
	beginning := list.Header.Get("X-Catalog-Position")

	streaming, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	stream := v.do(streaming, "GET", statuses+"stream", "")
	require.Equal(t, "text/event-stream", stream.Header.Get("Content-Type"))
	in := bufio.NewReader(stream.Body)
	requireBlock(t, in, "event: ready\n")
	const body = `{"name":"Lunch","statusType":"away"}`
	require.Equal(t, 403, status("POST", statuses+"create", body, "Origin", "https://evil.example.com"))
	require.Equal(t, 200, status("POST", statuses+"create", body, "Origin", v.origin))
	requireBlock(t, in, "event: created\n")
	created, id := d.create("Meeting")
	requireBlock(t, in, "data: "+created.Data+"\n")
	renamed := d.rename(id, "In a meeting")
	requireBlock(t, in, "data: "+renamed.Data+"\n")
	cancel()

	again, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	in = bufio.NewReader(v.do(again, "GET", statuses+"stream", "", "Last-Event-ID", beginning).Body)
	for _, part := range []string{"event: ready\n", `"name":"Lunch"`, "data: " + created.Data, "data: " + renamed.Data} {
		requireBlock(t, in, part)
	}
	cancel()
	text := func(path string) string {
		t.Helper()
		res := v.do(ctx, "GET", path, "")
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, 200, res.StatusCode, "%s %s", path, body)
		require.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'", path)
		return string(body)
	}
	script := regexp.MustCompile(`src="(console-[^"]+/app\.js)"`).FindStringSubmatch(text("/statuses/"))
	require.Len(t, script, 2)
	require.Contains(t, text("/statuses/"+script[1]), "import {")
	require.Equal(t, 404, status("GET", "/statuses/healthz", ""), "only the page is there")
	require.Equal(t, 200, status("DELETE", "/session", "", "Origin", v.origin))
	require.Equal(t, 401, status("GET", statuses+"list", ""))
}

// requireBlock reads the next event, which has the part.
func requireBlock(t *testing.T, in *bufio.Reader, part string) {
	t.Helper()
	var block strings.Builder
	for !strings.HasSuffix(block.String(), "\n\n") {
		line, err := in.ReadString('\n')
		require.NoError(t, err, "after %q, waiting for %q", block.String(), part)
		block.WriteString(line)
	}
	require.Contains(t, block.String(), part)
}
