package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// configured runs the program with variables, and with text in the configuration file.
func configured(t *testing.T, want int, text string, variables map[string]string, args ...string) (stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if text != "" {
		require.NoError(t, os.WriteFile("c.yaml", []byte(text), 0o600))
		args = append(args, "--config", "c.yaml")
	}
	env := func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
	var out, errs bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), &out, &errs, env)
	require.Equal(t, want, code, "%q\n%s%s", args, out.String(), errs.String())
	require.NotContains(t, out.String()+errs.String(), "hunter2")
	return out.String(), errs.String()
}

// settingLine returns what config says of a key.
func settingLine(t *testing.T, out, key string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, key+":") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}

// A flag wins over its variable, the variable over the file, and the file over the default.
func TestPrecedence(t *testing.T) {
	file := "# comment\nprefix: /file/\n\naddr: 127.0.0.1:1\n"
	variable := map[string]string{"CUSTOMSTATUS_PREFIX": "/variable/", "CUSTOMSTATUS_ADDR": ""}
	for _, tt := range []struct {
		text      string
		variables map[string]string
		args      []string
		want      string
	}{
		{"", nil, nil, "prefix: /api/v1/ # default"},
		{file, nil, nil, "prefix: /file/ # c.yaml:2"},
		{"", variable, nil, "prefix: /variable/ # $CUSTOMSTATUS_PREFIX"},
		{file, variable, nil, "prefix: /variable/ # $CUSTOMSTATUS_PREFIX"},
		{file, variable, []string{"--prefix", "/flag/"}, "prefix: /flag/ # --prefix"},
	} {
		out, _ := configured(t, exitOK, tt.text, tt.variables, append([]string{"config"}, tt.args...)...)
		require.Equal(t, tt.want, settingLine(t, out, "prefix"))
		if tt.text != "" {
			require.Equal(t, "addr: 127.0.0.1:1 # c.yaml:4", settingLine(t, out, "addr"), "an empty variable counts as not set")
		}
	}
}

// Each place for the catalog puts both names of weaker places out of force.
func TestPrecedenceOfStores(t *testing.T) {
	for _, tt := range []struct {
		text      string
		variables map[string]string
		args      []string
		want      string
	}{
		{"db: f.db", nil, nil, "db: f.db # c.yaml:1"},
		{"store: bolt:f.db", nil, nil, "store: bolt:f.db # c.yaml:1"},
		{"store: bolt:f.db", map[string]string{"CUSTOMSTATUS_DB": "v.db"}, nil, "db: v.db # $CUSTOMSTATUS_DB"},
		{"db: f.db", map[string]string{"CUSTOMSTATUS_STORE": "bolt:v.db"}, nil, "store: bolt:v.db # $CUSTOMSTATUS_STORE"},
		{"db: f.db", map[string]string{"CUSTOMSTATUS_DB": "v.db"}, []string{"--store", "bolt:x.db"}, "store: bolt:x.db # --store"},
		{"store: bolt:f.db", nil, []string{"--db", "x.db"}, "db: x.db # --db"},
		{"store: postgres://chat:hunter2@db.example/chat?sslmode=disable", nil, nil, "store: postgres://chat@db.example/chat # c.yaml:1, with a password"},
		{"", map[string]string{"CUSTOMSTATUS_STORE": "etcd://u:hunter2@a:1/p"}, nil, "store: etcd://u@a:1/p # $CUSTOMSTATUS_STORE, with a password"},
	} {
		out, _ := configured(t, exitOK, tt.text, tt.variables, append([]string{"config", "--tokens", "x"}, tt.args...)...)
		require.Equal(t, tt.want, settingLine(t, out, "db")+settingLine(t, out, "store"))
	}
}

func TestConfigFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"addr: 127.0.0.1:0\nadr: x":                  `c.yaml:2: unknown key "adr"; "customstatusd config" lists the keys`,
		"config: x":                                  `c.yaml:1: unknown key "config"`,
		"dry-run: true":                              `c.yaml:1: unknown key "dry-run"`,
		"addr: a\n\naddr: b":                         `c.yaml:3: addr is there twice, first in c.yaml:1`,
		"- addr":                                     `c.yaml:1: not lines of the form KEY: VALUE`,
		"addr: {host: x}":                            `c.yaml:1: addr: neither a value nor a list of values`,
		"x-y: &a b\naddr: *a":                        `c.yaml:1: unknown key "x-y"`,
		"addr: &a b\nprefix: *a":                     `c.yaml:2: prefix: neither a value nor a list of values`,
		"db: [a.db, b.db]":                           `c.yaml:1: db takes one value and no list`,
		"store: *hunter2":                            `c.yaml: a value that begins with * needs quotes`,
		"cors-origin: [[a]]":                         `c.yaml:1: cors-origin: a list of something else than values`,
		"addr: a\n---\naddr: b":                      `c.yaml: more than one document`,
		"addr: \"a":                                  `c.yaml: found unexpected end of stream`,
		"addr: a\n b: [":                             `c.yaml: line 2: `,
		"db: a\nstore: bolt:b":                       `c.yaml:2: db and store both say where the catalog is, also in c.yaml:1; set one`,
		"\nmetadata: maybe":                          `c.yaml:2: metadata "maybe" is neither true nor false`,
		"session-time: soon":                         `c.yaml:1: session-time "soon" is not a duration such as 30s`,
		"log-level: loud":                            `c.yaml:1: log-level "loud" is not debug, info, warn or error`,
		"store: postgres://u:hunter2@h:x/d":          `c.yaml:1: store: a host is `,
		"store: postgres://u:hunter2@h/d\nstore: ''": `c.yaml:2: store is there twice`,
		"db: postgres://u:hunter2@h/d":               `c.yaml:1: db: this names a file`,
		"db: POSTGRES://u:hunter2@h/d":               `c.yaml:1: db: this names a file`,
		"store: bolt:mysql://u:hunter2@h/d":          `c.yaml:1: store: this names a file`,
		"{store:postgres://u:hunter2@h/d}":           `c.yaml:1: not a key`,
		"addr: &store x\n*store : y":                 `c.yaml:2: not a key`,
		"# " + strings.Repeat("x", maxConfigFile):    `c.yaml: longer than 1048576 bytes`,
	} {
		for _, command := range []string{"config", "serve", "check"} {
			if command == "check" && !strings.Contains(want, "unknown key") {
				continue // it doesn't look at the values of other commands' keys
			}
			_, errs := configured(t, exitUsage, text, nil, command)
			require.Contains(t, errs, "customstatusd: "+command+": "+want, "%q", text)
			require.Equal(t, 1, strings.Count(errs, "\n"), errs)
		}
	}
	_, errs := configured(t, exitFailure, "", nil, "config", "--config", "missing.yaml")
	require.Contains(t, errs, "customstatusd: --config: open missing.yaml: ")
}

