package pgstore

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// Notifications only wake the feed. Without LISTEN it finds everything, too.
func TestListenIsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, nil)
	dsn := server.DSN(server.NewDatabase())
	opts := &Options{PollInterval: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	s, err := Open(t.Context(), dsn, opts)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	other, err := Open(t.Context(), dsn, opts)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	s.channel = "not-an-identifier"
	begun := false
	for c, err := range s.Watch(t.Context(), 0) {
		require.NoError(t, err)
		if len(c.Changes) > 0 {
			break
		}
		if !begun {
			begun = true
			_, err := other.Commit(t.Context(), []customstatus.Change{{Kind: customstatus.Created,
				After: customstatus.CustomUserStatus{ID: "a", Name: "x", UpdatedAt: time.Now()}}})
			require.NoError(t, err)
		}
	}
}
