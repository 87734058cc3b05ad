package report

import (
	"fmt"
	"math"
	"time"

	"github.com/customstatus/customstatus/benchmarks/contestant"
)

// Target is a limit that the library should keep.
type Target struct {
	Row   string // what is done
	Claim string
	// Limit is the greatest allowed value, or with AtLeast the least.
	Limit   float64
	AtLeast bool
	// Exact says that the value is a count, not a measurement.
	Exact  bool
	Format func(float64) string
	Checks []Check
	// Bound names the best possible case that the checks compute as their Bound,
	// if they have one.
	Bound string
	// Why says why a missed target is missed, and what it would take.
	Why string
}

// Check is one place where a target must hold.
type Check struct {
	Where string
	// Value computes from the results of one round, or from the medians.
	Value func(of func(Key, string) float64) float64
	// Bound, if not nil, computes the best possible value.
	Bound func(of func(Key, string) float64) float64
}

// Outcome is a target with its results.
type Outcome struct {
	Target
	Values []Value
	// Measured says that there are results for each check.
	Measured bool
	Reached  bool
}

// Value has the values of one check: from the medians, and the least and the greatest
// of any round.
type Value struct {
	Where               string
	Median, Least, Most float64
	Within              bool
	Bound               float64 // NaN if there is none
}

// Judge compares the results with the targets.
func (r *Results) Judge(targets []Target) []Outcome {
	rounds := 0
	for _, of := range r.samples {
		for _, values := range of {
			rounds = max(rounds, len(values))
		}
	}
	out := make([]Outcome, len(targets))
	for i, t := range targets {
		o := Outcome{Target: t, Measured: true, Reached: true}
		for _, c := range t.Checks {
			v := Value{Where: c.Where, Median: c.Value(r.Median), Least: math.Inf(1), Most: math.Inf(-1), Bound: math.NaN()}
			if c.Bound != nil {
				v.Bound = c.Bound(r.Median)
			}
			for round := range rounds {
				x := c.Value(r.at(round))
				v.Least, v.Most = min(v.Least, x), max(v.Most, x)
			}
			v.Within = v.Median <= t.Limit
			if t.AtLeast {
				v.Within = v.Median >= t.Limit
			}
			o.Measured = o.Measured && !math.IsNaN(v.Median)
			o.Reached = o.Reached && v.Within // NaN is not within
			o.Values = append(o.Values, v)
		}
		out[i] = o
	}
	return out
}

// ratio is one benchmark's value over another's.
func ratio(unit string, a, b Key) func(func(Key, string) float64) float64 {
	return func(of func(Key, string) float64) float64 { return of(a, unit) / of(b, unit) }
}

func value(unit string, k Key) func(func(Key, string) float64) float64 {
	return func(of func(Key, string) float64) float64 { return of(k, unit) }
}

// against compares by with rival at the same workloads.
func against(by, rival string, workloads []string, sizes ...int) []Check {
	var out []Check
	for _, w := range workloads {
		for _, n := range sizes {
			out = append(out, Check{
				Where: place(w, n, len(workloads) > 1, len(sizes) > 1),
				Value: ratio(Seconds, Key{w, n, by}, Key{w, n, rival}),
			})
		}
	}
	return out
}

func values(unit, by string, workloads []string, sizes ...int) []Check {
	var out []Check
	for _, w := range workloads {
		for _, n := range sizes {
			out = append(out, Check{
				Where: place(w, n, len(workloads) > 1, len(sizes) > 1),
				Value: value(unit, Key{w, n, by}),
			})
		}
	}
	return out
}

// place names a check among others.
func place(workload string, n int, manyWorkloads, manySizes bool) string {
	switch {
	case manyWorkloads && manySizes:
		return workloadTitle(workload) + ", " + formatCount(n)
	case manyWorkloads:
		return workloadTitle(workload)
	case manySizes:
		return formatCount(n)
	}
	return ""
}

