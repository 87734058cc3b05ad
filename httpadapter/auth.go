package httpadapter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// An Authenticator tells the [Handler] who makes a request. The host implements it.
// It must be safe for concurrent use.
type Authenticator interface {
	// Authenticate returns who makes the request. It may use the headers, the
	// cookies and the context, where middleware may have left the user. It must
	// not read the body. It should compare secrets in constant time.
	//
	// An error that is or wraps [ErrUnauthenticated] is answered 401. Any other
	// error is a failure of the server: it is logged and answered 500. So the
	// error must not contain a secret.
	//
	// While an event stream lives, Authenticate is called again and again with
	// the request that opened the stream. So Authenticate must look the login
	// up: a login that middleware found when the stream began may have ended.
	Authenticate(r *http.Request) (Caller, error)
}

// Caller is who makes a request.
type Caller struct {
	// UserID names the caller in the log. Requests with the same UserID search one
	// at a time. If UserID is empty, searches don't wait for each other.
	UserID string
	// MayManage says that the caller may create, update and delete. Rocket.Chat
	// calls this permission manage-user-status. Everyone who is logged in may
	// list and follow the stream.
	MayManage bool
}

// ErrUnauthenticated is returned by an [Authenticator] when the request has no valid
// login.
var ErrUnauthenticated = errors.New("not logged in")

// AuthenticatorFunc makes an [Authenticator] of a function.
type AuthenticatorFunc func(r *http.Request) (Caller, error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(r *http.Request) (Caller, error) { return f(r) }

// HeaderAuth returns an [Authenticator] that calls login with the values of
// Rocket.Chat's two headers, X-User-Id and X-Auth-Token. A request that lacks a
// header, repeats a header or leaves a header empty is [ErrUnauthenticated], without
// a call. The values come from the client and can be any bytes that a header
// carries. An error of login is treated as an error of Authenticate. HeaderAuth panics
// if login is nil.
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

// single returns the value of a header that must not be missing, empty or repeated.
// Of two values, a proxy may have checked the other one.
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
	// The host's error may wrap one of the catalog's, which refusals would take
	// for the catalog's answer.
	return fmt.Errorf("authenticate: %v", err)
}

// checkOrigin refuses a POST that a browser sends for a page of another origin,
// because the host's cookie would let any page write. A POST with X-Auth-Token has
// passed a preflight.
func (x *exchange) checkOrigin() error {
	if x.r.Method != http.MethodPost {
		return nil
	}
	if _, sent := x.r.Header["X-Auth-Token"]; !sent && x.origins.Check(x.r) != nil {
		return errCrossOrigin
	}
	return nil
}
