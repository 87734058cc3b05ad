package main

import (
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// deadlineRecorder takes the deadlines that a stream sets.
type deadlineRecorder struct{ *httptest.ResponseRecorder }

func (deadlineRecorder) SetReadDeadline(time.Time) error  { return nil }
func (deadlineRecorder) SetWriteDeadline(time.Time) error { return nil }

// An event stream ends at the very time at which its session expires.
func TestStreamEndsWhenItsSessionExpires(t *testing.T) {
	dir := t.TempDir()
	made := add(t, filepath.Join(dir, "x.tokens"), "alice")
	log := slog.New(slog.DiscardHandler)
	synctest.Test(t, func(t *testing.T) {
		tokens, err := openTokens(at(filepath.Join(dir, "x.tokens")), log)
		require.NoError(t, err)
		s := openSessions(filepath.Join(dir, "x.db"), time.Minute+3*time.Second, tokens, log)
		catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
		require.NoError(t, err)
		api := httpadapter.New(catalog, s.authenticator(), &httpadapter.Options{Logger: log})
		s.onEnd(api.RecheckLogins)
		id, record := s.begin(made.userID, tokenauth.HashOf(made.token))
		time.Sleep(time.Second)
		s.begin(made.userID, tokenauth.HashOf(made.token))
		r := httptest.NewRequest("GET", streamURL, nil)
		r.Header.Set("Cookie", sessionCookie+"="+id)
		rec := httptest.NewRecorder()
		api.ServeHTTP(deadlineRecorder{rec}, r)
		require.Equal(t, 200, rec.Code)
		require.Equal(t, record.ExpiresAt, time.Now().UTC())
		time.Sleep(2 * time.Minute)
		require.NoError(t, catalog.Close())
	})
}
