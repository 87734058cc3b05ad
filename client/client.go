package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"time"

	"github.com/customstatus/customstatus/internal/backoff"
)

// The defaults of [Options].
const (
	DefaultPrefix         = "/api/v1/"
	DefaultUserAgent      = "customstatus-client"
	DefaultTimeout        = 30 * time.Second
	DefaultRetries        = 3
	DefaultMaxWait        = 30 * time.Second
	DefaultStreamSilence  = 45 * time.Second
	DefaultPollInterval   = 30 * time.Second
	DefaultMaxAnswerBytes = 16 << 20
	DefaultMaxListBytes   = 256 << 20
)

// firstWait is the wait before the first repetition. Each further wait is twice as long.
const firstWait = 250 * time.Millisecond

// Credentials identify the caller. They are sent as X-User-Id and X-Auth-Token.
type Credentials struct {
	UserID string
	Token  string
}

// String returns the user id. It keeps the token out of logs.
func (c Credentials) String() string { return c.UserID }

// GoString is String with the name of the type.
func (c Credentials) GoString() string { return fmt.Sprintf("client.Credentials(%q)", c.UserID) }

// LogValue is String for [log/slog], whose JSON handler would write all fields.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.UserID) }

// Options configure a [Client]. A nil *Options and the zero value are the defaults.
// The functions must be safe for concurrent use.
type Options struct {
	// Credentials are sent with every request until Renew replaces them. If
	// they are zero and Renew is nil, requests have no credentials.
	Credentials Credentials
	// Renew returns new credentials. It is called before the first request if
	// Credentials are zero, and whenever the server refuses a login; refused are
	// the credentials it was refused with. The request is then sent once more.
	// Only one call is made at a time, so Renew must not use the Client. An error
	// ends the request; Watch and Follow try again later, except after
	// [ErrUnauthorized]. Nil never renews: a refused login is an error.
	Renew func(ctx context.Context, refused Credentials) (Credentials, error)

	// HTTPClient sends the requests. The Client uses its transport, jar and
	// timeout, but not the timeout for event streams. Nil is a client with
	// [http.DefaultTransport].
	HTTPClient *http.Client
	// UserAgent is sent with every request. Empty is [DefaultUserAgent].
	UserAgent string
	// Prefix is the path of the endpoints below the base URL. Empty is
	// [DefaultPrefix].
	Prefix string

	// Timeout is the time for one attempt of a request, except an event stream. 0
	// is [DefaultTimeout]; a negative time is no limit.
	Timeout time.Duration
	// Retries is how often a request is repeated at most. 0 is [DefaultRetries]; a
	// negative number is never. Watch and Follow repeat without a limit.
	Retries int
	// MaxWait is the longest wait before a repetition. A server that asks for a
	// longer wait gets none: its answer is returned, with [Error.RetryAfter]. 0 is
	// [DefaultMaxWait].
	MaxWait time.Duration
	// StreamSilence is how long an event stream may be silent before it counts
	// as broken. The adapter sends a heartbeat every 15 seconds. 0 is
	// [DefaultStreamSilence]; a negative time is no limit.
	StreamSilence time.Duration
	// PollInterval is the time between two lists of Follow if the server has no
	// event stream. 0 is [DefaultPollInterval]. With a negative interval, Follow
	// returns [errors.ErrUnsupported] instead.
	PollInterval time.Duration
	// MaxAnswerBytes is the greatest size of an answer after decompression, and of
	// a commit of the event stream. A larger answer is [ErrUnexpectedAnswer]. 0 is
	// [DefaultMaxAnswerBytes].
	MaxAnswerBytes int64
	// MaxListBytes is the greatest size of the answers that All or Follow puts
	// together to one list. A status counts as 128 bytes at least. A larger list is
	// [ErrUnexpectedAnswer]. 0 is [DefaultMaxListBytes].
	MaxListBytes int64

	// OnRetry is called before each wait, with the failure and the length of the
	// wait. Nil is no call. Follow and Watch survive failures, so that only OnRetry
	// shows them.
	OnRetry func(err error, wait time.Duration)
	// Random is the source of randomness for the waits. Nil is [rand.Uint64] of
	// math/rand/v2.
	Random func() uint64
}

