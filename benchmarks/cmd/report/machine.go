package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// head returns the configuration of a run, in the benchmark format.
func head(rounds int, filesystem string, start time.Time) string {
	var b strings.Builder
	for _, f := range [][2]string{
		{"goos", runtime.GOOS},
		{"goarch", runtime.GOARCH},
		{"pkg", module},
		{"processor", field("/proc/cpuinfo", "model name")},
		{"cores", strconv.Itoa(runtime.NumCPU())},
		{"memory", memory()},
		{"system", system()},
		{"filesystem", filesystem},
		{"toolchain", runtime.Version()},
		{"versions", versions()},
		{"date", start.UTC().Format(time.DateOnly)},
		{"rounds", strconv.Itoa(rounds)},
	} {
		if f[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", f[0], f[1])
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// versions returns the contestants' modules and versions.
func versions() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var out []string
	for _, m := range info.Deps {
		if slices.Contains([]string{
			"go.etcd.io/bbolt", "github.com/timshannon/bolthold", "modernc.org/sqlite",
			"github.com/tidwall/buntdb", "github.com/hashicorp/go-memdb",
		}, m.Path) {
			out = append(out, m.Path+" "+m.Version)
		}
	}
	return strings.Join(out, ", ")
}

// field returns the value of the first line "name: value" in a file of /proc, or "" if
// there is none.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func memory() string {
	kb, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"))
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%.1f GiB", float64(kb)/(1<<20))
}

func system() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return runtime.GOOS
	}
	return runtime.GOOS + " " + strings.TrimSpace(string(release))
}

// filesystemOf returns the type of a directory's file system, or "" if it is unknown.
func filesystemOf(dir string) string {
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return ""
	}
	defer f.Close()
	kind, longest := "", -1
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			continue
		}
		at := fields[1]
		if rel, err := filepath.Rel(at, dir); err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			continue
		}
		if len(at) >= longest { // a later mount covers an earlier one
			kind, longest = fields[2], len(at)
		}
	}
	return kind
}
