package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/fold"
	"github.com/customstatus/customstatus/internal/text"
)

// Query says which statuses [Client.List] and [Client.All] return, and in which order.
// The zero value is all of them by name. A status matches if it meets all conditions.
type Query struct {
	// ID matches the status with this id.
	ID string
	// NameContains matches names that contain it in any case.
	NameContains string
	// Sort are the keys to sort by, the most important one first. Ties are broken by
	// ID. Nil sorts by name.
	Sort []customstatus.SortKey
	// Offset is the number of matches to skip.
	Offset int
	// Limit is the greatest number of statuses. With 0, All yields all of them, and
	// List returns as many as the server gives in one answer: all of them from
	// Rocket.Chat by default, up to 1,000 from httpadapter by default.
	Limit int
}

// Page is what [Client.List] returns.
type Page struct {
	Statuses []customstatus.CustomUserStatus
	// Total is the number of matches, those of other pages included.
	Total int
	// Position is that of the catalog, if PositionKnown is set. [Client.Watch] from
	// there yields every later change. Rocket.Chat's answers have none.
	Position      customstatus.Position
	PositionKnown bool
}

// Create adds a status and returns it. The server must accept metadata if f has any, and
// all texts must be valid UTF-8.
// Apart from the errors of the package comment, it returns [customstatus.ErrRequired],
// [customstatus.ErrInvalid], [customstatus.ErrNameInUse] and [customstatus.ErrFull].
func (c *Client) Create(ctx context.Context, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	return c.save(ctx, &call{op: "create", method: http.MethodPost, name: f.Name}, f)
}

// Update changes the status with the id and returns it. Its errors are those of Create
// and [customstatus.ErrNotFound].
func (c *Client) Update(ctx context.Context, id string, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	return c.save(ctx, &call{op: "update", method: http.MethodPost, id: id, name: f.Name}, f)
}

func (c *Client) save(ctx context.Context, call *call, f customstatus.Fields) (customstatus.CustomUserStatus, error) {
	if err := call.checkText(f); err != nil {
		return customstatus.CustomUserStatus{}, err
	}
	call.body, _ = json.Marshal(struct { // strings can't fail
		ID       string  `json:"_id,omitempty"`
		Name     string  `json:"name"`
		Type     string  `json:"statusType"`
		Metadata *string `json:"metadata,omitempty"`
	}{call.id, f.Name, string(f.StatusType), f.Metadata})
	a, err := c.do(ctx, call)
	if err != nil {
		return customstatus.CustomUserStatus{}, err
	}
	s, err := parseStatus(a.body.customUserStatus)
	if err != nil {
		return customstatus.CustomUserStatus{}, call.unexpected(a.res, "its customUserStatus: "+err.Error())
	}
	return s, nil
}

// checkText refuses what JSON has no form for: the server would get another text.
func (c *call) checkText(f customstatus.Fields) error {
	if !utf8.ValidString(c.id) {
		return c.failed(notFound(c.id))
	}
	metadata := ""
	if f.Metadata != nil {
		metadata = *f.Metadata
	}
	for _, field := range []struct{ name, value string }{
		{customstatus.FieldName, f.Name},
		{customstatus.FieldStatusType, string(f.StatusType)},
		{customstatus.FieldMetadata, metadata},
	} {
		if !utf8.ValidString(field.value) {
			return c.failed(&customstatus.Error{Code: customstatus.CodeInvalid, Field: field.name,
				Input: text.Clip(strings.ToValidUTF8(field.value, "\uFFFD"), customstatus.MaxNameCharacters), Detail: "it is not valid UTF-8"})
		}
	}
	return nil
}

func notFound(id string) error {
	id = text.Clip(strings.ToValidUTF8(id, "\uFFFD"), customstatus.MaxNameCharacters)
	return &customstatus.Error{Code: customstatus.CodeNotFound, Field: customstatus.FieldID, Input: id, ID: id}
}

// Delete removes the status with the id. Its error can be [customstatus.ErrNotFound],
// and [customstatus.ErrRequired] for an empty id.
func (c *Client) Delete(ctx context.Context, id string) error {
	call := &call{op: "delete", method: http.MethodPost, id: id}
	if err := call.checkText(customstatus.Fields{}); err != nil {
		return err
	}
	call.body, _ = json.Marshal(map[string]string{"customUserStatusId": id})
	_, err := c.do(ctx, call)
	return err
}

// Get returns the status with the id, or [customstatus.ErrNotFound].
func (c *Client) Get(ctx context.Context, id string) (customstatus.CustomUserStatus, error) {
	if id == "" || !utf8.ValidString(id) {
		return customstatus.CustomUserStatus{}, notFound(id)
	}
	page, err := c.List(ctx, Query{ID: id, Limit: 1})
	switch {
	case err != nil:
		return customstatus.CustomUserStatus{}, err
	case len(page.Statuses) == 0:
		return customstatus.CustomUserStatus{}, notFound(id)
	}
	return page.Statuses[0], nil
}

