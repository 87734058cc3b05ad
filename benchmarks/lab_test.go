package benchmarks_test

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/benchmarks/contestant"
)

var (
	sizesFlag = flag.String("sizes", "100,10000,100000,1000000", "comma-separated `numbers` of statuses")
	dataFlag  = flag.String("data", "", "`directory` on a real disk for the data sets, kept for the next run; default: a temporary one")
)

const (
	// workers is the number of goroutines or connections in rows with several.
	workers = 64
	// pageSize is the number of statuses on a listed page.
	pageSize = 50
	// big is the number of statuses from which on only this library and floors
	// are timed, to show growth.
	big = 1_000_000
	// seed makes the statuses in the catalog, and otherSeed makes new names.
	seed, otherSeed = 1, 2
)

// lab holds what the benchmarks of a process share, so that each data set is made once.
var lab = &laboratory{sets: map[int]*keys{}}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if err := lab.close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

type laboratory struct {
	dir       string // for data sets
	temporary bool
	sets      map[int]*keys

	garbage []byte // see settle

	// The catalog that read benchmarks share, one at a time.
	kind   string
	n      int
	reader contestant.Contestant
}

// keys are the ids and names of n statuses in a random order. All ids are one string, and
// so are all names: reading a key should cost all contestants the same and little, and
// the garbage collector has two strings to look at instead of n statuses.
type keys struct {
	ids, names string
}

const idLength = 36

func (k *keys) id(i int) string { return k.ids[i*idLength : (i+1)*idLength] }
func (k *keys) name(i int) string {
	return k.names[i*contestant.NameLength : (i+1)*contestant.NameLength]
}

// statuses returns the n statuses of a fresh catalog.
func (l *laboratory) statuses(n int) []customstatus.CustomUserStatus {
	return contestant.Statuses(n, seed)
}

func (l *laboratory) keys(n int) *keys {
	if k := l.sets[n]; k != nil {
		return k
	}
	var ids, names strings.Builder
	statuses := l.statuses(n)
	for _, i := range rand.New(rand.NewPCG(seed, 2)).Perm(n) {
		ids.WriteString(statuses[i].ID)
		names.WriteString(statuses[i].Name)
	}
	k := &keys{ids.String(), names.String()}
	l.sets[n] = k
	return k
}

// directory returns the directory of the data sets.
func (l *laboratory) directory(b *testing.B) string {
	if l.dir == "" {
		l.dir = *dataFlag
		if l.dir == "" {
			dir, err := os.MkdirTemp("", "customstatus-benchmarks-")
			if err != nil {
				b.Fatal(err)
			}
			l.dir, l.temporary = dir, true
		}
	}
	return l.dir
}

// prepared returns a directory with the files of a contestant with n statuses. Callers
// must not write to it.
func (l *laboratory) prepared(b *testing.B, kind contestant.Kind, n int) string {
	name := kind.Name
	if kind.WritesAs != "" {
		name = kind.WritesAs
	}
	dir := filepath.Join(l.directory(b), fmt.Sprintf("%s-%d", name, n))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	making := dir + ".making"
	if err := os.RemoveAll(making); err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(making, 0o777); err != nil {
		b.Fatal(err)
	}
	c, err := kind.Open(making)
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Import(l.statuses(n)); err != nil {
		b.Fatal(err)
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	if err := os.Rename(making, dir); err != nil {
		b.Fatal(err)
	}
	return dir
}

// copied returns a copy of prepared that lasts as long as b. The copy is synced to the
// disk, so that no timed sync has to do that.
func (l *laboratory) copied(b *testing.B, kind contestant.Kind, n int) string {
	from, to := l.prepared(b, kind, n), l.scratch(b)
	files, err := os.ReadDir(from)
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		if err := copyFile(filepath.Join(to, f.Name()), filepath.Join(from, f.Name())); err != nil {
			b.Fatal(err)
		}
	}
	return to
}

