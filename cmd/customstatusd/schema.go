package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p *process) schemaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the SQL that makes the tables in PostgreSQL",
		Long: `Prints the statements that make the tables and functions of a store in PostgreSQL, for
a database in which the servers must not make them. It connects to nothing. Run the
statements as the role that is to own the tables. They are one transaction, which fails
if the tables are there already.

With --role, the statements follow that give a role what a server needs, and no more.
A server finds the tables and changes no schema then.`,
		Example: `    customstatusd schema --role chat | psql chat`,
		Args:    arguments(0, 0),
	}
	name := cmd.Flags().String("schema", "", "the `NAME` of the schema, as in the address of a store; the default is customstatus")
	role := cmd.Flags().String("role", "", "the `ROLE` of the servers")
	cmd.RunE = func(*cobra.Command, []string) error {
		sql, err := schemaSQL(*name, *role)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(p.stdout, sql)
		return err
	}
	return cmd
}
