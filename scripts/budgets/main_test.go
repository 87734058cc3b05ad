package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const root = "github.com/customstatus/customstatus"

// lines returns a Go file of n lines, or more if the imports need more.
func lines(pkg string, n int, imports ...string) string {
	var s strings.Builder
	s.WriteString("package " + pkg + "\n")
	for _, i := range imports {
		s.WriteString("import _ \"" + i + "\"\n")
	}
	return s.String() + strings.Repeat("//\n", max(0, n-strings.Count(s.String(), "\n")))
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		over  []string
	}{
		{"all in order", map[string]string{
			"a.go":                       lines("customstatus", 500, "fmt", root+"/internal/table"),
			"b.go":                       lines("customstatus", 500),
			"c.go":                       lines("customstatus", 500),
			"d.go":                       lines("customstatus", 500),
			"e.go":                       lines("customstatus", 500),
			"a_test.go":                  lines("customstatus_test", 700, root),
			"internal/table/t.go":        lines("table", 1, root+"/internal/fold"),
			"internal/fold/f.go":         lines("fold", 1),
			"httpadapter/h.go":           lines("httpadapter", 1, root),
			"httpadapter/h_test.go":      lines("httpadapter_test", 1, root+"/httpadapter/tokenauth"),
			"httpadapter/tokenauth/t.go": lines("tokenauth", 1, root+"/httpadapter"),
			"tools/main.go":              lines("main", 500, root+"/httpadapter/tokenauth"),
		}, nil},
		{"long files", map[string]string{
			"sub/a.go":           lines("sub", 501),
			"sub/a_test.go":      lines("sub", 701),
			"tools/main.go":      lines("main", 502),
			"tools/main_test.go": lines("main", 500),
		}, []string{
			"sub/a.go has 501 lines, at most 500 are allowed",
			"sub/a_test.go has 701 lines, at most 700 are allowed",
			"tools/main.go has 502 lines, at most 500 are allowed",
		}},
		{"a long root package", map[string]string{
			"a.go": lines("customstatus", 500), "b.go": lines("customstatus", 500), "c.go": lines("customstatus", 500),
			"d.go": lines("customstatus", 500), "e.go": lines("customstatus", 500), "f.go": lines("customstatus", 1),
		}, []string{"the root package has 2501 lines without its tests, at most 2500 are allowed"}},
		{"imports that climb", map[string]string{
			"a.go":                     lines("customstatus", 1),
			"salvage/s.go":             lines("salvage", 1),
			"internal/table/t.go":      lines("table", 3, root),
			"internal/table/t_test.go": lines("table_test", 3, root+"/salvage"),
		}, []string{
			"internal/table/t.go imports " + root + ": nothing in internal may import a public package of this module",
			"internal/table/t_test.go imports " + root + "/salvage: nothing in internal may import a public package of this module",
		}},
		{"an adapter that knows tokens and the command", map[string]string{
			"httpadapter/a.go":              lines("httpadapter", 3, root+"/httpadapter/tokenauth"),
			"httpadapter/internal/b/b.go":   lines("b", 3, root+"/cmd/customstatusd"),
			"httpadapter/tokenauth/auth.go": lines("tokenauth", 3),
		}, []string{
			"httpadapter/a.go imports " + root + "/httpadapter/tokenauth: httpadapter has to do without",
			"httpadapter/internal/b/b.go imports " + root + "/cmd/customstatusd: httpadapter has to do without",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := run(checkout(t, tt.files), &out)
			if (err != nil) != (len(tt.over) > 0) {
				t.Errorf("error %v", err)
			}
			if got, want := out.String(), strings.Join(tt.over, "\n"); len(tt.over) > 0 && got != want+"\n" {
				t.Errorf("printed\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// checkout makes a repository of two modules with the files.
func checkout(t *testing.T, files map[string]string) string {
	t.Helper()
	t.Setenv("GOWORK", "") // whatever the tests themselves run with
	dir := t.TempDir()
	add := func(name, content string) {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	add("go.work", "go 1.26.0\n\nuse (\n\t.\n\t./tools\n)\n")
	add("go.mod", "module "+root+"\n\ngo 1.25.0\n")
	add("tools/go.mod", "module "+root+"/tools\n\ngo 1.26.0\n")
	for name, content := range files {
		add(name, content)
	}
	if out, err := exec.Command("git", "-C", dir, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	return dir
}
