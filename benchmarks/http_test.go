package benchmarks_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/benchmarks/contestant"
	"github.com/customstatus/customstatus/benchmarks/internal/httpload"
	"github.com/customstatus/customstatus/httpadapter"
	"github.com/customstatus/customstatus/httpadapter/tokenauth"
)

// The requests of the HTTP benchmarks. The adapter and the bare handler get the same.
const (
	listRequest = "GET /api/v1/custom-user-status.list?count=50 HTTP/1.1\r\n" +
		"Host: 127.0.0.1\r\nX-User-Id: rbAXPnMktTFbNpwtJ\r\nX-Auth-Token: " + authToken + "\r\n"
	createRequest = "POST /api/v1/custom-user-status.create HTTP/1.1\r\n" +
		"Host: 127.0.0.1\r\nX-User-Id: rbAXPnMktTFbNpwtJ\r\nX-Auth-Token: " + authToken + "\r\n" +
		"Content-Type: application/json\r\nContent-Length: 51\r\n\r\n" +
		`{"name":"` + emptyName + `","statusType":"busy"}`
	authToken = "RScctEHSmLGZGywfIhWyRpyofhKOiMoUIpimhvheU3f"
	emptyName = "...................."
)

// server is a listener on loopback and its clients.
type server struct {
	http    http.Server
	conns   []*httpload.Conn
	serving chan error
}

