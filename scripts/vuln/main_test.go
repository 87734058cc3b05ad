package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/customstatus/customstatus/scripts/internal/tree"
)

func TestReport(t *testing.T) {
	r, err := read(strings.NewReader(`{"config":{"scanner_name":"govulncheck"}}
{"SBOM":{"go_version":"go1.26.8"}}
{"osv":{"id":"GO-1","summary":"a server crashes"}}
{"osv":{"id":"GO-2","summary":"a parser never ends"}}
{"osv":{"id":"GO-3","summary":"a key leaks"}}
{"finding":{"osv":"GO-1","fixed_version":"v1.26.9","trace":[{"module":"stdlib","version":"v1.26.8"}]}}
{"finding":{"osv":"GO-2","trace":[{"module":"example.com/dep","version":"v1.0.0"}]}}
{"finding":{"osv":"GO-2","trace":[{"module":"example.com/dep","version":"v1.0.0","package":"example.com/dep"}]}}
{"finding":{"osv":"GO-3","fixed_version":"v1.2.0","trace":[
	{"module":"example.com/dep","version":"v1.0.0","package":"example.com/dep/sub","function":"Leak"},
	{"module":"example.com/own","package":"example.com/own","receiver":"*T","function":"Do"}]}}
{"finding":{"osv":"GO-3","fixed_version":"v1.2.0","trace":[{"module":"example.com/dep","version":"v1.0.0"}]}}
{"finding":{"osv":"GO-1","fixed_version":"v1.26.9","trace":[
	{"module":"stdlib","version":"v1.26.8","package":"net/http","function":"Serve"},
	{"module":"example.com/own","package":"example.com/own","function":"main"}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if reached := r.print(&out); reached != 1 {
		t.Errorf("%d are reached, want 1", reached)
	}
	s := newStandard()
	s.add("example.com/own", r)
	s.add("example.com/other", r)
	s.print(&out)
	want := `  CALLED: GO-3 example.com/dep v1.0.0, fixed in v1.2.0: a key leaks
      by way of example.com/own.*T.Do
  imported, not called: GO-2 example.com/dep v1.0.0, not fixed: a parser never ends

NOTE: 1 known vulnerabilities of this Go can be reached. A newer Go mends them:
  GO-1 stdlib v1.26.8, fixed in v1.26.9: a server crashes
      called by example.com/own, example.com/other
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, printed := range map[string]string{
		"nothing":                 "",
		"a text":                  "No vulnerabilities found.\n",
		"an end in the middle":    `{"SBOM":{}}{"osv":{`,
		"a scan that never began": `{"config":{"scanner_name":"govulncheck"}}`,
		"a finding without place": `{"SBOM":{}}{"finding":{"osv":"GO-1"}}`,
	} {
		if _, err := read(strings.NewReader(printed)); err == nil {
			t.Errorf("%s is taken for a report", name)
		}
	}
}

// TestCheck runs govulncheck itself: on a module that calls what is vulnerable, on
// one that only imports it, and on one that requires a version where it is fixed.
// The database has the layout of the real one.
func TestCheck(t *testing.T) {
	known, env := machine(t)
	path, err := tree.Run("", nil, "go", "tool", "-n", "govulncheck")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, version, program string
		reached                int
		says                   string
	}{
		{"called", "v1.2.3", "func main() { dep.Leak() }", 1, "CALLED: GO-2026-0001 example.com/dep v1.2.3, fixed in v1.3.0"},
		{"imported", "v1.2.3", "func main() { dep.Keep() }", 0, "imported, not called: GO-2026-0001"},
		{"fixed", "v1.3.0", "func main() { dep.Leak() }", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, map[string]string{
				"go.mod":  "module example.com/own\n\ngo 1.25.0\n\nrequire example.com/dep " + tt.version + "\n",
				"main.go": "package main\n\nimport \"example.com/dep\"\n\n" + tt.program + "\n",
			})
			r, err := check(strings.TrimSpace(path), dir, env, known)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if reached := r.print(&out); reached != tt.reached {
				t.Errorf("%d are reached, want %d", reached, tt.reached)
			}
			if !strings.Contains(out.String(), tt.says) || tt.says == "" && out.Len() > 0 {
				t.Errorf("printed %q, want %q", out.String(), tt.says)
			}
		})
	}
	t.Run("code that does not compile", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, map[string]string{"go.mod": "module example.com/own\n\ngo 1.25.0\n", "main.go": "package main\n\nfunc main() { undefined() }\n"})
		if _, err := check(strings.TrimSpace(path), dir, env, known); err == nil {
			t.Error("passes")
		}
	})
}

// machine makes a database of one vulnerability, and an environment whose module
// proxy has the module with it.
func machine(t *testing.T) (known string, env []string) {
	known, proxy := t.TempDir(), t.TempDir()
	write(t, known, map[string]string{"GO-2026-0001.json": `{
		"schema_version": "1.3.1", "id": "GO-2026-0001", "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z",
		"summary": "it leaks",
		"affected": [{
			"package": {"name": "example.com/dep", "ecosystem": "Go"},
			"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.3.0"}]}],
			"ecosystem_specific": {"imports": [{"path": "example.com/dep", "symbols": ["Leak"]}]}
		}],
		"database_specific": {"url": "https://pkg.go.dev/vuln/GO-2026-0001", "review_status": "REVIEWED"}
	}`})
	source := t.TempDir()
	mod := "module example.com/dep\n\ngo 1.25.0\n"
	write(t, source, map[string]string{"go.mod": mod, "dep.go": "package dep\n\nfunc Leak() {}\n\nfunc Keep() {}\n"})
	files := map[string]string{"list": "v1.2.3\nv1.3.0\n"}
	for _, v := range []string{"v1.2.3", "v1.3.0"} {
		var zipped strings.Builder
		if err := zip.CreateFromDir(&zipped, module.Version{Path: "example.com/dep", Version: v}, source); err != nil {
			t.Fatal(err)
		}
		info, err := json.Marshal(map[string]string{"Version": v})
		if err != nil {
			t.Fatal(err)
		}
		files[v+".info"], files[v+".mod"], files[v+".zip"] = string(info), mod, zipped.String()
	}
	write(t, filepath.Join(proxy, "example.com", "dep", "@v"), files)
	return known, append(os.Environ(), "GOWORK=off", "GOPROXY="+tree.FileURL(proxy), "GOSUMDB=off",
		"GOMODCACHE="+t.TempDir(), "GOFLAGS=-mod=mod -modcacherw")
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}