// Targets returns the limits that the library should keep.
func Targets() []Target {
	const (
		bolt   = contestant.CustomStatusBolt
		memory = contestant.CustomStatusMemory

		hundred  = 100
		thousand = 1000
		million  = 1000 * thousand
	)
	upTo100k := []int{hundred, 10 * thousand, 100 * thousand}
	upTo1M := append(upTo100k[:3:3], million)
	gets := []string{"GetByID", "GetByName"}
	lists := []string{"ListStart", "ListMiddle", "ListEnd"}
	const at = 100 * thousand

	return []Target{
		{
			Row: "get by id, by name, on bbolt", Claim: "≤ 0.05 × hand-written bbolt", Limit: 0.05,
			Format: formatRatio, Checks: bounded(against(bolt, contestant.Bbolt, gets, upTo100k...),
				against(contestant.MapFloor, contestant.Bbolt, gets, upTo100k...)),
			Bound: "a plain map",
			Why: "At 100,000 statuses the processor's caches are too small. A get waits for main memory at the bucket, at the bucket's pointers, at the status and at the status's key. " +
				"A plain map waits one time fewer. Its own ratio is near the target or misses it, depending on how much of the caches the machine leaves to one process. " +
				"A table that contains the statuses would save one wait, but each commit would have to copy them.",
		}, {
			Row: "get by id, by name, on bbolt", Claim: "≤ 3 × a plain map", Limit: 3,
			Format: formatRatio, Checks: against(bolt, contestant.MapFloor, gets, upTo1M...),
		}, {
			Row: "get by id, by name, on bbolt", Claim: "0 allocations", Limit: 0, Exact: true,
			Format: formatPlain, Checks: values(Allocations, bolt, gets, upTo1M...),
		}, {
			Row: "get by id, by name, on bbolt", Claim: "≤ 0.3 × go-memdb", Limit: 0.3,
			Format: formatRatio, Checks: bounded(against(bolt, contestant.MemDB, gets, upTo100k...),
				against(contestant.MapFloor, contestant.MemDB, gets, upTo100k...)),
			Bound: "a plain map",
		}, {
			Row: "list of 50 on bbolt, 100,000 statuses", Claim: "≤ 0.03 × hand-written bbolt", Limit: 0.03,
			Format: formatRatio, Checks: bounded(against(bolt, contestant.Bbolt, lists, at),
				against(contestant.RWMutex, contestant.Bbolt, lists, at)),
			Bound: "a sorted slice",
		}, {
			Row: "list of 50 on bbolt, 100,000 statuses", Claim: "the middle ≤ 1.3 × the start", Limit: 1.3,
			Format: formatRatio, Checks: []Check{{
				Value: ratio(Seconds, Key{"ListMiddle", at, bolt}, Key{"ListStart", at, bolt}),
			}},
		}, {
			Row: "list of 50 on bbolt, 100,000 statuses", Claim: "≤ 2 allocations", Limit: 2, Exact: true,
			Format: formatPlain, Checks: values(Allocations, bolt, lists, at),
		}, {
			Row: "list by a part of the name", Claim: "≤ 2 × `strings.Contains` over the folded names in a slice", Limit: 2,
			Format: formatRatio, Checks: against(bolt, contestant.ContainsFloor, []string{"ListContains"}, thousand, 10*thousand, at, million),
		}, {
			Row: "list of 50 by time", Claim: "≤ 3 × one pass over all statuses", Limit: 3,
			Format: formatRatio, Checks: against(bolt, contestant.PassFloor, []string{"ListByTime"}, thousand, 10*thousand, at, million),
		}, {
			Row: "create alone on bbolt", Claim: "≤ 1.05 × hand-written bbolt with db.Update", Limit: 1.05,
			Format: formatRatio, Checks: bounded(against(bolt, contestant.Bbolt, []string{"Create"}, upTo100k...),
				syncs("Create", 2, upTo100k)),
			Bound: "bbolt's two syncs",
			Why:   "The disk's syncs take most of the time, and vary by a third from round to round. In most runs the value is below the target at each size.",
		}, {
			Row: "create by 64 goroutines on bbolt", Claim: "≤ 0.03 × hand-written bbolt with db.Update", Limit: 0.03,
			Format: formatRatio, Checks: bounded(against(bolt, contestant.Bbolt, []string{"Create64"}, upTo100k...),
				against(contestant.GroupFloor, contestant.Bbolt, []string{"Create64"}, upTo100k...)),
			Bound: "64 records put in one transaction",
			Why: "bbolt's own transaction, with its two syncs, takes more than half of the target. " +
				"By profile, a create adds 2 µs for the indexes and the order of names (5 µs at 100,000, because of waits for memory), 1 µs for the record, and 1 to 2 µs to queue the goroutine and wake it. " +
				"On two cores 45 to 50 writers share a commit, because the writers that were just woken are not all back when the next commit begins. It would take a log that syncs once, instead of bbolt's pages.",
		}, {
			Row: "create by 64 goroutines on bbolt", Claim: "≤ 0.3 × the best db.Batch", Limit: 0.3,
			Format: formatRatio, Checks: bounded(bestBatch(bolt, upTo100k), bestBatch(contestant.GroupFloor, upTo100k)),
			Bound: "64 records put in one transaction",
			Why:   "The value is near the target, on either side from run to run. One bbolt transaction of 64 records is a third of the value or more. The rest is each create's own work, which hand-written bbolt has too. `db.Batch` shares as much, because all 64 writers arrive within its millisecond.",
		}, {
			Row: "create in memory", Claim: "≤ 0.5 × go-memdb at 100,000", Limit: 0.5,
			Format: formatRatio, Checks: bounded(against(memory, contestant.MemDB, []string{"Create"}, at),
				against(contestant.RWMutex, contestant.MemDB, []string{"Create"}, at)),
			Bound: "maps and a slice under a lock, which copy nothing",
			Why: "A create copies a path in each of two hash tables and in the order of names. go-memdb copies two radix trees, has no counts to find an offset by, and has no store below. " +
				"It would take gets that search a tree. Such gets are five times as slow.",
		}, {
			Row: "create in memory", Claim: "growth from 100 to 1,000,000 ≤ 4 ×", Limit: 4,
			Format: formatRatio, Checks: []Check{{
				Value: ratio(Seconds, Key{"Create", million, memory}, Key{"Create", hundred, memory}),
			}},
		}, {
			Row: "import of 100,000 unordered names on bbolt", Claim: "≤ sqlite in one transaction", Limit: 1,
			Format: formatRatio, Checks: against(bolt, contestant.SQLite, []string{"Import"}, at),
		}, {
			Row: "open with 100,000 on bbolt", Claim: "≤ 250 ms", Limit: 0.250,
			Format: formatSeconds, Checks: values(Seconds, bolt, []string{"Open"}, at),
		}, {
			Row: "open with 100,000 on bbolt", Claim: "growth linear: 1,000,000 takes ≤ 12 × as long", Limit: 12,
			Format: formatRatio, Checks: []Check{{
				Value: ratio(Seconds, Key{"Open", million, bolt}, Key{"Open", at, bolt}),
			}},
			Why: "By profile, most of it is waits for memory, which get longer as fewer of the pages and of the processor's translations of addresses fit its caches. The read of the file itself is linear. It would take values in the order of their names in the file.",
		}, {
			Row: "open with 100,000 on bbolt", Claim: "≤ 0.3 × buntdb", Limit: 0.3,
			Format: formatRatio, Checks: against(bolt, contestant.BuntDB, []string{"Open"}, at),
		}, {
			Row: "memory held per status, names of 20 bytes", Claim: "≤ 300 bytes on bbolt", Limit: 300,
			Format: formatBytes, Checks: values(Held, bolt, []string{"Memory"}, 10*thousand, at, million),
		}, {
			Row: "HTTP list of 50, unchanged catalog", Claim: "≥ 0.9 × the throughput of a bare handler", Limit: 0.9, AtLeast: true,
			Format: formatRatio, Checks: throughput("HTTPList", bolt, upTo100k),
		}, {
			Row: "HTTP list of 50, unchanged catalog", Claim: "with If-None-Match ≥ 1.0 × that", Limit: 1, AtLeast: true,
			Format: formatRatio, Checks: throughput("HTTPListNotModified", bolt, upTo100k),
		}, {
			Row: "HTTP create, 64 connections, durable", Claim: "≤ 1.3 × (create by 64 goroutines + a bare handler)", Limit: 1.3,
			Format: formatRatio, Checks: httpCreate(bolt, upTo100k),
			Why: "Each of the two terms was measured with the machine to itself. Together, requests and commits compete for two cores. A commit takes 550 µs instead of 400. It has 28 to 30 writers instead of 45 to 50, because the others are on their way through the sockets. " +
				"The cores wait for the disk four tenths of the time. It would take more cores. A timer would make larger groups, but nobody should wait for a timer.",
		}, {
			Row: "a change to 9,000 event streams", Claim: "≤ 1.0 × a bare handler that writes the same bytes", Limit: 1,
			Format: formatRatio, Checks: []Check{{Value: ratio(Seconds,
				Key{streamsWorkload, 9 * thousand, memory}, Key{streamsWorkload, 9 * thousand, contestant.StreamFloor})}},
			Why: "By profile, the writes to the sockets take as long as in the bare handler. A stream also looks into the history, and its goroutine has a deeper stack, which is more memory to wait for.",
		}, {
			Row: "memory held per event stream", Claim: "≤ 1.1 × that of a bare handler", Limit: 1.1,
			Format: formatRatio, Checks: []Check{{Value: ratio(HeldByStream,
				Key{streamsWorkload, 9 * thousand, memory}, Key{streamsWorkload, 9 * thousand, contestant.StreamFloor})}},
		}, {
			Row: "reads while 64 writers commit, on bbolt", Claim: "p99 of a get ≤ 3 × that without writers", Limit: 3,
			Format: formatRatio, Checks: amidWrites(bolt, upTo100k),
		}, {
			Row: "create alone on a shared store", Claim: "≤ 1.1 × two statements in a transaction by hand", Limit: 1.1,
			Format: formatRatio, Checks: shared("ClusterCreate", "ClusterCreate", Seconds, 10*thousand),
			Why: "A commit also writes a marker, which tells what became of it if no answer comes, and the feed. In PostgreSQL that is one call of a function, which takes about 80 µs of the server's processor. " +
				"In etcd it is four keys instead of two, which takes a tenth longer. Without the marker it would be about 1.2 ×. The rest is the catalog, which plans the commit and waits for the watch to show it, on the two cores that etcd needs too. It would take more cores.",
		}, {
			Row: "create by 64 goroutines on a shared store", Claim: "on one node ≤ 0.15 × create alone by hand", Limit: 0.15,
			Format: formatRatio, Checks: shared("ClusterCreate64", "ClusterCreate", Seconds, 10*thousand),
		}, {
			Row: "create by 64 goroutines on a shared store", Claim: "on each of three nodes ≤ 0.15 × create alone by hand", Limit: 0.15,
			Format: formatRatio, Checks: shared("ClusterCreate192", "ClusterCreate", Seconds, 10*thousand),
		}, {
			Row: "create by 64 goroutines on a shared store", Claim: "three nodes ≤ 1.0 × one node", Limit: 1,
			Format: formatRatio, Checks: []Check{
				{Where: contestant.PGStore, Value: ratio(Seconds, Key{"ClusterCreate192", 10 * thousand, contestant.PGStore}, Key{"ClusterCreate64", 10 * thousand, contestant.PGStore})},
				{Where: contestant.EtcdStore, Value: ratio(Seconds, Key{"ClusterCreate192", 10 * thousand, contestant.EtcdStore}, Key{"ClusterCreate64", 10 * thousand, contestant.EtcdStore})},
			},
			Why: "On PostgreSQL, the nodes take turns at one row, so three are no faster than one. Each node also reads what the others have committed, here on the same two cores.",
		}, {
			Row: "a create until another node has the event", Claim: "p50 ≤ 1.5 × the server's own notification", Limit: 1.5,
			Format: formatRatio, Checks: shared("ClusterEvent", "ClusterEvent", P50, 10*thousand),
		}, {
			Row: "a create until another node has the event", Claim: "p99 ≤ 1.5 × the server's own notification", Limit: 1.5,
			Format: formatRatio, Checks: shared("ClusterEvent", "ClusterEvent", P99, 10*thousand),
			Why: "The slowest hundredth is while Go's garbage collector goes through two catalogs of 10,000, on the cores that the server needs too. The stores by hand keep nothing in memory. With the collector off, etcdstore's value is 1.1. " +
				"pgstore also reads the commit after the notification. A notification that carries the commit would save that, but any role may send one.",
		}, {
			Row: "load of 100,000 from a shared store", Claim: "≤ 1.3 × reading them with the bare client", Limit: 1.3,
			Format: formatRatio, Checks: shared("ClusterLoad", "ClusterLoad", Seconds, at),
		},
	}
}

