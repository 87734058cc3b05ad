package httpadapter

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path"
	"time"

	"github.com/customstatus/customstatus"
)

// The defaults of [Options].
const (
	// DefaultPrefix is the base path of Rocket.Chat's REST API.
	DefaultPrefix          = "/api/v1/"
	DefaultMaxCount        = 1000
	DefaultMaxStreamTime   = time.Hour
	DefaultRecheckLogin    = 30 * time.Second
	DefaultShutdownTimeout = 10 * time.Second
)

// Options configures [New]. Nil and the zero value are the defaults.
type Options struct {
	// Prefix is the path that the endpoints are under, as the Handler sees it:
	// behind [http.StripPrefix], without the part that was stripped. New adds a
	// slash that is missing at either end, and resolves "." and "..". Empty is
	// [DefaultPrefix], and "/" is the root.
	Prefix string

	// Logger receives the server's failures. Nil is [slog.Default].
	Logger *slog.Logger

	// Metadata shows the metadata of statuses to clients. Each status that has
	// metadata then has the key metadata in answers, lists and events, or the
	// key metadataBase64 if the metadata is not valid UTF-8. Create and update
	// accept the key metadata: a string, or null, which changes nothing.
	// Rocket.Chat's schema is closed and knows neither key.
	Metadata bool

	// OnWrite is called after each write that has succeeded, before the answer is
	// sent, for a log that names the status. The status is as the write left it. Of a
	// deleted status, only the ID is certain: the rest is as this server knew it.
	// OnWrite must be safe for concurrent use. The answer waits for it. Nil is no
	// call.
	OnWrite func(r *http.Request, status customstatus.CustomUserStatus)

	// MaxCount is the greatest number of statuses in a list with count=0, by
	// which a client asks for all of them. 0 is [DefaultMaxCount].
	MaxCount int

	// TrustedOrigins are origins, such as https://chat.example.com, whose pages
	// may write by the host's cookie, without the header X-Auth-Token. The
	// server's own origin is always trusted. See
	// [http.CrossOriginProtection.AddTrustedOrigin] for the form.
	TrustedOrigins []string

	// MaxStreamTime is how long an event stream lasts. Its client then comes
	// back, and passes everything in front of the Handler again. Each stream's
	// time is random, within 10 % of this. 0 is [DefaultMaxStreamTime]; a negative
	// time, or one of more than 100 years, is no limit.
	MaxStreamTime time.Duration

	// RecheckLogin is the interval at which the Authenticator is asked whether
	// the login of an event stream is still valid. Each interval is random, within
	// 10 % of this. [Handler.RecheckLogins] asks at once. 0 is
	// [DefaultRecheckLogin]; a negative interval, or one of more than 100 years,
	// is never.
	RecheckLogin time.Duration

	// ShutdownTimeout is how long [Handler.Serve] and [Handler.ListenAndServe]
	// wait at their end for requests in flight. 0 is [DefaultShutdownTimeout]; a
	// negative time is as long as the requests take.
	ShutdownTimeout time.Duration

	// Random is the source of randomness for the random times. It must
	// be safe for concurrent use. Nil is [rand.Uint64] of math/rand/v2.
	Random func() uint64
}

func (h *Handler) configure(opts *Options) {
	h.prefix = cleanPath(path.Clean("/"+opts.Prefix)) + "/" // clients never send dots
	if opts.Prefix == "" {
		h.prefix = DefaultPrefix
	}
	h.log = opts.Logger
	if h.log == nil {
		h.log = slog.Default()
	}
	h.metadata = opts.Metadata
	h.onWrite = opts.OnWrite
	if h.onWrite == nil {
		h.onWrite = func(*http.Request, customstatus.CustomUserStatus) {}
	}
	h.maxCount = opts.MaxCount
	if h.maxCount < 0 {
		panic("httpadapter: Options.MaxCount is negative")
	}
	if h.maxCount == 0 {
		h.maxCount = DefaultMaxCount
	}
	h.origins = http.NewCrossOriginProtection()
	for _, origin := range opts.TrustedOrigins {
		if err := h.origins.AddTrustedOrigin(origin); err != nil {
			panic("httpadapter: Options.TrustedOrigins: " + err.Error())
		}
	}
	h.streamTime = orDefault(opts.MaxStreamTime, DefaultMaxStreamTime)
	h.recheckLogin = orDefault(opts.RecheckLogin, DefaultRecheckLogin)
	h.shutdownTimeout = orDefault(opts.ShutdownTimeout, DefaultShutdownTimeout)
	h.random = opts.Random
	if h.random == nil {
		h.random = rand.Uint64
	}
}

func orDefault(d, usual time.Duration) time.Duration {
	if d == 0 {
		return usual
	}
	return d
}

// between draws a time from least to most, both included.
func (h *Handler) between(least, most time.Duration) time.Duration {
	return least + time.Duration(h.random()%uint64(most-least+1))
}

// longest is a time beyond which nothing is due: a greater one can't be added to, and
// hosts that mean "never" write [math.MaxInt64].
const longest = 100 * 365 * 24 * time.Hour

// about draws a time up to a tenth longer or shorter than d, which is at most longest.
func (h *Handler) about(d time.Duration) time.Duration { return h.between(d-d/10, d+d/10) }
