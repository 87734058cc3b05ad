package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Options configure [Start]. A nil *Options and the zero value are the defaults.
type Options struct {
	// Settings are settings of the server, such as "max_connections=20".
	Settings []string
}

// Require skips the test if a program isn't there, or fails it if the environment
// variable CUSTOMSTATUS_REQUIRED is set.
func Require(t testing.TB, program, debian, untested string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, program))
		}
	}
	if err != nil {
		missing(t, program, debian, untested)
	}
	return path
}

func missing(t testing.TB, program, debian, untested string) {
	t.Helper()
	text := fmt.Sprintf("there is no %s on this machine (Debian's package %s): %s is NOT tested", program, debian, untested)
	refuse(t, text)
}

// refuse skips the test, or fails it if its programs are required.
func refuse(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CUSTOMSTATUS_REQUIRED") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
