package httpadapter_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/internal/strictjson"
)

func TestListQuery(t *testing.T) {
	ok := func(query, want string) row {
		return row{as: reader, method: "GET", path: listPath + "?" + query, status: 200, want: want}
	}
	bad := func(query, why string) row {
		return row{as: reader, method: "GET", path: listPath + "?" + query, status: 400, want: invalidQuery(why)}
	}
	badSort := func(sort, echo string) row {
		text := strictjson.AppendString(nil, `Invalid sort parameter provided: "`+echo+`" [error-invalid-sort]`)
		return row{as: reader, method: "GET", path: listPath + "?sort=" + url.QueryEscape(sort), status: 400,
			want: `{"success":false,"error":` + string(text) + `,"errorType":"error-invalid-sort"}`}
	}
	const all, none = `{"statuses":[{"_id":"65462e97a2f73c7460e18f84","name":"caught up"…`, `{"statuses":[],"count":0,"offset":0,"total":0,"success":true}`
	const reverse = `{"statuses":[{"_id":"fHqV6iJ9Tz2b7LmEw","name":"on the phone"…`
	checkRows(t, setup{}, map[string]row{
		"nothing":               ok("", all),
		"empty values":          ok("name=&_id=&sort=&count=&offset=&query=&fields=", all),
		"only separators":       ok("&&", all),
		"fields":                ok("fields=%7B%22name%22:1%7D", all),
		"fields, undecodable":   ok("fields=%zz", all),
		"id and its query":      ok("_id=fHqV6iJ9Tz2b7LmEw&query=%7B%22_id%22:%22fHqV6iJ9Tz2b7LmEw%22%7D", reverse),
		"id and another query":  ok("_id=65462e97a2f73c7460e18f84&query=%7B%22_id%22:%22fHqV6iJ9Tz2b7LmEw%22%7D", none),
		"count 0":               ok("count=0", all),
		"count beyond the cap":  ok("count=9007199254740991", all),
		"leading zeros":         ok("count=0002&offset=00", all),
		"offset at the end":     ok("offset=2", `{"statuses":[],"count":0,"offset":2,"total":2,"success":true}`),
		"offset far behind":     ok("offset=9223372036854775807", `{"statuses":[],"count":0,"offset":9223372036854775807,"total":2,"success":true}`),
		"id":                    ok("_id=fHqV6iJ9Tz2b7LmEw", reverse),
		"id in another case":    ok("_id=FHQV6IJ9TZ2B7LMEW", none),
		"id and another name":   ok("_id=fHqV6iJ9Tz2b7LmEw&name=caught", none),
		"part of a name":        ok("name=PHONE", reverse),
		"space as plus":         ok("name=the+phone", reverse),
		"a pattern":             ok("name=.*", none),
		"a part of a pattern":   ok("name=%5Eon", none),
		"semicolon":             ok("name=a;b", none),
		"NUL":                   ok("name=%00", none),
		"sort by id":            ok("sort=%7B%22_id%22:-1%7D", reverse),
		"no sort keys":          ok("sort=%7B%7D", all),
		"sort with white space": ok("sort=%0A%7B%20%22name%22%20:%20-1%20%7D", reverse),

		"negative count":       bad("count=-1", `Invalid parameter "count": not a number from 0`),
		"negative zero":        bad("count=-0", `Invalid parameter "count": not a number from 0`),
		"plus":                 bad("count=%2B1", `Invalid parameter "count": not a number from 0`),
		"fraction":             bad("count=1.0", `Invalid parameter "count": not a number from 0`),
		"exponent":             bad("count=1e2", `Invalid parameter "count": not a number from 0`),
		"hexadecimal":          bad("count=0x10", `Invalid parameter "count": not a number from 0`),
		"underscore":           bad("count=1_0", `Invalid parameter "count": not a number from 0`),
		"other digits":         bad("count=%D9%A1", `Invalid parameter "count": not a number from 0`),
		"too large for an int": bad("count=9223372036854775808", `Invalid parameter "count": not a number from 0`),
		"huge":                 bad("offset="+strings.Repeat("9", 400), `Invalid parameter "offset": not a number from 0`),
		"negative offset":      bad("offset=-5", `Invalid parameter "offset": not a number from 0`),
		"space":                bad("offset=+5", `Invalid parameter "offset": not a number from 0`),
		"unknown":              bad("limit=5", `Invalid parameter "limit": unknown`),
		"other case":           bad("Count=5", `Invalid parameter "Count": unknown`),
		"like an array":        bad("count[]=5", `Invalid parameter "count[]": unknown`),
		"no name":              bad("=5", `Invalid parameter "": unknown`),
		"given twice":          bad("count=5&count=5", `Invalid parameter "count": given twice`),
		"twice, once escaped":  bad("name=a&n%61me=a", `Invalid parameter "name": given twice`),
		"invalid UTF-8":        bad("name=%ff", `Invalid parameter "name": not valid in a query`),
		"invalid escape":       bad("name=%zz", `Invalid parameter "name": not valid in a query`),
		"cut escape":           bad("name=%2", `Invalid parameter "name": not valid in a query`),
		"invalid name":         bad("%ff=1", `Invalid parameter "%ff": not valid in a query`),
		"long name":            bad(strings.Repeat("k", 5000)+"=1", `Invalid parameter "`+strings.Repeat("k", 200)+`…": unknown`),
		"too long":             bad("name="+strings.Repeat("x", 9000), "Invalid query: too long"),

		"sort: word":              badSort(`name`, `name`),
		"sort: list":              badSort(`["name"]`, `["name"]`),
		"sort: null":              badSort(`null`, `null`),
		"sort: number":            badSort(`1`, `1`),
		"sort: other value":       badSort(`{"name":2}`, `{"name":2}`),
		"sort: zero":              badSort(`{"name":0}`, `{"name":0}`),
		"sort: fraction":          badSort(`{"name":1.0}`, `{"name":1.0}`),
		"sort: string":            badSort(`{"name":"1"}`, `{"name":"1"}`),
		"sort: boolean":           badSort(`{"name":true}`, `{"name":true}`),
		"sort: operator":          badSort(`{"name":{"$meta":"textScore"}}`, `{"name":{"$meta":"textScore"}}`),
		"sort: other field":       badSort(`{"_rev":1}`, `{"_rev":1}`),
		"sort: key in caps":       badSort(`{"Name":1}`, `{"Name":1}`),
		"sort: key given twice":   badSort(`{"name":1,"name":-1}`, `{"name":1,"name":-1}`),
		"sort: trailing data":     badSort(`{"name":1}{}`, `{"name":1}{}`),
		"sort: cut":               badSort(`{"name":1`, `{"name":1`),
		"sort: markup":            badSort(`<b>&"`, `<b>&"`),
		"sort: NUL":               badSort("\x00", "\x00"),
		"sort: long":              badSort(strings.Repeat("[", 2500), strings.Repeat("[", 200)+"…"),
		"sort: one bad of two":    badSort(`{"name":1,"x":1}`, `{"name":1,"x":1}`),
		"sort: lone surrogate":    badSort(`{"name\ud83d":1}`, `{"name\ud83d":1}`),
		"sort: old syntax":        badSort(`-name`, `-name`),
		"sort: nested too deeply": badSort(`{"name":`+strings.Repeat("[", 2000)+`}`, `{"name":`+strings.Repeat("[", 192)+"…"),
	})
}

