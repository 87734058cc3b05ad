package console_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/httpadapter/console"
)

func get(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var scriptAddress = regexp.MustCompile(`src="(console-[0-9a-f]{10}/)app\.js"`)

// assets returns the directory of the files that the page names.
func assets(t *testing.T, page string) string {
	t.Helper()
	m := scriptAddress.FindStringSubmatch(page)
	require.NotNil(t, m, page)
	return m[1]
}

func TestPage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		opts   *console.Options
		path   string
		attrs  []string
		absent string
	}{
		{"defaults", nil, "/", []string{`<title>Custom statuses</title>`, `data-api="/api/v1/"`, `data-session=""`}, "read-only"},
		{"zero", &console.Options{}, "/", []string{`data-login=""`}, "read-only"},
		{"all", &console.Options{
			Title: `A "b" & <c>`, Prefix: "admin//statuses", API: "chat/api", Session: "/session", LoginURL: "/login?next=/x&y=1", ReadOnly: true,
		}, "/admin/statuses/", []string{`data-title="A &#34;b&#34; &amp; &lt;c&gt;"`, `data-api="/chat/api/"`, `data-session="/session"`, `data-login="/login?next=/x&amp;y=1"`, ` data-read-only>`}, "<c>"},
		{"the root as the base", &console.Options{API: "/"}, "/", []string{`data-api="/"`}, "read-only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := get(console.New(tt.opts), http.MethodGet, tt.path)
			require.Equal(t, http.StatusOK, w.Code)
			for _, attr := range tt.attrs {
				require.Contains(t, w.Body.String(), attr)
			}
			require.NotContains(t, w.Body.String(), tt.absent)
		})
	}
}

// A browser keeps the files for ever, and asks for the page again.
func TestCaching(t *testing.T) {
	t.Parallel()
	h := console.New(&console.Options{Prefix: "/console/"})
	page := get(h, http.MethodGet, "/console/")
	script := "/console/" + assets(t, page.Body.String()) + "app.js"
	for target, cache := range map[string]string{"/console/": "no-cache", script: "public, max-age=31536000, immutable"} {
		plain := get(h, http.MethodGet, target)
		require.Equal(t, cache, plain.Header().Get("Cache-Control"))
		require.Equal(t, "Accept-Encoding", plain.Header().Get("Vary"))
		require.Empty(t, plain.Header().Get("Content-Encoding"))

		small := get(h, http.MethodGet, target, "Accept-Encoding", "br, gzip;q=0.5")
		require.Equal(t, "gzip", small.Header().Get("Content-Encoding"))
		require.NotEqual(t, plain.Header().Get("ETag"), small.Header().Get("ETag"))
		length := small.Body.Len()
		unzipped, err := gzip.NewReader(small.Body)
		require.NoError(t, err)
		content, err := io.ReadAll(unzipped)
		require.NoError(t, err)
		require.Equal(t, plain.Body.String(), string(content))
		require.Empty(t, get(h, http.MethodGet, target, "Accept-Encoding", "gzip;q=0, br").Header().Get("Content-Encoding"))

		head := get(h, http.MethodHead, target, "Accept-Encoding", "gzip")
		require.Equal(t, http.StatusOK, head.Code)
		require.Zero(t, head.Body.Len())
		require.EqualValues(t, length, head.Result().ContentLength)

		tag := small.Header().Get("ETag")
		for _, match := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
			again := get(h, http.MethodGet, target, "Accept-Encoding", "gzip", "If-None-Match", match)
			require.Equal(t, http.StatusNotModified, again.Code, match)
			require.Equal(t, tag, again.Header().Get("ETag"))
			require.Empty(t, again.Header().Get("Content-Encoding"))
			require.Zero(t, again.Body.Len())
		}
		require.Equal(t, http.StatusOK, get(h, http.MethodGet, target, "If-None-Match", tag).Code)
	}
}

