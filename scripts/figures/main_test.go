package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	for _, tt := range []struct{ name, events, want string }{
		{"figures", `{"Action":"run","Package":"example.com/a/p","Test":"TestA"}
{"Action":"attr","Package":"example.com/a/p","Test":"TestA","Key":"rounds","Value":"40"}
{"Action":"build-output","ImportPath":"q","Output":"./q.go:1:2: undefined: x\n"}
{"Action":"attr","Package":"example.com/a/q","Test":"TestB/one","Key":"lost","Value":"0 of 9"}
{"Action":"pass","Package":"example.com/a/q"}
`, "\n=== Figures\np TestA: rounds=40\nq TestB/one: lost=0 of 9\n"},
		{"none", `{"Action":"pass","Package":"p"}`, ""},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			if err := run(strings.NewReader(tt.events), &out); err != nil {
				t.Fatal(err)
			}
			if out.String() != tt.want {
				t.Errorf("printed %q, want %q", out.String(), tt.want)
			}
		})
	}
	if err := run(strings.NewReader("no JSON"), &strings.Builder{}); err == nil {
		t.Error("what is no JSON is taken for events")
	}
}

// TestScript runs scripts/test on modules that pass, and on modules that fail
// in each possible way.
func TestScript(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash")
	}
	script, err := filepath.Abs("../test")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, test string
		flags      []string
		fails      bool
		says       []string
	}{
		{
			name: "pass, skip and figure",
			test: `func TestA(t *testing.T) { t.Attr("rounds", "40") }
				func TestB(t *testing.T) { t.Skip("needs a browser") }`,
			flags: []string{"-cover"},
			says: []string{"ok  \texample.com/m", "coverage: [no statements]", "=== SKIP: . TestB", "needs a browser",
				"DONE 2 tests, 1 skipped in", "m TestA: rounds=40"},
		},
		{
			name:  "failure",
			test:  `func TestA(t *testing.T) { t.Attr("rounds", "7"); t.Error("the reason") }`,
			fails: true,
			says:  []string{"=== FAIL: . TestA", "the reason", "DONE 1 tests, 1 failure in", "m TestA: rounds=7"},
		},
		{
			name:  "panic",
			test:  `func TestA(t *testing.T) { panic("the reason") }`,
			fails: true,
			says:  []string{"panic: the reason", "1 failure"},
		},
		{
			name:  "end of the process in the middle of a test",
			test:  "func TestA(t *testing.T) { os.Exit(0) }",
			fails: true,
			says:  []string{"unexpected call to os.Exit(0) during test"},
		},
		{
			name:  "a package that fails after its tests passed",
			test:  "func TestA(t *testing.T) {}\nfunc TestMain(m *testing.M) { m.Run(); os.Exit(1) }",
			fails: true,
			says:  []string{"FAIL\texample.com/m"},
		},
		{
			name:  "code that does not compile",
			test:  "func TestA(t *testing.T) { undefined() }",
			fails: true,
			says:  []string{"undefined: undefined"},
		},
		{
			name:  "time-out",
			test:  "func TestA(t *testing.T) { select {} }",
			flags: []string{"-timeout", "1ms"},
			fails: true,
			says:  []string{"test timed out after 1ms"},
		},
		{
			name:  "flag that go test does not know",
			test:  "func TestA(t *testing.T) {}",
			flags: []string{"-unheard-of"},
			fails: true,
			says:  []string{"unheard-of"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, content := range map[string]string{
				"go.mod":    "module example.com/m\n\ngo 1.26.0\n",
				"m_test.go": "package m\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nvar _ = os.Getpid\n\n" + tt.test + "\n",
			} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(script, tt.flags...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if (err != nil) != tt.fails {
				t.Errorf("error %v, want one: %t", err, tt.fails)
			}
			for _, want := range tt.says {
				if !strings.Contains(string(out), want) {
					t.Errorf("does not say %q", want)
				}
			}
			if t.Failed() {
				t.Logf("printed\n%s", out)
			}
		})
	}
}