// List returns one page. The error is [customstatus.ErrInvalid] for a query that the
// server doesn't take, and [errors.ErrUnsupported] from a server that ignores its
// conditions.
func (c *Client) List(ctx context.Context, q Query) (Page, error) {
	page, _, err := c.sized(ctx, q)
	return page, err
}

// sized is List, and returns what the page counts for Options.MaxListBytes.
func (c *Client) sized(ctx context.Context, q Query) (Page, int64, error) {
	if q.Offset < 0 || q.Limit < 0 {
		return Page{}, 0, fmt.Errorf("client: list: %w: negative offset or limit", customstatus.ErrInvalid)
	}
	fits := q.matcher()
	for _, conditions := range []func(url.Values){q.newConditions, q.oldConditions} {
		page, size, err := c.list(ctx, q, conditions)
		if err != nil {
			return Page{}, 0, err
		}
		if !slices.ContainsFunc(page.Statuses, func(s customstatus.CustomUserStatus) bool { return !fits(&s) }) {
			return page, int64(max(size, len(page.Statuses)*leastStatusBytes)), nil
		}
	}
	return Page{}, 0, fmt.Errorf("client: list: the server ignores the query's conditions: %w", errors.ErrUnsupported)
}

// matcher returns the conditions of the query.
func (q *Query) matcher() func(*customstatus.CustomUserStatus) bool {
	contains := fold.Contains(q.NameContains)
	return func(s *customstatus.CustomUserStatus) bool {
		return (q.ID == "" || s.ID == q.ID) && contains(s.Name)
	}
}

func (q *Query) newConditions(v url.Values) {
	if q.ID != "" {
		v.Set("_id", q.ID)
	}
	if q.NameContains != "" {
		v.Set("name", q.NameContains)
	}
}

// oldConditions are for versions of Rocket.Chat that ignore those of newConditions.
func (q *Query) oldConditions(v url.Values) {
	filter := make(map[string]any)
	if q.ID != "" {
		filter["_id"] = q.ID
	}
	if q.NameContains != "" {
		filter["name"] = map[string]string{"$regex": regexp.QuoteMeta(q.NameContains), "$options": "i"}
	}
	b, _ := json.Marshal(filter)
	v.Set("query", string(b))
}

// list asks for one page, and returns it and the size of the answer.
func (c *Client) list(ctx context.Context, q Query, conditions func(url.Values)) (page Page, size int, err error) {
	v := url.Values{"count": {strconv.Itoa(q.Limit)}, "sort": {q.sort()}}
	if q.Offset > 0 {
		v.Set("offset", strconv.Itoa(q.Offset))
	}
	conditions(v)
	call := &call{op: "list", method: http.MethodGet, query: v, id: q.ID}
	a, err := c.do(ctx, call)
	if err != nil {
		return Page{}, 0, err
	}
	if at := a.body.offset; at >= 0 && at != q.Offset { // of a cache, say, that knows one query from no other
		return Page{}, 0, call.unexpected(a.res, fmt.Sprintf("it is the page at offset %d, not %d", at, q.Offset))
	}
	page = Page{Statuses: []customstatus.CustomUserStatus{}, Total: a.body.total}
	dec := json.NewDecoder(bytes.NewReader(a.body.statuses))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return Page{}, 0, call.unexpected(a.res, "it has no statuses")
	}
	for raw := (json.RawMessage{}); dec.More(); { // one at a time: of {} there can be millions
		var s customstatus.CustomUserStatus
		if err = dec.Decode(&raw); err == nil {
			s, err = parseStatus(raw)
		}
		if err != nil {
			return Page{}, 0, call.unexpected(a.res, fmt.Sprintf("status %d: %v", len(page.Statuses), err))
		}
		page.Statuses = append(page.Statuses, s)
	}
	page.Total = max(page.Total, len(page.Statuses))
	page.Position, err = customstatus.ParsePosition(a.res.Header.Get("X-Catalog-Position"))
	page.PositionKnown = err == nil
	return page, a.size, nil
}

