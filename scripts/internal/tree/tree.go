// Package tree finds the modules of this repository and makes a module proxy of
// them, so that each can be used by version before that version is published.
//
// Package golang.org/x/mod reads go.mod and go.work files and writes the zips
// of modules. Git lists the files of the checkout. This package connects the
// two, because golang.org/x/mod makes zips only of commits or of whole
// directories.
package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// Namespace is the pattern of all module paths in this repository.
const Namespace = "github.com/customstatus/*"

// firstVersion is the version of the modules if none requires another.
const firstVersion = "v0.1.0"

// Tree is a checkout of the repository.
type Tree struct {
	Root string
	// Version is the version at which the modules require each other.
	Version string
	// Modules are the modules in go.work, in the order of the file.
	Modules []Module
}

// Module is one module of a [Tree].
type Module struct {
	Path string
	// Dir is the directory of the module, relative to the root, with slashes.
	Dir string
	// Files are the files of the module, relative to Dir, with slashes.
	Files []string
}

// IsRoot reports whether m is the module in the root directory.
func (m Module) IsRoot() bool { return m.Dir == "." }

// Load reads the checkout that the directory dir is in. It takes the files of
// the working tree that git tracks or does not ignore.
func Load(dir string) (*Tree, error) {
	name, err := Run(dir, nil, "go", "env", "GOWORK")
	if err != nil {
		return nil, err
	}
	name = strings.TrimSpace(name)
	if name == "" || name == "off" {
		return nil, errors.New("there is no go.work here: run this inside the checkout, without GOWORK=off")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	work, err := modfile.ParseWork(name, data, nil)
	if err != nil {
		return nil, err
	}
	t := &Tree{Root: filepath.Dir(name)}
	if err := t.readModules(work); err != nil {
		return nil, err
	}
	files, err := t.files()
	if err != nil {
		return nil, err
	}
	return t, t.assign(files)
}

// readModules reads the go.mod of each module in go.work, and finds the version
// at which the modules require each other.
func (t *Tree) readModules(work *modfile.WorkFile) error {
	// The go command downloads a required module of this repository, even
	// though go.work uses the module, unless go.work also replaces it.
	replaced := make(map[module.Version]bool)
	for _, r := range work.Replace {
		replaced[r.Old] = true
	}
	required := make(map[string]string) // version → a module that requires it
	for _, use := range work.Use {
		m := Module{Dir: path.Clean(filepath.ToSlash(use.Path))}
		name := t.file(m, "go.mod").name
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		mod, err := modfile.Parse(name, data, nil)
		if err != nil {
			return err
		}
		if mod.Module == nil {
			return fmt.Errorf("%s/go.mod names no module", m.Dir)
		}
		if len(mod.Replace) > 0 {
			return fmt.Errorf("%s/go.mod has a replace: nobody could install from the module", m.Dir)
		}
		m.Path = mod.Module.Mod.Path
		for _, r := range mod.Require {
			if !InNamespace(r.Mod.Path) {
				continue
			}
			required[r.Mod.Version] = m.Path
			if !replaced[r.Mod] {
				return fmt.Errorf("go.work has no replace for %s, which %s requires", r.Mod, m.Path)
			}
		}
		t.Modules = append(t.Modules, m)
	}
	if len(required) > 1 {
		return fmt.Errorf("the modules require each other at several versions: %v", required)
	}
	t.Version = firstVersion
	for v := range required {
		t.Version = v
	}
	return nil
}

// InNamespace reports whether a module path is one of this repository's.
func InNamespace(modulePath string) bool {
	return module.MatchPrefixPatterns(Namespace, modulePath)
}

// files returns the sorted names of all files of the checkout, with slashes.
func (t *Tree) files() ([]string, error) {
	out, err := Run(t.Root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	var files []string
	for name := range strings.SplitSeq(out, "\x00") {
		if name == "" {
			continue
		}
		_, err := os.Lstat(filepath.Join(t.Root, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // git tracks the file, but the working tree lacks it
		}
		if err != nil {
			return nil, err
		}
		files = append(files, name)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// assign sets the files of each module: the files in the module's directory
// that belong into its zip. Package zip leaves out links, vendored packages and
// the files of other modules.
func (t *Tree) assign(files []string) error {
	known := make(map[string]bool)
	for _, m := range t.Modules {
		known[m.Dir] = true
	}
	for _, f := range files {
		if path.Base(f) == "go.mod" && !known[path.Dir(f)] {
			return fmt.Errorf("%s: the module is not in go.work", f)
		}
	}
	for i := range t.Modules {
		m := &t.Modules[i]
		var within []zip.File
		for _, f := range files {
			if m.IsRoot() {
				within = append(within, t.file(*m, f))
			} else if rel, ok := strings.CutPrefix(f, m.Dir+"/"); ok {
				within = append(within, t.file(*m, rel))
			}
		}
		checked, err := zip.CheckFiles(within)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		m.Files = checked.Valid
	}
	return nil
}

// Copy writes the files of the module into the directory dir.
func (t *Tree) Copy(m Module, dir string) error {
	for _, name := range m.Files {
		data, err := os.ReadFile(t.file(m, name).name)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(to, data, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Run runs a command and returns its standard output. The error includes its
// standard error. A nil env is the environment of this process.
func Run(dir string, env []string, name string, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env, cmd.Stderr = dir, env, &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, out, stderr.Bytes())
	}
	return string(out), nil
}
