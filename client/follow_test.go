package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/client"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/internal/faultproxy"
	"github.com/customstatus/customstatus/internal/pipenet"
)

// mirror is what a caller of Follow keeps.
type mirror struct {
	mu       sync.Mutex
	statuses map[string]customstatus.CustomUserStatus
	position customstatus.Position
	resets   int
	err      error
}

func (m *mirror) apply(u customstatus.Update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u.Reset {
		m.resets++
		m.statuses = make(map[string]customstatus.CustomUserStatus)
		for _, s := range u.Statuses {
			m.statuses[s.ID] = s
		}
	}
	for _, c := range u.Changes {
		if c.Kind == customstatus.Deleted {
			delete(m.statuses, c.ID())
		} else {
			m.statuses[c.ID()] = c.After
		}
	}
	m.position = u.Position
}

func (m *mirror) follow(ctx context.Context, c *client.Client, after customstatus.Position) {
	for u, err := range c.Follow(ctx, after) {
		if err != nil {
			m.err = err
			return
		}
		m.apply(u)
	}
}

// is reports whether the mirror is equal to the catalog.
func (m *mirror) is(catalog *customstatus.Catalog) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for s, err := range catalog.All() {
		s.Revision = 0
		if err != nil || m.statuses[s.ID] != s {
			return false
		}
		n++
	}
	return n == len(m.statuses)
}

func change(t testing.TB, catalog *customstatus.Catalog, random *rand.Rand) {
	page, err := catalog.List(customstatus.Query{})
	require.NoError(t, err)
	f := customstatus.Fields{Name: fmt.Sprint("name ", random.Uint64()), StatusType: customstatus.Busy}
	switch kind := random.IntN(4); {
	case kind < 2 || len(page.Statuses) == 0:
		_, err = catalog.Create(t.Context(), f)
	case kind == 2:
		_, err = catalog.Update(t.Context(), page.Statuses[random.IntN(len(page.Statuses))].ID, f, nil)
	default:
		_, err = catalog.Delete(t.Context(), page.Statuses[random.IntN(len(page.Statuses))].ID, nil)
	}
	require.NoError(t, err)
}

