package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// Servers that share a sessions file know each other's sessions: a load balancer sends a
// browser to any of them.
func TestSharedSessions(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	made := add(t, filepath.Join(dir, "x.tokens"), "alice")
	clock := time.Now()
	open := func() *sessions {
		tokens, err := openTokens(at(filepath.Join(dir, "x.tokens")), log)
		require.NoError(t, err)
		s := openSessions(filepath.Join(dir, "x"), time.Hour, tokens, log)
		s.shared, s.now = true, func() time.Time { return clock }
		return s
	}
	a, b := open(), open()
	rechecked := 0
	a.onEnd(func() { rechecked++ })
	b.onEnd(func() {})
	begin := func(s *sessions) string {
		id, _ := s.begin(made.userID, tokenauth.HashOf(made.token))
		return id
	}

	id := begin(a)
	_, _, err := b.find(id)
	require.NoError(t, err, "at once on the other server")
	require.NoError(t, b.end(id))
	before := rechecked
	clock = clock.Add(tokensCheckEvery)
	_, _, err = a.find(id)
	require.Error(t, err, "an end counts on the other server within a second")
	require.Greater(t, rechecked, before, "and ends its streams")

	// A reader that was slow doesn't take away what has begun since.
	slow, err := os.Lstat(a.path)
	require.NoError(t, err)
	records, err := readSessions(a.path, a.database)
	require.NoError(t, err)
	last := a.info
	begin(b)
	id = begin(a)
	a.adopt(records, slow, last)
	require.Contains(t, a.byID, tokenauth.HashOf(id))
	require.Len(t, a.records, 2, "the session of the other server, too")

	// Neither server forgets what the other one has begun meanwhile.
	var mu sync.Mutex
	var ids []string
	var done sync.WaitGroup
	for _, s := range []*sessions{a, b} {
		for range 2 {
			done.Go(func() {
				for range 5 {
					id := begin(s)
					mu.Lock()
					ids = append(ids, id)
					mu.Unlock()
				}
			})
		}
	}
	done.Wait()
	later := open()
	for _, id := range ids {
		_, _, err := later.find(id)
		require.NoError(t, err)
	}
}

// A server that is frozen keeps the lock. Nobody waits for it for long, and it is enough
// that one goroutine does.
func TestSharedSessionsLockedForLong(t *testing.T) {
	dir := t.TempDir()
	log := slog.New(slog.DiscardHandler)
	made := add(t, filepath.Join(dir, "x.tokens"), "alice")
	tokens, err := openTokens(at(filepath.Join(dir, "x.tokens")), log)
	require.NoError(t, err)
	s := openSessions(filepath.Join(dir, "x"), time.Hour, tokens, log)
	s.shared, s.patience = true, 20*time.Millisecond
	lock, err := lockTokens(place{given: s.path, path: s.path, database: s.database})
	require.NoError(t, err)
	begin := func() string {
		id, _ := s.begin(made.userID, tokenauth.HashOf(made.token))
		return id
	}
	before := runtime.NumGoroutine()
	for range 5 {
		_, _, err := s.find(begin())
		require.NoError(t, err)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before+1)
	require.NoError(t, lock.Close())
	s.patience = patience
	id := begin()
	_, _, err = s.find(id)
	require.NoError(t, err)
}
