// Command customstatusd serves a catalog of custom user statuses from one bbolt
// file, and looks after that file. Run "customstatusd help" for its commands.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.LookupEnv))
}
