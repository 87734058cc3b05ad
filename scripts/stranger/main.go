// Command stranger uses each module of this checkout as a new user does: in
// throw-away projects, by version, without go.work. It shows that the modules
// build alone, that the library works from outside, and which modules a program
// with the library consists of. It is ours because it tests this library.
package main

import (
	"debug/buildinfo"
	"embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

const root = "github.com/customstatus/customstatus"

// allowed are the modules that a program with the library and the HTTP adapter
// may consist of, apart from its own.
var allowed = []string{
	root,
	"github.com/google/uuid",
	"go.etcd.io/bbolt",
	"golang.org/x/sys",
}

//go:embed testdata
var projects embed.FS

func main() {
	if err := tree.FromOutside(".", run); err != nil {
		fmt.Fprintln(os.Stderr, "stranger:", err)
		os.Exit(1)
	}
}

func run(t *tree.Tree, env []string, scratch string) error {
	s := stranger{tree: t, env: env, scratch: scratch}
	if err := s.embed(); err != nil {
		return fmt.Errorf("embedding the library: %w", err)
	}
	if err := s.documented(); err != nil {
		return fmt.Errorf("the program in docs/embedding.md: %w", err)
	}
	if err := s.ownStore(); err != nil {
		return fmt.Errorf("testing a store of one's own: %w", err)
	}
	if err := s.install(); err != nil {
		return fmt.Errorf("installing customstatusd: %w", err)
	}
	return s.buildAll()
}

type stranger struct {
	tree    *tree.Tree
	env     []string
	scratch string
}

// do runs a command in a project and returns the output.
func (s stranger) do(dir, name string, args ...string) (string, error) {
	return tree.Run(dir, s.env, name, args...)
}

// project makes a new project that requires one of our modules. Its files come
// from the directory of that name in testdata, if there is one.
func (s stranger) project(name, require string) (string, error) {
	dir := filepath.Join(s.scratch, name)
	if err := os.Mkdir(dir, 0o777); err != nil {
		return "", err
	}
	from := path.Join("testdata", name)
	files, err := projects.ReadDir(from)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	for _, f := range files {
		data, err := projects.ReadFile(path.Join(from, f.Name()))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), data, 0o666); err != nil {
			return "", err
		}
	}
	if _, err := s.do(dir, "go", "mod", "init", "example.com/"+name); err != nil {
		return "", err
	}
	_, err = s.do(dir, "go", "get", require+"@"+s.tree.Version)
	return dir, err
}

// embed builds and runs a program with the library and the adapter in it.
func (s stranger) embed() error {
	dir, err := s.project("embed", root)
	if err != nil {
		return err
	}
	if _, err := s.do(dir, "go", "build", "-o", "program", "."); err != nil {
		return err
	}
	got, err := s.do(dir, filepath.Join(dir, "program"))
	if err != nil {
		return err
	}
	if want := "the status was served\n"; got != want {
		return fmt.Errorf("the program printed %q, want %q", got, want)
	}
	modules, err := modules(filepath.Join(dir, "program"))
	if err != nil {
		return err
	}
	if !slices.Equal(modules, allowed) {
		return fmt.Errorf("the program consists of the modules\n%s\nwant\n%s", strings.Join(modules, "\n"), strings.Join(allowed, "\n"))
	}
	fmt.Println("a program with the library and the adapter runs, and consists of", strings.Join(modules, ", "))
	return nil
}

// modules returns the sorted paths of the modules that the program was built
// from.
func modules(program string) ([]string, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var modules []string
	for _, m := range info.Deps {
		modules = append(modules, m.Path)
	}
	slices.Sort(modules)
	return modules, nil
}

// documented builds the complete program in docs/embedding.md.
func (s stranger) documented() error {
	text, err := os.ReadFile(filepath.Join(s.tree.Root, "docs", "embedding.md"))
	if err != nil {
		return err
	}
	_, program, found := strings.Cut(string(text), "```go\npackage main\n")
	program, _, ended := strings.Cut(program, "\n```\n")
	if !found || !ended {
		return errors.New("the page has no program")
	}
	dir, err := s.project("documented", root)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n"+program+"\n"), 0o666); err != nil {
		return err
	}
	if _, err := s.do(dir, "go", "vet", "."); err != nil {
		return err
	}
	fmt.Println("the program in docs/embedding.md compiles")
	return nil
}

// ownStore runs the conformance suite on a store that the project defines.
func (s stranger) ownStore() error {
	dir, err := s.project("store", root)
	if err != nil {
		return err
	}
	out, err := s.do(dir, "go", "test", ".")
	if err != nil {
		return err
	}
	fmt.Print("the conformance suite runs outside the tree: ", out)
	return nil
}

// install installs the single binary and starts it.
func (s stranger) install() error {
	bin := filepath.Join(s.scratch, "bin")
	s.env = append(slices.Clip(s.env), "GOBIN="+bin)
	if _, err := s.do(s.scratch, "go", "install", root+"/cmd/customstatusd@"+s.tree.Version); err != nil {
		return err
	}
	out, err := s.do(s.scratch, filepath.Join(bin, "customstatusd"), "--version")
	if err != nil {
		return err
	}
	fmt.Print("customstatusd installs by version: ", out)
	return nil
}

// buildAll builds the other modules, two at a time: to choose versions takes one processor.
func (s stranger) buildAll() error {
	failed := make([]error, len(s.tree.Modules))
	places := make(chan struct{}, 2)
	var building sync.WaitGroup
	for i, m := range s.tree.Modules {
		if m.IsRoot() {
			continue
		}
		building.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if err := s.build(m); err != nil {
				failed[i] = fmt.Errorf("building %s: %w", m.Path, err)
			}
		})
	}
	building.Wait()
	return errors.Join(failed...)
}

// build compiles all packages and tests of a module.
func (s stranger) build(m tree.Module) error {
	dir, err := s.project("use-"+strings.ReplaceAll(m.Dir, "/", "-"), m.Path)
	if err != nil {
		return err
	}
	packages := m.Path + "/..."
	if _, err := s.do(dir, "go", "get", "-t", packages+"@"+s.tree.Version); err != nil {
		return err
	}
	if _, err := s.do(dir, "go", "vet", packages); err != nil {
		return err
	}
	fmt.Println("packages and tests of", m.Path, "compile by version")
	return nil
}
