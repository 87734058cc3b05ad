package view_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus/internal/history"
	"github.com/customstatus/customstatus/internal/pairs"
	"github.com/customstatus/customstatus/internal/sentinel"
	"github.com/customstatus/customstatus/internal/table"
	"github.com/customstatus/customstatus/internal/view"
)

type value struct {
	id, name string
	revision uint64
}

var valueType = pairs.Type[value]{
	Keys: table.Keys[value]{
		ID:   func(v *value) string { return v.id },
		Name: func(v *value) string { return v.name },
	},
	Revision:    func(v *value) *uint64 { return &v.revision },
	Fingerprint: func(v *value) uint64 { return uint64(v.name[0]) },
}

// opened is a view of one value at revision 5, and a function that closes it.
func opened(t *testing.T) (*view.View[value, string], func()) {
	t.Helper()
	closing, cancel := context.WithCancel(context.Background())
	v := new(view.View[value, string])
	v.Init(closing, valueType, history.New[string](100, 1000))
	rewound, err := v.Load(holding(5, "a"), 0)
	require.NoError(t, err)
	require.False(t, rewound, "the first load goes back to nothing")
	return v, func() {
		cancel()
		v.Close()
	}
}

// holding is a store with one value.
func holding(revision uint64, name string) view.Contents[value] {
	return view.Contents[value]{Values: []value{{"1", name, 1}}, Revision: revision}
}

func TestLoadTellsHistoriesApart(t *testing.T) {
	const others = math.MaxUint64
	for _, tt := range []struct {
		what     string
		contents view.Contents[value]
		unseen   uint64
		rewound  bool
		position history.Position
	}{
		{"the same", holding(5, "a"), 0, false, history.Position{Revision: 5, Fingerprint: 'a'}},
		{"the same later, the position stays", holding(8, "a"), 0, false, history.Position{Revision: 5, Fingerprint: 'a'}},
		{"the same earlier", holding(4, "a"), others, true, history.Position{Revision: 4, Fingerprint: 'a'}},
		{"other values at the revision", holding(5, "b"), others, true, history.Position{Revision: 5, Fingerprint: 'b'}},
		{"a commit that nobody can have made", holding(6, "b"), 0, true, history.Position{Revision: 6, Fingerprint: 'b'}},
		{"the commit whose outcome was unknown", holding(6, "b"), 1, false, history.Position{Revision: 6, Fingerprint: 'b'}},
		{"more than that commit", holding(7, "b"), 1, true, history.Position{Revision: 7, Fingerprint: 'b'}},
		{"commits of others", holding(1000, "b"), others, false, history.Position{Revision: 1000, Fingerprint: 'b'}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			v, end := opened(t)
			defer end()
			rewound, err := v.Load(tt.contents, tt.unseen)
			require.NoError(t, err)
			require.Equal(t, tt.rewound, rewound)
			s := v.Current()
			require.Equal(t, tt.position, s.Position)
			require.Equal(t, tt.contents.Revision, s.Revision)
			require.Equal(t, tt.rewound, s.Rewinds == 1)
			require.Equal(t, &tt.contents.Values[0], s.ByID("1"))

			rewound, err = v.Load(tt.contents, 0)
			require.NoError(t, err)
			require.False(t, rewound, "it was just loaded")
			require.Equal(t, s.Rewinds, v.Current().Rewinds)
		})
	}
}

// The store may know that what it holds is of another history.
func TestLoadOfAHistoryThatIsFurther(t *testing.T) {
	v, end := opened(t)
	defer end()
	at := v.Revision()
	contents := holding(at+1, "b")
	rewound, err := v.Load(contents, math.MaxUint64)
	require.NoError(t, err)
	require.False(t, rewound)
	contents = holding(at+2, "c")
	contents.Rewound = true
	rewound, err = v.Load(contents, math.MaxUint64)
	require.NoError(t, err)
	require.True(t, rewound)
	contents = holding(at+3, "c")
	contents.Rewound = true
	rewound, err = v.Load(contents, math.MaxUint64)
	require.NoError(t, err)
	require.False(t, rewound, "readers see the same")
}

func TestLoadTakesOnlyAKnownFingerprint(t *testing.T) {
	v, end := opened(t)
	defer end()
	_, err := v.Load(view.Contents[value]{Values: []value{{"1", "a", 1}}, Revision: 6, Fingerprint: 7, FingerprintKnown: true}, 1)
	require.NoError(t, err)
	require.Equal(t, history.Position{Revision: 6, Fingerprint: 7}, v.Current().Position)

	// What is left in the field says nothing.
	_, err = v.Load(view.Contents[value]{Values: []value{{"1", "a", 1}}, Revision: 7, Fingerprint: 7}, 1)
	require.NoError(t, err)
	require.Equal(t, history.Position{Revision: 7, Fingerprint: 'a'}, v.Current().Position)
}

