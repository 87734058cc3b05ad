package bolt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/customstatus/customstatus/internal/damage"
	"github.com/customstatus/customstatus/internal/sentinel"
)

// Some faults end the process or concern the whole process. Their tests run in
// a child process, which is the test binary again.
const (
	childEnv = "CUSTOMSTATUS_TEST_CHILD"
	pathEnv  = "CUSTOMSTATUS_TEST_PATH"
)

// TestChild is the child process.
func TestChild(t *testing.T) {
	child, path := os.Getenv(childEnv), os.Getenv(pathEnv)
	switch child {
	case "":
		t.Skip("only run by other tests")
	case "traced":
		childTraced(t, path)
	case "faults":
		childFaults(t, path)
	case "cut":
		childCut(t, path)
	case "limited file":
		childLimitedFile(t, path)
	case "no descriptors":
		childNoDescriptors(t, path)
	case "making":
		childMaking(t, path, nil)
	case "making named":
		childMaking(t, path, os.OpenFile)
	case "backing up":
		childBackingUp(t, path)
	case "damaged at random":
		childDamagedAtRandom(t, path)
	case "damaged":
		childDamaged(t, path)
	case "holder":
		openStore(t, path)
		fmt.Fprintln(os.Stderr, "open")
		_, _ = io.Copy(io.Discard, os.Stdin)
	default:
		t.Fatalf("no child %q", child)
	}
}

// childCommand is the command that runs a child.
func childCommand(child, path string, before ...string) *exec.Cmd {
	limit := "60s"
	if torture() {
		limit = "600s"
	}
	args := append(before, os.Args[0], "-test.run=^TestChild$", "-test.v", "-test.timeout="+limit)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), childEnv+"="+child, pathEnv+"="+path, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// runChild requires that a child succeeds, and returns the output.
func runChild(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestChild")
	return string(out)
}

func TestStoreIsLockedByAnotherProcess(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	cmd := childCommand("holder", path)
	_, err := cmd.StdinPipe() // stays open
	require.NoError(t, err)
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(stderr).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "open\n", line)

	_, err = Open(path, nil)
	require.ErrorIs(t, err, sentinel.ErrLocked)

	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	commit(t, openStore(t, path), put("a", "x", 0))
}

func TestStoreIsNotTakenForDamagedWhileSomeoneWritesIt(t *testing.T) {
	path := tempPath(t)
	damage.Overwrite(t, path, []byte("a page that is being written"))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	_, err = Open(path, nil)
	require.ErrorIs(t, err, sentinel.ErrLocked)
	require.NoError(t, syscall.Flock(int(f.Fd()), syscall.LOCK_UN))
	_, err = Open(path, nil)
	require.ErrorContains(t, err, "not a bbolt file")
}

// tmpfs mounts a file system of the given size.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	directory := t.TempDir()
	if err := syscall.Mount("tmpfs", directory, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no tmpfs can be mounted (%v), as root only: a full disk and a read-only one are NOT tested", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(directory, syscall.MNT_DETACH)) })
	return directory
}