// serve serves a handler, and connects to it workers times.
func serve(tb testing.TB, handler http.Handler) *server {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{http: http.Server{Handler: handler}, serving: make(chan error, 1)}
	go func() { s.serving <- s.http.Serve(listener) }()
	for range workers {
		conn, err := httpload.Dial(listener.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		s.conns = append(s.conns, conn)
	}
	return s
}

func (s *server) close(tb testing.TB) {
	for _, c := range s.conns {
		if err := c.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	if err := s.http.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := <-s.serving; !errors.Is(err, http.ErrServerClosed) {
		tb.Fatal(err)
	}
}

// do sends a request over one of the connections.
func (s *server) do(worker int, request []byte, wantStatus int) error {
	status, _, err := s.conns[worker].Do(request)
	if err != nil {
		return err
	}
	if status != wantStatus {
		return fmt.Errorf("status %d, want %d", status, wantStatus)
	}
	return nil
}

func (s *server) fetch(tb testing.TB, request string) (header string, body []byte) {
	status, h, body, err := s.conns[0].Fetch([]byte(request))
	if err != nil || status != http.StatusOK {
		tb.Fatalf("status %d, %v: %s", status, err, body)
	}
	return string(h), body
}

// adapter returns the library's own handler, with logins of package tokenauth.
func adapter(tb testing.TB, c contestant.Contestant) http.Handler {
	tokens := &tokenauth.Tokens{}
	err := tokens.Add(tokenauth.Token{
		UserID: "rbAXPnMktTFbNpwtJ", Hash: tokenauth.HashOf(authToken), MayManage: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return httpadapter.New(contestant.Catalog(c), httpadapter.HeaderAuth(tokens.Login), nil)
}

// bare returns the HTTPFloor, which reads the request's body and writes body. It sets the
// length, so that the server need not buffer the body to find it.
func bare(body []byte) http.Handler {
	length := strconv.Itoa(len(body))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", length)
		_, _ = w.Write(body)
	})
}

// served reports whether a kind takes part in the HTTP benchmarks.
func served(kind contestant.Kind, n int) bool {
	return kind.Name == contestant.CustomStatusBolt && n < big
}

// BenchmarkHTTPList asks for the first page of an unchanged catalog through 64
// connections. The time is the elapsed time divided by the number of answers.
func BenchmarkHTTPList(b *testing.B) {
	request := []byte(listRequest + "\r\n")
	eachKind(b, served, func(b *testing.B, kind contestant.Kind, n int) {
		s := serve(b, adapter(b, lab.shared(b, kind, n)))
		s.fetch(b, string(request))
		b.ResetTimer()
		parallel(b, b.N, func(w, _ int) error { return s.do(w, request, http.StatusOK) })
		b.StopTimer()
		s.close(b)
	})
	eachSize(b, contestant.HTTPFloor, big-1, func(b *testing.B, n int) {
		s := serve(b, bare(answer(b, n, string(request))))
		b.ResetTimer()
		parallel(b, b.N, func(w, _ int) error { return s.do(w, request, http.StatusOK) })
		b.StopTimer()
		s.close(b)
	})
}

// BenchmarkHTTPListNotModified is BenchmarkHTTPList for clients that have the page already
// and send its ETag.
func BenchmarkHTTPListNotModified(b *testing.B) {
	eachKind(b, served, func(b *testing.B, kind contestant.Kind, n int) {
		s := serve(b, adapter(b, lab.shared(b, kind, n)))
		header, _ := s.fetch(b, listRequest+"\r\n")
		_, etag, _ := strings.Cut(header, "Etag: ")
		etag, _, _ = strings.Cut(etag, "\r\n")
		request := []byte(listRequest + "If-None-Match: " + etag + "\r\n\r\n")
		b.ResetTimer()
		parallel(b, b.N, func(w, _ int) error { return s.do(w, request, http.StatusNotModified) })
		b.StopTimer()
		s.close(b)
	})
}

// BenchmarkHTTPCreate is BenchmarkCreate64 through 64 connections.
func BenchmarkHTTPCreate(b *testing.B) {
	names := contestant.Names(workers*createsEach, otherSeed)
	run := func(b *testing.B, fresh func() (http.Handler, func())) {
		b.Helper()
		rounds := 0
		for b.Loop() {
			b.StopTimer()
			handler, done := fresh()
			s := serve(b, handler)
			requests := make([][]byte, workers)
			for w := range requests {
				requests[w] = []byte(createRequest)
			}
			nameAt := strings.Index(createRequest, emptyName)
			b.StartTimer()
			parallel(b, len(names), func(w, i int) error {
				copy(requests[w][nameAt:], names[i])
				return s.do(w, requests[w], http.StatusOK)
			})
			b.StopTimer()
			s.close(b)
			done()
			rounds++
			b.StartTimer()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*len(names)), "ns/op")
	}
	eachKind(b, served, func(b *testing.B, kind contestant.Kind, n int) {
		run(b, func() (http.Handler, func()) {
			c := lab.fresh(b, kind, n)
			return adapter(b, c), func() {
				if _, total, err := c.List(0, 1); err != nil || total != n+len(names) {
					b.Fatalf("%d statuses, %v", total, err)
				}
				closeAll(b, c)
			}
		})
	})
	eachSize(b, contestant.HTTPFloor, big-1, func(b *testing.B, n int) {
		lab.release(b)
		body := answer(b, pageSize, createRequest)
		run(b, func() (http.Handler, func()) { return bare(body), func() {} })
	})
}

// answer returns the adapter's answer over a catalog of n statuses.
func answer(tb testing.TB, n int, request string) []byte {
	c, err := contestant.Named(contestant.CustomStatusMemory).Open("")
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Import(lab.statuses(n)); err != nil {
		tb.Fatal(err)
	}
	s := serve(tb, adapter(tb, c))
	_, body := s.fetch(tb, request)
	s.close(tb)
	closeAll(tb, c)
	return body
}

// TestBareHandler: the floor answers as the adapter does, and the adapter accepts the
// requests.
func TestBareHandler(t *testing.T) {
	request := listRequest + "\r\n"
	want := answer(t, 100, request)
	if !bytes.HasPrefix(want, []byte(`{"statuses":[{"_id":`)) || bytes.Count(want, []byte(`"_id"`)) != pageSize {
		t.Fatalf("the answer is %s", want)
	}
	s := serve(t, bare(want))
	if _, got := s.fetch(t, request); !bytes.Equal(got, want) {
		t.Fatalf("got %s, want %s", got, want)
	}
	s.close(t)

	created := answer(t, 100, createRequest)
	created, _ = bytes.CutPrefix(created, []byte(`{"customUserStatus":`))
	created, _ = bytes.CutSuffix(created, []byte(`,"success":true}`))
	var status customstatus.CustomUserStatus
	if err := status.UnmarshalJSON(created); err != nil || status.Name != emptyName {
		t.Fatalf("%v: %s", err, created)
	}
}
