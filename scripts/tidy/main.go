// Command tidy checks that "go mod tidy" changes nothing in any module of this
// checkout. It treats each module as a user does who has the module alone:
// without go.work, and with the other modules by version. It is ours because
// "go mod tidy -diff" requires go.sum to have the checksums of this
// repository's own modules, which change with every commit.
//
// It also checks that go.work.sum is complete, because otherwise the first command in a
// clone changes that file.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

func main() {
	if err := tree.FromOutside(".", run); err != nil {
		fmt.Fprintln(os.Stderr, "tidy:", err)
		os.Exit(1)
	}
}

func run(t *tree.Tree, env []string, scratch string) error {
	var failed []error
	for _, m := range t.Modules {
		if err := check(t, m, env, filepath.Join(scratch, m.Dir)); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.Path, err))
			continue
		}
		fmt.Println("tidy", m.Path)
	}
	return errors.Join(append(failed, checkWorkspace(t.Root))...)
}

func checkWorkspace(root string) error {
	file := filepath.Join(root, "go.work.sum")
	before, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := tree.Run(root, nil, "go", "list", "-m", "all"); err != nil {
		return err
	}
	after, err := os.ReadFile(file)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	return errors.New("go.work.sum: lines were missing; they are in the file now, so commit it")
}

func check(t *tree.Tree, m tree.Module, env []string, dir string) error {
	before, after := filepath.Join(dir, "before"), filepath.Join(dir, "after")
	for _, to := range []string{before, after} {
		if err := t.Copy(m, to); err != nil {
			return err
		}
	}
	if _, err := tree.Run(after, env, "go", "mod", "tidy"); err != nil {
		return err
	}
	if err := dropOwn(filepath.Join(after, "go.sum")); err != nil {
		return err
	}
	_, err := tree.Run(dir, env, "git", "--no-pager", "diff", "--no-index", "--exit-code", "before", "after")
	return err
}

// dropOwn removes the checksums of this repository's modules from a go.sum. It
// reads the lines itself: golang.org/x/mod has nothing for a go.sum.
func dropOwn(file string) error {
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var kept []byte
	for line := range bytes.Lines(data) {
		name, _, _ := bytes.Cut(line, []byte(" "))
		if !tree.InNamespace(string(name)) {
			kept = append(kept, line...)
		}
	}
	if len(kept) == 0 {
		return os.Remove(file)
	}
	return os.WriteFile(file, kept, 0o666)
}