// This test is not parallel: a process that another test starts inherits all
// open files for a moment, and a file removed meanwhile takes space until then.
func TestStoreBearsAFullDisk(t *testing.T) {
	directory := tmpfs(t, "4m")
	path, ballast := filepath.Join(directory, "statuses.db"), filepath.Join(directory, "ballast")
	// fill leaves room for the given number of pages.
	fill := func(pages int) {
		f, err := os.Create(ballast)
		require.NoError(t, err)
		var n int64
		for page := make([]byte, 4096); err == nil; n++ {
			_, err = f.Write(page)
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NoError(t, errors.Join(f.Truncate(max(0, n-1-int64(pages))*4096), f.Close()))
	}

	for pages := range 8 {
		fill(pages)
		_, err := Open(path, nil)
		if err == nil {
			require.Greater(t, pages, 3)
			break
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		entries, err := os.ReadDir(directory)
		require.NoError(t, err)
		require.Len(t, entries, 1, "it left something behind")
	}
	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.Remove(ballast))

	for _, bolt := range []*bbolt.Options{nil, {FreelistType: bbolt.FreelistMapType}, {InitialMmapSize: 1}} {
		_ = os.Remove(path)
		s, err := Open(path, &Options{Bolt: bolt})
		require.NoError(t, err)
		memory := newModel()
		h := newHistory(8)
		failed := 0
		for i := range 120 {
			size := 4
			if i%3 == 0 {
				size = 200
			}
			changes := h.changes(load(t, memory), size)
			_, want := memory.Commit(context.Background(), changes)
			if want != nil {
				continue
			}
			fill(i % 18)
			_, err := s.Commit(context.Background(), changes)
			if err != nil {
				failed++
				require.ErrorIs(t, err, syscall.ENOSPC)
				require.ErrorContains(t, err, "nothing was written")
				require.NotErrorIs(t, err, sentinel.ErrNeedsReopen)
				now := load(t, s)
				require.Equal(t, load(t, memory).revision, now.revision+1)
				require.NoError(t, os.Remove(ballast))
				commit(t, s, changes...)
			}
			require.True(t, load(t, memory).equal(load(t, s)))
		}
		require.Greater(t, failed, 10)
		require.NoError(t, s.Close())
		require.NoError(t, os.Remove(ballast))
		again, err := reopen(path)
		require.NoError(t, err)
		require.True(t, load(t, memory).equal(again))
	}
}

func TestStoreOnAReadOnlyDisk(t *testing.T) {
	directory := tmpfs(t, "1m")
	path := filepath.Join(directory, "statuses.db")
	s, err := Open(path, nil)
	require.NoError(t, err)
	want := newHistory(1).run(t, 5, 5, s)
	require.NoError(t, s.Close())
	require.NoError(t, syscall.Mount("", directory, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for _, name := range []string{"statuses.db", "new.db"} {
		_, err = Open(filepath.Join(directory, name), nil)
		require.ErrorIs(t, err, syscall.EROFS)
	}
	s, err = Open(path, &Options{Bolt: &bbolt.Options{ReadOnly: true}})
	require.NoError(t, err)
	require.True(t, want.equal(load(t, s)))
	refused(t, s, put("new", "new", 0))
	var backup bytes.Buffer
	require.NoError(t, s.Backup(context.Background(), &backup), "in another directory")
	require.NotZero(t, backup.Len())
	require.NoError(t, s.Close())
}

func TestStoreBearsALimitOnFileSizes(t *testing.T) {
	t.Parallel()
	runChild(t, childCommand("limited file", tempPath(t)))
}

func childLimitedFile(t *testing.T, path string) {
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	s := openStore(t, path)
	memory := newModel()
	h := newHistory(2)
	failed := 0
	for i := range 100 {
		info, err := os.Stat(path)
		require.NoError(t, err)
		tight := limit
		if i%2 == 0 {
			tight.Cur = uint64(info.Size())
		}
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &tight))
		changes := h.changes(load(t, memory), 60)
		_, err = s.Commit(context.Background(), changes)
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
		if err != nil && !errors.Is(err, sentinel.ErrConflict) {
			failed++
			require.ErrorContains(t, err, "file too large")
			require.NotErrorIs(t, err, sentinel.ErrNeedsReopen)
			require.True(t, load(t, memory).equal(load(t, s)))
			continue
		}
		_, _ = memory.Commit(context.Background(), changes)
	}
	require.Positive(t, failed)
	require.True(t, load(t, memory).equal(load(t, s)))
}

func TestStoreBearsALackOfDescriptors(t *testing.T) {
	runChild(t, childCommand("no descriptors", tempPath(t)))
}

func childNoDescriptors(t *testing.T, path string) {
	s := openStore(t, path)
	commit(t, s, put("a", "x", 0))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 40, Max: 40}))
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			require.ErrorIs(t, err, syscall.EMFILE)
			break
		}
		taken = append(taken, f)
	}
	require.Equal(t, uint64(2), commit(t, s, put("b", "y", 0)))
	require.Len(t, load(t, s).statuses, 2)
	require.ErrorIs(t, s.Backup(context.Background(), io.Discard), syscall.EMFILE)
	_, err := Open(path+"2", nil)
	require.ErrorIs(t, err, syscall.EMFILE)
	for _, f := range taken {
		require.NoError(t, f.Close())
	}
	require.NoError(t, s.Backup(context.Background(), io.Discard))
	openStore(t, path+"2")
	commit(t, s, put("c", "z", 0))
}

