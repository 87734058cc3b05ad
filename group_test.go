package customstatus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/customstatus/customstatus"
)

// gate is a store whose commits wait for the test.
type gate struct {
	faultyStore
	arrived chan []customstatus.Change
	proceed chan error // nil: commit; else fail
}

func newGate() *gate {
	g := &gate{arrived: make(chan []customstatus.Change), proceed: make(chan error)}
	g.Store = customstatus.NewMemoryStore()
	g.commit = func(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
		g.arrived <- slices.Clone(changes)
		if err := <-g.proceed; err != nil {
			return 0, err
		}
		return g.Store.Commit(ctx, changes)
	}
	return g
}

type result struct {
	status customstatus.CustomUserStatus
	err    error
}

func goCreate(ctx context.Context, c *customstatus.Catalog, name string) <-chan result {
	done := make(chan result, 1)
	go func() {
		s, err := c.Create(ctx, customstatus.Fields{Name: name, StatusType: "busy"})
		done <- result{s, err}
	}()
	return done
}

// create adds a status and lets its commit through.
func (g *gate) create(t *testing.T, c *customstatus.Catalog, name string) customstatus.CustomUserStatus {
	t.Helper()
	made := goCreate(ctx, c, name)
	<-g.arrived
	g.proceed <- nil
	r := <-made
	require.NoError(t, r.err)
	return r.status
}

// block begins a commit that waits until release is called.
func (g *gate) block(t *testing.T, c *customstatus.Catalog) (release func()) {
	t.Helper()
	blocker := goCreate(ctx, c, "blocker")
	<-g.arrived
	return func() {
		t.Helper()
		g.proceed <- nil
		require.NoError(t, (<-blocker).err)
	}
}

func TestCommitsAreGrouped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		first := goCreate(ctx, c, "first")
		require.Len(t, <-g.arrived, 1, "a lone writer waits for nobody")

		var later []<-chan result
		for i := range 64 {
			later = append(later, goCreate(ctx, c, fmt.Sprint("later", i%32))) // each name twice
		}
		synctest.Wait()
		require.Empty(t, list(t, c), "what is not durable is not seen")
		g.proceed <- nil
		require.NoError(t, (<-first).err)

		require.Len(t, <-g.arrived, 32, "those that came meanwhile share the next commit")
		g.proceed <- nil
		refused := 0
		for _, done := range later {
			switch r := <-done; {
			case r.err == nil:
				require.Equal(t, customstatus.Revision(2), r.status.Revision)
			default:
				require.ErrorIs(t, r.err, customstatus.ErrNameInUse)
				refused++
			}
		}
		require.Equal(t, 32, refused)
		require.Len(t, list(t, c), 33)
	})
}

// Stats tells how long a commit has run that may never end.
func TestCommittingSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		require.Zero(t, c.Stats().CommittingSince)
		for _, outcome := range []error{errors.New("no disk"), nil} {
			created := goCreate(ctx, c, "a")
			<-g.arrived
			time.Sleep(time.Minute)
			require.Equal(t, time.Minute, time.Since(c.Stats().CommittingSince))
			g.proceed <- outcome
			<-created
			require.Zero(t, c.Stats().CommittingSince)
		}
	})
}

func TestGroupOnOneStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		a := g.create(t, c, "a")

		release := g.block(t, c)
		errs := make(chan error, 3)
		for i := range 3 {
			go func() {
				_, err := c.Update(ctx, a.ID, customstatus.Fields{Name: fmt.Sprint("a", i), StatusType: "busy"}, nil)
				errs <- err
			}()
		}
		synctest.Wait()
		release()
		// A status stands once in a commit, so each update has its own, and its own
		// revision.
		for range 3 {
			require.Len(t, <-g.arrived, 1)
			g.proceed <- nil
			require.NoError(t, <-errs)
		}
		require.Equal(t, customstatus.Revision(5), c.Revision())
	})
}

func TestGroupSeesItsOwnChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		a := g.create(t, c, "a")

		release := g.block(t, c)
		deleted := make(chan error, 1)
		go func() { _, err := c.Delete(ctx, a.ID, nil); deleted <- err }()
		synctest.Wait()
		again := goCreate(ctx, c, "a") // the name is given up in the same commit
		synctest.Wait()
		imported := make(chan error, 1)
		go func() {
			_, err := c.Import(ctx, []customstatus.CustomUserStatus{{ID: a.ID, Name: "imported", StatusType: "busy"}})
			imported <- err
		}()
		synctest.Wait()
		release()
		require.Len(t, <-g.arrived, 2)
		g.proceed <- nil
		require.NoError(t, <-deleted)
		require.NoError(t, (<-again).err)
		require.Len(t, <-g.arrived, 1, "the id was touched, so the import waits for the next commit")
		g.proceed <- nil
		require.NoError(t, <-imported)
	})
}

func TestCommitFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		release := g.block(t, c)
		one := goCreate(ctx, c, "same")
		two := goCreate(ctx, c, "same")
		synctest.Wait()
		release()
		<-g.arrived
		failure := errors.New("disk full")
		g.proceed <- failure
		// Neither may be told that the name is in use, for it is not.
		require.ErrorIs(t, (<-one).err, failure)
		require.ErrorIs(t, (<-two).err, failure)
		require.Len(t, list(t, c), 1)
		require.Equal(t, customstatus.Revision(1), c.Revision())

		again := goCreate(ctx, c, "same")
		<-g.arrived
		g.proceed <- nil
		require.NoError(t, (<-again).err, "it works again when the cause is gone")
	})
}

func TestWriteContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)

		done, cancel := context.WithCancel(ctx)
		cancel()
		_, err := c.Create(done, customstatus.Fields{Name: "a", StatusType: "busy"})
		require.ErrorIs(t, err, context.Canceled)

		// In the commit: the truth, not the context.
		inCommit, cancel := context.WithCancel(ctx)
		first := goCreate(inCommit, c, "first")
		<-g.arrived
		cancel()
		// Waiting: the context, and nothing is written.
		waiting, cancelWaiting := context.WithCancel(ctx)
		second := goCreate(waiting, c, "second")
		third := goCreate(ctx, c, "third")
		synctest.Wait()
		cancelWaiting()
		require.ErrorIs(t, (<-second).err, context.Canceled)
		g.proceed <- nil
		require.NoError(t, (<-first).err)
		require.Len(t, <-g.arrived, 1)
		g.proceed <- nil
		require.NoError(t, (<-third).err)

		// In the commit of another: the truth, too.
		release := g.block(t, c)
		taken, cancelTaken := context.WithCancel(ctx)
		fourth := goCreate(ctx, c, "fourth")
		fifth := goCreate(taken, c, "fifth")
		synctest.Wait()
		release()
		require.Len(t, <-g.arrived, 2)
		cancelTaken()
		g.proceed <- nil
		require.NoError(t, (<-fourth).err)
		require.NoError(t, (<-fifth).err)
	})
}

func TestCancelledWhileDeferred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		var inPlan atomic.Pointer[func()]
		c := open(t, g, &customstatus.Options{Now: func() time.Time {
			if f := inPlan.Swap(nil); f != nil {
				(*f)()
			}
			return start
		}})
		a := g.create(t, c, "a")
		release := g.block(t, c)

		// Two writes of one status are in a group. The second is given up while
		// the first is planned, and is then left for a commit that nobody leads.
		updated := make(chan error, 1)
		go func() {
			_, err := c.Update(ctx, a.ID, customstatus.Fields{Name: "b", StatusType: "busy"}, nil)
			updated <- err
		}()
		synctest.Wait()
		cancelled, cancel := context.WithCancel(ctx)
		deleted := make(chan error, 1)
		go func() { _, err := c.Delete(cancelled, a.ID, nil); deleted <- err }()
		synctest.Wait()
		giveUp := func() {
			cancel()
			synctest.Wait()
		}
		inPlan.Store(&giveUp)
		release()
		require.Len(t, <-g.arrived, 1)
		g.proceed <- nil
		require.NoError(t, <-updated)
		require.ErrorIs(t, <-deleted, context.Canceled)
		_, err := c.Get(a.ID)
		require.NoError(t, err)
	})
}

func TestCloseWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		first := goCreate(ctx, c, "first")
		<-g.arrived
		second := goCreate(ctx, c, "second")
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		require.ErrorIs(t, (<-second).err, customstatus.ErrClosed, "what waits is refused")
		g.proceed <- nil
		require.NoError(t, (<-first).err, "what is being committed is told the truth")
		require.NoError(t, <-closed)
	})
}

func TestCloseWithDeferredWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		a := g.create(t, c, "a")
		release := g.block(t, c)
		errs := make(chan error, 8)
		for range 8 {
			go func() { _, err := c.Delete(ctx, a.ID, nil); errs <- err }()
		}
		synctest.Wait()
		release()
		<-g.arrived
		closed := make(chan error, 1)
		go func() { closed <- c.Close() }()
		for range 6 {
			require.ErrorIs(t, <-errs, customstatus.ErrClosed)
		}
		// Who leads the commit waits for it, whether it has the delete or not.
		g.proceed <- nil
		last := []error{<-errs, <-errs}
		if last[0] != nil {
			slices.Reverse(last)
		}
		require.NoError(t, last[0])
		require.ErrorIs(t, last[1], customstatus.ErrClosed)
		require.NoError(t, <-closed)
	})
}

// Many writes of one status, of which each commit can have one, do not hold up
// others.
func TestWritesOfOneStatusHoldUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		c := open(t, g, nil)
		a := g.create(t, c, "a")
		release := g.block(t, c)
		const updates = 3000
		errs := make(chan error, updates)
		for range updates {
			go func() {
				_, err := c.Update(ctx, a.ID, customstatus.Fields{Name: "a", StatusType: "away"}, nil)
				errs <- err
			}()
		}
		synctest.Wait()
		other := goCreate(ctx, c, "other")
		synctest.Wait()
		release()
		commits := 0
		for done := false; !done; {
			select {
			case r := <-other:
				require.NoError(t, r.err)
				done = true
			case <-g.arrived:
				commits++
				g.proceed <- nil
			}
		}
		require.LessOrEqual(t, commits, 5)
		go func() {
			for range g.arrived {
				g.proceed <- nil
			}
		}()
		for range updates {
			require.NoError(t, <-errs)
		}
		require.NoError(t, c.Close())
		close(g.arrived)
	})
}
