package follower_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/follower"
	"github.com/customstatus/customstatus/internal/host"
	"github.com/customstatus/customstatus/internal/sentinel"
)

var errLost = errors.New("connection lost")

// feed is what an original yields before it fails.
type feed struct {
	commits []uint64
	err     error // nil: it waits for ctx
}

// number is a copy of an original that is one number. A commit of it adds one.
type number struct {
	start    time.Time
	revision uint64
	feeds    []feed // the last one for ever
	fails    int    // so many loads fail
	taken    []uint64
	noted    []error
	opened   []time.Duration // when feeds were, since the start
	loads    []time.Duration
}

func (n *number) Revision() uint64 { return n.revision }

func (n *number) Feed(ctx context.Context, _ uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		n.opened = append(n.opened, time.Since(n.start))
		f := n.feeds[0]
		if len(n.feeds) > 1 {
			n.feeds = n.feeds[1:]
		}
		for _, c := range f.commits {
			if !yield(c, nil) {
				return
			}
		}
		if f.err == nil {
			<-ctx.Done()
			f.err = ctx.Err()
		}
		yield(0, f.err)
	}
}

func (n *number) Take(commit uint64) error {
	if commit != n.revision+1 {
		return follower.ErrMisfit
	}
	n.revision = commit
	n.taken = append(n.taken, commit)
	return nil
}

func (n *number) Load(context.Context) error {
	n.loads = append(n.loads, time.Since(n.start))
	if n.fails > 0 {
		n.fails--
		return errLost
	}
	n.revision = 100
	return nil
}

func (n *number) Note(err error) { n.noted = append(n.noted, err) }

// run follows the feeds for so long.
func run(t *testing.T, d time.Duration, feeds ...feed) *number {
	n := &number{feeds: feeds}
	synctest.Test(t, func(t *testing.T) {
		n.start = time.Now()
		f := follower.New(&host.Host{Log: slog.New(slog.DiscardHandler)}, n)
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		f.Run(ctx)
	})
	return n
}

const ms = time.Millisecond

func TestRun(t *testing.T) {
	n := run(t, time.Hour, feed{[]uint64{1, 2}, errLost}, feed{[]uint64{3}, nil})
	require.Equal(t, []uint64{1, 2, 3}, n.taken)
	require.Equal(t, []error{nil, errLost, nil}, n.noted)
	require.Equal(t, []time.Duration{0, 0}, n.opened, "what brings something new is taken up again at once")
	require.Empty(t, n.loads)
}

func TestWaitsLongerAndLonger(t *testing.T) {
	n := run(t, 99*ms, feed{nil, errLost}, feed{nil, errLost}, feed{[]uint64{1}, errLost}, feed{nil, errLost})
	require.Equal(t, []time.Duration{0, 10 * ms, 30 * ms, 30 * ms, 40 * ms, 60 * ms}, n.opened)
	require.Equal(t, []error{errLost, errLost, nil, errLost, errLost, errLost, errLost}, n.noted)
}

func TestLoads(t *testing.T) {
	for name, f := range map[string]feed{
		"a commit is missing": {[]uint64{7}, nil},
		"compacted":           {nil, sentinel.ErrCompacted},
	} {
		n := run(t, time.Hour, f, feed{[]uint64{101}, nil})
		require.Equal(t, []time.Duration{0}, n.loads, name)
		require.Equal(t, []uint64{101}, n.taken, name)
	}
	n := run(t, 99*ms, feed{nil, sentinel.ErrCompacted})
	require.Equal(t, []time.Duration{0, 0, 10 * ms, 30 * ms, 70 * ms}, n.loads, "not without end")
	n = run(t, time.Minute, feed{nil, sentinel.ErrCompacted})
	require.Equal(t, 2560*ms, n.loads[len(n.loads)-1]-n.loads[len(n.loads)-2], "but for ever")
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &number{feeds: []feed{{[]uint64{1}, nil}, {[]uint64{101}, nil}}}
		f := follower.New(&host.Host{Log: slog.New(slog.DiscardHandler)}, n)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			f.Run(ctx)
			close(done)
		}()
		synctest.Wait()
		f.Reload()
		synctest.Wait()
		require.Len(t, n.loads, 1)
		require.Equal(t, []uint64{1, 101}, n.taken)
		require.Equal(t, []error{nil, follower.ErrMisfit, nil}, n.noted)
		cancel()
		<-done
	})
}

// A request to load lasts until a load succeeds that began after it.
func TestReloadIsNotLost(t *testing.T) {
	silent := feed{nil, nil}
	for _, tt := range []struct {
		what   string
		feeds  []feed
		fails  int
		after  time.Duration // of the request
		loads  []time.Duration
		opened []time.Duration
	}{
		{"before the first feed", []feed{silent}, 0, -1, []time.Duration{0}, []time.Duration{0}},
		{"during the wait for a feed", []feed{{nil, errLost}, {nil, errLost}, silent}, 0, 15 * ms,
			[]time.Duration{30 * ms}, []time.Duration{0, 10 * ms, 30 * ms}},
		{"the first loads fail", []feed{silent}, 3, 15 * ms,
			[]time.Duration{15 * ms, 15 * ms, 25 * ms, 45 * ms}, []time.Duration{0, 85 * ms}},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &number{feeds: tt.feeds, fails: tt.fails, start: time.Now()}
			f := follower.New(&host.Host{Log: slog.New(slog.DiscardHandler)}, n)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if tt.after < 0 {
				f.Reload()
			} else {
				time.AfterFunc(tt.after, f.Reload)
			}
			f.Run(ctx)
			require.Equal(t, tt.loads, n.loads, tt.what)
			require.Equal(t, tt.opened, n.opened, tt.what)
		})
	}
}

// slow is a copy whose loads take a while.
type slow struct{ number }

func (s *slow) Load(ctx context.Context) error {
	time.Sleep(10 * ms)
	return s.number.Load(ctx)
}

func TestReloadDuringALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slow{number{feeds: []feed{{nil, sentinel.ErrCompacted}, {nil, nil}}, start: time.Now()}}
		f := follower.New(&host.Host{Log: slog.New(slog.DiscardHandler)}, s)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		time.AfterFunc(5*ms, f.Reload)
		f.Run(ctx)
		require.Equal(t, []time.Duration{10 * ms, 20 * ms}, s.loads, "the first load may have missed why another was asked for")
	})
}

// broken is a copy whose original yields what no feed may.
type broken struct {
	number
	yields func(yield func(uint64, error) bool)
}

func (b *broken) Feed(context.Context, uint64) iter.Seq2[uint64, error] { return b.yields }

func TestBrokenFeeds(t *testing.T) {
	for want, yields := range map[string]func(func(uint64, error) bool){
		"the store's feed has ended without an error": func(func(uint64, error) bool) {},
		"the store panicked in Watch: broken feed":    func(func(uint64, error) bool) { panic("broken feed") },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &broken{yields: yields}
			ctx, cancel := context.WithTimeout(t.Context(), ms)
			defer cancel()
			follower.New(&host.Host{Log: slog.New(slog.DiscardHandler)}, b).Run(ctx)
			require.Len(t, b.noted, 1)
			require.EqualError(t, b.noted[0], want)
		})
	}
}
