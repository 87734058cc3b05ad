package linear

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/internal/harness"
)

// TestOtherHistory has watchers come to a catalog with what they know of another
// one, as after a restored backup. They must learn all that the catalog has, by
// changes or as a whole. A catalog that looks at revisions alone is found out.
func TestOtherHistory(t *testing.T) {
	var resumed, misled int
	for seed := range uint64(harness.Rounds(20, 400)) {
		theirs, ours := open(t, customstatus.NewMemoryStore()), open(t, customstatus.NewMemoryStore())
		var known []customstatus.Page // of theirs
		for n := range uint64(4) {
			page, err := theirs.List(customstatus.Query{})
			if err != nil {
				t.Fatal(err)
			}
			known = append(known, page)
			run(t, collide, 8*seed+n, theirs)
		}
		var watching sync.WaitGroup
		w := Watch(&watching, ours, LastName)
		for n := range uint64(4) {
			run(t, collide, 8*seed+4+n, ours)
		}
		if _, err := ours.Create(context.Background(), customstatus.Fields{Name: LastName, StatusType: customstatus.Busy}); err != nil {
			t.Fatal(err)
		}
		watching.Wait()
		at, err := w.Replay(false)
		if err := errors.Join(err, w.Err); err != nil {
			t.Fatal(err)
		}
		for _, page := range known {
			for _, follows := range []bool{false, true} {
				resumed++
				if err := resume(ours, page, follows); err != nil {
					t.Fatalf("seed %d: from %v, by Follow %v: %v", seed, page.Position, follows, err)
				}
				// Where a flawed one takes the position for the last it would
				// say nothing, for ever.
				if flawed := (numbered{ours, at}); flawed.own(page.Position) == ours.Position() || resume(flawed, page, follows) != nil {
					misled++
				}
			}
		}
		closeAll(t, theirs, ours)
	}
	if misled == 0 {
		t.Error("nobody finds a catalog that resumes by revisions alone")
	}
	harness.Report(t, "other-histories", "%d watchers resumed with the position of another history and missed nothing; by revisions alone, %d are misled", resumed, misled)
}

// numbered is a catalog that takes any position with a revision of its own for its
// own.
type numbered struct {
	*customstatus.Catalog
	at map[customstatus.Revision]customstatus.Page
}

func (c numbered) own(p customstatus.Position) customstatus.Position {
	if page, ok := c.at[p.Revision]; ok {
		return page.Position
	}
	return p
}

func (c numbered) Watch(ctx context.Context, after customstatus.Position) iter.Seq2[customstatus.Commit, error] {
	return c.Catalog.Watch(ctx, c.own(after))
}

func (c numbered) Follow(ctx context.Context, after customstatus.Position) iter.Seq2[customstatus.Update, error] {
	return c.Catalog.Follow(ctx, c.own(after))
}

// resume has a watcher that knows the page go on with the catalog up to the status
// with LastName. The error says why it then knows something wrong.
func resume(c Source, from customstatus.Page, follows bool) error {
	w := &Watcher{follows: follows, Start: from, Gaps: make(map[int]customstatus.Page), Back: true}
	if follows {
		next, stop := iter.Pull2(c.Follow(context.Background(), from.Position))
		defer stop()
		w.Err = w.follow(next, LastName)
	} else {
		w.Err = w.watch(c, LastName)
	}
	if w.Err != nil {
		return w.Err
	}
	return w.knows(c)
}

// knows returns an error unless the watcher knows what the catalog has.
func (w *Watcher) knows(c Source) error {
	at, err := w.Replay(false)
	if err != nil {
		return err
	}
	page, err := c.List(customstatus.Query{})
	if err != nil {
		return err
	}
	if known, ok := at[page.Position.Revision]; !ok || known.Position != page.Position || !slices.Equal(known.Statuses, page.Statuses) {
		return fmt.Errorf("at %v the watcher knows %v, the catalog has %v", page.Position, known, page)
	}
	return nil
}

