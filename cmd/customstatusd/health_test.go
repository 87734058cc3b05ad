package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// checkup is the health check of a database whose clock a test sets.
type checkup struct {
	*health
	t     *testing.T
	clock time.Time
}

func newCheckup(t *testing.T, db *localDatabase) *checkup {
	c := &checkup{health: newHealth(db, func() error { return nil }), t: t, clock: time.Unix(1_700_000_000, 0)}
	c.health.now = func() time.Time { return c.clock }
	return c
}

func (c *checkup) pass(d time.Duration) { c.clock = c.clock.Add(d) }

func (c *checkup) ask(method string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	c.wrap(http.NotFoundHandler()).ServeHTTP(rec, httptest.NewRequestWithContext(c.t.Context(), method, healthPath, nil))
	return rec
}

// says requires an answer of the check; "ok" is 200, everything else 503.
func (c *checkup) says(want string) {
	c.t.Helper()
	rec := c.ask(http.MethodGet)
	require.Equal(c.t, `{"status":"`+want+`"}`, rec.Body.String())
	require.Equal(c.t, map[bool]int{true: 200, false: 503}[want == "ok"], rec.Code)
	require.Equal(c.t, "application/json", rec.Header().Get("Content-Type"))
}

// write makes a status and returns the error.
func (c *checkup) write(name string) error {
	metadata := strings.Repeat("m", customstatus.MaxMetadataBytes)
	_, err := c.db.catalog.Create(c.t.Context(), customstatus.Fields{Name: name, StatusType: "busy", Metadata: &metadata})
	return err
}

func TestHealthMethods(t *testing.T) {
	c := newCheckup(t, openTemp(t))
	for method, want := range map[string]struct {
		status int
		body   string
	}{
		http.MethodGet:    {200, `{"status":"ok"}`},
		http.MethodHead:   {200, `{"status":"ok"}`},
		http.MethodDelete: {405, `{"success":false,"error":"Method not allowed"}`},
	} {
		rec := c.ask(method)
		require.Equal(t, want.status, rec.Code, method)
		require.Equal(t, "application/json", rec.Header().Get("Content-Type"))
		require.Equal(t, want.body, rec.Body.String(), method)
	}
	require.Equal(t, "GET, HEAD", c.ask(http.MethodPost).Header().Get("Allow"))
}

// A tokens file that can't be read is a warning: a restart would not help.
func TestHealthWarnsOfTokens(t *testing.T) {
	db := openTemp(t)
	c := newCheckup(t, db)
	c.tokens = func() error { return os.ErrNotExist }
	rec := c.ask(http.MethodGet)
	require.Equal(t, http.StatusOK, rec.Code)
	require.Equal(t, `{"status":"ok","warning":"the tokens file can't be read"}`, rec.Body.String())
	require.NoError(t, db.close())
	rec = c.ask(http.MethodGet)
	require.Equal(t, http.StatusServiceUnavailable, rec.Code)
	require.Equal(t, `{"status":"restart needed","warning":"the tokens file can't be read"}`, rec.Body.String())
}

func TestHealthOfAClosedCatalog(t *testing.T) {
	db := openTemp(t)
	require.NoError(t, db.close())
	newCheckup(t, db).says(restartNeeded)
}

// The file may be brought back, with or without a write meanwhile.
func TestHealthWithoutTheFile(t *testing.T) {
	db := openTemp(t)
	c := newCheckup(t, db)
	elsewhere := db.path + ".moved"
	require.NoError(t, os.Rename(db.path, elsewhere))
	c.says(writesFail)
	require.Error(t, c.write("a"))
	c.pass(time.Hour)
	c.says(writesFail)
	require.NoError(t, os.Rename(elsewhere, db.path))
	c.says("ok")
	require.NoError(t, c.write("a"))
	c.says("ok")
}

// spoil cuts off the end of the file, so that the store must be reopened.
func spoil(t *testing.T, db *localDatabase) (mend func()) {
	t.Helper()
	whole, err := os.ReadFile(db.path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(db.path, 4096))
	_, err = db.store.Load().Revision(t.Context())
	require.Error(t, err)
	_, err = db.store.Load().Revision(t.Context())
	require.ErrorIs(t, err, customstatus.ErrNeedsReopen)
	return func() { require.NoError(t, os.WriteFile(db.path, whole, 0o600)) }
}

// A store that must be reopened is reopened, also if nobody writes. Backups then use
// the new store.
func TestHealthReopens(t *testing.T) {
	db := openTemp(t)
	c := newCheckup(t, db)
	require.NoError(t, c.write("a"))
	before := db.store.Load()
	mend := spoil(t, db)
	c.says(restartNeeded) // the file that is there is damaged
	mend()
	c.says(restartNeeded) // the next attempt is not due
	c.pass(probeEvery)
	c.says("ok")
	require.NotSame(t, before, db.store.Load())
	require.EqualValues(t, 1, db.catalog.Stats().Reopens)

	copied := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, writeFile(copied, false, func(w io.Writer) error { return db.backup(t.Context(), w) }))
	require.Equal(t, map[string]bool{"a": true}, stored(t, copied))
	require.NoError(t, c.write("b"))
}

