package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// serverLog is the log of a server in this process. A channel of said is closed when
// the log has had its text.
type serverLog struct {
	mu   sync.Mutex
	text strings.Builder
	said map[string]chan struct{}
}

func newLog(texts ...string) *serverLog {
	l := &serverLog{said: make(map[string]chan struct{})}
	for _, text := range texts {
		l.said[text] = make(chan struct{})
	}
	return l
}

func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for text, said := range l.said {
		if bytes.Contains(b, []byte(text)) && !strings.Contains(l.text.String(), text) {
			close(said)
		}
	}
	return l.text.Write(b)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A server waits for the one that it replaces, and ends when it is told to meanwhile.
func TestLockTimeout(t *testing.T) {
	const waiting, listening = `msg="waiting for the process that holds the database"`, "msg=listening"
	path := filepath.Join(t.TempDir(), "x.db")
	start := func() (*serverLog, context.CancelFunc, chan int) {
		ctx, cancel := context.WithCancel(t.Context())
		log, ended := newLog(waiting, listening), make(chan int, 1)
		go func() {
			ended <- run(ctx, []string{"--db", path, "--addr", "127.0.0.1:0", "--lock-timeout", "1h"}, nil, io.Discard, log, noEnv)
		}()
		return log, cancel, ended
	}
	var log *serverLog
	var cancel context.CancelFunc
	var ended chan int
	whileServing(t, path, func() {
		log, cancel, ended = start()
		<-log.said[waiting]
		require.NotContains(t, log.String(), listening)
		given, giveUp, gone := start()
		<-given.said[waiting]
		giveUp()
		require.Equal(t, exitOK, <-gone, given)
		require.Contains(t, given.String(), `msg="stopped before listening"`)
	})
	<-log.said[listening]
	cancel()
	require.Equal(t, exitOK, <-ended, log)
	require.Equal(t, 1, strings.Count(log.String(), waiting))
}

// A server takes over the addresses of the one that it replaces.
func TestLockTimeoutOfAddresses(t *testing.T) {
	const waiting, listening = `msg="waiting for the process that holds the address"`, "msg=listening"
	for _, flag := range []string{"--addr", "--admin-addr"} {
		t.Run(flag, func(t *testing.T) {
			held, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer held.Close()
			args := []string{"--db", filepath.Join(t.TempDir(), "x.db"), "--addr", "127.0.0.1:0", flag, held.Addr().String(), "--lock-timeout", "1h"}
			start := func() (*serverLog, context.CancelFunc, chan int) {
				ctx, cancel := context.WithCancel(t.Context())
				log, ended := newLog(waiting, listening), make(chan int, 1)
				go func() { ended <- run(ctx, args, nil, io.Discard, log, noEnv) }()
				<-log.said[waiting]
				return log, cancel, ended
			}
			given, giveUp, gone := start()
			giveUp()
			require.Equal(t, exitOK, <-gone, given)
			require.Contains(t, given.String(), `msg="stopped before listening"`)
			require.NoFileExists(t, args[1])

			log, cancel, ended := start()
			require.NoError(t, held.Close())
			<-log.said[listening]
			cancel()
			require.Equal(t, exitOK, <-ended, log)
			require.Equal(t, 1, strings.Count(log.String(), waiting))
		})
	}
}

// broken is standard output that can't be written.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

// A token that can't be printed is not made.
func TestTokenThatCannotBePrinted(t *testing.T) {
	db := filepath.Join(t.TempDir(), "x.db")
	cli(t, "token", "add", "--db", db)
	before := cli(t, "token", "list", "--db", db)
	var errs bytes.Buffer
	require.Equal(t, exitFailure, run(t.Context(), []string{"token", "add", "--db", db}, nil, broken{}, &errs, noEnv))
	require.Contains(t, errs.String(), "token add: short write")
	require.Equal(t, before, cli(t, "token", "list", "--db", db))
}
