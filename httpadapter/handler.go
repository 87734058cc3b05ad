package httpadapter

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/customstatus/customstatus"
)

// DefaultPrefix is the base path of Rocket.Chat's REST API.
const DefaultPrefix = "/api/v1/"

// Options configure [New].
type Options struct {
	// Authenticator says who a caller is. It is required.
	Authenticator Authenticator

	// Prefix is the path that the endpoints are under, as the Handler sees
	// it: with [http.StripPrefix] in front, what that leaves. A slash that is
	// missing at either end is added. Empty is [DefaultPrefix], "/" is the
	// root.
	Prefix string

	// Logger gets what goes wrong on the server's side, and a warning when an
	// address fails to log in too often. Nil is [slog.Default].
	Logger *slog.Logger

	// ClientAddr returns the address that failed logins are counted by. Nil
	// takes the one of the connection, which behind a proxy is the proxy's:
	// have it return what a proxy of yours says, never what just anybody can
	// put in a header.
	ClientAddr func(*http.Request) string

	// FailedLogins is the number of failed logins that an address (IPv6: a
	// /64 network) is answered without delay, within the last minute or two.
	// Each one beyond is answered after a second. Valid credentials are never
	// delayed or refused, whatever else comes from their address. 0 is
	// [DefaultFailedLogins], and a negative number is no limit.
	FailedLogins int
}

// Handler serves the endpoints. It is safe for concurrent use.
type Handler struct {
	catalog    *customstatus.Catalog
	auth       Authenticator
	prefix     string
	log        *slog.Logger
	clientAddr func(*http.Request) string
	endpoints  map[string]endpoint
	lists      listCache
	logins     failedLogins

	heartbeat    time.Duration   // of streams
	writeTimeout time.Duration   // for the client of a stream to take what is written
	streaming    context.Context // done when streams have to end
	endStreams   context.CancelFunc
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

// New returns a handler for the catalog, which stays the caller's to close. It
// panics if there is no catalog or no [Options.Authenticator]: a server that
// asks nobody who they are must be a decision, not an oversight.
func New(catalog *customstatus.Catalog, opts *Options) *Handler {
	if catalog == nil {
		panic("httpadapter: New needs a catalog")
	}
	if opts == nil || opts.Authenticator == nil {
		panic("httpadapter: New needs an Authenticator")
	}
	h := &Handler{
		catalog:    catalog,
		auth:       opts.Authenticator,
		prefix:     DefaultPrefix,
		log:        opts.Logger,
		clientAddr: opts.ClientAddr,
		endpoints: map[string]endpoint{
			createPath: {methods: []string{http.MethodPost}, manage: true, serve: (*exchange).create},
			updatePath: {methods: []string{http.MethodPost}, manage: true, serve: (*exchange).update},
			deletePath: {methods: []string{http.MethodPost}, manage: true, serve: (*exchange).delete},
			listPath:   {methods: []string{http.MethodGet, http.MethodHead}, serve: (*exchange).list},
			streamPath: {methods: []string{http.MethodGet}, serve: (*exchange).stream},
		},
		logins:       failedLogins{limit: opts.FailedLogins},
		heartbeat:    15 * time.Second,
		writeTimeout: 10 * time.Second,
	}
	if opts.Prefix != "" {
		h.prefix = "/"
		if path := strings.Trim(opts.Prefix, "/"); path != "" {
			h.prefix = "/" + path + "/"
		}
	}
	if h.log == nil {
		h.log = slog.Default()
	}
	if h.clientAddr == nil {
		h.clientAddr = connectionAddr
	}
	if h.logins.limit == 0 {
		h.logins.limit = DefaultFailedLogins
	}
	h.streaming, h.endStreams = context.WithCancel(context.Background())
	return h
}

// EndStreams ends all event streams, those to come included, which would
// otherwise keep [http.Server.Shutdown] waiting: give it to
// [http.Server.RegisterOnShutdown]. The other endpoints go on. It returns at
// once and may be called more than once.
func (h *Handler) EndStreams() { h.endStreams() }

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
	answered  bool // the header is written
}

func (x *exchange) serve() error {
	name, under := strings.CutPrefix(x.r.URL.Path, x.prefix)
	e, known := x.endpoints[name]
	if !under || !known {
		return errNoEndpoint
	}
	x.endpoint = name
	if !e.allows(x.r.Method) {
		x.w.Header().Set("Allow", strings.Join(e.methods, ", "))
		return errMethod
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	if e.manage && !x.caller.MayManage {
		return errNotAuthorized
	}
	return e.serve(x)
}

func (e endpoint) allows(method string) bool {
	for _, m := range e.methods {
		if m == method {
			return true
		}
	}
	return false
}

// create, update and delete decode, call the catalog, and encode.

func (x *exchange) create() error {
	var f customstatus.Fields
	err := x.decode(
		param{"name", &f.Name},
		param{"statusType", (*string)(&f.StatusType)})
	if err != nil {
		return err
	}
	status, err := x.catalog.Create(x.r.Context(), f)
	if err != nil {
		return err
	}
	x.answerStatus(status)
	return nil
}

func (x *exchange) update() error {
	var id string
	var f customstatus.Fields
	err := x.decode(
		param{"_id", &id},
		param{"name", &f.Name},
		param{"statusType", (*string)(&f.StatusType)})
	if err != nil {
		return err
	}
	status, err := x.catalog.Update(x.r.Context(), id, f, nil)
	if err != nil {
		return err
	}
	x.answerStatus(status)
	return nil
}

func (x *exchange) delete() error {
	var id string
	if err := x.decode(param{"customUserStatusId", &id}); err != nil {
		return err
	}
	if id == "" {
		return errNoStatusID
	}
	if err := x.catalog.Delete(x.r.Context(), id, nil); err != nil {
		return err
	}
	x.answer(http.StatusOK, []byte(`{"success":true}`))
	return nil
}

func (x *exchange) answerStatus(s customstatus.CustomUserStatus) {
	b := append(make([]byte, 0, 256), `{"customUserStatus":`...)
	b = s.AppendJSON(b)
	x.answer(http.StatusOK, append(b, `,"success":true}`...))
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
