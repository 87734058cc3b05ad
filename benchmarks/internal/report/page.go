package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/customstatus/customstatus/benchmarks/contestant"
)

// Page returns docs/performance.md. The charts are those of Charts, beside it.
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
	p.line("This library side by side with what a chat server's author would use instead, at the same work: every")
	p.line("contestant checks the same rules, keeps names unique under concurrency, and, unless it is in memory, has a write on")
	p.line("disk when it returns. A conformance test (`benchmarks/contestant`) holds each of them to that. All figures are from one run")
	p.line("of `make bench`; medians of %s rounds. The samples are in", p.results.Config["rounds"])
	p.line("[`benchmarks/results/bench.txt`](../benchmarks/results/bench.txt), their statistics by benchstat in")
	p.line("[`benchstat.txt`](../benchmarks/results/benchstat.txt).")
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
	p.line("Set before the code was written, as ratios within one run. **%d of %d are reached.** A value is that of the medians,", reached, len(outcomes))
	p.line("with the least and the greatest of any round behind it; where a target counts at several places, each has to be within it.")
	p.line("What is not within it has what could be reached at best beside it, where something in the run shows it.")
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
		p.line("What is not reached, and what it would take:")
		p.line("")
		for _, o := range outcomes {
			if o.Measured && !o.Reached && o.Why != "" {
				p.line("- **%s, %s.** %s", o.Row, o.Claim, o.Why)
			}
		}
		p.line("")
	}
	if measured < len(outcomes) {
		p.line("%d were not measured in this run.", len(outcomes)-measured)
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

// number leaves out the sign of a ratio.
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
	if w.Unit == Held {
		format = formatBytes
	}
	var out page
	out.line("### %s", strings.ToUpper(w.Title[:1])+w.Title[1:])
	out.line("")
	out.line("%s", w.Does)
	out.line("")
	head, rule := "| |", "|---|"
	for _, n := range sizes {
		head += " " + formatCount(n) + " statuses |"
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
	p.line("- A cell is the median, how far a round was from it at most, and the ratio to `customstatus-bolt` in the same column.")
	p.line("  Allocations are those at the greatest size.")
	p.line("- A process of its own times each contestant at each size, so that nobody pays for another's garbage. All take their turn")
	p.line("  in each round, in an order drawn anew, so that a slow minute of the machine hits all alike.")
	p.line("- The heap of a contestant is brought to its working size before the clock runs, and what is read has been read once.")
	p.line("- Keys come in random order and are read in the order in which they lie in memory. Ids are UUIDs of version 7,")
	p.line("  names are 20 random letters.")
	p.line("- A catalog that is written is a copy that is on the disk before the clock runs, and is replaced by a fresh one when it")
	p.line("  has grown by a tenth (at least by 100, by 64 goroutines by 1,600).")
	p.line("- The floors are no contestants: `floor-map` is a plain Go map behind an atomic pointer, which can't be written;")
	p.line("  `floor-contains` is a slice of folded names, which can't be written either; `floor-pass` is a look at every status;")
	p.line("  `floor-sync` is one `pwrite` of 4 KiB and one `fdatasync`; `floor-group` is 64 records put into one bbolt transaction;")
	p.line("  `floor-http` is a handler that writes the same bytes.")
	p.line("- At 1,000,000 statuses only this library and the map are timed, to show how they grow.")
	p.line("- Contestants are written as well as their engines allow: prepared statements and one writing connection for SQLite, sorted")
	p.line("  imports for bbolt and bolthold, a second type instead of bolthold's own index, which its queries read from the start.")
}
