package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
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

// A server that is frozen keeps the lock, and will save what it has read. Nobody waits for
// it for long, and nothing is saved that it would undo.
func TestSharedSessionsLockedForLong(t *testing.T) {
	dir := t.TempDir()
	var said strings.Builder
	log := slog.New(slog.NewTextHandler(&said, nil))
	made := add(t, filepath.Join(dir, "x.tokens"), "alice")
	tokens, err := openTokens(at(filepath.Join(dir, "x.tokens")), log)
	require.NoError(t, err)
	s := openSessions(filepath.Join(dir, "x"), time.Hour, tokens, log)
	s.shared = true
	s.onEnd(func() {})
	begin := func() string {
		id, _ := s.begin(made.userID, tokenauth.HashOf(made.token))
		return id
	}
	first := begin()
	before, err := os.ReadFile(s.path)
	require.NoError(t, err)

	lock, err := lockTokens(place{given: s.path, path: s.path, database: s.database})
	require.NoError(t, err)
	goroutines := runtime.NumGoroutine()
	s.patience = 20 * time.Millisecond
	for range 5 {
		id := begin()
		_, _, err := s.find(id)
		require.NoError(t, err)
		s.patience = time.Hour // while one waits, nobody else does
	}
	require.ErrorIs(t, s.end(first), errSessionsLocked)
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines+1)
	after, err := os.ReadFile(s.path)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, 5, strings.Count(said.String(), errSessionsLocked.Error()))

	require.NoError(t, lock.Close())
	require.Eventually(t, func() bool { return len(s.locking) == 0 }, patience, time.Millisecond)
	id := begin()
	_, _, err = s.find(id)
	require.NoError(t, err)
	require.NoError(t, s.end(id))
	require.Equal(t, 5, strings.Count(said.String(), errSessionsLocked.Error()))
}
