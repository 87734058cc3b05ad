package host_test

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/host"
)

func TestTry(t *testing.T) {
	var logged bytes.Buffer
	h := &host.Host{Log: slog.New(slog.NewTextHandler(&logged, nil))}
	failure := errors.New("disk full")
	require.NoError(t, h.Try("the store panicked in Load", func() error { return nil }))
	require.Same(t, failure, h.Try("the store panicked in Load", func() error { return failure }))
	require.Empty(t, logged.String())

	err := h.Try("the store panicked in Load", func() error { panic(7) })
	require.EqualError(t, err, "the store panicked in Load: 7")
	panicked := (*host.Panic)(nil)
	require.ErrorAs(t, err, &panicked)
	require.Equal(t, 7, panicked.Value)
	require.Contains(t, logged.String(), `msg="customstatus: the store panicked in Load" panic=7`)
	require.Contains(t, logged.String(), "TestTry", "the stack of the panic")
}

func TestTell(t *testing.T) {
	h := &host.Host{Log: slog.New(slog.DiscardHandler)}
	told := 0
	host.Tell(h, nil, 1)
	host.Tell(h, func(n int) { told = n }, 2)
	require.Equal(t, 2, told)
	host.Tell(h, func(int) { panic("broken observer") }, 3)
}

func TestBrokenClockAndDice(t *testing.T) {
	day := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	h := &host.Host{
		Log:    slog.New(slog.DiscardHandler),
		Clock:  func() time.Time { return day },
		Random: func() uint64 { return 42 },
	}
	require.Equal(t, day, h.Now())
	require.EqualValues(t, 42, h.Draw())

	h.Clock = func() time.Time { panic("broken clock") }
	h.Random = func() uint64 { panic("broken dice") }
	before := time.Now()
	require.False(t, h.Now().Before(before), "the system's clock")
	require.NotEqual(t, h.Draw(), h.Draw(), "another source")
}
