// Package tree knows the modules of this repository and makes a module proxy of
// them, so that each can be used by version, as a stranger would, before that
// version is published.
//
// What a go.mod, a go.work and the zip of a module are, golang.org/x/mod says.
// Which files belong to the modules, git says: this package brings them together,
// because golang.org/x/mod makes zips of commits or of whole folders only.
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

// Namespace is the pattern of all modules that this repository may hold.
const Namespace = "github.com/customstatus/*"

// firstVersion is the version of modules that no other one requires.
const firstVersion = "v0.1.0"

// Tree is a checkout of the repository.
type Tree struct {
	Root string
	// Version is that at which the modules require each other.
	Version string
	// Modules are those that go.work names, in its order.
	Modules []Module
}

// Module is one module of a [Tree].
type Module struct {
	Path string
	// Dir is the folder of the module, relative to the root, with slashes.
	Dir string
	// Files are what the module consists of, relative to Dir, with slashes.
	Files []string
}

// IsRoot reports whether m is the module in the root folder.
func (m Module) IsRoot() bool { return m.Dir == "." }

// Load reads the checkout that the folder dir belongs to. Its files are those
// that git tracks or would take, as they are in the working tree.
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

// readModules reads the go.mod of each module that go.work names, and finds the
// version at which they require each other.
func (t *Tree) readModules(work *modfile.WorkFile) error {
	// The go command asks for what the modules require of each other, even
	// though go.work has it, unless go.work replaces it.
	replaced := make(map[module.Version]bool)
	for _, r := range work.Replace {
		replaced[r.Old] = true
	}
	required := make(map[string]string) // version → who requires it
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

// InNamespace reports whether a module of this name is one of this repository.
func InNamespace(modulePath string) bool {
	return module.MatchPrefixPatterns(Namespace, modulePath)
}

// files returns the files of the whole checkout, sorted, with slashes.
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
			continue // tracked, but deleted in the working tree
		}
		if err != nil {
			return nil, err
		}
		files = append(files, name)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// assign gives each module its files: those in its folder that a module may
// have. Package zip leaves out links, vendored packages and the files of other
// modules.
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

// Copy writes the files of the module into the folder dir.
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

// Run runs a command with this environment and returns what it prints. What it
// says beside is part of the error.
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