// many returns statuses whose order by name is that of their numbers.
func many(n int) []customstatus.CustomUserStatus {
	types := []customstatus.StatusType{customstatus.Online, customstatus.Away, customstatus.Busy, customstatus.Offline}
	statuses := make([]customstatus.CustomUserStatus, n)
	for i := range statuses {
		statuses[i] = customstatus.CustomUserStatus{
			ID:         fmt.Sprintf("%017d", (i*7919)%100003),
			Name:       fmt.Sprintf("Name %04d", i),
			StatusType: types[i%len(types)],
			UpdatedAt:  time.UnixMilli(int64(i / 10 * 1000)),
		}
	}
	return statuses
}

func newServerWith(t *testing.T, statuses []customstatus.CustomUserStatus) *server {
	t.Helper()
	s := newServer(t, setup{empty: true})
	_, err := s.catalog.Import(t.Context(), statuses)
	require.NoError(t, err)
	return s
}

func TestListPages(t *testing.T) {
	s := newServerWith(t, many(230))
	for query, want := range map[string][3]int{ // the first, the count, the total
		"":                            {0, 50, 230},
		"count=":                      {0, 50, 230},
		"count=0":                     {0, 230, 230},
		"count=00&offset=30":          {30, 200, 230},
		"count=1":                     {0, 1, 230},
		"count=100":                   {0, 100, 230},
		"count=101":                   {0, 100, 230},
		"count=100&offset=200":        {200, 30, 230},
		"offset=229":                  {229, 1, 230},
		"name=NAME&count=7&offset=15": {15, 7, 230},
		"name=name+002":               {20, 10, 10},
	} {
		t.Run(query, func(t *testing.T) {
			a := s.do(request{as: reader, path: listPath + "?" + query})
			var page struct{ Count, Offset, Total int }
			require.NoError(t, json.Unmarshal([]byte(a.body), &page))
			require.Equal(t, []string{strconv.Itoa(len(a.body))}, a.header["Content-Length"])
			require.Equal(t, want[1], page.Count)
			require.Equal(t, want[2], page.Total)
			names := s.list(query)
			for i, name := range names {
				require.Equal(t, fmt.Sprintf("Name %04d", want[0]+i), name)
			}
			require.Len(t, names, want[1])
		})
	}

	// In any order, the pages together hold every status once.
	for _, sort := range []string{`{}`, `{"name":1}`, `{"name":-1}`, `{"_id":1}`, `{"statusType":1}`, `{"_updatedAt":-1}`, `{"statusType":-1,"_updatedAt":1}`} {
		t.Run(sort, func(t *testing.T) {
			seen := make(map[string]bool)
			for offset := 0; offset < 230; offset += 30 {
				for _, name := range s.list(url.Values{"sort": {sort}, "count": {"30"}, "offset": {strconv.Itoa(offset)}}.Encode()) {
					require.False(t, seen[name])
					seen[name] = true
				}
			}
			require.Len(t, seen, 230)
		})
	}
	t.Run("keys in the order given", func(t *testing.T) {
		get := func(sort string) string { return s.list("count=1&sort=" + url.QueryEscape(sort))[0] }
		require.Equal(t, "Name 0220", get(`{"_updatedAt":-1,"statusType":-1,"name":1}`))
		require.Equal(t, "Name 0001", get(`{"statusType":1,"_updatedAt":1,"name":1}`))
		require.Equal(t, "Name 0221", get(`{"statusType":1,"_updatedAt":-1,"name":1}`))
	})
}

