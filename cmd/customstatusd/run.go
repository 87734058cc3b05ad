package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
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

// command is one of the program's commands.
type command struct {
	name    string
	args    string // what stands behind the flags
	summary string
	about   string
	run     func(p *process, ctx context.Context, cl *commandLine) error
}

// commands are in the order in which the help shows them.
func commands() []command {
	return []command{
		serveCommand(),
		tokenAddCommand(),
		tokenListCommand(),
		tokenRevokeCommand(),
		importCommand(),
		exportCommand(),
		backupCommand(),
		checkCommand(),
		salvageCommand(),
		{
			name: "version", summary: "print the version",
			about: "Prints the version of the program, of Go, and the platform.",
			run:   (*process).version,
		},
	}
}

// usageError is a command line that can't be carried out: exit code 2.
type usageError struct{ reason string }

func (e *usageError) Error() string { return e.reason }

func usagef(format string, a ...any) error {
	return &usageError{fmt.Sprintf(format, a...)}
}

// errReported is a failure that the command has told of already.
var errReported = errors.New("reported")

// run is the program: it carries out the command line args and returns the exit
// code. Cancelling ctx is to serve what SIGTERM is.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer,
	lookupEnv func(string) (string, bool),
) int {
	p := &process{stdin: stdin, stdout: stdout, stderr: stderr, lookupEnv: lookupEnv}
	err := p.dispatch(ctx, args)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "customstatusd: %v\n", err)
		return exitUsage
	case !errors.Is(err, errReported):
		fmt.Fprintf(stderr, "customstatusd: %v\n", err)
	}
	return exitFailure
}

func (p *process) dispatch(ctx context.Context, args []string) error {
	name := serveName
	if len(args) > 0 {
		switch arg := args[0]; {
		case isHelpFlag(arg):
			return p.help(args[1:])
		case arg == "-version" || arg == "--version":
			name, args = "version", args[1:]
		case !strings.HasPrefix(arg, "-"):
			name, args = arg, args[1:]
		}
	}
	if name == "help" {
		return p.help(args)
	}
	if name == tokenGroup {
		switch {
		case len(args) == 0:
			p.tokenUsage(p.stderr)
			return usagef("token: name one of its commands")
		case isHelpFlag(args[0]):
			p.tokenUsage(p.stdout)
			return nil
		}
		name, args = tokenGroup+" "+args[0], args[1:]
	}
	for _, cmd := range commands() {
		if cmd.name == name {
			return cmd.start(p, ctx, args)
		}
	}
	p.usage(p.stderr)
	return usagef("unknown command %q", name)
}

func isHelpFlag(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

// start runs the command with its part of the command line.
func (cmd command) start(p *process, ctx context.Context, args []string) error {
	err := cmd.run(p, ctx, newCommandLine(p, cmd, args))
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}

// help prints the usage of the program, or of the commands that args name.
func (p *process) help(args []string) error {
	if len(args) == 0 {
		p.usage(p.stdout)
		return nil
	}
	name, found := strings.Join(args, " "), false
	for _, cmd := range commands() {
		if cmd.name != name && !strings.HasPrefix(cmd.name, name+" ") {
			continue
		}
		if found {
			fmt.Fprintln(p.stdout)
		}
		found = true
		// The command declares its flags and then finds that help is wanted.
		if err := cmd.start(p, context.Background(), []string{"-h"}); err != nil {
			return err
		}
	}
	if !found {
		p.usage(p.stderr)
		return usagef("unknown command %q", name)
	}
	return nil
}

func (p *process) usage(w io.Writer) {
	var b strings.Builder
	b.WriteString(`Customstatusd serves a catalog of custom user statuses from one file.

Usage:

  customstatusd [COMMAND] [FLAGS] [ARGUMENTS]

The commands are:

`)
	for _, cmd := range commands() {
		fmt.Fprintf(&b, "  %-13s %s\n", cmd.name, cmd.summary)
	}
	fmt.Fprintf(&b, "  %-13s %s\n", "help", "show this, or with a command's name its flags")
	b.WriteString(`
Without a command it serves. "customstatusd COMMAND -h" shows a command's flags.

Every flag of serve, and --db and --tokens of all commands, can also be set by
an environment variable, and so can the --status-type flags of import:
CUSTOMSTATUS_ and the flag's name in capitals, with _ for -. A flag goes before
the variable, the variable before the default; an empty variable counts as not
set.

Exit codes: 0 success, 1 failure, 2 a command line that can't be understood.
`)
	io.WriteString(w, b.String())
}

// tokenGroup is the word that the commands about tokens begin with.
const tokenGroup = "token"

func (p *process) tokenUsage(w io.Writer) {
	var b strings.Builder
	b.WriteString("Usage: customstatusd token COMMAND [FLAGS] [ARGUMENTS]\n\nThe commands are:\n\n")
	for _, cmd := range commands() {
		if strings.HasPrefix(cmd.name, tokenGroup+" ") {
			fmt.Fprintf(&b, "  %-13s %s\n", cmd.name, cmd.summary)
		}
	}
	b.WriteString("\n\"customstatusd token COMMAND -h\" shows a command's flags.\n")
	io.WriteString(w, b.String())
}

// version prints what the build says of itself.
func (p *process) version(_ context.Context, cl *commandLine) error {
	if err := cl.parse(0, 0); err != nil {
		return err
	}
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	_, err := fmt.Fprintf(p.stdout, "customstatusd %s %s %s/%s\n",
		version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