func TestLoadRefusesSharedKeys(t *testing.T) {
	v, end := opened(t)
	defer end()
	before := v.Current()
	_, err := v.Load(view.Contents[value]{Values: []value{{"1", "a", 1}, {"1", "b", 1}}, Revision: 9}, 0)
	require.ErrorIs(t, err, sentinel.ErrDamaged)
	require.Same(t, before, v.Current())
}

func TestEdit(t *testing.T) {
	v, end := opened(t)
	defer end()
	e := v.Edit(2)
	old, added := e.ByID("1"), &value{id: "2", name: "c"}
	e.Put(old, &value{id: "1", name: "b"})
	e.Put(nil, added)
	next := e.Commit(7)
	require.Equal(t, history.Position{Revision: 7, Fingerprint: 'b' + 'c'}, next.Position)
	require.EqualValues(t, 7, added.revision)
	require.EqualValues(t, 1, old.revision)
	require.EqualValues(t, 5, v.Revision(), "nobody sees it yet")
	v.Publish(next, "the commit", 2, 10)
	require.Same(t, next, v.Current())
	changes, bytes := v.History.Kept()
	require.Equal(t, []int{2, 10}, []int{changes, bytes})

	// Progress without changes.
	e = v.Edit(0)
	v.Publish(e.Commit(9), "", 0, 10)
	require.EqualValues(t, 9, v.Revision())
	require.Equal(t, next.Position, v.Current().Position)
	changes, _ = v.History.Kept()
	require.Equal(t, 2, changes)
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, end := opened(t)
		require.NoError(t, v.Await(t.Context(), 5, 0, nil, nil))
		require.NoError(t, v.Await(t.Context(), 50, 1, nil, nil), "a revision of another history")

		wait := func(revision uint64) chan error {
			done := make(chan error, 1)
			go func() { done <- v.Await(t.Context(), revision, 0, nil, nil) }()
			synctest.Wait()
			return done
		}
		reached, rewound, closed := wait(6), wait(100), make(chan error, 1)
		require.Empty(t, reached)
		e := v.Edit(0)
		v.Publish(e.Commit(6), "", 0, 0)
		require.NoError(t, <-reached)
		synctest.Wait()
		require.Empty(t, rewound)
		_, err := v.Load(holding(3, "b"), 0)
		require.NoError(t, err)
		require.NoError(t, <-rewound)

		go func() { closed <- v.Await(t.Context(), 100, 1, nil, nil) }()
		synctest.Wait()
		end()
		require.ErrorIs(t, <-closed, sentinel.ErrClosed)
		require.ErrorIs(t, v.Await(t.Context(), 1, 0, nil, nil), sentinel.ErrClosed)
		require.True(t, v.Current().Closed)
		require.Zero(t, v.Current().Len())
		require.EqualValues(t, 3, v.Revision())
	})
}

func TestCatchUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, end := opened(t)
		at := func(revision uint64) func(context.Context) (uint64, error) {
			return func(context.Context) (uint64, error) { return revision, nil }
		}
		require.NoError(t, v.CatchUp(t.Context(), at(5), nil))
		failed := errors.New("connection lost")
		require.ErrorIs(t, v.CatchUp(t.Context(), func(context.Context) (uint64, error) { return 0, failed }, nil), failed)

		// A store that is behind is loaded again. It is enough that it was: the first
		// load may have begun before the call, the next one has not.
		for _, contents := range []view.Contents[value]{holding(5, "a"), holding(4, "b")} {
			asked, done := 0, make(chan error, 1)
			go func() { done <- v.CatchUp(t.Context(), at(2), func() { asked++ }) }()
			rewound := 0
			for loads := 1; loads <= 2+rewound; loads++ {
				synctest.Wait()
				require.Equal(t, loads, asked)
				require.Empty(t, done)
				other, err := v.Load(contents, math.MaxUint64)
				require.NoError(t, err)
				if other {
					rewound++
				}
			}
			require.NoError(t, <-done)
		}

		// Closing ends a question that gets no answer.
		closed := make(chan error, 1)
		go func() {
			closed <- v.CatchUp(t.Context(), func(ctx context.Context) (uint64, error) {
				<-ctx.Done()
				return 0, ctx.Err()
			}, nil)
		}()
		synctest.Wait()
		end()
		require.ErrorIs(t, <-closed, sentinel.ErrClosed)
	})
}

