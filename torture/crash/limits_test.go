//go:build linux

package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/torture/internal/harness"
)

// TestFileSizeLimit lets many goroutines of a process write until the system lets
// the file grow no further. Writes then fail with the reason, reads go on and
// show what is durable, and writes work again when the limit is lifted.
func TestFileSizeLimit(t *testing.T) { starve(t, "file-size") }

// TestDescriptorLimit takes all free file descriptors from a process. Writes need
// none; what does need one fails with the reason, and works again later.
func TestDescriptorLimit(t *testing.T) { starve(t, "descriptors") }

// starve runs a child that limits its own resources, and then opens the child's
// file.
func starve(t *testing.T, role string) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	var stderr bytes.Buffer
	cmd := child{Role: role, Path: path, Writers: 16}.command(t)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	report, shown, _ := strings.Cut(string(out), "\n")
	checkFile(t, path)
	c := openFile(t, path)
	page, err := c.List(customstatus.Query{})
	if err := errors.Join(err, c.Close()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintln(page); got != shown {
		t.Errorf("opened again, the file has\n%swhile the process showed\n%s", got, shown)
	}
	harness.Report(t, role, "%s", report)
}

// limit sets a soft limit, and returns a function that restores the old one.
func limit(resource int, to uint64) (lift func() error, err error) {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(resource, &old); err != nil {
		return nil, err
	}
	low := old
	low.Cur = to
	if err := syscall.Setrlimit(resource, &low); err != nil {
		return nil, err
	}
	return func() error { return syscall.Setrlimit(resource, &old) }, nil
}

// conclude prints the report and the catalog's statuses, and closes the
// catalog.
func conclude(c *customstatus.Catalog, report string) error {
	page, err := c.List(customstatus.Query{})
	if err := errors.Join(err, c.Close()); err != nil {
		return err
	}
	_, err = fmt.Printf("%s\n%v\n", report, page)
	return err
}

// smallFiles is TestFileSizeLimit in the process that has the limit.
func (c child) smallFiles() error {
	signal.Ignore(syscall.SIGXFSZ)
	catalog, err := customstatus.OpenFile(context.Background(), c.Path, nil)
	if err != nil {
		return err
	}
	crowd := &crowd{catalog: catalog, acknowledged: make(map[string]bool)}
	const times = 3
	for range times {
		info, err := os.Stat(c.Path)
		if err != nil {
			return err
		}
		lift, err := limit(syscall.RLIMIT_FSIZE, uint64(info.Size())+64<<10)
		if err != nil {
			return err
		}
		before := crowd.failed
		if err := crowd.write(c.Writers, 4000, syscall.EFBIG); err != nil {
			return err
		}
		if crowd.failed == before {
			return errors.New("the limit was not reached")
		}
		// The file is still full; a write that fails now must fail cleanly.
		if err := crowd.write(c.Writers, 5, syscall.EFBIG); err != nil {
			return err
		}
		if err := lift(); err != nil {
			return err
		}
		if err := crowd.write(c.Writers, 20, nil); err != nil {
			return fmt.Errorf("without the limit: %w", err)
		}
	}
	return conclude(catalog, fmt.Sprintf("%d writes acknowledged and there, %d failed with the reason and are not, at %d times when the file could not grow",
		len(crowd.acknowledged), crowd.failed, times))
}

// crowd is goroutines that create statuses, and what they know of them.
type crowd struct {
	catalog      *customstatus.Catalog
	made         int
	mu           sync.Mutex
	acknowledged map[string]bool // by name
	failed       int
}

// write has each of the writers create statuses until it has made that many or
// one fails, which must be with the reason. Meanwhile and afterwards the catalog
// must show what has been acknowledged, and nothing that failed.
func (w *crowd) write(writers, each int, reason error) error {
	var all, reading sync.WaitGroup
	errs := make(chan error, writers+1)
	stop := make(chan struct{})
	reading.Go(func() {
		for {
			if err := w.look(false); err != nil {
				errs <- err
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for n := range writers {
		prefix := fmt.Sprintf("%d by %d ", w.made, n)
		all.Go(func() {
			for i := range each {
				name := prefix + strings.Repeat("x", i%80) + fmt.Sprint(i)
				_, err := w.catalog.Create(context.Background(), customstatus.Fields{Name: name, StatusType: customstatus.Busy})
				w.mu.Lock()
				if err == nil {
					w.acknowledged[name] = true
				} else {
					w.failed++
				}
				w.mu.Unlock()
				if err == nil {
					continue
				}
				if reason == nil || expect(err, reason) != nil || errors.Is(err, customstatus.ErrOutcomeUnknown) {
					errs <- err
				}
				return
			}
		})
	}
	all.Wait()
	close(stop)
	reading.Wait()
	w.made++
	close(errs)
	for err := range errs {
		return err
	}
	return w.look(true)
}

// look compares what the catalog shows with what was acknowledged, exactly if
// nobody writes.
func (w *crowd) look(exactly bool) error {
	w.mu.Lock()
	before := maps.Clone(w.acknowledged)
	w.mu.Unlock()
	page, err := w.catalog.List(customstatus.Query{})
	if err != nil {
		return err
	}
	shown := make(map[string]bool)
	for _, s := range page.Statuses {
		shown[s.Name] = true
	}
	for name := range before {
		if !shown[name] {
			return fmt.Errorf("%q was acknowledged and is not shown", name)
		}
	}
	if exactly && len(shown) != len(before) {
		return fmt.Errorf("%d statuses are shown, %d were acknowledged", len(shown), len(before))
	}
	return nil
}

// noDescriptors is TestDescriptorLimit in the process that has the limit.
func (c child) noDescriptors() error {
	catalog, err := customstatus.OpenFile(context.Background(), c.Path, nil)
	if err != nil {
		return err
	}
	crowd := &crowd{catalog: catalog, acknowledged: make(map[string]bool)}
	if err := crowd.write(c.Writers, 10, nil); err != nil {
		return err
	}
	lift, err := limit(syscall.RLIMIT_NOFILE, 0)
	if err != nil {
		return err
	}
	err = errors.Join(
		crowd.write(c.Writers, 10, nil),
		expect(catalog.Backup(context.Background(), io.Discard), syscall.EMFILE),
	)
	_, openErr := customstatus.OpenFile(context.Background(), c.Path+".other", nil)
	if err := errors.Join(err, expect(openErr, syscall.EMFILE), lift()); err != nil {
		return err
	}
	if err := errors.Join(crowd.write(c.Writers, 10, nil), catalog.Backup(context.Background(), io.Discard)); err != nil {
		return fmt.Errorf("without the limit: %w", err)
	}
	left, err := filepath.Glob(c.Path + ".*")
	if err != nil || len(left) > 0 {
		return fmt.Errorf("left behind: %v, %w", left, err)
	}
	return conclude(catalog, fmt.Sprintf("%d writes acknowledged, a third of them without a free descriptor", len(crowd.acknowledged)))
}

// expect returns an error unless got says that want is the reason. (bbolt puts
// some reasons in words only.)
func expect(got, want error) error {
	if got != nil && strings.Contains(got.Error(), want.Error()) {
		return nil
	}
	return fmt.Errorf("got error %v, want %v", got, want)
}
