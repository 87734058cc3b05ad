package httpadapter

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all turns
		var searching sync.Map // caller → true
		var done sync.WaitGroup
		for i := range 40 {
			caller := fmt.Sprint("caller ", i%4)
			done.Go(func() {
				end, err := all.take(t.Context(), caller)
				if err != nil {
					t.Error(err)
					return
				}
				if _, twice := searching.LoadOrStore(caller, true); twice {
					t.Error(caller, "searches twice at once")
				}
				time.Sleep(time.Second)
				searching.Delete(caller)
				end()
			})
		}
		start := time.Now()
		done.Wait()
		require.Equal(t, 10*time.Second, time.Since(start), "callers wait for each other")
		require.Empty(t, all.callers)
	})
}

func TestTurnsEndWithTheContext(t *testing.T) {
	var all turns
	end, err := all.take(t.Context(), "a")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = all.take(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	end()
	end, err = all.take(t.Context(), "a")
	require.NoError(t, err, "who gave up still has the turn")
	end()
	require.Empty(t, all.callers)
}

// While a caller searches, their other searches wait, and nothing else does.
func TestSearchesOfACallerWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
		require.NoError(t, err)
		defer catalog.Close()
		h := New(catalog, AuthenticatorFunc(func(r *http.Request) (Caller, error) {
			return Caller{UserID: r.Header.Get("X-User-Id")}, nil
		}), nil)
		end, err := h.turns.take(t.Context(), "alice")
		require.NoError(t, err)
		defer end()

		for query, search := range map[string]bool{
			"":                   false,
			"?count=10&offset=5": false,
			"?sort=" + url.QueryEscape(`{"name":-1}`): false,
			"?_id=1": false,
			"?query=" + url.QueryEscape(`{"name":"exact"}`): false,
			"?name=part": true,
			"?sort=" + url.QueryEscape(`{"_updatedAt":1}`):         true,
			"?name=x&sort=" + url.QueryEscape(`{"name":1}`):        true,
			"?_id=1&sort=" + url.QueryEscape(`{"_id":1}`):          false,
			"?name=part&fields=" + strings.Repeat("x", maxPageKey): true, // too long to be kept
		} {
			for _, caller := range []string{"alice", "bob"} {
				ctx, cancel := context.WithCancel(t.Context())
				r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/custom-user-status.list"+query, nil)
				r.Header.Set("X-User-Id", caller)
				w := httptest.NewRecorder()
				answered := make(chan struct{})
				go func() {
					defer close(answered)
					Recorded{h}.ServeHTTP(w, r)
				}()
				if search && caller == "alice" {
					synctest.Wait()
					require.True(t, h.turns.waiting("alice"), query)
					cancel()
					<-answered
				} else {
					<-answered
					require.Equal(t, http.StatusOK, w.Code, "%s by %s: %s", query, caller, w.Body)
				}
				cancel()
			}
		}
	})
}

// TestSearchesHaveTheirTurnToTheEnd: while one search of a caller runs, another one waits,
// and it waits no longer.
func TestSearchesHaveTheirTurnToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler(newCatalog(t, 3))
		search := func(query string) (answered chan int) {
			answered = make(chan int, 1)
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/custom-user-status.list?"+query, nil)
			go func() {
				Recorded{h}.ServeHTTP(w, r)
				answered <- w.Code
			}()
			synctest.Wait()
			return answered
		}

		// The first search waits for its turn, and then finds that its page is being
		// encoded, for as long as the test says.
		end, err := h.turns.take(t.Context(), "u")
		require.NoError(t, err)
		first := search("name=1")
		encode := make(chan struct{})
		release := sync.OnceFunc(func() { close(encode) })
		defer release()
		h.lists.keep(h.catalog.Position(), "name=1", func() (*listPage, error) {
			<-encode
			return h.encodeList(customstatus.Query{NameContains: "1"})
		})
		end()
		synctest.Wait()
		require.Empty(t, first)

		second := search("name=2")
		require.Empty(t, second, "a search that another one doesn't wait for")
		require.True(t, h.turns.waiting("u"))
		release()
		require.Equal(t, http.StatusOK, <-first)
		require.Equal(t, http.StatusOK, <-second)
		synctest.Wait()
		require.Empty(t, h.turns.callers)
	})
}

// TestSearchesWithoutAUserDontWait: requests without a UserID are not those of one user.
func TestSearchesWithoutAUserDontWait(t *testing.T) {
	h := New(newCatalog(t, 1), AuthenticatorFunc(func(*http.Request) (Caller, error) { return Caller{}, nil }), nil)
	end, err := h.turns.take(t.Context(), "")
	require.NoError(t, err)
	defer end()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // who waits for a turn fails at once
	w := httptest.NewRecorder()
	Recorded{h}.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/custom-user-status.list?name=name", nil))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
}

// waiting reports whether a search of the caller waits for another.
func (t *turns) waiting(caller string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.callers[caller] != nil && t.callers[caller].callers > 1
}
