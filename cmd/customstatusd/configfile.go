package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// configName is the flag that names the configuration file.
const configName = "config"

// addConfigFile gives a command the flag for the configuration file if the command has
// a flag that can stand in it.
func addConfigFile(cmd *cobra.Command) {
	if len(settable(cmd)) > 0 {
		cmd.Flags().String(configName, "", "the `FILE` with settings in YAML, such as \"addr: 127.0.0.1:3000\";\n\"customstatusd config --help\" describes it")
		fromEnvironment(cmd.Flags().Lookup(configName))
	}
	for _, c := range cmd.Commands() {
		addConfigFile(c)
	}
}

// settable returns the flags of a command that have a variable and can stand in a
// configuration file.
func settable(cmd *cobra.Command) (flags []*pflag.Flag) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if len(f.Annotations[environmentAnnotation]) > 0 && f.Name != configName {
			flags = append(flags, f)
		}
	})
	return flags
}

// maxConfigFile is the greatest length of a configuration file in bytes.
const maxConfigFile = 1 << 20

// likeAKey matches what can be shown as a key. Without its space, "store:postgres://…" in
// braces is a key for YAML, too.
var likeAKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// setting is a value of a configuration file.
type setting struct {
	value string
	list  bool   // the file has a list
	where string // the file and the line
}

// takesList reports whether a flag takes several values, separated by commas.
func takesList(f *pflag.Flag) bool {
	_, rules := f.Value.(*nameRules)
	_, slice := f.Value.(pflag.SliceValue)
	return rules || slice
}

// readConfigFile reads a file that may have the known keys. An error never has a value,
// which may be the address of a store with a password.
func readConfigFile(path string, known []string) (map[string]setting, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", configName, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", configName, err)
	}
	if len(text) > maxConfigFile {
		return nil, usagef("%s: longer than %d bytes", path, maxConfigFile)
	}
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&document); err == io.EOF {
		return nil, nil // it has only comments
	} else if err != nil && strings.Contains(err.Error(), "unknown anchor") {
		return nil, usagef("%s: a value that begins with * needs quotes", path)
	} else if err != nil {
		return nil, usagef("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(new(yaml.Node)); err != io.EOF {
		return nil, usagef("%s: more than one document", path)
	}
	at := func(n *yaml.Node) string { return fmt.Sprintf("%s:%d", path, n.Line) }
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, usagef("%s: not lines of the form KEY: VALUE", at(root))
	}
	settings := make(map[string]setting)
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if key.Kind != yaml.ScalarNode || !likeAKey.MatchString(key.Value) {
			return nil, usagef("%s: not a key; write KEY: VALUE, with a space behind the colon", at(key))
		}
		if !slices.Contains(known, key.Value) {
			return nil, usagef("%s: unknown key %q; \"customstatusd %s\" lists the keys", at(key), key.Value, configName)
		}
		if before, twice := settings[key.Value]; twice {
			return nil, usagef("%s: %s is there twice, first in %s", at(key), key.Value, before.where)
		}
		text, err := scalar(value)
		if err != nil {
			return nil, usagef("%s: %s: %v", at(value), key.Value, err)
		}
		settings[key.Value] = setting{text, value.Kind == yaml.SequenceNode, at(key)}
	}
	return settings, nil
}

// scalar returns a value, or several separated by commas.
func scalar(value *yaml.Node) (string, error) {
	switch value.Kind {
	case yaml.ScalarNode:
		if value.Tag == "!!null" {
			return "", nil
		}
		return value.Value, nil
	case yaml.SequenceNode:
		var texts []string
		for _, part := range value.Content {
			if part.Kind != yaml.ScalarNode {
				return "", errors.New("a list of something else than values")
			}
			texts = append(texts, part.Value)
		}
		return strings.Join(texts, ","), nil
	}
	return "", errors.New("neither a value nor a list of values")
}

// settingsOf returns the settings of the configuration file that a flag or a variable
// names, or nil.
func (p *process) settingsOf(cmd *cobra.Command) (map[string]setting, error) {
	f := cmd.Flags().Lookup(configName)
	if f == nil || f.Value.String() == "" {
		return nil, nil
	}
	var known []string
	var collect func(*cobra.Command)
	collect = func(c *cobra.Command) {
		for _, f := range settable(c) {
			known = append(known, f.Name)
		}
		for _, sub := range c.Commands() {
			collect(sub)
		}
	}
	collect(cmd.Root())
	slices.Sort(known)
	return readConfigFile(f.Value.String(), slices.Compact(known))
}

