package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (p *process) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIRECTORY",
		Short: "Write the manual pages into a directory",
		Long: `Writes the manual pages of the program and of each command into DIRECTORY, which is
made if it does not exist. Their date is today, or that of SOURCE_DATE_EPOCH.`,
		Example: `    customstatusd man man1
    man ./man1/customstatusd.1`,
		Args: arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			header := &doc.GenManHeader{Source: "customstatusd " + version(), Manual: "Customstatusd manual"}
			return doc.GenManTree(cmd.Root(), header, args[0])
		},
	}
}
