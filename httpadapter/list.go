package httpadapter

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/customstatus/customstatus"
)

// list answers with a page, which is mostly encoded already.
func (x *exchange) list() error {
	page, err := x.page(x.r.Context(), x.caller.UserID, x.r.URL.RawQuery)
	if err != nil {
		return err
	}
	header := x.w.Header()
	for _, f := range page.header {
		header[f.name] = f.values
	}
	header["X-Request-Id"] = []string{x.requestID}
	x.dropBody()
	if holds(x.r.Header["If-None-Match"], page.etag) {
		x.write(http.StatusNotModified, nil)
		return nil
	}
	header["Content-Length"] = page.length
	x.write(http.StatusOK, page.body)
	return nil
}

// holds reports whether an If-None-Match header names the ETag. The header may be a
// list of tags, which are compared weakly (RFC 9110, 13.1.2). A proxy that compresses
// answers may have added -gzip to the tag.
func holds(ifNoneMatch []string, etag string) bool {
	for _, line := range ifNoneMatch {
		for tag := range strings.SplitSeq(line, ",") {
			tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
			if tag == "*" || tag == etag {
				return true
			}
			if plain, ok := strings.CutSuffix(tag, `-gzip"`); ok && plain == etag[:len(etag)-1] {
				return true
			}
		}
	}
	return false
}

// listPage is the answer to one query at one position. It never changes, and all
// answers share its header values.
type listPage struct {
	position customstatus.Position
	body     []byte
	etag     string
	header   []headerField
	length   []string // the value of Content-Length
}

type headerField struct {
	name   string
	values []string
}

// page returns the answer to the query of a list.
func (h *Handler) page(ctx context.Context, caller, rawQuery string) (*listPage, error) {
	at := h.catalog.Position()
	// A closed catalog still has its position, but no statuses.
	keep := h.catalog.Len() > 0 && len(rawQuery) <= maxPageKey
	if keep {
		if page := h.lists.get(at, rawQuery); page != nil {
			return page()
		}
	}
	q, err := parseList(rawQuery, h.maxCount)
	if err != nil {
		return nil, err
	}
	if isSearch(q) && caller != "" {
		end, err := h.turns.take(ctx, caller)
		if err != nil {
			return nil, err
		}
		defer end()
	}
	encode := func() (*listPage, error) { return h.encodeList(q) }
	if !keep {
		return encode()
	}
	return h.lists.keep(at, rawQuery, encode)()
}

func (h *Handler) encodeList(q customstatus.Query) (*listPage, error) {
	page, err := h.catalog.List(q)
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, 128+160*len(page.Statuses)), `{"statuses":[`...)
	for i, s := range page.Statuses {
		if i > 0 {
			b = append(b, ',')
		}
		b = h.appendStatus(b, s)
	}
	b = strconv.AppendInt(append(b, `],"count":`...), int64(len(page.Statuses)), 10)
	b = strconv.AppendInt(append(b, `,"offset":`...), int64(q.Offset), 10)
	b = strconv.AppendInt(append(b, `,"total":`...), int64(page.Total), 10)
	b = append(b, `,"success":true}`...)

	p := &listPage{
		position: page.Position,
		body:     b,
		etag:     h.etag(page.Position),
		length:   []string{strconv.Itoa(len(b))},
	}
	header := make(http.Header)
	setHeader(header, "application/json", "private, no-cache")
	header.Set("ETag", p.etag)
	header.Set(positionHeader, page.Position.String())
	for name, values := range header {
		p.header = append(p.header, headerField{name, values})
	}
	return p, nil
}

// positionHeader carries the position that a list shows. A stream that begins there
// misses nothing.
const positionHeader = "X-Catalog-Position"

// etag is the tag of every page at a position; a client keeps a tag per URL, and so
// per query. The tag tells pages apart that differ by an option, because a client
// keeps its tag while the server restarts with other options.
func (h *Handler) etag(at customstatus.Position) string {
	tag := `"` + at.String()
	if h.maxCount != DefaultMaxCount {
		tag += "-" + strconv.Itoa(h.maxCount)
	}
	if h.metadata {
		tag += "-metadata"
	}
	return tag + `"`
}
