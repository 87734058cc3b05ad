package httpadapter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Authenticator is how a host tells who a caller is. It must be safe for
// concurrent use.
type Authenticator interface {
	// Authenticate returns the caller whose X-User-Id and X-Auth-Token these
	// are, neither of them empty. Both come from the client: any bytes that
	// a header can have. The error is [ErrUnauthenticated], or wraps it, if
	// they are not valid together; any other error is one of the server,
	// which is logged, so it must not hold the token, and answered 500.
	// Compare secrets in constant time, as [Tokens] does.
	Authenticate(ctx context.Context, userID, authToken string) (Caller, error)
}

// Caller is who makes a request.
type Caller struct {
	// UserID names the caller in the log.
	UserID string
	// MayManage says that the caller may create, update and delete: that
	// they have the permission manage-user-status, in Rocket.Chat's words.
	// Everyone who is logged in may list.
	MayManage bool
}

// ErrUnauthenticated is an [Authenticator]'s answer to credentials that are not
// valid.
var ErrUnauthenticated = errors.New("httpadapter: not logged in")

// AuthenticatorFunc is a function as an [Authenticator].
type AuthenticatorFunc func(ctx context.Context, userID, authToken string) (Caller, error)

// Authenticate calls f.
func (f AuthenticatorFunc) Authenticate(ctx context.Context, userID, authToken string) (Caller, error) {
	return f(ctx, userID, authToken)
}

// authenticate finds out who the caller is.
func (x *exchange) authenticate() error {
	userID, ok := single(x.r.Header, "X-User-Id")
	if !ok {
		return ErrUnauthenticated
	}
	authToken, ok := single(x.r.Header, "X-Auth-Token")
	if !ok {
		return ErrUnauthenticated
	}
	caller, err := x.auth.Authenticate(x.r.Context(), userID, authToken)
	switch {
	case err == nil:
		x.caller = caller
		return nil
	case errors.Is(err, ErrUnauthenticated):
		x.slowDown()
		return ErrUnauthenticated
	}
	// Whatever the host's error wraps, it is none of the catalog's.
	return fmt.Errorf("authenticate: %v", err)
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