// TestFollowThroughFaults: whatever happens to the connections and the server, the
// copy is equal to the catalog in the end.
func TestFollowThroughFaults(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	catalog := newCatalog(t)
	opts := httpadapter.Options{MaxCount: 7} // so that a list takes several answers
	var server swap
	handler := newHandler(t, catalog, opts)
	server.set(handler)
	url := serve(t, &server)
	proxy, err := faultproxy.New(strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, proxy.Close()) })
	var retries atomic.Int64
	c := quick(t, "http://"+proxy.Addr(), client.Options{
		HTTPClient:    &http.Client{Transport: new(http.Transport)},
		StreamSilence: 200 * time.Millisecond,
		OnRetry:       func(error, time.Duration) { retries.Add(1) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var m mirror
	ended := make(chan struct{})
	go func() { defer close(ended); m.follow(ctx, c, customstatus.Position{}) }()
	for round := range 30 {
		for range 1 + random.IntN(5) {
			change(t, catalog, random)
		}
		switch random.IntN(6) {
		case 0: // a new process with the same catalog
			handler.EndStreams()
			handler = newHandler(t, catalog, opts)
			server.set(handler)
		case 1: // a server with another catalog, as from a backup
			catalog = newCatalog(t)
			for range random.IntN(20) {
				change(t, catalog, random)
			}
			old := handler
			handler = newHandler(t, catalog, opts)
			server.set(handler)
			old.EndStreams()
		case 2: // cut within an event
			proxy.Set(faultproxy.ToClient, faultproxy.Rule{Action: faultproxy.Cut, After: random.IntN(600), Once: true})
		case 3: // a server that fails
			h, _ := answers(503, "<html>")
			server.set(h)
			handler.EndStreams()
			handler = newHandler(t, catalog, opts)
			change(t, catalog, random)
			server.set(handler)
		case 4:
			proxy.Set(faultproxy.ToClient, faultproxy.Rule{Action: faultproxy.Freeze, After: random.IntN(300), Once: true})
		}
		change(t, catalog, random)
		require.Eventually(t, func() bool { return m.is(catalog) }, 30*time.Second, time.Millisecond, "round %d", round)
	}
	cancel()
	<-ended
	require.ErrorIs(t, m.err, context.Canceled)
	require.Greater(t, m.resets, 1)
	require.Positive(t, retries.Load())
}

func TestFollowResumes(t *testing.T) {
	catalog := newCatalog(t)
	c := quick(t, serve(t, newHandler(t, catalog, httpadapter.Options{})), client.Options{})
	random := rand.New(rand.NewPCG(3, 4))
	change(t, catalog, random)
	start := catalog.Position()
	change(t, catalog, random)
	want := catalog.Position()
	for u, err := range c.Follow(t.Context(), start) {
		require.NoError(t, err)
		require.False(t, u.Reset)
		require.Len(t, u.Changes, 1)
		require.Equal(t, want, u.Position)
		break
	}
	for commit, err := range c.Watch(t.Context(), customstatus.Position{Revision: 99, Fingerprint: 99}) {
		require.Empty(t, commit)
		require.ErrorIs(t, err, customstatus.ErrCompacted)
	}
}

// TestIdleStreamStays: heartbeats keep a stream, however long nothing changes.
func TestIdleStreamStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		catalog := newCatalog(t)
		listener := pipenet.Listen()
		h := newHandler(t, catalog, httpadapter.Options{MaxStreamTime: -1})
		server := &http.Server{Handler: h}
		go func() { _ = server.Serve(listener) }()
		defer server.Close()
		transport := &http.Transport{DialContext: listener.Dial}
		defer transport.CloseIdleConnections()
		retries := 0
		c, err := client.New("http://x", &client.Options{Credentials: reader, HTTPClient: &http.Client{Transport: transport, Timeout: time.Minute},
			OnRetry: func(error, time.Duration) { retries++ }})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var m mirror
		ended := make(chan struct{})
		go func() { defer close(ended); m.follow(ctx, c, customstatus.Position{}) }()
		time.Sleep(time.Hour)
		change(t, catalog, rand.New(rand.NewPCG(1, 1)))
		synctest.Wait()
		require.True(t, m.is(catalog))
		require.Zero(t, retries)
		cancel()
		<-ended
		require.ErrorIs(t, m.err, context.Canceled)
		h.EndStreams()
	})
}

// chat answers as Rocket.Chat does. It has no event stream and no positions.
type chat struct {
	mu       sync.Mutex
	statuses []map[string]any
	old      bool // a version that knows query, and neither name nor _id
	none     bool // to it, count=0 is none
	lists    int
	onList   func() // called after each list
}