// scratch returns a new directory beside the data sets. It lasts as long as b.
func (l *laboratory) scratch(b *testing.B) string {
	dir, err := os.MkdirTemp(l.directory(b), "scratch-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return dir
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	if err := out.Sync(); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// shared returns a catalog of n statuses. Callers must not write to it.
func (l *laboratory) shared(b *testing.B, kind contestant.Kind, n int) contestant.Contestant {
	if l.reader != nil && l.kind == kind.Name && l.n == n {
		return l.reader
	}
	l.release(b)
	var c contestant.Contestant
	if kind.Durable {
		var err error
		if c, err = kind.Open(l.prepared(b, kind, n)); err != nil {
			b.Fatal(err)
		}
	} else {
		c = l.imported(b, kind, n)
	}
	l.reader, l.kind, l.n = c, kind.Name, n
	return c
}

// release closes the catalog of shared, whose memory would slow down the next benchmark.
func (l *laboratory) release(b *testing.B) {
	if l.reader != nil {
		if err := l.reader.Close(); err != nil {
			b.Fatal(err)
		}
	}
	l.reader = nil
}

// fresh returns a catalog of n statuses that the caller may write and must close.
func (l *laboratory) fresh(b *testing.B, kind contestant.Kind, n int) contestant.Contestant {
	l.release(b)
	if !kind.Durable {
		return l.imported(b, kind, n)
	}
	c, err := kind.Open(l.copied(b, kind, n))
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// imported returns a catalog in memory of n statuses.
func (l *laboratory) imported(b *testing.B, kind contestant.Kind, n int) contestant.Contestant {
	c, err := kind.Open("")
	if err != nil {
		b.Fatal(err)
	}
	if err := c.Import(l.statuses(n)); err != nil {
		b.Fatal(err)
	}
	return c
}

// settle brings the heap to its working size, as in a process that has run for a while.
// Else the benchmark would pay for pages that the system maps at their first use.
func (l *laboratory) settle() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	for cycles := m.NumGC; m.NumGC < cycles+2; runtime.ReadMemStats(&m) {
		for range 256 {
			l.garbage = make([]byte, 4<<10)
		}
	}
}

func (l *laboratory) close() error {
	if l.reader != nil {
		if err := l.reader.Close(); err != nil {
			return err
		}
	}
	if l.temporary {
		return os.RemoveAll(l.dir)
	}
	return nil
}

func closeAll(tb testing.TB, c io.Closer) {
	if err := c.Close(); err != nil {
		tb.Fatal(err)
	}
}

// sizes returns the numbers of statuses to time.
func sizes(b *testing.B) []int {
	var out []int
	for s := range strings.SplitSeq(*sizesFlag, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < pageSize {
			b.Fatalf("-sizes: %q is no number from %d up", s, pageSize)
		}
		out = append(out, n)
	}
	return out
}

func ours(name string) bool {
	return name == contestant.CustomStatusBolt || name == contestant.CustomStatusMemory
}

// eachKind runs a benchmark for each size and kind that wanted accepts.
func eachKind(b *testing.B, wanted func(contestant.Kind, int) bool, run func(*testing.B, contestant.Kind, int)) {
	for _, n := range sizes(b) {
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			for _, kind := range contestant.All() {
				if wanted(kind, n) {
					b.Run("by="+kind.Name, func(b *testing.B) { run(b, kind, n) })
				}
			}
		})
	}
}

// The choices for eachKind.

func reads(kind contestant.Kind, n int) bool {
	return kind.WritesAs == "" && (n < big || ours(kind.Name))
}

func writes(kind contestant.Kind, n int) bool { return n < big }

func allSizes(kind contestant.Kind, n int) bool { return n < big || ours(kind.Name) }

func durable(kind contestant.Kind, n int) bool { return kind.Durable && reads(kind, n) }

// parallel shares total calls among the workers. Each call gets the number of its worker
// and its own number.
func parallel(b *testing.B, total int, do func(worker, i int) error) {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		wg     sync.WaitGroup
	)
	for w := range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= total || failed.Load() != nil {
					return
				}
				if err := do(w, i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}

// warm calls do for each of n, for at most limit, before the clock runs. Else the benchmark
// would pay for pages of a file at their first use.
func warm(n int, limit time.Duration, do func(i int)) {
	start := time.Now()
	for i := range n {
		if i%64 == 0 && time.Since(start) > limit {
			return
		}
		do(i)
	}
}