// TestGoingBackIsSeen has a store that needs to be reopened turn out to be an older
// copy of itself, while watchers are there. They must learn so, and the catalog
// must count it.
func TestGoingBackIsSeen(t *testing.T) {
	var watchers, hidden int
	for seed := range uint64(harness.Rounds(10, 200)) {
		directory := t.TempDir()
		store := &sickStore{BoltStore: openUnsynced(t, filepath.Join(directory, "catalog.db"))}
		older := filepath.Join(directory, "older.db")
		opts := quiet()
		opts.Reopen = func(context.Context) (customstatus.Store, error) { return openUnsynced(t, older), nil }
		c, err := customstatus.Open(context.Background(), store, opts)
		if err != nil {
			t.Fatal(errors.Join(err, store.Close()))
		}
		var watching sync.WaitGroup
		all := []*Watcher{Watch(&watching, c, LastName), Follow(&watching, c, LastName)}
		run(t, collide, 2*seed, c)
		var copied bytes.Buffer
		if err := errors.Join(c.Backup(context.Background(), &copied), os.WriteFile(older, copied.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
		run(t, collide, 2*seed+1, c)
		if _, err := c.Create(context.Background(), customstatus.Fields{Name: "lost", StatusType: customstatus.Busy}); err != nil {
			t.Fatal(err)
		}
		before := c.Position()

		store.sick.Store(true)
		if _, err := c.Create(context.Background(), customstatus.Fields{Name: "after it went back", StatusType: customstatus.Busy}); err != nil {
			t.Fatal(err)
		}
		all = append(all, Watch(&watching, c, LastName), Follow(&watching, c, LastName))
		if _, err := c.Create(context.Background(), customstatus.Fields{Name: LastName, StatusType: customstatus.Busy}); err != nil {
			t.Fatal(err)
		}
		watching.Wait()
		if _, err := c.GetByName("lost"); !errors.Is(err, customstatus.ErrNotFound) {
			t.Fatalf("seed %d: it has not gone Back: %v", seed, err)
		}
		if stats := c.Stats(); stats.Rewinds != 1 || stats.Reopens != 1 {
			t.Fatalf("seed %d: reopened %d times, gone back %d times", seed, stats.Reopens, stats.Rewinds)
		}
		for i, w := range all {
			w.Back = true
			if err := errors.Join(w.Err, w.knows(c)); err != nil {
				t.Fatalf("seed %d: watcher %d: %v", seed, i, err)
			}
			watchers++
			if len(w.Gaps) == 0 { // it joined later, or was so slow that it had seen nothing of what was lost
				continue
			}
			hidden++
			w.Gaps = nil // as if it had not been told
			if w.knows(c) == nil {
				t.Errorf("seed %d: going back from %v, unseen, is accepted", seed, before)
			}
		}
		closeAll(t, c)
	}
	if hidden == 0 {
		t.Error("nobody had to be told")
	}
	harness.Report(t, "going-back", "%d watchers know what the catalog has after its store went back; of %d that had to be told, each would be found out if it had not been", watchers, hidden)
}

// sickStore is a store that needs to be reopened once it is sick.
type sickStore struct {
	*customstatus.BoltStore
	sick atomic.Bool
}

func (s *sickStore) Commit(ctx context.Context, changes []customstatus.Change) (customstatus.Revision, error) {
	if s.sick.Load() {
		return 0, customstatus.ErrNeedsReopen
	}
	return s.BoltStore.Commit(ctx, changes)
}

// openUnsynced opens a file that need not survive a crash: thousands of syncs take
// minutes on a slow disk.
func openUnsynced(t *testing.T, path string) *customstatus.BoltStore {
	store, err := customstatus.OpenBolt(path, &customstatus.BoltOptions{Bolt: &bbolt.Options{NoSync: true}})
	if err != nil {
		t.Error(err)
		return nil
	}
	return store
}
