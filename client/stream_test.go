package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/client"
	"github.com/customstatus/customstatus/internal/pipenet"
)

const (
	ready   = "event: ready\ndata: {}\nid: 1-0000000000000001\n\n"
	lunch   = "event: created\ndata: {\"_id\":\"a\",\"name\":\"Lunch\",\"statusType\":\"away\"}\n"
	endOf2  = "id: 2-0000000000000002\n\n"
	renamed = "event: updated\ndata: {\"_id\":\"a\",\"name\":\"Late\",\"statusType\":\"away\"}\nid: 3-0000000000000003\n\n"
)

// TestSlowConsumer: the time that a caller takes is no silence of the stream.
func TestSlowConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener := pipenet.Listen()
		next := make(chan string, 1)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte(ready + lunch + endOf2))
			_ = http.NewResponseController(w).Flush()
			select {
			case text := <-next:
				_, _ = w.Write([]byte(text))
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
			}
			<-r.Context().Done()
		})}
		go func() { _ = server.Serve(listener) }()
		transport := &http.Transport{DialContext: listener.Dial}
		c, err := client.New("http://x", &client.Options{HTTPClient: &http.Client{Transport: transport}, OnRetry: func(err error, _ time.Duration) {
			t.Errorf("the stream broke: %v", err)
		}})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var names []string
		for commit, err := range c.Watch(ctx, customstatus.Position{}) {
			if err != nil {
				break
			}
			names = append(names, commit.Changes[0].After.Name)
			if len(names) == 2 {
				cancel()
				continue
			}
			time.Sleep(time.Hour)
			next <- renamed
		}
		require.Equal(t, []string{"Lunch", "Late"}, names)
		transport.CloseIdleConnections()
		require.NoError(t, server.Close())
	})
}

// TestRetryOfTheServer: a server's field retry is the least wait.
func TestRetryOfTheServer(t *testing.T) {
	server := &eventStream{texts: []string{"retry: 8\n" + ready}}
	var waits []time.Duration
	c := quick(t, serve(t, server), client.Options{MaxWait: 10 * time.Millisecond, Random: func() uint64 { return 5e6 }, OnRetry: func(_ error, wait time.Duration) {
		waits = append(waits, wait)
	}})
	for range c.Watch(t.Context(), customstatus.Position{}) {
	}
	require.Equal(t, []time.Duration{8 * time.Millisecond}, waits)
}

// TestCommitsAreBounded: a commit that never ends doesn't fill the memory.
func TestCommitsAreBounded(t *testing.T) {
	server := &eventStream{texts: []string{ready + strings.Repeat(lunch+"\n", 100), ready + lunch + endOf2}}
	var failures []error
	c := quick(t, serve(t, server), client.Options{MaxAnswerBytes: 1000, OnRetry: func(err error, _ time.Duration) { failures = append(failures, err) }})
	for commit, err := range c.Watch(t.Context(), customstatus.Position{}) {
		require.NoError(t, err)
		require.Len(t, commit.Changes, 1)
		break
	}
	require.Len(t, failures, 1)
	require.ErrorIs(t, failures[0], client.ErrUnexpectedAnswer)
}

// TestResetConnection: a write whose connection is reset after the request may have been
// made, so it is not repeated.
func TestResetConnection(t *testing.T) {
	var requests atomic.Int64
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	}))
	err := quick(t, url, client.Options{}).Delete(t.Context(), "x")
	require.ErrorIs(t, err, customstatus.ErrOutcomeUnknown)
	require.EqualValues(t, 1, requests.Load())
}

// TestNothingSent: after an error that comes before the request, a write is not made, and
// it is repeated if the error can pass.
func TestNothingSent(t *testing.T) {
	for name, tt := range map[string]struct {
		err      error
		attempts int
	}{
		"no address":    {&net.DNSError{Err: "no such host", Name: "x"}, 4},
		"no connection": {&net.OpError{Op: "dial", Err: errors.New("refused")}, 4},
		"a certificate": {&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, 1},
	} {
		attempts := 0
		broken := roundTripper(func(*http.Request) (*http.Response, error) {
			attempts++
			return nil, tt.err
		})
		err := quick(t, "http://x", client.Options{HTTPClient: &http.Client{Transport: broken}}).Delete(t.Context(), "x")
		require.ErrorIs(t, err, tt.err, name)
		require.NotErrorIs(t, err, customstatus.ErrOutcomeUnknown, name)
		require.Equal(t, tt.attempts, attempts, name)
	}
}
