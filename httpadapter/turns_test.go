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
					h.ServeHTTP(w, r)
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

// waiting reports whether a search of the caller waits for another.
func (t *turns) waiting(caller string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.callers[caller] != nil && t.callers[caller].callers > 1
}
