//go:build !nocluster

package main

import (
	"errors"
	"io"
	"net"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/customstatus/customstatus/etcdstore"
	"github.com/customstatus/customstatus/pgstore"
)

// isRefusal reports whether a shared store has answered that it doesn't write, as when
// its disk is full, the user may only read, or a newer version has written there. A
// connection that fails is no answer, and a server that shuts down or is busy will answer
// otherwise soon.
func isRefusal(err error) bool {
	if code := sqlState(err); code != "" {
		return len(code) == 5 && !willChange(code)
	}
	switch status.Code(err) {
	case codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated:
		return true
	}
	return errors.Is(err, pgstore.ErrNewerFormat) || errors.Is(err, etcdstore.ErrNewerFormat)
}

// isAway reports whether a shared store could not be reached, or is not ready to answer.
func isAway(err error) bool {
	if code := sqlState(err); code != "" {
		return willChange(code)
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	}
	// A server that ends answers nothing more.
	return errors.As(err, new(net.Error)) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// sqlState returns the code of an answer of PostgreSQL, or "".
func sqlState(err error) string {
	if postgres := (interface{ SQLState() string })(nil); errors.As(err, &postgres) {
		return postgres.SQLState()
	}
	return ""
}

// willChange reports whether an answer of PostgreSQL is for the moment only.
func willChange(code string) bool {
	return len(code) == 5 && slices.Contains([]string{"08", "40", "55", "57"}, code[:2]) || code == "53300"
}
