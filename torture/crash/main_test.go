//go:build linux

package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/customstatus/customstatus/torture/internal/harness"
)

// childVariable is the environment variable that turns this test binary into a
// child process, which the tests kill or starve.
const childVariable = "CUSTOMSTATUS_TORTURE_CHILD"

// child is the task of a child process.
type child struct {
	Role    string // a key of roles
	Path    string // of the bbolt file
	Writers int
	Seed    uint64
}

func roles() map[string]func(child) error {
	return map[string]func(child) error{
		"write":       child.write,
		"file-size":   child.smallFiles,
		"descriptors": child.noDescriptors,
	}
}

func TestMain(m *testing.M) {
	value := os.Getenv(childVariable)
	if value == "" {
		os.Exit(harness.Main(m))
	}
	var c child
	err := json.Unmarshal([]byte(value), &c)
	if err == nil {
		err = roles()[c.Role](c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// command returns the command that runs the child.
func (c child) command(t *testing.T) *exec.Cmd {
	t.Helper()
	value, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+string(value))
	return cmd
}
