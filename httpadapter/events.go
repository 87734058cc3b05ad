package httpadapter

import (
	"sync"
	"sync/atomic"
	"weak"

	"github.com/customstatus/customstatus"
)

const (
	// pieceChanges is the greatest number of changes that are encoded together.
	// A commit can be long, and a stream can end within it.
	pieceChanges = 128
	// The last pieces are kept for streams that are about as far: at most
	// maxPieces, and only one once they have more than maxPieceBytes.
	maxPieces     = 256
	maxPieceBytes = 1 << 20
)

// eventCache holds the events of the last commits, encoded once for all streams. A
// stream that is far behind encodes its events again.
//
// The event stream is ours because this cache, positions to resume at and checks of
// logins are most of the stream. A library would save the lines that write the format.
type eventCache struct {
	last   atomic.Pointer[lastPiece]
	mu     sync.Mutex
	pieces map[pieceKey]*piece
	order  []pieceKey // the oldest first
	bytes  int        // of the pieces that are encoded
}

// lastPiece is the piece that was encoded last. Most streams need it, and find it
// without a lock.
type lastPiece struct {
	key  pieceKey
	next int
	data []byte
}

// pieceKey is the first change of a piece. All watchers of a catalog are given
// the same changes, and two histories never share one. It doesn't keep the
// commit in memory.
type pieceKey = weak.Pointer[customstatus.Change]

// piece is encoded by the first stream that needs it. Other streams wait for that.
type piece struct {
	once    sync.Once
	data    []byte
	counted bool // in the cache's bytes; guarded by the cache's lock
}

// encode returns the events of a commit's changes from the index on, and the index of
// the first change that they leave out. The caller must not modify the events.
func (h *Handler) encode(commit customstatus.Commit, from int) (events []byte, next int) {
	first := &commit.Changes[from]
	if last := h.events.last.Load(); last != nil && last.key.Value() == first {
		return last.data, last.next
	}
	next = min(from+pieceChanges, len(commit.Changes))
	key := weak.Make(first)
	p := h.events.piece(key)
	p.once.Do(func() {
		p.data = h.encodePiece(commit, from, next)
		h.events.encoded(key, p)
		h.events.last.Store(&lastPiece{key, next, p.data})
	})
	return p.data, next
}

func (h *Handler) encodePiece(commit customstatus.Commit, from, next int) []byte {
	b := make([]byte, 0, 200*(next-from))
	for i, change := range commit.Changes[from:next] {
		b = append(append(append(b, "event: "...), change.Kind.String()...), "\ndata: "...)
		b = append(h.appendStatus(b, change.Status()), '\n')
		if from+i == len(commit.Changes)-1 {
			b = appendID(b, commit.Position()) // a client that was cut midway gets the whole commit again
		}
		b = append(b, '\n')
	}
	return b
}

// piece returns the piece with the key, encoded or not.
func (c *eventCache) piece(key pieceKey) *piece {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pieces[key]; p != nil {
		return p
	}
	if c.pieces == nil {
		c.pieces = make(map[pieceKey]*piece)
	}
	p := new(piece)
	c.pieces[key] = p
	c.order = append(c.order, key)
	if len(c.order) > maxPieces {
		c.displace()
	}
	return p
}

// encoded counts the bytes of a piece.
func (c *eventCache) encoded(key pieceKey, p *piece) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pieces[key] != p {
		return // displaced meanwhile
	}
	c.bytes += len(p.data)
	p.counted = true
	for c.bytes > maxPieceBytes && len(c.order) > 1 {
		c.displace()
	}
}

// displace forgets the oldest piece.
func (c *eventCache) displace() {
	key := c.order[0]
	if p := c.pieces[key]; p.counted {
		c.bytes -= len(p.data)
	}
	delete(c.pieces, key)
	c.order = c.order[1:]
}

func appendID(b []byte, at customstatus.Position) []byte {
	return append(append(append(b, "id: "...), at.String()...), '\n')
}

// appendPositionEvent appends an event whose data and id are a position.
func appendPositionEvent(b []byte, event string, at customstatus.Position) []byte {
	b = append(append(append(b, "event: "...), event...), "\ndata: {\"position\":\""...)
	b = append(append(b, at.String()...), "\"}\n"...)
	return append(appendID(b, at), '\n')
}