func TestListETag(t *testing.T) {
	s := newServer(t, setup{})
	get := func(query string, ifNoneMatch ...string) answer {
		req := request{as: reader, path: listPath + "?" + query}
		if ifNoneMatch != nil {
			req.header = http.Header{"If-None-Match": ifNoneMatch}
		}
		return s.do(req)
	}
	first := get("")
	etag := first.header.Get("ETag")
	at := s.catalog.Position().String()
	require.Regexp(t, `^1-[0-9a-f]{16}$`, at)
	require.Equal(t, `"`+at+`"`, etag)
	require.Equal(t, at, first.header.Get("X-Catalog-Position"))
	require.Equal(t, []string{strconv.Itoa(len(first.body))}, first.header["Content-Length"])

	for name, ifNoneMatch := range map[string][]string{
		"same":           {etag},
		"gzip":           {strings.TrimSuffix(etag, `"`) + `-gzip"`},
		"weak, gzip":     {"W/" + strings.TrimSuffix(etag, `"`) + `-gzip"`},
		"gzip in a list": {`"x-gzip", ` + strings.TrimSuffix(etag, `"`) + `-gzip"`},
		"weak":           {"W/" + etag},
		"any":            {"*"},
		"in a list":      {`"0-0", W/"x",` + etag + `, "y"`},
		"between spaces": {`"0-0" , ` + etag + "\t, \"y\""},
		"in two headers": {`"0-0"`, etag},
		"white space":    {"\t" + etag + " "},
	} {
		t.Run(name, func(t *testing.T) {
			a := get("", ifNoneMatch...)
			require.Equal(t, http.StatusNotModified, a.status)
			require.Empty(t, a.body)
			require.Equal(t, etag, a.header.Get("ETag"))
			require.Equal(t, "private, no-cache", a.header.Get("Cache-Control"))
			require.Equal(t, at, a.header.Get("X-Catalog-Position"))
			require.Empty(t, a.header["Content-Length"])
		})
	}
	for name, ifNoneMatch := range map[string][]string{
		"other":             {`"1-0000000000000000"`},
		"empty":             {""},
		"without quotes":    {strings.Trim(etag, `"`)},
		"half":              {etag[:8]},
		"lower-case w":      {"w/" + etag},
		"other gzip":        {`"1-0000000000000000-gzip"`},
		"gzip twice":        {strings.TrimSuffix(etag, `"`) + `-gzip-gzip"`},
		"only gzip":         {`-gzip"`, `"-gzip"`},
		"brotli":            {strings.TrimSuffix(etag, `"`) + `-br"`},
		"weak twice":        {"W/W/" + etag},
		"thousands of them": {strings.Repeat(`"x",`, 10000)},
	} {
		t.Run("not "+name, func(t *testing.T) {
			a := get("", ifNoneMatch...)
			require.Equal(t, http.StatusOK, a.status)
			require.Equal(t, first.body, a.body)
		})
	}
	t.Run("refused whatever the client has", func(t *testing.T) {
		require.Equal(t, http.StatusBadRequest, get("count=x", "*").status)
	})
	t.Run("HEAD", func(t *testing.T) {
		a := s.do(request{as: reader, method: "HEAD", path: listPath})
		require.Equal(t, http.StatusOK, a.status)
		for _, name := range []string{"ETag", "Content-Type", "Content-Length", "Cache-Control", "X-Catalog-Position"} {
			require.Equal(t, first.header.Get(name), a.header.Get(name), name)
		}
		a = s.do(request{as: reader, method: "HEAD", path: listPath, header: http.Header{"If-None-Match": {etag}}})
		require.Equal(t, http.StatusNotModified, a.status)
	})
	t.Run("after a write", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.do(request{as: manager, path: createPath, body: `{"name":"zzz","statusType":"busy"}`}).status)
		a := get("", etag)
		require.Equal(t, http.StatusOK, a.status)
		require.Contains(t, a.body, `"name":"zzz"`)
		require.Regexp(t, `^"2-`, a.header.Get("ETag"))
	})
	t.Run("in another life of the catalog", func(t *testing.T) {
		other := newServer(t, setup{empty: true})
		_, err := other.catalog.Create(t.Context(), customstatus.Fields{Name: "x", StatusType: customstatus.Busy})
		require.NoError(t, err)
		a := other.do(request{as: reader, path: listPath})
		require.Regexp(t, "^1-", a.header.Get("X-Catalog-Position"))
		require.NotEqual(t, etag, a.header.Get("ETag"), "the same revision with another content")
	})
}

