package httpload_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/customstatus/customstatus/benchmarks/internal/httpload"
)

func TestConn(t *testing.T) {
	big := strings.Repeat("x", 40<<10)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	mux.HandleFunc("GET /empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /big", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "40960")
		io.WriteString(w, big)
	})
	mux.HandleFunc("GET /chunked", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, big) })
	mux.HandleFunc("GET /same", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) })
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	server := httptest.NewServer(mux)
	defer server.Close()
	dial := func(t *testing.T) *httpload.Conn {
		c, err := httpload.Dial(server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}

	c := dial(t)
	for _, tt := range []struct {
		request string
		status  int
		body    string
	}{
		{"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", 200, "hello"},
		{"GET /same HTTP/1.1\r\nHost: x\r\n\r\n", 304, ""},
		{"GET /big HTTP/1.1\r\nHost: x\r\n\r\n", 200, big},
		{"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n", 200, ""},
		{"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, "404 page not found\n"},
		{"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200, "abc"},
	} {
		status, length, err := c.Do([]byte(tt.request))
		if err != nil || status != tt.status || length != len(tt.body) {
			t.Errorf("%q: got %d, %d bytes, %v; want %d, %d bytes", tt.request, status, length, err, tt.status, len(tt.body))
		}
		status, header, body, err := c.Fetch([]byte(tt.request))
		if err != nil || status != tt.status || string(body) != tt.body {
			t.Errorf("%q: fetched %d, %d bytes, %v; want %d, %d bytes", tt.request, status, len(body), err, tt.status, len(tt.body))
		}
		if !strings.HasPrefix(string(header), "HTTP/1.1 ") || !strings.HasSuffix(string(header), "\r\n\r\n") {
			t.Errorf("%q: header is %q", tt.request, header)
		}
	}
	if _, _, err := c.Do([]byte("GET /chunked HTTP/1.1\r\nHost: x\r\n\r\n")); err == nil {
		t.Error("an answer without a length was taken")
	}
	c = dial(t)
	if _, _, err := c.Do([]byte("GET /hello HTTP/1.0\r\nHost: x\r\n\r\n")); err == nil {
		t.Error("an answer of another protocol was taken")
	}
	if _, _, err := c.Do([]byte("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")); err == nil {
		t.Error("a closed connection answered")
	}
}