// readSettings sets the flags that are not on the command line: from their variables,
// or else from the configuration file. It notes where each value is from.
func (p *process) readSettings(cmd *cobra.Command) error {
	placed, failed := p.onlyOneStore(cmd)
	set := func(f *pflag.Flag, value, source, from string) {
		if f.Changed || failed != nil || value == "" || len(f.Annotations[sourceAnnotation]) > 0 {
			return
		}
		if err := f.Value.Set(value); err != nil {
			failed = invalidValue(source, f, value, err)
		}
		f.Annotations[sourceAnnotation] = []string{from}
	}
	// --store and --db are two names of one thing: whichever is set puts all weaker
	// settings of both out of force.
	outOfForce := func(f *pflag.Flag) bool { return placed && (f.Name == "db" || f.Name == "store") }
	fromVariable := func(f *pflag.Flag) {
		names := f.Annotations[environmentAnnotation]
		if len(names) == 0 || outOfForce(f) {
			return
		}
		value, _ := p.lookupEnv(names[0])
		set(f, value, "$"+names[0], "$"+names[0])
	}
	cmd.Flags().VisitAll(fromVariable)
	if failed != nil {
		return failed
	}
	settings, err := p.settingsOf(cmd)
	if err != nil {
		return err
	}
	for _, name := range []string{"db", "store"} {
		f := cmd.Flags().Lookup(name)
		placed = placed || f != nil && len(f.Annotations[sourceAnnotation]) > 0
	}
	if db, store := settings["db"], settings["store"]; db.value != "" && store.value != "" {
		return usagef("%s: db and store both say where the catalog is, also in %s; set one", store.where, db.where)
	}
	for _, f := range settable(cmd) {
		if s, ok := settings[f.Name]; ok && !outOfForce(f) {
			if s.list && !takesList(f) {
				return usagef("%s: %s takes one value and no list", s.where, f.Name)
			}
			set(f, s.value, s.where+": "+f.Name, s.where)
		}
	}
	return failed
}

// configCommand prints the configuration of serve.
func (p *process) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   configName,
		Short: "Show the configuration of serve, and where each value is from",
		Long: `Prints each setting that serve would have, and where it is from: a flag, a variable, a
line of the configuration file, or the default. It prints no password. It takes the
flags of serve, and only reads: a file that serve would make need not exist. If serve
would refuse the settings, so does config, after it has printed them.

A flag wins over its variable, the variable over the configuration file, and the file
over the default. Only --config FILE or $CUSTOMSTATUS_CONFIG names a configuration
file. It is YAML. Its keys are the names of the flags that have a variable:

    addr: 0.0.0.0:3000
    store: postgres://chat@db.example/chat?sslmode=verify-full
    session-time: 24h
    name-rule: [trim, nfc]

Every command reads the keys of its own flags. A key that no command knows is an error.
A value is what the flag takes, and a relative path is from the current directory. An
empty value counts as not set. db and store say the same, so whichever is set wins over
both in a weaker place. The output of config can be used as such a file, except that a
store's address lacks its password and its parameters.`,
		Args: arguments(0, 0),
	}
	config := addServeConfig(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := p.printConfig(cmd); err != nil {
			return err
		}
		return config.check()
	}
	return cmd
}

// printConfig prints the settings of a command as a configuration file.
func (p *process) printConfig(cmd *cobra.Command) error {
	var text strings.Builder
	for _, f := range settable(cmd) {
		value, from := f.Value.String(), "default"
		switch source := f.Annotations[sourceAnnotation]; {
		case f.Changed:
			from = "--" + f.Name
		case len(source) > 0:
			from = source[0]
		default:
			value = f.DefValue
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			value = strings.Join(list.GetSlice(), ",")
		}
		if lower := strings.ToLower(value); slices.Contains(f.Annotations[allowedAnnotation], lower) {
			value = lower // as the flag's help spells it
		}
		store := cmd.Flags().Lookup("store").Value.(*addressValue)
		switch {
		case f.Name == "db" && store.set, f.Name == "store" && !store.set:
			continue // the other one says it
		case f.Name == "store" && !store.at.shared():
			value = kindBolt + ":" + value
		case f.Name == "store" && store.at.hasPassword():
			from += ", with a password"
		}
		style := yaml.Style(0)
		if strings.Contains(value, "\n") {
			style = yaml.DoubleQuotedStyle // in one line, because a comment follows
		}
		line, err := yaml.Marshal(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{
			{Kind: yaml.ScalarNode, Value: f.Name}, {Kind: yaml.ScalarNode, Value: value, Style: style},
		}})
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%-40s # %s\n", strings.TrimSuffix(string(line), "\n"), from)
	}
	_, err := io.WriteString(p.stdout, text.String())
	return err
}
