package customstatus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

func TestWatch(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{Now: ticking()})
	a := create(t, c, "a", customstatus.Busy)
	page, err := c.List(customstatus.Query{})
	require.NoError(t, err)

	got := make(chan customstatus.Commit)
	watchCtx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		for commit, err := range c.Watch(watchCtx, page.Position) {
			if err != nil {
				ended <- err
				return
			}
			got <- commit
		}
	}()
	b := create(t, c, "b", customstatus.Away)
	commit := <-got
	require.Equal(t, customstatus.Commit{
		Revision: 2, Changes: []customstatus.Change{{Kind: customstatus.Created, After: b}},
		Fingerprint: a.Fingerprint() + b.Fingerprint(), FingerprintKnown: true,
	}, commit)

	a2, err := c.Update(ctx, a.ID, customstatus.Fields{Name: "a2", StatusType: "online"}, nil)
	require.NoError(t, err)
	commit = <-got
	require.Equal(t, customstatus.Commit{
		Revision: 3, Changes: []customstatus.Change{{Kind: customstatus.Updated, Before: a, After: a2}},
		Fingerprint: a2.Fingerprint() + b.Fingerprint(), FingerprintKnown: true,
	}, commit)

	remove(t, c, a.ID, nil)
	commit = <-got
	require.Equal(t, customstatus.Commit{
		Revision: 4, Changes: []customstatus.Change{{Kind: customstatus.Deleted, Before: a2}},
		Fingerprint: b.Fingerprint(), FingerprintKnown: true,
	}, commit)

	_, err = c.Import(ctx, []customstatus.CustomUserStatus{{ID: "x", Name: "x", StatusType: "busy"}, {ID: "y", Name: "y", StatusType: "busy"}})
	require.NoError(t, err)
	commit = <-got
	require.Equal(t, customstatus.Revision(5), commit.Revision)
	require.Len(t, commit.Changes, 2, "what was committed together comes together")

	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)

	t.Run("resume", func(t *testing.T) {
		positions := []customstatus.Position{{}}
		for commit, err := range c.Watch(ctx, customstatus.Position{}) {
			require.NoError(t, err)
			if positions = append(positions, commit.Position()); len(positions) == 6 {
				break
			}
		}
		require.Equal(t, c.Position(), positions[5])
		for _, after := range positions[:5] {
			next := after.Revision
			for commit, err := range c.Watch(ctx, after) {
				require.NoError(t, err)
				next++
				require.Equal(t, next, commit.Revision)
				if next == 5 {
					break
				}
			}
		}
	})
	t.Run("ErrCompacted of the future", func(t *testing.T) {
		for _, err := range c.Watch(ctx, customstatus.Position{Revision: 6}) {
			require.ErrorIs(t, err, customstatus.ErrCompacted)
		}
	})
	t.Run("context done", func(t *testing.T) {
		done, cancel := context.WithCancel(ctx)
		cancel()
		n := 0
		for _, err := range c.Watch(done, customstatus.Position{}) {
			require.ErrorIs(t, err, context.Canceled)
			n++
		}
		require.Equal(t, 1, n)

		done, cancel = context.WithCancel(ctx)
		defer cancel()
		var last error
		n = 0
		for _, err := range c.Watch(done, customstatus.Position{}) {
			n++
			last = err
			cancel() // in the middle of what is there to be yielded
		}
		require.ErrorIs(t, last, context.Canceled)
		require.Equal(t, 2, n)
	})
}

func TestWatchCompacted(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{HistoryChanges: 10})
	positions := []customstatus.Position{{}}
	for i := range 25 {
		create(t, c, fmt.Sprint(i), customstatus.Busy)
		positions = append(positions, c.Position())
	}
	for _, err := range c.Watch(ctx, positions[14]) {
		require.ErrorIs(t, err, customstatus.ErrCompacted)
	}
	n := 0
	for commit, err := range c.Watch(ctx, positions[15]) {
		require.NoError(t, err)
		if n++; commit.Revision == 25 {
			break
		}
	}
	require.Equal(t, 10, n)

	// A commit larger than the history is kept until the next one.
	var many []customstatus.CustomUserStatus
	for i := range 50 {
		many = append(many, customstatus.CustomUserStatus{Name: fmt.Sprint("many", i), StatusType: "busy"})
	}
	_, err := c.Import(ctx, many)
	require.NoError(t, err)
	for commit, err := range c.Watch(ctx, positions[25]) {
		require.NoError(t, err)
		require.Len(t, commit.Changes, 50)
		break
	}
	create(t, c, "one more", customstatus.Busy)
	for _, err := range c.Watch(ctx, positions[25]) {
		require.ErrorIs(t, err, customstatus.ErrCompacted)
	}
}

// firstOf starts a watch and returns what it yields first. It is for a bubble.
func firstOf(c *customstatus.Catalog, after customstatus.Position) <-chan customstatus.Commit {
	got := make(chan customstatus.Commit, 1)
	go func() {
		for commit, err := range c.Watch(ctx, after) {
			if err == nil {
				got <- commit
			}
			close(got)
			return
		}
	}()
	synctest.Wait()
	return got
}

