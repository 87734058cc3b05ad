package tree_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

const replaced = "\nreplace github.com/customstatus/customstatus v0.3.0 => .\n"

// repository is a small repository like ours.
var repository = map[string]string{
	"go.work":          "go 1.26.0\n\nuse (\n\t.\n\t./cmd/hello\n)\n" + replaced,
	"go.mod":           "module github.com/customstatus/customstatus\n\ngo 1.25.0\n\nrequire example.com/dep v1.2.3\n",
	"root.go":          "package customstatus\n\nimport \"example.com/dep\"\n\nconst Word = dep.Word\n",
	"sub/sub.go":       "package sub\n",
	"vendor/a/a.go":    "package a\n",
	"LICENSE":          "do what you like\n",
	".gitignore":       "/ignored.txt\n",
	"ignored.txt":      "not for others\n",
	"cmd/hello/go.mod": "module github.com/customstatus/customstatus/cmd/hello\n\ngo 1.26.0\n\nrequire github.com/customstatus/customstatus v0.3.0\n",
	"cmd/hello/main.go": "package main\n\nimport \"github.com/customstatus/customstatus\"\n\n" +
		"func main() { println(customstatus.Word + \" one\") }\n",
}

// dependency has the files of example.com/dep in a machine's module cache.
var dependency = map[string]string{
	"list":        "v1.2.3\n",
	"v1.2.3.info": `{"Version":"v1.2.3"}`,
	"v1.2.3.mod":  "module example.com/dep\n\ngo 1.25.0\n",
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

func checkout(t *testing.T) string {
	t.Helper()
	t.Setenv("GOWORK", "") // whatever the tests themselves run with
	dir := t.TempDir()
	run(t, dir, nil, "git", "init", "-q")
	write(t, dir, repository)
	return dir
}

// machine sets up a machine without a network. Its module cache has
// example.com/dep and a stale module of the repository.
func machine(t *testing.T) {
	t.Helper()
	cache := t.TempDir()
	t.Setenv("GOMODCACHE", cache)
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "")
	t.Setenv("GOSUMDB", "off")
	download := filepath.Join(cache, "cache", "download")
	source := t.TempDir()
	write(t, source, map[string]string{
		"dep.go": "package dep\n\nconst Word = \"hello\"\n",
		"go.mod": dependency["v1.2.3.mod"],
	})
	var zipped strings.Builder
	if err := zip.CreateFromDir(&zipped, module.Version{Path: "example.com/dep", Version: "v1.2.3"}, source); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(download, "example.com", "dep", "@v"), dependency)
	write(t, filepath.Join(download, "example.com", "dep", "@v"), map[string]string{"v1.2.3.zip": zipped.String()})
	write(t, filepath.Join(download, "github.com", "customstatus", "customstatus", "@v"), map[string]string{
		"list":        "v0.3.0\n",
		"v0.3.0.info": `{"Version":"v0.3.0"}`,
		"v0.3.0.mod":  "module github.com/customstatus/customstatus\n",
		"v0.3.0.zip":  "stale",
	})
}

func TestStrangerInstalls(t *testing.T) {
	machine(t)
	dir := checkout(t)
	if out := install(t, dir); out != "hello one\n" {
		t.Fatalf("installed program said %q", out)
	}

	// The tree changes at the same version: the program must be the new one.
	main := strings.ReplaceAll(repository["cmd/hello/main.go"], "one", "two")
	write(t, dir, map[string]string{"cmd/hello/main.go": main})
	if out := install(t, dir); out != "hello two\n" {
		t.Fatalf("after a change of the tree the installed program said %q", out)
	}
}