// Client calls the endpoints of one server. Several goroutines may use it at once. It
// has nothing to close.
type Client struct {
	opts    Options // complete
	base    *url.URL
	http    *http.Client
	streams *http.Client // without a time limit

	turn    chan struct{} // guards current
	current Credentials
}

// New returns a Client for the server with a base URL such as https://chat.example.com.
// It sends nothing. The error has no sentinel: the URL is not an http or https
// URL with a host, or a number of the options is negative where that means nothing.
func New(baseURL string, opts *Options) (*Client, error) {
	c := &Client{turn: make(chan struct{}, 1)}
	if opts != nil {
		c.opts = *opts
	}
	o := &c.opts
	if o.MaxWait < 0 || o.MaxAnswerBytes < 0 || o.MaxListBytes < 0 {
		return nil, errors.New("client: negative number in Options")
	}
	u, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return nil, errors.New("client: the base URL is not a URL") // its text could hold a secret
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return nil, errors.New("client: the base URL has no http or https and host")
	case u.User != nil, u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("client: the base URL has more than a host and a path")
	}
	c.base = u.JoinPath(path.Clean("/" + cmp.Or(o.Prefix, DefaultPrefix)))
	o.UserAgent = cmp.Or(o.UserAgent, DefaultUserAgent)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Retries = cmp.Or(o.Retries, DefaultRetries)
	o.MaxWait = cmp.Or(o.MaxWait, DefaultMaxWait)
	o.StreamSilence = cmp.Or(o.StreamSilence, DefaultStreamSilence)
	o.PollInterval = cmp.Or(o.PollInterval, DefaultPollInterval)
	o.MaxAnswerBytes = cmp.Or(o.MaxAnswerBytes, DefaultMaxAnswerBytes)
	o.MaxListBytes = cmp.Or(o.MaxListBytes, DefaultMaxListBytes)
	if o.OnRetry == nil {
		o.OnRetry = func(error, time.Duration) {}
	}
	if o.Random == nil {
		o.Random = rand.Uint64
	}
	c.current = o.Credentials
	c.http = new(http.Client)
	if o.HTTPClient != nil {
		*c.http = *o.HTTPClient
	}
	c.http.CheckRedirect = checkRedirect(c.http.CheckRedirect)
	c.streams = new(http.Client)
	*c.streams = *c.http
	c.streams.Timeout = 0
	return c, nil
}

// checkRedirect follows the redirects of reads within an origin. Any other redirect
// becomes the answer, because net/http would send X-Auth-Token along.
func checkRedirect(own func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, via []*http.Request) error {
		first := via[0]
		if first.Method != http.MethodGet || next.URL.Scheme != first.URL.Scheme || next.URL.Host != first.URL.Host || len(via) >= 10 {
			return http.ErrUseLastResponse
		}
		if own != nil {
			return own(next, via)
		}
		return nil
	}
}

// credentials returns those to send. If refused isn't nil, the server has refused
// these: credentials then returns others, or false if there are none.
func (c *Client) credentials(ctx context.Context, refused *Credentials) (Credentials, bool, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return Credentials{}, false, ctx.Err()
	}
	wanted := refused == nil && c.current == Credentials{} || refused != nil && c.current == *refused
	if !wanted {
		return c.current, true, nil // somebody else may have renewed them
	}
	if c.opts.Renew == nil {
		return c.current, refused == nil, nil
	}
	fresh, err := c.opts.Renew(ctx, c.current)
	if err != nil {
		return Credentials{}, false, fmt.Errorf("renew the credentials: %w", err)
	}
	c.current = fresh
	return fresh, true, nil
}

// waits are the growing waits of one call.
type waits struct {
	c     *Client
	delay backoff.Delay
}

func (c *Client) waits() *waits {
	return &waits{c, backoff.Delay{First: min(firstWait, c.opts.MaxWait), Last: c.opts.MaxWait}}
}

// next waits at least as long as least, and not longer than Options.MaxWait.
func (w *waits) next(ctx context.Context, failure error, least time.Duration) error {
	d := w.delay.Next()
	d -= time.Duration(w.c.opts.Random() % uint64(d/2+1)) // so that many clients don't come together
	d = min(max(d, least), w.c.opts.MaxWait)
	w.c.opts.OnRetry(failure, d)
	return backoff.Sleep(ctx, d)
}
