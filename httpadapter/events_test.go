package httpadapter

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// changes makes a commit of n statuses to be encoded.
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

// TestEventsAreEncodedOnce has many streams encode the same commits.
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

// TestEventsOfEqualPositions: two histories that come to one position by other
// changes have events of their own.
func TestEventsOfEqualPositions(t *testing.T) {
	h := newHandler(newCatalog(t, 0))
	one, other := changes(1, 1, ""), changes(1, 1, "")
	other.Changes[0].After.Name = "another"
	first, _ := h.encode(one, 0)
	second, _ := h.encode(other, 0)
	require.Equal(t, one.Position(), other.Position())
	require.NotEqual(t, string(first), string(second))
}

// TestEventCacheIsBounded, in pieces and in bytes, and knows the last ones.
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

// TestEventCacheUnderPressure has streams that are at different places, so that
// pieces are displaced while they are encoded.
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
