// Package tree knows the modules of this repository and makes a module proxy of
// them, so that each can be used by version, as a stranger would, before that
// version is published.
package tree

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
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
	work, err := Run(dir, nil, "go", "env", "GOWORK")
	if err != nil {
		return nil, err
	}
	file := strings.TrimSpace(work)
	if file == "" || file == "off" {
		return nil, errors.New("there is no go.work here: run this inside the checkout, without GOWORK=off")
	}
	t := &Tree{Root: filepath.Dir(file)}
	files, err := t.files()
	if err != nil {
		return nil, err
	}

	var parsed struct {
		Use     []struct{ DiskPath string }
		Replace []struct {
			Old struct{ Path, Version string }
		}
	}
	if err := outputJSON(t.Root, &parsed, "work", "edit", "-json"); err != nil {
		return nil, err
	}
	// The go command asks for what the modules require of each other, even
	// though go.work has it, unless go.work replaces it.
	replaced := make(map[string]bool)
	for _, r := range parsed.Replace {
		replaced[r.Old.Path+"@"+r.Old.Version] = true
	}
	required := make(map[string]string) // version → who requires it
	for _, use := range parsed.Use {
		m := Module{Dir: path.Clean(filepath.ToSlash(use.DiskPath))}
		var mod struct {
			Module  struct{ Path string }
			Require []struct{ Path, Version string }
			Replace []any
		}
		if err := outputJSON(t.Root, &mod, "mod", "edit", "-json", path.Join(m.Dir, "go.mod")); err != nil {
			return nil, err
		}
		if len(mod.Replace) > 0 {
			return nil, fmt.Errorf("%s/go.mod has a replace: nobody could install from the module", m.Dir)
		}
		m.Path = mod.Module.Path
		for _, r := range mod.Require {
			if !InNamespace(r.Path) {
				continue
			}
			required[r.Version] = m.Path
			if !replaced[r.Path+"@"+r.Version] {
				return nil, fmt.Errorf("go.work has no replace for %s@%s, which %s requires", r.Path, r.Version, m.Path)
			}
		}
		t.Modules = append(t.Modules, m)
	}
	if len(required) > 1 {
		return nil, fmt.Errorf("the modules require each other at several versions: %v", required)
	}
	t.Version = firstVersion
	for v := range required {
		t.Version = v
	}
	return t, t.assign(files)
}

// FromOutside runs do with the checkout that the folder dir belongs to, and an
// environment in which the go command, without go.work, finds its modules by
// version. The folder scratch is do's to use, and goes when do returns.
func FromOutside(dir string, do func(t *Tree, env []string, scratch string) error) (err error) {
	t, err := Load(dir)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "customstatus-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	proxy, err := t.WriteProxy(filepath.Join(scratch, "proxy"))
	if err != nil {
		return err
	}
	env, err := Env(proxy, scratch)
	if err != nil {
		return err
	}
	own := filepath.Join(scratch, "work")
	if err := os.Mkdir(own, 0o777); err != nil {
		return err
	}
	return do(t, env, own)
}

// InNamespace reports whether a module of this name is one of this repository.
func InNamespace(modulePath string) bool {
	return strings.HasPrefix(modulePath, strings.TrimSuffix(Namespace, "*"))
}

