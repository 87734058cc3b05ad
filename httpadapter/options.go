package httpadapter

import (
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"
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

// Options configure [New]. Nil and the zero value are the defaults.
type Options struct {
	// Prefix is the path that the endpoints are under, as the Handler sees
	// it: with [http.StripPrefix] in front, what that leaves. A slash that is
	// missing at either end is added. Empty is [DefaultPrefix], "/" is the
	// root.
	Prefix string

	// Logger gets what goes wrong on the server's side. Nil is [slog.Default].
	Logger *slog.Logger

	// Metadata adds the key metadata to the statuses of all answers, lists and
	// events that have any, and lets create and update take it: a string, or
	// null, which leaves what is there. Metadata that is not valid UTF-8
	// has the key metadataBase64 instead. Rocket.Chat's schema is closed and
	// knows neither key.
	Metadata bool

	// MaxCount is the greatest number of statuses that a list with count=0
	// has, which asks for all of them. 0 is [DefaultMaxCount].
	MaxCount int

	// TrustedOrigins are origins, such as https://chat.example.com, whose pages
	// may have a browser write without the header X-Auth-Token: by a cookie of
	// the host's. See [http.CrossOriginProtection.AddTrustedOrigin]. The server's
	// own origin is always trusted.
	TrustedOrigins []string

	// MaxStreamTime is about how long an event stream lasts before it ends and
	// its client comes back, so that what stands in front of the Handler sees
	// the client again. The time of each stream is drawn, up to a tenth longer
	// or shorter. 0 is [DefaultMaxStreamTime], negative is no end.
	MaxStreamTime time.Duration

	// RecheckLogin is about how often the Authenticator is asked whether the
	// login of an event stream is still valid; the intervals are drawn, up to a
	// tenth longer or shorter. [Handler.RecheckLogins] asks at once. 0 is
	// [DefaultRecheckLogin], negative is never.
	RecheckLogin time.Duration

	// ShutdownTimeout is how long [Handler.Serve] and [Handler.ListenAndServe]
	// wait for requests that are being answered when they are told to end. 0 is
	// [DefaultShutdownTimeout], negative is as long as it takes.
	ShutdownTimeout time.Duration

	// Random is the source of randomness for times that are drawn. It must be
	// safe for concurrent use. Nil is [rand.Uint64] of math/rand/v2.
	Random func() uint64
}

func (h *Handler) configure(opts *Options) {
	h.prefix = cleanPath("/"+opts.Prefix) + "/"
	if opts.Prefix == "" {
		h.prefix = DefaultPrefix
	}
	h.log = opts.Logger
	if h.log == nil {
		h.log = slog.Default()
	}
	h.metadata = opts.Metadata
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

// between draws a time from a range.
func (h *Handler) between(least, most time.Duration) time.Duration {
	return least + time.Duration(h.random()%uint64(most-least+1))
}

// about draws a time up to a tenth longer or shorter than d.
func (h *Handler) about(d time.Duration) time.Duration { return h.between(d-d/10, d+d/10) }