// What serve would refuse is shown before it is refused.
func TestConfigShowsWhatItRefuses(t *testing.T) {
	out, errs := configured(t, exitUsage, "tls-cert: c.pem", nil, "config")
	require.Equal(t, "tls-cert: c.pem # c.yaml:1", settingLine(t, out, "tls-cert"))
	require.Contains(t, errs, "customstatusd: config: --tls-cert")
}

// Other commands read the keys of their own flags, and pass over those of serve.
func TestConfigFileOfOtherCommands(t *testing.T) {
	text := "addr: 127.0.0.1:0\ndb: there.db\nmetadata: yes-but-not-read-here\nname-rule: [trim, nfc]\n"
	_, errs := configured(t, exitFailure, text, nil, "export")
	require.Contains(t, errs, "there.db")
	require.NoError(t, os.WriteFile("lines", []byte(`{"name":" x ","statusType":"busy"}`), 0o600))
	out := cli(t, "import", "--config", "c.yaml", "lines")
	require.Contains(t, out, "imported 1")
	require.Contains(t, cli(t, "export", "--config", "c.yaml"), `"name":"x"`)
}

// What config prints is a configuration file that says the same.
func TestConfigPrintsAConfigFile(t *testing.T) {
	text := "tokens: \"a # b: .tokens\"\ntls-cert: \"a\\nb\"\ntls-key: k\nname-rule: [trim, no-bidi]\ncors-origin: [\"https://a.example\", \"https://b.example\"]\nlog-level: DEBUG\nmax-failed-logins: 0\nstatus-type-default:\nstore: bolt:f.db\n# the end"
	first, _ := configured(t, exitOK, text, nil, "config")
	second, _ := configured(t, exitOK, first, nil, "config")
	values := func(out string) (values []string) {
		for line := range strings.Lines(out) {
			values = append(values, strings.TrimSpace(line[:strings.LastIndex(line, " # ")]))
		}
		return values
	}
	require.Equal(t, values(first), values(second))
	require.Contains(t, values(first), "cors-origin: https://a.example,https://b.example")
	require.Contains(t, values(first), "log-level: debug")
	require.Contains(t, values(first), `tls-cert: "a\nb"`)
	require.Contains(t, second, "c.yaml:3")
	out, _ := configured(t, exitOK, "# nothing\n", nil, "config")
	require.Equal(t, "addr: 127.0.0.1:3000 # default", settingLine(t, out, "addr"))
}

// Every flag that has a variable can stand in the file, and config shows all of serve's.
func TestConfigKnowsEveryFlag(t *testing.T) {
	out, _ := configured(t, exitOK, "", nil, "config")
	everyCommand(new(process).commands(), func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if len(f.Annotations[environmentAnnotation]) == 0 || f.Name == configName || f.Name == "store" {
				return
			}
			require.NotEmpty(t, settingLine(t, out, f.Name), "%s --%s", cmd.Name(), f.Name)
		})
	})
}

// A server takes its settings from the file that the variable names.
func TestServeWithConfigFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "c.yaml"), []byte("db: from-file.db\nlog-format: json\naddr: nowhere:99999\n"), 0o600))
	t.Chdir(dir)
	ctx, cancel := context.WithCancel(t.Context())
	r, w, err := os.Pipe()
	require.NoError(t, err)
	ended := make(chan int, 1)
	go func() {
		env := func(name string) (string, bool) {
			value, ok := map[string]string{"CUSTOMSTATUS_CONFIG": "c.yaml", "CUSTOMSTATUS_ADDR": "127.0.0.1:0"}[name]
			return value, ok
		}
		ended <- run(ctx, []string{"serve"}, nil, io.Discard, w, env)
		w.Close()
	}()
	var text bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(text.String(), `"msg":"listening"`) {
		n, err := r.Read(buf)
		text.Write(buf[:n])
		require.NoError(t, err, text.String())
	}
	require.FileExists(t, filepath.Join(dir, "from-file.db"))
	cancel()
	for err == nil {
		_, err = r.Read(buf)
	}
	require.Equal(t, exitOK, <-ended)
}
