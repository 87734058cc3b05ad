package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// build makes a program of the repository, and returns its path.
func build(t *testing.T, command string) string {
	t.Helper()
	ofThisTree()
	program := filepath.Join(t.TempDir(), filepath.Base(command))
	run(t, root, nil, "go", "build", "-o", program, "./"+command)
	return program
}

// run runs a program to its end and returns what it prints.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

var (
	called = regexp.MustCompile(`(?:^|[\s/])customstatusd((?: +(?:[a-z]+|-{1,2}[a-z-]+(?:[= ][^-\s|;&)]\S*)?))+)`)
	flag   = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// TestPrograms runs what the pages say about programs.
func TestPrograms(t *testing.T) {
	program := build(t, "cmd/customstatusd")
	t.Run("commands", func(t *testing.T) { testCommands(t, program) })
	t.Run("README", func(t *testing.T) { testREADME(t, program) })
	t.Run("wire", func(t *testing.T) { testWire(t, program) })
}

// testCommands: customstatusd has each command and each flag that a page names.
func testCommands(t *testing.T, program string) {
	help := make(map[string]string)
	helpOf := func(command ...string) string {
		name := strings.Join(command, " ")
		if _, known := help[name]; !known {
			help[name] = run(t, ".", nil, program, append(command, "--help")...)
		}
		return help[name]
	}
	for _, b := range blocks(t, "sh", "console", "bash") {
		for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
			line, _, _ = strings.Cut(line, " #")
			for _, m := range called.FindAllStringSubmatch(line, -1) {
				words := strings.Fields(m[1])
				command := []string{"serve"}
				switch {
				case words[0] == "token" && len(words) > 1:
					command = words[:2]
				case !strings.HasPrefix(words[0], "-"):
					command = words[:1]
				}
				text := helpOf(command...)
				if !strings.Contains(text, "customstatusd "+strings.Join(command, " ")) {
					t.Errorf("%v: customstatusd has no command %q", b, command)
				}
				for _, f := range flag.FindAllString(m[1], -1) {
					if !strings.Contains(text, f) {
						t.Errorf("%v: customstatusd %q has no flag %s", b, command, f)
					}
				}
			}
		}
	}

	page := read(t, "docs/commands.md")
	_, flags, _ := strings.Cut(helpOf("serve"), "\nFlags:\n")
	for _, f := range regexp.MustCompile(`(?m)^ +(--[a-z-]+)`).FindAllStringSubmatch(flags, -1) {
		if f[1] != "--help" && !strings.Contains(page, "`"+f[1]) {
			t.Errorf("docs/commands.md lacks the flag %s of serve", f[1])
		}
	}
}

// serve runs customstatusd in a new directory, with the credentials beside it.
func serve(t *testing.T, program string) (dir, addr string) {
	t.Helper()
	dir = t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(program, "--addr", "127.0.0.1:0", "--credentials-file", "credentials")
	server.Dir, server.Stderr = dir, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		if err := server.Wait(); err != nil {
			t.Error(err)
		}
		log.Close()
	})
	listens := regexp.MustCompile(`listening addr=(127\.0\.0\.1:\d+)`)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile(log.Name())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the server does not start: %v\n%s", err, text)
		}
		if m := listens.FindSubmatch(text); m != nil {
			return dir, string(m[1])
		}
	}
}

// shell runs a script, and fails if the script does.
func shell(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "-e")
	c.Dir, c.Stdin = dir, strings.NewReader(script)
	c.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, script)
	}
	return string(out)
}

// changing is what differs between two runs.
var changing = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d{2}-\d{2}T[\d:.]+Z|\d+-[0-9a-f]{16}|retry: \d+`)

// testWire runs the commands of docs/wire.md, one block behind another in one shell, and
// compares what each prints with the block below it.
func testWire(t *testing.T, program string) {
	const end = "=== end of a block"
	var script strings.Builder
	var want []string
	all, _ := parse("docs/wire.md", read(t, "docs/wire.md"))
	for i, b := range all {
		if b.language != "sh" || strings.HasPrefix(b.text, "go run ") {
			continue
		}
		script.WriteString(b.text + "\necho '" + end + "'\n")
		output := ""
		if i+1 < len(all) && all[i+1].language != "sh" {
			output = all[i+1].text
		}
		want = append(want, output)
	}
	dir, addr := serve(t, program)
	out := shell(t, dir, strings.ReplaceAll(script.String(), "127.0.0.1:3000", addr))
	got := strings.Split(out, end+"\n")
	if len(got) != len(want)+1 || len(want) < 7 {
		t.Fatalf("%d blocks gave %d outputs:\n%s", len(want), len(got)-1, out)
	}
	same := func(text string) string { return changing.ReplaceAllString(strings.TrimSpace(text), "…") }
	for i := range want {
		if same(got[i]) != same(want[i]) {
			t.Errorf("block %d of docs/wire.md printed\n%s\nwant\n%s", i+1, got[i], want[i])
		}
	}
}

// testREADME runs the curl lines of the README.
func testREADME(t *testing.T, program string) {
	dir, addr := serve(t, program)
	lines := 0
	all, _ := parse("README.md", read(t, "README.md"))
	for _, b := range all {
		for line := range strings.Lines(b.text) {
			if b.language != "sh" || !strings.HasPrefix(line, "curl ") {
				continue
			}
			lines++
			line = strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "127.0.0.1:3000", addr)
			want := `"success":true}`
			if strings.Contains(line, " -N ") { // it goes on until it is told to end
				line, want = "timeout 1 "+line+" || true", "event: ready"
			}
			if got := shell(t, dir, line); !strings.Contains(got, want) {
				t.Errorf("%s\nprinted %s", line, got)
			}
		}
	}
	if lines < 3 {
		t.Errorf("the README has %d curl lines", lines)
	}
}

// TestTutorial does what the tutorial says in an empty directory, up to the start.
func TestTutorial(t *testing.T) {
	whole, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	all, _ := parse("docs/tutorial.md", read(t, "docs/tutorial.md"))
	for _, b := range all {
		if b.language == "sh" {
			script.WriteString(b.text)
		}
	}
	text := script.String()
	for from, to := range map[string]string{
		"git clone https://github.com/customstatus/customstatus\n": "ln -s '" + whole + "' customstatus\n",
		"go run .\n": "go vet .\n",
	} {
		if !strings.Contains(text, from) {
			t.Fatalf("docs/tutorial.md lacks %q", from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	shell(t, t.TempDir(), text)
}