// A file that has gone is not replaced by an empty one.
func TestReopenOfAFileThatHasGone(t *testing.T) {
	db := openTemp(t)
	c := newCheckup(t, db)
	require.NoError(t, c.write("a"))
	mend := spoil(t, db)
	require.NoError(t, os.Remove(db.path))
	require.ErrorIs(t, c.write("b"), os.ErrNotExist)
	c.says(restartNeeded)
	require.NoFileExists(t, db.path)
	require.Equal(t, 1, db.catalog.Len(), "reads go on")
	mend()
	require.NoError(t, c.write("b"))
	c.says("ok")
	require.Equal(t, 2, db.catalog.Len())
}

// A file can open well and still be damaged: here an older file in its place with one
// wrong byte in a record.
func TestHealthOfAFileThatCantBeRead(t *testing.T) {
	db := openTemp(t)
	c := newCheckup(t, db)
	require.NoError(t, c.write("a"))
	var older bytes.Buffer
	require.NoError(t, db.backup(t.Context(), &older))
	require.NoError(t, c.write("b"))
	damaged := older.Bytes()
	damaged[bytes.Index(damaged, []byte("mmmm"))] = 'n'
	require.NoError(t, os.WriteFile(db.path, damaged, 0o600))
	for range 3 {
		require.ErrorIs(t, c.write("c"), customstatus.ErrNeedsReopen)
		c.says(restartNeeded)
		c.pass(time.Hour)
		c.says(restartNeeded)
	}
	require.Error(t, db.catalog.Stats().CommitError)
	require.Equal(t, 2, db.catalog.Len(), "reads go on")
}

// The result of a probe counts until the next commit fails. The more often probes
// were wrong, the rarer they are.
func TestHealthProbesThatAreWrong(t *testing.T) {
	broken := errors.New("no reason that a probe can find")
	store := &failingStore{Store: customstatus.NewMemoryStore(), err: broken}
	db := openTemp(t) // for the file beside
	file := db.catalog
	var err error
	db.catalog, err = customstatus.Open(t.Context(), store, &customstatus.Options{Logger: discard})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })

	c := newCheckup(t, db)
	every := probeEvery
	require.ErrorIs(t, c.write("a"), broken)
	c.says("ok")
	for range 10 {
		require.ErrorIs(t, c.write("a"), broken)
		c.says(writesFail)
		c.pass(every - 1)
		c.says(writesFail)
		c.pass(1)
		c.says("ok")
		every = min(2*every, probeRarely)
	}
	require.Equal(t, probeRarely, every)
	store.err = nil
	require.NoError(t, c.write("a"))
	c.says("ok")
	store.err = broken
	require.ErrorIs(t, c.write("b"), broken)
	c.says(writesFail)
	c.pass(probeRarely)
	c.says("ok")
	require.ErrorIs(t, c.write("b"), broken)
	c.pass(probeEvery)
	c.says("ok") // often again
}

// A write that needs a load first, which fails, counts against a probe as a commit does.
func TestHealthWhileLoadsFail(t *testing.T) {
	store := &failingStore{Store: customstatus.NewMemoryStore(), err: customstatus.ErrOutcomeUnknown}
	db := openTemp(t) // for the file beside
	file := db.catalog
	var err error
	db.catalog, err = customstatus.Open(t.Context(), store, &customstatus.Options{Logger: discard})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	c := newCheckup(t, db)
	require.ErrorIs(t, c.write("a"), customstatus.ErrOutcomeUnknown)
	c.says("ok")
	store.loadErr = errors.New("no reason that a probe can find")
	for range 2 {
		require.ErrorIs(t, c.write("a"), store.loadErr)
		c.says(writesFail)
		c.pass(time.Hour)
		c.says("ok")
	}
	store.err, store.loadErr = nil, nil
	require.NoError(t, c.write("a"))
	c.says("ok")
}

// failingStore refuses commits and loads.
type failingStore struct {
	customstatus.Store
	err     error
	loadErr error
}

func (s *failingStore) Load(ctx context.Context) (customstatus.Contents, error) {
	if s.loadErr != nil {
		return customstatus.Contents{}, s.loadErr
	}
	return s.Store.Load(ctx)
}

func (s *failingStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if s.err != nil {
		return 0, s.err
	}
	return s.Store.Commit(ctx, changes)
}

// discard is a log that nobody reads.
var discard = slog.New(slog.DiscardHandler)

// The check of a server that accepts and never answers says so.
func TestHealthCheckWithoutAnswer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err = new(process).healthCheck(ctx, &serveConfig{addr: ln.Addr().String()})
	require.EqualError(t, err, "the server has not answered in time")
}

// A check may hang, and panic. Nobody waits for one for long.
func TestHealthOfACheckThatHangs(t *testing.T) {
	c := newCheckup(t, openTemp(t))
	require.Equal(t, 3*time.Second, c.health.patience)
	c.health.patience = 20 * time.Millisecond
	release := make(chan struct{})
	c.tokens = func() error {
		<-release
		return nil
	}
	for range 5 {
		require.Equal(t, `{"status":"writes fail"}`, c.ask(http.MethodGet).Body.String())
	}
	close(release)
	c.health.patience = patience
	c.says("ok")
	c.tokens = func() error { panic("tokens") }
	require.PanicsWithValue(t, "tokens", func() { c.ask(http.MethodGet) })
	c.tokens = func() error { return nil }
	c.says("ok")
}
