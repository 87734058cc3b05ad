package health_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/health"
	"github.com/customstatus/customstatus/internal/host"
	"github.com/customstatus/customstatus/internal/sentinel"
)

var (
	errFull = errors.New("disk full")
	errGone = errors.New("disk gone")
	start   = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
)

// stacked is an error with the stack of a panic.
type stacked struct{ error }

func (stacked) Stack() []byte { return []byte("goroutine 1") }

// at is a position.
type at string

func (p at) String() string { return string(p) }

// account returns an account whose clock goes on by an hour each time, and a
// function that returns what has been logged since its last call.
func account() (*health.Account, func() []string) {
	var logged bytes.Buffer
	hours := 0
	plain := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	a := health.New(&host.Host{
		Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{ReplaceAttr: plain})),
		Clock: func() time.Time {
			hours++
			return start.Add(time.Duration(hours) * time.Hour)
		},
	})
	return a, func() []string {
		lines := strings.FieldsFunc(logged.String(), func(r rune) bool { return r == '\n' })
		logged.Reset()
		return lines
	}
}

func TestCommit(t *testing.T) {
	a, logged := account()
	a.Commit(1, 3, nil)
	require.Empty(t, logged())
	a.Commit(0, 1, errFull)
	a.Commit(0, 1, errGone)
	require.Equal(t, []string{`level=ERROR msg="customstatus: commits fail" error="disk full"`}, logged(), "once for an outage")
	require.Equal(t, health.Figures{
		Commits: 1, Changes: 3, FailedCommits: 2,
		Commit: health.Outage{Err: errGone, Since: start.Add(time.Hour)},
	}, a.Figures(), "the last error, and the time of the first")
	a.Commit(2, 1, nil)
	require.Equal(t, []string{`level=INFO msg="customstatus: commits succeed again" revision=2`}, logged())
	require.Equal(t, health.Figures{Commits: 2, Changes: 4, FailedCommits: 2}, a.Figures())

	a.Commit(0, 1, stacked{errFull})
	require.Equal(t, []string{`level=ERROR msg="customstatus: commits fail" error="disk full" stack="goroutine 1"`}, logged())
}

func TestReopen(t *testing.T) {
	a, logged := account()
	a.Commit(0, 1, errFull)
	logged()
	a.Reopen(errFull, errGone)
	require.Equal(t, []string{`level=ERROR msg="customstatus: the store can't be reopened" cause="disk full" error="disk gone"`}, logged())
	require.Equal(t, errFull, a.Figures().Commit.Err)
	a.Reopen(errFull, nil)
	require.Equal(t, []string{`level=WARN msg="customstatus: the store was reopened" cause="disk full"`}, logged())
	require.Equal(t, health.Figures{FailedCommits: 1, Reopens: 1}, a.Figures(), "commits can be made again")
}

func TestCheck(t *testing.T) {
	a, logged := account()
	a.Check(nil)
	require.Empty(t, logged())
	a.Check(errFull)
	a.Check(errGone)
	require.Equal(t, []string{`level=ERROR msg="customstatus: commits fail" error="disk full"`}, logged())
	require.Equal(t, health.Figures{Commit: health.Outage{Err: errGone, Since: start.Add(time.Hour)}}, a.Figures(), "no commit was tried")
	a.Check(nil)
	require.Equal(t, []string{`level=INFO msg="customstatus: commits can begin again"`}, logged())
	require.Zero(t, a.Figures())

	a.Commit(0, 1, errFull)
	failing := a.Figures()
	a.Check(nil)
	require.Equal(t, failing, a.Figures(), "only a commit tells")
	a.Commit(0, 1, fmt.Errorf("%w: %w", sentinel.ErrOutcomeUnknown, errGone))
	logged()
	a.Check(nil)
	require.Equal(t, health.Figures{FailedCommits: 2}, a.Figures(), "the outcome is known")
	require.Equal(t, []string{`level=INFO msg="customstatus: commits can begin again"`}, logged())

	// What a later commit or reopening says counts.
	a.Check(errGone)
	a.Commit(0, 1, errFull)
	a.Check(nil)
	require.Equal(t, errFull, a.Figures().Commit.Err)
	a.Check(errGone)
	a.Reopen(errGone, nil)
	require.Zero(t, a.Figures().Commit)
	a.Commit(0, 1, errFull)
	a.Check(nil)
	require.Equal(t, errFull, a.Figures().Commit.Err)
}

func TestLoad(t *testing.T) {
	a, logged := account()
	a.Load(false, at("1-a"), nil)
	require.Empty(t, logged())
	a.Load(true, at("2-b"), nil)
	require.Equal(t, []string{
		`level=ERROR msg="customstatus: the store holds another history, statuses that were read may be gone" position=2-b`,
	}, logged())
	a.Load(false, at("2-b"), errFull)
	require.Equal(t, []string{`level=ERROR msg="customstatus: the store can't be loaded" error="disk full"`}, logged())
	require.Equal(t, health.Figures{Loads: 3, Rewinds: 1}, a.Figures())
}

func TestFeed(t *testing.T) {
	a, logged := account()
	require.False(t, a.Feed(nil), "there is one from the start")
	require.True(t, a.Feed(errFull))
	require.False(t, a.Feed(errFull))
	require.False(t, a.Feed(errGone))
	require.False(t, a.Feed(errGone))
	require.Equal(t, []string{
		`level=WARN msg="customstatus: the feed of the store has ended, reads are late until it is back" error="disk full"`,
		`level=WARN msg="customstatus: the feed of the store is still away" error="disk gone"`,
	}, logged(), "each cause once")
	require.Equal(t, health.Outage{Err: errGone, Since: start.Add(time.Hour)}, a.Figures().Feed)
	require.True(t, a.Feed(nil))
	require.Equal(t, []string{`level=INFO msg="customstatus: the feed of the store is back"`}, logged())
	require.Zero(t, a.Figures())
}