func (s *chat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if r.URL.Path != "/api/v1/custom-user-status.list" {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"success":false,"error":"API endpoint not found"}`))
		return
	}
	q := r.URL.Query()
	id, name := q.Get("_id"), strings.ToLower(q.Get("name"))
	if s.old {
		id, name = "", ""
		var filter struct {
			ID   string `json:"_id"`
			Name struct {
				Regex string `json:"$regex"`
			} `json:"name"`
		}
		_ = json.Unmarshal([]byte(q.Get("query")), &filter)
		id, name = filter.ID, strings.ToLower(strings.ReplaceAll(filter.Name.Regex, `\`, ""))
	}
	var found []map[string]any
	for _, status := range s.statuses {
		if (id == "" || status["_id"] == id) && strings.Contains(strings.ToLower(status["name"].(string)), name) {
			found = append(found, status)
		}
	}
	slices.SortFunc(found, func(a, b map[string]any) int { return strings.Compare(a["_id"].(string), b["_id"].(string)) })
	total := len(found)
	offset, _ := strconv.Atoi(q.Get("offset"))
	found = found[min(offset, total):]
	if count, _ := strconv.Atoi(q.Get("count")); count > 0 || s.none {
		found = found[:min(count, 3, len(found))]
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"success": true, "statuses": append([]map[string]any{}, found...), "count": len(found), "offset": offset, "total": total})
	s.lists++
	if s.onList != nil {
		s.onList()
	}
}

func status(id, name string) map[string]any {
	return map[string]any{"_id": id, "name": name, "statusType": "", "_updatedAt": "2023-11-04T11:51:28.35371Z", "unknown": []int{1}}
}

func TestRocketChat(t *testing.T) {
	for name, server := range map[string]*chat{"new": {}, "old": {old: true}, "count=0 is none": {none: true}} {
		t.Run(name, func(t *testing.T) {
			for i := range 9 {
				server.statuses = append(server.statuses, status(fmt.Sprint("id", i), fmt.Sprint("Name.", i%5)))
			}
			c := quick(t, serve(t, server), client.Options{Retries: -1})
			s, err := c.Get(t.Context(), "id7")
			require.NoError(t, err)
			require.Equal(t, customstatus.CustomUserStatus{ID: "id7", Name: "Name.2", UpdatedAt: time.Date(2023, 11, 4, 11, 51, 28, 353e6, time.UTC)}, s)
			_, err = c.Get(t.Context(), "id")
			require.ErrorIs(t, err, customstatus.ErrNotFound)
			var ids []string
			for s, err := range c.All(t.Context(), client.Query{NameContains: "NAME.", Sort: []customstatus.SortKey{
				{Field: customstatus.SortByStatusType}, {Field: customstatus.SortByUpdatedAt}, {Field: customstatus.SortByName, Descending: true}, {Field: customstatus.SortByID}}, Offset: 1, Limit: 4}) {
				require.NoError(t, err)
				ids = append(ids, s.ID)
			}
			require.Equal(t, []string{"id3", "id8", "id2", "id7"}, ids)
		})
	}
}

// TestAllWhileItChanges: no status that stays is missed or yielded twice.
func TestAllWhileItChanges(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		server := &chat{none: true}
		for i := range 20 {
			server.statuses = append(server.statuses, status(fmt.Sprintf("%02d", i), "keep"))
			server.statuses = append(server.statuses, status(fmt.Sprintf("%02dx", i), "go"))
		}
		made := 0
		server.onList = func() {
			if server.lists > 60 {
				return
			}
			for range random.IntN(4) {
				if i := random.IntN(len(server.statuses)); server.statuses[i]["name"] == "go" {
					server.statuses = slices.Delete(server.statuses, i, i+1)
				}
			}
			if random.IntN(3) == 0 {
				made++
				server.statuses = append(server.statuses, status(fmt.Sprintf("%02dy%d", random.IntN(20), made), "go"))
			}
		}
		recorder := roundTripper(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			server.ServeHTTP(w, r)
			return w.Result(), nil
		})
		c, err := client.New("http://x", &client.Options{HTTPClient: &http.Client{Transport: recorder}})
		require.NoError(t, err)
		seen := make(map[string]int)
		kept := 0
		for s, err := range c.All(t.Context(), client.Query{}) {
			require.NoError(t, err)
			seen[s.ID]++
			require.Equal(t, 1, seen[s.ID])
			if s.Name == "keep" {
				kept++
			}
		}
		require.Equal(t, 20, kept, "seed %d", seed)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestFollowPolls(t *testing.T) {
	server := &chat{statuses: []map[string]any{status("a", "A"), status("b", "B")}}
	url := serve(t, server)
	c := quick(t, url, client.Options{PollInterval: time.Millisecond})
	step := 0
	for u, err := range c.Follow(t.Context(), customstatus.Position{Revision: 7}) {
		require.NoError(t, err)
		require.Zero(t, u.Position)
		step++
		if step == 1 {
			require.True(t, u.Reset)
			require.Len(t, u.Statuses, 2)
			server.mu.Lock()
			server.statuses = []map[string]any{status("a", "new"), status("c", "C")}
			server.mu.Unlock()
			continue
		}
		require.False(t, u.Reset)
		var kinds []string
		for _, c := range u.Changes {
			kinds = append(kinds, c.Kind.String()+" "+c.ID()+" "+c.Before.Name)
		}
		require.Equal(t, []string{"deleted b B", "updated a A", "created c "}, kinds)
		break
	}

	c = quick(t, url, client.Options{PollInterval: -1})
	for _, err := range c.Follow(t.Context(), customstatus.Position{Revision: 7}) {
		require.ErrorIs(t, err, errors.ErrUnsupported)
	}
}

// TestPolledChangesKeepNamesUnique: whoever applies one change after the other never has
// two statuses with one name, as with the changes of a commit.
func TestPolledChangesKeepNamesUnique(t *testing.T) {
	server := &chat{statuses: []map[string]any{status("a", "A"), status("b", "B"), status("c", "C"), status("d", "D"), status("e", "E")}}
	c := quick(t, serve(t, server), client.Options{PollInterval: time.Millisecond})
	ids, names := make(map[string]string), make(map[string]string)
	for u, err := range c.Follow(t.Context(), customstatus.Position{}) {
		require.NoError(t, err)
		for _, s := range u.Statuses {
			ids[s.Name], names[s.ID] = s.ID, s.Name
		}
		for _, c := range u.Changes {
			delete(ids, names[c.ID()])
			if c.Kind == customstatus.Deleted {
				continue
			}
			require.Empty(t, ids[c.After.Name], "%s takes a name too early", c.ID())
			ids[c.After.Name], names[c.ID()] = c.ID(), c.After.Name
		}
		if !u.Reset {
			break
		}
		server.mu.Lock()
		server.statuses = []map[string]any{status("a", "B"), status("b", "C"), status("c", "D"), status("f", "A"), status("g", "E")}
		server.mu.Unlock()
	}
	require.Equal(t, map[string]string{"B": "a", "C": "b", "D": "c", "A": "f", "E": "g"}, ids)

	// A ring can have no such order, and is told all the same.
	updates := 0
	for u, err := range c.Follow(t.Context(), customstatus.Position{}) {
		require.NoError(t, err)
		if updates = len(u.Changes); !u.Reset {
			break
		}
		server.mu.Lock()
		server.statuses[0]["name"], server.statuses[1]["name"] = "C", "B"
		server.mu.Unlock()
	}
	require.Equal(t, 2, updates)
}

// TestServerThatNeverResumes: a server that resets every stream, such as two of different
// catalogs behind one address, is not asked again without a wait.
func TestServerThatNeverResumes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reset := "event: ready\ndata: {}\nid: 1-00000000000000aa\n\nevent: reset\ndata: {}\nid: 9-00000000000000bb\n\n"
	list, lists := answers(200, `{"success":true,"statuses":[],"total":0}`, "X-Catalog-Position", "1-00000000000000aa")
	stream, _ := answers(200, reset, "Content-Type", "text/event-stream")
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "stream") {
			stream(w, r)
		} else {
			list(w, r)
		}
		if lists.Load() > 20 {
			cancel()
		}
	}))
	var waits []time.Duration
	c := quick(t, url, client.Options{MaxWait: 8 * time.Millisecond, Random: func() uint64 { return 0 }, OnRetry: func(err error, wait time.Duration) {
		require.ErrorIs(t, err, customstatus.ErrCompacted)
		if waits = append(waits, wait); len(waits) == 4 {
			cancel()
		}
	}})
	var m mirror
	m.follow(ctx, c, customstatus.Position{})
	require.ErrorIs(t, m.err, context.Canceled)
	require.Equal(t, 4, m.resets)
	require.EqualValues(t, 4, lists.Load())
	require.Len(t, waits, 4)
}

// TestPagesWithoutStatuses: a list that says it has statuses and gives none is no answer.
func TestPagesWithoutStatuses(t *testing.T) {
	h, _ := answers(200, `{"success":true,"statuses":[],"total":5}`)
	for s, err := range quick(t, serve(t, h), client.Options{}).All(t.Context(), client.Query{}) {
		require.Zero(t, s)
		require.ErrorIs(t, err, client.ErrUnexpectedAnswer)
	}
}

// TestWatchYieldsOnce: what came before a break doesn't come again.
func TestWatchYieldsOnce(t *testing.T) {
	catalog := newCatalog(t)
	var server swap
	handler := newHandler(t, catalog, httpadapter.Options{})
	server.set(handler)
	c := quick(t, serve(t, &server), client.Options{})
	random := rand.New(rand.NewPCG(5, 6))
	change(t, catalog, random)
	next := catalog.Revision() + 1
	after := catalog.Position()
	change(t, catalog, random)
	for commit, err := range c.Watch(t.Context(), after) {
		require.NoError(t, err)
		require.Equal(t, next, commit.Revision)
		if next++; next > 6 {
			break
		}
		handler.EndStreams()
		handler = newHandler(t, catalog, httpadapter.Options{})
		server.set(handler)
		change(t, catalog, random)
	}
}
