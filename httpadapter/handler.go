package httpadapter

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/customstatus/customstatus"
)

// Handler serves the endpoints. It is safe for concurrent use.
type Handler struct {
	catalog   *customstatus.Catalog
	auth      Authenticator
	prefix    string
	log       *slog.Logger
	metadata  bool
	maxCount  int
	origins   *http.CrossOriginProtection
	random    func() uint64
	endpoints map[string]endpoint
	lists     listCache

	events       eventCache
	heartbeat    time.Duration // of streams
	writeTimeout time.Duration // for the client of a stream to take what is written
	streamTime   time.Duration
	recheckLogin time.Duration
	streaming    context.Context // done when streams have to end
	endStreams   context.CancelFunc
	mu           sync.Mutex
	valid        context.Context // done when streams have to check their logins
	recheck      context.CancelFunc

	shutdownTimeout time.Duration
}

// endpoint is one path under the prefix.
type endpoint struct {
	methods []string
	manage  bool // needs Caller.MayManage
	serve   func(*exchange) error
}

// The names of the endpoints.
const (
	createPath = "custom-user-status.create"
	updatePath = "custom-user-status.update"
	deletePath = "custom-user-status.delete"
	listPath   = "custom-user-status.list"
	streamPath = "custom-user-status.stream"
)

// New returns a handler for the catalog, which stays the caller's to close. The
// Authenticator says who makes a request. Nil opts are the defaults.
//
// New panics if the catalog or the Authenticator is nil, because a server that asks
// nobody who they are must be a decision, not an oversight. It also panics if
// MaxCount is negative or a TrustedOrigin is no origin.
func New(catalog *customstatus.Catalog, auth Authenticator, opts *Options) *Handler {
	if catalog == nil {
		panic("httpadapter: New needs a catalog")
	}
	if auth == nil {
		panic("httpadapter: New needs an Authenticator")
	}
	h := &Handler{
		catalog: catalog,
		auth:    auth,
		endpoints: map[string]endpoint{
			createPath: {methods: []string{http.MethodPost}, manage: true, serve: (*exchange).create},
			updatePath: {methods: []string{http.MethodPost}, manage: true, serve: (*exchange).update},
			deletePath: {methods: []string{http.MethodPost}, manage: true, serve: (*exchange).delete},
			listPath:   {methods: []string{http.MethodGet, http.MethodHead}, serve: (*exchange).list},
			streamPath: {methods: []string{http.MethodGet}, serve: (*exchange).stream},
		},
		heartbeat:    15 * time.Second,
		writeTimeout: 10 * time.Second,
	}
	if opts == nil {
		opts = &Options{}
	}
	h.configure(opts)
	h.streaming, h.endStreams = context.WithCancel(context.Background())
	h.valid, h.recheck = context.WithCancel(context.Background())
	return h
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Handler: h, w: w, r: r, requestID: requestID(r)}
	defer x.rescue()
	if err := x.serve(); err != nil {
		x.fail(err)
	}
}

// exchange is a request and its answer.
type exchange struct {
	*Handler
	w         http.ResponseWriter
	r         *http.Request
	endpoint  string // its name; empty until it is known
	requestID string
	caller    Caller
	logins    context.Context // of a stream: done when its login is to be checked at once
	bodyDone  bool            // no more of the body is to come
	answered  bool            // the header is written
}

func (x *exchange) serve() error {
	name, under := strings.CutPrefix(cleanPath(x.r.URL.Path), x.prefix)
	e, known := x.endpoints[name]
	if !under || !known {
		return errNoEndpoint
	}
	x.endpoint = name
	if !slices.Contains(e.methods, x.r.Method) {
		x.w.Header().Set("Allow", strings.Join(e.methods, ", "))
		return errMethod
	}
	if err := x.checkOrigin(); err != nil {
		return err
	}
	if name == streamPath {
		x.logins = x.currentLogins() // before the login is found valid, so that none is missed
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	if e.manage && !x.caller.MayManage {
		return errNotAuthorized
	}
	return e.serve(x)
}

// cleanPath makes one slash of repeated ones, and none of those at the end:
// clients put a base address that ends in a slash before a path that begins with
// one.
func cleanPath(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return strings.TrimSuffix(path, "/")
}

// answer writes an answer that is not to be kept.
func (x *exchange) answer(status int, body []byte) {
	header := x.w.Header()
	setHeader(header, "application/json", "no-store")
	header.Set("X-Request-Id", x.requestID)
	x.write(status, body)
}

// setHeader sets what every answer has, but for the request id.
func setHeader(header http.Header, contentType, cacheControl string) {
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", cacheControl)
	header.Set("X-Content-Type-Options", "nosniff")
}

func (x *exchange) write(status int, body []byte) {
	x.answered = true
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // an error means that nobody is listening any more
}

// appendStatus appends the JSON form that clients get.
func (h *Handler) appendStatus(b []byte, s customstatus.CustomUserStatus) []byte {
	if h.metadata {
		return s.AppendExportJSON(b)
	}
	return s.AppendJSON(b)
}

// rescue keeps a panic from the host's process, and from the client.
func (x *exchange) rescue() {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	x.logger().Error("httpadapter: panic", "panic", v, "stack", string(debug.Stack()))
	if x.answered {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	x.dropBody()
	x.answer(http.StatusInternalServerError, internalError())
}

// logger names the request in what it logs.
func (x *exchange) logger() *slog.Logger {
	return x.log.With("request_id", x.requestID, "method", x.r.Method, "endpoint", x.endpoint, "user", x.caller.UserID)
}

// requestID returns the id that a proxy or the client has given the request, if
// it is fit for a log, or a new one.
func requestID(r *http.Request) string {
	if ids := r.Header["X-Request-Id"]; len(ids) == 1 && fitRequestID(ids[0]) {
		return ids[0]
	}
	return strconv.FormatUint(rand.Uint64(), 36)
}

func fitRequestID(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return id != "" && len(id) <= 64
}