// files returns the files of the whole checkout, sorted, with slashes.
func (t *Tree) files() ([]string, error) {
	out, err := Run(t.Root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	var files []string
	for name := range strings.SplitSeq(out, "\x00") {
		info, err := os.Lstat(filepath.Join(t.Root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // tracked, but deleted in the working tree
		}
		if err != nil {
			return nil, err
		}
		if name != "" && info.Mode().IsRegular() { // a module has no links
			files = append(files, name)
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// assign gives each file to the module in whose folder it is.
func (t *Tree) assign(files []string) error {
	owners := make(map[string]*Module)
	for i := range t.Modules {
		owners[t.Modules[i].Dir] = &t.Modules[i]
	}
	for _, f := range files {
		if dir := path.Dir(f); path.Base(f) == "go.mod" && owners[dir] == nil {
			return fmt.Errorf("%s: the module is not in go.work", f)
		}
	}
	for _, f := range files {
		dir := path.Dir(f)
		for owners[dir] == nil && dir != "." {
			dir = path.Dir(dir)
		}
		if m := owners[dir]; m != nil {
			rel := strings.TrimPrefix(f, m.Dir+"/")
			if !strings.HasPrefix(rel, "vendor/") && !strings.Contains(rel, "/vendor/") {
				m.Files = append(m.Files, rel)
			}
		}
	}
	return nil
}

// WriteProxy makes a proxy of the modules in the folder dir, in the layout of
// GOPROXY=file://dir, and returns that URL.
func (t *Tree) WriteProxy(dir string) (string, error) {
	for _, m := range t.Modules {
		if err := t.writeModule(filepath.Join(dir, filepath.FromSlash(m.Path), "@v"), m); err != nil {
			return "", fmt.Errorf("%s: %w", m.Path, err)
		}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return FileURL(abs), nil
}

func (t *Tree) writeModule(dir string, m Module) error {
	if strings.ToLower(m.Path) != m.Path {
		return errors.New("upper case in a module path, which a proxy has to escape")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	mod, err := t.read(m, "go.mod")
	if err != nil {
		return err
	}
	zipped, err := t.zip(m)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"list":              []byte(t.Version + "\n"),
		t.Version + ".info": []byte(`{"Version":"` + t.Version + `"}`),
		t.Version + ".mod":  mod,
		t.Version + ".zip":  zipped,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// zip returns the module as the go command wants it: every file below
// path@version/. A nested module without a license gets that of the root, as
// the go command does it when it makes the zip from a repository.
func (t *Tree) zip(m Module) ([]byte, error) {
	content := make(map[string][]byte)
	for _, name := range m.Files {
		data, err := t.read(m, name)
		if err != nil {
			return nil, err
		}
		content[name] = data
	}
	if _, ok := content["LICENSE"]; !ok {
		license, err := os.ReadFile(filepath.Join(t.Root, "LICENSE"))
		if err == nil {
			content["LICENSE"] = license
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(content)) {
		w, err := z.Create(m.Path + "@" + t.Version + "/" + name)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(content[name]); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func (t *Tree) read(m Module, name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(t.Root, filepath.FromSlash(m.Dir), filepath.FromSlash(name)))
}

// Copy writes the files of the module into the folder dir.
func (t *Tree) Copy(m Module, dir string) error {
	for _, name := range m.Files {
		data, err := t.read(m, name)
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

// Env returns the environment of a stranger to this checkout: no go.work, and
// the modules of this repository from the proxy alone. The module cache is in
// the folder scratch, so that no module of the same version from another day is
// used; whatever else the machine's own cache already has comes from there.
func Env(proxy, scratch string) ([]string, error) {
	var machine struct{ GOMODCACHE, GOPROXY, GONOSUMDB string }
	if err := outputJSON("", &machine, "env", "-json", "GOMODCACHE", "GOPROXY", "GONOSUMDB"); err != nil {
		return nil, err
	}
	cached, err := withoutNamespace(filepath.Join(machine.GOMODCACHE, "cache", "download"), filepath.Join(scratch, "cached"))
	if err != nil {
		return nil, err
	}
	return append(os.Environ(),
		"GOWORK=off",
		// The repository has no version yet that a checksum database knows.
		"GONOSUMDB="+strings.Trim(machine.GONOSUMDB+","+Namespace, ","),
		"GOPROXY="+proxy+","+cached+","+machine.GOPROXY,
		"GOMODCACHE="+filepath.Join(scratch, "modcache"),
		"GOFLAGS=-mod=mod -modcacherw",
	), nil
}

// withoutNamespace makes the folder to a proxy with what the machine's cache
// has, but for the modules of this repository, and returns its URL.
func withoutNamespace(cache, to string) (string, error) {
	// Links to the folders at the top, and to those beside ours.
	host, org, _ := strings.Cut(strings.TrimSuffix(Namespace, "/*"), "/")
	for from, skip := range map[string]string{cache: host, filepath.Join(cache, host): org} {
		rel, err := filepath.Rel(cache, from)
		if err != nil {
			return "", err
		}
		if err := os.MkdirAll(filepath.Join(to, rel), 0o777); err != nil {
			return "", err
		}
		entries, err := os.ReadDir(from)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		for _, e := range entries {
			if e.Name() == skip || e.Name() == "sumdb" {
				continue
			}
			if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(to, rel, e.Name())); err != nil {
				return "", err
			}
		}
	}
	return FileURL(to), nil
}

// FileURL returns the URL of an absolute path.
func FileURL(p string) string {
	p = filepath.ToSlash(p)
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return "file://" + p
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

func outputJSON(dir string, v any, args ...string) error {
	out, err := Run(dir, nil, "go", args...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), v)
}