// The store was at 5, failed over, and was at 3 when a load began. It holds more when
// CatchUp asks. The load ends only then, and must not pass for what the store held.
func TestCatchUpAsksAgainAfterARewind(t *testing.T) {
	for what, revision := range map[string]uint64{"further": 7, "still behind": 4} {
		synctest.Test(t, func(t *testing.T) {
			v, end := opened(t)
			defer end()
			asked := 0
			ask := func(context.Context) (uint64, error) {
				if asked++; asked == 1 {
					_, err := v.Load(holding(3, "b"), math.MaxUint64)
					require.NoError(t, err)
				}
				return revision, nil
			}
			done := make(chan error, 1)
			go func() { done <- v.CatchUp(t.Context(), ask, func() { t.Error("there is a load already") }) }()
			synctest.Wait()
			require.Empty(t, done, what)
			e := v.Edit(0)
			v.Publish(e.Commit(revision), "", 0, 0)
			require.NoError(t, <-done)
			require.Equal(t, 2, asked)
		})
	}
}

// A failover has lost commit 6, which the feed brings late: after the store has said that
// it is at 5, and before anybody has heard that. The store must be asked again.
func TestCatchUpAsksAgainWhenReadersAreFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, end := opened(t)
		defer end()
		lost := errors.New("another history")
		asked := 0
		err := v.CatchUp(t.Context(), func(context.Context) (uint64, error) {
			if asked++; asked == 2 {
				return 0, lost
			}
			e := v.Edit(0)
			v.Publish(e.Commit(6), "", 0, 0)
			return 5, nil
		}, nil)
		require.ErrorIs(t, err, lost)

		// The feed brings it together with the revision that is awaited.
		asked = 0
		err = v.CatchUp(t.Context(), func(context.Context) (uint64, error) {
			if asked++; asked == 2 {
				return 0, lost
			}
			go func() {
				time.Sleep(time.Millisecond)
				e := v.Edit(0)
				v.Publish(e.Commit(8), "", 0, 0)
			}()
			return 7, nil
		}, nil)
		require.ErrorIs(t, err, lost)

		// With many commits it can go on for ever that readers are faster.
		asked = 0
		err = v.CatchUp(t.Context(), func(context.Context) (uint64, error) {
			asked++
			now := v.Revision()
			e := v.Edit(0)
			v.Publish(e.Commit(now+1), "", 0, 0)
			return now, nil
		}, nil)
		require.NoError(t, err)
		require.Equal(t, 4, asked)
	})
}

// A load that began before the call shows the history before a failover, and so is not
// the one that CatchUp needs.
func TestCatchUpAfterAnOldLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, end := opened(t)
		defer end()
		reloads, done := 0, make(chan error, 1)
		go func() {
			ask := func(context.Context) (uint64, error) { return 4, nil }
			done <- v.CatchUp(t.Context(), ask, func() { reloads++ })
		}()
		synctest.Wait()
		_, err := v.Load(holding(5, "a"), math.MaxUint64)
		require.NoError(t, err)
		synctest.Wait()
		require.Empty(t, done)
		require.Equal(t, 2, reloads)
		_, err = v.Load(holding(4, "b"), math.MaxUint64)
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.EqualValues(t, 4, v.Revision())
	})
}

// A commit that was made after a failover, on what was shown before it, is one of the
// history after the failover.
func TestAwaitOwnAfterARewind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, end := opened(t)
		failed, asked := errors.New("connection lost"), 0
		ask := func(context.Context) (uint64, error) {
			if asked++; asked < 3 {
				return 0, failed
			}
			return 7, nil
		}
		own := func(revision uint64) chan error {
			done := make(chan error, 1)
			go func() { done <- v.AwaitOwn(t.Context(), revision, 0, ask, nil) }()
			synctest.Wait()
			return done
		}
		require.NoError(t, <-own(5))
		require.Zero(t, asked, "nothing has gone back")
		_, err := v.Load(holding(3, "b"), math.MaxUint64)
		require.NoError(t, err)
		done := own(6)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Empty(t, done, "readers don't see the commit")
		require.GreaterOrEqual(t, asked, 3)
		e := v.Edit(0)
		v.Publish(e.Commit(7), "", 0, 0)
		require.NoError(t, <-done)

		// Neither the caller's patience nor the view outlasts a store that is away.
		asked = -1000
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, v.AwaitOwn(ctx, 9, 0, ask, nil), context.DeadlineExceeded)
		done = own(9)
		end()
		time.Sleep(time.Second)
		require.ErrorIs(t, <-done, sentinel.ErrClosed)
	})
}

