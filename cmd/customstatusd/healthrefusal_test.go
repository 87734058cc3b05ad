//go:build !nocluster

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/storetest"
)

// sqlError is an error of PostgreSQL with a code.
type sqlError string

func (e sqlError) Error() string    { return "SQLSTATE " + string(e) }
func (e sqlError) SQLState() string { return string(e) }

// refusingShared is a shared store that can be read and refuses commits.
type refusingShared struct {
	customstatus.SharedStore
	err error
}

func (s *refusingShared) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if s.err != nil {
		return 0, fmt.Errorf("nothing was written: %w", s.err)
	}
	return s.SharedStore.Commit(ctx, changes)
}

// A shared store that answers and refuses to write is no store that writes succeed in.
// When it couldn't be reached, it is enough that it can be again.
func TestHealthOfASharedStoreThatRefuses(t *testing.T) {
	for _, tt := range []struct {
		err     error
		refusal bool
	}{
		{sqlError("53100"), true}, // disk full
		{sqlError("25006"), true}, // read only
		{sqlError("42501"), true}, // no privilege
		{sqlError("57P01"), false},
		{sqlError("08006"), false},
		{sqlError("40001"), false},
		{sqlError("53300"), false}, // too many connections
		{status.Error(codes.ResourceExhausted, "mvcc: database space exceeded"), true},
		{status.Error(codes.PermissionDenied, "permission denied"), true},
		{fmt.Errorf("x: %w", pgstore.ErrNewerFormat), true},
		{fmt.Errorf("x: %w", etcdstore.ErrNewerFormat), true},
		{status.Error(codes.Unavailable, "connection refused"), false},
		{errors.New("connection lost"), false},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			store := &refusingShared{SharedStore: storetest.NewSharedMemory().Open()}
			catalog, err := customstatus.OpenShared(t.Context(), store, &customstatus.Options{Logger: discard})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, catalog.Close()) })
			c := newCheckup(t, &localDatabase{catalog: catalog, shared: store})
			status := func() string { return c.answer().Status }
			require.NoError(t, c.write("a"))
			require.Equal(t, "ok", status())
			store.err = tt.err
			require.ErrorIs(t, c.write("b"), tt.err)
			if tt.refusal {
				require.Equal(t, writesFail, status())
				c.pass(probeRarely - 1)
				require.Equal(t, writesFail, status())
				c.pass(1)
			}
			require.Equal(t, "ok", status(), "a write has to try")
			require.ErrorIs(t, c.write("b"), tt.err)
			require.Equal(t, writesFail, status())
			store.err = errors.New("connection lost")
			require.ErrorIs(t, c.write("b"), store.err)
			c.pass(probeEvery)
			require.Equal(t, "ok", status(), "the store can be reached, as far as is known")
			store.err = nil
			require.NoError(t, c.write("b"))
			require.Equal(t, "ok", status())
		})
	}
}

func TestStoreIsAway(t *testing.T) {
	for _, tt := range []struct {
		err  error
		away bool
	}{
		{sqlError("57P03"), true}, // starting up
		{sqlError("53300"), true},
		{sqlError("08006"), true},
		{sqlError("28P01"), false}, // wrong password
		{sqlError("3D000"), false}, // no such database
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true},
		{&net.DNSError{Err: "no such host"}, true},
		{context.DeadlineExceeded, true},
		{io.ErrUnexpectedEOF, true},
		{status.Error(codes.Unavailable, "connection refused"), true},
		{status.Error(codes.Unauthenticated, "wrong password"), false},
		{fmt.Errorf("x: %w", pgstore.ErrNewerFormat), false},
		{context.Canceled, false},
		{errors.New("listen is true or false"), false},
	} {
		require.Equal(t, tt.away, isAway(fmt.Errorf("open: %w", tt.err)), tt.err)
	}
}
