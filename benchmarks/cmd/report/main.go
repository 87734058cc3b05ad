// Command report runs all benchmarks in turns, summarises them with benchstat, and writes
// docs/performance.md with its charts. A full run takes about 40 minutes on two cores,
// which nothing else should use meanwhile.
//
// With -quick it runs each benchmark once, for an instant, to see whether the benchmarks
// work. It then prints a summary and writes no files.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/customstatus/customstatus/benchmarks/contestant"
	"github.com/customstatus/customstatus/benchmarks/internal/report"
)

const module = "github.com/customstatus/customstatus/benchmarks"

// plan says what a run does.
type plan struct {
	rounds int
	sizes  []int
	steps  []step
}

// step is one start of the benchmarks for one contestant at one size.
type step struct {
	of    string // the package below the module's root; empty: the root
	bench string // the names, as "go test -bench" takes them
	time  time.Duration
	sizes []int // nil: those of the plan
}

func fullPlan() plan {
	return plan{
		rounds: 6, // benchstat needs six for a confidence interval
		sizes:  []int{100, 10_000, 100_000, 1_000_000},
		steps: []step{
			{bench: "Benchmark(Get|ListStart|ListMiddle|ListEnd|Open|Import|Memory).*", time: 100 * time.Millisecond},
			{bench: "BenchmarkList(Contains|ByTime)", time: 100 * time.Millisecond, sizes: []int{1000, 10_000, 100_000, 1_000_000}},
			// Long enough for the garbage collector to run.
			{bench: "Benchmark(Create|Update|Rename).*", time: 250 * time.Millisecond},
			{bench: "Benchmark(Latency|HTTP).*", time: 500 * time.Millisecond},
			// As many as there are descriptors for. A change takes a tenth of a second.
			{bench: "BenchmarkStreams", time: 4 * time.Second, sizes: []int{9000}},
			// Long enough that the slowest hundredth of the events is more than a few.
			{of: "cluster", bench: "BenchmarkCluster.*", time: 4 * time.Second, sizes: []int{10_000, 100_000}},
		},
	}
}

func quickPlan() plan {
	return plan{rounds: 1, sizes: []int{100}, steps: []step{
		{bench: "Benchmark.*", time: time.Millisecond},
		{of: "cluster", bench: "BenchmarkCluster(Create64|Event)", time: time.Millisecond},
	}}
}

func main() {
	quick := flag.Bool("quick", false, "see whether all benchmarks work, in seconds; write no results")
	render := flag.Bool("render", false, "run nothing, write the page from the results of the last run")
	rounds := flag.Int("rounds", 0, "how often each benchmark runs; 0 is 6")
	data := flag.String("data", "", "`directory` for the data sets, on a real disk; default: one in the checkout that is removed at the end")
	flag.Parse()
	if flag.NArg() != 0 || *rounds < 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*quick, *render, *rounds, *data); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(quick, render bool, rounds int, data string) (err error) {
	dir, err := output("", "go", "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return err
	}
	dir = strings.TrimSpace(dir)
	raw := filepath.Join(dir, "results", "bench.txt")
	if render {
		return write(dir, raw)
	}

	p := fullPlan()
	if quick {
		p = quickPlan()
	}
	if rounds > 0 {
		p.rounds = rounds
	}
	scratch, err := os.MkdirTemp(dir, "scratch-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	if data == "" {
		data = filepath.Join(scratch, "data")
	}
	if err := os.MkdirAll(data, 0o777); err != nil {
		return err
	}
	if data, err = filepath.Abs(data); err != nil {
		return err
	}
	filesystem := filesystemOf(data)
	if filesystem == "tmpfs" && !quick {
		return errors.New("the data would be on tmpfs, where a sync costs nothing: give -data a directory on a disk")
	}

	binaries := make(map[string]string)
	for _, s := range p.steps {
		if binaries[s.of] == "" {
			binaries[s.of] = filepath.Join(scratch, s.of+"benchmarks.test")
			if _, err := output(dir, "go", "test", "-c", "-o", binaries[s.of], path.Join(module, s.of)); err != nil {
				return err
			}
		}
	}
	if quick {
		raw = filepath.Join(scratch, "bench.txt")
	}
	start := time.Now()
	var results bytes.Buffer
	results.WriteString(head(p.rounds, filesystem, start))
	if err := p.run(binaries, data, &results); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "took %s\n", time.Since(start).Round(time.Second))
	if err := os.MkdirAll(filepath.Dir(raw), 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(raw, results.Bytes(), 0o666); err != nil {
		return err
	}
	if quick {
		return check(raw)
	}
	return write(dir, raw)
}

