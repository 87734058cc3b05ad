package console

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/customstatus/customstatus/httpadapter"
)

// The defaults of [Options].
const (
	DefaultTitle  = "Custom statuses"
	DefaultPrefix = "/"
)

// Options configures [New]. Nil and the zero value are the defaults.
type Options struct {
	// Title is the heading of the page and the title of its tab. Empty is
	// [DefaultTitle].
	Title string

	// Prefix is the path of the page, as the Handler sees it: behind
	// [http.StripPrefix], without the part that was stripped. New adds a slash that
	// is missing at either end. Empty is [DefaultPrefix], the root.
	Prefix string

	// API is the path that the endpoints are under, as browsers see it: the prefix
	// of the [httpadapter.Handler], on the same origin as the page. New adds a slash
	// that is missing at either end. Empty is [httpadapter.DefaultPrefix].
	API string

	// Session is the path, as browsers see it, that says who is logged in, and at
	// which the page signs people in and out. See the package's documentation for
	// what that path answers. Empty means that the host does this itself before it
	// shows the page.
	Session string

	// LoginURL is the address of the host's own login. The page links there when
	// nobody is logged in, and then never asks for a token. Empty is no link.
	LoginURL string

	// ReadOnly makes a page that changes nothing. The endpoints don't know of
	// this: who may write is the decision of the Authenticator there.
	ReadOnly bool

	// Next answers the requests for all other paths. Nil answers them 404.
	Next http.Handler
}

// Handler serves the page. It is safe for concurrent use.
type Handler struct {
	prefix string // begins and ends with a slash
	files  map[string]*file
	policy string
	next   http.Handler
}

// file is something that is served. It never changes.
type file struct {
	contentType string
	cache       string
	etag        string // without quotes
	plain       []byte
	gzipped     []byte
}

//go:embed web
var web embed.FS

// modules are the names under which modules are imported that came as they are.
const modules = `{"imports":{"preact":"./%[1]svendor/preact.mjs","preact/hooks":"./%[1]svendor/hooks.mjs","htm":"./%[1]svendor/htm.mjs"}}`

// policy lets the page use this server's own scripts, styles, images and answers, and
// nothing else. Trusted types refuse every script that would make HTML of a text. The
// one script in the page itself is the list of modules, named by its hash.
const policy = "default-src 'none'; script-src 'self' 'sha256-%s'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// New returns a handler for the page. Nil opts are the defaults.
func New(opts *Options) *Handler {
	if opts == nil {
		opts = &Options{}
	}
	h := &Handler{prefix: asDirectory(opts.Prefix), files: make(map[string]*file), next: opts.Next}
	if h.next == nil {
		h.next = http.NotFoundHandler()
	}
	all, digest := readFiles(web)
	assets := "console-" + digest + "/"
	importMap := fmt.Sprintf(modules, assets)
	hash := sha256.Sum256([]byte(importMap))
	h.policy = fmt.Sprintf(policy, base64.StdEncoding.EncodeToString(hash[:]))
	for name, content := range all {
		// The name of the directory changes with every file, so browsers never ask again.
		h.files[h.prefix+assets+name] = newFile(name, content, "public, max-age=31536000, immutable")
	}
	var page bytes.Buffer
	err := template.Must(template.ParseFS(web, "web/index.html")).Execute(&page, map[string]any{
		"Title": cmp.Or(opts.Title, DefaultTitle), "Assets": assets,
		"ImportMap": template.HTML(`<script type="importmap">` + importMap + `</script>`),
		"API":       asDirectory(cmp.Or(opts.API, httpadapter.DefaultPrefix)),
		"Session":   opts.Session, "LoginURL": opts.LoginURL, "ReadOnly": opts.ReadOnly,
	})
	if err != nil {
		panic(err) // the template is embedded
	}
	h.files[h.prefix] = newFile("index.html", page.Bytes(), "no-cache")
	return h
}

// asDirectory returns a clean path with a slash at either end.
func asDirectory(p string) string { return strings.TrimSuffix(path.Clean("/"+p), "/") + "/" }

// readFiles returns what the page consists of but itself, and a digest of that.
func readFiles(from fs.FS) (all map[string][]byte, digest string) {
	all = make(map[string][]byte)
	sum := sha256.New()
	err := fs.WalkDir(from, "web", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || contentType(name) == "" || name == "web/index.html" {
			return err
		}
		content, err := fs.ReadFile(from, name)
		if path.Ext(name) == ".js" {
			content = notForReading.ReplaceAll(content, nil)
		}
		all[strings.TrimPrefix(name, "web/")] = content
		fmt.Fprintf(sum, "%s %d\n%s", name, len(content), content)
		return err
	})
	if err != nil {
		panic(err) // the files are embedded
	}
	return all, hex.EncodeToString(sum.Sum(nil)[:5])
}

// notForReading matches the indentation of our own scripts, and the lines that are only a
// comment. Browsers get the scripts without them: a tenth less to load.
var notForReading = regexp.MustCompile(`(?m)^\t*//.*\n|^\t+`)

// contentType returns the type of a file that is served, or "".
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return ""
}

func newFile(name string, content []byte, cache string) *file {
	sum := sha256.Sum256(content)
	f := &file{contentType: contentType(name), cache: cache, etag: hex.EncodeToString(sum[:8]), plain: content}
	var small bytes.Buffer
	w, _ := gzip.NewWriterLevel(&small, gzip.BestCompression) // the level is valid
	_, _ = w.Write(content)                                   // a Buffer takes everything
	_ = w.Close()
	f.gzipped = small.Bytes()
	return f
}

// ServeHTTP answers one request. It implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := h.files[r.URL.Path]
	switch {
	case f == nil && r.URL.Path+"/" == h.prefix:
		// The address is relative, because a proxy may have removed a part in front.
		w.Header().Set("Location", (&url.URL{Path: path.Base(r.URL.Path) + "/"}).String())
		w.WriteHeader(http.StatusPermanentRedirect)
		return
	case f == nil:
		h.next.ServeHTTP(w, r)
		return
	}
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "Method not allowed", http.StatusMethodNotAllowed)
		return
	}
	header.Set("Content-Security-Policy", h.policy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	f.serve(w, r)
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	body, etag := f.plain, `"`+f.etag+`"`
	if takesGzip(r) {
		body, etag = f.gzipped, `"`+f.etag+`-gzip"`
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Vary", "Accept-Encoding")
	header.Set("Cache-Control", f.cache)
	header.Set("ETag", etag)
	for tag := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
			header.Del("Content-Encoding")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // fails only if the client has gone
	}
}

// takesGzip reports whether the client says that it takes gzip. A client that gives it
// the weight 0 refuses it.
func takesGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(coding, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, err := strconv.ParseFloat(strings.TrimPrefix(strings.ReplaceAll(weight, " ", ""), "q="), 64)
			return weight == "" || err == nil && q > 0
		}
	}
	return false
}
