package benchmarks_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/benchmarks/contestant"
	"github.com/customstatus/customstatus/httpadapter"
)

// streamsFlag makes the process the client of BenchmarkStreams. A process of its own
// has descriptors of its own, and its memory is not the server's.
var streamsFlag = flag.String("streams", "", "`address,number` of streams to read: for BenchmarkStreams itself")

const streamRequest = "GET /api/v1/custom-user-status.stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

// BenchmarkStreams sends one change to as many streams as the size says. The time is
// from the commit to the last stream that has all of the change.
func BenchmarkStreams(b *testing.B) {
	eachKind(b, streams, func(b *testing.B, kind contestant.Kind, n int) {
		lab.release(b)
		catalog, err := customstatus.Open(b.Context(), customstatus.NewMemoryStore(), nil)
		if err != nil {
			b.Fatal(err)
		}
		defer closeAll(b, catalog)
		anybody := httpadapter.AuthenticatorFunc(func(*http.Request) (httpadapter.Caller, error) {
			return httpadapter.Caller{UserID: "u", MayManage: true}, nil
		})
		names, i := contestant.Names(1<<16, otherSeed), 0
		api := httpadapter.New(catalog, anybody, nil)
		serve := func(ctx context.Context, l net.Listener) error { return api.Serve(ctx, l, nil) }
		benchmarkStreams(b, serve, n, func() {
			if _, err := catalog.Create(b.Context(), customstatus.Fields{Name: names[i], StatusType: customstatus.Busy}); err != nil {
				b.Fatal(err)
			}
			i++
		})
	})
	eachSize(b, contestant.StreamFloor, 0, func(b *testing.B, n int) {
		floor := newBareStreams()
		server := http.Server{Handler: floor}
		serve := func(ctx context.Context, l net.Listener) error {
			defer context.AfterFunc(ctx, func() { server.Close() })()
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		}
		benchmarkStreams(b, serve, n, floor.send)
	})
}

// streams reports whether a kind takes part in BenchmarkStreams: what a stream costs
// has nothing to do with the store.
func streams(kind contestant.Kind, n int) bool { return kind.Name == contestant.CustomStatusMemory }

func benchmarkStreams(b *testing.B, serve func(context.Context, net.Listener) error, n int, send func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	before := inUse()
	ctx, end := context.WithCancel(b.Context())
	defer end()
	serving := make(chan error, 1)
	go func() { serving <- serve(ctx, listener) }()
	client := exec.Command(os.Args[0], "-test.run", "^TestReadStreams$", "-streams", fmt.Sprint(listener.Addr(), ",", n))
	client.Stderr = os.Stderr
	input, err := client.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := client.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := client.Start(); err != nil {
		b.Fatal(err)
	}
	rounds := bufio.NewReader(output)
	wait := func() {
		if line, err := rounds.ReadString('\n'); line != "all\n" {
			b.Fatalf("the client said %q, %v", line, err)
		}
	}
	wait() // all streams are open
	held := inUse() - before
	for range 3 {
		send()
		wait()
	}
	b.ResetTimer()
	for b.Loop() {
		send()
		wait()
	}
	b.StopTimer()
	b.ReportMetric(float64(held)/float64(n), "B/stream")
	_ = input.Close() // the client ends
	if err := client.Wait(); err != nil {
		b.Fatal(err)
	}
	end()
	if err := <-serving; err != nil {
		b.Fatal(err)
	}
}

// inUse returns the bytes of heap and stacks in use.
func inUse() uint64 {
	var m runtime.MemStats
	for range 2 { // the first finds what finalizers have let go
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// TestReadStreams is the client of BenchmarkStreams. It prints a line when all streams
// have begun, and one each time when all have got another change, until its input ends.
func TestReadStreams(t *testing.T) {
	address, number, ok := strings.Cut(*streamsFlag, ",")
	if !ok {
		t.Skip("only run by BenchmarkStreams")
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	var blocks atomic.Int64
	var reading sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, streamRequest); err != nil {
			t.Fatal(err)
		}
		context.AfterFunc(ctx, func() { conn.Close() })
		reading.Go(func() {
			buf := make([]byte, 2<<10)
			header := true
			for {
				read, err := conn.Read(buf)
				if err != nil {
					return
				}
				got := buf[:read]
				if header { // it is sent with the first event, or before it
					if _, after, found := bytes.Cut(got, []byte("\r\n\r\n")); found {
						got, header = after, false
					}
				}
				// Every block ends in an empty line, and none is cut in two.
				if found := bytes.Count(got, []byte("\n\n")); found > 0 && blocks.Add(int64(found))%int64(n) == 0 {
					fmt.Println("all")
				}
			}
		})
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
	reading.Wait()
}

// bareStreams is the StreamFloor: a handler that writes the same bytes to every
// connection, and does nothing else.
type bareStreams struct {
	current atomic.Pointer[broadcast]
}

type broadcast struct {
	event []byte
	next  *broadcast // once done is closed
	done  chan struct{}
}

func newBareStreams() *bareStreams {
	s := new(bareStreams)
	s.current.Store(&broadcast{done: make(chan struct{})})
	return s
}

// The bytes of a stream, as the adapter writes them.
const (
	bareReady = "retry: 4000\nevent: ready\ndata: {\"position\":\"1000-9f3a07c1d2e4b586\"}\nid: 1000-9f3a07c1d2e4b586\n\n"
	bareEvent = "event: created\ndata: {\"_id\":\"019a4f2c-1d5e-7000-8000-000000000001\",\"name\":\"abcdefghijklmnopqrst\"," +
		"\"statusType\":\"busy\",\"_updatedAt\":\"2023-11-04T11:51:28.353Z\"}\nid: 1000-9f3a07c1d2e4b586\n\n"
)

func (s *bareStreams) send() {
	at := s.current.Load()
	at.event, at.next = []byte(bareEvent), &broadcast{done: make(chan struct{})}
	s.current.Store(at.next)
	close(at.done)
}

func (s *bareStreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := s.current.Load()
	conn := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	write := func(b []byte) bool {
		// Without it, one client that doesn't read would hold the handler for ever.
		if conn.SetWriteDeadline(time.Now().Add(10*time.Second)) != nil {
			return false
		}
		_, err := w.Write(b)
		return err == nil && conn.Flush() == nil
	}
	if !write([]byte(bareReady)) {
		return
	}
	for {
		select {
		case <-at.done:
			if !write(at.event) {
				return
			}
			at = at.next
		case <-r.Context().Done():
			return
		}
	}
}
