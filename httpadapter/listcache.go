package httpadapter

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/customstatus/customstatus"
)

const (
	// maxPages is the greatest number of queries whose answers are kept, of one
	// position.
	maxPages = 64
	// maxPageBytes is the size of all kept answers from which on a new answer
	// displaces others. 64 pages of 100 common statuses take about 1 MiB.
	maxPageBytes = 8 << 20
	// maxPageKey is the greatest number of bytes in a query whose answer is kept.
	maxPageKey = 512
)

// listCache holds the answers to queries at the current position. A client that asks
// ever new queries displaces answers at random, which are then encoded again.
type listCache struct {
	pages atomic.Pointer[listPages]
	mu    sync.Mutex // held to replace pages
}

// listPages are the answers at one position, by query. The map never changes.
type listPages struct {
	position customstatus.Position
	byQuery  map[string]*keptPage
}

// keptPage is an answer that the first request for it encodes.
type keptPage struct {
	encode func() (*listPage, error) // once
	size   atomic.Int64              // 0 until then
}

// get returns the function that returns the answer to a query at a position, or nil.
func (c *listCache) get(at customstatus.Position, rawQuery string) func() (*listPage, error) {
	pages := c.pages.Load()
	if pages == nil || pages.position != at {
		return nil
	}
	kept := pages.byQuery[rawQuery]
	if kept == nil {
		return nil
	}
	return kept.encode
}

// keep adds the answer to a query and returns the function that returns the answer. If
// another request has added one meanwhile, keep returns that one.
func (c *listCache) keep(at customstatus.Position, rawQuery string, encode func() (*listPage, error)) func() (*listPage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if page := c.get(at, rawQuery); page != nil {
		return page
	}
	kept := new(keptPage)
	kept.encode = sync.OnceValues(func() (*listPage, error) {
		page, err := encode()
		if err == nil {
			kept.size.Store(int64(len(page.body)))
		}
		if err != nil || page.position != at {
			c.drop(rawQuery, kept) // the catalog has moved on, and may come back to this position
		}
		return page, err
	})
	next := &listPages{position: at, byQuery: make(map[string]*keptPage)}
	if pages := c.pages.Load(); pages != nil && pages.position == at {
		next.byQuery = maps.Clone(pages.byQuery)
	}
	next.displace()
	next.byQuery[strings.Clone(rawQuery)] = kept // not the whole request line
	c.pages.Store(next)
	return kept.encode
}

// displace makes room for one more answer.
func (p *listPages) displace() {
	var size int64
	for _, kept := range p.byQuery {
		size += kept.size.Load()
	}
	for query, kept := range p.byQuery {
		if len(p.byQuery) < maxPages && size < maxPageBytes {
			return
		}
		size -= kept.size.Load()
		delete(p.byQuery, query)
	}
}

// drop forgets an answer.
func (c *listCache) drop(rawQuery string, kept *keptPage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pages := c.pages.Load()
	if pages.byQuery[rawQuery] != kept {
		return
	}
	next := &listPages{position: pages.position, byQuery: maps.Clone(pages.byQuery)}
	delete(next.byQuery, rawQuery)
	c.pages.Store(next)
}