// A position says which history its revision is part of.
func TestWatchOfAnotherHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := open(t, customstatus.NewMemoryStore(), nil)
		other := open(t, customstatus.NewMemoryStore(), nil)
		var positions []customstatus.Position
		for i := range 3 {
			create(t, one, fmt.Sprint("one", i), customstatus.Busy)
			create(t, other, fmt.Sprint("other", i), customstatus.Busy)
			positions = append(positions, one.Position())
		}
		compacted := func(c *customstatus.Catalog, after customstatus.Position) {
			t.Helper()
			for _, err := range c.Watch(ctx, after) {
				require.ErrorIs(t, err, customstatus.ErrCompacted, "%v", after)
			}
		}
		for _, p := range positions {
			compacted(other, p)
		}
		compacted(one, customstatus.Position{Revision: 3, Fingerprint: positions[1].Fingerprint})
		compacted(one, customstatus.Position{Revision: 4})
		compacted(one, customstatus.Position{Revision: 1})

		// What holds the same is current, whatever its revision.
		for _, revision := range []customstatus.Revision{0, 2, 3, 77} {
			got := firstOf(one, customstatus.Position{Revision: revision, Fingerprint: one.Position().Fingerprint})
			s := create(t, one, fmt.Sprint("next", revision), customstatus.Busy)
			require.Equal(t, s, (<-got).Changes[0].After)
		}
		// But where it is known how the catalog came back to it, nothing is left out.
		before := one.Position()
		s := create(t, one, "there and gone", customstatus.Busy)
		remove(t, one, s.ID, nil)
		require.Equal(t, before.Fingerprint, one.Position().Fingerprint)
		require.Equal(t, s, (<-firstOf(one, before)).Changes[0].After)
	})
}

// Metadata can be large: what watchers may still need is bounded in bytes too.
func TestHistoryIsBoundedInBytes(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{HistoryBytes: 100_000})
	metadata := strings.Repeat("x", customstatus.MaxMetadataBytes)
	start := c.Position()
	for i := range 100 {
		_, err := c.Create(ctx, customstatus.Fields{Name: fmt.Sprint(i), StatusType: "busy", Metadata: &metadata})
		require.NoError(t, err)
		require.LessOrEqual(t, c.Stats().HistoryBytes, 100_000)
	}
	require.Greater(t, c.Stats().HistoryChanges, 10)
	for _, err := range c.Watch(ctx, start) {
		require.ErrorIs(t, err, customstatus.ErrCompacted)
	}
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, customstatus.NewMemoryStore(), &customstatus.Options{HistoryChanges: 2})
		b := create(t, c, "b", customstatus.Busy)
		a := create(t, c, "a", customstatus.Busy)
		following, cancel := context.WithCancel(ctx)
		got, more := make(chan customstatus.Update), make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			for u, err := range c.Follow(following, customstatus.Position{}) {
				if err != nil {
					ended <- err
					return
				}
				got <- u
				<-more
			}
		}()
		require.Equal(t, customstatus.Update{Reset: true, Statuses: []customstatus.CustomUserStatus{a, b}, Position: c.Position()}, <-got)
		more <- struct{}{}
		d := create(t, c, "d", customstatus.Busy)
		require.Equal(t, customstatus.Update{
			Changes:  []customstatus.Change{{Kind: customstatus.Created, After: d}},
			Position: c.Position(),
		}, <-got)
		// While the loop's body runs, more comes than is kept.
		for i := range 5 {
			create(t, c, fmt.Sprint(i), customstatus.Busy)
		}
		more <- struct{}{}
		u := <-got
		require.True(t, u.Reset)
		require.Equal(t, list(t, c), u.Statuses)
		more <- struct{}{}
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
	})
}

func TestFollowResumes(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	create(t, c, "a", customstatus.Busy)
	seen := c.Position()
	b := create(t, c, "b", customstatus.Busy)
	first := func(after customstatus.Position) customstatus.Update {
		for u, err := range c.Follow(ctx, after) {
			require.NoError(t, err)
			return u
		}
		return customstatus.Update{}
	}
	require.Equal(t, customstatus.Update{
		Changes: []customstatus.Change{{Kind: customstatus.Created, After: b}}, Position: c.Position(),
	}, first(seen))
	seen.Fingerprint++
	require.True(t, first(seen).Reset, "it is none of this catalog's")
}

func TestFollowIsLeft(t *testing.T) {
	c := open(t, customstatus.NewMemoryStore(), nil)
	for u, err := range c.Follow(ctx, customstatus.Position{}) {
		require.NoError(t, err)
		require.True(t, u.Reset)
		break
	}
	n := 0
	for u, err := range c.Follow(ctx, customstatus.Position{}) {
		require.NoError(t, err)
		if n++; n == 1 {
			create(t, c, "a", customstatus.Busy)
			continue
		}
		require.False(t, u.Reset)
		break
	}
}
