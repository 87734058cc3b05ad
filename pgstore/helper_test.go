package pgstore_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/faultproxy"
	"github.com/customstatus/customstatus/pgstore"
	"github.com/customstatus/customstatus/pgstore/pgtest"
)

// patience bounds waits that would otherwise hang.
const patience = 30 * time.Second

// open opens a store, which the test closes.
func open(t *testing.T, dsn string, opts pgstore.Options) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), dsn, &opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// through returns a proxy to a server, and the connection string that goes through
// it.
func through(t *testing.T, server *pgtest.Server, database string) (*faultproxy.Proxy, string) {
	t.Helper()
	p, err := faultproxy.New(server.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p, strings.Replace(server.DSN(database), server.Addr(), p.Addr(), 1)
}

var someTime = time.Date(2026, time.November, 27, 1, 2, 3, 4_000_000, time.UTC)

func create(id, name string) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Created, After: customstatus.CustomUserStatus{ID: id, Name: name, StatusType: customstatus.Busy, UpdatedAt: someTime}}
}

func rename(before customstatus.CustomUserStatus, name string) customstatus.Change {
	after := before
	after.Name = name
	return customstatus.Change{Kind: customstatus.Updated, Before: before, After: after}
}

func remove(before customstatus.CustomUserStatus) customstatus.Change {
	return customstatus.Change{Kind: customstatus.Deleted, Before: before}
}

func commit(t *testing.T, s customstatus.Store, changes ...customstatus.Change) customstatus.Revision {
	t.Helper()
	r, err := s.Commit(t.Context(), changes)
	require.NoError(t, err)
	return r
}

func load(t *testing.T, s customstatus.Store) customstatus.Contents {
	t.Helper()
	all, err := s.Load(t.Context())
	require.NoError(t, err)
	return all
}

// names returns the names in a store and the store's revision.
func names(t *testing.T, s customstatus.Store) (names []string, revision customstatus.Revision) {
	t.Helper()
	all := load(t, s)
	for _, status := range all.Statuses {
		names = append(names, status.Name)
	}
	return names, all.Revision
}

// holds requires the names in a store, and the revision.
func holds(t *testing.T, s customstatus.Store, revision customstatus.Revision, want ...string) {
	t.Helper()
	got, r := names(t, s)
	require.ElementsMatch(t, want, got)
	require.Equal(t, revision, r)
}

// works requires that a store commits, loads and watches.
func works(t *testing.T, s customstatus.SharedStore) {
	t.Helper()
	before := load(t, s)
	made := create(fmt.Sprint("works ", before.Revision), fmt.Sprint("works ", before.Revision))
	r := commit(t, s, made)
	require.Greater(t, r, before.Revision)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for c, err := range s.Watch(ctx, before.Revision) {
		require.NoError(t, err)
		if len(c.Changes) > 0 {
			require.Equal(t, r, c.Revision)
			break
		}
	}
	all := load(t, s)
	for _, status := range all.Statuses {
		if status.ID == made.After.ID {
			r = commit(t, s, remove(status))
		}
	}
	after := load(t, s)
	require.Equal(t, r, after.Revision)
	require.ElementsMatch(t, before.Statuses, after.Statuses)
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("Waited in vain: %s", what)
		}
	}
}

// logbook collects what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// follow watches a store and returns how the feed goes.
func follow(t *testing.T, s customstatus.SharedStore, after customstatus.Revision) *followed {
	t.Helper()
	f := &followed{ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(f.ended)
		for c, err := range s.Watch(ctx, after) {
			f.mu.Lock()
			f.begun = true
			f.err = err
			if len(c.Changes) > 0 {
				f.commits = append(f.commits, c)
			}
			f.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-f.ended
	})
	eventually(t, "the feed begins", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.begun
	})
	return f
}

type followed struct {
	mu      sync.Mutex
	begun   bool
	commits []customstatus.Commit
	err     error
	ended   chan struct{}
}

// reaches waits until the feed has yielded a commit of a revision.
func (f *followed) reaches(t *testing.T, r customstatus.Revision) {
	t.Helper()
	eventually(t, fmt.Sprint("the feed reaches revision ", r), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		require.NoError(t, f.err)
		return len(f.commits) > 0 && f.commits[len(f.commits)-1].Revision >= r
	})
}

// ends waits for the end of the feed and returns the error.
func (f *followed) ends(t *testing.T) error {
	t.Helper()
	select {
	case <-f.ended:
	case <-time.After(patience):
		t.Fatal("the feed does not end")
	}
	return f.err
}

// hosts returns a connection string with the addresses of several servers.
func hosts(database string, servers ...*pgtest.Server) string {
	var addresses []string
	for _, s := range servers {
		addresses = append(addresses, s.Addr())
	}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: database, Host: strings.Join(addresses, ","), RawQuery: "sslmode=disable&connect_timeout=2"}
	return u.String()
}
