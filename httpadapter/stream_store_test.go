package httpadapter_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// errPoolTimeout is the error of a connection pool that has no connection left.
var errPoolTimeout = fmt.Errorf("no free connection: %w", context.DeadlineExceeded)

// exhausted is a node that can't tell its revision until it is mended. It counts the
// calls of Revision.
type exhausted struct {
	*node
	asked  atomic.Int64
	mended atomic.Bool
}

func (n *exhausted) Revision(ctx context.Context) (customstatus.Revision, error) {
	n.asked.Add(1)
	if n.mended.Load() {
		return n.node.Revision(ctx)
	}
	return 0, errPoolTimeout
}

// TestStreamWaitsWhileTheStoreTimesOut: a client comes with a position ahead of this
// server. The stream can't judge the position while the store doesn't answer, so it
// waits. It must not take the store's deadline for its own pause, after which it would
// ask again at once.
func TestStreamWaitsWhileTheStoreTimesOut(t *testing.T) {
	store := &exhausted{node: newSharedPlace().node()}
	s := newServer(t, setup{shared: store})
	before := store.asked.Load()
	const ahead = "9999-0000000000000001"
	c := s.open("", ahead)
	require.Equal(t, ahead, c.ready())
	for store.asked.Load() == before {
		runtime.Gosched()
	}
	store.mended.Store(true)
	require.Equal(t, positionEvent("reset", s.catalog.Position().String()), c.block())
	require.LessOrEqual(t, store.asked.Load(), before+3)
	require.Empty(t, s.log.lines(slog.LevelError))
}

// TestStreamOfNoPositionAsksNoStore: anybody can send text that is no position. The
// stream must not ask a shared store about it.
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
