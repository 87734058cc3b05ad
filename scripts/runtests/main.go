// Command runtests runs "go test" on all packages of all modules that go.work
// names, with the flags it is given, and prints what "go test" prints. It adds
// what that keeps to itself when all is well: which tests were skipped and why,
// and the figures that tests hand out with (*testing.T).Attr.
//
//	runtests [-without FOLDER] [flags of go test]
//
// The module in the folder is left out.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	failed, err := run(os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "runtests:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

func run(flags []string, out io.Writer) (failed bool, err error) {
	without := ""
	if len(flags) > 1 && flags[0] == "-without" {
		fmt.Fprintln(out, "left out: the module in", flags[1])
		if without, err = filepath.Abs(flags[1]); err != nil {
			return false, err
		}
		flags = flags[2:]
	}
	modules, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return false, fmt.Errorf("go list -m: %w", err)
	}
	args := append([]string{"test", "-json"}, flags...)
	for dir := range strings.Lines(string(modules)) {
		if dir = strings.TrimSpace(dir); dir != without {
			args = append(args, filepath.Join(dir, "..."))
		}
	}
	cmd := exec.Command("go", args...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	r := newReport(out)
	readErr := r.read(stdout)
	if readErr != nil {
		_ = cmd.Process.Kill() // it would wait for somebody to read
	}
	waitErr := cmd.Wait()
	if readErr != nil {
		return false, readErr
	}
	r.summary()
	if exit := (*exec.ExitError)(nil); errors.As(waitErr, &exit) {
		return true, nil
	}
	return r.failed > 0, waitErr
}

// event is one line of "go test -json", see go doc test2json.
type event struct {
	Action, Package, Test, Output, Key, Value string
}

// test is what has been heard of one test. The package itself is the test with
// no name.
type test struct {
	name    string
	outcome string // pass, fail, skip, or empty while it runs
	output  []string
	attrs   []string
}

type report struct {
	out                     io.Writer
	packages                map[string][]*test
	passed, failed, skipped int
}

func newReport(out io.Writer) *report {
	return &report{out: out, packages: make(map[string][]*test)}
}

func (r *report) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(r.out, "%s", line) // no event: go itself has something to say
			} else {
				r.add(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) add(e event) {
	if e.Action == "build-output" {
		fmt.Fprint(r.out, e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	t := r.test(e.Package, e.Test)
	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
	case "attr":
		t.attrs = append(t.attrs, e.Key+"="+e.Value)
	case "pass", "fail", "skip":
		t.outcome = e.Action
		if e.Test == "" {
			r.finish(e.Package)
		}
	}
}

func (r *report) test(pkg, name string) *test {
	for _, t := range r.packages[pkg] {
		if t.name == name {
			return t
		}
	}
	t := &test{name: name}
	r.packages[pkg] = append(r.packages[pkg], t)
	return t
}

// finish prints what there is to say of a package that has ended.
func (r *report) finish(pkg string) {
	whole := r.test(pkg, "")
	var notes strings.Builder
	var skips []skip
	for _, t := range r.packages[pkg] {
		if t == whole {
			continue
		}
		for _, a := range t.attrs {
			fmt.Fprintf(&notes, "      %s: %s\n", t.name, a)
		}
		switch t.outcome {
		case "pass":
			r.passed++
		case "skip":
			r.skipped++
			skips = addSkip(skips, t)
		default: // failed, or still running when the process died
			r.failed++
			fmt.Fprint(r.out, strings.Join(t.output, ""))
		}
	}
	if whole.outcome == "fail" {
		fmt.Fprint(r.out, strings.Join(whole.output, ""))
	} else {
		for _, line := range whole.output {
			if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "? ") {
				fmt.Fprint(r.out, line)
			}
		}
	}
	fmt.Fprint(r.out, notes.String())
	for _, s := range skips {
		fmt.Fprintf(r.out, "      skipped %s: %s\n", strings.Join(s.tests, " "), s.reason)
	}
	delete(r.packages, pkg)
}

// skip is why tests were skipped, all of them subtests of one test or none.
type skip struct {
	parent, reason string
	tests          []string
}

func addSkip(skips []skip, t *test) []skip {
	parent, name := "", t.name
	if i := strings.LastIndex(t.name, "/"); i >= 0 {
		parent, name = t.name[:i], t.name[i:]
	}
	why := reason(t.output)
	for i := range skips {
		if s := &skips[i]; parent != "" && s.parent == parent && s.reason == why {
			s.tests = append(s.tests, name)
			return skips
		}
	}
	return append(skips, skip{parent, why, []string{t.name}})
}

// place is where a test says something, in front of what it says.
var place = regexp.MustCompile(`^[\w.-]+\.go:\d+: `)

// reason returns what a skipped test printed, without the frame around it.
func reason(output []string) string {
	var said []string
	for _, line := range output {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, place.ReplaceAllString(line, ""))
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, "; ")
}

func (r *report) summary() {
	fmt.Fprintf(r.out, "%d tests passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}
