package main

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// deployed is the directory with what runs the program elsewhere.
func deployed(t *testing.T, elements ...string) string {
	t.Helper()
	os.Getenv("CUSTOMSTATUS_TREE") // scripts/test says by it that these files have changed
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "deploy")); err != nil {
		t.Skip("this is the module alone: the files in deploy are NOT tested")
	}
	return filepath.Join(append([]string{root}, elements...)...)
}

// needProgram skips a test whose program is missing, or fails it where nothing may be
// skipped.
func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	} else if os.Getenv("CUSTOMSTATUS_REQUIRED") != "" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("%s is missing: what it says is NOT tested", name)
}

// documents returns the documents of a YAML file.
func documents(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for decoder := yaml.NewDecoder(f); ; {
		var one map[string]any
		err := decoder.Decode(&one)
		if err == io.EOF {
			return all
		}
		require.NoError(t, err, path)
		all = append(all, one)
	}
}

// look returns what is at a path of keys and indices.
func look(t *testing.T, value any, keys ...any) any {
	t.Helper()
	for _, key := range keys {
		switch key := key.(type) {
		case string:
			value = value.(map[string]any)[key]
		case int:
			value = value.([]any)[key]
		}
		require.NotNil(t, value, "%v", keys)
	}
	return value
}

func texts(list any) (all []string) {
	items, _ := list.([]any)
	for _, item := range items {
		all = append(all, item.(string))
	}
	return all
}

// accepts requires that serve takes these arguments and variables, and returns its settings.
func accepts(t *testing.T, args []string, env map[string]string) string {
	t.Helper()
	if len(args) > 0 && args[0] == serveName {
		args = args[1:]
	}
	var out, errs bytes.Buffer
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	code := run(t.Context(), append([]string{configName}, args...), nil, &out, &errs, lookup)
	require.Equal(t, exitOK, code, "%q %v\n%s", args, env, errs.String())
	return out.String()
}

// image returns the variables of the Dockerfile, its entry point with the arguments,
// and its health check.
func image(t *testing.T) (env map[string]string, start, health []string) {
	t.Helper()
	text, err := os.ReadFile(deployed(t, "deploy", "docker", "Dockerfile"))
	require.NoError(t, err)
	env = make(map[string]string)
	words := func(list string) (words []string) {
		require.NoError(t, yaml.Unmarshal([]byte(list), &words))
		return words
	}
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", "")) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch instruction {
		case "ENV":
			for pair := range strings.FieldsSeq(rest) {
				name, value, _ := strings.Cut(pair, "=")
				env[name] = value
			}
		case "ENTRYPOINT", "CMD":
			start = append(start, words(rest)...)
		case "HEALTHCHECK":
			_, command, _ := strings.Cut(rest, "CMD ")
			health = words(command)
		}
	}
	return env, start, health
}

func TestDockerfile(t *testing.T) {
	env, start, health := image(t)
	require.Equal(t, []string{"customstatusd", "serve"}, start)
	require.Equal(t, []string{"customstatusd", "healthcheck"}, health)
	require.Contains(t, env, "CUSTOMSTATUS_ADDR")
	accepts(t, start[1:], env)
	env["CUSTOMSTATUS_STORE"], env["CUSTOMSTATUS_TOKENS"] = "postgres://u@db.example/d", "/data/tokens"
	require.Contains(t, accepts(t, start[1:], env), "\nstore: postgres://u@db.example/d ")
}

// The settings in the compose files are those of the image with changes.
func TestCompose(t *testing.T) {
	for name, servers := range map[string]int{"one.yaml": 1, "three.yaml": 3} {
		path := deployed(t, "deploy", "compose", name)
		env, start, _ := image(t)
		found := 0
		for _, service := range look(t, documents(t, path)[0], "services").(map[string]any) {
			s := service.(map[string]any)
			if s["image"] != "customstatusd" {
				continue
			}
			found++
			require.Equal(t, true, s["read_only"])
			require.FileExists(t, filepath.Join(filepath.Dir(path), look(t, s, "build", "context").(string), look(t, s, "build", "dockerfile").(string)))
			own := maps.Clone(env)
			for key, value := range look(t, s, "environment").(map[string]any) {
				own[key] = value.(string)
			}
			accepts(t, append(start[1:], texts(s["command"])...), own)
		}
		require.Equal(t, servers, found, name)
	}
}

