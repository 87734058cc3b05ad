package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// process is what the program gets from its surroundings.
type process struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookupEnv      func(string) (string, bool)
}

// errReported is a failure that the command has reported already.
var errReported = errors.New("reported")

// run carries out the command line args and returns the exit code. When ctx is
// cancelled, a server ends as it does on SIGTERM.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer,
	lookupEnv func(string) (string, bool),
) int {
	p := &process{stdin: stdin, stdout: stdout, stderr: stderr, lookupEnv: lookupEnv}
	root := p.commands()
	root.SetArgs(withDefault(args))
	cmd, err := root.ExecuteContextC(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "customstatusd: %s%s\n", prefix(cmd), plain(err))
		return exitUsage
	case !errors.Is(err, errReported):
		fmt.Fprintf(stderr, "customstatusd: %s\n", plain(err))
	}
	return exitFailure
}

// plain returns the text of an error for a terminal. A part of the text can be from a
// server, or from whoever answers in its place.
func plain(err error) string {
	var text strings.Builder
	for _, r := range err.Error() {
		if r == '\n' || r == '\t' || strconv.IsPrint(r) {
			text.WriteRune(r)
		} else {
			text.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return text.String()
}

// prefix names the command in front of an error about its command line.
func prefix(cmd *cobra.Command) string {
	if !cmd.HasParent() {
		return ""
	}
	return commandName(cmd) + ": "
}

// commandName returns the words that call the command, without the program's name.
func commandName(cmd *cobra.Command) string {
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	return name
}

func (p *process) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   versionName,
		Short: "Print the version",
		Long:  "Prints the versions of the program and of Go, and the platform.",
		Args:  arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(p.stdout, "customstatusd %s %s %s/%s\n",
				version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}

// version returns the version that the build recorded.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
