//go:build unix

package main

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A pipe in the place of the sessions file holds up no start and no sign-in.
func TestSessionsFileIsAPipe(t *testing.T) {
	s, made := newSite(t, (*httptest.Server).Start)
	require.NoError(t, syscall.Mkfifo(s.sessions.path, 0o600))
	var log bytes.Buffer
	opened := openSessions(filepath.Join(s.dir, "x.db"), time.Hour, s.tokens, slog.New(slog.NewTextHandler(&log, nil)))
	require.Empty(t, opened.records)
	require.Contains(t, log.String(), "x.sessions: not a regular file")
	cookie := s.signIn(made)
	require.Contains(t, s.log.String(), "x.sessions is in the way: it is not a regular file")
	require.Equal(t, 200, s.do("GET", listURL, "", "Cookie", cookie).status)
}