func TestOtherRequests(t *testing.T) {
	t.Parallel()
	for prefix, location := range map[string]string{"/a/b/": "b/", "/a/b c?/": "b%20c%3F/", "/a/b:c/": "./b:c/"} {
		target := (&url.URL{Path: strings.TrimSuffix(prefix, "/")}).String()
		moved := get(console.New(&console.Options{Prefix: prefix}), http.MethodGet, target)
		require.Equal(t, http.StatusPermanentRedirect, moved.Code)
		require.Equal(t, location, moved.Header().Get("Location"))
	}
	h := console.New(&console.Options{Prefix: "/a/b/"})
	refused := get(h, http.MethodPost, "/a/b/")
	require.Equal(t, http.StatusMethodNotAllowed, refused.Code)
	require.Equal(t, "GET, HEAD", refused.Header().Get("Allow"))
	dir := "/a/b/" + assets(t, get(h, http.MethodGet, "/a/b/").Body.String())
	for _, target := range []string{"/", "/a/", "/a/b/x", "/a/b/index.html", dir, dir + "index.html", dir + "vendor/", dir + "vendor/README.md", dir + "../console.go", "/a/b/console-0000000000/app.js"} {
		require.Equal(t, http.StatusNotFound, get(h, http.MethodGet, target).Code, target)
	}
	next := console.New(&console.Options{Next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	})})
	require.Equal(t, http.StatusTeapot, get(next, http.MethodPost, "/api").Code)
	require.Equal(t, http.StatusOK, get(next, http.MethodGet, "/").Code)
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	h := console.New(nil)
	page := get(h, http.MethodGet, "/")
	for _, target := range []string{"/", "/" + assets(t, page.Body.String()) + "app.js"} {
		header := get(h, http.MethodGet, target).Header()
		require.Regexp(t, `^default-src 'none'; script-src 'self' 'sha256-[^ ]+'; style-src 'self'; img-src 'self'; connect-src 'self'; `+
			`base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'$`,
			header.Get("Content-Security-Policy"))
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		require.Equal(t, "no-referrer", header.Get("Referrer-Policy"))
		require.Equal(t, "same-origin", header.Get("Cross-Origin-Opener-Policy"))
		require.Equal(t, "same-origin", header.Get("Cross-Origin-Resource-Policy"))
	}
}

// files returns the files below a directory.
func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := make(map[string][]byte)
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all[name], err = os.ReadFile(filepath.Join(dir, name))
		}
		return err
	}))
	return all
}

// Scripts are sent without their comments, and libraries as they came.
func TestScripts(t *testing.T) {
	t.Parallel()
	h := console.New(nil)
	dir := "/" + assets(t, get(h, http.MethodGet, "/").Body.String())
	for name, content := range files(t, "web") {
		sent := get(h, http.MethodGet, dir+name).Body.String()
		switch filepath.Ext(name) {
		case ".js":
			require.NotRegexp(t, `(?m)^\t|^//`, sent, name)
			require.Contains(t, sent, "\n", name)
		case ".mjs", ".css", ".svg":
			require.Equal(t, string(content), sent, name)
		}
	}
}

// Everything that a browser loads has less than 30,000 bytes, as it is sent.
func TestSize(t *testing.T) {
	t.Parallel()
	h := console.New(nil)
	page := get(h, http.MethodGet, "/", "Accept-Encoding", "gzip")
	total, served := page.Body.Len(), 1
	dir := "/" + assets(t, get(h, http.MethodGet, "/").Body.String())
	for name := range files(t, "web") {
		if w := get(h, http.MethodGet, dir+name, "Accept-Encoding", "gzip"); w.Code == http.StatusOK {
			total += w.Body.Len()
			served++
		}
	}
	require.GreaterOrEqual(t, served, 17)
	require.Less(t, total, 30_000)
	t.Attr("bytes-compressed", strconv.Itoa(total))
}

// The libraries are those of npm, to the byte, and their licences are beside them.
func TestVendored(t *testing.T) {
	t.Parallel()
	record, err := os.ReadFile(filepath.Join("web", "vendor", "README.md"))
	require.NoError(t, err)
	for name, content := range files(t, filepath.Join("web", "vendor")) {
		if name != "README.md" {
			sum := sha256.Sum256(content)
			require.Contains(t, string(record), "`"+name+"` | `"+hex.EncodeToString(sum[:])+"`")
		}
		if base, isModule := strings.CutSuffix(name, ".mjs"); isModule && base != "hooks" {
			require.FileExists(t, filepath.Join("web", "vendor", base+".LICENSE"))
		}
	}
	lines := bytes.Count(record, []byte("\n| `"))
	require.Len(t, files(t, filepath.Join("web", "vendor")), lines+1, "the record names a file that isn't there")
}

// No file of ours makes HTML of a text, or names another host.
func TestSources(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySetInnerHTML|\beval\(|new Function|https?://[^w]|style=`)
	for name, content := range files(t, "web") {
		if !strings.HasPrefix(name, "vendor/") {
			require.NotRegexp(t, forbidden, string(content), name)
			require.LessOrEqual(t, bytes.Count(content, []byte("\n")), 500, name)
		}
	}
}
