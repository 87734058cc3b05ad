package httpadapter_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// serve answers a request of the manager without a listener, and checks the answer.
func (s *server) serve(t *testing.T, r *http.Request, endpoint string) answer {
	t.Helper()
	r.Header.Set("X-User-Id", manager[0])
	r.Header.Set("X-Auth-Token", manager[1])
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	a := answer{w.Code, w.Header(), w.Body.String()}
	checkAnswer(t, r.Method, endpoint, a)
	return a
}

// FuzzBody sends bodies to all endpoints that take one. An accepted write is in the
// catalog exactly as it was sent; a refused one leaves no trace.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `[]`, `{"name":"a","statusType":"busy"}`, `{"_id":"65462e97a2f73c7460e18f84","name":"a","statusType":"busy"}`,
		`{"customUserStatusId":"65462e97a2f73c7460e18f84"}`, `{"name":"a","name":"b"}`, `{"Name":"a"}`, `{"name":null}`,
		`{"name":"\ud83d\ude00 \u2028","statusType":"away"}`, `{"name":"\ud83d","statusType":"away"}`, `{"name":"a","statusType":"busy"}{}`,
		"{\"name\":\"\xff\"}", `{"name":"a\u0000","statusType":"Busy"}`, `{"name":{"name":[[[]]]}}`, `{"":""}`,
		`{"name":"caught up","statusType":"offline"}`, `{"name":"<b>&'\"","statusType":"online"}`, strings.Repeat(`{"name":`, 300),
	} {
		f.Add(seed)
	}
	s := newServer(f, setup{})
	endpoints := []string{createPath, updatePath, deletePath}
	f.Fuzz(func(t *testing.T, body string) {
		for _, endpoint := range endpoints {
			before := s.catalog.Revision()
			a := s.serve(t, httptest.NewRequest(http.MethodPost, s.prefix+endpoint, strings.NewReader(body)), endpoint)
			if a.status != http.StatusOK {
				require.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, a.status, a.body)
				require.Equal(t, before, s.catalog.Revision())
				continue
			}
			require.Equal(t, before+1, s.catalog.Revision())
			var asked map[string]string
			require.NoError(t, json.Unmarshal([]byte(body), &asked))
			if endpoint != deletePath {
				status, err := s.catalog.GetByName(asked["name"])
				require.NoError(t, err)
				require.Equal(t, asked["statusType"], string(status.StatusType))
				require.Equal(t, `{"customUserStatus":`+string(status.AppendJSON(nil))+`,"success":true}`, a.body)
			}
			if endpoint == createPath {
				_, err := s.catalog.Delete(t.Context(), idOf(t, s.catalog, asked["name"]), nil)
				require.NoError(t, err)
			} else { // as it was
				_, _ = s.catalog.Delete(t.Context(), records[0].ID, nil)
				_, _ = s.catalog.Delete(t.Context(), records[1].ID, nil)
				_, err := s.catalog.Import(t.Context(), records)
				require.NoError(t, err)
			}
		}
	})
}

func idOf(t *testing.T, catalog *customstatus.Catalog, name string) string {
	t.Helper()
	status, err := catalog.GetByName(name)
	require.NoError(t, err)
	return status.ID
}

