package report

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"

	"github.com/customstatus/customstatus/benchmarks/contestant"
)

// The size of all charts and the margins around the plot, in pixels.
const (
	chartWidth  = 760
	chartTop    = 44
	chartLeft   = 64
	chartRight  = 204
	chartBottom = 44
	lineHeight  = 15
)

// chartStyle makes a chart readable on a light and on a dark page. The classes with 0
// and 1 are this library's.
const chartStyle = `<style>
text{font:12px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:14px}.s{fill:#57606a;font-size:11px}.e{text-anchor:end}.m{text-anchor:middle}
.g{stroke:#d0d7de;stroke-width:1}path{fill:none;stroke-width:2}.l0{stroke:#0550ae;stroke-width:3.5}.l1{stroke:#54aeff;stroke-width:3.5}
.l2{stroke:#bc4c00}.l3{stroke:#9a6700}.l4{stroke:#8250df}.l5{stroke:#cf222e}.l6{stroke:#1a7f37}.l7{stroke:#bf3989}.l8{stroke:#6e7781;stroke-dasharray:5 4}
.f0{fill:#0550ae}.f1{fill:#54aeff}.f2{fill:#bc4c00}.f3{fill:#9a6700}.f4{fill:#8250df}.f5{fill:#cf222e}.f6{fill:#1a7f37}.f7{fill:#bf3989}.f8{fill:#6e7781}
.d0{fill:#0550ae}.d1{fill:#8c959f}.h0{fill:none;stroke:#0550ae;stroke-width:2}.h1{fill:none;stroke:#8c959f;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9198a1}.g{stroke:#3d444d}.l0{stroke:#4493f8}.l1{stroke:#a5d6ff}.f0,.d0{fill:#4493f8}.h0{stroke:#4493f8}.f1{fill:#a5d6ff}.l4{stroke:#ab7df8}.f4{fill:#ab7df8}.l5{stroke:#f85149}.f5{fill:#f85149}.l6{stroke:#3fb950}.f6{fill:#3fb950}.l2{stroke:#f0883e}.f2{fill:#f0883e}.l3{stroke:#d29922}.f3{fill:#d29922}.l7{stroke:#db61a2}.f7{fill:#db61a2}}
</style>
`

// svg is a chart that is being written. It is ours because the charts of
// gonum.org/v1/plot, which was tried, can't follow a page's dark mode and have a legend
// instead of a name at each line.
type svg struct {
	strings.Builder
}

func newSVG(height int, title, subtitle string) *svg {
	s := &svg{}
	fmt.Fprintf(s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n",
		chartWidth, height, chartWidth, height)
	fmt.Fprintf(s, "<title>%s</title>\n", html.EscapeString(title))
	s.WriteString(chartStyle)
	s.text(8, 18, "t", title)
	s.text(8, 34, "s", subtitle)
	return s
}

func (s *svg) text(x, y float64, class, text string) {
	fmt.Fprintf(s, `<text x="%.1f" y="%.1f" class="%s">%s</text>`+"\n", x, y, class, html.EscapeString(text))
}

func (s *svg) line(x1, y1, x2, y2 float64) {
	fmt.Fprintf(s, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="g"/>`+"\n", x1, y1, x2, y2)
}

func (s *svg) close() string {
	s.WriteString("</svg>\n")
	return s.String()
}

// scale places values on a logarithmic axis.
type scale struct {
	low, high float64 // powers of ten
	from, to  float64 // pixels
}

func newScale(values []float64, from, to float64) scale {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		low, high = min(low, math.Floor(math.Log10(v))), max(high, math.Ceil(math.Log10(v)))
	}
	return scale{low, max(high, low+1), from, to}
}

func (s scale) at(v float64) float64 {
	return s.from + (math.Log10(v)-s.low)/(s.high-s.low)*(s.to-s.from)
}

func (s scale) ticks() []float64 {
	var out []float64
	for e := s.low; e <= s.high; e++ {
		out = append(out, math.Pow(10, e))
	}
	return out
}

// seriesClass returns the number of a contestant's classes, the same in all charts.
func seriesClass(by string) int {
	return slices.Index([]string{
		contestant.CustomStatusBolt, contestant.CustomStatusMemory, contestant.Bbolt, contestant.Bolthold,
		contestant.SQLite, contestant.BuntDB, contestant.MemDB, contestant.RWMutex, contestant.MapFloor,
	}, by)
}

// lineChart draws a workload's time over the number of statuses. Both axes are
// logarithmic.
func (r *Results) lineChart(title, name string) string {
	type point struct{ n, v float64 }
	type series struct {
		by     string
		points []point
		label  float64 // y of the name
	}
	var (
		all  []series
		ns   []float64
		vals []float64
	)
	for _, by := range Order() {
		s := series{by: by}
		for _, n := range r.Sizes {
			if v := r.Median(Key{name, n, by}, Seconds); !math.IsNaN(v) {
				s.points = append(s.points, point{float64(n), v})
				ns, vals = append(ns, float64(n)), append(vals, v)
			}
		}
		if len(s.points) > 0 && seriesClass(by) >= 0 {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return ""
	}
	const height = 420
	s := newSVG(height, title, "both axes logarithmic; lower is better; the figure at a name is that of its line's last point")
	x := newScale(ns, chartLeft, chartWidth-chartRight)
	y := newScale(vals, height-chartBottom, chartTop+8)
	for _, v := range y.ticks() {
		s.line(chartLeft, y.at(v), chartWidth-chartRight, y.at(v))
		s.text(chartLeft-8, y.at(v)+4, "s e", roundSeconds(v))
	}
	for _, v := range x.ticks() {
		s.text(x.at(v), height-chartBottom+18, "s m", formatCount(int(v)))
	}
	s.text((chartLeft+chartWidth-chartRight)/2, height-8, "s m", "statuses")
	for i := range all {
		all[i].label = y.at(all[i].points[len(all[i].points)-1].v)
	}
	// Names that would overlap move apart.
	slices.SortFunc(all, func(a, b series) int { return cmp.Compare(a.label, b.label) })
	for i := 1; i < len(all); i++ {
		all[i].label = max(all[i].label, all[i-1].label+lineHeight)
	}
	for i, floor := len(all)-1, float64(height-chartBottom); i >= 0; i-- {
		all[i].label = min(all[i].label, floor)
		floor = all[i].label - lineHeight
	}
	// This library is drawn last, on top of the others.
	slices.SortFunc(all, func(a, b series) int { return cmp.Compare(seriesClass(b.by), seriesClass(a.by)) })
	for _, l := range all {
		var path strings.Builder
		for i, p := range l.points {
			fmt.Fprintf(&path, "%c%.1f %.1f", "ML"[min(i, 1)], x.at(p.n), y.at(p.v))
		}
		fmt.Fprintf(s, `<path d="%s" class="l%d"/>`+"\n", path.String(), seriesClass(l.by))
		last := l.points[len(l.points)-1]
		s.text(chartWidth-chartRight+12, l.label+4, fmt.Sprintf("f%d", seriesClass(l.by)), l.by+" "+formatSeconds(last.v))
	}
	return s.close()
}

// The positions of names and plot in charts with a row for each name.
const (
	rowHeight = 22
	rowLeft   = 190
	rowRight  = chartWidth - 90
)

// dotChart draws a row for each contestant, with a full dot for one workload and a
// hollow dot for another. It has no bars because the length of a bar means nothing on a
// logarithmic axis.
func (r *Results) dotChart(title, subtitle string, n int, full, hollow string) string {
	type row struct {
		by     string
		values [2]float64
	}
	var (
		rows []row
		all  []float64
	)
	for _, by := range Order() {
		of := row{by, [2]float64{r.Median(Key{full, n, by}, Seconds), r.Median(Key{hollow, n, by}, Seconds)}}
		there := 0
		for _, v := range of.values {
			if !math.IsNaN(v) {
				all, there = append(all, v), there+1
			}
		}
		if there > 0 {
			rows = append(rows, of)
		}
	}
	if len(rows) == 0 {
		return ""
	}
	s := newSVG(chartTop+len(rows)*rowHeight+32, title, subtitle)
	x := newScale(all, rowLeft, rowRight)
	bottom := float64(chartTop + len(rows)*rowHeight + 4)
	for _, v := range x.ticks() {
		s.line(x.at(v), chartTop, x.at(v), bottom)
		s.text(x.at(v), bottom+16, "s m", roundSeconds(v))
	}
	for i, of := range rows {
		y := float64(chartTop+i*rowHeight) + 15
		class := 1
		if ours(of.by) {
			class = 0
		}
		s.text(rowLeft-12, y, "e", of.by)
		// The two dots may be close to each other, so the text of the lesser
		// value is on the left of its dot.
		left := of.values[0] < of.values[1]
		for j, v := range of.values {
			if math.IsNaN(v) {
				continue
			}
			fmt.Fprintf(s, `<circle cx="%.1f" cy="%.1f" r="5" class="%c%d"/>`+"\n", x.at(v), y-4, "dh"[j], class)
			if left == (j == 0) && !math.IsNaN(of.values[1-j]) && x.at(v) > rowLeft+60 {
				s.text(x.at(v)-10, y, "s e", formatSeconds(v))
			} else {
				s.text(x.at(v)+10, y, "s", formatSeconds(v))
			}
		}
	}
	return s.close()
}

func ours(by string) bool {
	return by == contestant.CustomStatusBolt || by == contestant.CustomStatusMemory
}

// bar is one bar of a barChart.
type bar struct {
	Name  string
	Value float64
	Ours  bool
}

// barChart draws a bar for each value, from zero.
func barChart(title, subtitle string, bars []bar, format func(float64) string) string {
	bars = slices.DeleteFunc(bars, func(b bar) bool { return math.IsNaN(b.Value) })
	if len(bars) == 0 {
		return ""
	}
	most := 0.0
	for _, b := range bars {
		most = max(most, b.Value)
	}
	s := newSVG(chartTop+len(bars)*rowHeight+8, title, subtitle)
	for i, b := range bars {
		y := float64(chartTop + i*rowHeight)
		class := 1
		if b.Ours {
			class = 0
		}
		width := b.Value / most * (rowRight - rowLeft)
		s.text(rowLeft-8, y+13, "e", b.Name)
		fmt.Fprintf(s, `<rect x="%d" y="%.1f" width="%.1f" height="%d" rx="2" class="d%d"/>`+"\n", rowLeft, y+1, width, rowHeight-7, class)
		s.text(rowLeft+width+6, y+13, "s", format(b.Value))
	}
	return s.close()
}

// Charts returns the charts by file name. A chart without results is left out.
func (r *Results) Charts() map[string]string {
	const at = 100_000
	rate := func(workload, by, name string) bar {
		return bar{Name: name, Value: 1 / r.Median(Key{workload, at, by}, Seconds), Ours: ours(by)}
	}
	charts := map[string]string{
		"perf-get.svg":  r.lineChart("Get by id", "GetByID"),
		"perf-list.svg": r.lineChart("List of 50 from the middle", "ListMiddle"),
		"perf-create.svg": r.dotChart("Create, with 100,000 statuses there",
			"time of one create: alone (full dot) and by 64 goroutines at once (hollow dot); logarithmic; lower is better",
			at, "Create", "Create64"),
		"perf-open.svg": r.dotChart("Open and import 100,000 statuses",
			"time of all: open (full dot) and import (hollow dot); logarithmic; lower is better",
			at, "Open", "Import"),
		"perf-http.svg": barChart("Through HTTP, 64 connections on loopback, 100,000 statuses",
			"answers per second, the client on the same cores; higher is better", []bar{
				rate("HTTPList", contestant.CustomStatusBolt, "list of 50"),
				rate("HTTPList", contestant.HTTPFloor, "bare handler, same bytes"),
				rate("HTTPListNotModified", contestant.CustomStatusBolt, "list, If-None-Match"),
				rate("HTTPCreate", contestant.CustomStatusBolt, "create, durable"),
				rate("HTTPCreate", contestant.HTTPFloor, "bare handler, POST"),
			}, func(v float64) string { return formatCount(int(math.Round(v))) }),
	}
	for name, chart := range charts {
		if chart == "" {
			delete(charts, name)
		}
	}
	return charts
}

// roundSeconds writes a power of ten.
func roundSeconds(v float64) string {
	return strings.Replace(strings.Replace(formatSeconds(v), ".00", "", 1), ".0", "", 1)
}