func TestStoreBearsAFileCutShort(t *testing.T) {
	t.Parallel()
	runChild(t, childCommand("cut", tempPath(t)))
}

// childCut truncates files while they are open. bbolt has them mapped, and
// reading the missing part is a fault that ends an unprepared process.
func childCut(t *testing.T, path string) {
	ctx := context.Background()
	type opener func() (*Store, error)
	var hosts *bbolt.DB
	// Syncs are slow, and no power is cut here.
	own := func() (*Store, error) {
		return Open(path, &Options{Bolt: &bbolt.Options{NoSync: true}})
	}
	host := func() (*Store, error) {
		var err error
		if hosts, err = bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true}); err != nil {
			return nil, err
		}
		return New(hosts, nil)
	}
	for what, open := range map[string]opener{"own": own, "host's": host} {
		for _, size := range []int64{0, 4096, 3 * 4096, 10 * 4096, 16 * 4096} {
			for _, first := range []string{"load", "commit"} {
				t.Run(fmt.Sprintf("%s, %d, %s", what, size, first), func(t *testing.T) {
					_ = os.Remove(path)
					s, err := open()
					require.NoError(t, err)
					h := newHistory(5)
					h.run(t, 20, 60, s)
					info, err := os.Stat(path)
					require.NoError(t, err)
					require.Greater(t, info.Size(), size)
					require.NoError(t, os.Truncate(path, size))

					changes := list{put("new", "new", 0), put("0", "other new", 0)}
					for i := range 4 {
						if (first == "load") == (i%2 == 0) {
							_, err = s.Load(ctx, func(int, *Record) {})
						} else {
							_, err = s.Commit(ctx, changes)
						}
						if size < 16*4096 || what == "own" && first == "commit" {
							require.Error(t, err)
						}
						if what == "own" && first == "commit" && i == 0 {
							require.ErrorContains(t, err, "was cut from")
						}
						if err != nil {
							require.True(t, errors.Is(err, sentinel.ErrDamaged) || errors.Is(err, sentinel.ErrNeedsReopen), "%v", err)
							require.ErrorContains(t, err, path)
						}
					}
					require.NoError(t, s.Close())
					if what == "own" {
						_, err = Open(path, nil)
						if size == 0 {
							require.ErrorContains(t, err, "it is empty")
						} else {
							require.ErrorIs(t, err, sentinel.ErrDamaged)
						}
						require.NotErrorIs(t, err, sentinel.ErrLocked)
					}
				})
			}
		}
	}
}

