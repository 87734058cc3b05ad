// Package harness has the helpers that the test packages of this module share.
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

// Long reports whether the environment variable CUSTOMSTATUS_TORTURE asks for
// the long rounds.
func Long() bool { return os.Getenv("CUSTOMSTATUS_TORTURE") != "" }

// Rounds returns many if [Long] reports true, and otherwise few.
func Rounds(few, many int) int {
	if Long() {
		return many
	}
	return few
}

// Report reports a figure of a test: as a line in "go test -v", and as an
// attribute in "go test -json".
func Report(t *testing.T, key, format string, args ...any) {
	t.Helper()
	value := fmt.Sprintf(format, args...)
	t.Attr(key, value)
	t.Logf("%s: %s", key, value)
}

// Main runs the tests of a package and returns the exit code. A goroutine or
// file descriptor left behind is a failure.
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

// profiling reports whether the tests write a profile. The file of a profile
// stays open until the process ends.
func profiling() bool {
	return flag.Lookup("test.cpuprofile").Value.String() != "" || flag.Lookup("test.trace").Value.String() != ""
}

// leftBehind returns the files that are open now and were not before. It tries
// for a second, because the kernel takes its time to close the socket of a
// killed process or a cut connection.
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

// descriptors returns the process's open files with their number, if the system
// shows them. It leaves out the files of the Go runtime.
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
