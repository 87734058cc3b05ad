//go:build !nocluster

package main

import (
	"errors"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// isRefusal reports whether a shared store has answered that it doesn't write, as when
// its disk is full or the user may only read. A connection that fails is no answer, and a
// server that shuts down or is busy will answer otherwise soon.
func isRefusal(err error) bool {
	if postgres := (interface{ SQLState() string })(nil); errors.As(err, &postgres) {
		code := postgres.SQLState()
		return len(code) == 5 && !slices.Contains([]string{"08", "40", "55", "57"}, code[:2]) && code != "53300"
	}
	switch status.Code(err) {
	case codes.ResourceExhausted, codes.PermissionDenied, codes.Unauthenticated:
		return true
	}
	return false
}
