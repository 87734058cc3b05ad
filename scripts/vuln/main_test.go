package main

import (
	"encoding/json"
	"io"
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

// TestCheck runs govulncheck itself: on a module that calls a vulnerable
// function, on one that only imports the package, and on one that requires a
// fixed version. The database has the layout of the real one.
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

// machine makes a database with one vulnerability, and an environment whose
// module proxy has the vulnerable module.
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
	write(t, source, map[string]string{"go.mod": "module example.com/dep\n\ngo 1.25.0\n", "dep.go": "package dep\n\nfunc Leak() {}\n\nfunc Keep() {}\n"})
	publish(t, proxy, "example.com/dep", "v1.2.3", source)
	publish(t, proxy, "example.com/dep", "v1.3.0", source)
	return known, append(os.Environ(), "GOWORK=off", "GOPROXY="+tree.FileURL(proxy), "GOSUMDB=off",
		"GOMODCACHE="+t.TempDir(), "GOFLAGS=-mod=mod -modcacherw")
}

// publish adds a version of a module to a module proxy.
func publish(t *testing.T, proxy, name, version, source string) {
	t.Helper()
	var zipped strings.Builder
	if err := zip.CreateFromDir(&zipped, module.Version{Path: name, Version: version}, source); err != nil {
		t.Fatal(err)
	}
	info, err := json.Marshal(map[string]string{"Version": version})
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(proxy, filepath.FromSlash(name))
	write(t, filepath.Join(dir, "@v"), map[string]string{
		"list": "", version + ".info": string(info), version + ".mod": string(mod), version + ".zip": zipped.String(),
	})
	write(t, dir, map[string]string{"@latest": string(info)})
}

// TestDownloadRefuses has a database with another checksum, and one whose
// entries are in another place, so that nothing would be found.
func TestDownloadRefuses(t *testing.T) {
	proxy, source := t.TempDir(), t.TempDir()
	write(t, source, map[string]string{"go.mod": "module " + database + "\n", "GO-2026-0001.json": "{}"})
	publish(t, proxy, database, version, source)
	t.Setenv("GOPROXY", tree.FileURL(proxy))
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOSUMDB", "off")
	t.Setenv("GOFLAGS", "-modcacherw")
	for _, tt := range []struct {
		latest bool
		want   string
	}{
		{false, "has the checksum"},
		{true, "has 0 entries in data/osv"},
	} {
		if _, err := download(tt.latest, t.TempDir(), io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("latest %t: error %v, want one with %q", tt.latest, err, tt.want)
		}
	}
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
