package benchmarks_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/benchmarks/contestant"
)

const warmUp = 100 * time.Millisecond

func BenchmarkGetByID(b *testing.B) {
	benchmarkGet(b, (*keys).id, contestant.Reader.GetByID)
}

func BenchmarkGetByName(b *testing.B) {
	benchmarkGet(b, (*keys).name, contestant.Reader.GetByName)
}

func benchmarkGet(b *testing.B, key func(*keys, int) string, get func(contestant.Reader, string) (customstatus.CustomUserStatus, error)) {
	run := func(b *testing.B, r contestant.Reader, n int) {
		keys := lab.keys(n)
		lab.settle()
		warm(n, warmUp, func(i int) { _, _ = get(r, key(keys, i)) })
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := get(r, key(keys, i)); err != nil {
				b.Fatal(err)
			}
			if i++; i == n {
				i = 0
			}
		}
	}
	eachKind(b, reads, func(b *testing.B, kind contestant.Kind, n int) { run(b, lab.shared(b, kind, n), n) })
	eachSize(b, contestant.MapFloor, 0, func(b *testing.B, n int) {
		lab.release(b)
		run(b, contestant.NewMapFloor(lab.statuses(n)), n)
	})
}

// eachSize runs a benchmark of a floor for each size, up to limit if that is not 0.
func eachSize(b *testing.B, floor string, limit int, run func(*testing.B, int)) {
	for _, n := range sizes(b) {
		if limit == 0 || n <= limit {
			b.Run(fmt.Sprintf("n=%d/by=%s", n, floor), func(b *testing.B) { run(b, n) })
		}
	}
}

func BenchmarkListStart(b *testing.B) { benchmarkList(b, func(int) int { return 0 }) }

func BenchmarkListMiddle(b *testing.B) {
	benchmarkList(b, func(n int) int { return (n - pageSize) / 2 })
}

func BenchmarkListEnd(b *testing.B) { benchmarkList(b, func(n int) int { return n - pageSize }) }

func benchmarkList(b *testing.B, offsetIn func(n int) int) {
	eachKind(b, reads, func(b *testing.B, kind contestant.Kind, n int) {
		c, offset := lab.shared(b, kind, n), offsetIn(n)
		lab.settle()
		b.ReportAllocs()
		for b.Loop() {
			page, total, err := c.List(offset, pageSize)
			if err != nil || len(page) != pageSize || total != n {
				b.Fatalf("%d of %d, %v", len(page), total, err)
			}
		}
	})
}

// BenchmarkListContains lists 50 of the statuses with a part in their name. One name in a
// thousand has the part.
func BenchmarkListContains(b *testing.B) {
	benchmarkQuery(b, customstatus.Query{NameContains: "QzX", Limit: pageSize})
	eachSize(b, contestant.ContainsFloor, 0, func(b *testing.B, n int) {
		lab.release(b)
		floor := contestant.NewFoldedNames(lab.statuses(n))
		lab.settle()
		for b.Loop() {
			if floor.Count("QZX") > n {
				b.Fatal("more names than there are")
			}
		}
	})
}

// BenchmarkListByTime lists the 50 statuses that changed last.
func BenchmarkListByTime(b *testing.B) {
	last := []customstatus.SortKey{{Field: customstatus.SortByUpdatedAt, Descending: true}}
	benchmarkQuery(b, customstatus.Query{Sort: last, Limit: pageSize})
	eachSize(b, contestant.PassFloor, 0, func(b *testing.B, n int) {
		kind := contestant.All()[0]
		c := contestant.Catalog(lab.shared(b, kind, n))
		lab.settle()
		for b.Loop() {
			var latest time.Time
			for s, err := range c.All() {
				if err != nil {
					b.Fatal(err)
				}
				if s.UpdatedAt.After(latest) {
					latest = s.UpdatedAt
				}
			}
			if latest.IsZero() {
				b.Fatal("no status has a time")
			}
		}
	})
}