func install(t *testing.T, dir string) string {
	t.Helper()
	tr, err := tree.Load(filepath.Join(dir, "sub"))
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	proxy, err := tr.WriteProxy(filepath.Join(scratch, "proxy"))
	if err != nil {
		t.Fatal(err)
	}
	env, err := tree.Env(proxy, scratch)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	run(t, bin, append(env, "GOBIN="+bin), "go", "install", "github.com/customstatus/customstatus/cmd/hello@"+tr.Version)
	return run(t, bin, nil, filepath.Join(bin, "hello"))
}

func TestModules(t *testing.T) {
	dir := checkout(t)
	run(t, dir, nil, "git", "add", "-A")
	if err := os.Remove(filepath.Join(dir, "sub", "sub.go")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("root.go", filepath.Join(dir, "link.go")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"untracked.go": "package customstatus\n"})
	tr, err := tree.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if tr.Version != "v0.3.0" {
		t.Errorf("Version %s, want that of the requirement, v0.3.0", tr.Version)
	}
	want := []tree.Module{
		{
			Path:  "github.com/customstatus/customstatus",
			Dir:   ".",
			Files: []string{".gitignore", "LICENSE", "go.mod", "go.work", "root.go", "untracked.go"},
		}, {
			Path:  "github.com/customstatus/customstatus/cmd/hello",
			Dir:   "cmd/hello",
			Files: []string{"go.mod", "main.go"},
		},
	}
	same := func(a, b tree.Module) bool {
		return a.Path == b.Path && a.Dir == b.Dir && slices.Equal(a.Files, b.Files)
	}
	if !slices.EqualFunc(tr.Modules, want, same) {
		t.Errorf("Modules\n got %+v\nwant %+v", tr.Modules, want)
	}
}

// The zip of a module has the same bytes each time, and a nested module has the
// license.
func TestZip(t *testing.T) {
	tr, err := tree.Load(checkout(t))
	if err != nil {
		t.Fatal(err)
	}
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if _, err := tr.WriteProxy(dir); err != nil {
			t.Fatal(err)
		}
	}
	err = filepath.WalkDir(a, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(a, name)
		if err != nil {
			return err
		}
		one, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		other, err := os.ReadFile(filepath.Join(b, rel))
		if err != nil {
			return err
		}
		if string(one) != string(other) {
			t.Errorf("%s differs from one time to the next", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	nested := module.Version{Path: "github.com/customstatus/customstatus/cmd/hello", Version: "v0.3.0"}
	got, err := zip.CheckZip(nested, filepath.Join(a, nested.Path, "@v", "v0.3.0.zip"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range []string{"go.mod", "main.go", "LICENSE"} {
		want = append(want, nested.String()+"/"+name)
	}
	if !slices.Equal(got.Valid, want) {
		t.Errorf("zip of the nested module\n got %q\nwant %q", got.Valid, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a module that go.work forgets", map[string]string{
			"extra/go.mod": "module github.com/customstatus/customstatus/extra\n",
		}, "extra/go.mod: the module is not in go.work"},
		{"a replace", map[string]string{
			"cmd/hello/go.mod": repository["cmd/hello/go.mod"] + "\nreplace github.com/customstatus/customstatus => ../..\n",
		}, "cmd/hello/go.mod has a replace"},
		{"a requirement that the go command would download", map[string]string{
			"go.work": strings.TrimSuffix(repository["go.work"], replaced),
		}, "go.work has no replace for github.com/customstatus/customstatus@v0.3.0"},
		{"names that a file system may take for the same", map[string]string{
			"Root.go": "package customstatus\n",
		}, "case-insensitive file name collision"},
		{"two versions", map[string]string{
			"go.work": "go 1.26.0\n\nuse (\n\t.\n\t./cmd/hello\n\t./extra\n)\n" + replaced +
				"\nreplace github.com/customstatus/customstatus v0.4.0 => .\n",
			"extra/go.mod": "module github.com/customstatus/customstatus/extra\n\nrequire github.com/customstatus/customstatus v0.4.0\n",
		}, "at several versions"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := checkout(t)
			write(t, dir, tt.files)
			if _, err := tree.Load(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}
