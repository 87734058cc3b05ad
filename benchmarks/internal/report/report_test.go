package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/customstatus/customstatus/benchmarks/contestant"
	"github.com/customstatus/customstatus/benchmarks/internal/report"
)

var update = flag.Bool("update", false, "write the golden files")

func read(t *testing.T, in string) *report.Results {
	t.Helper()
	r, err := report.Read(strings.NewReader(in), "bench.txt")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fixture(t *testing.T) *report.Results {
	t.Helper()
	in, err := os.ReadFile(filepath.Join("testdata", "bench.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return read(t, string(in))
}

func TestRead(t *testing.T) {
	r := fixture(t)
	rounds, err := r.Rounds()
	if err != nil || rounds != 3 {
		t.Errorf("%d rounds, %v", rounds, err)
	}
	if len(r.Sizes) != 2 || r.Sizes[0] != 100 || r.Sizes[1] != 100_000 {
		t.Errorf("sizes are %v", r.Sizes)
	}
	if r.Config["processor"] != "Example 9000" {
		t.Errorf("config is %v", r.Config)
	}
	if !r.Has(contestant.SyncFloor) || r.Has(contestant.SQLite) {
		t.Error("wrong contestants")
	}
	if r.Len() != 2*16 {
		t.Errorf("%d benchmarks", r.Len())
	}
	k := report.Key{Workload: "GetByID", N: 100, By: contestant.Bbolt}
	if got := r.Median(k, report.Seconds); got != 1500e-9 {
		t.Errorf("median is %v", got)
	}
	if got := r.Spread(k, report.Seconds); got < 0.0499 || got > 0.0501 {
		t.Errorf("spread is %v", got)
	}
	k.By = contestant.SQLite
	if got := r.Median(k, report.Seconds); got == got {
		t.Errorf("median of nothing is %v", got)
	}
}

func TestReadErrors(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":     "goos: linux\nPASS\n",
		"no size":     "BenchmarkX/by=a-2 1 5 ns/op\n",
		"bad size":    "BenchmarkX/n=x/by=a-2 1 5 ns/op\n",
		"nobody":      "BenchmarkX/n=100-2 1 5 ns/op\n",
		"not a value": "BenchmarkX/n=100/by=a-2 1 five ns/op\n",
	} {
		if _, err := report.Read(strings.NewReader(in), "bench.txt"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	r := read(t, "BenchmarkX/n=100/by=a-2 1 5 ns/op\nBenchmarkX/n=100/by=a-2 1 5 ns/op\nBenchmarkY/n=100/by=a-2 1 5 ns/op\n")
	if _, err := r.Rounds(); err == nil {
		t.Error("a round too few was not noticed")
	}
}

func TestMedianOfEven(t *testing.T) {
	r := read(t, strings.ReplaceAll("BenchmarkX/n=100/by=a-2 1 8 s/op\n@1 s/op\n@4 s/op\n@2 s/op\n", "@", "BenchmarkX/n=100/by=a-2 1 "))
	if got := r.Median(report.Key{Workload: "X", N: 100, By: "a"}, "s/op"); got != 3 {
		t.Errorf("median is %v", got)
	}
}

// TestJudge runs a target through all its outcomes.
func TestJudge(t *testing.T) {
	seconds := func(n int) report.Check {
		return report.Check{Where: "x", Value: func(of func(report.Key, string) float64) float64 {
			return of(report.Key{Workload: "X", N: n, By: "a"}, report.Seconds) * 1e9
		}}
	}
	for _, tt := range []struct {
		name              string
		target            report.Target
		measured, reached bool
	}{
		{"below", report.Target{Limit: 20, Checks: []report.Check{seconds(100)}}, true, true},
		{"at the limit", report.Target{Limit: 10, Checks: []report.Check{seconds(100)}}, true, true},
		{"above", report.Target{Limit: 9, Checks: []report.Check{seconds(100)}}, true, false},
		{"one of two above", report.Target{Limit: 20, Checks: []report.Check{seconds(100), seconds(200)}}, true, false},
		{"at least", report.Target{Limit: 10, AtLeast: true, Checks: []report.Check{seconds(100), seconds(200)}}, true, true},
		{"less than the least", report.Target{Limit: 11, AtLeast: true, Checks: []report.Check{seconds(100), seconds(200)}}, true, false},
		{"one not measured", report.Target{Limit: 20, Checks: []report.Check{seconds(100), seconds(300)}}, false, false},
	} {
		r := read(t, `BenchmarkX/n=100/by=a-2 1 10 ns/op
BenchmarkX/n=100/by=a-2 1 30 ns/op
BenchmarkX/n=100/by=a-2 1 5 ns/op
BenchmarkX/n=200/by=a-2 1 40 ns/op
BenchmarkX/n=200/by=a-2 1 40 ns/op
BenchmarkX/n=200/by=a-2 1 40 ns/op
`)
		o := r.Judge([]report.Target{tt.target})[0]
		if o.Measured != tt.measured || o.Reached != tt.reached {
			t.Errorf("%s: measured %v, reached %v", tt.name, o.Measured, o.Reached)
		}
		if v := o.Values[0]; !near(v.Median, 10) || !near(v.Least, 5) || !near(v.Most, 30) {
			t.Errorf("%s: got %+v", tt.name, v)
		}
	}
}

// TestBound: a missed value has its bound and its reason on the page.
func TestBound(t *testing.T) {
	r := fixture(t)
	get := func(by string) func(of func(report.Key, string) float64) float64 {
		return func(of func(report.Key, string) float64) float64 {
			return of(report.Key{Workload: "GetByID", N: 100, By: by}, report.Seconds) * 1e9
		}
	}
	page := r.Page(r.Judge([]report.Target{{
		Row: "get", Claim: "≤ 40 ns", Limit: 40, Format: func(v float64) string { return strconv.Itoa(int(math.Round(v))) },
		Bound: "a plain map", Checks: []report.Check{{Value: get(contestant.CustomStatusBolt), Bound: get(contestant.MapFloor)}},
		Why: "Because.",
	}, {
		Row: "get", Claim: "≤ 60 ns", Limit: 60, Format: func(float64) string { return "" },
		Checks: []report.Check{{Value: get(contestant.CustomStatusBolt)}},
		Why:    "No need to say.",
	}}))
	for _, want := range []string{
		"| get | ≤ 40 ns | **50 (48 to 53)**, a plain map: 30 | **not reached** |",
		"\n- **get, ≤ 40 ns.** Because.\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	if strings.Contains(page, "No need to say.") {
		t.Error("what is reached is excused")
	}
}

func near(a, b float64) bool { return a > b*0.999 && a < b*1.001 }

// TestTargets: the verdicts follow the results. In the fixture, a list is fast enough,
// and other targets lack results.
func TestTargets(t *testing.T) {
	var out bytes.Buffer
	report.Summarise(&out, fixture(t).Judge(report.Targets()))
	for _, want := range []string{
		"NOT MEASURED get by id, by name, on bbolt: ≤ 0.05 × hand-written bbolt: 0.033 ×",
		"reached      list of 50 on bbolt, 100,000 statuses: the middle ≤ 1.3 × the start: 1.00 ×",
		"NOT MEASURED create alone on bbolt: ≤ 1.05 × hand-written bbolt with db.Update: 1.20 ×",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}

// TestEveryTargetCanBeReached gives each target good results, and then bad ones.
func TestEveryTargetCanBeReached(t *testing.T) {
	results := func(ours, theirs string) *report.Results {
		var in strings.Builder
		for _, w := range []string{
			"GetByID", "GetByName", "ListStart", "ListMiddle", "ListEnd", "ListContains", "ListByTime", "Create", "Create64", "Import", "Open", "Memory",
			"HTTPList", "HTTPListNotModified", "HTTPCreate", "Streams", "Latency", "LatencyAmidWrites",
			"ClusterCreate", "ClusterCreate64", "ClusterCreate192", "ClusterEvent", "ClusterLoad",
		} {
			for _, n := range []string{"100", "1000", "9000", "10000", "100000", "1000000"} {
				for _, by := range report.Order() {
					v := theirs
					if strings.HasPrefix(by, "customstatus") || by == contestant.PGStore || by == contestant.EtcdStore {
						v = ours
					}
					in.WriteString("Benchmark" + w + "/n=" + n + "/by=" + by + "-2 1 " + v + "\n")
				}
			}
		}
		return read(t, in.String())
	}
	good := results("1 ns/op 0 allocs/op 100 B/status 100 B/stream 1 p50-ns 10 p99-ns", "100 ns/op 9 allocs/op 900 B/status 900 B/stream 1 p50-ns 10 p99-ns")
	for _, o := range good.Judge(report.Targets()) {
		if !o.Measured || !o.Reached {
			t.Errorf("good: %s: %s: measured %v, reached %v", o.Row, o.Claim, o.Measured, o.Reached)
		}
	}
	bad := results("1000000000 ns/op 9 allocs/op 900 B/status 900 B/stream 2 p50-ns 10 p99-ns", "1 ns/op 0 allocs/op 1 B/status 1 B/stream 1 p50-ns 10 p99-ns")
	growing := map[string]bool{ // compare the library with itself
		"the middle ≤ 1.3 × the start": true, "growth from 100 to 1,000,000 ≤ 4 ×": true,
		"growth linear: 1,000,000 takes ≤ 12 × as long":      true,
		"p99 of a get ≤ 3 × that without writers":            true,
		"three nodes ≤ 1.0 × one node":                       true,
		"p99 ≤ 1.5 × the server's own notification":          true, // the same p99 for all, as above
		"≤ 1.3 × (create by 64 goroutines + a bare handler)": true,
	}
	for _, o := range bad.Judge(report.Targets()) {
		if !o.Measured || o.Reached != growing[o.Claim] {
			t.Errorf("bad: %s: %s: measured %v, reached %v", o.Row, o.Claim, o.Measured, o.Reached)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has changed (go test -update writes it):\n%s", name, got)
	}
}

func TestPage(t *testing.T) {
	r := fixture(t)
	golden(t, "performance.md", r.Page(r.Judge(report.Targets())))
}

func TestCharts(t *testing.T) {
	charts := fixture(t).Charts()
	for _, name := range []string{"perf-get.svg", "perf-list.svg", "perf-create.svg", "perf-http.svg"} {
		golden(t, name, charts[name])
		for d := xml.NewDecoder(strings.NewReader(charts[name])); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		delete(charts, name)
	}
	if len(charts) != 0 {
		t.Errorf("charts of nothing: %v", charts)
	}
}
