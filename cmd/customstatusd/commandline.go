package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Names of commands that this code refers to.
const (
	serveName   = "serve"
	versionName = "version"
)

// usageError is a command line that can't be carried out: exit code 2.
type usageError struct{ reason string }

func (e *usageError) Error() string { return e.reason }

func usagef(format string, a ...any) error {
	return &usageError{fmt.Sprintf(format, a...)}
}

func init() {
	// A server that is started by a double click on Windows is not a mistake.
	cobra.MousetrapHelpText = ""
}

// commands returns the program's commands, ready to be executed.
func (p *process) commands() *cobra.Command {
	root := &cobra.Command{
		Use:   "customstatusd",
		Short: "Serve a catalog of custom user statuses",
		Long: `Customstatusd serves a catalog of custom user statuses from one file or from a store
that several servers share, and looks after it. Without a command it serves.

Every flag of serve has an environment variable. The other commands read those of
the flags that they share with serve. The help of a command names them.
A flag wins over its variable, the variable over a configuration file, which --config
names, and the file over the default. An empty variable counts as not set. "config"
shows each setting and where it is from.

Exit codes: 0 success, 1 failure, 2 a command line that can't be understood.`,
		Args:              unknownCommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return p.readSettings(cmd) },
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(helpCommand())
	root.AddGroup(
		&cobra.Group{ID: "serving", Title: "Serving:"},
		&cobra.Group{ID: "data", Title: "Data:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, cmd := range commands {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add("serving", p.serveCommand(), p.configCommand(), p.tokenCommand(), p.healthCheckCommand())
	add("data", p.importCommand(), p.exportCommand(), p.copyCommand(), p.backupCommand(), p.checkCommand(), p.salvageCommand(), p.schemaCommand())
	add("", storesCommand(), p.versionCommand(), p.manCommand())
	addConfigFile(root)
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.HasSubCommands() {
			group(cmd)
		} else if !strings.Contains(cmd.Use, " ") {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
	}
	return root
}

// withDefault returns the arguments with the default command in front if they
// name none, also when a shell asks for completions.
func withDefault(args []string) []string {
	command := 0
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		command = 1
	}
	switch {
	case len(args) == 0:
		return []string{serveName}
	case len(args) == command || !strings.HasPrefix(args[command], "-"):
		return args
	case args[command] == "-h", args[command] == "--help":
		return args
	case args[command] == "--version":
		return append([]string{versionName}, args[1:]...)
	}
	return slices.Insert(slices.Clone(args), command, serveName)
}

// unknownCommand is the error for a command that does not exist, or else nil.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	help := `"` + cmd.CommandPath() + ` --help" lists the commands`
	cmd.SuggestionsMinimumDistance = 2 // changed letters
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		help = fmt.Sprintf("did you mean %q?", near[0])
	}
	return usagef("unknown command %q; %s", args[0], help)
}

// group makes a command fail that only holds others, unless one of these is named.
func group(cmd *cobra.Command) {
	cmd.Args = unknownCommand
	cmd.RunE = func(*cobra.Command, []string) error {
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		return usagef("name one of its commands: %s", strings.Join(names, ", "))
	}
}

// helpCommand replaces cobra's, which does not fail when a command is unknown.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does and its flags",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, rest)
			}
			return about.Help()
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			about, _, err := cmd.Root().Find(args)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, c := range about.Commands() {
				if c.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(c.Name(), c.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// arguments wants from least to most arguments; with most < 0 any number. The
// error does not repeat what was given: it might be a token.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) >= least && (most < 0 || len(args) <= most) {
			return nil
		}
		_, wanted, _ := strings.Cut(cmd.Use, " ")
		if wanted == "" {
			wanted = "no arguments"
		}
		if len(args) == 1 {
			return usagef("expected %s, got 1 argument", wanted)
		}
		return usagef("expected %s, got %d arguments", wanted, len(args))
	}
}