// benchmarkQuery lists by a query that the interface of contestants lacks.
func benchmarkQuery(b *testing.B, query customstatus.Query) {
	own := func(kind contestant.Kind, n int) bool { return ours(kind.Name) && reads(kind, n) }
	eachKind(b, own, func(b *testing.B, kind contestant.Kind, n int) {
		c := contestant.Catalog(lab.shared(b, kind, n))
		if _, err := c.List(query); err != nil {
			b.Fatal(err)
		}
		lab.settle()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.List(query); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCreate has one goroutine create statuses. A fresh catalog replaces one that has
// grown by a tenth, or by 100.
func BenchmarkCreate(b *testing.B) {
	eachKind(b, allSizes, func(b *testing.B, kind contestant.Kind, n int) {
		names := contestant.Names(max(n/10, 100), otherSeed)
		c := lab.fresh(b, kind, n)
		lab.settle()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if i == len(names) {
				b.StopTimer()
				closeAll(b, c)
				c, i = lab.fresh(b, kind, n), 0
				b.StartTimer()
			}
			if _, err := c.Create(customstatus.Fields{Name: names[i], StatusType: customstatus.Busy}); err != nil {
				b.Fatal(err)
			}
			i++
		}
		closeAll(b, c)
	})
	eachSize(b, contestant.SyncFloor, big-1, func(b *testing.B, n int) {
		f, err := contestant.OpenSync(lab.scratch(b))
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if err := f.Write(); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

// createsEach is the number of creates of a goroutine of BenchmarkCreate64 between two
// looks at the clock. It is so great that the start and the end don't count.
const createsEach = 25

// BenchmarkCreate64 has 64 goroutines create statuses. The time is the elapsed time
// divided by the number of creates. A fresh catalog replaces a grown one as in
// BenchmarkCreate.
func BenchmarkCreate64(b *testing.B) {
	eachKind(b, writes, func(b *testing.B, kind contestant.Kind, n int) {
		const each = workers * createsEach
		names := contestant.Names(max(n/10/each, 1)*each, otherSeed)
		c := lab.fresh(b, kind, n)
		lab.settle()
		at, rounds := 0, 0
		for b.Loop() {
			if at == len(names) {
				b.StopTimer()
				closeAll(b, c)
				c, at = lab.fresh(b, kind, n), 0
				b.StartTimer()
			}
			parallel(b, each, func(_, i int) error {
				_, err := c.Create(customstatus.Fields{Name: names[at+i], StatusType: customstatus.Busy})
				return err
			})
			at += each
			rounds++
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*each), "ns/op")
		closeAll(b, c)
	})
	eachSize(b, contestant.GroupFloor, big-1, func(b *testing.B, n int) {
		all := contestant.Statuses(n+max(n/10/workers, 25)*workers, seed)
		var group *contestant.Group
		at, puts := len(all), 0
		for b.Loop() {
			if at == len(all) {
				b.StopTimer()
				if group != nil {
					closeAll(b, group)
				}
				var err error
				if group, err = contestant.OpenGroup(lab.scratch(b), all[:n]); err != nil {
					b.Fatal(err)
				}
				at = n
				b.StartTimer()
			}
			if err := group.Write(all[at : at+workers]); err != nil {
				b.Fatal(err)
			}
			at += workers
			puts += workers
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(puts), "ns/op")
		closeAll(b, group)
	})
}

// BenchmarkUpdate changes the status type of one status after the other.
func BenchmarkUpdate(b *testing.B) {
	eachKind(b, writes, func(b *testing.B, kind contestant.Kind, n int) {
		c, keys := lab.fresh(b, kind, n), lab.keys(n)
		lab.settle()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := c.Update(keys.id(i), customstatus.Fields{Name: keys.name(i), StatusType: customstatus.Busy}); err != nil {
				b.Fatal(err)
			}
			if i++; i == n {
				i = 0
			}
		}
		closeAll(b, c)
	})
}

// BenchmarkRename renames one status after the other: all to a second name, then all back
// to the first, and so on.
func BenchmarkRename(b *testing.B) {
	eachKind(b, writes, func(b *testing.B, kind contestant.Kind, n int) {
		c, was := lab.fresh(b, kind, n), lab.keys(n)
		will := &keys{was.ids, strings.Join(contestant.Names(n, otherSeed), "")}
		lab.settle()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := c.Update(will.id(i), customstatus.Fields{Name: will.name(i), StatusType: customstatus.Busy}); err != nil {
				b.Fatal(err)
			}
			if i++; i == n {
				i, was, will = 0, will, was
			}
		}
		closeAll(b, c)
	})
}

func BenchmarkOpen(b *testing.B) {
	eachKind(b, durable, func(b *testing.B, kind contestant.Kind, n int) {
		lab.release(b)
		dir := lab.copied(b, kind, n)
		b.ReportAllocs()
		for b.Loop() {
			c, err := kind.Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if _, total, err := c.List(0, 1); err != nil || total != n {
				b.Fatalf("%d statuses, %v", total, err)
			}
			closeAll(b, c)
			b.StartTimer()
		}
	})
}

// BenchmarkImport imports n statuses with unsorted names into an empty catalog. The time is
// that of the whole import.
func BenchmarkImport(b *testing.B) {
	eachKind(b, func(kind contestant.Kind, n int) bool { return reads(kind, n) && n < big },
		func(b *testing.B, kind contestant.Kind, n int) {
			lab.release(b)
			statuses := lab.statuses(n)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				c, err := kind.Open(lab.scratch(b))
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := c.Import(statuses); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				closeAll(b, c)
				b.StartTimer()
			}
		})
}

// BenchmarkMemory measures the bytes of Go's heap for each status. It leaves out memory
// outside the heap, such as the pages of bbolt and SQLite.
func BenchmarkMemory(b *testing.B) {
	eachKind(b, reads, func(b *testing.B, kind contestant.Kind, n int) {
		lab.release(b)
		dir := ""
		if kind.Durable {
			dir = lab.copied(b, kind, n)
		}
		for b.Loop() {
			before := heap()
			c, err := kind.Open(dir)
			if err != nil {
				b.Fatal(err)
			}
			if !kind.Durable {
				if err := c.Import(contestant.Statuses(n, seed)); err != nil {
					b.Fatal(err)
				}
			}
			if ours(kind.Name) { // the first search keeps the folded names
				if _, err := contestant.Catalog(c).List(customstatus.Query{NameContains: "QzX"}); err != nil {
					b.Fatal(err)
				}
			}
			held := heap() - before
			b.ReportMetric(float64(held)/float64(n), "B/status")
			b.ReportMetric(0, "ns/op") // leaves it out
			closeAll(b, c)
		}
	})
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one may leave what has a finalizer
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkLatency times each get by itself.
func BenchmarkLatency(b *testing.B) { benchmarkLatency(b, 0) }

// BenchmarkLatencyAmidWrites times each get by itself while 64 goroutines change statuses
// without a pause.
func BenchmarkLatencyAmidWrites(b *testing.B) { benchmarkLatency(b, workers) }

func benchmarkLatency(b *testing.B, writers int) {
	eachKind(b, func(kind contestant.Kind, n int) bool { return reads(kind, n) && n < big },
		func(b *testing.B, kind contestant.Kind, n int) {
			c, keys := lab.fresh(b, kind, n), lab.keys(n)
			lab.settle()
			warm(n, warmUp, func(i int) { _, _ = c.GetByID(keys.id(i)) })
			stop := keepUpdating(b, c, keys, n, writers)
			var h histogram
			i := 0
			for b.Loop() {
				start := time.Now()
				if _, err := c.GetByID(keys.id(i)); err != nil {
					b.Fatal(err)
				}
				h.add(time.Since(start))
				if i++; i == n {
					i = 0
				}
			}
			elapsed := b.Elapsed()
			updates := stop()
			b.ReportMetric(h.quantile(0.5), "p50-ns")
			b.ReportMetric(h.quantile(0.99), "p99-ns")
			b.ReportMetric(h.quantile(0.999), "p99.9-ns")
			if writers > 0 {
				b.ReportMetric(float64(updates)/elapsed.Seconds(), "updates/s")
			}
			closeAll(b, c)
		})
}

// keepUpdating has goroutines change the types of statuses until stop is called. stop
// returns the number of changes.
func keepUpdating(b *testing.B, c contestant.Contestant, keys *keys, n, goroutines int) (stop func() int) {
	var (
		wg     sync.WaitGroup
		done   = make(chan struct{})
		counts = make([]int, goroutines)
		errs   = make([]error, goroutines)
	)
	for w := range goroutines {
		wg.Go(func() {
			for i := w; ; i += goroutines {
				select {
				case <-done:
					return
				default:
				}
				// Copies scatter what is written in memory, as if it came
				// from clients.
				id, name := strings.Clone(keys.id(i%n)), strings.Clone(keys.name(i%n))
				if _, err := c.Update(id, customstatus.Fields{Name: name, StatusType: customstatus.Away}); err != nil {
					errs[w] = err
					return
				}
				counts[w]++
			}
		})
	}
	return func() int {
		close(done)
		wg.Wait()
		total := 0
		for w, n := range counts {
			total += n
			if errs[w] != nil {
				b.Fatal(errs[w])
			}
		}
		return total
	}
}
