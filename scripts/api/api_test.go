package main

import (
	"bytes"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module makes a copy of the module in testdata/lib and adds the files. It
// removes a file whose content is empty.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/lib")); err != nil {
		t.Fatal(err)
	}
	// In testdata, the file would make a module of this repository.
	add(t, dir, map[string]string{"go.mod": "module example.com/lib\n\ngo 1.25.0\n"})
	add(t, dir, files)
	return dir
}

// alone is module without the files that need the standard library, which takes
// far longer to read than the module.
func alone(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := module(t, files)
	add(t, dir, map[string]string{"std.go": ""})
	return dir
}

func add(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if content == "" {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// edited returns a file of testdata/lib with from replaced by to.
func edited(t *testing.T, name, from, to string) map[string]string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "lib", name))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(content), from) != 1 {
		t.Fatalf("%q is not once in %s", from, name)
	}
	return map[string]string{name: strings.Replace(string(content), from, to, 1)}
}

// outsideGoWork makes the go command find the go.work of its own directory,
// whatever the environment of the tests.
func outsideGoWork(t *testing.T) {
	t.Helper()
	t.Setenv("GOWORK", "")
}

// surfacesIn returns the files for the module in dir on these platforms.
func surfacesIn(t *testing.T, dir string, on ...platform) map[string][]byte {
	t.Helper()
	surfaces, err := surfaces(dir, []string{"."}, on)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for pkg, text := range surfaces {
		files[strings.TrimPrefix(pkg, "example.com/")+".txt"] = text
	}
	return files
}

