package httpadapter_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/httpadapter"
)

// dial opens a connection on which a test can write any bytes.
func (s *server) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { conn.Close() })
	return conn
}

// raw is a request with the manager's credentials, from its method to its end.
func raw(line string, header string, body string) string {
	return line + " HTTP/1.1\r\nHost: x\r\nX-User-Id: " + manager[0] + "\r\nX-Auth-Token: " + manager[1] + "\r\n" + header + "\r\n" + body
}

// answers reads answers until the server closes the connection.
func answers(t *testing.T, conn net.Conn) []answer {
	t.Helper()
	var all []answer
	r := bufio.NewReader(conn)
	for {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return all
		}
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		all = append(all, answer{res.StatusCode, res.Header, string(body)})
	}
}

func TestHostileRequests(t *testing.T) {
	const create = "POST /api/v1/" + createPath
	const body = `{"name":"a","statusType":"busy"}`
	chunked := func(chunks ...string) string {
		var b strings.Builder
		for _, c := range chunks {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(c), c)
		}
		return b.String() + "0\r\n\r\n"
	}
	for name, tt := range map[string]struct {
		send    string
		cut     bool // the client stops sending
		status  []int
		written bool
	}{
		"plain":                          {send: raw(create, "Connection: close\r\nContent-Length: 32\r\n", body), status: []int{200}, written: true},
		"chunked":                        {send: raw(create, "Connection: close\r\nTransfer-Encoding: chunked\r\n", chunked(body[:7], body[7:])), status: []int{200}, written: true},
		"one byte a chunk":               {send: raw(create, "Connection: close\r\nTransfer-Encoding: chunked\r\n", chunked(strings.Split(body, "")...)), status: []int{200}, written: true},
		"chunked beyond the limit":       {send: raw(create, "Connection: close\r\nTransfer-Encoding: chunked\r\n", chunked(strings.Repeat(" ", 40000), strings.Repeat(" ", 40000))), status: []int{413}},
		"chunked, one byte too large":    {send: raw(create, "Connection: close\r\nTransfer-Encoding: chunked\r\n", chunked(body, strings.Repeat(" ", httpadapter.MaxBodyBytes-len(body)+1))), status: []int{413}},
		"chunked, just small enough":     {send: raw(create, "Connection: close\r\nTransfer-Encoding: chunked\r\n", chunked(body, strings.Repeat(" ", httpadapter.MaxBodyBytes-len(body)))), status: []int{200}, written: true},
		"chunk longer than it says":      {send: raw(create, "Transfer-Encoding: chunked\r\n", "5\r\n"+body+"\r\n0\r\n\r\n"), status: []int{400}},
		"chunk shorter than it says":     {send: raw(create, "Transfer-Encoding: chunked\r\n", "fff\r\n"+body+"\r\n0\r\n\r\n"), cut: true, status: []int{400}},
		"chunk of no size":               {send: raw(create, "Transfer-Encoding: chunked\r\n", "zz\r\n"+body+"\r\n0\r\n\r\n"), status: []int{400}},
		"chunk of a huge size":           {send: raw(create, "Transfer-Encoding: chunked\r\n", "ffffffffffffffffffff\r\n"+body+"\r\n0\r\n\r\n"), status: []int{400}},
		"no last chunk":                  {send: raw(create, "Transfer-Encoding: chunked\r\n", "20\r\n"+body+"\r\n"), cut: true, status: []int{400}},
		"body is cut":                    {send: raw(create, "Content-Length: 32\r\n", body[:20]), cut: true, status: []int{400}},
		"valid, then cut":                {send: raw(create, "Content-Length: 40\r\n", body), cut: true, status: []int{400}},
		"length too small":               {send: raw(create, "Connection: close\r\nContent-Length: 31\r\n", body), status: []int{400}},
		"length of gigabytes":            {send: raw(create, "Content-Length: 99999999999\r\n", body), status: []int{413}},
		"negative length":                {send: raw(create, "Content-Length: -1\r\n", body), status: []int{400}},
		"two lengths":                    {send: raw(create, "Content-Length: 32\r\nContent-Length: 1\r\n", body), status: []int{400}},
		"length and chunks":              {send: raw(create, "Connection: close\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunked(body)), status: []int{200}, written: true},
		"coding unknown":                 {send: raw(create, "Transfer-Encoding: gzip\r\n", body), status: []int{501}},
		"headers of 2 MB":                {send: raw(create, "X-Pad: "+strings.Repeat("x", 2<<20)+"\r\n", body), status: []int{431}},
		"a query of 2 MB":                {send: raw("GET /api/v1/"+listPath+"?name="+strings.Repeat("x", 2<<20), "", ""), status: []int{431}},
		"no Host":                        {send: strings.Replace(raw(create, "Content-Length: 32\r\n", body), "Host: x\r\n", "", 1), status: []int{400}},
		"an absolute URL":                {send: raw("GET http://elsewhere.example/api/v1/"+listPath, "Connection: close\r\n", ""), status: []int{200}},
		"asterisk":                       {send: raw("OPTIONS *", "Connection: close\r\n", ""), status: []int{200}}, // net/http's own
		"pipelined":                      {send: raw(create, "Content-Length: 32\r\n", body) + raw(create, "Content-Length: 32\r\n", body) + raw("GET /api/v1/"+listPath, "Connection: close\r\n", ""), status: []int{200, 400, 200}, written: true},
		"pipelined behind a 413":         {send: raw(create, "Content-Length: 70000\r\n", strings.Repeat(" ", 70000)) + raw(create, "Connection: close\r\nContent-Length: 32\r\n", body), status: []int{413, 200}, written: true},
		"hidden behind a short length":   {send: raw(create, "Content-Length: 2\r\n", "{}"+raw(create, "Connection: close\r\nContent-Length: 32\r\n", body)), status: []int{400, 200}, written: true},
		"a GET with a body":              {send: raw("GET /api/v1/"+listPath, "Connection: close\r\nContent-Length: 32\r\n", body), status: []int{200}},
		"trailers are no credentials":    {send: "POST /api/v1/" + createPath + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTrailer: X-User-Id, X-Auth-Token\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + body + "\r\n0\r\nX-User-Id: " + manager[0] + "\r\nX-Auth-Token: " + manager[1] + "\r\n\r\n", status: []int{401}},
		"credentials repeated":           {send: raw(create, "Connection: close\r\nx-user-id: "+manager[0]+"\r\nContent-Length: 32\r\n", body), status: []int{401}},
		"credentials folded to the next": {send: raw(create, "Connection: close\r\nX-Auth-Token:\r\n "+manager[1]+"\r\nContent-Length: 32\r\n", body), status: []int{401}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, setup{})
			conn := s.dial()
			go func() { // the server answers before it has read everything
				_, _ = io.WriteString(conn, tt.send)
				if tt.cut {
					_ = conn.(*net.TCPConn).CloseWrite()
				}
			}()
			var got []int
			for _, a := range answers(t, conn) {
				got = append(got, a.status)
				require.NotContains(t, a.body, ".go")
				if a.status == http.StatusInternalServerError {
					t.Error(a.body)
				}
			}
			require.Equal(t, tt.status, got)
			_, err := s.catalog.GetByName("a")
			require.Equal(t, tt.written, err == nil, "err: %v", err)
			require.NotContains(t, s.log.String(), "level=ERROR")
		})
	}
}

