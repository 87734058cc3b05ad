package httpadapter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Authenticator is how a host tells who makes a request. It must be safe for
// concurrent use.
type Authenticator interface {
	// Authenticate returns who makes the request. It sees the whole of it:
	// headers, cookies, and the context, in which middleware may have put what
	// it knows. It must not read the body.
	//
	// The error is [ErrUnauthenticated], or wraps it, if nobody is logged in.
	// Any other error is one of the server and is answered 500. It is logged,
	// so it must not hold a secret. Compare secrets in constant time.
	//
	// While an event stream lives, Authenticate is called again with the
	// request that began it. So it must look the login up: what middleware
	// found out when the stream began may be true no longer.
	Authenticate(r *http.Request) (Caller, error)
}

// Caller is who makes a request.
type Caller struct {
	// UserID names the caller in the log.
	UserID string
	// MayManage says that the caller may create, update and delete: that
	// they have the permission manage-user-status, in Rocket.Chat's words.
	// Everyone who is logged in may list and follow the stream.
	MayManage bool
}

// ErrUnauthenticated is an [Authenticator]'s answer to a request of nobody it
// knows.
var ErrUnauthenticated = errors.New("not logged in")

// AuthenticatorFunc is a function as an [Authenticator].
type AuthenticatorFunc func(r *http.Request) (Caller, error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(r *http.Request) (Caller, error) { return f(r) }

// HeaderAuth returns an [Authenticator] for Rocket.Chat's two headers. It calls
// login with the values of X-User-Id and X-Auth-Token, neither of them empty. Both
// come from the client: any bytes that a header can have. A request that doesn't
// have each of them exactly once is [ErrUnauthenticated].
func HeaderAuth(login func(ctx context.Context, userID, authToken string) (Caller, error)) Authenticator {
	if login == nil {
		panic("httpadapter: HeaderAuth needs a function")
	}
	return AuthenticatorFunc(func(r *http.Request) (Caller, error) {
		userID, ok := single(r.Header, "X-User-Id")
		if !ok {
			return Caller{}, ErrUnauthenticated
		}
		authToken, ok := single(r.Header, "X-Auth-Token")
		if !ok {
			return Caller{}, ErrUnauthenticated
		}
		return login(r.Context(), userID, authToken)
	})
}

// single returns the value of a header that must not be missing, empty or
// repeated: of two values, a proxy may have checked the other one.
func single(header http.Header, name string) (string, bool) {
	values := header[name]
	if len(values) != 1 {
		return "", false
	}
	return values[0], values[0] != ""
}

// authenticate finds out who the caller is.
func (x *exchange) authenticate() error {
	caller, err := x.auth.Authenticate(x.r)
	switch {
	case err == nil:
		x.caller = caller
		return nil
	case errors.Is(err, ErrUnauthenticated):
		return ErrUnauthenticated
	}
	// Whatever the host's error wraps, it is none of the catalog's.
	return fmt.Errorf("authenticate: %v", err)
}

// checkOrigin refuses a POST that a page of another origin has a browser send.
// With X-Auth-Token it has passed a preflight; without it, a cookie of the host's
// would let any page write.
func (x *exchange) checkOrigin() error {
	if x.r.Method != http.MethodPost {
		return nil
	}
	if _, sent := x.r.Header["X-Auth-Token"]; !sent && x.origins.Check(x.r) != nil {
		return errCrossOrigin
	}
	return nil
}