// sort returns the parameter. Rocket.Chat doesn't break ties by itself.
func (q *Query) sort() string {
	keys := q.Sort
	if keys == nil {
		keys = []customstatus.SortKey{{Field: customstatus.SortByName}}
	}
	var parts []string
	seen := make(map[customstatus.SortField]bool)
	for _, k := range append(slices.Clip(keys), customstatus.SortKey{Field: customstatus.SortByID}) {
		if !seen[k.Field] {
			seen[k.Field] = true
			direction := 1
			if k.Descending {
				direction = -1
			}
			parts = append(parts, fmt.Sprintf("%q:%d", string(k.Field), direction))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// compare orders two statuses as the query does.
func (q *Query) compare(a, b customstatus.CustomUserStatus) int {
	keys := q.Sort
	if keys == nil {
		keys = []customstatus.SortKey{{Field: customstatus.SortByName}}
	}
	for _, k := range keys {
		n := 0
		switch k.Field {
		case customstatus.SortByID:
			n = strings.Compare(a.ID, b.ID)
		case customstatus.SortByName:
			n = strings.Compare(a.Name, b.Name)
		case customstatus.SortByStatusType:
			n = cmp.Compare(a.StatusType, b.StatusType)
		case customstatus.SortByUpdatedAt:
			n = a.UpdatedAt.Compare(b.UpdatedAt)
		}
		if k.Descending {
			n = -n
		}
		if n != 0 {
			return n
		}
	}
	return strings.Compare(a.ID, b.ID)
}

// parseStatus reads a status of an answer or event.
func parseStatus(data []byte) (s customstatus.CustomUserStatus, err error) {
	if len(data) == 0 {
		return s, errors.New("it is missing")
	}
	if err := s.UnmarshalJSON(data); err != nil {
		return s, err
	}
	if s.ID == "" {
		return s, errors.New("it has no _id")
	}
	return s, nil
}

// All yields all matches. It asks for as many pages as it takes, by id, before it
// yields the first status. Every status that is in the catalog from the beginning to
// the end of the questions is yielded, and none twice, whatever changes meanwhile. The
// sequence ends after an error, which is one of List.
func (c *Client) All(ctx context.Context, q Query) iter.Seq2[customstatus.CustomUserStatus, error] {
	return func(yield func(customstatus.CustomUserStatus, error) bool) {
		if q.Offset < 0 || q.Limit < 0 {
			yield(customstatus.CustomUserStatus{}, fmt.Errorf("client: list: %w: negative offset or limit", customstatus.ErrInvalid))
			return
		}
		page, err := c.gather(ctx, q)
		if err != nil {
			yield(customstatus.CustomUserStatus{}, err)
			return
		}
		slices.SortFunc(page.Statuses, q.compare)
		from := min(q.Offset, len(page.Statuses))
		to := len(page.Statuses)
		if q.Limit > 0 {
			to = min(to, from+q.Limit)
		}
		for _, s := range page.Statuses[from:to] {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// What gather takes from a server that is wrong, or worse.
const (
	// leastStatusBytes is more than a status takes in memory beside its strings.
	leastStatusBytes = 128
	// maxIdlePages is how many answers without a new status gather bears in a row.
	// Half of them suffice to go back to the first status of any catalog.
	maxIdlePages = 64
)

// gather returns all matches. The position is the one before all pages; it is exact
// if nothing has changed between the pages.
func (c *Client) gather(ctx context.Context, q Query) (Page, error) {
	q = Query{ID: q.ID, NameContains: q.NameContains, Sort: []customstatus.SortKey{{Field: customstatus.SortByID}}}
	all, size, err := c.sized(ctx, q)
	if err != nil {
		return Page{}, err
	}
	if len(all.Statuses) == 0 && all.Total > 0 { // to this server, count=0 is none
		q.Limit = 100
		if all, size, err = c.sized(ctx, q); err != nil {
			return Page{}, err
		}
	}
	byID := func(a, b customstatus.CustomUserStatus) int { return strings.Compare(a.ID, b.ID) }
	switch {
	case len(all.Statuses) == 0 && all.Total > 0:
		return Page{}, fmt.Errorf("client: list: none of the %d statuses is in it: %w", all.Total, ErrUnexpectedAnswer)
	case len(all.Statuses) < all.Total && !slices.IsSortedFunc(all.Statuses, byID):
		return Page{}, fmt.Errorf("client: list: the first page is not sorted: %w", ErrUnexpectedAnswer)
	}
	offset, back, idle := len(all.Statuses)-1, 1, 0
	for done := len(all.Statuses) >= all.Total; !done; {
		// Deletions move what follows to the front. So each page begins with the
		// last status of the one before, or further in front if that has moved.
		last := all.Statuses[len(all.Statuses)-1].ID
		q.Offset = offset
		page, more, err := c.sized(ctx, q)
		if err != nil {
			return Page{}, err
		}
		if size += more; size > c.opts.MaxListBytes {
			return Page{}, fmt.Errorf("client: list: the pages have more than %d bytes: %w", c.opts.MaxListBytes, ErrUnexpectedAnswer)
		}
		if idle++; idle > maxIdlePages {
			return Page{}, fmt.Errorf("client: list: the pages have no end: %w", ErrUnexpectedAnswer)
		}
		n := len(page.Statuses)
		if offset > 0 && (n == 0 || page.Statuses[0].ID > last) {
			offset = max(0, offset-back)
			back *= 2
			continue
		}
		back = 1
		done = offset+n >= page.Total
		if n < 2 && !done || !slices.IsSortedFunc(page.Statuses, byID) {
			return Page{}, fmt.Errorf("client: list: the pages are not sorted, or too short: %w", ErrUnexpectedAnswer)
		}
		if i := slices.IndexFunc(page.Statuses, func(s customstatus.CustomUserStatus) bool { return s.ID > last }); i >= 0 {
			all.Statuses = append(all.Statuses, page.Statuses[i:]...)
			idle = 0
		}
		offset += n - 1
	}
	all.Total = len(all.Statuses)
	return all, nil
}
