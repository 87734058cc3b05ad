package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/customstatus/customstatus/benchmarks/contestant"
)

// Page returns the text of docs/performance.md. It expects the files of Charts beside
// that page.
func (r *Results) Page(outcomes []Outcome) string {
	p := &page{results: r, charts: r.Charts()}
	p.head()
	p.machine()
	p.targets(outcomes)
	for _, s := range sections() {
		p.section(s)
	}
	p.method()
	return p.String()
}

type page struct {
	strings.Builder
	results *Results
	charts  map[string]string
}

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(p, format+"\n", args...)
}

func (p *page) head() {
	p.line("# Performance")
	p.line("")
	p.line("<!-- Made by `make bench`. Don't edit: the text is in benchmarks/internal/report. -->")
	p.line("")
	p.line("This page compares the library with the alternatives for a chat server. All contestants do the same work: they check")
	p.line("the same rules, keep names unique under concurrency, and have a write on disk when it returns, unless they are in memory.")
	p.line("A conformance test (`benchmarks/contestant`) checks that. All figures are from one run of `make bench` and are medians of")
	p.line("%s rounds. [`bench.txt`](../benchmarks/results/bench.txt) has the samples, and", p.results.Config["rounds"])
	p.line("[`benchstat.txt`](../benchmarks/results/benchstat.txt) has benchstat's statistics.")
	p.line("")
}

func (p *page) machine() {
	p.line("## The machine")
	p.line("")
	p.line("| | |")
	p.line("|---|---|")
	for _, f := range []struct{ title, key string }{
		{"processor", "processor"}, {"cores", "cores"}, {"memory", "memory"}, {"system", "system"},
		{"file system of the data", "filesystem"}, {"Go", "toolchain"}, {"contestants", "versions"}, {"run on", "date"}, {"rounds", "rounds"},
	} {
		if v := p.results.Config[f.key]; v != "" {
			p.line("| %s | %s |", f.title, v)
		}
	}
	p.line("")
}

func (p *page) targets(outcomes []Outcome) {
	reached, measured := 0, 0
	for _, o := range outcomes {
		if o.Measured {
			measured++
			if o.Reached {
				reached++
			}
		}
	}
	p.line("## Targets")
	p.line("")
	p.line("The targets were set before the code was written, as ratios within one run. **%d of %d are reached.** A value is", reached, len(outcomes))
	p.line("computed from the medians; the least and the greatest value of any round are in parentheses. A target with several places")
	p.line("must be reached at each of them. A missed value has the best possible value beside it, where the run shows one.")
	p.line("")
	p.line("| row | target | measured | |")
	p.line("|---|---|---|---|")
	row := ""
	for _, o := range outcomes {
		title := o.Row
		if title == row {
			title = ""
		}
		row = o.Row
		verdict := "not measured"
		switch {
		case o.Measured && o.Reached:
			verdict = "reached"
		case o.Measured:
			verdict = "**not reached**"
		}
		p.line("| %s | %s | %s | %s |", title, o.Claim, measuredText(o), verdict)
	}
	p.line("")
	if reached < measured {
		p.line("These targets are not reached. The text says why, and what it would take:")
		p.line("")
		for _, o := range outcomes {
			if o.Measured && !o.Reached && o.Why != "" {
				p.line("- **%s, %s.** %s", o.Row, o.Claim, o.Why)
			}
		}
		p.line("")
	}
	if measured < len(outcomes) {
		p.line("This run did not measure %d of the targets.", len(outcomes)-measured)
		p.line("")
	}
}

func measuredText(o Outcome) string {
	var out []string
	for _, v := range o.Values {
		text := o.Format(v.Median)
		if math.IsNaN(v.Median) {
			text = "–"
		} else if !o.Exact {
			text += fmt.Sprintf(" (%s to %s)", number(o.Format(v.Least)), number(o.Format(v.Most)))
		}
		if o.Measured && !v.Within {
			text = "**" + text + "**"
			if !math.IsNaN(v.Bound) {
				text += ", " + o.Bound + ": " + o.Format(v.Bound)
			}
		}
		if v.Where != "" {
			text = v.Where + ": " + text
		}
		out = append(out, text)
	}
	return strings.Join(out, "<br>")
}

// Summarise writes the targets for a terminal.
func Summarise(w io.Writer, outcomes []Outcome) {
	for _, o := range outcomes {
		verdict := "NOT MEASURED"
		switch {
		case o.Measured && o.Reached:
			verdict = "reached"
		case o.Measured:
			verdict = "NOT REACHED"
		}
		var values []string
		for _, v := range o.Values {
			values = append(values, o.Format(v.Median))
		}
		fmt.Fprintf(w, "%-12s %s: %s: %s\n", verdict, o.Row, o.Claim, strings.Join(values, ", "))
	}
}

// number removes the sign of a ratio.
func number(s string) string { return strings.TrimSuffix(s, " ×") }

