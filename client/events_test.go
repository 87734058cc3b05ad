package client

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func parse(r io.Reader) (events []event, retry time.Duration, err error) {
	p := newParser(r)
	for {
		e, err := p.next()
		if err != nil {
			return events, p.retry, err
		}
		events = append(events, e)
	}
}

func TestParser(t *testing.T) {
	for name, tt := range map[string]struct {
		stream string
		want   []event
	}{
		"an event":          {"event: created\ndata: {}\nid: 1-2\n\n", []event{{"created", "{}", "1-2"}}},
		"CR":                {"event: a\rdata: b\r\r", []event{{"a", "b", ""}}},
		"CRLF":              {"event: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", []event{{"a", "b", ""}, {"", "c", ""}}},
		"two lines of data": {"data: a\ndata:b\ndata\n\n", []event{{"", "a\nb\n", ""}}},
		"a comment":         {": a\n\n:\ndata: b\n\n", []event{{"", "b", ""}}},
		"no data":           {"event: a\nid: 1\n\ndata: b\n\n", []event{{"", "b", ""}}},
		"cut midway":        {"data: a\n\ndata: b\n", []event{{"", "a", ""}}},
		"a mark":            {"\uFEFFdata: a\n\n", []event{{"", "a", ""}}},
		"NUL in an id":      {"id: a\x00\ndata: a\n\n", []event{{"", "a", ""}}},
		"unknown field":     {"x: a\ndata: a\n\n", []event{{"", "a", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.stream), iotest.OneByteReader(strings.NewReader(tt.stream))} {
				got, _, err := parse(r)
				require.Equal(t, io.EOF, err)
				require.Equal(t, tt.want, got)
			}
		})
	}
	_, retry, _ := parse(strings.NewReader("retry: 1500\nretry: x\nretry: +1\n"))
	require.Equal(t, 1500*time.Millisecond, retry)
	for _, s := range []string{strings.Repeat("x", maxLine+1), strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 300)} {
		_, _, err := parse(strings.NewReader(s))
		require.ErrorIs(t, err, errTooLong)
	}
}

func FuzzParser(f *testing.F) {
	f.Add("retry: 5\nevent: created\r\ndata: {}\rid: 1\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		whole, retry, err := parse(strings.NewReader(s))
		bytewise, retry2, err2 := parse(iotest.OneByteReader(strings.NewReader(s)))
		require.Equal(t, whole, bytewise)
		require.Equal(t, retry, retry2)
		require.Equal(t, err, err2)
		require.True(t, errors.Is(err, io.EOF) || errors.Is(err, errTooLong))
		for _, e := range whole {
			require.NotContains(t, e.name+e.id, "\n")
			_, _, _ = changeOf(e)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"success":true,"statuses":[{"_id":"a"}],"total":1,"customUserStatus":{"_id":"b"}}`))
	f.Add([]byte(`{"success":false,"error":"x [y]","errorType":"y","details":{"field":"Name","input":1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := decode(b)
		if a.known {
			require.True(t, json.Valid(b))
		}
		if s, err := parseStatus(a.customUserStatus); err == nil {
			require.NotEmpty(t, s.ID)
		}
	})
}

// A redirect is followed within an origin, for reads, and not without an end.
func TestRedirects(t *testing.T) {
	for name, tt := range map[string]struct {
		method, from, to string
		before           int
		follow           bool
	}{
		"a path":         {http.MethodGet, "http://x/a", "http://x/b", 1, true},
		"a write":        {http.MethodPost, "http://x/a", "http://x/b", 1, false},
		"another host":   {http.MethodGet, "http://x/a", "http://y/a", 1, false},
		"another port":   {http.MethodGet, "http://x/a", "http://x:81/a", 1, false},
		"another scheme": {http.MethodGet, "http://x/a", "https://x/a", 1, false},
		"the tenth":      {http.MethodGet, "http://x/a", "http://x/b", 10, false},
	} {
		request := func(address string) *http.Request {
			r, err := http.NewRequestWithContext(t.Context(), tt.method, address, nil)
			require.NoError(t, err)
			return r
		}
		via := slices.Repeat([]*http.Request{request(tt.from)}, tt.before)
		require.Equal(t, tt.follow, checkRedirect(nil)(request(tt.to), via) == nil, name)
		err := checkRedirect(func(*http.Request, []*http.Request) error { return io.EOF })(request(tt.to), via)
		require.Equal(t, tt.follow, errors.Is(err, io.EOF), "%s: the host's own rule counts, too", name)
	}
}
