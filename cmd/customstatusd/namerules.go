package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/customstatus/customstatus"
	"github.com/customstatus/customstatus/namerules"
)

// nameRules is a flag whose value is a list of rules for names.
type nameRules struct {
	names []string
	rules *customstatus.Rules
}

func addNameRules(cmd *cobra.Command, rules *customstatus.Rules) {
	const name = "name-rule"
	cmd.Flags().Var(&nameRules{rules: rules}, name, "a `RULE` for the names of statuses, or several separated by commas, applied in\nthis order: "+
		"trim removes white space at both ends, nfc normalizes, no-bidi refuses\ncharacters that set the direction of text, no-invisible those that nobody sees")
	must(cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(namerules.Names(), cobra.ShellCompDirectiveNoFileComp)))
	fromEnvironment(cmd.Flags().Lookup(name))
}

func (n *nameRules) String() string { return strings.Join(n.names, ",") }
func (n *nameRules) Type() string   { return "string" }

func (n *nameRules) Set(value string) error {
	for name := range strings.SplitSeq(value, ",") {
		rule, ok := namerules.Named(name)
		if !ok {
			return fmt.Errorf("%q is none of %s", name, strings.Join(namerules.Names(), ", "))
		}
		n.names = append(n.names, name)
		if before := n.rules.NameRule; before != nil {
			rule = namerules.All(before, rule)
		}
		n.rules.NameRule = rule
	}
	return nil
}