// shared compares the shared stores with those written by hand for the same servers.
func shared(workload, floors, unit string, n int) []Check {
	var out []Check
	for _, pair := range [...][2]string{{contestant.PGStore, contestant.PostgresFloor}, {contestant.EtcdStore, contestant.EtcdFloor}} {
		out = append(out, Check{Where: pair[0], Value: ratio(unit, Key{workload, n, pair[0]}, Key{floors, n, pair[1]})})
	}
	return out
}

// bounded gives each check the value of a bound as its Bound.
func bounded(checks, bounds []Check) []Check {
	for i := range checks {
		checks[i].Bound = bounds[i].Value
	}
	return checks
}

// syncs compares a number of syncs with hand-written bbolt.
func syncs(workload string, number float64, sizes []int) []Check {
	var out []Check
	for _, n := range sizes {
		out = append(out, Check{Value: func(of func(Key, string) float64) float64 {
			return number * of(Key{"Create", n, contestant.SyncFloor}, Seconds) / of(Key{workload, n, contestant.Bbolt}, Seconds)
		}})
	}
	return out
}

func bestBatch(by string, sizes []int) []Check {
	var out []Check
	for _, n := range sizes {
		out = append(out, Check{Where: formatCount(n), Value: func(of func(Key, string) float64) float64 {
			return of(Key{"Create64", n, by}, Seconds) / min(
				of(Key{"Create64", n, contestant.BboltBatch10ms}, Seconds),
				of(Key{"Create64", n, contestant.BboltBatch1ms}, Seconds))
		}})
	}
	return out
}

