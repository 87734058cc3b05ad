// Package harness is what the test packages of this module have in common.
package harness

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Long reports whether CUSTOMSTATUS_TORTURE asks for the long rounds.
func Long() bool { return os.Getenv("CUSTOMSTATUS_TORTURE") != "" }

// Rounds returns few, or many if the long rounds are asked for.
func Rounds(few, many int) int {
	if Long() {
		return many
	}
	return few
}

// Report hands out a figure of a test: to "go test -v" as a line, and to
// "go test -json" as an attribute.
func Report(t *testing.T, key, format string, args ...any) {
	t.Helper()
	value := fmt.Sprintf(format, args...)
	t.Attr(key, value)
	t.Logf("%s: %s", key, value)
}

// Main runs the tests of a package and returns the exit code. It is a failure if
// one of them leaves a goroutine or a file descriptor behind.
func Main(m *testing.M) int {
	before := descriptors()
	if code := m.Run(); code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "left behind:", err)
		return 1
	}
	if left := leftBehind(before); len(left) > 0 && !profiling() {
		fmt.Fprintln(os.Stderr, "left open:", strings.Join(left, ", "))
		return 1
	}
	return 0
}

// profiling reports whether a profile was asked for, whose file stays open until
// the process ends.
func profiling() bool {
	return flag.Lookup("test.cpuprofile").Value.String() != "" || flag.Lookup("test.trace").Value.String() != ""
}

// leftBehind returns what is open now and was not before. The kernel closes a
// socket of a killed process, or of a cut connection, in its own time.
func leftBehind(before map[string]int) []string {
	for attempt := 0; ; attempt++ {
		var left []string
		for target, n := range descriptors() {
			if n > before[target] {
				left = append(left, target)
			}
		}
		if len(left) == 0 || attempt == 20 {
			return left
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// descriptors returns what the process has open and how often, where the system
// shows it. What the Go runtime opens for itself does not count.
func descriptors() map[string]int {
	const directory = "/proc/self/fd"
	open := make(map[string]int)
	entries, err := os.ReadDir(directory)
	if err != nil {
		return open
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(directory, e.Name()))
		if err != nil || strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "/proc/") {
			continue
		}
		open[target]++
	}
	return open
}