// FuzzList asks for lists. The second answer to a query comes from the cache.
func FuzzList(f *testing.F) {
	for _, seed := range []string{
		"", "count=7&offset=3", "name=%41&_id=", "sort=%7B%22statusType%22:-1,%22name%22:1%7D", "sort={}", "sort=[]", "count=-1",
		"offset=99999999999999999999", "count=1&count=1", "name=%ff", "name=%", ";", "=", "&&", "fields=x&query=y", "count=0", "query={}", "query=%7B%22name%22:%7B%22$regex%22:%22^n%22,%22$options%22:%22i%22%7D%7D", "%00=%00", "sort=%7B%22name%22:1.0%7D",
	} {
		f.Add(seed, `"1-0"`)
	}
	f.Add("", "*")
	f.Add("name=1", `W/"x", "y`)
	s := newServer(f, setup{empty: true})
	_, err := s.catalog.Import(f.Context(), many(150))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, query, ifNoneMatch string) {
		get := func(ifNoneMatch string) answer {
			r := httptest.NewRequest(http.MethodGet, s.prefix+listPath, nil)
			r.URL.RawQuery = query
			r.Header.Set("If-None-Match", ifNoneMatch)
			return s.serve(t, r, listPath)
		}
		first := get("")
		require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, first.status)
		require.Equal(t, first.body, get("").body)
		if other := get(ifNoneMatch); other.status != http.StatusNotModified {
			require.Equal(t, first.body, other.body)
		} else {
			require.True(t, strings.Contains(ifNoneMatch, strings.TrimSuffix(first.header.Get("ETag"), `"`)) || strings.Contains(ifNoneMatch, "*"))
		}
		if first.status != http.StatusOK {
			return
		}
		require.Equal(t, http.StatusNotModified, get(first.header.Get("ETag")).status)
		var page struct {
			Statuses             []customstatus.CustomUserStatus
			Count, Offset, Total int
		}
		require.NoError(t, json.Unmarshal([]byte(first.body), &page))
		require.Len(t, page.Statuses, page.Count)
		require.LessOrEqual(t, page.Count, max(page.Total-page.Offset, 0))
		require.LessOrEqual(t, page.Total, 150)
	})
}

// FuzzForm sends forms. The values of an accepted form are those that net/url reads.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{"", "name=a&statusType=busy", "name=a+b&statusType=away", "name=%41&statusType=busy&", "name=a&name=b", "name=%ff", "name=%zz", "statusType=busy&name=a%26b", "{", "name", "=", "name=a;b&statusType=busy", "\xff=\xff"} {
		f.Add(seed)
	}
	s := newServer(f, setup{})
	f.Fuzz(func(t *testing.T, body string) {
		before := s.catalog.Revision()
		r := httptest.NewRequest(http.MethodPost, s.prefix+createPath, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		a := s.serve(t, r, createPath)
		if a.status != http.StatusOK {
			require.Contains(t, []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge}, a.status, a.body)
			require.Equal(t, before, s.catalog.Revision())
			return
		}
		var made struct{ CustomUserStatus customstatus.CustomUserStatus }
		require.NoError(t, json.Unmarshal([]byte(a.body), &made))
		status := made.CustomUserStatus
		if !strings.HasPrefix(strings.TrimLeft(body, " \t\r\n"), "{") {
			for pair := range strings.SplitSeq(body, "&") {
				name, value, _ := strings.Cut(pair, "=")
				if name == "" {
					require.Empty(t, value)
					continue
				}
				name, err := url.QueryUnescape(name)
				require.NoError(t, err)
				value, err = url.QueryUnescape(value)
				require.NoError(t, err)
				require.Equal(t, map[string]string{"name": status.Name, "statusType": string(status.StatusType)}[name], value)
			}
		}
		_, err := s.catalog.Delete(t.Context(), status.ID, nil)
		require.NoError(t, err)
	})
}

// FuzzStream resumes streams from anything. No stream is refused, and each begins with a
// position.
func FuzzStream(f *testing.F) {
	for _, seed := range []string{"", "1", "1-0000000000000000", "0-0000000000000000", "-", "1-", "18446744073709551615-ffffffffffffffff", "\xff", "a\nb", "1-9F3A07C1D2E4B586"} {
		f.Add(seed)
	}
	s := newServer(f, setup{})
	s.handler.EndStreams() // each stream sends its first block and ends
	f.Fuzz(func(t *testing.T, position string) {
		r := httptest.NewRequest(http.MethodGet, s.prefix+streamPath+"?after="+url.QueryEscape(position), nil)
		r.Header.Set("X-User-Id", reader[0])
		r.Header.Set("X-Auth-Token", reader[1])
		w := deadlines{httptest.NewRecorder()}
		s.handler.ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code)
		require.Regexp(t, `^retry: \d{4}\nevent: ready\ndata: {"position":"\d+-[0-9a-f]{16}"}\nid: \d+-[0-9a-f]{16}\n\n`, w.Body.String())
	})
}

// deadlines is a writer that accepts any deadline.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }
