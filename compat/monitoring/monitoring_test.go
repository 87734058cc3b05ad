package monitoring_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/metrics"
)

// directory has what operators load into Prometheus and Grafana.
const directory = "../../deploy/monitoring"

func read(t *testing.T, elem ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elem...))
	require.NoError(t, err)
	return string(text)
}

// family is the form of a family of metrics.
type family struct {
	kind   string
	labels []string
}

// exported returns the families of a collector that has seen everything once.
func exported(t *testing.T) map[string]family {
	t.Helper()
	c := metrics.NewCollector(&metrics.Options{StoreRevision: func(context.Context) (customstatus.Revision, error) { return 0, nil }})
	catalog, err := customstatus.Open(t.Context(), customstatus.NewMemoryStore(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { catalog.Close() })
	c.SetCatalog(catalog)
	return gather(t, c)
}

func gather(t *testing.T, from ...prometheus.Collector) map[string]family {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(from...)
	families, err := registry.Gather()
	require.NoError(t, err)
	all := make(map[string]family)
	for _, f := range families {
		m := family{kind: strings.ToLower(f.GetType().String())}
		for _, l := range f.GetMetric()[0].GetLabel() {
			m.labels = append(m.labels, l.GetName())
		}
		slices.Sort(m.labels)
		all[f.GetName()] = m
	}
	return all
}

// scraped are the series that a Prometheus has of a customstatusd: with those of the
// process, and with the parts of histograms.
func scraped(t *testing.T) map[string]family {
	all := gather(t, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for name, m := range exported(t) {
		if m.kind != "histogram" {
			all[name] = m
			continue
		}
		for _, part := range []string{"_sum", "_count"} {
			all[name+part] = m
		}
		all[name+"_bucket"] = family{m.kind, append(slices.Clone(m.labels), "le")}
	}
	all["up"] = family{kind: "gauge"}
	return all
}

// targetLabels are those that Prometheus itself puts on what it scrapes.
var targetLabels = []string{"job", "instance"}

// checkQuery requires that a query names only series and labels that there are.
func checkQuery(t *testing.T, known map[string]family, query string) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	require.NoError(t, err, query)
	selectors := 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		selectors++
		require.Contains(t, known, selector.Name, query)
		for _, m := range selector.LabelMatchers {
			if m.Name != "__name__" && !slices.Contains(targetLabels, m.Name) {
				require.Contains(t, known[selector.Name].labels, m.Name, query)
			}
		}
		return nil
	})
	require.NotZero(t, selectors, query)
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if aggregate, ok := node.(*parser.AggregateExpr); ok {
			for _, label := range aggregate.Grouping {
				require.True(t, slices.Contains(targetLabels, label) || anyHas(known, label), "%s: label %s", query, label)
			}
		}
		return nil
	})
}

func anyHas(known map[string]family, label string) bool {
	for _, m := range known {
		if slices.Contains(m.labels, label) {
			return true
		}
	}
	return false
}

// Every query of the dashboard is one, and names what there is. Every metric of the
// collector is on the dashboard, except those that say the same in another way.
func TestDashboard(t *testing.T) {
	known := scraped(t)
	var dashboard struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr, RefID string }
		}
		Templating struct{ List []struct{ Name string } }
	}
	text := read(t, directory, "dashboard.json")
	require.NoError(t, json.Unmarshal([]byte(text), &dashboard))
	variables := []string{"__rate_interval", "__all"}
	for _, v := range dashboard.Templating.List {
		variables = append(variables, v.Name)
	}
	for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(text, -1) {
		require.Contains(t, variables, m[1])
	}
	ids, queries := make(map[int]bool), ""
	taken := make(map[[2]int]string)
	for _, p := range dashboard.Panels {
		require.False(t, ids[p.ID], "%s: its id is taken", p.Title)
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			require.Less(t, x, 24, p.Title)
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Empty(t, taken[[2]int{x, y}], "%s is on another panel", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
		require.Equal(t, p.Type == "row", len(p.Targets) == 0, p.Title)
		for _, target := range p.Targets {
			checkQuery(t, known, strings.ReplaceAll(target.Expr, "$__rate_interval", "5m"))
			queries += target.Expr + "\n"
		}
	}
	for name := range exported(t) {
		if name != "customstatus_history_changes" {
			require.Contains(t, queries, name)
		}
	}
}

// ruleFile is the part of a file of rules that a test looks at.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

// Every alert is a query about what there is, says what is wrong and how bad it is, has
// a test, and is on the page.
func TestAlerts(t *testing.T) {
	known := scraped(t)
	var rules ruleFile
	require.NoError(t, yaml.Unmarshal([]byte(read(t, directory, "alerts.yml")), &rules))
	tests, page := read(t, directory, "alerts_test.yml"), read(t, "../../docs/monitoring.md")
	alerts := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			alerts++
			checkQuery(t, known, rule.Expr)
			require.Contains(t, []string{"warning", "critical"}, rule.Labels["severity"], rule.Alert)
			require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			require.NotEmpty(t, rule.Annotations["description"], rule.Alert)
			require.True(t, strings.Contains(tests, "alertname: "+rule.Alert+"\n"), "%s: no test that it fires", rule.Alert)
			require.True(t, strings.Contains(tests, "alertname: "+rule.Alert+","), "%s: no test that it doesn't", rule.Alert)
			require.True(t, strings.Contains(page, "| `"+rule.Alert+"` |"), "%s is not on the page", rule.Alert)
		}
	}
	require.Equal(t, alerts, strings.Count(page, "| `Customstatus"), "the page names no other alert")
}

// Prometheus's own tool accepts the rules, and they fire when they should.
func TestPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		const why = "promtool is not on the PATH, so the alert rules are NOT tested"
		if os.Getenv("CUSTOMSTATUS_REQUIRED") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	for _, args := range [][]string{{"check", "rules", "alerts.yml"}, {"test", "rules", "alerts_test.yml"}} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = directory
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// The table of the page has every metric, with its type and its labels, and no other.
func TestPageNamesEveryMetric(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `(customstatus_\\w+)` \\| (\\w+) \\| ([^|]*) \\| [^|]+ \\|$")
	listed := make(map[string]family)
	for _, m := range row.FindAllStringSubmatch(read(t, "../../docs/monitoring.md"), -1) {
		require.NotContains(t, listed, m[1])
		var labels []string
		for _, label := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(m[3], -1) {
			labels = append(labels, label[1])
		}
		slices.Sort(labels)
		listed[m[1]] = family{m[2], labels}
	}
	require.Equal(t, exported(t), listed)
}

// What the page shows is a part of an example, which is compiled and run.
func TestPageShowsTheExamples(t *testing.T) {
	examples := read(t, "../../metrics/example_test.go") + read(t, "opentelemetry_example_test.go")
	indent := regexp.MustCompile(`(?m)^\t+`)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "../../docs/monitoring.md"), -1)
	require.Len(t, blocks, 3)
	for _, block := range blocks {
		require.True(t, strings.Contains(indent.ReplaceAllString(examples, ""), indent.ReplaceAllString(block[1], "")), block[1])
	}
}
