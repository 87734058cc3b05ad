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
	onWrite   func(*http.Request, customstatus.CustomUserStatus)
	metadata  bool
	maxCount  int
	origins   *http.CrossOriginProtection
	random    func() uint64
	endpoints map[string]endpoint
	lists     listCache
	turns     turns

	events       eventCache
	heartbeat    time.Duration // of streams
	writeTimeout time.Duration // for the client of a stream to take what is written
	streamTime   time.Duration
	recheckLogin time.Duration
	streaming    context.Context // done when streams must end
	endStreams   context.CancelFunc
	mu           sync.Mutex
	valid        context.Context // done when streams must check their logins
	recheck      context.CancelFunc

	shutdownTimeout time.Duration
}

// endpoint is one path under the prefix.
type endpoint struct {
	methods []string
	public  bool // needs no login
	manage  bool // needs Caller.MayManage
	serve   func(*exchange) error
}

// The names of the endpoints.
const (
	createPath  = "custom-user-status.create"
	updatePath  = "custom-user-status.update"
	deletePath  = "custom-user-status.delete"
	listPath    = "custom-user-status.list"
	streamPath  = "custom-user-status.stream"
	openAPIPath = "custom-user-status.openapi.json"
)

// New returns a handler for the catalog. The Authenticator says who makes a
// request. Nil opts are the defaults. The handler never closes the catalog.
//
// New panics if the catalog or the Authenticator is nil: to serve without logins
// must be a decision, not an oversight. New also panics if MaxCount is negative or
// one of TrustedOrigins is no origin.
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
			createPath:  {methods: []string{http.MethodPost}, manage: true, serve: (*exchange).create},
			updatePath:  {methods: []string{http.MethodPost}, manage: true, serve: (*exchange).update},
			deletePath:  {methods: []string{http.MethodPost}, manage: true, serve: (*exchange).delete},
			listPath:    {methods: []string{http.MethodGet, http.MethodHead}, serve: (*exchange).list},
			streamPath:  {methods: []string{http.MethodGet}, serve: (*exchange).stream},
			openAPIPath: {methods: []string{http.MethodGet, http.MethodHead}, public: true, serve: (*exchange).openAPI},
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

// ServeHTTP answers one request. It implements [http.Handler].
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
	logins    context.Context // of a stream: done when its login must be checked at once
	bodyDone  bool            // the whole body has been read
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
	if e.public {
		return e.serve(x)
	}
	if name == streamPath {
		x.logins = x.currentLogins() // before authenticate, so that no RecheckLogins is missed
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	if e.manage && !x.caller.MayManage {
		return errNotAuthorized
	}
	return e.serve(x)
}

// cleanPath replaces repeated slashes by one and removes slashes at the end.
// Clients join a base address that ends in a slash and a path that begins with one.
func cleanPath(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return strings.TrimSuffix(path, "/")
}

// answer writes an answer that nobody may cache.
func (x *exchange) answer(status int, body []byte) {
	header := x.w.Header()
	setHeader(header, "application/json", "no-store")
	header.Set("X-Request-Id", x.requestID)
	x.write(status, body)
}

// setHeader sets the header fields of every answer, except the request id.
func setHeader(header http.Header, contentType, cacheControl string) {
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", cacheControl)
	header.Set("X-Content-Type-Options", "nosniff")
}

func (x *exchange) write(status int, body []byte) {
	x.answered = true
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // an error means that the client has gone
}

// appendStatus appends the status in the JSON form that clients get.
func (h *Handler) appendStatus(b []byte, s customstatus.CustomUserStatus) []byte {
	if h.metadata {
		return s.AppendExportJSON(b)
	}
	return s.AppendJSON(b)
}

// rescue turns a panic into a 500, so that neither the host's process nor the client
// sees the panic.
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

// logger returns a logger that names the request.
func (x *exchange) logger() *slog.Logger {
	return x.log.With("request_id", x.requestID, "method", x.r.Method, "endpoint", x.endpoint, "user", x.caller.UserID)
}

// requestID returns the request's own X-Request-Id if it is fit for a log, or else a
// new id.
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