// run runs all contestants in turns and appends their output to results.
func (p plan) run(binaries map[string]string, data string, results io.Writer) error {
	names := everyone()
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for round := range p.rounds {
		for _, n := range p.allSizes() {
			rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			fmt.Fprintf(os.Stderr, "round %d of %d: %d statuses\n", round+1, p.rounds, n)
			for _, by := range names {
				for _, s := range p.steps {
					if !slices.Contains(s.sizesOr(p.sizes), n) {
						continue
					}
					if err := s.run(binaries[s.of], data, n, by, results); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// allSizes returns the sizes of all steps, the least first.
func (p plan) allSizes() []int {
	var sizes []int
	for _, s := range p.steps {
		sizes = append(sizes, s.sizesOr(p.sizes)...)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

func (s step) sizesOr(others []int) []int {
	if s.sizes != nil {
		return s.sizes
	}
	return others
}

func (s step) run(binary, data string, n int, by string, results io.Writer) error {
	out, err := output(data, binary,
		"-test.run", "^$",
		"-test.bench", fmt.Sprintf("^%s$/^n=%d$/^by=%s$", s.bench, n, by),
		"-test.benchtime", s.time.String(),
		"-test.timeout", "10m",
		"-sizes", strconv.Itoa(n),
		"-data", data)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "Benchmark") {
			if _, err := io.WriteString(results, line); err != nil {
				return err
			}
		}
	}
	return nil
}

func everyone() []string {
	names := []string{contestant.MapFloor, contestant.ContainsFloor, contestant.PassFloor, contestant.SyncFloor, contestant.GroupFloor, contestant.HTTPFloor, contestant.StreamFloor,
		contestant.PGStore, contestant.EtcdStore, contestant.PostgresFloor, contestant.EtcdFloor}
	for _, k := range contestant.All() {
		names = append(names, k.Name)
	}
	return names
}

// check returns an error unless every contestant and floor has a result. Where
// PostgreSQL is not installed, its benchmarks are skipped, and check says so, unless
// CUSTOMSTATUS_REQUIRED is set.
func check(raw string) error {
	r, err := read(raw)
	if err != nil {
		return err
	}
	for _, by := range everyone() {
		if !r.Has(by) {
			if os.Getenv("CUSTOMSTATUS_REQUIRED") == "" && (by == contestant.PGStore || by == contestant.PostgresFloor) {
				fmt.Printf("%s is NOT tested: PostgreSQL is not installed\n", by)
				continue
			}
			return fmt.Errorf("there is no result of %s", by)
		}
	}
	fmt.Printf("%d benchmarks of %d contestants and floors work\n", r.Len(), len(everyone()))
	return nil
}

func read(raw string) (*report.Results, error) {
	f, err := os.Open(raw)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := report.Read(f, filepath.Base(raw))
	if err != nil {
		return nil, err
	}
	if _, err := r.Rounds(); err != nil {
		return nil, err
	}
	return r, nil
}

// write writes the page, the charts and benchstat's summary of the results.
func write(dir, raw string) error {
	r, err := read(raw)
	if err != nil {
		return err
	}
	stat, err := output(dir, "go", "tool", "benchstat",
		"-row", ".name,/n", "-col", "/by@("+strings.Join(report.Order(), " ")+")", raw)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results", "benchstat.txt"), []byte(stat), 0o666); err != nil {
		return err
	}
	docs := filepath.Join(dir, "..", "docs")
	if err := os.MkdirAll(docs, 0o777); err != nil {
		return err
	}
	outcomes := r.Judge(report.Targets())
	if err := os.WriteFile(filepath.Join(docs, "performance.md"), []byte(r.Page(outcomes)), 0o666); err != nil {
		return err
	}
	for name, chart := range r.Charts() {
		if err := os.WriteFile(filepath.Join(docs, name), []byte(chart), 0o666); err != nil {
			return err
		}
	}
	report.Summarise(os.Stdout, outcomes)
	return nil
}

// output runs a command in a directory and returns its standard output.
func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}
