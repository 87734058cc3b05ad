package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// commandLine is the flags and arguments of one command. A flag that is not
// given is taken from its environment variable, if it has one.
type commandLine struct {
	*flag.FlagSet
	p    *process
	cmd  command
	raw  []string
	args []string // set by parse
}

func newCommandLine(p *process, cmd command, raw []string) *commandLine {
	fs := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // parse reports errors, and usage itself
	return &commandLine{FlagSet: fs, p: p, cmd: cmd, raw: raw}
}

// hasEnv reports whether a flag has an environment variable. What says where the
// data is and how it is served has one. What a single call is to do has none: a
// variable that was set for something else could have it destroy something.
func (cl *commandLine) hasEnv(flagName string) bool {
	switch flagName {
	case "db", "tokens", "status-type-optional", "status-type-default":
		return true
	}
	return cl.cmd.name == serveName
}

// envName is the environment variable of a flag.
func envName(flagName string) string {
	return "CUSTOMSTATUS_" + strings.ToUpper(strings.ReplaceAll(flagName, "-", "_"))
}

// parse reads the command line, whose flags have been declared, and wants from
// least to most arguments (most < 0: any number). Flags may also stand behind
// arguments. It returns flag.ErrHelp when it has shown the help that was asked
// for.
func (cl *commandLine) parse(least, most int) error {
	if err := cl.parseFlags(); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			cl.help(cl.p.stdout)
			return err
		}
		cl.help(cl.p.stderr)
		return usagef("%s: %v", cl.cmd.name, err)
	}
	if n := len(cl.args); n < least || most >= 0 && n > most {
		cl.help(cl.p.stderr)
		// What was given is not repeated: it might be a token.
		if cl.cmd.args == "" {
			return usagef("%s: it takes no arguments", cl.cmd.name)
		}
		return usagef("%s: %d arguments, but it takes %s", cl.cmd.name, n, cl.cmd.args)
	}
	return nil
}

func (cl *commandLine) parseFlags() error {
	rest := cl.raw
	for {
		if err := cl.FlagSet.Parse(rest); err != nil {
			return err
		}
		end := len(rest) - cl.NArg()
		if end > 0 && rest[end-1] == "--" || cl.NArg() == 0 {
			cl.args = append(cl.args, cl.Args()...)
			break
		}
		cl.args = append(cl.args, cl.Arg(0))
		rest = cl.Args()[1:]
	}
	given := make(map[string]bool)
	cl.Visit(func(f *flag.Flag) { given[f.Name] = true })
	var err error
	cl.VisitAll(func(f *flag.Flag) {
		if err != nil || given[f.Name] || !cl.hasEnv(f.Name) {
			return
		}
		value, _ := cl.p.lookupEnv(envName(f.Name))
		if value == "" {
			return
		}
		if e := f.Value.Set(value); e != nil {
			err = fmt.Errorf("invalid value %q for $%s: %w", value, envName(f.Name), e)
		}
	})
	return err
}

// help prints what the command does and its flags.
func (cl *commandLine) help(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: customstatusd %s [FLAGS]", cl.cmd.name)
	if cl.cmd.args != "" {
		b.WriteString(" " + cl.cmd.args)
	}
	fmt.Fprintf(&b, "\n\n%s\n", strings.TrimSpace(cl.cmd.about))
	first := true
	cl.VisitAll(func(f *flag.Flag) {
		if first {
			b.WriteString("\nFlags:\n")
			first = false
		}
		placeholder, text := flag.UnquoteUsage(f)
		fmt.Fprintf(&b, "  --%s", f.Name)
		if placeholder != "" {
			b.WriteString(" " + placeholder)
		}
		fmt.Fprintf(&b, "\n        %s\n", text)
		var from []string
		if f.DefValue != "" && f.DefValue != "false" {
			from = append(from, "default "+f.DefValue)
		}
		if cl.hasEnv(f.Name) {
			from = append(from, "environment $"+envName(f.Name))
		}
		if len(from) > 0 {
			fmt.Fprintf(&b, "        %s\n", strings.Join(from, ", "))
		}
	})
	io.WriteString(w, b.String())
}

// file declares the flag that names the database file.
func (cl *commandLine) file() *string {
	return cl.String("db", "customstatus.db", "the `FILE` that holds the catalog")
}