func TestKubernetes(t *testing.T) {
	for name, replicas := range map[string]int{"customstatus.yaml": 1, "shared.yaml": 3} {
		servers := 0
		imageEnv, _, _ := image(t)
		for _, object := range documents(t, deployed(t, "deploy", "kubernetes", name)) {
			require.NotEmpty(t, look(t, object, "metadata", "name"))
			if object["kind"] != "Deployment" {
				continue
			}
			servers++
			require.Equal(t, replicas, look(t, object, "spec", "replicas"))
			labels := look(t, object, "spec", "template", "metadata", "labels")
			require.Equal(t, labels, look(t, object, "spec", "selector", "matchLabels"))
			container := look(t, object, "spec", "template", "spec", "containers", 0).(map[string]any)
			env := maps.Clone(imageEnv)
			for _, variable := range container["env"].([]any) {
				v := variable.(map[string]any)
				value, given := v["value"].(string)
				if !given {
					value = "postgres://u:p@db.example/d"
				}
				env[v["name"].(string)] = value
			}
			accepts(t, texts(container["args"]), env)
			for _, probe := range []string{"startupProbe", "readinessProbe"} {
				require.Equal(t, []string{"customstatusd", "healthcheck"}, texts(look(t, container, probe, "exec", "command")))
			}
		}
		require.Equal(t, 1, servers, name)
	}
}

// unit returns the text of the unit, with the program at a path.
func unit(t *testing.T, program string) string {
	t.Helper()
	text, err := os.ReadFile(deployed(t, "deploy", "systemd", "customstatusd.service"))
	require.NoError(t, err)
	return strings.ReplaceAll(string(text), "/usr/local/bin/customstatusd", program)
}

// The unit has its database in its own directory, and its settings can be changed by the
// file of the variables, the store included.
func TestUnit(t *testing.T) {
	text := unit(t, "customstatusd")
	command := regexp.MustCompile(`(?m)^ExecStart=(\S+) (.*)$`).FindStringSubmatch(text)
	require.Len(t, command, 3)
	require.Contains(t, text, "\nWorkingDirectory=/var/lib/customstatus\n")
	require.Contains(t, text, "\nStateDirectory=customstatus\n")
	env := make(map[string]string)
	for line := range strings.Lines(text) {
		if pairs, ok := strings.CutPrefix(line, "Environment="); ok {
			for pair := range strings.FieldsSeq(pairs) {
				name, value, _ := strings.Cut(pair, "=")
				env[name] = value
			}
		}
	}
	require.Contains(t, accepts(t, strings.Fields(command[2]), env), "\ndb: customstatus.db ")
	env["CUSTOMSTATUS_STORE"], env["CUSTOMSTATUS_TOKENS"] = "postgres://u@db.example/d", "/var/lib/customstatus/tokens"
	require.Contains(t, accepts(t, strings.Fields(command[2]), env), "\nstore: postgres://u@db.example/d ")
}

// maxExposure is the greatest exposure that systemd may find in the unit, in tenths.
const maxExposure = "12"

func TestUnitLint(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	text := unit(t, program)
	needProgram(t, "systemd-analyze")
	path := filepath.Join(t.TempDir(), "customstatusd.service")
	// The manual page isn't installed where the tests run.
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(text, "Documentation=man:customstatusd(1)\n", "", 1)), 0o644))
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "customstatusd", "it has a complaint")
	out, err = exec.Command("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold="+maxExposure, path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	overall := regexp.MustCompile(`Overall exposure level for .*: ([0-9.]+)`).FindSubmatch(out)
	require.NotNil(t, overall)
	t.Attr("exposure", string(overall[1]))
}

