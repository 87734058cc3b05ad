// Package report turns the output of the benchmarks into docs/performance.md and its
// charts. It uses nothing but that output, so that the same output gives the same page.
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

// Key names a benchmark: the workload, the number of statuses and the contestant.
type Key struct {
	Workload string
	N        int
	By       string
}

func (k Key) String() string { return fmt.Sprintf("%s/n=%d/by=%s", k.Workload, k.N, k.By) }

// The units of the benchmarks, in benchfmt's form.
const (
	Seconds      = "sec/op"
	Allocations  = "allocs/op"
	Held         = "B/status"
	HeldByStream = "B/stream"
	P50          = "p50-sec"
	P99          = "p99-sec"
	P999         = "p99.9-sec"
	UpdateRate   = "updates/s"
)

// Results are the samples of all benchmarks, one for each round.
type Results struct {
	samples map[Key]map[string][]float64
	// Config is the configuration at the head of the output.
	Config map[string]string
	// Sizes are the numbers of statuses, in ascending order.
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

// Rounds returns the number of samples of each benchmark. It returns an error if two
// benchmarks differ in that number, because then one failed in a round.
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

// Has reports whether the contestant has any samples.
func (r *Results) Has(by string) bool {
	for key := range r.samples {
		if key.By == by {
			return true
		}
	}
	return false
}

// Median returns the median of the samples, or NaN if there are none.
func (r *Results) Median(k Key, unit string) float64 { return median(r.samples[k][unit]) }

// Spread returns the greatest distance of a sample from the median, as a fraction of
// the median.
func (r *Results) Spread(k Key, unit string) float64 {
	m, most := r.Median(k, unit), 0.0
	for _, v := range r.samples[k][unit] {
		if v != m {
			most = max(most, math.Abs(v-m)/m)
		}
	}
	return most
}

// at returns a function that returns the samples of one round.
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
