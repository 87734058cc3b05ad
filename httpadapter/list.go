package httpadapter

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/customstatus/customstatus"
)

// list answers with a page that is encoded already, if it can.
func (x *exchange) list() error {
	page, err := x.lists.page(x.catalog, x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	header := x.w.Header()
	for _, f := range page.header {
		header[f.name] = f.values
	}
	header["X-Request-Id"] = []string{x.requestID}
	if holds(x.r.Header["If-None-Match"], page.etag) {
		x.write(http.StatusNotModified, nil)
		return nil
	}
	header["Content-Length"] = page.length
	x.write(http.StatusOK, page.body)
	return nil
}

// holds reports whether an If-None-Match header names the ETag. It may be a
// list, and is compared weakly, as the standard (RFC 9110, 13.1.2) wants it.
func holds(ifNoneMatch []string, etag string) bool {
	for _, line := range ifNoneMatch {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// listPage is the answer to one query at one revision. It never changes, and
// all answers share the values of its header.
type listPage struct {
	body   []byte
	etag   string
	header []headerField
	length []string // the value of Content-Length
}

type headerField struct {
	name   string
	values []string
}

func encodeList(catalog *customstatus.Catalog, q customstatus.Query) (*listPage, error) {
	page, err := catalog.List(q)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, 128+160*len(page.Statuses)), `{"statuses":[`...)
	for i, s := range page.Statuses {
		if i > 0 {
			b = append(b, ',')
		}
		b = s.AppendJSON(b)
	}
	b = strconv.AppendInt(append(b, `],"count":`...), int64(len(page.Statuses)), 10)
	b = strconv.AppendInt(append(b, `,"offset":`...), int64(q.Offset), 10)
	b = strconv.AppendInt(append(b, `,"total":`...), int64(page.Total), 10)
	b = append(b, `,"success":true}`...)

	// A catalog in memory begins at revision 0 again, so the revision alone
	// doesn't tell one list from another.
	hash := sha256.Sum256(b)
	revision := strconv.FormatUint(uint64(page.Revision), 10)
	p := &listPage{
		body:   b,
		etag:   `"` + revision + "-" + hex.EncodeToString(hash[:8]) + `"`,
		length: []string{strconv.Itoa(len(b))},
	}
	header := make(http.Header)
	setHeader(header, "application/json", "private, no-cache")
	header.Set("ETag", p.etag)
	header.Set("X-Catalog-Revision", revision)
	for name, values := range header {
		p.header = append(p.header, headerField{name, values})
	}
	return p, nil
}

const (
	// maxPages is the greatest number of queries of a revision whose answers
	// are kept. A page has at most 100 statuses of less than a kilobyte, so
	// that they take at most 6 MiB, and 0.5 MiB in common use.
	maxPages = 64
	// maxPageKey is the greatest number of bytes of a query whose answer is
	// kept.
	maxPageKey = 512
)

// listCache has the answers to queries of the current revision. Whoever asks
// for ever new ones displaces answers at random, at the price of encoding them
// again.
type listCache struct {
	pages atomic.Pointer[listPages]
	mu    sync.Mutex // held to replace pages
}

// listPages are the answers at one revision, by query. It never changes; the
// functions encode when they are first called.
type listPages struct {
	revision customstatus.Revision
	byQuery  map[string]func() (*listPage, error)
}

func (c *listCache) page(catalog *customstatus.Catalog, rawQuery string) (*listPage, error) {
	revision := catalog.Revision()
	if pages := c.pages.Load(); pages != nil && pages.revision == revision {
		if page, ok := pages.byQuery[rawQuery]; ok {
			return page()
		}
	}
	q, err := parseList(rawQuery)
	if err != nil {
		return nil, err
	}
	encode := func() (*listPage, error) { return encodeList(catalog, q) }
	// A closed catalog is at revision 0 too.
	if revision == 0 || len(rawQuery) > maxPageKey {
		return encode()
	}
	return c.keep(revision, rawQuery, encode)()
}

// keep adds an answer and returns it, or the one that somebody else was faster
// to add.
func (c *listCache) keep(revision customstatus.Revision, rawQuery string, encode func() (*listPage, error)) func() (*listPage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := &listPages{revision: revision}
	pages := c.pages.Load()
	switch {
	case pages == nil || pages.revision < revision:
		next.byQuery = make(map[string]func() (*listPage, error))
	case pages.revision > revision: // the catalog has moved on
		return encode
	case pages.byQuery[rawQuery] != nil:
		return pages.byQuery[rawQuery]
	default:
		next.byQuery = maps.Clone(pages.byQuery)
		for query := range next.byQuery {
			if len(next.byQuery) < maxPages {
				break
			}
			delete(next.byQuery, query)
		}
	}
	page := sync.OnceValues(encode)
	next.byQuery[strings.Clone(rawQuery)] = page // not the whole request line
	c.pages.Store(next)
	return page
}