// summary returns a short form of a store's contents.
func summary(c contents) string {
	h := sha256.New()
	fmt.Fprintln(h, c.revision)
	for _, id := range slices.Sorted(maps.Keys(c.statuses)) {
		fmt.Fprintln(h, c.statuses[id])
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// TestStoreBearsFailingCalls makes each system call of a child fail in turn,
// and requires that the child's errors are true.
func TestStoreBearsFailingCalls(t *testing.T) {
	t.Parallel()
	every := 17
	if torture() {
		every = 1
	}
	const (
		nothing   = iota // nobody notices
		goesOn           // the store works again by itself
		reopening        // sometimes the store must be reopened
		unknown          // and sometimes the outcome is unknown
	)
	for _, c := range []struct {
		call, fault string
		most        int // calls to let fail
		says        string
		outcome     int
	}{
		{"pwrite64", "ENOSPC", 100, "no space left", goesOn},
		{"pwrite64", "EIO", 100, "input/output error", reopening},
		{"pwrite64", "EDQUOT", 60, "quota exceeded", goesOn},
		{"fdatasync", "EIO", 30, "input/output error", unknown},
		{"fdatasync", "ENOSPC", 30, "no space left", unknown},
		{"fsync", "EIO", 10, "input/output error", reopening},
		{"ftruncate", "EFBIG", 6, "file too large", goesOn},
		{"ftruncate", "EIO", 6, "input/output error", goesOn},
		{"linkat", "EPERM", 1, "", nothing},
		{"statx", "ENOSYS", 10, "", nothing},
		{"statx", "EACCES", 10, "", nothing},
		{"statx", "EIO", 10, "input/output error", goesOn},
		{"flock", "ENOLCK", 2, "no locks available", goesOn},
		{"mlock", "ENOMEM", 8, "cannot allocate memory", reopening},
		{"munlock", "ENOMEM", 8, "cannot allocate memory", reopening},
	} {
		t.Run(c.call+" "+c.fault, func(t *testing.T) {
			path := tempPath(t)
			runs, said, unknowns, reopens := 0, 0, 0, 0
			for n := 1; n <= c.most; n += max(1, min(every, c.most/4)) {
				_ = os.Remove(path)
				strace := findStrace(t)
				cmd := childCommand("faults", path, strace, "-f", "-o", os.DevNull,
					"-e", "trace="+c.call, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", c.call, c.fault, n))
				if c.call == "mlock" || c.call == "munlock" {
					cmd.Env = append(cmd.Env, "CUSTOMSTATUS_TEST_MLOCK=1")
				}
				out := runChild(t, cmd)
				var states []string
				for line := range strings.Lines(out) {
					if state, ok := strings.CutPrefix(strings.TrimSpace(line), "may be "); ok {
						states = append(states, state)
					}
				}
				got, err := reopen(path)
				if len(states) == 0 { // it was never opened
					require.Contains(t, out, c.says)
				} else {
					require.NoError(t, err, "call %d: %s", n, out)
					require.Contains(t, states, summary(got), "call %d: %s", n, out)
				}
				runs++
				if c.outcome != nothing {
					said += strings.Count(out, c.says)
				}
				unknowns += strings.Count(out, sentinel.ErrOutcomeUnknown.Error())
				reopens += strings.Count(out, sentinel.ErrNeedsReopen.Error())
				if c.outcome == nothing {
					require.NotContains(t, out, "bolt: ")
				}
			}
			t.Logf("%d runs, %d errors, %d unknown outcomes, %d stores to be reopened", runs, said, unknowns, reopens)
			require.Equal(t, c.outcome != nothing, said > 0)
			require.Equal(t, c.outcome >= reopening, reopens > 0)
			require.Equal(t, c.outcome == unknown, unknowns > 0)
		})
	}
}

// childFaults commits and requires that the errors agree with the store's
// contents. It prints the possible contents of the file at the end.
func childFaults(t *testing.T, path string) {
	runtime.LockOSThread() // strace counts calls by thread
	ctx := context.Background()
	bolt := &bbolt.Options{}
	if os.Getenv("CUSTOMSTATUS_TEST_MLOCK") != "" {
		bolt.Mlock, bolt.InitialMmapSize = true, 1 // so that it maps anew when it grows
	}
	s, err := Open(path, &Options{Bolt: bolt})
	if err != nil {
		require.ErrorContains(t, err, path)
		fmt.Println(err)
		return
	}
	memory := newModel()
	h := newHistory(6)
	var may []string
	for i := range 8 {
		size := 5
		if i%3 == 2 {
			size = 150
		}
		changes := h.changes(load(t, memory), size)
		_, err := s.Commit(ctx, changes)
		if err == nil || errors.Is(err, sentinel.ErrConflict) {
			_, want := memory.Commit(ctx, changes)
			require.Equal(t, want == nil, err == nil)
			continue
		}
		fmt.Println(err)
		require.ErrorContains(t, err, path)
		if errors.Is(err, sentinel.ErrOutcomeUnknown) {
			may = append(may, summary(load(t, memory)))
			_, want := memory.Commit(ctx, changes)
			require.NoError(t, want)
			_, err := loadAll(s)
			require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
			require.ErrorIs(t, s.Backup(context.Background(), io.Discard), sentinel.ErrNeedsReopen)
			err = refused(t, s, changes...)
			require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
			fmt.Println(err)
			break
		}
		now, err := loadAll(s)
		if err != nil {
			require.ErrorIs(t, err, sentinel.ErrNeedsReopen)
		} else {
			require.True(t, load(t, memory).equal(now))
		}
		// The store either works again or says that it must be reopened.
		_, err = s.Commit(ctx, changes)
		if errors.Is(err, sentinel.ErrNeedsReopen) {
			fmt.Println(err)
			break
		}
		_, want := memory.Commit(ctx, changes)
		require.Equal(t, want == nil, err == nil, "%v, %v", want, err)
	}
	may = append(may, summary(load(t, memory)))
	_ = s.Close()
	for _, state := range may {
		fmt.Println("may be", state)
	}
}