// TestListSeesEveryWrite: a list after a write is never an answer that was encoded
// before the write.
func TestListSeesEveryWrite(t *testing.T) {
	s := newServer(t, setup{empty: true})
	require.Empty(t, s.list(""))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 30 {
				status, err := s.catalog.Create(t.Context(), customstatus.Fields{Name: fmt.Sprintf("%d of %d", i, w), StatusType: customstatus.Away})
				if !assert.NoError(t, err) {
					return
				}
				r := httptest.NewRequest(http.MethodGet, s.prefix+listPath+"?count="+strconv.Itoa(w%2), nil)
				r.Header.Set("X-User-Id", reader[0])
				r.Header.Set("X-Auth-Token", reader[1])
				answer := httptest.NewRecorder()
				s.handler.ServeHTTP(answer, r)
				at, err := customstatus.ParsePosition(answer.Header().Get("X-Catalog-Position"))
				assert.NoError(t, err)
				assert.GreaterOrEqual(t, at.Revision, status.Revision)
			}
		})
	}
	wg.Wait()
	require.Len(t, s.list("count=100&name=of+0"), 30)
}

func TestListOfAClosedCatalog(t *testing.T) {
	for _, statuses := range [][]customstatus.CustomUserStatus{nil, records} {
		s := newServerWith(t, statuses)
		before := s.list("")
		require.Len(t, before, len(statuses))
		require.NoError(t, s.catalog.Close())
		a := s.do(request{as: reader, path: listPath})
		require.Equal(t, http.StatusInternalServerError, a.status, "an answer from before it was closed")
		require.Equal(t, internal, a.body)
	}
}

func TestListOfASharedStore(t *testing.T) {
	place := newSharedPlace()
	s := newServer(t, setup{shared: place.node()})
	other, err := customstatus.OpenShared(t.Context(), place.node(), nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	require.Len(t, s.list(""), 2)
	_, err = other.Create(t.Context(), customstatus.Fields{Name: "from elsewhere", StatusType: customstatus.Busy})
	require.NoError(t, err)
	require.NoError(t, s.catalog.Sync(t.Context()))
	require.Len(t, s.list(""), 3)
}

func TestListEscapes(t *testing.T) {
	s := newServer(t, setup{empty: true})
	_, err := s.catalog.Import(t.Context(), []customstatus.CustomUserStatus{
		{ID: `<a href="&">` + "\u2028", Name: `back\slash é 😀`, StatusType: customstatus.Busy, UpdatedAt: time.UnixMilli(0)},
	})
	require.NoError(t, err)
	a := s.do(request{as: reader, path: listPath})
	require.Contains(t, a.body, `"_id":"<a href=\"&\">`)
	require.Contains(t, a.body, `"name":"back\\slash é 😀","statusType":"busy","_updatedAt":"1970-01-01T00:00:00.000Z"`)
}
