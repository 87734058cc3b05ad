package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// everyCommand calls do with each command that the help lists.
func everyCommand(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			everyCommand(c, do)
		}
	}
}

// Every command has a page that names its flags.
func TestManual(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "man1")
	cli(t, "man", directory)
	pages := 0
	everyCommand(new(process).commands(), func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
		text, err := os.ReadFile(filepath.Join(directory, name+".1"))
		require.NoError(t, err)
		pages++
		page := strings.ReplaceAll(string(text), `\-`, "-")
		require.Contains(t, page, ".SH NAME\n"+name+" - "+cmd.Short)
		require.NotContains(t, page, "cobra")
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			require.Contains(t, page, "--"+f.Name, name)
			for _, variable := range f.Annotations[environmentAnnotation] {
				require.Contains(t, page, "[$"+variable+"]", name)
			}
		})
	})
	require.Len(t, names(t, directory), pages)
	require.Greater(t, pages, 10)
}

// The tools that show manual pages find nothing wrong with them.
func TestManualLint(t *testing.T) {
	directory := t.TempDir()
	cli(t, "man", directory)
	for _, lint := range [][]string{{"groff", "-man", "-ww", "-z"}, {"mandoc", "-T", "lint", "-W", "error"}} {
		t.Run(lint[0], func(t *testing.T) {
			if _, err := exec.LookPath(lint[0]); err != nil {
				t.Skipf("%s is missing: the manual pages are NOT checked with it", lint[0])
			}
			for _, name := range names(t, directory) {
				out, err := exec.Command(lint[0], append(lint[1:], filepath.Join(directory, name))...).CombinedOutput()
				require.NoError(t, err, "%s: %s", name, out)
				require.Empty(t, string(out), name)
			}
		})
	}
}

// Variables are for where the data is and how it is served, and never for what a
// single call does.
func TestFlagsFromTheEnvironment(t *testing.T) {
	allowed := map[string]bool{"db": true, "store": true, "tokens": true, "status-type-optional": true, "status-type-default": true, "name-rule": true, configName: true}
	everyCommand(new(process).commands(), func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			ofServe := cmd.Name() == serveName || cmd.Name() == configName || cmd.Name() == "healthcheck"
			want := allowed[f.Name] || ofServe && f.Name != "help"
			variable := f.Annotations[environmentAnnotation]
			require.Equal(t, want, len(variable) == 1, "%s --%s", cmd.Name(), f.Name)
			if want {
				require.Equal(t, "CUSTOMSTATUS_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")), variable[0])
			}
		})
	})
}
