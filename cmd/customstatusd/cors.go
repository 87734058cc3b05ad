package main

import (
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/rs/cors"
	"github.com/spf13/pflag"
)

// browserConfig is what serve does for browsers.
type browserConfig struct {
	origins     []string // other than the server's own
	sessionTime time.Duration
}

func (c *browserConfig) declare(flags *pflag.FlagSet) {
	flags.StringSliceVar(&c.origins, "cors-origin", nil, "an `ORIGIN`, such as https://chat.example.com, whose pages may use the\nserver; several are separated by commas; the default is only the server's own")
	flags.DurationVar(&c.sessionTime, "session-time", 7*24*time.Hour, "the `DURATION` of a browser's session; 0 is no sessions")
}

func (c *browserConfig) check() error {
	if c.sessionTime < 0 {
		return usagef("--session-time is negative")
	}
	return checkOrigins(c.origins)
}

// checkOrigins returns an error if one of the origins is none. An origin is compared
// with what browsers send, so it must be spelled as they do.
func checkOrigins(origins []string) error {
	guard := http.NewCrossOriginProtection()
	for _, origin := range origins {
		u, err := url.Parse(origin)
		switch {
		case strings.Contains(origin, "*"):
			return usagef("--cors-origin %q: name each origin; there are no patterns", origin)
		case err != nil || guard.AddTrustedOrigin(origin) != nil || u.Scheme != "http" && u.Scheme != "https",
			u.Scheme+"://"+u.Host != origin && strings.ToLower(origin) == origin,
			strings.ContainsFunc(origin, func(r rune) bool { return r > unicode.MaxASCII }),
			strings.HasPrefix(u.Port(), "0"), strings.HasSuffix(origin, ":"):
			return usagef("--cors-origin %q is not an origin such as https://chat.example.com", origin)
		case origin != strings.ToLower(origin):
			return usagef("--cors-origin %q: write it in lower case, as browsers do", origin)
		case u.Scheme == "http" && u.Port() == "80", u.Scheme == "https" && u.Port() == "443":
			return usagef("--cors-origin %q: leave out the port, as browsers do", origin)
		}
	}
	return nil
}

// allowOrigins lets pages of the origins use what next serves. Without origins it
// returns next.
func allowOrigins(origins []string, next http.Handler) http.Handler {
	if len(origins) == 0 {
		return next // cors would allow all
	}
	return cors.New(cors.Options{
		AllowedOrigins:   origins,
		AllowedMethods:   []string{http.MethodGet, http.MethodPost, http.MethodDelete},
		AllowedHeaders:   []string{"Content-Type", "X-User-Id", "X-Auth-Token", "Last-Event-ID", "If-None-Match", requestIDHeader, "Cache-Control", "X-Requested-With"},
		ExposedHeaders:   []string{"ETag", "X-Catalog-Position", requestIDHeader, "Retry-After"},
		AllowCredentials: true,
		MaxAge:           int((10 * time.Minute).Seconds()),
	}).Handler(next)
}
