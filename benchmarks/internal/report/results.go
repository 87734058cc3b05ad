// Package report turns the output of the benchmarks into docs/performance.md:
// tables, what of the targets is reached, and charts. It computes from the
// output alone, so that the same output makes the same pages.
package report

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// Key names one benchmark: what is done, with how many statuses, by whom.
type Key struct {
	Workload string
	N        int
	By       string
}

func (k Key) String() string { return fmt.Sprintf("%s/n=%d/by=%s", k.Workload, k.N, k.By) }

// The units in which benchfmt gives what the benchmarks measure.
const (
	Seconds     = "sec/op"
	Allocations = "allocs/op"
	Held        = "B/status"
	P50         = "p50-sec"
	P99         = "p99-sec"
	P999        = "p99.9-sec"
	UpdateRate  = "updates/s"
)

// Results are the samples of all benchmarks, one a round.
type Results struct {
	samples map[Key]map[string][]float64
	// Config is what the head of the output says of the run.
	Config map[string]string
	// Sizes are the numbers of statuses that occur, ascending.
	Sizes []int
}

// Read reads the output of "go test -bench".
func Read(in io.Reader, file string) (*Results, error) {
	r := &Results{samples: map[Key]map[string][]float64{}, Config: map[string]string{}}
	reader := benchfmt.NewReader(in, file)
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, rec
		case *benchfmt.Result:
			key, err := parseName(rec.Name)
			if err != nil {
				return nil, err
			}
			of := r.samples[key]
			if of == nil {
				of = map[string][]float64{}
				r.samples[key] = of
			}
			for _, v := range rec.Values {
				of[v.Unit] = append(of[v.Unit], v.Value)
			}
			for _, c := range rec.Config {
				if c.File {
					r.Config[c.Key] = string(c.Value)
				}
			}
			if !slices.Contains(r.Sizes, key.N) {
				r.Sizes = append(r.Sizes, key.N)
			}
		}
	}
	if err := reader.Err(); err != nil {
		return nil, err
	}
	if len(r.samples) == 0 {
		return nil, errors.New("report: there are no benchmarks in " + file)
	}
	slices.Sort(r.Sizes)
	return r, nil
}

func parseName(name benchfmt.Name) (Key, error) {
	base, parts := name.Parts()
	key := Key{Workload: string(base)}
	for _, part := range parts {
		if n, ok := strings.CutPrefix(string(part), "/n="); ok {
			var err error
			if key.N, err = strconv.Atoi(n); err != nil {
				return Key{}, fmt.Errorf("report: %s: %w", name, err)
			}
		} else if by, ok := strings.CutPrefix(string(part), "/by="); ok {
			key.By = by
		}
	}
	if key.N == 0 || key.By == "" {
		return Key{}, fmt.Errorf("report: %s does not say n and by", name)
	}
	return key, nil
}

// Rounds returns the number of samples that each benchmark has, or an error if
// one has more than another: then it failed or was left out in a round.
func (r *Results) Rounds() (int, error) {
	rounds, first := 0, Key{}
	for key, of := range r.samples {
		for _, values := range of {
			if rounds == 0 {
				rounds, first = len(values), key
			} else if len(values) != rounds {
				return 0, fmt.Errorf("report: %s has %d samples, %s has %d", key, len(values), first, rounds)
			}
		}
	}
	return rounds, nil
}

// Len returns the number of benchmarks.
func (r *Results) Len() int { return len(r.samples) }

// Has reports whether there is anything of a contestant.
func (r *Results) Has(by string) bool {
	for key := range r.samples {
		if key.By == by {
			return true
		}
	}
	return false
}

// Median returns the median of what was measured, and NaN if nothing was.
func (r *Results) Median(k Key, unit string) float64 { return median(r.samples[k][unit]) }

// Spread returns how far the samples are from their median at most, as a part
// of it.
func (r *Results) Spread(k Key, unit string) float64 {
	m, most := r.Median(k, unit), 0.0
	for _, v := range r.samples[k][unit] {
		if v != m {
			most = max(most, math.Abs(v-m)/m)
		}
	}
	return most
}

// at returns the sample of one round.
func (r *Results) at(round int) func(Key, string) float64 {
	return func(k Key, unit string) float64 {
		if values := r.samples[k][unit]; round < len(values) {
			return values[round]
		}
		return math.NaN()
	}
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}