func (p *page) section(s section) {
	var tables []string
	for _, w := range s.Workloads {
		if t := p.table(w); t != "" {
			tables = append(tables, t)
		}
	}
	if len(tables) == 0 {
		return
	}
	p.line("## %s", s.Title)
	p.line("")
	if p.charts[s.Chart] != "" {
		p.line("![%s](%s)", s.ChartText, s.Chart)
		p.line("")
	}
	for _, t := range tables {
		p.WriteString(t)
	}
}

// table has a row for each contestant and a column for each size.
func (p *page) table(w workload) string {
	r := p.results
	var sizes []int
	for _, n := range r.Sizes {
		for _, by := range Order() {
			if !math.IsNaN(r.Median(Key{w.Name, n, by}, w.Unit)) {
				sizes = append(sizes, n)
				break
			}
		}
	}
	if len(sizes) == 0 {
		return ""
	}
	format := formatSeconds
	if w.Unit == Held || w.Unit == HeldByStream {
		format = formatBytes
	}
	counted := "statuses"
	if w.Name == streamsWorkload {
		counted = "streams"
	}
	var out page
	out.line("### %s", strings.ToUpper(w.Title[:1])+w.Title[1:])
	out.line("")
	out.line("%s", w.Does)
	out.line("")
	head, rule := "| |", "|---|"
	for _, n := range sizes {
		head += " " + formatCount(n) + " " + counted + " |"
		rule += "---:|"
	}
	withAllocations := w.Unit == Seconds && !math.IsNaN(r.Median(Key{w.Name, sizes[0], contestant.CustomStatusBolt}, Allocations))
	if withAllocations {
		head += " allocations |"
		rule += "---:|"
	}
	out.line("%s", head)
	out.line("%s", rule)
	for _, by := range Order() {
		row, any, allocations := "| "+by+" |", false, math.NaN()
		if by == contestant.CustomStatusBolt {
			row = "| **" + by + "** |"
		}
		for _, n := range sizes {
			k := Key{w.Name, n, by}
			v := r.Median(k, w.Unit)
			if math.IsNaN(v) {
				row += " |"
				continue
			}
			any = true
			row += fmt.Sprintf(" %s ±%.0f %%", format(v), 100*r.Spread(k, w.Unit))
			if base := r.Median(Key{w.Name, n, contestant.CustomStatusBolt}, w.Unit); by != contestant.CustomStatusBolt && !math.IsNaN(base) {
				row += " · " + formatRatio(v/base)
			}
			row += " |"
			if a := r.Median(k, Allocations); !math.IsNaN(a) {
				allocations = a
			}
		}
		if !any {
			continue
		}
		if withAllocations {
			if math.IsNaN(allocations) {
				row += " |"
			} else {
				row += " " + formatPlain(allocations) + " |"
			}
		}
		out.line("%s", row)
	}
	out.line("")
	out.line("%s", w.Limits)
	out.line("")
	return out.String()
}

func (p *page) method() {
	p.line("## How it is measured")
	p.line("")
	p.line("- A cell has the median, the greatest distance of a round from the median, and the ratio to `customstatus-bolt` in the same")
	p.line("  column. Allocations are those at the greatest size.")
	p.line("- Each contestant runs in its own process at each size, so that none pays for another's garbage. In each round the")
	p.line("  contestants take turns in a new random order, so that a slow minute of the machine hits all of them.")
	p.line("- Before the clock runs, the heap has its working size, and everything that will be read has been read once.")
	p.line("- Keys have a random order and lie in memory in that order. Ids are UUIDs of version 7. Names are 20 random letters.")
	p.line("- Writes go to a copy of the catalog that is on disk before the clock runs. A fresh copy replaces a catalog that has grown")
	p.line("  by a tenth (at least by 100 statuses; with 64 goroutines, by 1,600).")
	p.line("- Floors are no contestants. They show what the machine allows at best. `floor-map` is a plain Go map behind an atomic")
	p.line("  pointer; it can't be written. `floor-contains` is a slice of folded names; it can't be written either. `floor-pass` is a")
	p.line("  look at every status. `floor-sync` is one `pwrite` of 4 KiB and one `fdatasync`. `floor-group` puts 64 records into one")
	p.line("  bbolt transaction. `floor-http` is a handler that writes the same bytes; `floor-streams` writes them to as many streams.")
	p.line("  `floor-postgres` and `floor-etcd` are stores by hand, on servers of the same kind: PostgreSQL, and one member of etcd,")
	p.line("  which sync to the disk.")
	p.line("- At 1,000,000 statuses only this library and the floors are timed, to show growth.")
	p.line("- Contestants are written as well as their engines allow. SQLite has prepared statements and one writing connection.")
	p.line("  Imports into bbolt and bolthold are sorted. bolthold has a second type instead of its own index, because its queries read")
	p.line("  an index from the start.")
}
