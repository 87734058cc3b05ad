package httpadapter_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// errPoolTimeout is an error as a pool of connections has it that has none left.
var errPoolTimeout = fmt.Errorf("no free connection: %w", context.DeadlineExceeded)

// exhausted is a node that can't tell its revision, and counts how often it is
// asked for it.
type exhausted struct {
	*node
	asked atomic.Int64
}

func (n *exhausted) Revision(context.Context) (customstatus.Revision, error) {
	n.asked.Add(1)
	return 0, errPoolTimeout
}

// TestStreamEndsWhenTheStoreTimesOut: a deadline of the store's own is a failure,
// not one of the stream's pauses, after which it would ask again at once.
func TestStreamEndsWhenTheStoreTimesOut(t *testing.T) {
	store := &exhausted{node: newSharedPlace().node()}
	s := newServer(t, setup{shared: store})
	before := store.asked.Load()
	const ahead = "9999-0000000000000001"
	c := s.open("", ahead)
	require.Equal(t, ahead, c.ready())
	require.Nil(t, c.block(), "no heartbeat")
	require.Equal(t, before+1, store.asked.Load())
	require.Len(t, s.log.lines(slog.LevelError), 1)
	require.Contains(t, s.log.String(), errPoolTimeout.Error())
}

// TestStreamOfNoPositionAsksNoStore: anybody can send what is no position, and
// must not have a shared store asked about it.
func TestStreamOfNoPositionAsksNoStore(t *testing.T) {
	store := &exhausted{node: newSharedPlace().node()}
	s := newServer(t, setup{shared: store})
	before := store.asked.Load()
	const nowhere = "18446744073709551615-ffffffffffffffff"
	for _, position := range []string{"junk", nowhere} {
		c := s.open("", position)
		require.Equal(t, nowhere, c.ready())
		require.Equal(t, positionEvent("reset", s.catalog.Position().String()), c.block(), position)
		id := s.create("after " + position)
		require.Contains(t, c.next(), "created ", "it goes on")
		require.Equal(t, id, c.last)
	}
	require.Equal(t, before, store.asked.Load())
}