// TestSlowClients: clients stop in the middle of a request. The host's timeouts cut
// them, and all others are served meanwhile.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{http: func(srv *http.Server) { srv.ReadTimeout, srv.IdleTimeout = 5*time.Second, time.Minute }})
	const create = "POST /api/v1/" + createPath
	var wg sync.WaitGroup
	for i := range 60 {
		send := []string{
			"",
			"POST /api",
			"POST / HTTP/1.1\r\nHost: x\r\nX-Pad: ",
			raw(create, "Content-Length: 60000\r\n", ""),
			raw(create, "Content-Length: 60000\r\n", `{"name":"half`),
			raw(create, "Transfer-Encoding: chunked\r\n", "5\r\n{\"na"),
		}[i%6]
		conn := s.dial()
		_, err := io.WriteString(conn, send)
		require.NoError(t, err)
		wg.Go(func() {
			for _, a := range answers(t, conn) {
				assert.Equal(t, http.StatusBadRequest, a.status)
			}
		})
	}
	for i := range 20 {
		body := fmt.Sprintf(`{"name":"honest %d","statusType":"busy"}`, i)
		require.Equal(t, http.StatusOK, s.do(request{as: manager, path: createPath, body: body}).status)
	}
	wg.Wait() // the server has cut them all
	require.Len(t, s.list(""), 22)
	require.NotContains(t, s.log.String(), "level=ERROR")
}

// TestDeafClients: clients pipeline requests for lists and never read an answer.
func TestDeafClients(t *testing.T) {
	t.Parallel()
	s := newServer(t, setup{empty: true, http: func(srv *http.Server) { srv.WriteTimeout = 5 * time.Second }})
	_, err := s.catalog.Import(t.Context(), many(200))
	require.NoError(t, err)
	pipeline := bytes.Repeat([]byte(raw("GET /api/v1/"+listPath+"?count=100", "", "")), 1000) // 17 MB of answers
	var wg sync.WaitGroup
	for range 8 {
		conn := s.dial()
		require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(4096))
		wg.Go(func() {
			for { // until the server has cut it
				if _, err := conn.Write(pipeline); err != nil {
					return
				}
			}
		})
	}
	for range 20 {
		require.Len(t, s.list("count=100"), 100)
	}
	wg.Wait()
}

// TestManyAtOnce creates the same names from many connections. Each name is created
// once, and each answer is true.
func TestManyAtOnce(t *testing.T) {
	s := newServer(t, setup{empty: true})
	var mu sync.Mutex
	made := make(map[string]int)
	var wg sync.WaitGroup
	for c := range 100 {
		conn := s.dial()
		wg.Go(func() {
			r := bufio.NewReader(conn)
			for i := range 10 {
				name := fmt.Sprintf("n%d", (c+i)%25)
				body := `{"name":"` + name + `","statusType":"busy"}`
				_, err := io.WriteString(conn, raw("POST /api/v1/"+createPath, fmt.Sprintf("Content-Length: %d\r\n", len(body)), body))
				assert.NoError(t, err)
				res, err := http.ReadResponse(r, nil)
				if !assert.NoError(t, err) {
					return
				}
				text, err := io.ReadAll(res.Body)
				assert.NoError(t, err)
				if res.StatusCode == http.StatusOK {
					mu.Lock()
					made[name]++
					mu.Unlock()
				} else {
					assert.Contains(t, string(text), "Name_Already_In_Use")
				}
			}
		})
	}
	wg.Wait()
	require.Len(t, made, 25)
	for name, n := range made {
		require.Equal(t, 1, n, name)
	}
	page, err := s.catalog.List(customstatus.Query{})
	require.NoError(t, err)
	require.Len(t, page.Statuses, 25)
}