// The store told of a revision and then lost it in a failover. Readers have seen nothing
// of what is lost, so that nothing goes back.
func TestNobodyWaitsForALostRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, end := opened(t)
		defer end()
		revision := uint64(8)
		ask := func(context.Context) (uint64, error) { return revision, nil }
		caught, own := make(chan error, 1), make(chan error, 1)
		go func() { caught <- v.CatchUp(t.Context(), ask, nil) }()
		go func() { own <- v.AwaitOwn(t.Context(), 8, v.Current().Loads, ask, nil) }()
		synctest.Wait()
		require.Empty(t, caught)
		require.Empty(t, own)
		revision = 5
		rewound, err := v.Load(holding(5, "a"), math.MaxUint64)
		require.NoError(t, err)
		require.False(t, rewound)
		require.NoError(t, <-caught)
		require.NoError(t, <-own)
	})
}

// The store acknowledged a revision and lost it in a failover that its feed has not
// noticed.
func TestAwaitAsksForALostRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, end := opened(t)
		defer end()
		var at, asked, reloads atomic.Int64
		at.Store(8)
		ask := func(context.Context) (uint64, error) {
			asked.Add(1)
			if at := at.Load(); at >= 0 {
				return uint64(at), nil
			}
			return 0, errors.New("connection lost")
		}
		done := make(chan error, 1)
		await := func(ctx context.Context) {
			go func() { done <- v.Await(ctx, 8, v.Current().Loads, ask, func() { reloads.Add(1) }) }()
		}
		await(t.Context())
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, done, "the feed is only late")
		require.InDelta(t, 3600/16, asked.Load(), 10)
		at.Store(-1)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Zero(t, reloads.Load(), "nothing is known")
		at.Store(7)
		time.Sleep(time.Hour)
		synctest.Wait()
		require.EqualValues(t, 1, reloads.Load())
		require.Empty(t, done, "a writer must not go on from what is shown")
		_, err := v.Load(holding(5, "a"), math.MaxUint64)
		require.NoError(t, err)
		require.NoError(t, <-done)

		// The caller's time ends the wait at each point.
		for _, after := range []time.Duration{time.Second / 2, 3 * time.Second, time.Hour} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			await(ctx)
			require.ErrorIs(t, <-done, context.DeadlineExceeded)
			cancel()
		}
	})
}

// A store that doesn't answer keeps nobody from what readers see.
func TestAwaitWhileTheStoreIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, end := opened(t)
		defer end()
		asked := false
		done := make(chan error, 1)
		go func() {
			done <- v.Await(t.Context(), 6, 0, func(ctx context.Context) (uint64, error) {
				asked = true
				<-ctx.Done()
				return 0, nil
			}, func() { t.Error("the revision is there") })
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.True(t, asked)
		require.Empty(t, done)
		e := v.Edit(0)
		v.Publish(e.Commit(6), "", 0, 0)
		require.NoError(t, <-done)
	})
}

// Nobody who waits misses what is published while the wait begins. The history is held
// until the waiter is likely to stand before it, and is then mostly the publisher's
// first.
func TestAwaitMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, end := opened(t)
		defer end()
		for revision := uint64(6); revision < 300; revision++ {
			release := v.History.Hold()
			done := make(chan error, 1)
			go func() { done <- v.Await(t.Context(), revision, 0, nil, nil) }()
			for range 100 {
				runtime.Gosched()
			}
			e := v.Edit(0)
			next := e.Commit(revision)
			release()
			v.Publish(next, "", 0, 0)
			require.NoError(t, <-done) // a deadlock if the waiter sleeps on
		}
	})
}

// changes implements pairs.Changes.
type changes []pairs.Change[value]

func (c changes) Len() int                     { return len(c) }
func (c changes) At(i int) pairs.Change[value] { return c[i] }

func TestReplay(t *testing.T) {
	v, end := opened(t)
	defer end()
	rename := pairs.Change[value]{Kind: pairs.Updated, Before: &value{"1", "", 1}, After: &value{"1", "b", 6}}
	create := pairs.Change[value]{Kind: pairs.Created, Before: &value{}, After: &value{"2", "a", 6}}
	e := v.Edit(2)
	require.True(t, e.Replay(changes{rename, create}))
	next := e.Commit(6)
	require.Equal(t, history.Position{Revision: 6, Fingerprint: 'a' + 'b'}, next.Position)
	require.Equal(t, &value{"2", "a", 6}, next.ByName("a"))
	e = v.Edit(2)
	require.False(t, e.Replay(changes{create, rename}), "the name is taken")
	e = v.Edit(1)
	require.False(t, e.Replay(changes{{Kind: pairs.Deleted, Before: &value{"1", "a", 2}, After: &value{}}}), "another revision")
}