// flagError says in one line what is wrong with the flags of a command.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var noValue *pflag.ValueRequiredError
	switch {
	case errors.As(err, &unknown):
		given, help := "--"+unknown.GetSpecifiedName(), fmt.Sprintf(`"%s --help" lists the flags`, cmd.CommandPath())
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			given = "-" + short
			if name, _, _ := strings.Cut(short, "="); cmd.Flags().Lookup(name) != nil {
				help = fmt.Sprintf("did you mean --%s?", name)
			}
		}
		return usagef("unknown flag %s; %s", given, help)
	case errors.As(err, &invalid):
		return invalidValue("--"+invalid.GetFlag().Name, invalid.GetFlag(), invalid.GetValue(), invalid.Unwrap())
	case errors.As(err, &noValue):
		return usagef("--%s needs a value", noValue.GetFlag().Name)
	}
	return usagef("%v", err)
}

// invalidValue says what a flag takes. The source is the flag or its variable.
func invalidValue(source string, f *pflag.Flag, value string, cause error) error {
	if f.Value.Type() == storeType || errors.Is(cause, errNotAFile) { // it may have a password
		return usagef("%s: %v", source, cause)
	}
	switch f.Value.Type() {
	case "bool":
		return usagef("%s %q is neither true nor false", source, value)
	case "duration":
		return usagef("%s %q is not a duration such as 30s", source, value)
	}
	if allowed := f.Annotations[allowedAnnotation]; len(allowed) > 0 {
		last := len(allowed) - 1
		return usagef("%s %q is not %s or %s", source, value, strings.Join(allowed[:last], ", "), allowed[last])
	}
	return usagef("%s %q: %v", source, value, cause)
}

// Annotations of flags.
const (
	environmentAnnotation = "environment" // the name of the flag's variable
	sourceAnnotation      = "source"      // where the value is from, if neither a flag nor the default
	allowedAnnotation     = "allowed"     // the values it takes
)

// allow names the values that a flag takes, for errors and for completion.
func allow(cmd *cobra.Command, flag string, values ...string) {
	f := cmd.Flags().Lookup(flag)
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[allowedAnnotation] = values
	must(cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)))
}

// must is for errors that only a mistake in this program can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// choice is a flag whose values are those of its annotation.
type choice struct {
	value  *string
	values []string
}

func (c choice) String() string { return *c.value }
func (c choice) Type() string   { return "string" }

func (c choice) Set(s string) error {
	if !slices.Contains(c.values, s) {
		return errors.New("no such value")
	}
	*c.value = s
	return nil
}

// addChoice declares a flag that takes one of the values.
func addChoice(cmd *cobra.Command, value *string, name, usage string, values ...string) {
	cmd.Flags().Var(choice{value, values}, name, usage)
	allow(cmd, name, values...)
}

// fromEnvironment gives a flag its environment variable. Flags that say where the
// data is and how it is served have one. Flags that say what a single call does
// have none: a variable that was set for something else could make the call
// destroy something.
func fromEnvironment(f *pflag.Flag) {
	name := "CUSTOMSTATUS_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
	if f.Annotations == nil {
		f.Annotations = make(map[string][]string)
	}
	f.Annotations[environmentAnnotation] = []string{name}
	f.Usage += "\n[$" + name + "]"
}

// addAddr declares the flag that names the address of the server.
func addAddr(cmd *cobra.Command, addr *string) {
	cmd.Flags().StringVar(addr, "addr", "127.0.0.1:3000", "the `HOST:PORT` to listen on; port 0 is any free port")
}

// addTokensFile declares the flag that names the tokens file.
func addTokensFile(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVar(path, "tokens", "", "the `FILE` that holds the hashes of the tokens; the default is the file\nbeside the database whose name ends in .tokens; a shared store has no default")
	fromEnvironment(cmd.Flags().Lookup("tokens"))
}
