//go:build linux

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/etcdstore/etcdtest"
	"github.com/customstatus/customstatus/torture/internal/harness"
	"github.com/customstatus/customstatus/torture/linear"
)

// filler fills what an engine keeps its data on, and makes room again.
type filler interface {
	engine
	fill(t *testing.T)
	room(t *testing.T)
}

// TestDiskFull lets the disk of an engine fill up while clients write. Writes fail,
// reads go on, and once there is room again all goes on by itself. What was
// acknowledged is there, and what failed isn't.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		start func(t *testing.T) filler
	}{
		{"PostgreSQL", startSmallPostgres},
		{"etcd", startSmallEtcd},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := tt.start(t)
			l := &ledger{made: make(map[string]bool), failed: make(map[string]bool)}
			c := startCluster(t, e.place(t, "full")...)
			l.write(c, func(writes, _ int) bool { return writes == 5 })
			e.fill(t)
			l.write(c, func(_, failed int) bool { return failed == 2 })
			for i, n := range c.nodes {
				if page, err := n.List(customstatus.Query{}); err != nil || page.Total == 0 {
					t.Errorf("node %d, while the disk is full: %v, %v", i, page, err)
				}
			}
			e.room(t)
			if _, err := c.rest(); err != nil {
				t.Fatal(err)
			}
			l.write(c, func(writes, _ int) bool { return writes == 2 })
			if _, err := c.nodes[0].Create(context.Background(), customstatus.Fields{Name: linear.LastName, StatusType: customstatus.Busy}); err != nil {
				t.Fatal(err)
			}
			end, err := c.rest()
			if err != nil {
				t.Fatal(err)
			}
			c.watching.Wait()
			held, err := e.inspect(context.Background(), "full")
			if err := errors.Join(err, held.check(), held.shows(end), l.check(end)); err != nil {
				t.Fatal(err)
			}
			for i, w := range c.watchers {
				if _, err := w.Replay(true); errors.Join(err, w.Err) != nil {
					t.Errorf("watcher %d: %v, %v", i, err, w.Err)
				}
			}
			harness.Report(t, "disk-full", "%d writes acknowledged, all there; %d failed, none there; %d with an unknown outcome", len(l.made), len(l.failed), l.unknown)
		})
	}
}

// ledger has what became of writes.
type ledger struct {
	mu      sync.Mutex
	made    map[string]bool // by id
	failed  map[string]bool // by name
	unknown int
	last    int
}

// write has each node create statuses until enough were made or have failed.
func (l *ledger) write(c *cluster, enough func(writes, failed int) bool) {
	var all sync.WaitGroup
	for _, n := range c.nodes {
		all.Go(func() {
			writes, failed := 0, 0
			for end := time.Now().Add(patience); !enough(writes, failed) && time.Now().Before(end); {
				l.mu.Lock()
				l.last++
				name := fmt.Sprint("status ", l.last)
				l.mu.Unlock()
				metadata := draw()
				status, err := n.Create(context.Background(), customstatus.Fields{Name: name, StatusType: customstatus.Away, Metadata: &metadata})
				l.mu.Lock()
				switch {
				case err == nil:
					l.made[status.ID] = true
					writes++
				case errors.Is(err, customstatus.ErrOutcomeUnknown):
					l.unknown++
					failed++
				default:
					l.failed[name] = true
					failed++
				}
				l.mu.Unlock()
			}
		})
	}
	all.Wait()
}

// check returns an error unless the page has what was made, and nothing that failed.
func (l *ledger) check(page customstatus.Page) error {
	there := make(map[string]bool)
	for _, s := range page.Statuses {
		there[s.ID] = true
		if l.failed[s.Name] {
			return fmt.Errorf("%q is there, and its write had failed", s.Name)
		}
	}
	for id := range l.made {
		if !there[id] {
			return fmt.Errorf("%q is lost, which was acknowledged", id)
		}
	}
	if len(l.failed)+l.unknown == 0 {
		return errors.New("the disk was never full")
	}
	return nil
}

// smallPostgres has the tables on a small file system.
type smallPostgres struct {
	*postgres
	disk string
}

func startSmallPostgres(t *testing.T) filler {
	p := startPostgres(t).(*postgres)
	disk, err := os.MkdirTemp("", "cluster-disk-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(disk) })
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=32m,mode=777"); err != nil {
		t.Skipf("no tmpfs can be mounted (%v), as root only: a full disk of PostgreSQL is NOT tested", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	space := filepath.Join(disk, "space")
	if err := errors.Join(os.Mkdir(space, 0o777), os.Chmod(space, 0o777)); err != nil {
		t.Fatal(err)
	}
	var owner syscall.Stat_t
	if err := syscall.Stat(p.server.Exec("postgres", "SHOW data_directory")[0], &owner); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(space, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	p.server.Exec("postgres", "CREATE TABLESPACE small LOCATION '"+space+"'")
	p.server.Exec("postgres", "ALTER DATABASE template1 SET default_tablespace = small")
	p.server.Exec("postgres", "ALTER ROLE postgres SET default_tablespace = small")
	return &smallPostgres{p, disk}
}

func (p *smallPostgres) fill(t *testing.T) {
	t.Helper()
	f, err := os.Create(filepath.Join(p.disk, "balloon"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func (p *smallPostgres) room(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(p.disk, "balloon")); err != nil {
		t.Fatal(err)
	}
}

// smallEtcd has a small quota.
type smallEtcd struct{ *etcd }

func startSmallEtcd(t *testing.T) filler {
	return smallEtcd{newEtcd(t, &etcdtest.Options{Members: 3, QuotaBytes: 8 << 20})}
}

func (e smallEtcd) fill(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	value := string(make([]byte, 1<<20))
	for i := 0; ; i++ {
		_, err := e.client.Put(ctx, fmt.Sprint("/balloon/", i), value)
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (e smallEtcd) room(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	got, err := e.client.Delete(ctx, "/balloon/", clientv3.WithPrefix())
	if err == nil {
		_, err = e.client.Compact(ctx, got.Header.Revision, clientv3.WithCompactPhysical())
	}
	for _, member := range e.client.Endpoints() {
		if err == nil {
			_, err = e.client.Defragment(ctx, member)
		}
	}
	if err == nil {
		_, err = e.client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	}
	if err != nil {
		t.Fatal(err)
	}
}
