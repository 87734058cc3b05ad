package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// reach says how close a module comes to a vulnerability.
type reach int

const (
	required reach = iota + 1 // the module is required
	imported                  // the package is imported
	called                    // the function may be called
)

func (r reach) String() string {
	return [...]string{required: "required", imported: "imported, not called", called: "CALLED"}[r]
}

// vulnerability is an entry of the database for one module.
type vulnerability struct{ id, module string }

// finding is the closest finding of a vulnerability.
type finding struct {
	vulnerability
	version, fixed string
	reach          reach
	by             string // the function of our code that leads to it, if called
}

func (f finding) inStandardLibrary() bool { return f.module == "stdlib" || f.module == "toolchain" }

type report struct {
	summaries map[string]string // by the id
	findings  map[vulnerability]finding
}

// read reads the output of "govulncheck -format json".
func read(r io.Reader) (report, error) {
	rep := report{make(map[string]string), make(map[vulnerability]finding)}
	scanned := false
	for d := json.NewDecoder(r); ; {
		var message struct {
			SBOM    *struct{}
			OSV     *struct{ ID, Summary string }
			Finding *struct {
				OSV          string
				FixedVersion string `json:"fixed_version"`
				Trace        []frame
			}
		}
		if err := d.Decode(&message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return rep, fmt.Errorf("read the output of govulncheck: %w", err)
		}
		scanned = scanned || message.SBOM != nil
		if o := message.OSV; o != nil {
			rep.summaries[o.ID] = o.Summary
		}
		if f := message.Finding; f != nil {
			if len(f.Trace) == 0 {
				return rep, fmt.Errorf("govulncheck reported %s without a place", f.OSV)
			}
			rep.add(f.OSV, f.FixedVersion, f.Trace)
		}
	}
	if !scanned {
		return rep, errors.New("govulncheck did not report what it scanned")
	}
	return rep, nil
}

// frame is a place in a chain of calls.
type frame struct{ Module, Version, Package, Receiver, Function string }

func (f frame) String() string {
	if f.Receiver != "" {
		return f.Package + "." + f.Receiver + "." + f.Function
	}
	return f.Package + "." + f.Function
}

// add adds a finding. A trace begins at the vulnerability and ends in the
// module's own code. Of several findings of one vulnerability, the closest
// counts.
func (r report) add(id, fixed string, trace []frame) {
	at, from := trace[0], trace[len(trace)-1]
	f := finding{vulnerability{id, at.Module}, at.Version, fixed, required, ""}
	if at.Package != "" {
		f.reach = imported
	}
	if at.Function != "" {
		f.reach = called
		f.by = from.String()
	}
	if f.reach > r.findings[f.vulnerability].reach {
		r.findings[f.vulnerability] = f
	}
}

// print prints the findings outside the standard library, the closest first. It
// returns the number of called vulnerabilities.
func (r report) print(out io.Writer) (reached int) {
	for _, f := range r.sorted() {
		if f.inStandardLibrary() {
			continue
		}
		fmt.Fprintf(out, "  %s: %s\n", f.reach, r.describe(f))
		if f.reach == called {
			fmt.Fprintf(out, "      by way of %s\n", f.by)
			reached++
		}
	}
	return reached
}

func (r report) describe(f finding) string {
	fixed := "not fixed"
	if f.fixed != "" {
		fixed = "fixed in " + f.fixed
	}
	return fmt.Sprintf("%s %s %s, %s: %s", f.id, f.module, f.version, fixed, r.summaries[f.id])
}

// sorted returns the findings, the closest first.
func (r report) sorted() []finding {
	return slices.SortedFunc(maps.Values(r.findings), func(a, b finding) int {
		return cmp.Or(cmp.Compare(b.reach, a.reach), cmp.Compare(a.module, b.module), cmp.Compare(a.id, b.id))
	})
}

// standard collects the called vulnerabilities of the standard library over all
// modules.
type standard struct {
	callers map[string][]string // description of the vulnerability → modules
}

func newStandard() standard { return standard{make(map[string][]string)} }

func (s standard) add(name string, r report) {
	for _, f := range r.sorted() {
		if f.inStandardLibrary() && f.reach == called {
			text := r.describe(f)
			s.callers[text] = append(s.callers[text], name)
		}
	}
}

func (s standard) print(out io.Writer) {
	if len(s.callers) == 0 {
		return
	}
	fmt.Fprintf(out, "\nNOTE: %d known vulnerabilities of this Go can be reached. A newer Go mends them:\n", len(s.callers))
	for _, text := range slices.Sorted(maps.Keys(s.callers)) {
		fmt.Fprintf(out, "  %s\n      called by %s\n", text, strings.Join(s.callers[text], ", "))
	}
}