func TestProxyLint(t *testing.T) {
	text, err := os.ReadFile(deployed(t, "deploy", "compose", "nginx.conf"))
	require.NoError(t, err)
	nodes := regexp.MustCompile(`server (node\d):3000;`)
	require.Len(t, nodes.FindAll(text, -1), 3)
	needProgram(t, "nginx")
	dir := t.TempDir()
	path := filepath.Join(dir, "nginx.conf")
	// The names of the servers are known inside of compose only.
	text = nodes.ReplaceAll(text, []byte("server 127.0.0.1:3000;"))
	require.NoError(t, os.WriteFile(path, append([]byte("pid "+dir+"/pid;\nerror_log "+dir+"/error.log;\n"), text...), 0o600))
	out, err := exec.Command("nginx", "-t", "-q", "-p", dir, "-c", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// Every variable and every flag that a file names exists.
func TestNamesInDeploy(t *testing.T) {
	variables := map[string]bool{fromTokenVariable: true}
	flags := map[string]bool{"--help": true}
	everyCommand(new(process).commands(), func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			flags["--"+f.Name] = true
			for _, name := range f.Annotations[environmentAnnotation] {
				variables[name] = true
			}
		})
	})
	variable := regexp.MustCompile(`CUSTOMSTATUS_[A-Z_]+`)
	command := regexp.MustCompile(`customstatusd(?: [a-z]+)*((?: --?[a-z].*)?)`)
	flag := regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*)`)
	seen := 0
	check := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, name := range variable.FindAllString(string(text), -1) {
			seen++
			require.True(t, variables[name], "%s: %s", path, name)
		}
		for line := range strings.Lines(string(text)) {
			for _, found := range command.FindAllStringSubmatch(line, -1) {
				for _, f := range flag.FindAllStringSubmatch(found[1], -1) {
					seen++
					require.True(t, flags[f[1]], "%s: %s", path, f[1])
				}
			}
		}
		return nil
	}
	for _, path := range []string{"deploy", "docs/operating.md", "docs/migrating.md"} {
		require.NoError(t, filepath.WalkDir(deployed(t, filepath.FromSlash(path)), check))
	}
	require.Greater(t, seen, 40)
}

// The release has the targets that every change is built for.
func TestReleaseTargets(t *testing.T) {
	text, err := os.ReadFile(deployed(t, "scripts", "crossbuild"))
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^targets='([^']+)'$`).FindSubmatch(text)
	require.NotNil(t, m)
	var want []string
	builds := documents(t, deployed(t, ".goreleaser.yaml"))[0]["builds"].([]any)
	require.Len(t, builds, 2)
	for _, build := range builds {
		want = nil
		for _, goos := range texts(look(t, build, "goos")) {
			for _, goarch := range texts(look(t, build, "goarch")) {
				want = append(want, goos+"/"+goarch)
			}
		}
	}
	require.Equal(t, want, strings.Fields(string(m[1])))
	require.True(t, slices.Contains(want, "windows/arm64"))
}

// The files of the forge can be read, and call what exists.
func TestForgeFiles(t *testing.T) {
	makefile, err := os.ReadFile(deployed(t, "Makefile"))
	require.NoError(t, err)
	steps := 0
	err = filepath.WalkDir(deployed(t, ".github"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yml" {
			return err
		}
		file := documents(t, path)
		require.Len(t, file, 1, path)
		jobs, _ := file[0]["jobs"].(map[string]any)
		for _, job := range jobs {
			require.NotNil(t, look(t, file[0], "permissions"), "%s: a workflow gets no more than it needs", path)
			for _, step := range look(t, job, "steps").([]any) {
				steps++
				s := step.(map[string]any)
				if uses, ok := s["uses"].(string); ok {
					require.Regexp(t, `^[\w-]+/[\w-]+@v\d+$`, uses)
				} else if target, ok := strings.CutPrefix(s["run"].(string), "make "); ok {
					require.Contains(t, string(makefile), "\n"+target+": ## ")
				}
			}
		}
		return nil
	})
	require.NoError(t, err)
	require.Greater(t, steps, 5)
}