func TestSurface(t *testing.T) {
	outsideGoWork(t)
	// The environment of a user is not part of the surface.
	t.Setenv("GOFLAGS", "-tags=windows")
	t.Setenv("GOOS", "plan9")
	got := surfacesIn(t, module(t, nil), platforms()...)
	want, err := read(filepath.Join("testdata", "api"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("the files are %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
	for name, text := range want {
		if !bytes.Equal(got[name], text) {
			t.Errorf("%s:\n%s\nwant what testdata/api has:\n%s", name, got[name], text)
		}
	}
}

func TestSameShowsWhatChanged(t *testing.T) {
	outsideGoWork(t)
	linux := platforms()[0]
	committed := filepath.Join(t.TempDir(), "api")
	if err := write(committed, surfacesIn(t, alone(t, nil), linux), io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		file string
		from string
		to   string
		want []string // the lines of the difference; none if there is none
	}{
		{"ReformattedIsTheSame", "lib.go", "small = 120, 1\n", "small = 100+20, 2\n", nil},
		{"PrivateIsTheSame", "lib.go", "type unused struct{ Field int }", "type unused struct{ Field string }", nil},
		{
			"SignatureChanged", "lib.go",
			"func Open(name string,", "func Open(name []byte,",
			[]string{
				"-func Open(name string, opts *Options) (*Store, error)",
				"+func Open(name []byte, opts *Options) (*Store, error)",
			},
		},
		{"ParametersSwapped", "lib.go", "Copy(from, to string)", "Copy(to, from string)", []string{
			"-func Copy(from string, to string)",
			"+func Copy(to string, from string)",
		}},
		{"MethodAdded", "lib.go", "func (f Func) Do()", "func (f Func) Undo() {}\n\nfunc (f Func) Do()", []string{
			"+method (Func) Undo()",
		}},
		{"MethodNeedsPointer", "lib.go", "func (s Store) Len() int", "func (s *Store) Len() int", []string{
			"-method (Store) Len() int",
			"+method (*Store) Len() int",
		}},
		{"ConstantRemoved", "lib.go", "const Limit, small = 120, 1\n", "const small = 1\n", []string{
			"-const Limit untyped int = 120",
		}},
		{"ConstantChanged", "lib.go", "Limit, small = 120, 1", "Limit, small = 121, 1", []string{
			"-const Limit untyped int = 120",
			"+const Limit untyped int = 121",
		}},
		{"FieldAdded", "lib.go", "X, Y int", "X, Y, Z int", []string{"+field Point.Z int"}},
		{"TagChanged", "lib.go", "`json:\"name\"`", "`json:\"title\"`", []string{
			`-field Options.Name string, tag "json:\"name\""`,
			`+field Options.Name string, tag "json:\"title\""`,
		}},
		{"NoLongerComparable", "lib.go", "X, Y int }", "X, Y int; z []int }", []string{
			"-type Point struct, comparable",
			"+type Point struct, unexported fields",
		}},
		{"InterfaceGrows", "lib.go", "\tGet(key string) ([]byte, error)", "\tGet(key string) ([]byte, error)\n\tLen() int", []string{
			"+method (Getter) Len() int",
			"+method (Sealed) Len() int",
		}},
		{"InterfaceIsSealed", "lib.go", "\tGet(key string) ([]byte, error)", "\tGet(key string) ([]byte, error)\n\tseal()", []string{
			"-type Getter interface",
			"+type Getter interface, unexported methods",
		}},
		{"ConstraintChanged", "lib.go", "~int | ~float64", "~int", []string{
			"-type Number interface {~int | ~float64}",
			"+type Number interface {~int}",
		}},
		{"PromotedMethodGone", "lib.go", "func (deeper) Depth() int", "func (unused) Depth() int", []string{
			"-method (Store) Depth() int",
		}},
		{"HiddenFieldAdded", "internal/hidden/hidden.go", "Depth int }", "Depth, Width int }", []string{
			"+field example.com/lib/internal/hidden.Config.Width int",
		}},
		{"HiddenMethodAdded", "lib.go", "func (t *thing) Use()", "func (t *thing) Reuse() {}\n\nfunc (t *thing) Use()", []string{
			"+method (*thing) Reuse()",
		}},
		{"ValueOfAVariableIsTheSame", "lib.go", "private = High, 0", "private = Low, 0", nil},
		{"VariableIsAnInt", "lib.go", "private = High, 0", "private = int(High), 0", []string{
			"-var Default Level",
			"+var Default int",
		}},
		{"PackageRenamed", "sub/sub.go", "package other", "package sub", []string{
			`-package other // import "example.com/lib/sub"`,
			`+package sub // import "example.com/lib/sub"`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := surfacesIn(t, alone(t, edited(t, c.file, c.from, c.to)), linux)
			wantDifference(t, same(committed, now), c.want)
		})
	}

	t.Run("PackageAdded", func(t *testing.T) {
		now := surfacesIn(t, alone(t, map[string]string{"more/more.go": "package more\n\nfunc F() {}\n"}), linux)
		wantDifference(t, same(committed, now), []string{
			"+# written by make api",
			`+package more // import "example.com/lib/more"`,
			"+",
			"+func F()",
		})
	})
	t.Run("PackageRemoved", func(t *testing.T) {
		now := surfacesIn(t, alone(t, map[string]string{"sub/sub.go": ""}), linux)
		wantDifference(t, same(committed, now), []string{
			"-# written by make api",
			`-package other // import "example.com/lib/sub"`,
			"-",
			"-func Level() example.com/lib.Level",
		})
	})
	t.Run("NothingCommitted", func(t *testing.T) {
		err := same(filepath.Join(t.TempDir(), "api"), map[string][]byte{"lib.txt": []byte("a\n")})
		wantDifference(t, err, []string{"+a"})
	})
}

// wantDifference checks that err has exactly these lines and the advice.
func wantDifference(t *testing.T, err error, want []string) {
	t.Helper()
	if len(want) == 0 {
		if err != nil {
			t.Errorf("a difference where there is none: %v", err)
		}
		return
	}
	if err == nil {
		t.Fatal("no difference was found")
	}
	if advice := "run make api and commit the result if the change is meant"; !strings.HasSuffix(err.Error(), advice) {
		t.Errorf("the error does not end in %q: %v", advice, err)
	}
	var got []string
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSuffix(line, "\n")
		file := strings.HasPrefix(line, "---") || strings.HasPrefix(line, "+++")
		if !file && (strings.HasPrefix(line, "-") || strings.HasPrefix(line, "+")) {
			got = append(got, line)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the difference is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPackageThatDoesNotCompileIsNamed(t *testing.T) {
	outsideGoWork(t)
	for _, c := range []struct {
		name, file, from, to string
		want                 []string
	}{
		{"InABody", "sub/sub.go", "return lib.High", "return lib.Higher", []string{
			"for linux/amd64:", "example.com/lib/sub does not compile:", "sub/sub.go:5:37: undefined: lib.Higher",
		}},
		{"InTheSyntax", "sub/sub.go", "{ return lib.High }", "{", []string{"sub/sub.go:5:"}},
		{"ImportIsNowhere", "sub/sub.go", "example.com/lib\"", "example.com/lib/gone\"", []string{"example.com/lib/gone"}},
		{"InAnInternalPackage", "internal/hidden/hidden.go", "c.Depth = depth", "c.Depth = wrong", []string{
			"example.com/lib/internal/hidden does not compile:", "undefined: wrong",
		}},
		{"OnOnePlatform", "only_linux.go", "func OnlyLinux() {}", "func OnlyLinux() int {}", []string{
			"for linux/amd64:", "example.com/lib does not compile:", "only_linux.go:3:23: missing return",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := surfaces(alone(t, edited(t, c.file, c.from, c.to)), []string{"."}, platforms()[:1])
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error has no %q: %v", want, err)
				}
			}
			// A package that only imports the faulty one is not reported.
			if got := strings.Count(err.Error(), "does not compile"); got > 1 {
				t.Errorf("%d packages are blamed: %v", got, err)
			}
		})
	}
	t.Run("OnAnotherPlatform", func(t *testing.T) {
		files := map[string]string{"path_windows.go": "package lib\n\nconst Separator = wrong\n"}
		_, err := surfaces(alone(t, files), []string{"."}, platforms())
		if err == nil || !strings.Contains(err.Error(), "for windows/amd64:") {
			t.Errorf("want an error for windows/amd64, got %v", err)
		}
	})
}

// TestRun runs the command in a repository like ours.
func TestRun(t *testing.T) {
	outsideGoWork(t)
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	goMod := func(name string) string { return "module example.com/lib" + name + "\n\ngo 1.25.0\n" }
	add(t, dir, map[string]string{
		"go.work":              "go 1.26.0\n\nuse (\n\t.\n\t./cmd/tool\n\t./stores/sql\n)\n",
		"go.mod":               goMod(""),
		"lib.go":               "package lib\n\nconst Word = 1\n",
		"sub/sub.go":           "package sub\n\nfunc F() {}\n",
		"examples/own/own.go":  "package own\n\nfunc Own() {}\n",
		"internal/in/in.go":    "package in\n\nfunc In() {}\n",
		"cmd/tool/go.mod":      goMod("/cmd/tool"),
		"cmd/tool/lib/lib.go":  "package lib\n\nfunc Tool() {}\n",
		"stores/sql/go.mod":    goMod("/stores/sql"),
		"stores/sql/sql.go":    "package sql\n\nfunc Open() {}\n",
		"stores/sql/in/it.go":  "package in\n\nimport \"example.com/lib/stores/sql\"\n\nfunc In() { sql.Open() }\n",
		"api/lib/removed.txt":  "func Removed()\n",
		"api/lib/notes.md":     "not ours\n",
		"api/lib/stores/a.txt": "func A()\n",
	})

	if err := run(dir, true, io.Discard); err == nil {
		t.Error("api -check passed before the files were written")
	}
	var out strings.Builder
	if err := run(dir, false, &out); err != nil {
		t.Fatal(err)
	}
	written := "removed api/lib/removed.txt\nremoved api/lib/stores/a.txt\n" +
		"wrote api/lib.txt\nwrote api/lib/stores/sql.txt\nwrote api/lib/stores/sql/in.txt\nwrote api/lib/sub.txt\n"
	if out.String() != written {
		t.Errorf("it printed\n%swant\n%s", &out, written)
	}
	if _, err := os.Stat(filepath.Join(dir, "api", "lib", "notes.md")); err != nil {
		t.Error("a file that it did not write is gone:", err)
	}

	out.Reset()
	if err := run(dir, true, &out); err != nil {
		t.Error(err)
	}
	if want := "the exported surface of 4 packages is as in api/\n"; out.String() != want {
		t.Errorf("it printed %q, want %q", &out, want)
	}
	out.Reset()
	if err := run(dir, false, &out); err != nil {
		t.Error(err)
	}
	if out.Len() > 0 {
		t.Errorf("it wrote again what was there: %s", &out)
	}

	add(t, dir, map[string]string{"stores/sql/sql.go": "package sql\n\nfunc Open() {}\n\nfunc Close() {}\n"})
	wantDifference(t, run(dir, true, io.Discard), []string{"+func Close()"})
	add(t, dir, map[string]string{"examples/own/own.go": "package own\n\nfunc Other() {}\n"})
	wantDifference(t, run(dir, true, io.Discard), []string{"+func Close()"})
}