// throughput compares with a bare handler. The handler's time is the numerator, so more
// is better.
func throughput(workload, by string, sizes []int) []Check {
	var out []Check
	for _, n := range sizes {
		out = append(out, Check{
			Where: formatCount(n),
			Value: ratio(Seconds, Key{"HTTPList", n, contestant.HTTPFloor}, Key{workload, n, by}),
		})
	}
	return out
}

func httpCreate(by string, sizes []int) []Check {
	var out []Check
	for _, n := range sizes {
		out = append(out, Check{Where: formatCount(n), Value: func(of func(Key, string) float64) float64 {
			return of(Key{"HTTPCreate", n, by}, Seconds) /
				(of(Key{"Create64", n, by}, Seconds) + of(Key{"HTTPCreate", n, contestant.HTTPFloor}, Seconds))
		}})
	}
	return out
}

func amidWrites(by string, sizes []int) []Check {
	var out []Check
	for _, n := range sizes {
		out = append(out, Check{
			Where: formatCount(n),
			Value: ratio(P99, Key{"LatencyAmidWrites", n, by}, Key{"Latency", n, by}),
		})
	}
	return out
}

// The forms in which values are written.

func formatRatio(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f ×", v)
	case v >= 10:
		return fmt.Sprintf("%.1f ×", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f ×", v)
	}
	return fmt.Sprintf("%.3f ×", v)
}

func formatPlain(v float64) string { return fmt.Sprintf("%.4g", v) }

func formatBytes(v float64) string { return fmt.Sprintf("%.0f B", v) }

func formatSeconds(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	for _, u := range []struct {
		name string
		size float64
	}{{"s", 1}, {"ms", 1e-3}, {"µs", 1e-6}} {
		if v >= 0.9995*u.size {
			return fmt.Sprintf("%s %s", threeDigits(v/u.size), u.name)
		}
	}
	return fmt.Sprintf("%s ns", threeDigits(v*float64(time.Second)))
}

func threeDigits(v float64) string {
	switch {
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// formatCount writes n with a comma before each three digits.
func formatCount(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
