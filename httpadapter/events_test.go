package httpadapter

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// changes returns a commit that creates n statuses.
func changes(revision, n int, metadata string) customstatus.Commit {
	commit := customstatus.Commit{Revision: customstatus.Revision(revision), FingerprintKnown: true}
	for i := range n {
		commit.Changes = append(commit.Changes, customstatus.Change{
			Kind:  customstatus.Created,
			After: customstatus.CustomUserStatus{ID: fmt.Sprint(i), Name: fmt.Sprintf("name %d", i), Metadata: metadata},
		})
	}
	return commit
}

// TestEventsAreEncodedOnce: many calls of encode return the same bytes in memory.
func TestEventsAreEncodedOnce(t *testing.T) {
	h := newHandler(newCatalog(t, 0))
	for _, commit := range []customstatus.Commit{changes(1, 1, ""), changes(2, 3*pieceChanges+7, "")} {
		for from := 0; from < len(commit.Changes); {
			pieces := make([][]byte, 50)
			next := 0
			var wg sync.WaitGroup
			for i := range pieces {
				wg.Go(func() {
					events, behind := h.encode(commit, from)
					pieces[i] = events
					if i == 0 {
						next = behind
					}
				})
			}
			wg.Wait()
			for _, events := range pieces {
				require.Same(t, &pieces[0][0], &events[0])
			}
			require.Equal(t, min(pieceChanges, len(commit.Changes)-from), strings.Count(string(pieces[0]), "event: created\n"))
			require.Equal(t, next == len(commit.Changes), strings.HasSuffix(string(pieces[0]), "\nid: "+commit.Position().String()+"\n\n"))
			require.Equal(t, next == len(commit.Changes), strings.Contains(string(pieces[0]), "\nid: "))
			from = next
		}
	}
}

// keepingWriter takes a stream's events as net/http does, and notes where in memory
// each write began.
type keepingWriter struct {
	discard
	at   []*byte
	sent strings.Builder
}

func (w *keepingWriter) Write(b []byte) (int, error) {
	if len(b) > 0 { // the header comes with nothing
		w.at = append(w.at, &b[0])
	}
	return w.sent.Write(b)
}
func (w *keepingWriter) FlushError() error                { return nil }
func (w *keepingWriter) SetWriteDeadline(time.Time) error { return nil }

// TestStreamsShareTheirEvents: all streams write the very same bytes of a change. A
// stream that encoded for itself would write equal ones from elsewhere in memory.
func TestStreamsShareTheirEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		catalog := newCatalog(t, 0)
		h := newHandler(catalog)
		writers := make([]*keepingWriter, 20)
		var streams sync.WaitGroup
		for i := range writers {
			w := &keepingWriter{discard: discard{make(http.Header)}}
			writers[i] = w
			r := httptest.NewRequest(http.MethodGet, DefaultPrefix+streamPath, nil)
			streams.Go(func() { Recorded{h}.ServeHTTP(w, r) })
		}
		synctest.Wait() // all have said ready
		const commits = 5
		for i := range commits {
			_, err := catalog.Create(t.Context(), customstatus.Fields{Name: fmt.Sprint("name ", i), StatusType: customstatus.Busy})
			require.NoError(t, err)
			synctest.Wait()
		}
		h.EndStreams()
		streams.Wait()
		for _, w := range writers {
			require.Equal(t, commits, strings.Count(w.sent.String(), "event: created\n"), w.sent.String())
			require.Len(t, w.at, 1+commits, "ready, and each commit")
			for i := 1; i <= commits; i++ {
				require.Same(t, writers[0].at[i], w.at[i])
			}
		}
	})
}

// TestEventsOfEqualPositions: two histories can reach one position by different
// changes. Each has its own events.
func TestEventsOfEqualPositions(t *testing.T) {
	h := newHandler(newCatalog(t, 0))
	one, other := changes(1, 1, ""), changes(1, 1, "")
	other.Changes[0].After.Name = "another"
	first, _ := h.encode(one, 0)
	second, _ := h.encode(other, 0)
	require.Equal(t, one.Position(), other.Position())
	require.NotEqual(t, string(first), string(second))
}

// TestEventCacheIsBounded: the cache is bounded in pieces and in bytes, and keeps the
// last piece.
func TestEventCacheIsBounded(t *testing.T) {
	for name, most := range map[string]int{"small": pieceChanges, "large": 8} {
		t.Run(name, func(t *testing.T) {
			metadata := ""
			if name == "large" {
				metadata = strings.Repeat("\x01", customstatus.MaxMetadataBytes)
			}
			h := newHandler(newCatalog(t, 0))
			h.metadata = true
			c := &h.events
			for i := range 3 * maxPieces {
				commit := changes(i, 1+i%most, metadata)
				events, _ := h.encode(commit, 0)
				require.LessOrEqual(t, len(c.order), maxPieces)
				require.Len(t, c.pieces, len(c.order))
				bytes := 0
				for _, p := range c.pieces {
					bytes += len(p.data)
				}
				require.Equal(t, bytes, c.bytes)
				require.LessOrEqual(t, bytes-len(events), maxPieceBytes, "beside the last one")
				again, _ := h.encode(commit, 0)
				require.Same(t, &events[0], &again[0])
			}
		})
	}
}

// TestEventCacheKeepsNoCommit: a commit can be collected while its events are kept.
func TestEventCacheKeepsNoCommit(t *testing.T) {
	h := newHandler(newCatalog(t, 0))
	commit := changes(1, pieceChanges, "")
	first := weak.Make(&commit.Changes[0])
	events, _ := h.encode(commit, 0)
	again, _ := h.encode(commit, 0)
	require.Same(t, &events[0], &again[0])
	commit = customstatus.Commit{}
	for range 10 {
		if first.Value() == nil {
			break
		}
		runtime.GC()
	}
	require.Nil(t, first.Value())
	require.NotEmpty(t, h.events.pieces)
	other := changes(2, 1, "")
	events, _ = h.encode(other, 0)
	require.Contains(t, string(events), "id: "+other.Position().String())
}

// TestEventCacheUnderPressure: streams at different places displace pieces while the
// pieces are being encoded.
func TestEventCacheUnderPressure(t *testing.T) {
	h := newHandler(newCatalog(t, 0))
	commit := changes(1, 2*maxPieces*pieceChanges, "")
	var wg sync.WaitGroup
	for s := range 8 {
		wg.Go(func() {
			for from := s * 50 * pieceChanges; from < len(commit.Changes); {
				events, next := h.encode(commit, from)
				if !strings.HasPrefix(string(events), fmt.Sprintf("event: created\ndata: {\"_id\":\"%d\"", from)) {
					t.Errorf("other events at %d: %.60q", from, events)
				}
				from = next
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, h.events.bytes, maxPieceBytes)
	require.Len(t, h.events.pieces, len(h.events.order))
}
